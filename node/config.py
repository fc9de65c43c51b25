"""A node's configuration: defaults, then `mycelia.toml`, then MYCELIA_SECTION_KEY, then flags.

All problems are reported at once, each with where it stands, what was found and what was expected.  Numbers that all
members must share are not here: they come from the contract.
"""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from eth_utils.address import is_checksum_address

from gossip.state import Timing
from ledger import finality
from ledger.pages import MAX_BLOCK
from ledger.types import MAX_GAS_PRICE_WEI
from node.errors import ConfigError
from node.members import HOST_RULE, NAME_RULE, is_host, is_name

CONFIG_FILE = "mycelia.toml"
ROWS_FILE = "rows.csv"
"""Where a built-in task looks for the member's rows."""
_PREFIX = "MYCELIA"
_FIRST_BLOCK = "ledger.first_block"
MAX_GWEI = 10**6
"""A thousandth of a coin for each unit of gas: more would be wei in the place of gwei."""


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[node]: who and where this node is, and what it learns.

    Attributes:
        host, port: where the other members reach this node.
        bind: address to listen on, if it is another one than `host`, as behind NAT or in a container.
        rest_seconds: between a round and the next.
        linger_seconds: that a node that has finished waits for members that have not.
        relay: members that cannot reach each other may do so through this node.
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
    relay: bool = False


class LedgerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[ledger]: the chain, and the registry that names everything else.

    Attributes:
        chain_id: that the endpoint has to serve; None for any.
        first_block: no event of the deployment is older: spares long chains the search.
        fingerprint: 0x and 64 hex digits that the registry's history has to have; "" for any.
        finality: see `ledger.finality.Finality.parse`.
        max_gas_price_gwei: the most that this node offers for a unit of gas, whatever the endpoint says it costs.
    """

    rpc: str = ""
    registry: str = ""
    chain_id: int | None = None
    first_block: int = 0
    fingerprint: str = ""
    finality: str = "instant"
    max_gas_price_gwei: float = MAX_GAS_PRICE_WEI / 10**9

    @property
    def max_gas_price_wei(self) -> int:
        return int(Decimal(str(self.max_gas_price_gwei)) * 10**9)


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
    silence_seconds: float = 5.0
    shortest_seconds: float = 3.0

    def timing(self) -> Timing:
        return Timing(**msgspec.structs.asdict(self))


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that is this node's own choice."""

    node: NodeConfig
    ledger: LedgerConfig = LedgerConfig()
    gossip: GossipConfig = GossipConfig()


_SECTIONS: dict[str, type[msgspec.Struct]] = {"node": NodeConfig, "ledger": LedgerConfig, "gossip": GossipConfig}

_REMARKS = {
    "node": "who and where this node is, and what it learns",
    "node.host": "where the other members reach this node",
    "node.bind": "address to listen on, if it is another one than host",
    "node.task": "module:object that makes the task from the options",
    "node.rest_seconds": "between a round and the next",
    "node.linger_seconds": "that a finished node waits for members that have not finished",
    "node.relay": "members that cannot reach each other may do so through this node",
    "ledger": "the chain, and the registry that names everything else",
    "ledger.first_block": "in which the registry was deployed, or an earlier one",
    "ledger.fingerprint": "of the consortium, as the other members read it; empty: as first seen",
    "ledger.finality": "which blocks count as final: instant, confirmations:k, safe, or finalized",
    "ledger.max_gas_price_gwei": "that is offered for gas; mainnet is usually below 100, permissioned chains are at 0",
    "gossip": "how long to wait for what, in seconds",
}


