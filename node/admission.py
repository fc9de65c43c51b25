"""Who is admitted, by what the registry shows now; the one place that knows which PeerID is whose."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from gossip.transport import PeerAddress
from ledger.types import Member, Roster

log = structlog.get_logger()


class Admission:
    """The members that may connect, as the registry last showed them.

    The round under way keeps the committee that it began with: `committee` members of the first roster take part in
    it by their index and signer.  A new member is connected at once and joins with a later roster; one whose node key
    was rotated goes on under its new PeerID; one that was removed is gone.

    Attributes:
        version: roster version that it is of.
    """

    def __init__(self, roster: Roster) -> None:
        self._signers = roster.signers
        self._names: dict[str, str] = {}
        self.renew(roster)

    def renew(self, roster: Roster) -> None:
        """Go by another roster from now on."""
        self.version = roster.version
        active = (member for member in roster.members if roster.is_active(member.index))
        self._members = {member.peer_id: member for member in active}
        self._names |= {member.peer_id: member.name for member in roster.members}

    def index_of(self, peer_id: str) -> int | None:
        """Committee index of the member with this PeerID; None if it has no part in the round under way."""
        member = self._members.get(peer_id)
        if member is None or member.index >= len(self._signers):
            return None
        return member.index if member.signer == self._signers[member.index] else None

    def peer_id_of(self, index: int) -> str:
        """PeerID of a committee member; empty, which nobody is connected under, once it was removed."""
        return next((peer_id for peer_id in self._members if self.index_of(peer_id) == index), "")

    def peer_ids(self) -> dict[int, str]:
        """PeerIDs of the committee by index."""
        found = ((self.index_of(peer_id), peer_id) for peer_id in self._members)
        return {index: peer_id for index, peer_id in found if index is not None}

    def name_of(self, peer_id: str) -> str:
        """The name that the registry shows or showed for a PeerID; the PeerID where it never had one."""
        return self._names.get(peer_id, peer_id)

    def has(self, peer_id: str) -> bool:
        """Whether the registry shows this PeerID."""
        return peer_id in self._members

    @property
    def names(self) -> Mapping[str, str]:
        """Name of every PeerID that the registry shows or showed."""
        return self._names

    def addresses(self) -> list[PeerAddress]:
        """Where to reach the members, those left out whose entry names no place: it costs nobody else."""
        return [address for member in self._members.values() if (address := _address_of(member)) is not None]


def _address_of(member: Member) -> PeerAddress | None:
    try:
        return PeerAddress(member.peer_id, member.host, member.port)
    except ValueError as error:
        log.warning("member.unreachable", member=member.name, reason=str(error))
        return None
