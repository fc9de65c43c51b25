"""How a consortium stands at the block up to which it was audited, and how it came to that.

Nothing of it is a finding: the chain contradicts itself nowhere, and a reader has to know it all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, TypeVar

from ledger.types import ZERO_ADDRESS
from ledger.words import ether, in_utc

MAX_LISTED: Final = 256
"""Of one kind, in a report: the newest ones, and a count of the others."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Newest(Generic[T]):
    """The end of a list of any length.

    Attributes:
        newest: oldest of them first.
        left_out: how many there are before them.
    """

    newest: tuple[T, ...] = ()
    left_out: int = 0


def newest_of(every: Sequence[T]) -> Newest[T]:
    """As many of these as a report lists, oldest first."""
    return Newest(tuple(every[-MAX_LISTED:]), max(0, len(every) - MAX_LISTED))


@dataclass(frozen=True, slots=True)
class Change:
    """What made a roster.

    Attributes:
        version: of the roster.
        block: where it happened.
        what: in words.
        quorum, members: of the roster, the latter without those who are gone.
    """

    version: int
    block: int
    what: str
    quorum: int
    members: int


@dataclass(frozen=True, slots=True)
class VoidRounds:
    """Rounds whose rewards a ruling refused, from the first to the last."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class DisputedRound:
    """A round that waits for a ruling, in Unix seconds until when."""

    round: int
    until: int


@dataclass(frozen=True, slots=True)
class Funds:
    """What came into the vault, what it is for, and what went out.

    Attributes:
        funded_wei: what was ever paid in for rewards.
        slashed_wei: what members lost of their stakes, which pays rewards as well.
        earned_wei: rewards of all recorded rounds; None where they could not be computed.
        active_wei: what of them can be claimed, or was.
        claimed_wei: what of them was.
        revenue_paid_wei, revenue_claimed_wei: what others paid for the model, and what members received of it.
        surplus_wei: what the vault holds beyond what its events explain: anybody can send coins there.
    """

    funded_wei: int = 0
    slashed_wei: int = 0
    earned_wei: int | None = 0
    active_wei: int = 0
    claimed_wei: int = 0
    revenue_paid_wei: int = 0
    revenue_claimed_wei: int = 0
    surplus_wei: int = 0

    @property
    def missing_wei(self) -> int:
        """What was earned and has no funds."""
        return max(0, (self.earned_wei or 0) - self.funded_wei - self.slashed_wei)

    def as_json(self) -> dict[str, Any]:
        """The sums as JSON values."""
        return asdict(self) | {"missing_wei": self.missing_wei}


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of the consortium.

    Attributes:
        changes: of the roster.
        void_rounds: whose rewards a quorum refused.
        disputed_rounds: whose challenge waits for a ruling.
        pauses: how often a quorum stopped the rounds.
        paused_until: when the last of these stops ends, in Unix seconds; 0 if there was none.
        successor: the contract that a quorum named as the registry's successor; None if it named none.
    """

    changes: Newest[Change] = Newest()
    void_rounds: Newest[VoidRounds] = Newest()
    disputed_rounds: Newest[DisputedRound] = Newest()
    pauses: int = 0
    paused_until: int = 0
    successor: str | None = None


def unit_of(asset: str) -> str:
    """What `ether` of this asset are called; an auditor believes no token that names its decimals."""
    return "ether" if asset == ZERO_ADDRESS else f"10^18 of token {asset}"


def notices(standing: Standing, funds: Funds, asset: str, block_time: int) -> tuple[str, ...]:
    """What a reader must not overlook, in words."""
    found = []
    if funds.missing_wei:
        sums = (funds.earned_wei or 0, funds.funded_wei + funds.slashed_wei, funds.missing_wei)
        earned, have, missing = (f"{ether(wei)} {unit_of(asset)}" for wei in sums)
        told = f"recorded rounds earned {earned}, the vault has funds for {have}"
        found.append(f"{told}: {missing} cannot be claimed until it is funded")
    if standing.paused_until > block_time:
        found.append(f"rounds are paused until {in_utc(standing.paused_until)}")
    if standing.successor is not None:
        found.append(f"a quorum named {standing.successor} as the registry's successor")
    return tuple(found)
