"""What each command does, with plain arguments; `node.cli` only parses."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from gossip.errors import GossipError
from ledger.errors import LedgerError
from node.config import ROWS_FILE, Config, GossipConfig, LedgerConfig, NodeConfig, load_config, validate, write_config
from node.errors import EXIT_FAILURE, ConfigError, NodeError
from node.keys import Keys, create_keys, load_keys, parse_key
from node.members import MEMBER_FILE

log = structlog.get_logger()

BUILTIN_TASKS = {"breast-cancer": "node.builtin:breast_cancer", "heart": "node.builtin:heart"}
PAUSE_VARIABLE = "MYCELIA_PAUSE_AT"
"""ROUND:PHASE in which a node sleeps for a second, so that a test can end it there; @FILE for a file that says it."""
_KEY_FILE_BYTES = 256


def init(folder: Path, name: str, task: str, host: str, port: int, options: list[str]) -> None:
    """Write keys, `mycelia.toml` and `member.json`."""
    pairs = dict(split_pair(option) for option in options)
    if task in BUILTIN_TASKS:
        pairs.setdefault("path", str((folder / ROWS_FILE).absolute()))
        task = BUILTIN_TASKS[task]
    prepare(folder, NodeConfig(name=name, host=host, port=port, task=task, options=pairs, seed=0), GossipConfig())
    print(folder / MEMBER_FILE)


def prepare(folder: Path, node: NodeConfig, gossip: GossipConfig) -> Keys:
    """A new node's folder; nothing that exists is overwritten, and nothing is written that `run` would refuse."""
    config = Config(node=node, ledger=LedgerConfig(rpc="", registry=""), gossip=gossip)
    validate(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}") from error
    write_config(folder, config)
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


def run(folder: Path, rpc: str | None, registry: str | None) -> None:
    """Run the node until its rounds are over."""
    import trio

    from node.assemble import assemble, evaluate

    config, keys = opened(folder, rpc, registry)
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

    path = folder / STATUS_FILE
    try:
        state = json.loads(path.read_text())
        updated = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(0.0 + state["updated"]))
    except FileNotFoundError as error:
        raise ConfigError(f"no node has run in {folder} yet: there is no {path}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged; a node that runs writes it anew") from error
    if as_json:
        print(json.dumps(state))
        return
    for name, value in (state | {"updated": updated}).items():
        print(f"{name:<14}{_in_words(value)}")


def export(folder: Path, out: Path, agreed: bool = False) -> None:
    """Write the latest model with this member's private parameters, by their names; or `agreed`, as its digest is."""
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
    if agreed:
        out.write_bytes(latest[2])
        print(out)
        return
    state = decode(latest[2], make_spec(task, 1))
    shared, private = split_parameters(task, task.build_model())
    tensors = {name: value.numpy() for name, value in unflatten(state.shared, shared).items()}
    for name, values in store.decoded(saved or b"\x80", dict[str, Any]).items():
        tensors[name] = np.array(values, dtype=np.float64).reshape(private[name].shape)
    tensors |= {"standardise.mean": state.mean, "standardise.variance": state.variance}
    out.write_bytes(safetensors.numpy.save(tensors))
    print(out)


def doctor(folder: Path, rpc: str | None, registry: str | None, as_json: bool) -> None:
    """Print every finding with what to do; exit 1 if one of them keeps the node from taking part."""
    from node.doctor import FAILURE, examine

    findings = []
    for finding in examine(folder, rpc, registry):
        findings.append(finding)
        if not as_json:
            print(f"{finding.state:<9}{finding.check:<16}{finding.found}")
            if finding.todo:
                print(f"{'':<25}-> {finding.todo}")
    failures = sum(finding.state == FAILURE for finding in findings)
    if as_json:
        print(json.dumps({"ok": not failures, "findings": [finding.as_json() for finding in findings]}))
    elif failures:
        print(f"{failures} failure{'' if failures == 1 else 's'}: the node cannot take part")
    if failures:
        sys.exit(EXIT_FAILURE)


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


def opened(folder: Path, rpc: str | None, registry: str | None) -> tuple[Config, Keys]:
    """Configuration and keys of a node that knows its chain and registry."""
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


def read_hex_key(path: Path) -> bytes:
    """The private key in a file of hex digits."""
    try:
        with path.open("rb") as file:
            return parse_key(file.read(_KEY_FILE_BYTES).strip().removeprefix(b"0x"))
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error.strerror}") from error
    except ValueError:
        # The error itself would quote the file, which may hold most of a key.
        raise ConfigError(f"{path} holds no private key: expected 64 hex digits") from None


def _pause_from_environment() -> Callable[[int, str], bool]:
    given = os.environ.get(PAUSE_VARIABLE, "")

    def pauses(round_id: int, phase: str) -> bool:
        text = given
        if given.startswith("@"):
            try:
                text = Path(given[1:]).read_text()
            except OSError:
                return False
        return text == f"{round_id}:{phase}"

    return pauses
