"""Payloads from one peer to another: offered, accepted, sent in chunks, acknowledged with their digest.

push   OFFER{size, digest, header} -> ACCEPT{offset} | REJECT{reason}; CHUNK... -> ACK{digest} | REJECT
fetch  WANT{size, digest} -> ACCEPT{offset} | REJECT{reason}, CHUNK...

Nothing is read before the size is judged, and memory for it is free.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from gossip.errors import MalformedMessage, TransferRefused
from gossip.transport.border import deadline
from gossip.transport.frames import DIGEST_BYTES, OFFER, FrameType, Offer
from gossip.transport.interface import MIB, Handlers, Limits
from gossip.transport.streams import Stream

OFFSET_BYTES: Final = 8
THREAD_BYTES: Final = MIB
"""Longer payloads are hashed in a thread: 1 GB takes most of a second."""

DigestFunction = Callable[[bytes], bytes]


class Budget:
    """Bytes that may be in flight; whoever waits is served in order."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._turn = trio.Lock()
        self._freed = trio.Event()

    @asynccontextmanager
    async def reserve(self, amount: int) -> AsyncIterator[None]:
        """Holds `amount` bytes while the block runs; waits for them first."""
        async with self._turn:
            while self._free < amount:
                self._freed = trio.Event()
                await self._freed.wait()
            self._free -= amount
        try:
            yield
        finally:
            self._free += amount
            self._freed.set()


