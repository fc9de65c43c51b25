"""What an audit keeps of the rounds that it has gone through, and what it tells whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger.rosters import KnownRoster
from ledger.types import RoundResult

Progress = Callable[[int, int], None]
"""Called with the rounds that were checked and those there are."""


@dataclass(frozen=True, slots=True)
class Rewards:
    """What members have earned after a round.

    Attributes:
        round_id: the round; -1 before the first.
        root: as recorded.
        total_wei: as recorded.
        cumulative: wei by roster index, computed again; None where that was no longer possible.
        block: where the round was recorded.
        recorded_at: when, as the ledger stores it.
    """

    round_id: int
    root: bytes
    total_wei: int
    cumulative: tuple[int, ...] | None
    block: int
    recorded_at: int = 0


@dataclass(frozen=True, slots=True)
class CheckedRound:
    """A recorded round, for whoever looks further into it.

    Attributes:
        result: as its event tells it; what is wrong with it is among the findings.
        is_stored: the ledger keeps this very result's digest.
        roster: the one that made it; None if there was none.
        names: of everybody who was a member by then, by roster index.
        chain_id, ledger: for which results and statements are signed.
    """

    result: RoundResult
    is_stored: bool
    roster: KnownRoster | None
    names: tuple[str, ...]
    chain_id: int
    ledger: str


Watcher = Callable[[CheckedRound], None]
"""Called with each round, in their order."""


@dataclass(slots=True)
class Work:
    """What one member did in all rounds.

    Attributes:
        rounds_dealt: settled training rounds whose sum holds its update.
        results_signed: results that carry its valid signature.
        score_ppm: sum of its scores.
    """

    rounds_dealt: int = 0
    results_signed: int = 0
    score_ppm: int = 0