def load_config(
    folder: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Config:
    """The configuration of the node in `folder`; `flags` go by "section.key".

    Raises:
        ConfigError: every problem, one to a line, each with the file, variable or flag that it stands in.
    """
    path = folder / CONFIG_FILE
    problems: list[str] = []
    written = _from_file(path, problems)
    given = written | _from_environment(os.environ if environ is None else environ)
    given |= {key: _Given(f"--{key.partition('.')[2]}", value) for key, value in (flags or {}).items()}
    if _is_elsewhere(written, given) and given.get(_FIRST_BLOCK) is written.get(_FIRST_BLOCK):
        given.pop(_FIRST_BLOCK, None)
    parts = {section: _checked(path, section, kind, given, problems) for section, kind in _SECTIONS.items()}
    problems += [f"{item.source}: {key}: unknown key" for key, item in given.items() if key not in _known()]
    if problems:
        raise ConfigError("\n".join(problems))
    return msgspec.convert(parts, Config)


def validate(config: Config) -> None:
    """Refuse now what `load_config` would refuse later.

    Raises:
        ConfigError: every problem, one to a line, each with the flag of `mycelia init` that it came by.
    """
    problems: list[str] = []
    for section, kind in _SECTIONS.items():
        values = msgspec.to_builtins(getattr(config, section))
        given = {f"{section}.{key}": _Given(f"--{key}", value, typed=True) for key, value in values.items()}
        _checked(Path(CONFIG_FILE), section, kind, given, problems)
    if problems:
        raise ConfigError("\n".join(problems))


def write_config(folder: Path, config: Config) -> None:
    """Write a new node's configuration.

    Raises:
        ConfigError: there is one already, or it cannot be written.
    """
    path = folder / CONFIG_FILE
    if path.exists():
        raise ConfigError(f"{path} exists already; edit it, or choose another folder")
    _save(path, "\n".join(line for section in _SECTIONS for line in _section_lines(section, config)))


def set_registry(folder: Path, rpc: str, registry: str, fingerprint: bytes = b"") -> None:
    """Name chain, registry and fingerprint in the configuration of `folder`; the rest of the file stays as it is.

    Raises:
        ConfigError: the file, the URL or the address cannot be used.
    """
    values = {"rpc": rpc, "registry": registry}
    if fingerprint:
        values["fingerprint"] = f"0x{fingerprint.hex()}"
    wanted = load_config(folder, {}, {f"ledger.{key}": value for key, value in values.items()})
    path = folder / CONFIG_FILE
    text = _with_ledger(path.read_text(encoding="utf-8"), values)
    try:
        tables = tomllib.loads(text)
        done = msgspec.convert(tables, Config) == wanted
    except (tomllib.TOMLDecodeError, msgspec.ValidationError):
        done = False
    if not done:
        raise ConfigError(f"cannot change [ledger] in {path}; set there {', '.join(_assignments(values))}")
    _save(path, text)


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """A value and where it stands; text from outside the file may stand for a number."""

    source: str
    value: object
    typed: bool = False


def _known() -> set[str]:
    return {f"{section}.{key}" for section, kind in _SECTIONS.items() for key in kind.__struct_fields__}


def _from_file(path: Path, problems: list[str]) -> dict[str, _Given]:
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no {path}: name a folder that `mycelia init` made") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; save it as such") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    given: dict[str, _Given] = {}
    for section, table in raw.items():
        if section not in _SECTIONS:
            problems.append(f"{path}: [{section}]: unknown section")
        elif not isinstance(table, dict):
            problems.append(f"{path}: {section}: found {table!r}, expected a section [{section}]")
        else:
            given |= {f"{section}.{key}": _Given(str(path), value, typed=True) for key, value in table.items()}
    return given


def _is_elsewhere(written: Mapping[str, _Given], given: Mapping[str, _Given]) -> bool:
    """Whether another registry is meant than the one in the file, whose deployment has another first block."""
    own, meant = (
        str(part["ledger.registry"].value).lower() if "ledger.registry" in part else "" for part in (written, given)
    )
    return own not in ("", meant)


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    given = {}
    for section in _SECTIONS:
        prefix = f"{_PREFIX}_{section}_".upper()
        for name, text in environ.items():
            if name.startswith(prefix):
                given[f"{section}.{name.removeprefix(prefix).lower()}"] = _Given(name, text)
    return given


def _checked(
    path: Path, section: str, kind: type[msgspec.Struct], given: Mapping[str, _Given], problems: list[str]
) -> dict[str, Any]:
    """The section's good values; one field is tried after another, so that no problem hides the next."""
    good: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        key = f"{section}.{field.name}"
        item = given.get(key)
        if item is None:
            if field.required:
                problems.append(f"{path}: {key}: missing")
            continue
        expected = None
        try:
            value = msgspec.convert(item.value, field.type, strict=item.typed)
        except msgspec.ValidationError as error:
            expected = str(error).partition(", got")[0].replace("`", "").removeprefix("Expected ")
        else:
            is_good, range_text = _RANGES.get(key, _ANYTHING)
            expected = None if is_good(value) else range_text
            good[field.name] = value
        if expected is not None:
            problems.append(f"{item.source}: {key}: found {item.value!r}, expected {expected}")
    return good


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    if re.fullmatch("0x[0-9a-fA-F]{40}", text) is None:
        return False
    return text[2:] in (text[2:].lower(), text[2:].upper()) or is_checksum_address(text)


