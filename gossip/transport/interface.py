"""What the transport needs from its node, what it promises, and the bounds that it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gossip.errors import LocalError

if TYPE_CHECKING:
    from gossip.transport.payloads import Sink, Source

KIB = 1024
MIB = 1024 * KIB


class CannotListen(LocalError):
    """The address to listen on cannot be used."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {reason}")
        self.host = host
        self.port = port


class PortTaken(CannotListen):
    """Another process listens on that port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, "the port is in use")


class Handlers(Protocol):
    """What a node does with what arrives.

    Called on the trio thread, which carries every connection: they return quickly, or wait for another thread
    that has the disk, training and long arithmetic.  A `PeerError` that one of them raises is counted against the
    peer and closes its connection; anything else is a bug and ends `Transport.run`.
    """

    def on_connected(self, peer_id: str) -> None:
        """The first live connection to this peer exists: exchange what each lacks."""

    def on_lost(self, peer_id: str) -> None:
        """The last live connection to this peer is gone."""

    def on_announcement(self, peer_id: str, message: bytes) -> None:
        """The next announcement of this peer; in the order in which it made them, none twice."""

    def on_gap(self, peer_id: str) -> None:
        """Some announcements of this peer were lost on the way: ask it for what is missing."""

    def judge_offer(self, peer_id: str, header: bytes, size: int, digest: bytes) -> str | None:
        """None to accept, else why not; called before memory is taken or a byte of the payload is read."""

    def open_sink(self, size: int) -> Sink:
        """Where a payload of so many bytes, which was accepted, is to go."""

    async def on_payload(self, peer_id: str, header: bytes, payload: Sink) -> None:
        """A payload is complete, and its digest is the one offered; acknowledged when this returns."""

    async def find_blob(self, peer_id: str, digest: bytes) -> Source | None:
        """The public blob of this digest, if the node has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on memory, number and time; a peer that passes one loses its stream or its connection.

    Attributes:
        max_announcement_bytes: longest announcement.
        max_queued_announcements: announcements waiting for one slow peer; the next ones are dropped, and the
            peer learns that it missed some.
        max_queued_bytes: the same, in bytes.
        max_header_bytes: longest header of an offer.
        max_reason_bytes: longest reason of a refusal.
        chunk_bytes: longest piece of a payload in one frame.
        window_chunks: chunks of one payload that may be on their way or wait for the disk; with those of
            `max_transfers_per_peer` payloads in each direction, all that a peer can make a node remember.
        max_payload_bytes: longest payload pushed or fetched.
        max_bytes_in_flight: windows of payloads that are pushed here, and payloads that are fetched into
            memory, at the same time, over all peers.
        max_transfers_per_peer: payloads sent or fetched at the same time, by each side of a connection.
        max_circuits: connections through a relay, of each member that it joins with others, and to each member.
        max_connections_per_peer: live connections; the oldest beyond it are closed.
        max_half_open: inbound connections before the end of their handshake; the oldest beyond it are closed.
        max_unread_bytes: data of one connection that waits to be read; a peer that ignores its window and
            passes this is cut.
        handshake_seconds: from an open socket to a secured, multiplexed connection.
        dial_seconds: opening the socket.
        redial_min_seconds: first pause after a failed dial; it doubles up to
        redial_max_seconds: the longest one.
        head_start_seconds: what the peer with the larger PeerID leaves the other to dial first, so that two
            that find each other at once rarely end up with two connections.
        direct_retry_seconds: between two looks, shortened by up to a half, whether a peer that is connected through
            another one only can be dialled by now.
        ping_seconds: between two signs of life.
        silence_seconds: without a byte received, after which a connection is dead.
        stall_seconds: for the kernel to take one encrypted frame.
        chunk_seconds: for one frame that has begun, and for the next one in a transfer.
        queue_seconds: a payload waits for memory at its receiver.
        transfer_seconds: for a transfer, to which its size over
        min_bytes_per_second: the slowest bearable rate is added.
    """

    max_announcement_bytes: int = 640 * KIB
    max_queued_announcements: int = 1024
    max_queued_bytes: int = 16 * MIB
    max_header_bytes: int = 64 * KIB
    max_reason_bytes: int = 512
    chunk_bytes: int = MIB
    window_chunks: int = 4
    max_payload_bytes: int = 1024 * MIB
    max_bytes_in_flight: int = 2048 * MIB
    max_transfers_per_peer: int = 2
    max_circuits: int = 64
    max_connections_per_peer: int = 3
    max_half_open: int = 64
    max_unread_bytes: int = 32 * MIB
    handshake_seconds: float = 4.0
    dial_seconds: float = 5.0
    redial_min_seconds: float = 0.2
    redial_max_seconds: float = 5.0
    head_start_seconds: float = 0.25
    direct_retry_seconds: float = 60.0
    ping_seconds: float = 2.0
    silence_seconds: float = 7.0
    stall_seconds: float = 10.0
    chunk_seconds: float = 15.0
    queue_seconds: float = 20.0
    transfer_seconds: float = 30.0
    min_bytes_per_second: int = 250_000

    def __post_init__(self) -> None:
        if self.max_payload_bytes > self.max_bytes_in_flight:
            raise ValueError("max_payload_bytes is at most max_bytes_in_flight: it could never be received")
        if self.silence_seconds <= self.ping_seconds:
            raise ValueError("silence_seconds is longer than ping_seconds: every peer would seem dead")

    def seconds_for(self, size: int) -> float:
        """How long a transfer of `size` bytes may take."""
        return self.transfer_seconds + size / self.min_bytes_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What happened since the start; counters only grow, except the first two.

    Attributes:
        connections: live connections, duplicates included.
        half_open: inbound connections in their handshake.
        bytes_received: from the network, strangers included.
        bytes_sent: to the network.
        strangers_refused: handshakes that proved a PeerID outside the admitted set.
        handshakes_failed: inbound connections that never got through the handshake for another reason.
        announcements_received: delivered to the node.
        announcements_sent: written, one for each peer.
        announcements_dropped: not written because the peer was too slow.
        faults: of each peer that is or was admitted, how often it did what: "malformed", "overrun", "silent",
            "digest", "streams", "repeated" (an announcement again, or out of order), "refused by handler",
            "not admitted" (it came back after its removal), "shunned" (it came back too early), and what the node
            blamed it for.
        dial_failures: of each peer that could not be reached, why the last attempt failed.
        relayed: of each peer that is connected through another one only, that one's PeerID.
        circuits: pairs of members that this node joins.
        loop_lag: how often the event loop was at most so many seconds late; see `gossip.transport.lag`.
        round_trip_seconds: of each connected peer, as the last ping measured it.
    """

    connections: int
    half_open: int
    bytes_received: int
    bytes_sent: int
    strangers_refused: int
    handshakes_failed: int
    announcements_received: int
    announcements_sent: int
    announcements_dropped: int
    faults: Mapping[str, Mapping[str, int]]
    dial_failures: Mapping[str, str]
    relayed: Mapping[str, str]
    circuits: int
    loop_lag: Mapping[float, int]
    round_trip_seconds: Mapping[str, float]
