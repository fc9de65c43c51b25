"""Rounds and money as a member sees them, on a development chain with a short history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.books import compute_books, compute_history
from ledger.client import LedgerClient
from ledger.devchain import running
from ledger.errors import BooksMismatch
from ledger.rewards import rewards_root
from tests.helpers import recorded as history
from tests.helpers.recorded import FUND_WEI, HISTORY, Recorded, begin, record_history

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as server:
        yield server.url


@pytest.fixture(scope="module")
def recorded(url: str) -> Recorded:
    return record_history(url)


def test_history_shows_the_newest_rounds_with_their_pay(recorded: Recorded) -> None:
    entries = compute_history(recorded.client, 2)
    assert [entry.record.result.round for entry in entries] == [3, 4]
    pay_wei = [new - old for old, new in zip(recorded.cumulative[3], recorded.cumulative[4], strict=True)]
    assert entries[-1].pay_wei == tuple(pay_wei)
    assert entries[-1].recorded_at == recorded.client.recorded_at(4) > 0


def test_more_rounds_than_there_are_is_all_of_them(recorded: Recorded) -> None:
    assert len(compute_history(recorded.client, 100)) == len(HISTORY)


def test_books_add_up(recorded: Recorded) -> None:
    books = compute_books(recorded.client)
    earned = recorded.cumulative[-1]
    assert [balance.earned_wei for balance in books.balances] == list(earned)
    assert [balance.claimed_wei for balance in books.balances] == [earned[0], earned[1], 0, 0]
    assert [balance.due_wei for balance in books.balances] == [0, 0, earned[2], earned[3]]
    assert [balance.rounds for balance in books.balances] == [2, 2, 1, 2]
    assert [balance.score_ppm for balance in books.balances] == [350, 30, 5, 101]
    assert (books.rounds, books.funded_wei, books.unearned_wei) == (5, FUND_WEI, FUND_WEI - sum(earned))
    assert books.next_due_at is None


def test_rewards_in_dispute_wait(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "TERMS", replace(history.TERMS, dispute_window_seconds=600))
    young = begin(url)
    for step in HISTORY[:2]:
        young.record(step)
    before = compute_books(young.client)
    young.client.increase_time(601)
    young.record(HISTORY[2])
    after = compute_books(young.client)

    earned = young.cumulative[1]
    assert [balance.waiting_wei for balance in before.balances] == list(earned)
    assert [balance.due_wei for balance in before.balances] == [0] * 4
    assert before.next_due_at == young.client.recorded_at(0) + 600
    assert [balance.due_wei for balance in after.balances] == list(earned)
    assert after.next_due_at == young.client.recorded_at(2) + 600


def test_pay_that_does_not_follow_from_the_scores_is_refused(url: str) -> None:
    false = begin(url)
    false.record(HISTORY[0])
    result = replace(false.next(HISTORY[1]), rewards=rewards_root([1, 2, 3, 4]), rewards_total=10)
    false.submit(result)
    for compute in (compute_books, lambda client: compute_history(client, 9)):
        with pytest.raises(BooksMismatch, match=r"round 1 .*mycelia audit"):
            compute(LedgerClient(url, false.roster.registry))
