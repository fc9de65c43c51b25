"""What a member wants to know about rounds and money, computed from the records."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import zip_longest

from ledger.asset import Asset
from ledger.client import LedgerClient
from ledger.errors import BooksMismatch, ChainUnavailable
from ledger.revenue import Revenue
from ledger.rewards import pay, rewards_root
from ledger.types import (
    CLOSING,
    SETTLED,
    TRAINING,
    ZERO_ADDRESS,
    RoundRecord,
    RoundResult,
    RoundState,
    members_of,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded round.

    Attributes:
        record: as its event tells it.
        pay_wei: what it added for each member, by roster index.
        recorded_at: time of its block, seconds since 1970.
        members: roster indices of those who made it.
        state: what has become of it.
    """

    record: RoundRecord
    pay_wei: tuple[int, ...]
    recorded_at: int
    members: tuple[int, ...]
    state: RoundState


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
        revenue_claimed_wei: its part of what others paid for the model, as far as it was paid to it.
        revenue_due_wei: of that part, to be claimed now.
    """

    name: str
    rounds: int
    score_ppm: int
    earned_wei: int
    claimed_wei: int
    due_wei: int
    waiting_wei: int
    revenue_claimed_wei: int = 0
    revenue_due_wei: int = 0


@dataclass(frozen=True, slots=True)
class Books:
    """The money of a consortium.

    Attributes:
        rounds: how many are recorded.
        balances: by roster index.
        funded_wei: paid into the vault so far.
        unearned_wei: of it, what no round has given to anybody.
        next_due_at: when the next rewards can be claimed, seconds since 1970; None if none wait.
        revenue_wei: what others paid for the model.
        vault: address of whom they paid.
        asset: in what all this is counted.
    """

    rounds: int
    balances: tuple[Balance, ...]
    funded_wei: int
    unearned_wei: int
    next_due_at: int | None
    revenue_wei: int
    vault: str
    asset: Asset


@dataclass(frozen=True, slots=True)
class Shared:
    """The revenue that the rewards after one round share.

    Attributes:
        revenue: what was paid.
        earned: wei that each member had earned by that round, by roster index.
    """

    revenue: Revenue
    earned: tuple[int, ...]

    def part_wei(self, index: int) -> int:
        """What the member gets of it in all; nothing if it was admitted later."""
        return self.revenue.part_wei(self.earned[index]) if index < len(self.earned) else 0

    def claimed_wei(self, client: LedgerClient, index: int) -> int:
        """What the member has received of it."""
        if not self.revenue.claimed_wei or not self.part_wei(index):
            return 0
        return client.revenue.claimed_wei(self.revenue.round_id, index)


def compute_history(client: LedgerClient, last: int) -> list[Entry]:
    """The newest `last` rounds, oldest first.

    Raises:
        BooksMismatch: the rewards do not follow from the scores.
    """
    newest = deque(_paid(client), maxlen=last)
    return [_entry(client, record, added) for record, added, _ in newest]


def _entry(client: LedgerClient, record: RoundRecord, added: tuple[int, ...]) -> Entry:
    round_id, signers = record.result.round, client.signers_of(record.result.config)
    members = tuple(index for index, signer in enumerate(signers) if signer != ZERO_ADDRESS)
    return Entry(record, added, client.recorded_at(round_id), members, client.round_state(round_id))


def compute_books(client: LedgerClient) -> Books:
    """Everybody's money after the newest round.

    Raises:
        BooksMismatch: the rewards do not follow from the scores.
        ChainUnavailable: the endpoint contradicts itself.
    """
    members = client.roster().members
    rounds, scores = [0] * len(members), [0] * len(members)
    earned = due = (0,) * len(members)
    count, drawn = client.next_round(), client.revenue.rounds()
    first_waiting, payable = client.first_waiting(), client.payable_round()
    earned_by: dict[int, tuple[int, ...]] = {}
    for record, _, cumulative in _paid(client):
        earned = _padded(cumulative, len(members))
        if record.result.round == payable:
            due = earned
        if record.result.round in drawn:
            earned_by[record.result.round] = cumulative
        if record.result.kind == TRAINING and record.result.outcome == SETTLED:
            for index in members_of(record.result.dealers):
                rounds[index] += 1
        for index, score in enumerate(record.scores or ()):
            scores[index] += score
    funded, shared = client.funded_wei(), _shared(client, drawn, earned_by)
    balances = []
    for index, member in enumerate(members):
        claimed = client.claimed_wei(index)
        sums = (earned[index], claimed, max(0, due[index] - claimed), earned[index] - max(due[index], claimed))
        revenue = _revenue_of(client, shared, index)
        balances.append(Balance(member.name, rounds[index], scores[index], *sums, *revenue))
    return Books(
        rounds=count,
        balances=tuple(balances),
        funded_wei=funded,
        unearned_wei=funded - sum(earned),
        next_due_at=client.final_at(first_waiting) if first_waiting < count else None,
        revenue_wei=sum(part.revenue.paid_wei for part in shared),
        vault=client.addresses[2],
        asset=client.asset(),
    )


def _revenue_of(client: LedgerClient, shared: Sequence[Shared], index: int) -> tuple[int, int]:
    """What the member has received of it, and can claim."""
    received = [part.claimed_wei(client, index) for part in shared]
    due = (max(0, part.part_wei(index) - wei) for part, wei in zip(shared, received, strict=True))
    return sum(received), sum(due)


def compute_shared(client: LedgerClient) -> tuple[Shared, ...]:
    """All the revenue that was ever paid, by the rounds whose rewards share it, oldest first.

    Raises:
        BooksMismatch: the rewards do not follow from the scores.
        ChainUnavailable: the endpoint contradicts itself.
    """
    drawn = client.revenue.rounds()
    if not drawn:
        return ()
    wanted = ((record.result.round, cumulative) for record, _, cumulative in _paid(client))
    earned = {round_id: cumulative for round_id, cumulative in wanted if round_id in drawn}
    return _shared(client, drawn, earned)


def _shared(client: LedgerClient, drawn: Set[int], earned: Mapping[int, tuple[int, ...]]) -> tuple[Shared, ...]:
    shared = []
    for round_id in sorted(drawn):
        if round_id not in earned:
            raise ChainUnavailable(
                f"the endpoint shows revenue of round {round_id}, but no such round: ask another one"
            )
        revenue = client.revenue.of_round(round_id)
        if revenue.paid_wei and revenue.root != rewards_root(earned[round_id]):
            raise ChainUnavailable(
                f"the endpoint shows revenue of round {round_id} that is shared by other rewards than that round's: "
                "ask another one, and run mycelia audit"
            )
        shared.append(Shared(revenue, earned[round_id]))
    return tuple(shared)


def earned_after(client: LedgerClient, round_id: int) -> tuple[RoundResult, tuple[int, ...]]:
    """The result of this round, and what each member had earned by it.

    Raises:
        BooksMismatch: the rewards do not follow from the scores.
    """
    for record, _, cumulative in _paid(client):
        if record.result.round == round_id:
            return record.result, cumulative
    raise ChainUnavailable(f"the endpoint has no event of round {round_id}")


@dataclass(frozen=True, slots=True)
class Newest:
    """The last round of all, for whoever goes on from it.

    Attributes:
        record: of that round.
        cumulative: wei that each member had earned after it, by roster index.
        before: if it was abandoned, the records before it, newest first, back to one that settled.
    """

    record: RoundRecord
    cumulative: tuple[int, ...]
    before: tuple[RoundRecord, ...]


def newest(client: LedgerClient, most_before: int) -> Newest | None:
    """The last round whose record is final, with at most so many before it; None while there is none.

    Raises:
        BooksMismatch: the rewards do not follow from the scores.
    """
    final = client.final_round()
    kept: deque[tuple[RoundRecord, tuple[int, ...]]] = deque(maxlen=most_before + 1)
    for record, _, cumulative in _paid(client):
        if record.result.round < final:
            kept.append((record, cumulative))
    if not kept:
        return None
    last, cumulative = kept.pop()
    before: list[RoundRecord] = []
    while kept and (before[-1] if before else last).result.outcome != SETTLED:
        before.append(kept.pop()[0])
    return Newest(last, cumulative, tuple(before))


def kind_name(kind: int) -> str:
    """What people call a kind of round."""
    return {TRAINING: "training", CLOSING: "closing"}.get(kind, "statistics")


def _paid(client: LedgerClient) -> Iterator[tuple[RoundRecord, tuple[int, ...], tuple[int, ...]]]:
    """Each record, what it added for each member, and what they then had earned."""
    terms = client.terms()
    cumulative: tuple[int, ...] = ()
    for record in client.records():
        result, n = record.result, len(client.signers_of(record.result.config))
        try:
            added = pay(terms, result.kind, result.outcome, result.dealers, record.scores, n)
        except ValueError as error:
            raise BooksMismatch(result.round) from error
        cumulative = tuple(old + new for old, new in zip_longest(cumulative, added, fillvalue=0))
        if result.rewards != rewards_root(cumulative):
            raise BooksMismatch(result.round)
        yield record, added, cumulative


def _padded(amounts: tuple[int, ...], count: int) -> tuple[int, ...]:
    """With nothing for those who were admitted later."""
    return (*amounts, *(0,) * (count - len(amounts)))
