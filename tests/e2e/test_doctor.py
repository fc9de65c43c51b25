"""What `mycelia doctor` finds, and says to do about it: one thing is broken in each test."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from gossip.transport import PeerAddress
from gossip.transport.host import Transport
from ledger.approvals import Succession
from ledger.client import LedgerClient
from ledger.devchain import DEV_KEYS, running
from ledger.membership import Membership
from node import cli, doctor
from node.config import load_config
from node.doctor_network import Visitor
from node.keys import load_keys
from node.store import Store
from tests.helpers.consortium import deploy_consortium, free_port
from tests.helpers.transports import QUICK

pytestmark = pytest.mark.network

Examine = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("consortium")
    with running() as chain:
        deploy_consortium(folder, chain.url, 3)
        yield folder


@pytest.fixture
def home(consortium: Path, tmp_path: Path) -> Path:
    """A copy of one member's folder, to be spoilt."""
    return Path(shutil.copytree(consortium / "north", tmp_path / "north"))


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Examine:
    """What the command prints about a folder, by check; its exit code has to fit."""

    def call(folder: Path, *options: str) -> dict[str, Any]:
        monkeypatch.setattr("sys.argv", ["mycelia", "doctor", str(folder), "--json", *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        report = json.loads(capsys.readouterr().out)
        states = [finding["state"] for finding in report["findings"]]
        assert (ended.value.code or 0, report["ok"]) == ((1, False) if "failure" in states else (0, True))
        assert all(finding["todo"] for finding in report["findings"] if finding["state"] in ("warning", "failure"))
        return {finding["check"]: finding for finding in report["findings"]}

    return call


@dataclass
class Other:
    """A member's transport in a thread of its own; `clock_ahead` is what its clock is ahead of ours."""

    folder: Path
    clock_ahead: float = 0.0

    def serve(self, started: threading.Event) -> None:
        trio.run(self._serve, started)

    async def _serve(self, started: threading.Event) -> None:
        config, keys = load_config(self.folder), load_keys(self.folder)
        roster = LedgerClient(config.ledger.rpc, config.ledger.registry).roster()
        clock = lambda: time.time() + self.clock_ahead  # noqa: E731
        transport = Transport(keys.node, "127.0.0.1", config.node.port, Visitor(), QUICK, clock=clock)
        transport.admit([PeerAddress(one.peer_id, one.host, one.port) for one in roster.members])
        self._token, self._end = trio.lowlevel.current_trio_token(), trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run)
            started.set()
            await self._end.wait()
            nursery.cancel_scope.cancel()

    def end(self) -> None:
        self._token.run_sync_soon(self._end.set)


@contextmanager
def member_running(folder: Path, clock_ahead: float = 0.0) -> Iterator[None]:
    other, started = Other(folder, clock_ahead), threading.Event()
    thread = threading.Thread(target=other.serve, args=(started,))
    thread.start()
    assert started.wait(20)
    try:
        yield
    finally:
        other.end()
        thread.join()


def change(home: Path, pattern: str, value: str) -> None:
    config = home / "mycelia.toml"
    changed, count = re.subn(pattern, value, config.read_text())
    assert count == 1
    config.write_text(changed)


def test_node_that_lacks_nothing_is_reachable_from_anothers_point_of_view(
    home: Path, consortium: Path, examine: Examine
) -> None:
    with member_running(consortium / "south"):
        found = examine(home)
    for check in ("configuration", "keys", "port", "chain", "contract codes", "registry entry", "reachability"):
        assert found[check]["state"] == "ok", found[check]
    assert found["reachability"]["found"] == "reachable from the point of view of south"
    assert found["clock"]["state"] == "ok"
    assert found["peers"]["state"] == "warning"
    assert "reached 1, not " in found["peers"]["found"]
    assert found["account key"]["todo"].startswith("keep it elsewhere")


def test_node_that_others_cannot_dial_is_told_of_firewall_and_relay(
    home: Path, consortium: Path, examine: Examine
) -> None:
    change(home, "port = [0-9]+", f"port = {free_port()}")  # the registry still names the old one
    with member_running(consortium / "south"):
        found = examine(home)
    assert found["registry entry"]["state"] == "warning"
    assert found["reachability"]["state"] == "warning"
    assert "point of view of south: " in found["reachability"]["found"]
    assert "node.relay = true" in found["reachability"]["todo"]


def test_clock_that_differs_from_the_others_is_named(home: Path, consortium: Path, examine: Examine) -> None:
    with member_running(consortium / "south", clock_ahead=1000.0):
        found = examine(home)
    assert found["clock"]["state"] == "failure"
    assert found["clock"]["found"].endswith("s behind the other members")


def test_running_node_is_examined_beside_it(home: Path, consortium: Path, examine: Examine) -> None:
    store = Store(home / "node.store")
    try:
        with member_running(consortium / "south"), member_running(home):
            found = examine(home)
    finally:
        store.close()
    assert found["port"]["found"].startswith("the running node listens on")
    assert found["reachability"]["state"] == "ok"


def test_key_that_others_may_read_is_named_with_the_command_that_helps(home: Path, examine: Examine) -> None:
    (home / "signer.key").chmod(0o644)
    found = examine(home)
    assert found["keys"]["state"] == "failure"
    assert found["keys"]["todo"] == f"run: chmod 600 {home / 'signer.key'}"
    assert found["reachability"]["state"] == "skipped"


def test_missing_key_is_named(home: Path, examine: Examine) -> None:
    (home / "node.key").unlink()
    assert examine(home)["keys"]["todo"].startswith("restore it from a backup")


def test_port_of_another_process_is_named(home: Path, examine: Examine) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", load_config(home).node.port))
        other.listen()
        found = examine(home, "--rpc", "http://127.0.0.1:1")
    assert "another process listens on" in found["port"]["found"]
    assert "ss -ltnp" in found["port"]["todo"]


def test_address_of_another_machine_is_named(home: Path, examine: Examine) -> None:
    change(home, 'bind = ""', 'bind = "192.0.2.1"')
    assert "set node.bind" in examine(home, "--rpc", "http://127.0.0.1:1")["port"]["todo"]


def test_chain_that_does_not_answer_is_named(home: Path, examine: Examine) -> None:
    found = examine(home, "--rpc", "http://127.0.0.1:1")
    assert (found["chain"]["state"], found["peers"]["state"]) == ("failure", "skipped")


def test_registry_without_its_code_is_named(home: Path, examine: Examine) -> None:
    found = examine(home, "--registry", "0x" + "11" * 20)
    assert (found["chain"]["state"], found["contract codes"]["state"]) == ("ok", "failure")


def test_members_are_proven_and_the_number_to_compare_is_shown(home: Path, examine: Examine) -> None:
    found = examine(home)["members"]
    assert found["state"] == "warning"
    assert found["todo"].startswith("compare it with what another member reads")
    fingerprint = found["found"].split()[-1]
    change(home, 'fingerprint = ""', f'fingerprint = "{fingerprint}"')
    assert examine(home)["members"]["state"] == "ok"


def test_another_consortium_than_the_configured_one_is_named(home: Path, examine: Examine) -> None:
    change(home, 'fingerprint = ""', f'fingerprint = "0x{"11" * 32}"')
    found = examine(home)
    assert found["members"]["state"] == "failure"
    assert "expected 0x1111" in found["members"]["found"]
    assert found["peers"]["state"] == "skipped"


def test_a_first_block_after_the_deployment_is_named(home: Path, examine: Examine) -> None:
    change(home, "first_block = 0", "first_block = 1000000")
    found = examine(home)["members"]
    assert (found["state"], "ledger.first_block" in found["found"]) == ("failure", True)


def test_a_named_successor_is_told(tmp_path: Path, examine: Examine) -> None:
    with running() as chain:
        homes = [tmp_path / name for name in deploy_consortium(tmp_path, chain.url, 3)]
        registry = load_config(homes[0]).ledger.registry
        membership = Membership(chain.url, registry)
        client = LedgerClient(chain.url, registry)
        successor = client.addresses[1]
        approval = Succession(client.roster().config_digest, successor)
        keys = [load_keys(home).signer for home in homes]
        signed = b"".join(membership.sign(key, approval) for key in keys)
        name = membership._registry.functions.nameSuccessor(successor, 0b111, signed)
        membership._send(DEV_KEYS[0], name, len(keys))
        found = examine(homes[0])["successor"]
    assert (found["state"], successor in found["found"]) == ("warning", True)


def test_keys_that_the_registry_does_not_know_are_named(home: Path, consortium: Path, examine: Examine) -> None:
    shutil.copy(consortium / "south" / "node.key", home / "node.key")
    assert examine(home)["registry entry"]["state"] == "failure"


def test_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter((doctor.NO_DISK_BYTES - 1, doctor.LITTLE_DISK_BYTES - 1, doctor.LITTLE_DISK_BYTES))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, next(free)))  # type: ignore[attr-defined]
    found = [doctor.check_disk(tmp_path) for _ in range(3)]
    assert [finding.state for finding in found] == ["failure", "warning", "ok"]
    assert list(tmp_path.iterdir()) == []


def test_broken_configuration_is_the_only_finding(home: Path, examine: Examine) -> None:
    change(home, "port = [0-9]+", "port = 0")
    assert list(examine(home)) == ["configuration"]
