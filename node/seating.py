"""Which committee this node sits in, round after round, and when a round may begin: `node.plan` over what it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import trio

from gossip.committee import Committee, committee_of
from gossip.messages import MAX_HISTORY
from gossip.results import is_signed
from gossip.session import Identity, RoundStart
from gossip.values import RoundResult
from ledger.books import Newest
from ledger.errors import BooksMismatch
from ledger.types import SIGNATURE_BYTES, members_of
from node.chainqueue import ChainQueue
from node.conversions import agreed_result
from node.plan import LEAD_ROUNDS, plan_of, rounds_to_wait_for

LOOK_SECONDS: Final = 0.5
"""Between two looks at the ledger while something waits for it."""


class Seating:
    """What the ledger shows of committees, and this member's place in each.

    Args:
        identity: as whom it takes part in some round; its committee stands for all rounds until the ledger was read.

    Attributes:
        plan: the committees, in the order of their first rounds.
        recorded: rounds that the ledger shows for good.
    """

    def __init__(self, chain: ChainQueue, identity: Identity) -> None:
        self._chain = chain
        self._identity = identity
        self._signer = identity.signers[identity.me]
        self.plan: tuple[Committee, ...] = identity.plan or (identity.committee,)
        self.recorded = 0

    async def look(self) -> bool:
        """Read the ledger; False if it does not answer."""
        found = await self._chain.rosters()
        if found is None:
            return False
        self.recorded, periods = found
        self.plan = plan_of(periods) or self.plan
        return True

    async def first_look(self, tell: Callable[[str], None]) -> None:
        """Read the ledger as soon as it answers: without it nobody knows who makes which round."""
        told = False
        while not await self.look():
            if not told:
                told = True
                tell("the ledger, which does not answer, or shows what this node cannot believe")
            await trio.sleep(LOOK_SECONDS)

    async def until_it_may_begin(self, round_id: int, tell: Callable[[str], None]) -> None:
        """Wait until it is certain which committee makes a round."""
        told = False
        while self.recorded < rounds_to_wait_for(round_id):
            await self.look()
            if self.recorded < rounds_to_wait_for(round_id):
                if not told:
                    told = True
                    tell(f"the ledger to show round {round_id - LEAD_ROUNDS}; it shows {self.recorded} rounds")
                await trio.sleep(LOOK_SECONDS)

    def committee_of(self, round_id: int) -> Committee:
        return committee_of(self.plan, round_id)

    def identity_in(self, round_id: int) -> Identity | None:
        """As whom this member takes part in a round; None if it has no place in its committee."""
        committee = self.committee_of(round_id)
        if self._signer not in committee.keys:
            return None
        me = committee.keys.index(self._signer)
        return replace(self._identity, me=me, committee=committee, plan=self.plan)

    def first_round_from(self, round_id: int) -> int | None:
        """The first round from here on that begins a committee with this member; None while no final roster has it."""
        begins = (committee.first_round for committee in self.plan if self._signer in committee.keys)
        return min((first for first in begins if first >= round_id), default=None)

    def last_round(self, round_id: int) -> int:
        """The last round of the task that a round is part of."""
        return self.committee_of(round_id).spec.closing_round

    def by_index(self, result: RoundResult, signatures: tuple[tuple[int, bytes], ...]) -> tuple[tuple[int, bytes], ...]:
        """A result's signatures by roster index, as the ledger counts them."""
        seats = self.committee_of(result.round).seats
        return tuple((seats[member], signature) for member, signature in signatures)

    async def start_from_ledger(self) -> RoundStart | None:
        """What the round after the newest recorded one starts from; None while none is recorded.

        Raises:
            LedgerError: the ledger does not answer, or what it shows does not fit together.
        """
        newest = await self._chain.newest_result()
        return None if newest is None else self._start_after(newest)

    def _start_after(self, newest: Newest) -> RoundStart:
        record = newest.record
        result, committee = agreed_result(record), self.committee_of(record.result.round)
        places = [committee.member_at(index) for index in members_of(record.signers)]
        joined = record.signatures
        each = (joined[at : at + SIGNATURE_BYTES] for at in range(0, len(joined), SIGNATURE_BYTES))
        signatures = tuple((place, data) for place, data in zip(places, each, strict=False) if place is not None)
        if result.config != committee.config or not is_signed(committee, self._identity.domain, result, signatures):
            raise BooksMismatch(result.round)
        cumulative = tuple(wei.to_bytes(16, "big") for wei in newest.cumulative)
        history = tuple(map(agreed_result, newest.before[:MAX_HISTORY]))
        return RoundStart(result.round + 1, result.model, result, signatures, cumulative, history)
