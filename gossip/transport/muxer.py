"""yamux with a bound on what a peer may leave unread, and a short way for payloads.

py-libp2p takes some forty steps of the event loop for a frame of 64 KiB, and answers each read with a frame of its own.
Here plain data goes from a decrypted message to its stream, and from a payload into messages, without it; streams are
still opened, closed and reset by the library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import trio
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import (
    HEADER_SIZE,
    TYPE_DATA,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

from gossip.transport.session import MAX_PLAIN_BYTES, MESSAGE_SECONDS, Session

MAX_STREAMS: Final = 256
"""Streams that a connection keeps account of, those included that a peer opened and never closes."""

HEADER: Final = struct.Struct(YAMUX_HEADER_FORMAT)
PIECE_BYTES: Final = MAX_PLAIN_BYTES - HEADER_SIZE
"""What fits into one Noise message with yamux's header; one byte more costs a second message."""

BURST: Final = 4
"""Messages in one call of the kernel; as many again are encrypted without a break, which takes a fifth of a ms."""

WINDOW_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a stream that may be on their way, once it has carried half of yamux's first window."""

CLOSED_POLL_SECONDS: Final = 0.05
"""Who waits for room looks this often whether the stream still exists."""


class WindowOverrun(trio.TooSlowError):
    """A peer sent far more than it was allowed to.

    Of the errors that can arise while py-libp2p reads a frame, it closes the connection on `TooSlowError`
    alone, and carries on after any other.
    """


class BoundedYamux(Yamux):  # type: ignore[misc]
    """A connection of many streams.

    Attributes:
        overrun: the peer sent more than `max_unread_bytes` that nobody read.
        broke: the muxer gave the connection up for what the peer sent, while both sides still had it open.

    py-libp2p only logs a peer that ignores its window: 200 MB sent into a window of 256 KB were all kept.
    """

    def __init__(
        self,
        session: Session,
        peer_id: Any,
        *,
        is_initiator: bool,
        max_unread_bytes: int,
        has_ended: Callable[[], bool],
    ) -> None:
        super().__init__(_Headers(session, self._takes), peer_id, is_initiator=is_initiator)
        self.overrun = False
        self.broke = False
        self._session = session
        self._has_ended = has_ended
        self._max_unread_bytes = max_unread_bytes
        self._room = trio.Event()

    # --- in ---------------------------------------------------------------------------------------------------------

    def _takes(self, header: bytes) -> bool:
        """Whether a frame was dealt with: data that is here already, or room, of a stream that both sides have open."""
        _, kind, flags, stream_id, length = HEADER.unpack(header)
        stream = self.streams.get(stream_id)
        if flags or stream is None or stream.closed:
            return False
        if kind == TYPE_WINDOW_UPDATE:
            stream.send_window += length
            self._room.set()
            return True
        data = self._session.take_nowait(length) if kind == TYPE_DATA and length else None
        if data is None:
            return False
        self._check_unread(length)
        self.stream_buffers[stream_id] += data
        stream.recv_window = max(0, stream.recv_window - length)
        self.stream_events[stream_id].set()
        return True

    def _check_unread(self, more: int) -> None:
        if sum(map(len, self.stream_buffers.values())) + more > self._max_unread_bytes:
            self.overrun = True
            raise WindowOverrun

    async def _read_data_body(self, length: int) -> bytes:
        self._check_unread(length)
        with trio.fail_after(MESSAGE_SECONDS):
            return await self._session.read(length)

    async def receive(self, stream: YamuxStream) -> bytes | bytearray:
        """At least one byte of a stream, and what else has arrived of it, up to `WINDOW_BYTES`.

        Raises:
            MuxedStreamEOF, MuxedStreamReset: it ended.
        """
        stream_id = stream.stream_id
        while not stream.recv_closed and not stream.closed and stream_id in self.streams:
            data: bytearray = self.stream_buffers[stream_id]
            if data:
                # What is left for the next time counts as unread, so that a peer is cut that ignores its window.
                self.stream_buffers[stream_id] = data[WINDOW_BYTES:]
                del data[WINDOW_BYTES:]
                await self._make_room(stream, len(data))
                return data
            await self.stream_events[stream_id].wait()
            if stream_id in self.stream_events:
                self.stream_events[stream_id] = trio.Event()
        return bytes(await stream.read(WINDOW_BYTES))

    async def _make_room(self, stream: YamuxStream, taken: int) -> None:
        """Lets the peer send as much again, once that is worth a frame."""
        stream._pending_recv_release += taken
        if stream._pending_recv_release < stream.target_recv_window // 2:
            return
        room = stream._pending_recv_release + WINDOW_BYTES - stream.target_recv_window
        stream._pending_recv_release = 0
        stream.target_recv_window = WINDOW_BYTES
        stream.recv_window += room
        await stream.send_window_update(room)

    # --- out --------------------------------------------------------------------------------------------------------

    async def send(self, stream: YamuxStream, head: bytes, body: memoryview) -> None:
        """Writes a short head and a body of any length.

        Raises:
            MuxedStreamError: the stream ended.
        """
        while head or body:
            await self._wait_for_room(stream)
            async with self._write_lock:
                messages: list[bytes] = []
                while (head or body) and stream.send_window > 0 and len(messages) < BURST:
                    size = min(PIECE_BYTES, stream.send_window)
                    first, head = head[:size], head[size:]
                    rest, body = body[: size - len(first)], body[size - len(first) :]
                    length = len(first) + len(rest)
                    stream.send_window -= length
                    messages.append(b"".join((HEADER.pack(0, TYPE_DATA, 0, stream.stream_id, length), first, rest)))
                if messages:
                    await self._session.write_all(messages)

    async def _wait_for_room(self, stream: YamuxStream) -> None:
        while not stream.send_closed and not stream.closed and stream.send_window <= 0:
            if self._room.is_set():
                self._room = trio.Event()
            with trio.move_on_after(CLOSED_POLL_SECONDS):
                await self._room.wait()
        if stream.send_closed or stream.closed:
            raise MuxedStreamError("the stream is closed")

    async def _cleanup_on_error(self) -> None:
        self.broke |= not self._has_ended()
        await super()._cleanup_on_error()


class _Headers:
    """A session of which the library's loop reads the headers of those frames that were not taken yet."""

    def __init__(self, session: Session, takes: Callable[[bytes], bool]) -> None:
        self._session = session
        self._takes = takes
        self.write = session.write
        self.close = session.close
        self.get_remote_address = session.get_remote_address
        self.get_transport_addresses = session.get_transport_addresses
        self.get_connection_type = session.get_connection_type

    async def read(self, n: int | None = None) -> bytes:
        """The next header."""
        while True:
            header = await self._session.read(n)
            if not self._takes(header):
                return header
