"""Connections through another member, for two that cannot dial each other; it carries bytes that it cannot read.

A asks the relay for B: HOP{PeerID} -> HOPPED | REJECT; the relay opens a stream to B.  Through these two streams A
and B make a connection as through a socket, with the same handshake: each proves who it is to the other, and what
they say is encrypted end to end.  The relay joins admitted members only, and only where it was told to be one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

import trio

from gossip.errors import MalformedMessage, PeerUnreachable, TransferRefused
from gossip.transport.border import LIBRARY_ERRORS
from gossip.transport.frames import FrameType
from gossip.transport.interface import Limits
from gossip.transport.streams import Stream

RELAY: Final = "/mycelia/relay/1.0.0"
"""From who wants to reach a member to the relay."""

RELAYED: Final = "/mycelia/relayed/1.0.0"
"""From the relay to that member."""

PEER_ID_BYTES: Final = 128
PUMP_BYTES: Final = 65_536


class CanOpen(Protocol):
    """A live connection."""

    async def open(self, protocol: str) -> Stream: ...


class Relay:
    """The member in the middle.

    Args:
        find: the live connection to a member; None if there is none.
        is_on: whether this node joins others at all.
    """

    def __init__(self, limits: Limits, find: Callable[[str], CanOpen | None], *, is_on: bool) -> None:
        self.is_on = is_on
        self._limits = limits
        self._find = find
        self._open: Counter[str] = Counter()

    @property
    def circuits(self) -> int:
        """How many pairs are joined now."""
        return self._open.total()

    async def serve(self, near: Stream, peer_id: str) -> None:
        """Joins the peer with the member that it asks for, until either ends.

        Raises:
            PeerUnreachable: the stream broke.
            MalformedMessage: the peer said something else.
        """
        _, body = await near.read_frame({FrameType.HOP: PEER_ID_BYTES}, seconds=self._limits.chunk_seconds)
        target = body.decode(errors="replace")
        connection = self._find(target)
        if not self.is_on or connection is None or self._open[peer_id] >= self._limits.max_circuits:
            reason = "not connected" if self.is_on and connection is None else "no relay for more"
            return await near.write_frame(FrameType.REJECT, reason.encode(), seconds=self._limits.chunk_seconds)
        self._open[peer_id] += 1
        try:
            far = await connection.open(RELAYED)
            try:
                await near.write_frame(FrameType.HOPPED, b"", seconds=self._limits.chunk_seconds)
                await _join(near, far)
            finally:
                await far.abort()
        finally:
            self._open[peer_id] -= 1


async def ask_for(stream: Stream, target: str, limits: Limits) -> None:
    """Has the relay at the other end of the stream join it with `target`.

    Raises:
        PeerUnreachable: it does not.
    """
    seconds = limits.dial_seconds
    await stream.write_frame(FrameType.HOP, target.encode(), seconds=seconds)
    expected = {FrameType.HOPPED: 0, FrameType.REJECT: limits.max_reason_bytes}
    try:
        kind, body = await stream.read_frame(expected, seconds=seconds)
    except (MalformedMessage, TransferRefused) as error:
        raise PeerUnreachable(f"the relay answered {error}") from error
    if kind is FrameType.REJECT:
        raise PeerUnreachable(f"the relay refused: {body.decode(errors='replace')}")


async def _join(near: Stream, far: Stream) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_pump, near, far, nursery.cancel_scope)
        nursery.start_soon(_pump, far, near, nursery.cancel_scope)


async def _pump(source: Stream, target: Stream, both: trio.CancelScope) -> None:
    pipe, sink = StreamPipe(source), StreamPipe(target)
    try:
        while data := await pipe.receive_some(PUMP_BYTES):
            await sink.send_all(data)
    except trio.BrokenResourceError:
        pass  # either end is gone, which ends both
    both.cancel()


class StreamPipe:
    """A stream where a socket is expected; see `gossip.transport.wire.Pipe`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ended = trio.Event()
        self._readers: set[trio.CancelScope] = set()

    async def receive_some(self, max_bytes: int) -> bytes:
        """At least one byte; none once the other side has ended it.

        Raises:
            BrokenResourceError: it broke, or `abort` was called.
        """
        if self._ended.is_set():
            raise trio.BrokenResourceError("closed")
        with trio.CancelScope() as scope:
            self._readers.add(scope)
            try:
                return await self._stream.receive_some(max_bytes)
            except LIBRARY_ERRORS as error:
                raise trio.BrokenResourceError(str(error)) from error
            finally:
                self._readers.discard(scope)
        raise trio.BrokenResourceError("closed")

    async def send_all(self, data: bytes) -> None:
        """Hands over all of it.

        Raises:
            BrokenResourceError: it broke, or `abort` was called.
        """
        if self._ended.is_set():
            raise trio.BrokenResourceError("closed")
        try:
            await self._stream.send_all(data)
        except LIBRARY_ERRORS as error:
            raise trio.BrokenResourceError(str(error)) from error

    def abort(self) -> None:
        """Ends it now for this side; whoever owns the stream drops it."""
        self._ended.set()
        for scope in self._readers:
            scope.cancel()
