"""A node's configuration: defaults, then `mycelia.toml`, then MYCELIA_SECTION_KEY, then flags.

All problems are reported at once, each with where it stands, what was found and what was expected.  Numbers that all
members must share are not here: they come from the contract.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gossip.state import Timing
from node.errors import ConfigError

CONFIG_FILE = "mycelia.toml"
ROWS_FILE = "rows.csv"
"""Where a built-in task looks for the member's rows."""
_PREFIX = "MYCELIA"


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[node]: who and where this node is, and what it learns.

    Attributes:
        host, port: where the other members reach this node.
        bind: address to listen on, if it is another one than `host`, as behind NAT or in a container.
        rest_seconds: between a round and the next.
        linger_seconds: that a node that has finished waits for members that have not.
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 4001
    bind: str = ""
    task: str
    options: dict[str, str] = {}
    seed: int = 0
    rest_seconds: float = 0.0
    linger_seconds: float = 60.0


class LedgerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[ledger]: the chain, and the registry that names everything else."""

    rpc: str = ""
    registry: str = ""
    chain_id: int | None = None


class GossipConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[gossip]: how long to wait for what; see `gossip.state.Timing`."""

    open_seconds: float = 5.0
    train_seconds: float = 60.0
    prove_seconds: float = 5.0
    receipt_seconds: float = 5.0
    agree_seconds: float = 10.0
    reveal_seconds: float = 20.0
    score_seconds: float = 10.0
    grace_seconds: float = 0.5

    def timing(self) -> Timing:
        return Timing(**msgspec.structs.asdict(self))


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that is this node's own choice."""

    node: NodeConfig
    ledger: LedgerConfig = LedgerConfig()
    gossip: GossipConfig = GossipConfig()


_SECTIONS: dict[str, type[msgspec.Struct]] = {"node": NodeConfig, "ledger": LedgerConfig, "gossip": GossipConfig}


def load_config(
    folder: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Config:
    """The configuration of the node in `folder`.

    Raises:
        ConfigError: every problem, one to a line.
    """
    path = folder / CONFIG_FILE
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}; `mycelia init` writes it") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    problems = [f"{path}: [{name}]: unknown section" for name in raw if name not in _SECTIONS]
    parts: dict[str, Any] = {}
    for section, kind in _SECTIONS.items():
        table = dict(raw.get(section, {}))
        table |= _from_environment(section, kind, os.environ if environ is None else environ)
        table |= {key.partition(".")[2]: v for key, v in (flags or {}).items() if key.partition(".")[0] == section}
        parts[section] = _checked(path, section, kind, table, problems)
    if not problems:
        problems = _validate(path, parts)
    if problems:
        raise ConfigError("\n".join(problems))
    return Config(**parts)


def write_config(folder: Path, config: Config) -> None:
    """Write a new node's configuration.

    Raises:
        ConfigError: there is one already.
    """
    path = folder / CONFIG_FILE
    if path.exists():
        raise ConfigError(f"{path} exists already; edit it, or choose another folder")
    _write(path, config)


def set_registry(folder: Path, rpc: str, registry: str) -> None:
    """Name the chain and the registry in the configuration of `folder`."""
    config = load_config(folder, {})
    ledger = msgspec.structs.replace(config.ledger, rpc=rpc, registry=registry)
    _write(folder / CONFIG_FILE, msgspec.structs.replace(config, ledger=ledger))


def _write(path: Path, config: Config) -> None:
    lines = []
    for section in _SECTIONS:
        lines.append(f"[{section}]")
        for key, value in msgspec.to_builtins(getattr(config, section)).items():
            if isinstance(value, dict):
                pairs = ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in value.items())
                lines.append(f"{key} = {{ {pairs} }}")
            elif value is not None:
                lines.append(f"{key} = {json.dumps(value)}")
        lines.append("")
    draft = path.with_suffix(".new")
    draft.write_text("\n".join(lines))
    os.replace(draft, path)


def _from_environment(section: str, kind: type[msgspec.Struct], environ: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for key in kind.__struct_fields__:
        text = environ.get(f"{_PREFIX}_{section}_{key}".upper())
        if text is not None:
            found[key] = text
    return found


def _checked(path: Path, section: str, kind: type[msgspec.Struct], table: dict[str, Any], problems: list[str]) -> Any:
    """The section, or None with its problems added: one field is tried after another, so that none hides the next."""
    before = len(problems)
    fields = {item.name: item for item in msgspec.structs.fields(kind)}
    problems += [f"{path}: {section}.{key}: unknown key" for key in table if key not in fields]
    good = {}
    for name, item in fields.items():
        if name not in table:
            if item.required:
                problems.append(f"{path}: {section}.{name}: missing")
            continue
        try:
            good[name] = msgspec.convert(table[name], item.type, strict=not isinstance(table[name], str))
        except msgspec.ValidationError as error:
            problems.append(f"{path}: {section}.{name}: found {table[name]!r}; {str(error)[0].lower()}{str(error)[1:]}")
    return kind(**good) if len(problems) == before else None


def _validate(path: Path, parts: Mapping[str, Any]) -> list[str]:
    node, ledger = parts["node"], parts["ledger"]
    problems = []
    if not 1 <= node.port <= 65_535:
        problems.append(f"{path}: node.port: found {node.port}, expected 1 to 65535")
    if not 1 <= len(node.name.encode()) <= 64:
        problems.append(f"{path}: node.name: found {node.name!r}, expected 1 to 64 bytes")
    if ":" not in node.task:
        problems.append(f"{path}: node.task: found {node.task!r}, expected module:object")
    if ledger.rpc and not ledger.rpc.startswith(("http://", "https://")):
        problems.append(f"{path}: ledger.rpc: found {ledger.rpc!r}, expected a URL with http:// or https://")
    if ledger.registry and not _is_address(ledger.registry):
        problems.append(f"{path}: ledger.registry: found {ledger.registry!r}, expected 0x and 40 hex digits")
    for name in ("rest_seconds", "linger_seconds"):
        if not 0 <= getattr(node, name) < math.inf:
            problems.append(f"{path}: node.{name}: found {getattr(node, name)}, expected 0 or more")
    for name, seconds in msgspec.structs.asdict(parts["gossip"]).items():
        if not seconds > 0:
            problems.append(f"{path}: gossip.{name}: found {seconds}, expected more than 0")
    return problems


def _is_address(text: str) -> bool:
    return len(text) == 42 and text.startswith("0x") and all(digit in "0123456789abcdefABCDEF" for digit in text[2:])
