"""Queues and pauses: bounded, in order, and honest about what they dropped."""

from __future__ import annotations

import trio
import trio.testing

from gossip.transport.dialer import Backoff
from gossip.transport.frames import Position
from gossip.transport.interface import Limits
from gossip.transport.outbox import Outbox
from gossip.transport.transfer import Budget


def outbox(max_messages: int = 10, max_bytes: int = 1000) -> Outbox:
    return Outbox(session=5, max_messages=max_messages, max_bytes=max_bytes)


async def drain(box: Outbox, count: int) -> list[tuple[Position, bytes] | None]:
    return [await box.get() for _ in range(count)]


def test_outbox_gives_messages_in_order_with_their_positions() -> None:
    box = outbox()
    box.put(b"a")
    box.put(b"b")
    assert trio.run(drain, box, 2) == [(Position(5, 1), b"a"), (Position(5, 2), b"b")]


def test_full_outbox_drops_the_newest_and_leaves_a_hole_in_the_numbers() -> None:
    box = outbox(max_messages=2)
    for message in (b"a", b"b", b"c"):
        box.put(message)
    trio.run(drain, box, 2)
    box.put(b"d")
    assert trio.run(drain, box, 1) == [(Position(5, 4), b"d")]
    assert box.dropped == 1


def test_outbox_is_bounded_in_bytes() -> None:
    box = outbox(max_bytes=3)
    box.put(b"aa")
    box.put(b"bb")
    assert box.dropped == 1


def test_position_covers_what_was_taken_or_dropped_and_nothing_that_waits() -> None:
    box = outbox(max_messages=1)
    box.put(b"a")
    box.put(b"dropped")
    assert box.position == Position(5, 0)
    trio.run(drain, box, 1)
    assert box.position == Position(5, 2)


def test_woken_outbox_gives_nothing() -> None:
    async def main() -> tuple[Position, bytes] | None:
        box = outbox()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake, box)
            return await box.get()

    async def wake(box: Outbox) -> None:
        await trio.testing.wait_all_tasks_blocked()
        box.wake()

    assert trio.run(main) is None


def test_waking_an_outbox_whose_reader_is_busy_is_not_forgotten() -> None:
    box = outbox()
    box.put(b"one")
    box.wake()
    assert trio.run(box.get) is not None
    assert trio.run(box.get) is None


def test_pause_between_dials_doubles_up_to_its_bound() -> None:
    backoff = Backoff(Limits(redial_min_seconds=0.2, redial_max_seconds=1.0), lambda: 0.0)
    assert [backoff.on_failure() for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_chance_shortens_a_pause_by_up_to_a_half() -> None:
    assert Backoff(Limits(redial_min_seconds=0.2), lambda: 0.5).on_failure() == 0.2 * 0.75


def test_peer_lost_after_a_long_time_is_dialled_at_once() -> None:
    backoff = Backoff(Limits(), lambda: 0.0)
    backoff.on_failure()
    assert backoff.on_lost(60.0) == 0.0
    assert backoff.on_failure() == Limits().redial_min_seconds


def test_connection_that_ends_at_once_is_a_failed_dial() -> None:
    backoff = Backoff(Limits(redial_min_seconds=0.2), lambda: 0.0)
    assert [backoff.on_lost(0.01) for _ in range(3)] == [0.2, 0.4, 0.8]


def test_budget_is_never_exceeded_and_serves_in_order() -> None:
    served: list[int] = []
    used = 0

    async def use(budget: Budget, name: int, amount: int) -> None:
        nonlocal used
        async with budget.reserve(amount):
            served.append(name)
            used += amount
            assert used <= 10
            await trio.sleep(1)
            used -= amount

    async def main() -> None:
        budget = Budget(10)
        async with trio.open_nursery() as nursery:
            for name, amount in enumerate((6, 6, 2, 4)):
                nursery.start_soon(use, budget, name, amount)
                await trio.testing.wait_all_tasks_blocked()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert served == [0, 1, 2, 3]


def test_budget_is_returned_by_whoever_gives_up_waiting() -> None:
    async def main() -> None:
        budget = Budget(10)
        async with budget.reserve(10):
            with trio.move_on_after(1):
                async with budget.reserve(1):
                    raise AssertionError("there was nothing left")
        with trio.fail_after(1):
            async with budget.reserve(10):
                pass

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
