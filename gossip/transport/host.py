"""The transport of one node: listens, and keeps one live connection to every admitted peer."""

from __future__ import annotations

import errno
import functools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Protocol

import trio

from gossip.errors import LocalError, PeerUnreachable
from gossip.spec import hasher
from gossip.transport.connection import Connection, Counters, Services
from gossip.transport.dialer import Dialer
from gossip.transport.errands import Errands
from gossip.transport.handshake import Handshake, NotAdmitted
from gossip.transport.identity import PeerAddress, peer_id_of
from gossip.transport.interface import CannotListen, Handlers, Limits, PortTaken, Statistics
from gossip.transport.lag import LoopLag
from gossip.transport.lobby import Lobby
from gossip.transport.muxer import BoundedYamux
from gossip.transport.payloads import MakeHasher, Memory, Partial, Source, Stored
from gossip.transport.peers import Peer
from gossip.transport.reach import Reach, View
from gossip.transport.relay import Relay, StreamPipe
from gossip.transport.streams import Stream
from gossip.transport.transfer import Transfers
from gossip.transport.wire import Meter, Pipe, SocketPipe, Wire

hash_pushed = functools.partial(hasher, "share")
hash_blob = functools.partial(hasher, "blob")


class ReportsPort(Protocol):
    """What `nursery.start` hands to a task."""

    def started(self, value: int, /) -> None:
        """The task serves on this port."""


