"""Chunks on a stream, no more of them on their way than the receiver has room for.

The receiver grants bytes; it grants the next when the last are where they belong.  So its reader never waits for disk
or arithmetic, a slow disk slows the sender instead of filling memory, and whoever sends more than was granted is cut.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from gossip.errors import GossipError, MalformedMessage, TransferRefused
from gossip.transport.frames import FrameType
from gossip.transport.interface import Limits
from gossip.transport.payloads import Partial, Piece, Source, Stored
from gossip.transport.streams import Stream

GRANT: Final = struct.Struct(">Q")
FOREVER: Final = float("inf")
"""Bounded by the deadline of the whole transfer."""


class OverranWindow(MalformedMessage):
    """A peer sent more than it was granted."""


class Outgoing:
    """Sends a source, from an offset on, as the other side grants it.

    Args:
        granted: up to which byte of the payload it may send.
    """

    def __init__(self, stream: Stream, source: Source, offset: int, granted: int, limits: Limits) -> None:
        self._stream = stream
        self._source = source
        self._sent = offset
        self._granted = min(granted, source.size)
        self._limits = limits
        self._more = trio.Event()

    async def send(self) -> None:
        """Returns when all of it is on its way.

        Raises:
            TransferRefused: the other side does not want the rest.
            PeerUnreachable: the stream broke.
            MalformedMessage: the other side answered with something else.
        """
        with _one_error():
            await self._send()
        if self._sent != self._source.size:
            raise ValueError(f"a source of {self._source.size} bytes gave {self._sent}")

    async def _send(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear_grants)
            if isinstance(self._source, Stored):
                for piece in self._source.pieces(self._sent):
                    await self._write(piece)
            else:
                made, pieces = trio.open_memory_channel[Piece](1)
                nursery.start_soon(_make, self._source.pieces(self._sent), made)
                async with pieces:
                    async for piece in pieces:
                        await self._write(piece)

    async def _write(self, piece: Piece) -> None:
        while self._sent + len(piece) > self._granted:
            if self._granted == self._source.size:
                raise ValueError(f"a source of {self._source.size} bytes gave more")
            self._more = trio.Event()
            await self._more.wait()
        await self._stream.write_frame(FrameType.CHUNK, piece, seconds=self._limits.chunk_seconds)
        self._sent += len(piece)

    async def _hear_grants(self) -> None:
        expected = {FrameType.GRANT: GRANT.size, FrameType.REJECT: self._limits.max_reason_bytes}
        while self._granted < self._source.size:
            kind, body = await self._stream.read_frame(
                expected, seconds=self._limits.chunk_seconds, idle_seconds=FOREVER
            )
            if kind is FrameType.REJECT:
                raise TransferRefused(body.decode(errors="replace"))
            if len(body) != GRANT.size:
                raise MalformedMessage(f"a grant has {GRANT.size} bytes, found {len(body)}")
            (granted,) = GRANT.unpack(body)
            if not self._granted < granted <= self._source.size:
                raise MalformedMessage(f"{granted} bytes were granted after {self._granted} of {self._source.size}")
            self._granted = granted
            self._more.set()


async def _make(pieces: Iterator[Piece], made: trio.MemorySendChannel[Piece]) -> None:
    async with made:
        while (piece := await trio.to_thread.run_sync(next, pieces, None)) is not None:
            await made.send(piece)


class Incoming:
    """Receives the rest of a partial payload.

    Args:
        window: bytes that may be on their way or wait to be written.
    """

    def __init__(self, stream: Stream, partial: Partial, window: int, limits: Limits) -> None:
        self._stream = stream
        self._partial = partial
        self._window = window
        self._limits = limits
        self._received = partial.offset
        self._granted = min(partial.size, partial.offset + window)
        self._more = trio.Event()

    async def receive(self) -> None:
        """Returns when everything is in the sink.

        Raises:
            OverranWindow: the peer sent more than it was granted.
            MalformedMessage: the peer sent something else than chunks.
            PeerUnreachable: the stream broke; what was written is kept.
        """
        with _one_error():
            await self._receive()

    async def _receive(self) -> None:
        async with trio.open_nursery() as nursery:
            arrived, chunks = trio.open_memory_channel[bytes](self._window)
            nursery.start_soon(self._write, chunks)
            async with arrived:
                while self._received < self._partial.size:
                    arrived.send_nowait(await self._read())

    async def _read(self) -> bytes:
        while self._received == self._granted:
            self._more = trio.Event()
            await self._more.wait()
        longest = min(self._limits.chunk_bytes, self._partial.size - self._received)
        _, chunk = await self._stream.read_frame({FrameType.CHUNK: longest}, seconds=self._limits.chunk_seconds)
        if not chunk:
            raise MalformedMessage("a chunk is not empty")
        self._received += len(chunk)
        if self._received > self._granted:
            raise OverranWindow(f"{self._received} bytes came where {self._granted} were granted")
        return chunk

    async def _write(self, chunks: trio.MemoryReceiveChannel[bytes]) -> None:
        async with chunks:
            async for chunk in chunks:
                await trio.to_thread.run_sync(self._add, [chunk, *_waiting(chunks)])
                if self._granted < self._partial.size:
                    await self._grant()

    def _add(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._partial.add(chunk)

    async def _grant(self) -> None:
        if self._received == self._granted and self._stream.has_unread:
            raise OverranWindow(f"more came after all of the {self._granted} bytes that were granted")
        self._granted = min(self._partial.size, self._partial.offset + self._window)
        self._more.set()
        await self._stream.write_frame(FrameType.GRANT, GRANT.pack(self._granted), seconds=self._limits.chunk_seconds)


def _waiting(chunks: trio.MemoryReceiveChannel[bytes]) -> Iterator[bytes]:
    """What has come meanwhile; a thread for each would cost more than its digest."""
    while True:
        try:
            yield chunks.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return


@contextmanager
def _one_error() -> Iterator[None]:
    """What the tasks of a transfer end with, as the one error that says why."""
    try:
        yield
    except BaseExceptionGroup as group:
        # Whoever cancels asks again at the next opportunity.
        errors = [error for error in _leaves(group) if not isinstance(error, trio.Cancelled)]
        known = [error for error in errors if isinstance(error, GossipError)]
        if not known or len(known) < len(errors):
            raise
        raise min(known, key=lambda error: not isinstance(error, MalformedMessage)) from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
