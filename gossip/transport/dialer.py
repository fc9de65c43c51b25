"""Who dials whom, and when: a connection to each admitted peer, direct where possible, else through another member."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import trio

from gossip.errors import PeerUnreachable
from gossip.transport.border import describe, translated
from gossip.transport.connection import Connection
from gossip.transport.handshake import Handshake
from gossip.transport.interface import Limits
from gossip.transport.muxer import BoundedYamux
from gossip.transport.peers import Peer
from gossip.transport.relay import RELAY, StreamPipe, ask_for
from gossip.transport.wire import Pipe, SocketPipe, Wire


class Backoff:
    """Pauses between dials that double from the shortest to the longest, each shortened by up to a half.

    `draw` gives numbers in [0, 1): without chance, members that went down together would come back together.
    """

    def __init__(self, limits: Limits, draw: Callable[[], float]) -> None:
        self._limits = limits
        self._draw = draw
        self._pause = limits.redial_min_seconds

    def on_failure(self) -> float:
        """Seconds until the next dial."""
        pause = self._pause
        self._pause = min(2 * pause, self._limits.redial_max_seconds)
        return pause * (1 - self._draw() / 2)

    def on_lost(self, lived_seconds: float) -> float:
        """Seconds until the next dial after a connection that lasted so long; a short one is a failure."""
        if lived_seconds < self._limits.redial_max_seconds:
            return self.on_failure()
        self._pause = self._limits.redial_min_seconds
        return 0.0


class MakeWire(Protocol):
    """Puts a wire over a pipe."""

    def __call__(self, pipe: Pipe, *, is_initiator: bool) -> Wire: ...


class Serve(Protocol):
    """Serves a connection until it ends; `via` is the relay that it goes through, if any."""

    def __call__(self, peer: Peer, wire: Wire, muxer: BoundedYamux, via: str | None = None) -> Awaitable[None]: ...


class Dialer:
    """Outbound connections of one node.

    Args:
        own_id: PeerID of the node.
        peers: the admitted ones, as they change.
        draw: numbers in [0, 1) that spread redials in time.
    """

    def __init__(
        self,
        own_id: str,
        limits: Limits,
        peers: Mapping[str, Peer],
        handshake: Handshake,
        make_wire: MakeWire,
        serve: Serve,
        draw: Callable[[], float],
    ) -> None:
        self._own_id = own_id
        self._limits = limits
        self._peers = peers
        self._handshake = handshake
        self._make_wire = make_wire
        self._serve = serve
        self._draw = draw

    async def keep_connected(self, peer: Peer) -> None:
        """Dials a peer whenever there is no connection to it, until its keeper is cancelled."""
        with peer.keeper:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._look_for_a_direct_way, peer)
                await self._redial(peer)

    async def _redial(self, peer: Peer) -> None:
        backoff = Backoff(self._limits, self._draw)
        pause = 0.0
        head_start = self._limits.head_start_seconds if self._own_id > peer.peer_id else 0.0
        while True:
            await peer.wait_lost()
            with trio.move_on_after(pause + head_start):
                await peer.wait_connected()
            if peer.connections:
                pause = 0.0
                continue
            pause = max(await self._dial(peer, backoff), peer.shunned_seconds())

    async def _dial(self, peer: Peer, backoff: Backoff) -> float:
        """Serves one outbound connection, if it comes about; seconds to wait before the next."""
        try:
            wire, muxer = await self.reach(peer)
        except PeerUnreachable as error:
            peer.dial_failure = describe(error.__cause__ or error)
            return backoff.on_lost(await self._through_relays(peer))
        peer.dial_failure = ""
        begun = trio.current_time()
        await self._serve(peer, wire, muxer)
        return backoff.on_lost(trio.current_time() - begun)

    async def _look_for_a_direct_way(self, peer: Peer) -> None:
        """Dials a peer now and then that is reached through another one only; a direct connection ends the others."""
        while True:
            await peer.wait_connected()
            await trio.sleep(self._limits.direct_retry_seconds * (1 - self._draw() / 2))
            if peer.primary is None or any(live.via is None for live in peer.connections):
                continue
            try:
                wire, muxer = await self.reach(peer)
            except PeerUnreachable as error:
                peer.dial_failure = describe(error.__cause__ or error)
                continue
            peer.dial_failure = ""
            await self._serve(peer, wire, muxer)

    async def reach(self, peer: Peer) -> tuple[Wire, BoundedYamux]:
        """A connection with whoever listens at the peer's registered address and is that peer.

        Raises:
            PeerUnreachable: nobody, or somebody else.
        """
        address = peer.address
        with translated(peer.peer_id), trio.fail_after(self._limits.dial_seconds):
            stream = await trio.open_tcp_stream(address.host, address.port)
        wire = self._make_wire(SocketPipe(stream), is_initiator=True)
        _, muxer = await self._handshake.upgrade(wire, peer.peer_id)
        return wire, muxer

    async def try_to_reach(self, peer_id: str) -> str:
        """Dials a peer's registered address once, and hangs up; why it failed, or an empty text."""
        peer = self._peers.get(peer_id)
        if peer is None:
            return "not admitted"
        try:
            wire, _ = await self.reach(peer)
        except PeerUnreachable as error:
            return describe(error.__cause__ or error)
        wire.abort()
        return ""

    def direct(self, peer_id: str) -> Connection | None:
        """The live connection to a peer that goes through no other."""
        peer = self._peers.get(peer_id)
        live = () if peer is None else peer.connections
        return next((one for one in live if not one.is_closed and one.via is None), None)

    async def _through_relays(self, peer: Peer) -> float:
        """Serves one connection through any member that joins us; seconds that it lasted."""
        for via in list(self._peers):
            connection = self.direct(via)
            if connection is None or via == peer.peer_id:
                continue
            begun = trio.current_time()
            try:
                with connection.user():
                    await self._through(connection, peer)
            except PeerUnreachable:
                continue
            return trio.current_time() - begun
        return 0.0

    async def _through(self, connection: Connection, peer: Peer) -> None:
        stream = await connection.open(RELAY)
        try:
            await ask_for(stream, peer.peer_id, self._limits)
            wire = self._make_wire(StreamPipe(stream), is_initiator=True)
            _, muxer = await self._handshake.upgrade(wire, peer.peer_id)
            await self._serve(peer, wire, muxer, connection.peer.peer_id)
        finally:
            await stream.abort()
