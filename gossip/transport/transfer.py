"""Payloads from one peer to another: offered, accepted, sent in chunks, acknowledged with their digest.

push   OFFER{size, digest, header} -> ACCEPT{offset, granted} | REJECT{reason}; CHUNK..., GRANT... -> ACK | REJECT
fetch  WANT{size, digest, offset, granted} -> ACCEPT{offset, granted} | REJECT{reason}, CHUNK..., GRANT...

Nothing is read before the size is judged, and memory for it is free.  What arrived before a connection broke is kept,
and the next attempt begins behind it.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from gossip.errors import MalformedMessage, TransferRefused
from gossip.transport.border import deadline
from gossip.transport.flow import Incoming, Outgoing
from gossip.transport.frames import DIGEST_BYTES, OFFER, FrameType, Offer
from gossip.transport.interface import Handlers, Limits
from gossip.transport.payloads import MakeHasher, Memory, Partial, Source
from gossip.transport.streams import Stream

START: Final = struct.Struct(">QQ")
"""Offset from which to send, and up to where that is granted."""


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
        push_hasher: digest of a pushed payload.
        blob_hasher: digest of a blob that is fetched.
        on_fault: called with the PeerID and one word for what the peer did.
    """

    limits: Limits
    handlers: Handlers
    push_hasher: MakeHasher
    blob_hasher: MakeHasher
    on_fault: Callable[[str, str], None]
    budget: Budget = field(init=False)
    _partials: dict[str, OrderedDict[bytes, Partial]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.budget = Budget(self.limits.max_bytes_in_flight)

    async def push(self, stream: Stream, peer_id: str, offer: Offer, source: Source) -> None:
        """Offers `source`, and sends what is wanted of it; returns once the peer's node has it.

        Raises:
            TransferRefused: the peer does not want it, or says that it arrived damaged.
            PeerUnreachable: the stream broke, or the peer was too slow.
            MalformedMessage: the peer answered with something else.
        """
        with deadline(peer_id, self.limits.queue_seconds + self.limits.seconds_for(source.size)):
            await stream.write_frame(FrameType.OFFER, offer.encode(), seconds=self.limits.chunk_seconds)
            offset, granted = await self._read_start(stream, source.size)
            await Outgoing(stream, source, offset, granted, self.limits).send()
            digest = await self._read_answer(stream, FrameType.ACK, DIGEST_BYTES, self.limits.seconds_for(source.size))
            if digest != offer.digest:
                raise MalformedMessage("the peer acknowledged another payload", peer=peer_id)

    async def fetch(self, stream: Stream, peer_id: str, digest: bytes, partial: Partial) -> None:
        """Completes `partial` with what the peer has of the blob of this digest.

        Raises:
            TransferRefused: the peer does not have it, or sent something else, which is forgotten.
            PeerUnreachable: the stream broke, or the peer was too slow; what arrived is kept.
            MalformedMessage: the peer answered with something else.
        """
        size = partial.size
        with deadline(peer_id, self.limits.queue_seconds + self.limits.seconds_for(size)):
            async with self.budget.reserve(size):
                granted = min(size, partial.offset + self._window(size))
                want = Offer(size, digest, START.pack(partial.offset, granted))
                await stream.write_frame(FrameType.WANT, want.encode(), seconds=self.limits.chunk_seconds)
                if (await self._read_start(stream, size))[0] != partial.offset:
                    raise MalformedMessage("a blob is sent from where it was asked for", peer=peer_id)
                await Incoming(stream, partial, self._window(size), self.limits).receive()
        if not partial.has(digest):
            partial.restart()
            self.on_fault(peer_id, "digest")
            raise TransferRefused(f"what {peer_id} sent does not have the digest asked for")

    async def serve(self, stream: Stream, peer_id: str) -> None:
        """Answers what the peer wants of a stream that it opened.

        Raises:
            PeerUnreachable: the stream broke, or the peer was too slow.
            MalformedMessage: the peer broke the rules of the exchange.
        """
        kind, body = await stream.read_frame(
            {FrameType.OFFER: OFFER.size + self.limits.max_header_bytes, FrameType.WANT: OFFER.size + START.size},
            seconds=self.limits.chunk_seconds,
        )
        offer = Offer.decode(body)
        if kind is FrameType.WANT:
            await self._serve_fetch(stream, peer_id, offer)
        else:
            await self._serve_push(stream, peer_id, offer)

    def forget(self, peer_id: str) -> None:
        """Drops what had arrived of this peer's payloads."""
        for partial in self._partials.pop(peer_id, OrderedDict[bytes, Partial]()).values():
            partial.sink.discard()

    # --- answering a fetch ------------------------------------------------------------------------------------------

    async def _serve_fetch(self, stream: Stream, peer_id: str, want: Offer) -> None:
        offset, granted = _decode_start(want.header, want.size)
        source = await self.handlers.find_blob(peer_id, want.digest)
        if source is None:
            return await self._reject(stream, "not found")
        if source.size != want.size:
            return await self._reject(stream, f"it has {source.size} bytes, not {want.size}")
        with deadline(peer_id, self.limits.seconds_for(want.size)):
            await self._accept(stream, offset, granted)
            try:
                await Outgoing(stream, source, offset, granted, self.limits).send()
            except TransferRefused as error:
                raise MalformedMessage("who fetches rejects nothing", peer=peer_id) from error

    # --- answering a push -------------------------------------------------------------------------------------------

    async def _serve_push(self, stream: Stream, peer_id: str, offer: Offer) -> None:
        if offer.size > self.limits.max_payload_bytes:
            return await self._reject(stream, f"more than {self.limits.max_payload_bytes} bytes")
        reason = self.handlers.judge_offer(peer_id, offer.header, offer.size, offer.digest)
        if reason is not None:
            self._drop_partial(peer_id, offer.digest)
            return await self._reject(stream, reason)
        with trio.move_on_after(self.limits.queue_seconds) as queueing:
            async with self.budget.reserve(self._window(offer.size)):
                queueing.deadline = float("inf")
                with deadline(peer_id, self.limits.seconds_for(offer.size)):
                    return await self._take_push(stream, peer_id, offer)
        await self._reject(stream, "busy")

    async def _take_push(self, stream: Stream, peer_id: str, offer: Offer) -> None:
        with self._resumed(peer_id, offer) as partial:
            window = self._window(offer.size)
            await self._accept(stream, partial.offset, min(offer.size, partial.offset + window))
            await Incoming(stream, partial, window, self.limits).receive()
        if not partial.has(offer.digest):
            partial.sink.discard()
            self.on_fault(peer_id, "digest")
            return await self._reject(stream, "it does not have the digest offered")
        await self.handlers.on_payload(peer_id, offer.header, partial.sink)
        await stream.write_frame(FrameType.ACK, offer.digest, seconds=self.limits.chunk_seconds)

    @contextmanager
    def _resumed(self, peer_id: str, offer: Offer) -> Iterator[Partial]:
        """What had arrived of this payload, or nothing; kept for another attempt if the block is left by an error."""
        kept = self._partials.setdefault(peer_id, OrderedDict())
        partial = kept.pop(offer.digest, None)
        if partial is None or partial.size != offer.size:
            if partial is not None:
                partial.sink.discard()
            partial = Partial(offer.size, self.handlers.open_sink(offer.size), self.push_hasher)
        try:
            yield partial
        except MalformedMessage:
            partial.sink.discard()
            raise
        except BaseException:
            self._keep(peer_id, offer.digest, partial)
            raise

    def _keep(self, peer_id: str, digest: bytes, partial: Partial) -> None:
        kept = self._partials.setdefault(peer_id, OrderedDict())
        for old in (kept.pop(digest, None), *self._beyond_bound(kept)):
            if old is not None:
                old.sink.discard()
        kept[digest] = partial

    def _beyond_bound(self, kept: OrderedDict[bytes, Partial]) -> list[Partial]:
        count = len(kept) + 1 - 2 * self.limits.max_transfers_per_peer
        return [kept.popitem(last=False)[1] for _ in range(count)]

    def _drop_partial(self, peer_id: str, digest: bytes) -> None:
        partial = self._partials.get(peer_id, OrderedDict[bytes, Partial]()).pop(digest, None)
        if partial is not None:
            partial.sink.discard()

    # --- frames -----------------------------------------------------------------------------------------------------

    def _window(self, size: int) -> int:
        return min(size, self.limits.window_chunks * self.limits.chunk_bytes)

    async def _accept(self, stream: Stream, offset: int, granted: int) -> None:
        await stream.write_frame(FrameType.ACCEPT, START.pack(offset, granted), seconds=self.limits.chunk_seconds)

    async def _reject(self, stream: Stream, reason: str) -> None:
        text = reason.encode()[: self.limits.max_reason_bytes]
        await stream.write_frame(FrameType.REJECT, text, seconds=self.limits.chunk_seconds)

    async def _read_start(self, stream: Stream, size: int) -> tuple[int, int]:
        waiting = self.limits.queue_seconds + self.limits.chunk_seconds
        return _decode_start(await self._read_answer(stream, FrameType.ACCEPT, START.size, waiting), size)

    async def _read_answer(self, stream: Stream, wanted: FrameType, size: int, seconds: float) -> bytes:
        expected = {wanted: size, FrameType.REJECT: self.limits.max_reason_bytes}
        kind, body = await stream.read_frame(expected, seconds=seconds)
        if kind is FrameType.REJECT:
            raise TransferRefused(body.decode(errors="replace"))
        if len(body) != size:
            raise MalformedMessage(f"a frame of type {wanted.name} has {size} bytes, found {len(body)}")
        return body


def new_download(size: int, make_hasher: MakeHasher) -> Partial:
    """What a fetch fills, in memory; may be handed to the next one after a broken connection."""
    return Partial(size, Memory(), make_hasher)


def _decode_start(body: bytes, size: int) -> tuple[int, int]:
    if len(body) != START.size:
        raise MalformedMessage(f"offset and grant have {START.size} bytes, found {len(body)}")
    offset, granted = START.unpack(body)
    if not offset <= granted <= size:
        raise MalformedMessage(f"offset {offset} and grant {granted} lie beyond the {size} bytes of the payload")
    return offset, granted