class Transport:
    """Encrypted, bounded and admitted traffic with the other members.

    Everything happens on one trio thread; no method may be called from another.

    Args:
        node_key: 32-byte Ed25519 seed, from which the PeerID follows.
        listen_host: address to bind; "0.0.0.0" for every IPv4 interface.
        listen_port: port to bind; 0 lets the system choose.
        handlers: the node.
        limits: bounds on memory, number and time.
        push_hasher: makes digests of pushed payloads, 32 bytes.
        blob_hasher: makes digests of fetched blobs, 32 bytes.
        draw: numbers in [0, 1) that spread redials in time.
        clock: seconds since 1970, told to who asks whether it can be reached.
        relay: whether members that cannot dial each other may do so through this node.
    """

    def __init__(
        self,
        node_key: bytes,
        listen_host: str,
        listen_port: int,
        handlers: Handlers,
        limits: Limits | None = None,
        *,
        push_hasher: MakeHasher = hash_pushed,
        blob_hasher: MakeHasher = hash_blob,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
        relay: bool = False,
    ) -> None:
        self.peer_id = peer_id_of(node_key)
        self._listen = (listen_host, listen_port)
        self._limits = limits or Limits()
        self._handlers = handlers
        self._peers: dict[str, Peer] = {}
        self._handshake = Handshake(node_key, self._is_welcome, self._limits)
        transfers = Transfers(self._limits, handlers, push_hasher, blob_hasher, self._on_fault)
        self._dialer = Dialer(self.peer_id, self._limits, self._peers, self._handshake, self._wire, self._serve, draw)
        reach = Reach(self._limits, self._dialer.try_to_reach, clock)
        self._relay = Relay(self._limits, self._dialer.direct, is_on=relay)
        self._services = Services(
            self._limits, handlers, transfers, reach, self._relay, self._answer_relayed, Counters(), self._on_fault
        )
        self._errands = Errands(self._limits, self._services)
        self._nursery: trio.Nursery | None = None
        self._has_run = False
        self._lobby = Lobby(self._limits.max_half_open)
        self._lag = LoopLag()
        self._faults: dict[str, Counter[str]] = {}
        self._meter = Meter()
        self._dropped_by_former = 0
        self._refused = 0
        self._failed = 0

    @property
    def connected(self) -> frozenset[str]:
        """PeerIDs with at least one live connection."""
        return frozenset(peer_id for peer_id, peer in self._peers.items() if peer.primary)

    # --- life -----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: ReportsPort = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled; reports the port it listens on.  Leaves no socket behind.

        Raises:
            PortTaken: another process listens there.
            CannotListen: the address does not exist here, or may not be used.
            LocalError: it runs, or ran.
        """
        if self._has_run:
            raise LocalError("a transport runs once")
        listeners = await self._open_listeners()
        self._has_run = True
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(trio.serve_listeners, self._answer, listeners)
                self._nursery.start_soon(self._lag.run)
                for peer in self._peers.values():
                    self._nursery.start_soon(self._dialer.keep_connected, peer)
                task_status.started(listeners[0].socket.getsockname()[1])
                try:
                    await trio.sleep_forever()
                finally:
                    self._close_everything()
        finally:
            self._nursery = None

    async def _open_listeners(self) -> Sequence[trio.SocketListener]:
        host, port = self._listen
        try:
            # Without SO_REUSEPORT, which py-libp2p sets: two nodes on one port would share its connections.
            return await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(host, port) from error
            raise CannotListen(host, port, error.strerror or str(error)) from error

    def _close_everything(self) -> None:
        self._lobby.close()
        for peer in self._peers.values():
            for connection in peer.connections:
                connection.close()

    def admit(self, peers: Sequence[PeerAddress]) -> None:
        """Makes `peers` the admitted set.

        Connections to everyone else are closed at once, before this returns; new peers are dialled.  The
        node itself is left out.  May be called at any time, before `run` too.
        """
        wanted = {peer.peer_id: peer for peer in peers if peer.peer_id != self.peer_id}
        for peer_id in self._peers.keys() - wanted.keys():
            self._dismiss(self._peers.pop(peer_id))
        for peer_id, address in wanted.items():
            if peer_id in self._peers:
                self._peers[peer_id].address = address
                continue
            peer = self._peers[peer_id] = Peer(address, self._limits)
            self._faults.setdefault(peer_id, Counter())
            if self._nursery is not None:
                self._nursery.start_soon(self._dialer.keep_connected, peer)

    def _is_welcome(self, peer_id: str) -> bool:
        peer = self._peers.get(peer_id)
        return peer is not None and not peer.shunned_seconds()

    def blame(self, peer_id: str, fault: str) -> None:
        """Counts what the node found a peer to have done."""
        self._on_fault(peer_id, fault)

    def shun(self, peer_id: str, seconds: float) -> None:
        """Drops a peer, and has nothing to do with it for so long."""
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.shun(seconds)

    def _dismiss(self, peer: Peer) -> None:
        self._dropped_by_former += peer.dropped
        self._services.transfers.forget(peer.peer_id)
        peer.keeper.cancel()
        for connection in peer.connections:
            connection.close()

    # --- connections ----------------------------------------------------------------------------------------

    async def _answer(self, stream: trio.SocketStream) -> None:
        """Serves one inbound connection."""
        await self._admit_inbound(SocketPipe(stream), _remote_host(stream))

    async def _answer_relayed(self, stream: Stream, via: str) -> None:
        """Serves one inbound connection that a relay brought."""
        await self._admit_inbound(StreamPipe(stream), via, via)

    async def _admit_inbound(self, pipe: Pipe, place: str, via: str | None = None) -> None:
        wire = self._wire(pipe, is_initiator=False)
        self._lobby.enter(wire, place)
        try:
            peer_id, muxer = await self._handshake.upgrade(wire)
        except PeerUnreachable as error:
            if isinstance(error.__cause__, NotAdmitted):
                self._refused += 1
                is_shunned = error.__cause__.peer_id in self._peers
                self._on_fault(error.__cause__.peer_id, "shunned" if is_shunned else "not admitted")
            else:
                self._failed += 1
            return
        finally:
            self._lobby.leave(wire)
        peer = self._peers.get(peer_id)
        if peer is None or peer.shunned_seconds():  # since
            return wire.abort()
        await self._serve(peer, wire, muxer, via)

    def _wire(self, pipe: Pipe, *, is_initiator: bool) -> Wire:
        return Wire(
            pipe,
            is_initiator=is_initiator,
            stall_seconds=self._limits.stall_seconds,
            meter=self._meter,
        )

    async def _serve(self, peer: Peer, wire: Wire, muxer: BoundedYamux, via: str | None = None) -> None:
        connection = Connection(peer, wire, muxer, self._services, via)
        if peer.add(connection):
            self._handlers.on_connected(peer.peer_id)
        for other in peer.connections if via is None else ():
            if other.via is not None:
                other.close()
        try:
            await connection.serve()
        finally:
            if peer.remove(connection):
                self._handlers.on_lost(peer.peer_id)

    # --- speaking -------------------------------------------------------------------------------------------

    def announce(self, message: bytes, to: str | None = None) -> None:
        """Sends a small public message to every connected peer, or to one; returns at once.

        Who is not connected hears nothing of it, and who is too slow misses some: both learn it, by
        `on_connected` and `on_gap`, and ask.

        Raises:
            LocalError: longer than `max_announcement_bytes`.
        """
        if len(message) > self._limits.max_announcement_bytes:
            most = self._limits.max_announcement_bytes
            raise LocalError(f"an announcement has at most {most} bytes, found {len(message)}")
        for peer_id in self._peers if to is None else (to,):
            peer = self._peers.get(peer_id)
            if peer is not None and peer.connections:
                peer.outbox.put(message)

    async def flush(self, seconds: float) -> frozenset[str]:
        """Waits until the connected peers have heard what was announced; who has not after `seconds`.

        For a node that is about to stop.
        """
        waiting: set[str] = set(self.connected)

        async def confirm(peer_id: str, connection: Connection) -> None:
            try:
                with connection.user():
                    await connection.confirm()
            except PeerUnreachable:
                return
            waiting.discard(peer_id)

        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for peer_id in self.connected:
                    nursery.start_soon(confirm, peer_id, self._primary(peer_id))
        return frozenset(waiting)

    async def push(self, peer_id: str, header: bytes, payload: bytes | Source, payload_digest: bytes) -> None:
        """Sends a payload to one peer, from where an earlier attempt broke off; returns once its node has it.

        Raises:
            TransferRefused: the peer does not want it; the message is its reason.
            PeerUnreachable: there is no connection, it broke, or the peer was too slow.
            LocalError: header, payload or digest has a size that no peer accepts.
        """
        source = Stored(payload) if isinstance(payload, bytes) else payload
        await self._errands.push(self._primary(peer_id), header, source, payload_digest)

    async def fetch(self, peer_id: str, blob_digest: bytes, size: int, download: Partial | None = None) -> bytes:
        """A public blob of exactly `size` bytes, by its digest, which was checked.

        `download` keeps what arrives for the next attempt, with this peer or another.

        Raises:
            TransferRefused: the peer does not have it, or sent something else.
            PeerUnreachable: there is no connection, it broke, or the peer was too slow.
            LocalError: size or digest is out of bounds.
        """
        partial = download or self.new_download(size)
        await self._errands.fetch(self._primary(peer_id), blob_digest, partial)
        return partial.sink.take()

    def new_download(self, size: int) -> Partial:
        """What `fetch` can fill in several attempts."""
        return Partial(size, Memory(), self._services.transfers.blob_hasher)

    async def ask_back(self, peer_id: str) -> View:
        """Whether a connected peer can dial this node at its registered address, and what its clock shows.

        Raises:
            PeerUnreachable: there is no connection, it broke, or the peer was too slow.
        """
        return await self._errands.ask_back(self._primary(peer_id))

    def _primary(self, peer_id: str) -> Connection:
        peer = self._peers.get(peer_id)
        if peer is None or peer.primary is None:
            raise PeerUnreachable(f"{peer_id} is not connected")
        return peer.primary

    # --- looking --------------------------------------------------------------------------------------------

    def _on_fault(self, peer_id: str, fault: str) -> None:
        if peer_id in self._faults:
            self._faults[peer_id][fault] += 1

    def statistics(self) -> Statistics:
        """Counters as they stand."""
        peers = self._peers
        return Statistics(
            connections=sum(len(peer.connections) for peer in peers.values()),
            half_open=len(self._lobby),
            bytes_received=self._meter.received,
            bytes_sent=self._meter.sent,
            strangers_refused=self._refused,
            handshakes_failed=self._failed,
            announcements_received=self._services.counters.heard,
            announcements_sent=self._services.counters.announced,
            announcements_dropped=self._dropped_by_former + sum(peer.dropped for peer in peers.values()),
            faults=MappingProxyType({i: MappingProxyType(dict(found)) for i, found in self._faults.items() if found}),
            dial_failures=MappingProxyType({i: p.dial_failure for i, p in peers.items() if p.dial_failure}),
            relayed=MappingProxyType(
                {i: p.primary.via for i, p in peers.items() if p.primary is not None and p.primary.via is not None}
            ),
            circuits=self._relay.circuits,
            loop_lag=MappingProxyType(self._lag.counts),
            round_trip_seconds=MappingProxyType(
                {i: p.round_trip_seconds for i, p in peers.items() if p.round_trip_seconds is not None}
            ),
        )


def _remote_host(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:  # gone already
        return ""
