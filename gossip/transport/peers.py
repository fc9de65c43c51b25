"""What a node keeps about each admitted peer while it runs."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import trio

from gossip.transport.frames import Sequence
from gossip.transport.identity import PeerAddress
from gossip.transport.interface import Limits
from gossip.transport.outbox import Outbox

if TYPE_CHECKING:
    from gossip.transport.connection import Connection


class Peer:
    """An admitted peer: its live connections, and the announcements in both directions.

    The oldest live connection carries the announcements, so that a second one, which two dials at the same
    moment leave behind, does not disturb their order.
    """

    def __init__(self, address: PeerAddress, limits: Limits) -> None:
        self.address = address
        self.connections: list[Connection] = []
        self.dial_failure = ""
        self.round_trip_seconds: float | None = None
        self.transfers = trio.CapacityLimiter(limits.max_transfers_per_peer)
        self.keeper = trio.CancelScope()
        self.dropped_before = 0
        self._limits = limits
        self._shunned_until = 0.0
        self._changed = trio.Event()
        self._start_counting()

    def _start_counting(self) -> None:
        """A new session of announcements: both sides exchange what they have whenever one begins."""
        self.heard = Sequence()
        self.outbox = Outbox(
            session=secrets.randbits(63) + 1,
            max_messages=self._limits.max_queued_announcements,
            max_bytes=self._limits.max_queued_bytes,
        )

    @property
    def peer_id(self) -> str:
        return self.address.peer_id

    @property
    def primary(self) -> Connection | None:
        """The connection that carries announcements."""
        return next((live for live in self.connections if not live.is_closed), None)

    @property
    def dropped(self) -> int:
        """Announcements that did not fit, since the start."""
        return self.dropped_before + self.outbox.dropped

    def add(self, connection: Connection) -> bool:
        """Whether this is the only connection.  The oldest ones beyond the bound are closed."""
        self.connections.append(connection)
        for old in self.connections[: -self._limits.max_connections_per_peer]:
            old.close()
        self._wake()
        return len(self.connections) == 1

    def remove(self, connection: Connection) -> bool:
        """Whether this was the last connection."""
        self.connections.remove(connection)
        self._wake()
        if self.connections:
            return False
        self.dropped_before = self.dropped
        self.round_trip_seconds = None
        self._start_counting()
        return True

    def shun(self, seconds: float) -> None:
        """Closes every connection, and wants none for so long."""
        self._shunned_until = trio.current_time() + seconds
        for connection in self.connections:
            connection.close()

    def shunned_seconds(self) -> float:
        """For how long no connection is wanted."""
        return max(0.0, self._shunned_until - trio.current_time())

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_connected(self) -> None:
        """Returns while there is a live connection."""
        while not self.connections:
            await self._changed.wait()

    async def wait_lost(self) -> None:
        """Returns while there is none."""
        while self.connections:
            await self._changed.wait()

    async def wait_primary(self, connection: Connection) -> None:
        """Returns while `connection` is the one that carries announcements."""
        while self.primary is not connection:
            await self._changed.wait()