def _is_finality(text: str) -> bool:
    try:
        finality.Finality.parse(text)
    except ValueError:
        return False
    return True


_Range = tuple[Callable[[Any], bool], str]

_ANYTHING: _Range = (lambda value: True, "")
_POSITIVE: _Range = (lambda seconds: 0 < seconds < math.inf, "more than 0 seconds")
_NOT_NEGATIVE: _Range = (lambda seconds: 0 <= seconds < math.inf, "0 seconds or more")

_RANGES: dict[str, _Range] = {
    "node.name": (is_name, NAME_RULE),
    "node.host": (is_host, HOST_RULE),
    "node.port": (lambda port: 1 <= port <= 65_535, "1 to 65535"),
    "node.task": (lambda task: all(task.partition(":")), "module:object"),
    "node.seed": (lambda seed: 0 <= seed < 1 << 64, "0 to 2^64 - 1"),
    "node.rest_seconds": _NOT_NEGATIVE,
    "node.linger_seconds": _NOT_NEGATIVE,
    "ledger.rpc": (lambda url: not url or _is_url(url), "a URL with http:// or https://"),
    "ledger.registry": (
        lambda address: not address or _is_address(address),
        "0x and 40 hex digits whose capitals are all, none, or the checksum's",
    ),
    "ledger.first_block": (lambda block: 0 <= block < MAX_BLOCK, f"0 to {MAX_BLOCK - 1}"),
    "ledger.fingerprint": (
        lambda text: not text or re.fullmatch("0x[0-9a-fA-F]{64}", text) is not None,
        "0x and 64 hex digits, as mycelia doctor shows it",
    ),
    "ledger.finality": (_is_finality, finality.RULE),
    "ledger.max_gas_price_gwei": (lambda gwei: 0 <= gwei <= MAX_GWEI, f"0 to {MAX_GWEI}"),
    **{f"gossip.{key}": _POSITIVE for key in GossipConfig.__struct_fields__},
}


# --- writing ----------------------------------------------------------------------------------------------------------


def _section_lines(section: str, config: Config) -> list[str]:
    lines = [f"# {_REMARKS[section]}", f"[{section}]"]
    for key, value in msgspec.to_builtins(getattr(config, section)).items():
        remark = _REMARKS.get(f"{section}.{key}")
        if remark:
            lines.append(f"# {remark}")
        if value is not None:
            lines.append(f"{key} = {_toml(value)}")
    return [*lines, ""]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, str):
        # JSON may keep a DEL and writes pairs of surrogates, and TOML allows neither.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _with_ledger(text: str, values: Mapping[str, str]) -> str:
    """The file's text with these keys in [ledger], which is added where it is not there."""
    header = re.search(r"^\[ledger\][^\n]*(\n|\Z)", text, re.MULTILINE)
    if header is None:
        return "\n".join([text.rstrip("\n"), "", "[ledger]", *_assignments(values), ""])
    following = re.compile(r"^\[", re.MULTILINE).search(text, header.end())
    end = len(text) if following is None else following.start()
    section = text[header.end() : end]
    missing = {}
    for key, value in values.items():
        # A remark after the value stays.
        pattern = rf"""^[ \t]*{key}[ \t]*=[ \t]*("[^"\n]*"|'[^'\n]*')"""
        line = f"{key} = {_toml(value)}".replace("\\", r"\\")
        section, count = re.subn(pattern, line, section, flags=re.MULTILINE)
        if not count:
            missing[key] = value
    added = "".join(f"{line}\n" for line in _assignments(missing))
    return text[: header.start()] + header[0].rstrip("\n") + "\n" + added + section + text[end:]


def _assignments(values: Mapping[str, str]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _save(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except (OSError, UnicodeEncodeError) as error:
        draft.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else "it would hold what is no text"
        raise ConfigError(f"cannot write {path}: {reason}") from error
