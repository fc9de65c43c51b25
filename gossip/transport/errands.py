"""Exchanges that this node begins, each on a stream of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gossip.errors import LocalError, MalformedMessage, PeerUnreachable
from gossip.transport.connection import Connection, Services
from gossip.transport.flow import OverranWindow
from gossip.transport.frames import DIGEST_BYTES, Offer
from gossip.transport.interface import Limits
from gossip.transport.payloads import Partial, Source
from gossip.transport.reach import REACH, View
from gossip.transport.streams import TRANSFER, Stream


class Errands:
    """Pushes, fetches and probes over live connections; no more than a few at a time to one peer."""

    def __init__(self, limits: Limits, services: Services) -> None:
        self._limits = limits
        self._services = services

    async def push(self, connection: Connection, header: bytes, source: Source, digest: bytes) -> None:
        """See `Transport.push`."""
        if len(header) > self._limits.max_header_bytes or len(digest) != DIGEST_BYTES:
            raise LocalError(f"header or digest is too long: {len(header)} and {len(digest)} bytes")
        self._check_size(source.size)
        async with _stream(connection, TRANSFER) as stream:
            offer = Offer(source.size, digest, header)
            await self._services.transfers.push(stream, connection.peer.peer_id, offer, source)

    async def fetch(self, connection: Connection, digest: bytes, partial: Partial) -> None:
        """See `Transport.fetch`."""
        if len(digest) != DIGEST_BYTES:
            raise LocalError(f"a digest has {DIGEST_BYTES} bytes, found {len(digest)}")
        self._check_size(partial.size)
        async with _stream(connection, TRANSFER) as stream:
            await self._services.transfers.fetch(stream, connection.peer.peer_id, digest, partial)

    async def ask_back(self, connection: Connection) -> View:
        """See `Transport.ask_back`."""
        async with _stream(connection, REACH) as stream:
            return await self._services.reach.ask(stream)

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self._limits.max_payload_bytes:
            raise LocalError(f"a payload has 0 to {self._limits.max_payload_bytes} bytes, found {size}")


@asynccontextmanager
async def _stream(connection: Connection, protocol: str) -> AsyncIterator[Stream]:
    """A stream for one exchange; whoever breaks its rules loses the connection."""
    async with connection.peer.transfers:
        with connection.user():
            stream = await connection.open(protocol)
            try:
                yield stream
            except MalformedMessage as error:
                connection.blame("overrun" if isinstance(error, OverranWindow) else "malformed")
                raise PeerUnreachable(f"{connection.peer.peer_id}: {error}") from error
            except BaseException:
                await stream.abort()
                raise
            await stream.close()
