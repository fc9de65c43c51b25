"""Rosters as the registry shows them."""

from __future__ import annotations

from dataclasses import replace

from gossip.transport import peer_id_of
from ledger.types import Member, Roster


def member(index: int, key: int | None = None, **changes: object) -> Member:
    address = "0x" + f"{index + 1:040x}"
    peer = peer_id_of(bytes([index if key is None else key]) * 32)
    return replace(Member(index, address, address, f"m{index}", peer, "127.0.0.1", 4001 + index), **changes)  # type: ignore[arg-type]


def roster(*members: Member, version: int = 1, active: int | None = None) -> Roster:
    place = "0x" + "22" * 20
    return Roster(version, bytes(32), 1, members, b"", place, place, place, 1, active)


FIRST = roster(member(0), member(1), member(2))