@dataclass
class Transfers:
    """Both ends of every transfer of one node.

    Attributes:
        push_digest: digest of a pushed payload, 32 bytes.
        blob_digest: digest of a blob that is fetched, 32 bytes.
        on_fault: called with the PeerID and one word for what the peer did.
    """

    limits: Limits
    handlers: Handlers
    push_digest: DigestFunction
    blob_digest: DigestFunction
    on_fault: Callable[[str, str], None]
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(self.limits.max_bytes_in_flight)

    async def push(self, stream: Stream, peer_id: str, offer: Offer, payload: bytes) -> None:
        """Offers `payload`, and sends it if it is wanted; returns once the peer's node has it.

        Raises:
            TransferRefused: the peer does not want it, or says that it arrived damaged.
            PeerUnreachable: the stream broke, or the peer was too slow.
            MalformedMessage: the peer answered with something else.
        """
        with deadline(peer_id, self.limits.seconds_for(len(payload))):
            await stream.write_frame(FrameType.OFFER, offer.encode(), seconds=self.limits.chunk_seconds)
            await self._send(stream, payload, await self._read_offset(stream, len(payload)))
            digest = await self._read_answer(stream, FrameType.ACK, DIGEST_BYTES, self.limits.seconds_for(len(payload)))
            if digest != offer.digest:
                raise MalformedMessage("the peer acknowledged another payload", peer=peer_id)

    async def fetch(self, stream: Stream, peer_id: str, want: Offer) -> bytes:
        """The blob of this digest and size.

        Raises:
            TransferRefused: the peer does not have it, or sent something else.
            PeerUnreachable: the stream broke, or the peer was too slow.
            MalformedMessage: the peer answered with something else.
        """
        with deadline(peer_id, self.limits.queue_seconds + self.limits.seconds_for(want.size)):
            async with self.budget.reserve(want.size):
                await stream.write_frame(FrameType.WANT, want.encode(), seconds=self.limits.chunk_seconds)
                if await self._read_offset(stream, want.size):
                    raise MalformedMessage("a blob is sent from its beginning", peer=peer_id)
                blob = await self._receive(stream, want.size)
                if await _hash(self.blob_digest, blob) != want.digest:
                    self.on_fault(peer_id, "digest")
                    raise TransferRefused(f"what {peer_id} sent does not have the digest asked for")
                return blob

    async def serve(self, stream: Stream, peer_id: str) -> None:
        """Answers what the peer wants of a stream that it opened.

        Raises:
            PeerUnreachable: the stream broke, or the peer was too slow.
            MalformedMessage: the peer broke the rules of the exchange.
        """
        kind, body = await stream.read_frame(
            {FrameType.OFFER: OFFER.size + self.limits.max_header_bytes, FrameType.WANT: OFFER.size},
            seconds=self.limits.chunk_seconds,
        )
        offer = Offer.decode(body)
        if kind is FrameType.WANT:
            await self._serve_fetch(stream, peer_id, offer)
        else:
            await self._serve_push(stream, peer_id, offer)

    async def _serve_fetch(self, stream: Stream, peer_id: str, want: Offer) -> None:
        blob = self.handlers.find_blob(peer_id, want.digest)
        if blob is None:
            return await self._reject(stream, "not found")
        if len(blob) != want.size:
            return await self._reject(stream, f"it has {len(blob)} bytes, not {want.size}")
        with deadline(peer_id, self.limits.seconds_for(want.size)):
            await self._accept(stream)
            await self._send(stream, blob, 0)

    async def _serve_push(self, stream: Stream, peer_id: str, offer: Offer) -> None:
        if offer.size > self.limits.max_payload_bytes:
            return await self._reject(stream, f"more than {self.limits.max_payload_bytes} bytes")
        reason = self.handlers.judge_offer(peer_id, offer.header, offer.size, offer.digest)
        if reason is not None:
            return await self._reject(stream, reason)
        with trio.move_on_after(self.limits.queue_seconds) as queueing:
            async with self.budget.reserve(offer.size):
                queueing.deadline = float("inf")
                with deadline(peer_id, self.limits.seconds_for(offer.size)):
                    return await self._take_push(stream, peer_id, offer)
        await self._reject(stream, "busy")

    async def _take_push(self, stream: Stream, peer_id: str, offer: Offer) -> None:
        await self._accept(stream)
        payload = await self._receive(stream, offer.size)
        if await _hash(self.push_digest, payload) != offer.digest:
            self.on_fault(peer_id, "digest")
            return await self._reject(stream, "it does not have the digest offered")
        self.handlers.on_payload(peer_id, offer.header, payload)
        await stream.write_frame(FrameType.ACK, offer.digest, seconds=self.limits.chunk_seconds)

    async def _accept(self, stream: Stream) -> None:
        offset = bytes(OFFSET_BYTES)
        await stream.write_frame(FrameType.ACCEPT, offset, seconds=self.limits.chunk_seconds)

    async def _reject(self, stream: Stream, reason: str) -> None:
        text = reason.encode()[: self.limits.max_reason_bytes]
        await stream.write_frame(FrameType.REJECT, text, seconds=self.limits.chunk_seconds)

    async def _read_offset(self, stream: Stream, size: int) -> int:
        waiting = self.limits.queue_seconds + self.limits.chunk_seconds
        offset = int.from_bytes(await self._read_answer(stream, FrameType.ACCEPT, OFFSET_BYTES, waiting))
        if offset > size:
            raise MalformedMessage(f"offset {offset} lies beyond the {size} bytes of the payload")
        return offset

    async def _read_answer(self, stream: Stream, wanted: FrameType, size: int, seconds: float) -> bytes:
        expected = {wanted: size, FrameType.REJECT: self.limits.max_reason_bytes}
        kind, body = await stream.read_frame(expected, seconds=seconds)
        if kind is FrameType.REJECT:
            raise TransferRefused(body.decode(errors="replace"))
        if len(body) != size:
            raise MalformedMessage(f"a frame of type {wanted.name} has {size} bytes, found {len(body)}")
        return body

    async def _send(self, stream: Stream, payload: bytes, offset: int) -> None:
        view = memoryview(payload)
        for at in range(offset, len(view), self.limits.chunk_bytes):
            chunk = view[at : at + self.limits.chunk_bytes]
            await stream.write_frame(FrameType.CHUNK, chunk, seconds=self.limits.chunk_seconds)

    async def _receive(self, stream: Stream, size: int) -> bytes:
        """Exactly `size` bytes, in chunks.  Memory grows with what arrived, not with what was promised."""
        arrived = io.BytesIO()
        while arrived.tell() < size:
            longest = min(self.limits.chunk_bytes, size - arrived.tell())
            _, chunk = await stream.read_frame({FrameType.CHUNK: longest}, seconds=self.limits.chunk_seconds)
            if not chunk:
                raise MalformedMessage("a chunk is not empty")
            arrived.write(chunk)
        return arrived.getvalue()


async def _hash(digest_of: DigestFunction, payload: bytes) -> bytes:
    if len(payload) < THREAD_BYTES:
        return digest_of(payload)
    return await trio.to_thread.run_sync(digest_of, payload)
