"""One stream of a connection: frames, each with a deadline."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import trio
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from gossip.errors import PeerUnreachable
from gossip.transport.border import LIBRARY_ERRORS, translated
from gossip.transport.frames import HEAD, Expected, FrameType, decode_head, encode_head

CONTROL: Final = "/mycelia/control/1.0.0"
"""Announcements and pings of the side that opened it; one on each connection and direction."""

TRANSFER: Final = "/mycelia/transfer/1.0.0"
"""One payload, pushed or fetched."""

NEGOTIATION_BYTES: Final = 1024
GOODBYE_SECONDS: Final = 1.0


class Stream:
    """Frames to and from one peer.  After any error the stream is of no use but to be aborted."""

    def __init__(self, raw: Any, peer_id: str) -> None:
        self._raw = raw
        self._peer_id = peer_id
        self._ahead = bytearray()

    async def select(self, protocol: str, seconds: float) -> None:
        """Agrees on `protocol` with the side that accepts the stream.

        Raises:
            PeerUnreachable: the other side does not speak it, or not in time.
        """
        with translated(self._peer_id), trio.fail_after(seconds):
            await MultiselectClient().select_one_of([protocol], MultiselectCommunicator(_Negotiation(self)))

    async def accept(self, protocols: tuple[str, ...], seconds: float) -> str:
        """The protocol that the side which opened the stream chose.

        Raises:
            PeerUnreachable: it chose none of them, or not in time.
        """
        with translated(self._peer_id), trio.fail_after(seconds):
            multiselect = Multiselect(dict.fromkeys(protocols))
            chosen, _ = await multiselect.negotiate(MultiselectCommunicator(_Negotiation(self)))
            return str(chosen)

    @property
    def has_unread(self) -> bool:
        """Whether something arrived that nobody asked to read yet."""
        return bool(self._ahead or self._raw.conn.stream_buffers.get(self._raw.stream_id))

    async def write_frame(self, kind: FrameType, *parts: bytes | memoryview, seconds: float) -> None:
        """Sends one frame, whose body is `parts` one after the other; the last may be long.

        Raises:
            PeerUnreachable: the stream broke, or the peer did not take it in time.
        """
        *first, body = (encode_head(kind, sum(map(len, parts))), *parts)
        with translated(self._peer_id), trio.fail_after(seconds):
            await self._raw.conn.send(self._raw, b"".join(first), memoryview(body))

    async def read_frame(
        self, expected: Expected, *, seconds: float, idle_seconds: float | None = None
    ) -> tuple[FrameType, bytes]:
        """The next frame: its type and its body.

        It may begin within `idle_seconds` (if None: `seconds`), and is then complete within `seconds`.

        Raises:
            MalformedMessage: no frame, not one of `expected`, or too long; its body was not read.
            PeerUnreachable: the stream broke or ended, or the peer was too slow.
        """
        with translated(self._peer_id):
            with trio.fail_after(seconds if idle_seconds is None else idle_seconds):
                await self._fill(1)
            with trio.fail_after(seconds):
                kind, size = decode_head(await self._take(HEAD.size), expected)
                return kind, await self._take(size)

    async def _take(self, size: int) -> bytes:
        await self._fill(size)
        with memoryview(self._ahead) as view:
            data = bytes(view[:size])
        del self._ahead[:size]
        return data

    async def _fill(self, size: int) -> None:
        """Has at least `size` bytes ready."""
        while len(self._ahead) < size:
            data = await self._raw.conn.receive(self._raw)
            if not data:
                raise PeerUnreachable(f"{self._peer_id} ended the stream")
            self._ahead += data

    async def receive_some(self, max_bytes: int) -> bytes:
        """Bytes that are no frames: at least one, none at the end; the library's errors are the caller's."""
        if not self._ahead:
            try:
                self._ahead += await self._raw.conn.receive(self._raw)
            except MuxedStreamEOF:
                return b""
        return await self._take(min(max_bytes, len(self._ahead)))

    async def send_all(self, data: bytes) -> None:
        """Bytes that are no frames; the library's errors are the caller's."""
        await self._raw.conn.send(self._raw, b"", memoryview(data))

    async def close(self) -> None:
        """Nothing more will be written; what was written still arrives."""
        with _goodbye():
            await self._raw.close()

    async def abort(self) -> None:
        """Drops the stream in both directions, with what was not read."""
        unread = self._raw.conn.stream_buffers.get(self._raw.stream_id)
        if unread is not None:
            unread.clear()  # else kept for a minute, and counted against the peer
        with _goodbye():
            await self._raw.reset()


@contextlib.contextmanager
def _goodbye() -> Iterator[None]:
    """For a last frame that is sent even while the task is being cancelled, and may get lost."""
    deadline = trio.current_time() + GOODBYE_SECONDS
    with trio.CancelScope(deadline=deadline, shield=True), contextlib.suppress(*LIBRARY_ERRORS):
        yield


class _Negotiation:
    """A stream as multistream-select sees it, which would read a message of any length."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = NEGOTIATION_BYTES

    async def read(self, n: int | None = None) -> bytes:
        wanted = 1 if n is None else n
        if wanted > self._left:
            raise ValueError("negotiation is too long")
        self._left -= wanted
        return await self._stream._take(wanted)

    async def write(self, data: bytes) -> None:
        await self._stream._raw.write(data)
