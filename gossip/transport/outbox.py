"""Announcements waiting for one peer, counted so that the peer notices what is missing."""

from __future__ import annotations

from collections import deque

import trio

from gossip.transport.frames import Position


class Outbox:
    """A bounded queue that never blocks who fills it; what does not fit is dropped and leaves a gap."""

    def __init__(self, *, session: int, max_messages: int, max_bytes: int) -> None:
        self.dropped = 0
        self._session = session
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._queue: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._made = 0
        self._filled = trio.Event()
        self._is_woken = False
        self._emptied = trio.Event()
        self._emptied.set()

    def put(self, message: bytes) -> None:
        """Queues `message`, or drops it."""
        self._made += 1
        if len(self._queue) >= self._max_messages or self._bytes + len(message) > self._max_bytes:
            self.dropped += 1
            return
        if not self._queue:
            self._emptied = trio.Event()
        self._queue.append((self._made, message))
        self._bytes += len(message)
        self._filled.set()

    async def get(self) -> tuple[Position, bytes] | None:
        """The next announcement and its position; waits for one, or for `wake`, which gives None."""
        if not self._queue and not self._is_woken:
            self._filled = trio.Event()
            await self._filled.wait()
        if not self._queue:
            self._is_woken = False
            return None
        number, message = self._queue.popleft()
        self._bytes -= len(message)
        if not self._queue:
            self._emptied.set()
        return Position(self._session, number), message

    def wake(self) -> None:
        """Ends the waiting in `get`, or the next one if nobody waits there now."""
        self._is_woken = True
        self._filled.set()

    @property
    def position(self) -> Position:
        """Everything up to here was taken or dropped."""
        return Position(self._session, self._queue[0][0] - 1 if self._queue else self._made)

    async def wait_empty(self) -> None:
        """Returns once every announcement was taken."""
        await self._emptied.wait()
