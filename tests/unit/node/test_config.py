"""What a node's configuration promises: known precedence, every problem at once, and a file that its owner may edit."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gossip.state import Timing
from node.config import CONFIG_FILE, Config, GossipConfig, LedgerConfig, NodeConfig, load_config, set_registry
from node.config import write_config as write
from node.errors import ConfigError

NODE = '[node]\nname = "north"\ntask = "module:task"\n'
RPC, REGISTRY = "http://127.0.0.1:8545", "0x" + "11" * 20


def save(folder: Path, text: str) -> Path:
    path = folder / CONFIG_FILE
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, environ: dict[str, str], flags: dict[str, object]) -> list[str]:
    save(folder, text)
    with pytest.raises(ConfigError) as refused:
        load_config(folder, environ, flags)
    return str(refused.value).replace(str(folder / CONFIG_FILE), "FILE").splitlines()


def test_timing_defaults_are_the_protocols_own() -> None:
    assert GossipConfig().timing() == Timing()


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    save(tmp_path, NODE + "port = 4002\nseed = 2\nlinger_seconds = 2\n")
    environ = {"MYCELIA_NODE_PORT": "4003", "MYCELIA_NODE_SEED": "3"}
    node = load_config(tmp_path, environ, {"node.port": 4004}).node
    assert (node.port, node.seed, node.linger_seconds, node.host) == (4004, 3, 2.0, "127.0.0.1")


def test_every_problem_is_named_at_once_with_its_source(tmp_path: Path) -> None:
    text = (
        'speed = 1\n[node]\nname = "north"\nport = 99999\ncolour = "red"\nseed = "two"\n'
        '[ledger]\nrpc = "ftp://chain"\nregistry = "0x12"\n[gossip]\nopen_seconds = -1.0\n[weather]\n'
    )
    found = problems(tmp_path, text, {"MYCELIA_GOSSIP_TRAIN_SECONDS": "soon"}, {"ledger.chain_id": "x"})
    assert found == [
        "FILE: [speed]: unknown section",
        "FILE: [weather]: unknown section",
        "FILE: node.port: found 99999, expected 1 to 65535",
        "FILE: node.task: missing",
        "FILE: node.seed: found 'two', expected int",
        "FILE: ledger.rpc: found 'ftp://chain', expected a URL with http:// or https://",
        "FILE: ledger.registry: found '0x12', expected "
        "0x and 40 hex digits whose capitals are all, none, or the checksum's",
        "--chain_id: ledger.chain_id: found 'x', expected int | null",
        "FILE: gossip.open_seconds: found -1.0, expected more than 0 seconds",
        "MYCELIA_GOSSIP_TRAIN_SECONDS: gossip.train_seconds: found 'soon', expected float",
        "FILE: node.colour: unknown key",
    ]


@pytest.mark.parametrize(
    ("text", "environ", "flags", "said"),
    [
        ("node = 3\n", {}, {}, "FILE: node: found 3, expected a section [node]"),
        (NODE + 'port = "80"\n', {}, {}, "FILE: node.port: found '80', expected int"),
        (NODE + "options = { rows = 3 }\n", {}, {}, "FILE: node.options: found {'rows': 3}, expected str"),
        (NODE + "seed = -5\n", {}, {}, "FILE: node.seed: found -5, expected 0 to 2^64 - 1"),
        (NODE + f"seed = {1 << 64}\n", {}, {}, "FILE: node.seed: found 18446744073709551616, expected 0 to 2^64 - 1"),
        (NODE + 'host = "not a host!"\n', {}, {}, "FILE: node.host: found 'not a host!', expected an IP address or"),
        ('[node]\ntask = "a:b"\nname = "\\u001b[2J"\n', {}, {}, "FILE: node.name: found '\\x1b[2J', expected 1 to 64"),
        (NODE + '[ledger]\nfinality = "soon"\n', {}, {}, "FILE: ledger.finality: found 'soon', expected instant,"),
        (
            NODE + "[ledger]\nmax_gas_price_gwei = nan\n",
            {},
            {},
            "FILE: ledger.max_gas_price_gwei: found nan, expected 0 to",
        ),
        (NODE, {"MYCELIA_LEDGER_MAX_GAS_PRICE_GWEI": "-1"}, {}, "MYCELIA_LEDGER_MAX_GAS_PRICE_GWEI: ledger.max_gas"),
        (NODE + "[gossip]\nopen_seconds = inf\n", {}, {}, "FILE: gossip.open_seconds: found inf, expected more than 0"),
        (NODE + '[ledger]\nrpc = "http://"\n', {}, {}, "FILE: ledger.rpc: found 'http://', expected a URL"),
        (NODE + '[ledger]\nrpc = "http://h:99999"\n', {}, {}, "FILE: ledger.rpc: found 'http://h:99999', expected"),
        (NODE, {"MYCELIA_NODE_PROT": "80"}, {}, "MYCELIA_NODE_PROT: node.prot: unknown key"),
        (NODE, {}, {"node.prot": 80}, "--prot: node.prot: unknown key"),
    ],
)
def test_unusable_value_is_refused(
    tmp_path: Path, text: str, environ: dict[str, str], flags: dict[str, object], said: str
) -> None:
    assert problems(tmp_path, text, environ, flags)[0].startswith(said)


@pytest.mark.parametrize(("text", "wei"), [("", 500 * 10**9), ("0", 0), ("0.1", 10**8), ("1_000_000", 10**15)])
def test_what_gas_may_cost_is_exact_in_wei(tmp_path: Path, text: str, wei: int) -> None:
    save(tmp_path, NODE + "[ledger]\n" + f"max_gas_price_gwei = {text}\n" * bool(text))
    assert load_config(tmp_path, {}).ledger.max_gas_price_wei == wei


def test_registry_with_a_mistyped_capital_is_refused(tmp_path: Path) -> None:
    good = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # EIP-55's first example
    save(tmp_path, NODE)
    set_registry(tmp_path, RPC, good)
    assert load_config(tmp_path, {}).ledger.registry == good
    with pytest.raises(ConfigError, match=r"ledger\.registry"):
        set_registry(tmp_path, RPC, good.replace("Ef", "ef"))
    assert load_config(tmp_path, {}).ledger.registry == good
    set_registry(tmp_path, RPC, good, b"\x11" * 32)
    assert load_config(tmp_path, {}).ledger.fingerprint == f"0x{'11' * 32}"


@pytest.mark.parametrize("name", ["Universitätsspital", "clinic 😀", 'a "quoted" \\ name', "del\x7f\n"])
def test_written_configuration_reads_back(tmp_path: Path, name: str) -> None:
    node = NodeConfig(name="north", task="module:task", options={name: name})
    config = Config(node=node, gossip=GossipConfig(open_seconds=1e-05, train_seconds=1e16))
    write(tmp_path, config)
    assert load_config(tmp_path, {}) == config


def test_written_configuration_is_never_overwritten(tmp_path: Path) -> None:
    path = save(tmp_path, NODE)
    with pytest.raises(ConfigError, match="exists already"):
        write(tmp_path, Config(node=NodeConfig(name="south", task="module:task")))
    assert path.read_text() == NODE


def test_wrong_value_beside_a_wrong_type_is_reported_as_well(tmp_path: Path) -> None:
    found = problems(tmp_path, NODE + 'seed = -5\nport = "80"\n', {}, {})
    assert found == [
        "FILE: node.port: found '80', expected int",
        "FILE: node.seed: found -5, expected 0 to 2^64 - 1",
    ]


def test_file_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_FILE
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path, {})
    assert str(refused.value) == f"there is no {path}: name a folder that `mycelia init` made"
    path.mkdir()
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path, {})
    assert str(refused.value) == f"cannot read {path}: Is a directory"
    path.rmdir()
    path.write_bytes(b"# gr\xf6sse")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(tmp_path, {})


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write .*nowhere"):
        write(tmp_path / "nowhere", Config(node=NodeConfig(name="north", task="module:task")))


@pytest.mark.parametrize(
    "ledger",
    [
        "",
        "[ledger]",
        '[ledger]  # ours\nrpc = "" # the hospital\'s own chain\nchain_id = 7\n\n[gossip]\nopen_seconds = 2.0\n',
        "[gossip]\n\n[ledger]\nregistry = ''\n",
    ],
)
def test_naming_the_registry_keeps_everything_else(tmp_path: Path, ledger: str) -> None:
    path = save(tmp_path, "# mine\n" + NODE + ledger)
    before = tomllib.loads(path.read_text())
    set_registry(tmp_path, RPC, REGISTRY)
    set_registry(tmp_path, RPC, REGISTRY)
    before.setdefault("ledger", {}).update(rpc=RPC, registry=REGISTRY)
    assert tomllib.loads(path.read_text()) == before
    assert path.read_text().startswith("# mine\n")
    assert ("hospital's own chain" in path.read_text()) == ("hospital" in ledger)


def test_registry_is_not_guessed_into_a_file_of_another_form(tmp_path: Path) -> None:
    text = 'ledger = { rpc = "", registry = "" }\n' + NODE
    path = save(tmp_path, text)
    with pytest.raises(ConfigError, match=r"cannot change \[ledger\]"):
        set_registry(tmp_path, RPC, REGISTRY)
    assert path.read_text() == text
    assert load_config(tmp_path, {}).ledger == LedgerConfig()


def test_the_first_block_of_one_registry_is_not_that_of_another(tmp_path: Path) -> None:
    ledger = f'[ledger]\nregistry = "{REGISTRY}"\nfirst_block = 7\n'
    save(tmp_path, NODE + ledger)
    assert load_config(tmp_path, {}).ledger.first_block == 7
    assert load_config(tmp_path, {}, {"ledger.registry": REGISTRY.upper().replace("X", "x")}).ledger.first_block == 7
    other = "0x" + "22" * 20
    assert load_config(tmp_path, {}, {"ledger.registry": other}).ledger.first_block == 0
    assert load_config(tmp_path, {"MYCELIA_LEDGER_REGISTRY": other}).ledger.first_block == 0
    both = {"ledger.registry": other, "ledger.first_block": 9}
    assert load_config(tmp_path, {}, both).ledger.first_block == 9
    save(tmp_path, NODE + "[ledger]\nfirst_block = 7\n")
    assert load_config(tmp_path, {}, {"ledger.registry": other}).ledger.first_block == 7
