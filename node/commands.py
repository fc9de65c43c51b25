"""What each command does, with plain arguments; `node.cli` only parses."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from gossip.errors import GossipError
from ledger.errors import LedgerError
from node.config import ROWS_FILE, Config, GossipConfig, LedgerConfig, NodeConfig, load_config, write_config
from node.errors import EXIT_AUDIT, ConfigError, NodeError
from node.keys import Keys, create_keys, find_member, load_keys

if TYPE_CHECKING:
    from gossip.spec import TaskSpec
    from ledger.types import Member, VaultTerms

log = structlog.get_logger()

MEMBER_FILE = "member.json"
BUILTIN_TASKS = {"breast-cancer": "node.builtin:breast_cancer", "heart": "node.builtin:heart"}
PAUSE_VARIABLE = "MYCELIA_PAUSE_AT"
"""ROUND:PHASE in which a node sleeps for a second, so that a test can end it there."""


def init(folder: Path, name: str, task: str, host: str, port: int, options: list[str]) -> None:
    """Write keys, `mycelia.toml` and `member.json`."""
    pairs = dict(split_pair(option) for option in options)
    if task in BUILTIN_TASKS:
        pairs.setdefault("path", str((folder / ROWS_FILE).absolute()))
        task = BUILTIN_TASKS[task]
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder, NodeConfig(name=name, host=host, port=port, task=task, options=pairs, seed=0), GossipConfig())
    print(folder / MEMBER_FILE)


def prepare(folder: Path, node: NodeConfig, gossip: GossipConfig) -> Keys:
    """A new node's folder; nothing that exists is overwritten."""
    write_config(folder, Config(node=node, ledger=LedgerConfig(rpc="", registry=""), gossip=gossip))
    keys = create_keys(folder)
    entry = {
        "name": node.name,
        "account": keys.account_address,
        "signer": keys.signer_address,
        "peer_id": keys.peer_id,
        "address": f"{node.host}:{node.port}",
    }
    (folder / MEMBER_FILE).write_text(json.dumps(entry, indent=1) + "\n")
    return keys


def terms(budget_ether: float, participation_ppm: int, dispute_seconds: int) -> VaultTerms:
    """The vault's terms in its own units."""
    from ledger.types import VaultTerms

    return VaultTerms(_wei(budget_ether), participation_ppm, dispute_seconds)


def deploy(
    members: list[Path],
    rpc: str,
    task_from: Path,
    key: Path | None,
    rounds: int,
    vault: VaultTerms,
    gas_ether: float | None,
) -> None:
    """Deploy the contracts, fund the vault for every round, print the registry."""
    from ledger.devchain import DEV_KEYS
    from node.builtin import make_spec
    from node.tasks import load_task

    config = load_config(task_from)
    task = load_task(config.node.task, dict(config.node.options), task_from)
    deployer = DEV_KEYS[0] if key is None else _read_hex_key(key)
    gas_wei = _wei(gas_ether if gas_ether is not None else float(key is None))
    roster = [read_member(path, index) for index, path in enumerate(members)]
    print(deploy_for(roster, rpc, deployer, make_spec(task, rounds), vault, gas_wei))


def deploy_for(
    members: list[Member], rpc: str, deployer: str | bytes, spec: TaskSpec, vault: VaultTerms, gas_wei: int
) -> str:
    """Deploy with these members, a vault that can pay every round, and gas for the signers; the registry's address."""
    from ledger.deploy import deploy as deploy_contracts
    from ledger.deploy import send_wei

    registry = deploy_contracts(rpc, deployer, members, spec.encode(), vault, vault.round_budget_wei * spec.rounds)
    for member in members:
        if gas_wei:
            send_wei(rpc, deployer, member.signer, gas_wei)
    return registry


def read_member(path: Path, index: int) -> Member:
    """The roster entry in a member.json.

    Raises:
        ConfigError: the file is missing or says something else.
    """
    from ledger.types import Member

    try:
        entry = json.loads(path.read_text())
        host, port = Member.split_net_address(entry["address"])
        return Member(index, entry["account"], entry["signer"], entry["name"], entry["peer_id"], host, port)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a member.json as `mycelia init` writes it: {error}") from error


def run(folder: Path, rpc: str | None, registry: str | None) -> None:
    """Run the node until its rounds are over."""
    import trio

    from node.assemble import assemble, evaluate

    config, keys = _opened(folder, rpc, registry)
    assembled = assemble(folder, config, keys, _pause_from_environment())
    try:
        _run_to_the_end(partial(trio.run, assembled.node.run, assembled.first))
        evaluate(folder, assembled)
        assembled.node.progress.note("finished")
        latest = assembled.store.latest_checkpoint()
        if latest is not None:
            print(json.dumps({"round": latest[0], "model_digest": latest[1].hex()}))
    finally:
        assembled.node.progress.close()
        assembled.store.close()


def _run_to_the_end(call: Callable[[], None]) -> None:
    """Call it; of the errors that its tasks end with together, raise the one that says why."""
    try:
        call()
    except BaseExceptionGroup as group:
        known = list(_known(group))
        if not known:
            raise
        raise known[0] from None


