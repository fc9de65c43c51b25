"""Who makes which rounds: committees that follow one another as the registry's roster changes.

Promises: which committee makes a round follows from the ledger alone (PROTOCOL.md, "Changing rosters"), so that
members, newcomers and whoever was away come to the same one without asking each other; and no round has two.

Inside a round a member goes by its place in the committee, from 0 to n - 1.  On the ledger it goes by its roster
index, which is its own for ever: only here one becomes the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from gossip.parameters import Parameters
from gossip.spec import TaskSpec

NOBODY = bytes(20)
"""The signer of a roster index whose member is gone."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Committee:
    """The members that make the rounds from one on, and the task that they make them for.

    Attributes:
        config: digest of roster and spec, which everything that they sign names.
        signers: 20-byte address of each member's signer by roster index; `NOBODY` where a member is gone.
        spec: the task.
        first_round: the first one that is theirs.
    """

    config: bytes
    signers: tuple[bytes, ...]
    spec: TaskSpec
    first_round: int = 0

    @cached_property
    def seats(self) -> tuple[int, ...]:
        """Roster index of each member, in ascending order."""
        return tuple(index for index, signer in enumerate(self.signers) if signer != NOBODY)

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """20-byte address of each member's signer."""
        return tuple(self.signers[index] for index in self.seats)

    @cached_property
    def parameters(self) -> Parameters:
        return Parameters.of_size(len(self.seats))

    def member_at(self, index: int) -> int | None:
        """The member with this roster index; None if it is not of this committee."""
        return self.seats.index(index) if index in self.seats else None

    def bitmap(self, members: Iterable[int]) -> int:
        """The members as the ledger names them: a bit for each roster index."""
        return sum(1 << self.seats[member] for member in set(members))

    def members_of(self, bitmap: int) -> frozenset[int]:
        """The members that a bitmap names; who is not of this committee gets a number that no member has."""
        named = [index for index in range(bitmap.bit_length()) if bitmap >> index & 1]
        return frozenset(
            len(self.seats) + index if (member := self.member_at(index)) is None else member for index in named
        )

    def by_index(self, values: Iterable[_T], nothing: _T) -> tuple[_T, ...]:
        """One value for each roster index from one for each member; `nothing` where a member is gone."""
        found = dict(zip(self.seats, values, strict=True))
        return tuple(found.get(index, nothing) for index in range(len(self.signers)))

    def moved(self, members: Iterable[int], to: Committee) -> frozenset[int]:
        """These members' places in another committee, of those that are of it too."""
        places = (to.member_at(self.seats[member]) for member in members)
        return frozenset(place for place in places if place is not None)


def committee_of(plan: tuple[Committee, ...], round_id: int) -> Committee:
    """The committee that makes a round, by a plan in the order of first rounds that begins with round 0."""
    return next(committee for committee in reversed(plan) if committee.first_round <= round_id)
