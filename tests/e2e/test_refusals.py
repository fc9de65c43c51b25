"""What a member can get wrong on the command line: one sentence, a non-zero exit, and nothing lost."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossip.spec import TaskSpec
from ledger.devchain import running
from node import cli
from node.builtin import builtin_task, make_spec
from node.store import Store
from tests.helpers.consortium import deploy_consortium, free_port

pytestmark = pytest.mark.network

NOBODY = "0x" + "11" * 20


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three members' folders, deployed on a chain that runs."""
    folder = tmp_path_factory.mktemp("consortium")
    with running() as chain:
        deploy_consortium(folder, chain.url, 3)
        yield folder


@pytest.fixture
def home(consortium: Path, tmp_path: Path) -> Path:
    """A copy of one member's folder, to be spoilt."""
    return Path(shutil.copytree(consortium / "north", tmp_path / "north"))


def refusal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object, code: int = 2
) -> str:
    """The one sentence with which a command ends."""
    monkeypatch.setattr("sys.argv", ["mycelia", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (code, "")
    sentences = [line for line in said.err.splitlines() if not line.startswith("{")]
    assert len(sentences) == 1
    assert sentences[0].startswith("mycelia: ")
    return sentences[0]


def change(home: Path, pattern: str, value: str) -> None:
    config = home / "mycelia.toml"
    changed, count = re.subn(pattern, value, config.read_text())
    assert count == 1
    config.write_text(changed)


def test_taken_port_is_named(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        change(home, r"port = \d+", f"port = {port}")
        assert f"127.0.0.1:{port}: the port is in use" in refusal(capsys, monkeypatch, "run", home)


def test_store_of_another_consortium_is_refused_and_kept(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was used before would go on in the rounds of that consortium, and stall this one."""
    store = Store(home / "node.store")
    store.belong_to("0xaa on chain 1, genesis 00")
    store.put_secret("seed", 1, b"kept")
    store.close()
    assert "is of another consortium (0xaa on chain 1" in refusal(capsys, monkeypatch, "run", home, code=1)
    store = Store(home / "node.store")
    assert store.get_secret("seed", 1) == b"kept"
    store.close()


def test_wrong_chain_is_named(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    change(home, r"(registry = .*)", r"\1\nchain_id = 7")
    assert "expected chain 7" in refusal(capsys, monkeypatch, "run", home)


def test_address_without_contract_is_named(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"at {NOBODY}" in refusal(capsys, monkeypatch, "run", home, "--registry", NOBODY)


@pytest.mark.parametrize("registry", ["0x12", "registry", NOBODY[:-1] + "g"])
def test_what_is_no_address_is_named(
    registry: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal(capsys, monkeypatch, "audit", "--rpc", "http://127.0.0.1:1", "--registry", registry)
    assert f"'{registry}' is no address: that is 0x and 40 hex digits" in said


def test_missing_key_is_named_and_no_other_is_made(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "signer.key").unlink()
    assert "signer.key" in refusal(capsys, monkeypatch, "run", home)
    assert not (home / "signer.key").exists()


def test_corrupt_key_is_named_and_kept(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "node.key").write_text("not a key\n")
    assert "node.key is damaged" in refusal(capsys, monkeypatch, "run", home)
    assert (home / "node.key").read_text() == "not a key\n"


def test_key_of_a_stranger_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "signer.key").write_text("01" * 32 + "\n")
    assert "has no member with the signer" in refusal(capsys, monkeypatch, "run", home)


def test_task_that_cannot_be_imported_is_named(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(home, r"node\.builtin:breast_cancer", "no_such_module:task")
    assert "'no_such_module:task' cannot be imported" in refusal(capsys, monkeypatch, "run", home)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def task(:", "leaving_0.py:1: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(3)", "leaving_1.py:2: it calls sys.exit(3)"),
        (
            "from node.tasks import CsvClassification\n"
            "class Own(CsvClassification):\n"
            "    def load_data(self): return 1 / 0\n"
            "def task(path):\n"
            "    return Own(path, 'malignant', {f'x{i}': (0, 1) for i in range(30)})\n",
            "load_data() of the task 'leaving_2:task' failed: ",
        ),
    ],
)
def test_own_code_that_fails_is_told_with_its_line(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    name = re.findall(r"leaving_\d", said)[0]
    change(home, r"node\.builtin:breast_cancer", f"{name}:task")
    (home / f"{name}.py").write_text(code)
    assert said in refusal(capsys, monkeypatch, "run", home)


def test_deploy_refuses_a_member_whose_node_could_not_run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = home / "member.json"
    entry.write_text(re.sub(r'"peer_id": "[^"]*"', '"peer_id": "xx"', entry.read_text()))
    said = refusal(capsys, monkeypatch, "deploy", entry, "--rpc", "http://127.0.0.1:1", "--task-from", home)
    assert "not the PeerID of an Ed25519 key: 'xx'" in said


def test_deploy_refuses_stakes_that_are_gone_before_a_dispute_is_decided(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["deploy", home / "member.json", "--rpc", "http://127.0.0.1:1", "--task-from", home]
    terms = ["--dispute-seconds", "60", "--ruling-seconds", "600", "--unbonding-seconds", "660"]
    said = refusal(capsys, monkeypatch, *where, *terms)
    assert "--unbonding-seconds is more than --dispute-seconds and --ruling-seconds together, 660, or a stake" in said
    assert "'0x5' is no address" in refusal(capsys, monkeypatch, *where, "--token", "0x5")


def test_model_of_another_shape_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(home, r"node\.builtin:breast_cancer", "other_task:task")
    (home / "other_task.py").write_text(
        "from node.tasks import CsvClassification\n"
        "def task(path):\n"
        "    return CsvClassification(path, 'malignant', {'mean radius': (6, 30)}, split='split')\n"
    )
    assert "shares 2 numbers, and the consortium's 31" in refusal(capsys, monkeypatch, "run", home)


def test_every_problem_of_a_configuration_is_reported_at_once(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(home, r"port = \d+", "port = 99999\nspeed = 3")
    change(home, r"open_seconds = [\d.]+", 'open_seconds = "soon"')
    monkeypatch.setattr("sys.argv", ["mycelia", "run", str(home)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "node.speed: unknown key" in said
    assert "gossip.open_seconds" in said


def test_init_overwrites_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    assert "exists already" in refusal(capsys, monkeypatch, "init", home, "--name", "x", "--task", "breast-cancer")
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


def test_chain_that_does_not_answer_is_no_fault_of_usage(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["mycelia", "run", str(home), "--rpc", f"http://127.0.0.1:{free_port()}"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "nothing answers at the RPC URL" in said
    assert "Traceback" not in said


def test_spec_of_the_registry_is_what_the_task_makes(consortium: Path) -> None:
    spec = make_spec(builtin_task("breast-cancer", consortium / "north"), 2)
    assert TaskSpec.decode(spec.encode()) == spec