def _known(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _known(error)
        elif isinstance(error, NodeError | GossipError | LedgerError):
            yield error


def status(folder: Path, as_json: bool) -> None:
    """Print the state that the node last wrote."""
    from node.progress import STATUS_FILE

    try:
        state = json.loads((folder / STATUS_FILE).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"no node has run in {folder} yet: it has no {STATUS_FILE} that can be read") from error
    if as_json:
        print(json.dumps(state))
        return
    state["updated"] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state["updated"]))
    for name, value in state.items():
        print(f"{name:<14}{_in_words(value)}")


def claim(folder: Path, rpc: str | None, registry: str | None) -> None:
    """Activate the newest rewards whose dispute window is over, and claim this member's part."""
    config, keys = _opened(folder, rpc, registry)
    print(claim_for(keys, config.ledger.rpc, config.ledger.registry))


def claim_for(keys: Keys, rpc: str, registry: str) -> int:
    """Wei paid to the member with these keys, of the rounds whose dispute window is over."""
    from ledger.client import LedgerClient
    from ledger.rewards import pay, rewards_proof

    client = LedgerClient(rpc, registry)
    roster, vault = client.roster(), client.terms()
    me, n = find_member(roster, keys), len(roster.members)
    cumulative, latest = [0] * n, None
    now = client.block_timestamp()
    for record in client.records():
        result = record.result
        if client.recorded_at(result.round) + vault.dispute_window_seconds > now:
            log.info("rewards.not_due", round=result.round, window_seconds=vault.dispute_window_seconds)
            break
        added = pay(vault, result.kind, result.outcome, result.dealers, record.scores, n)
        cumulative = [old + new for old, new in zip(cumulative, added, strict=True)]
        latest = result
    already = client.claimed_wei(me)
    if latest is None or already >= cumulative[me]:
        return 0
    if client.active_root() != latest.rewards:
        client.activate(keys.signer, latest)
    client.claim(keys.signer, me, cumulative[me], rewards_proof(cumulative, me))
    return cumulative[me] - already


def export(folder: Path, out: Path) -> None:
    """Write the latest model with this member's private parameters, by their names."""
    import numpy as np
    import safetensors.numpy

    from node.builtin import make_spec
    from node.model import decode
    from node.store import STORE_FILE, Store
    from node.tasks import load_task
    from node.train import split_parameters, unflatten

    config = load_config(folder)
    task = load_task(config.node.task, dict(config.node.options), folder)
    store = Store(folder / STORE_FILE)
    try:
        latest, saved = store.latest_checkpoint(), store.load_private(1 << 62)
    finally:
        store.close()
    if latest is None:
        raise ConfigError(f"the node in {folder} has no agreed model yet")
    state = decode(latest[2], make_spec(task, 1))
    shared, private = split_parameters(task, task.build_model())
    tensors = {name: value.numpy() for name, value in unflatten(state.shared, shared).items()}
    for name, values in store.decoded(saved or b"\x80", dict[str, Any]).items():
        tensors[name] = np.array(values, dtype=np.float64).reshape(private[name].shape)
    tensors |= {"standardise.mean": state.mean, "standardise.variance": state.variance}
    out.write_bytes(safetensors.numpy.save(tensors))
    print(out)


def audit(rpc: str, registry: str, as_json: bool) -> None:
    """Print what was checked; exit 3 with every finding named if something does not fit."""
    from ledger.audit import audit as check

    report = check(rpc, registry)
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        for name, count in report.as_json()["checked"].items():
            print(f"{name:<12}{count:>24}")
        for finding in report.findings:
            print(f"FINDING {finding.code}: {finding.text}")
        print("everything fits" if report.ok else f"{len(report.findings)} findings")
    if not report.ok:
        sys.exit(EXIT_AUDIT)


def devchain(port: int) -> None:
    """Serve until interrupted; the first line on standard output says where."""
    from ledger.devchain import serve

    def ready(url: str, chain_id: int) -> None:
        print(json.dumps({"rpc": url, "chain_id": chain_id}), flush=True)

    serve("127.0.0.1", port, ready)


def split_pair(text: str) -> tuple[str, str]:
    """NAME=VALUE in two."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise ConfigError(f"an option is NAME=VALUE, found {text!r}")
    return name, value


def _opened(folder: Path, rpc: str | None, registry: str | None) -> tuple[Config, Keys]:
    flags = {"ledger.rpc": rpc, "ledger.registry": registry}
    config = load_config(folder, flags={name: value for name, value in flags.items() if value is not None})
    for name, value in (("rpc", config.ledger.rpc), ("registry", config.ledger.registry)):
        if not value:
            raise ConfigError(f"{folder}/mycelia.toml: ledger.{name} is empty; name it there or with --{name}")
    return config, load_keys(folder)


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(part)}" for name, part in value.items())
    return " ".join(map(str, value)) or "-" if isinstance(value, list) else str(value)


def _wei(ether: float) -> int:
    return int(Decimal(str(ether)) * 10**18)


def _read_hex_key(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text().strip().removeprefix("0x"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} holds no key in hex: {error}") from error


def _pause_from_environment() -> tuple[int, str] | None:
    text = os.environ.get(PAUSE_VARIABLE)
    if not text:
        return None
    number, _, phase = text.partition(":")
    return int(number), phase
