"""Who is admitted, by what the registry shows now; the one place that knows which PeerID is whose."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from gossip.committee import NOBODY, Committee
from gossip.parameters import Parameters
from gossip.transport import PeerAddress
from ledger.types import Member, Roster

log = structlog.get_logger()


class Admission:
    """The members that may connect, as the registry last showed them, and their places in the round under way.

    The round under way keeps the committee that it began with.  A new member is connected at once and takes part from
    the first round of its roster; one whose node key was rotated goes on under its new PeerID; one that is gone is cut
    off.  Only where more than t are gone at once do the last of them stay connected until the round's committee is
    over: without them it could not end, and no later one begin.

    Attributes:
        version: roster version that it is of.
    """

    def __init__(self, roster: Roster) -> None:
        self._signers = tuple(bytes.fromhex(signer[2:]) for signer in roster.signers)
        self._names: dict[str, str] = {}
        self._members: dict[str, Member] = {}
        self.renew(roster)

    def seat(self, committee: Committee) -> None:
        """Go by another committee from now on."""
        self._signers = committee.signers
        self.renew(self._roster)

    def renew(self, roster: Roster) -> None:
        """Go by another roster from now on."""
        self.version = roster.version
        self._roster = roster
        active = [member for member in roster.members if roster.is_active(member.index)]
        kept = self._kept({member.index for member in active})
        self._members = {member.peer_id: member for member in (*kept, *active)}
        self._names |= {member.peer_id: member.name for member in roster.members}

    def _kept(self, active: set[int]) -> list[Member]:
        """Members that are gone and stay connected, of those that were connected so far."""
        seats = self._seats
        here = [member for member in self._members.values() if member.index in seats and member.index not in active]
        cut = len(seats) - len(here) - sum(index in active for index in seats)
        tolerated = Parameters.of_size(len(seats)).privacy_threshold
        kept = here[max(0, tolerated - cut) :]
        for member in kept:
            log.warning("member.kept", member=member.name, reason="more members are gone than a round can do without")
        return kept

    @property
    def _seats(self) -> list[int]:
        return [index for index, signer in enumerate(self._signers) if signer != NOBODY]

    def index_of(self, peer_id: str) -> int | None:
        """Place in the committee of the member with this PeerID; None if it has no part in the round under way."""
        member = self._members.get(peer_id)
        if member is None or member.index >= len(self._signers):
            return None
        is_seated = bytes.fromhex(member.signer[2:]) == self._signers[member.index] != NOBODY
        return self._seats.index(member.index) if is_seated else None

    def peer_id_of(self, index: int) -> str:
        """PeerID of the member in this place of the committee; empty, which nobody is connected under, once gone."""
        return next((peer_id for peer_id in self._members if self.index_of(peer_id) == index), "")

    def peer_ids(self) -> dict[int, str]:
        """PeerIDs of the committee by place."""
        found = ((self.index_of(peer_id), peer_id) for peer_id in self._members)
        return {index: peer_id for index, peer_id in found if index is not None}

    def name_of(self, peer_id: str) -> str:
        """The name that the registry shows or showed for a PeerID; the PeerID where it never had one."""
        return self._names.get(peer_id, peer_id)

    def name_at(self, index: int) -> str:
        """The name of the member in this place of the committee."""
        return self._roster.members[self._seats[index]].name

    def has(self, peer_id: str) -> bool:
        """Whether the registry shows this PeerID."""
        return peer_id in self._members

    @property
    def names(self) -> Mapping[str, str]:
        """Name of every PeerID that the registry shows or showed."""
        return self._names

    @property
    def members(self) -> tuple[str, ...]:
        """Name of every roster index."""
        return tuple(member.name for member in self._roster.members)

    def addresses(self) -> list[PeerAddress]:
        """Where to reach the members, those left out whose entry names no place: it costs nobody else."""
        return [address for member in self._members.values() if (address := _address_of(member)) is not None]


def _address_of(member: Member) -> PeerAddress | None:
    try:
        return PeerAddress(member.peer_id, member.host, member.port)
    except ValueError as error:
        log.warning("member.unreachable", member=member.name, reason=str(error))
        return None
