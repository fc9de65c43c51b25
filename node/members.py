"""What a member says of itself, in its member.json, to whoever deploys."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from node.errors import ConfigError

if TYPE_CHECKING:
    from ledger.types import Member

MEMBER_FILE = "member.json"
NAME_RULE = "1 to 64 bytes of printable characters"
HOST_RULE = "an IP address or the name of a host"


def is_name(text: str) -> bool:
    """Whether it can be a member's name, which others see on their terminals."""
    return 1 <= len(text.encode(errors="replace")) <= 64 and text.isprintable() and not text.isspace()


def is_host(text: str) -> bool:
    """Whether it is an IP address, or labels with dots between them that may be a host's name."""
    try:
        ipaddress.ip_address(text)
        return "%" not in text  # a zone means nothing on another machine
    except ValueError:
        labels = text.split(".")
        return len(text) <= 253 and not labels[-1].isdigit() and all(re.fullmatch(r"[\w-]{1,63}", x) for x in labels)


class _Entry(msgspec.Struct):
    """What a member.json says."""

    name: str
    account: str
    signer: str
    peer_id: str
    address: str


def read_member(path: Path, index: int) -> Member:
    """The roster entry in a member.json.

    Raises:
        ConfigError: the file is missing, or names a member whose node could not run.
    """
    from gossip.transport import PeerAddress
    from ledger.types import Member

    try:
        entry = msgspec.json.decode(path.read_bytes(), type=_Entry)
        host, port = Member.split_net_address(entry.address)
        if not is_name(entry.name):
            raise ValueError(f"name: found {entry.name!r}, expected {NAME_RULE}")
        if not is_host(host):
            raise ValueError(f"address: found {entry.address!r}, expected HOST:PORT with {HOST_RULE}")
        PeerAddress(entry.peer_id, host, port)
        return Member(index, entry.account, entry.signer, entry.name, entry.peer_id, host, port)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; `mycelia init` writes a member.json") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a member.json as `mycelia init` writes it: not UTF-8 text") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not a member.json as `mycelia init` writes it: {error}") from error


def read_roster(paths: Sequence[Path]) -> list[Member]:
    """The first roster, from the member.json of each member.

    Raises:
        ConfigError: one of them cannot be used, or two have in common what each needs for itself.
    """
    members = [read_member(path, index) for index, path in enumerate(paths)]
    _check_distinct(paths, members)
    return members


def _check_distinct(paths: Sequence[Path], members: Sequence[Member]) -> None:
    """The registry refuses most of what two members may not share; two nodes cannot be reached at one address."""
    for name in ("name", "account", "signer", "peer_id", "net_address"):
        seen: dict[str, Path] = {}
        for path, member in zip(paths, members, strict=True):
            value = str(getattr(member, name)).lower() if name == "net_address" else str(getattr(member, name))
            if value in seen:
                what = name.replace("_", " ")
                raise ConfigError(f"{seen[value]} and {path} have the same {what} {value}; each needs its own")
            seen[value] = path
