from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import structlog
import trio

from gossip.values import RoundResult
from ledger.errors import ChainUnavailable, ResultConflict, UnprovenRegistry
from node import chainqueue
from node.chainqueue import ChainQueue
from node.store import Store

QUORUM = ((0, bytes(64)), (1, bytes(64)), (2, bytes(64)))


States = list[tuple[int, str | None]]


class Ledger:
    """A ledger that notes what it is given; away for as many requests as asked for."""

    def __init__(self, recorded: int = 0, away: int = 0, unconfirmed: int = 0, conflict: bool = False) -> None:
        self.recorded = recorded
        self.away = away
        self.unconfirmed = unconfirmed
        self.conflict = conflict
        self.submitted: list[int] = []

    def next_round(self) -> int:
        if self.away:
            self.away -= 1
            raise ChainUnavailable("away")
        return self.recorded

    def final_round(self) -> int:
        return self.recorded - self.unconfirmed

    def is_recorded(self, result: Any) -> bool:
        if self.conflict:
            raise ResultConflict(result.round, bytes(32), bytes(32))
        return bool(result.round < self.recorded)

    def submit(self, key: bytes, result: Any, scores: Any, signers: int, signatures: bytes) -> str:
        assert (signers, len(signatures)) == (0b111, 192)
        self.submitted.append(result.round)
        self.recorded = result.round + 1
        return f"0x{result.round}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "node.store")
    yield found
    found.close()


def queue(store: Store, *rounds: int) -> None:
    for number in rounds:
        result = RoundResult(number, 1, 1, bytes(32), bytes(32), 7, bytes(32), bytes(32), None, bytes(32), bytes(16))
        store.queue_result(number, msgspec.msgpack.encode((result, QUORUM)))


def run_until(
    store: Store,
    ledger: Ledger,
    me: int,
    is_over: Callable[[], bool],
    states: list[tuple[int, str | None]] | None = None,
) -> list[tuple[int, str]]:
    """(round, transaction) that the member recorded itself, until it is over; `states` as it tells them."""
    told = [] if states is None else states
    noted: list[tuple[int, str]] = []

    async def note(round_id: int, tx: str) -> None:
        noted.append((round_id, tx))

    async def main() -> None:
        chain = ChainQueue(ledger, store, bytes(32), me, 4)  # type: ignore[arg-type]
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(chain.run, note, lambda waiting, trouble: told.append((waiting, trouble)))
                while not is_over():  # noqa: ASYNC110 - the queue tells nobody when it is empty
                    await trio.sleep(0.005)
                nursery.cancel_scope.cancel()

    trio.run(main)
    return noted


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chainqueue, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(chainqueue, "TURN_SECONDS", 0.05)


def test_results_are_submitted_in_order_and_forgotten_once_recorded(store: Store) -> None:
    queue(store, 0, 1, 2)
    ledger = Ledger()
    noted = run_until(store, ledger, 0, lambda: not store.pending_results())
    assert ledger.submitted == [0, 1, 2]
    assert noted == [(0, "0x0"), (1, "0x1"), (2, "0x2")]


def test_outage_keeps_the_queue(store: Store) -> None:
    queue(store, 0)
    ledger = Ledger(away=3)
    states: States = []
    run_until(store, ledger, 0, lambda: len(states) == 2, states)
    assert ledger.submitted == [0]
    assert states == [(1, "away"), (0, None)]


def test_what_another_member_recorded_is_not_submitted(store: Store) -> None:
    queue(store, 0, 1)
    ledger = Ledger(recorded=2)
    assert run_until(store, ledger, 0, lambda: not store.pending_results()) == []
    assert ledger.submitted == []


def test_member_waits_for_those_whose_turn_comes_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chainqueue, "TURN_SECONDS", 3600.0)
    queue(store, 0, 1)
    ledger = Ledger()
    looks = iter(range(10))
    run_until(store, ledger, 1, lambda: next(looks, None) is None)
    assert ledger.submitted == []


def test_member_submits_when_those_before_it_let_their_turn_pass(store: Store) -> None:
    queue(store, 0)
    ledger = Ledger()
    run_until(store, ledger, 3, lambda: not store.pending_results())
    assert ledger.submitted == [0]


