"""What waits for a node's loop comes in order, each in the round that it is for."""

from __future__ import annotations

import math

import pytest

from gossip.events import PeerDown, PeerUp, Ticked
from gossip.session import RoundStart
from node import inbox
from node.inbox import Inbox

pytestmark = pytest.mark.trio

START = RoundStart(8, bytes(32), None, (), ())


async def test_what_is_for_another_round_is_left_out() -> None:
    box = Inbox()
    await box.put(PeerUp(1), 6)
    await box.put(PeerUp(2), 7)
    box.offer(PeerUp(3))
    assert await box.take(7, math.inf) == [PeerUp(2), PeerUp(3)]


async def test_a_start_comes_by_itself_after_what_arrived_before_it() -> None:
    box = Inbox()
    box.offer(PeerUp(1))
    await box.put_start(START)
    box.offer(PeerDown(1))
    assert await box.take(7, math.inf) == [PeerUp(1)]
    assert await box.take(7, math.inf) == START
    assert await box.take(8, math.inf) == [PeerDown(1)]


async def test_what_is_put_first_comes_before_all_that_waits() -> None:
    box = Inbox()
    box.offer(PeerUp(1))
    box.put_first([PeerUp(2), PeerUp(3)])
    assert await box.take(7, math.inf) == [PeerUp(2), PeerUp(3)]
    assert await box.take(7, math.inf) == [PeerUp(1)]


async def test_time_that_passes_without_anything_is_an_event(autojump_clock: object) -> None:
    assert await Inbox().take(7, 5.0) == [Ticked()]


async def test_a_batch_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "BATCH", 2)
    box = Inbox()
    for member in range(3):
        box.offer(PeerUp(member))
    assert [len(await box.take(7, math.inf)) for _ in range(2)] == [2, 1]  # type: ignore[arg-type]


async def test_what_peers_bring_is_refused_when_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_WAITING_EVENTS", 1)
    box = Inbox()
    assert box.offer(PeerUp(1))
    assert not box.offer(PeerUp(2))
