"""One live connection: its streams, its signs of life, and its end."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from gossip.errors import MalformedMessage, PeerError, PeerUnreachable
from gossip.transport.border import translated
from gossip.transport.flow import OverranWindow
from gossip.transport.frames import POSITION, FrameType, Position
from gossip.transport.interface import Handlers, Limits
from gossip.transport.muxer import MAX_STREAMS, BoundedYamux
from gossip.transport.peers import Peer
from gossip.transport.reach import REACH, Reach
from gossip.transport.relay import RELAY, RELAYED, Relay
from gossip.transport.streams import CONTROL, TRANSFER, Stream
from gossip.transport.transfer import Transfers
from gossip.transport.wire import Wire

CLOCK: Final = struct.Struct(">d")
SPARE: Final = Position(0, 0)
CONTROL_STREAMS: Final = 1
MAX_REFUSED_STREAMS: Final = 256
"""Streams beyond its bound that a peer may open on one connection before it is cut."""


@dataclass
class Counters:
    """Announcements of all peers together."""

    announced: int = 0
    heard: int = 0


@dataclass
class Services:
    """What every connection of a node shares."""

    limits: Limits
    handlers: Handlers
    transfers: Transfers
    reach: Reach
    relay: Relay
    on_relayed: Callable[[Stream, str], Awaitable[None]]
    counters: Counters
    on_fault: Callable[[str, str], None]


class Connection:
    """A secured connection with an admitted peer, from the end of its handshake to its end.

    Nothing that the peer does raises out of `serve`: it ends the stream or the connection concerned, and is
    counted.

    Attributes:
        via: PeerID of the relay that it goes through, if any.
    """

    def __init__(self, peer: Peer, wire: Wire, muxer: BoundedYamux, services: Services, via: str | None = None) -> None:
        self.peer = peer
        self.via = via
        self._wire = wire
        self._muxer = muxer
        self._services = services
        self._limits = services.limits
        self._users: set[trio.CancelScope] = set()
        self._inbound = 0
        self._circuits = 0
        self._refused = 0
        self._hears_control = False
        self._answered = 0.0
        self._ponged = trio.Event()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed; nothing is delivered to the node any more."""
        return self._wire.is_closed

    def close(self) -> None:
        """Ends it now."""
        self._wire.abort()
        for scope in self._users:
            scope.cancel()

    def blame(self, fault: str) -> None:
        """Counts a fault of the peer and ends the connection."""
        if not self.is_closed:
            self._services.on_fault(self.peer.peer_id, fault)
            self.close()

    @contextmanager
    def user(self) -> Iterator[None]:
        """A block that needs the connection.

        Raises:
            PeerUnreachable: the connection ended meanwhile.
        """
        if self.is_closed:
            raise PeerUnreachable(f"{self.peer.peer_id}: the connection ended")
        scope = trio.CancelScope()
        self._users.add(scope)
        try:
            with scope:
                yield
        finally:
            self._users.discard(scope)
        if scope.cancelled_caught:
            raise PeerUnreachable(f"{self.peer.peer_id}: the connection ended")

    async def open(self, protocol: str) -> Stream:
        """A new stream.

        Raises:
            PeerUnreachable: the connection ended, or the peer does not speak `protocol`.
        """
        with translated(self.peer.peer_id), trio.fail_after(self._limits.chunk_seconds):
            stream = Stream(await self._muxer.open_stream(), self.peer.peer_id)
        try:
            await stream.select(protocol, self._limits.chunk_seconds)
        except PeerUnreachable:
            await stream.abort()
            raise
        return stream

    async def serve(self) -> None:
        """Keeps the connection until it ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_muxer, nursery.cancel_scope)
                nursery.start_soon(self._accept_streams, nursery)
                nursery.start_soon(self._watch_silence)
                nursery.start_soon(self._speak)
        finally:
            self.close()

    async def _run_muxer(self, everything: trio.CancelScope) -> None:
        try:
            with translated(self.peer.peer_id):
                await self._muxer.start()
        except PeerUnreachable:
            self.blame("malformed")
        if self._muxer.overrun:
            self._services.on_fault(self.peer.peer_id, "overrun")
        elif self._muxer.broke:
            self._services.on_fault(self.peer.peer_id, "malformed")
        everything.cancel()

    async def _watch_silence(self) -> None:
        """Cuts a peer whose machine is gone or whose process stands still; TCP would wait for hours."""
        while not self.is_closed:
            await trio.sleep_until(self._wire.last_received + self._limits.silence_seconds)
            if trio.current_time() >= self._wire.last_received + self._limits.silence_seconds:
                self.blame("silent")

    async def _accept_streams(self, nursery: trio.Nursery) -> None:
        most = self._limits.max_transfers_per_peer * 2 + CONTROL_STREAMS
        while True:
            try:
                with translated(self.peer.peer_id):
                    raw = await self._muxer.accept_stream()
            except PeerUnreachable:
                return self.close()
            if self._refused >= MAX_REFUSED_STREAMS or len(self._muxer.streams) > MAX_STREAMS:
                return self.blame("streams")
            if self._inbound >= most:  # twice the peer's own bound, for those that it gave up meanwhile
                self._refused += 1
                self._services.on_fault(self.peer.peer_id, "streams")
                await Stream(raw, self.peer.peer_id).abort()
                continue
            self._inbound += 1
            nursery.start_soon(self._serve_stream, raw)

    async def _serve_stream(self, raw: Any) -> None:
        stream = Stream(raw, self.peer.peer_id)
        try:
            protocol = await stream.accept(self._protocols(), self._limits.chunk_seconds)
            if protocol in (RELAY, RELAYED):
                return await self._serve_circuit(stream, protocol)
            if protocol == TRANSFER:
                await self._services.transfers.serve(stream, self.peer.peer_id)
            elif protocol == REACH:
                await self._services.reach.serve(stream, self.peer.peer_id)
            else:
                await self._listen(stream)
            await stream.close()
        except OverranWindow:
            self.blame("overrun")
        except MalformedMessage:
            self.blame("malformed")
        except PeerUnreachable:
            await stream.abort()
        except PeerError:
            self.blame("refused by handler")
        finally:
            self._inbound -= 1

    def _protocols(self) -> tuple[str, ...]:
        if self.via is not None:  # no relay through a relay
            return CONTROL, TRANSFER, REACH
        return (CONTROL, TRANSFER, REACH, RELAYED, *((RELAY,) if self._services.relay.is_on else ()))

    async def _serve_circuit(self, stream: Stream, protocol: str) -> None:
        """A stream that others are joined through lives as long as their connection, and has bounds of its own."""
        if self._circuits >= self._limits.max_circuits:
            self._services.on_fault(self.peer.peer_id, "streams")
            return await stream.abort()
        self._inbound -= 1
        self._circuits += 1
        try:
            if protocol == RELAY:
                await self._services.relay.serve(stream, self.peer.peer_id)
            else:
                await self._services.on_relayed(stream, self.peer.peer_id)
        finally:
            self._inbound += 1
            self._circuits -= 1
            await stream.abort()

    async def _listen(self, stream: Stream) -> None:
        """Hears the peer's announcements and answers its pings."""
        if self._hears_control:
            raise MalformedMessage("a connection has one control stream in each direction")
        self._hears_control = True
        expected = {
            FrameType.ANNOUNCE: POSITION.size + self._limits.max_announcement_bytes,
            FrameType.PING: POSITION.size + CLOCK.size,
        }
        while not self.is_closed:
            kind, body = await stream.read_frame(
                expected,
                seconds=self._limits.chunk_seconds,
                idle_seconds=self._limits.chunk_seconds + self._limits.silence_seconds,
            )
            if self.is_closed:
                return
            position, rest = Position.decode(body), body[POSITION.size :]
            if kind is FrameType.ANNOUNCE:
                self._hear(position, rest)
                continue
            if len(rest) != CLOCK.size:
                raise MalformedMessage(f"a ping ends with {CLOCK.size} bytes, found {len(rest)}")
            if self.peer.heard.on_ping(position):
                self._services.handlers.on_gap(self.peer.peer_id)
            await stream.write_frame(FrameType.PONG, rest, seconds=self._limits.chunk_seconds)

    def _hear(self, position: Position, message: bytes) -> None:
        is_new, is_late = self.peer.heard.on_announcement(position)
        if not is_new:
            return self._services.on_fault(self.peer.peer_id, "repeated")
        if is_late:
            self._services.handlers.on_gap(self.peer.peer_id)
        self._services.counters.heard += 1
        self._services.handlers.on_announcement(self.peer.peer_id, message)

    async def _speak(self) -> None:
        """Makes our announcements and signs of life."""
        try:
            stream = await self.open(CONTROL)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._talk, stream)
                nursery.start_soon(self._hear_pongs, stream)
        except* MalformedMessage:
            self.blame("malformed")
        except* PeerUnreachable:
            self.close()

    async def _talk(self, stream: Stream) -> None:
        """Says what there is to say, and pings regularly however much that is: each side waits for its pongs."""
        next_ping = trio.current_time()
        said: tuple[Position, bytes] | None = None
        while True:
            if said is not None:
                await self._announce(stream, *said)
            if trio.current_time() >= next_ping:
                await self._ping(stream)
                next_ping = trio.current_time() + self._limits.ping_seconds
            said = None
            with trio.move_on_at(next_ping):
                await self.peer.wait_primary(self)
                said = await self.peer.outbox.get()
                if said is None:
                    next_ping = trio.current_time()

    async def _ping(self, stream: Stream) -> None:
        position = self.peer.outbox.position if self.peer.primary is self else SPARE
        now = CLOCK.pack(trio.current_time())
        await stream.write_frame(FrameType.PING, position.encode(), now, seconds=self._limits.chunk_seconds)

    async def _announce(self, stream: Stream, position: Position, message: bytes) -> None:
        await stream.write_frame(FrameType.ANNOUNCE, position.encode(), message, seconds=self._limits.chunk_seconds)
        self._services.counters.announced += 1

    async def confirm(self) -> None:
        """Returns once the peer has heard everything that was announced before."""
        await self.peer.outbox.wait_empty()
        since = trio.current_time()
        self.peer.outbox.wake()
        while self._answered < since:
            await self._ponged.wait()

    async def _hear_pongs(self, stream: Stream) -> None:
        while True:
            _, body = await stream.read_frame(
                {FrameType.PONG: CLOCK.size},
                seconds=self._limits.chunk_seconds,
                idle_seconds=self._limits.chunk_seconds + self._limits.silence_seconds,
            )
            if len(body) != CLOCK.size:
                raise MalformedMessage(f"a pong has {CLOCK.size} bytes, found {len(body)}")
            (self._answered,) = CLOCK.unpack(body)
            self.peer.round_trip_seconds = max(0.0, trio.current_time() - self._answered)
            self._ponged.set()
            self._ponged = trio.Event()