def test_turns_pass_while_earlier_results_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(chainqueue.time, "monotonic", lambda: now)
    queue(store, 0, 1, 2, 3, 4)
    ledger = Ledger()
    chain = ChainQueue(ledger, store, bytes(32), 1, 4)  # type: ignore[arg-type]

    async def note(round_id: int, tx: str) -> None:
        await trio.lowlevel.checkpoint()

    submitted = []
    for turn in range(4):
        now = turn * chainqueue.TURN_SECONDS
        trio.run(chain._submit_next, note)
        submitted.append(list(ledger.submitted))
    assert submitted == [[], [0, 1], [0, 1], [0, 1, 2, 3, 4]]


def test_round_that_the_ledger_does_not_expect_yet_waits(store: Store) -> None:
    queue(store, 2)
    ledger = Ledger(recorded=1)
    looks = iter(range(20))
    run_until(store, ledger, 2, lambda: next(looks, None) is None)
    assert ledger.submitted == []
    assert [round_id for round_id, _ in store.pending_results()] == [2]


def test_a_result_is_kept_until_its_record_is_final(store: Store) -> None:
    queue(store, 0, 1)
    ledger = Ledger(unconfirmed=1)
    noted = run_until(store, ledger, 0, lambda: len(store.pending_results()) == 1)
    assert (ledger.submitted, noted) == ([0, 1], [(0, "0x0")])
    assert [round_id for round_id, _ in store.pending_results()] == [1]


def test_a_record_that_a_reorganisation_undid_is_submitted_again(store: Store) -> None:
    queue(store, 0)
    ledger = Ledger(unconfirmed=1)

    def undone_once() -> bool:
        if ledger.submitted == [0]:
            ledger.recorded = 0
        if ledger.submitted == [0, 0]:
            ledger.unconfirmed = 0
        return not store.pending_results()

    assert run_until(store, ledger, 0, undone_once) == [(0, "0x0")]
    assert ledger.submitted == [0, 0]


def test_another_result_on_the_ledger_is_told_and_ours_is_kept(store: Store) -> None:
    queue(store, 0)
    states: States = []
    run_until(store, Ledger(recorded=1, conflict=True), 0, lambda: bool(states), states)
    assert [waiting for waiting, _ in states] == [1]
    assert "round 0 is recorded with result" in str(states[0][1])
    assert store.pending_results()


def test_a_roster_that_is_not_proven_is_none_and_is_told_of_once(store: Store) -> None:
    class Liar:
        def roster_version(self) -> int:
            return 2

        def final_round(self) -> int:
            return 0

        def verified(self) -> Any:
            raise UnprovenRegistry("member 1 signed nothing")

        periods = verified

    liar: Any = Liar()
    told: list[str] = []

    async def ask() -> None:
        chain = ChainQueue(liar, store, bytes(32), 0, 4)
        with structlog.testing.capture_logs() as logs:
            assert [await chain.newer_roster(1), await chain.rosters(), await chain.newer_roster(1)] == [None] * 3
        told.extend(entry["reason"] for entry in logs if entry["event"] == "registry.unproven")

    trio.run(ask)
    assert len(told) == 1
    assert "member 1 signed nothing" in told[0]


class Registry:
    """What a client shows of rosters, one look after another."""

    def __init__(self, *looks: tuple[bytes, ...]) -> None:
        self.looks = list(looks)

    def final_round(self) -> int:
        return 5

    def periods(self) -> tuple[Any, ...]:
        return tuple(SimpleNamespace(config=config) for config in self.looks.pop(0))


def test_an_endpoint_that_shows_fewer_or_other_final_rosters_than_before_is_not_followed(store: Store) -> None:
    first, second, other = (bytes([number]) * 32 for number in (1, 2, 9))
    looks = [(first, second), (first,), (first, other), (), (first, second, other)]

    async def look(*shown: tuple[bytes, ...]) -> list[bool]:
        registry: Any = Registry(*shown)
        chain = ChainQueue(registry, store, bytes(32), 0, 4)
        return [await chain.rosters() is not None for _ in shown]

    assert trio.run(look, *looks) == [True, False, False, False, True]
    # Also after a restart, where an endpoint that hides a removal would be believed.
    assert trio.run(look, (first, second), (first, second, other)) == [False, True]
    assert store.rosters() == (first, second, other)


def test_an_older_roster_than_the_one_that_is_known_is_not_followed(store: Store) -> None:
    class Behind:
        def roster_version(self) -> int:
            return 2

        def verified(self) -> Any:
            return SimpleNamespace(roster=SimpleNamespace(version=2))

    behind: Any = Behind()

    async def ask() -> tuple[bool, bool]:
        chain = ChainQueue(behind, store, bytes(32), 0, 4)
        return await chain.newer_roster(3) is None, await chain.newer_roster(1) is None

    assert trio.run(ask) == (True, False)
