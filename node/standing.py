"""A member's standing in its consortium: as whom its node takes part, with whom, and whom it lets in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from gossip.session import Identity
from gossip.transport.host import Transport
from ledger.types import Member
from node.admission import Admission
from node.chainqueue import ChainQueue
from node.errors import NoLongerAdmitted
from node.reporter import Reporter
from node.seating import Seating
from node.workshop import Workshop

ROSTER_SECONDS = 2.0
"""Between two looks at the registry."""


@dataclass
class Standing:
    """One member's standing, which follows the registry.

    Attributes:
        member: as the registry showed it when the node began.
        registry: address of the registry.
    """

    member: Member
    registry: str
    chain: ChainQueue
    seating: Seating
    admission: Admission
    transport: Transport
    workshop: Workshop
    reporter: Reporter

    def others(self) -> list[int]:
        """Places of the other members in the committee of the round under way."""
        return [place for place in self.admission.peer_ids() if place != self.workshop.identity.me]

    def identity_in(self, round_id: int) -> Identity:
        """As whom this member takes part in a round.

        Raises:
            NoLongerAdmitted: it has no place in its committee.
        """
        identity = self.seating.identity_in(round_id)
        if identity is None:
            raise NoLongerAdmitted(self.member.name, self.registry)
        return identity

    def sit(self, identity: Identity) -> None:
        """Take a place in a committee, for the round that begins next."""
        before = self.workshop.identity
        self.workshop.identity = identity
        self.admission.seat(identity.committee)
        if identity.config != before.config:
            self.workshop.learner.follow(identity.spec)
            self.admit()
            self.reporter.seated(identity.committee.first_round, len(identity.signers))

    def admit(self) -> None:
        """Let in whom the registry shows, as it was last read.

        Raises:
            NoLongerAdmitted: it does not show this member.
        """
        own = self.member.peer_id
        if not self.admission.has(own):
            raise NoLongerAdmitted(self.member.name, self.registry)
        self.transport.admit([there for there in self.admission.addresses() if there.peer_id != own])

    async def follow(self, on_look: Callable[[], None]) -> None:
        """Admit whom the registry shows, from one poll after it shows them; cut off whom it shows no longer."""
        while True:
            await trio.sleep(ROSTER_SECONDS)
            roster = await self.chain.newer_roster(self.admission.version)
            await self.seating.look()
            on_look()
            if roster is not None:
                self.admission.renew(roster)
                self.admit()
                self.reporter.admitted(roster.version, sum(map(roster.is_active, range(len(roster.members)))))
