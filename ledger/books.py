"""What a member wants to know about rounds and money, computed from the records."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ledger.client import LedgerClient
from ledger.errors import BooksMismatch, ChainUnavailable
from ledger.rewards import pay, rewards_root
from ledger.types import CLOSING, SETTLED, TRAINING, RoundRecord, RoundResult, members_of


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded round.

    Attributes:
        record: as its event tells it.
        pay_wei: what it added for each member, by roster index.
        recorded_at: time of its block, seconds since 1970.
    """

    record: RoundRecord
    pay_wei: tuple[int, ...]
    recorded_at: int


@dataclass(frozen=True, slots=True)
class Balance:
    """One member's money.

    Attributes:
        name: of the member.
        rounds: settled training rounds whose sum holds its update.
        score_ppm: sum of its scores.
        earned_wei: by all recorded rounds.
        claimed_wei: paid to it so far.
        due_wei: to be claimed now.
        waiting_wei: earned in rounds that can still be disputed, or are.
    """

    name: str
    rounds: int
    score_ppm: int
    earned_wei: int
    claimed_wei: int
    due_wei: int
    waiting_wei: int


@dataclass(frozen=True, slots=True)
class Books:
    """The money of a consortium.

    Attributes:
        rounds: how many are recorded.
        balances: by roster index.
        funded_wei: paid into the vault so far.
        unearned_wei: of it, what no round has given to anybody.
        next_due_at: when the next rewards can be claimed, seconds since 1970; None if none wait.
    """

    rounds: int
    balances: tuple[Balance, ...]
    funded_wei: int
    unearned_wei: int
    next_due_at: int | None


def compute_history(client: LedgerClient, last: int) -> list[Entry]:
    """The newest `last` rounds, oldest first.

    Raises:
        BooksMismatch: the rewards do not follow from the scores.
    """
    newest = deque(_paid(client), maxlen=last)
    return [Entry(record, added, client.recorded_at(record.result.round)) for record, added, _ in newest]


def compute_books(client: LedgerClient) -> Books:
    """Everybody's money after the newest round.

    Raises:
        BooksMismatch: the rewards do not follow from the scores.
    """
    members = client.roster().members
    rounds, scores = [0] * len(members), [0] * len(members)
    earned = due = (0,) * len(members)
    count = client.next_round()
    first_waiting, payable = client.first_waiting(), client.payable_round()
    for record, _, cumulative in _paid(client):
        earned = cumulative
        if record.result.round == payable:
            due = cumulative
        if record.result.kind == TRAINING and record.result.outcome == SETTLED:
            for index in members_of(record.result.dealers):
                rounds[index] += 1
        for index, score in enumerate(record.scores or ()):
            scores[index] += score
    earned, due = (_padded(sums, len(members)) for sums in (earned, due))
    funded = client.funded_wei()
    return Books(
        rounds=count,
        balances=tuple(
            Balance(
                name=member.name,
                rounds=rounds[index],
                score_ppm=scores[index],
                earned_wei=earned[index],
                claimed_wei=(claimed := client.claimed_wei(index)),
                due_wei=max(0, due[index] - claimed),
                waiting_wei=earned[index] - due[index],
            )
            for index, member in enumerate(members)
        ),
        funded_wei=funded,
        unearned_wei=funded - sum(earned),
        next_due_at=client.final_at(first_waiting) if first_waiting < count else None,
    )


def earned_after(client: LedgerClient, round_id: int) -> tuple[RoundResult, tuple[int, ...]]:
    """The result of this round, and what each member had earned by it.

    Raises:
        BooksMismatch: the rewards do not follow from the scores.
    """
    for record, _, cumulative in _paid(client):
        if record.result.round == round_id:
            return record.result, cumulative
    raise ChainUnavailable(f"the endpoint has no event of round {round_id}")


def kind_name(kind: int) -> str:
    """What people call a kind of round."""
    return {TRAINING: "training", CLOSING: "closing"}.get(kind, "statistics")


def _paid(client: LedgerClient) -> Iterator[tuple[RoundRecord, tuple[int, ...], tuple[int, ...]]]:
    """Each record, what it added for each member, and what they then had earned."""
    terms = client.terms()
    cumulative: tuple[int, ...] = ()
    for record in client.records():
        result = record.result
        n = client.roster_size(result.config)
        try:
            added = pay(terms, result.kind, result.outcome, result.dealers, record.scores, n)
        except ValueError as error:
            raise BooksMismatch(result.round) from error
        cumulative = tuple(old + new for old, new in zip(_padded(cumulative, n), added, strict=True))
        if result.rewards != rewards_root(cumulative):
            raise BooksMismatch(result.round)
        yield record, added, cumulative


def _padded(sums: tuple[int, ...], n: int) -> tuple[int, ...]:
    """Who joined later had earned nothing."""
    return sums + (0,) * (n - len(sums))
