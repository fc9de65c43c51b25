"""What waits for a node's loop: events from everywhere, in the order of their arrival, and what the next round is."""

from __future__ import annotations

import structlog
import trio

from gossip.events import Event, Ticked
from gossip.session import RoundStart

log = structlog.get_logger()

MAX_WAITING_EVENTS = 20_000
BATCH = 128

_Item = tuple[int | None, Event] | RoundStart
"""An event and the round that it belongs to, if it is one's alone; or what the next round starts from."""


class Inbox:
    """One node's inbox; everybody puts in, its loop alone takes out."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[_Item](MAX_WAITING_EVENTS)
        self._start: RoundStart | None = None
        self._first: list[Event] = []

    def offer(self, event: Event, round_id: int | None = None) -> bool:
        """Have something handled, after what waits already; `round_id` if it means nothing in any other round.

        False if there is no room: for what peers bring, and will bring again.
        """
        try:
            self._send.send_nowait((round_id, event))
        except trio.WouldBlock:
            log.warning("event.dropped", kind=type(event).__name__)
            return False
        return True

    async def put(self, event: Event, round_id: int) -> None:
        """Have something handled that nobody will bring again, once there is room for it."""
        await self._send.send((round_id, event))

    async def put_start(self, start: RoundStart) -> None:
        """Have a round begun, after what waits already."""
        await self._send.send(start)

    def put_first(self, events: list[Event]) -> None:
        """Have these handled before everything that waits."""
        self._first = events

    async def take(self, round_id: int, wait_seconds: float) -> list[Event] | RoundStart:
        """What has arrived for a round, at most a batch, or the start of a later one; `Ticked` if nothing has so long.

        A round's start is handed out by itself: what arrived before it still belongs to the round before.
        """
        if self._start is not None:
            start, self._start = self._start, None
            return start
        if self._first:
            first, self._first = self._first, []
            return first
        return [event for belongs_to, event in await self._next_batch(wait_seconds) if belongs_to in (None, round_id)]

    async def _next_batch(self, wait_seconds: float) -> list[tuple[int | None, Event]]:
        batch: list[tuple[int | None, Event]] = []
        with trio.move_on_after(wait_seconds) as patience:
            item = await self._receive.receive()
            while True:
                if isinstance(item, RoundStart):
                    self._start = item
                    return batch
                batch.append(item)
                if len(batch) == BATCH:
                    return batch
                try:
                    item = self._receive.receive_nowait()
                except trio.WouldBlock:
                    return batch
        return [(None, Ticked())] if patience.cancelled_caught else batch
