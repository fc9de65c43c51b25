"""From an open socket to a secured, multiplexed connection with a peer that is admitted, or to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.peer.id import ID
from libp2p.protocol_muxer.generic_selector import GenericMultistreamSelector
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX

from gossip.errors import PeerUnreachable
from gossip.transport.border import translated
from gossip.transport.interface import Limits
from gossip.transport.muxer import BoundedYamux
from gossip.transport.session import Session
from gossip.transport.wire import Wire

STRANGER: Final = "an unknown peer"


class NotAdmitted(HandshakeFailure):  # type: ignore[misc]
    """A peer proved a PeerID that is not in the admitted set."""

    def __init__(self, peer_id: str) -> None:
        super().__init__(f"{peer_id} is not admitted")
        self.peer_id = peer_id


class AdmittingNoise(Noise):  # type: ignore[misc]
    """Noise XX that ends before the session is used when the peer is not admitted."""

    def __init__(self, node_key: bytes, is_admitted: Callable[[str], bool]) -> None:
        super().__init__(create_new_key_pair(node_key), create_noise_key_pair().private_key)
        self._is_admitted = is_admitted

    async def secure_inbound(self, conn: Wire) -> Any:
        return self._gate(await super().secure_inbound(conn))

    async def secure_outbound(self, conn: Wire, peer_id: Any) -> Any:
        return self._gate(await super().secure_outbound(conn, peer_id))

    def _gate(self, session: Any) -> Any:
        peer_id = session.get_remote_peer().to_base58()
        if not self._is_admitted(peer_id):
            raise NotAdmitted(peer_id)
        return session


class Handshake:
    """Offers exactly one way to secure a connection and one to multiplex it.

    py-libp2p's own list ends with plaintext, through which anyone who knows a member's public key is that
    member.
    """

    def __init__(self, node_key: bytes, is_admitted: Callable[[str], bool], limits: Limits) -> None:
        self._security: Any = GenericMultistreamSelector()
        self._security.add_handler(NOISE, AdmittingNoise(node_key, is_admitted))
        self._muxers: Any = GenericMultistreamSelector()
        self._muxers.add_handler(YAMUX, BoundedYamux)
        self._limits = limits

    async def upgrade(self, wire: Wire, expected: str | None = None) -> tuple[str, BoundedYamux]:
        """PeerID of the other side, and the connection.  A dialler says whom it expects.

        Raises:
            PeerUnreachable: no common protocol, no proof of identity, somebody else, nonsense, or too slow;
                its cause is `NotAdmitted` for a PeerID outside the admitted set.
        """
        try:
            with translated(expected or STRANGER), trio.fail_after(self._limits.handshake_seconds):
                return await self._upgrade(wire, expected)
        except PeerUnreachable:
            wire.abort()
            raise

    async def _upgrade(self, wire: Wire, expected: str | None) -> tuple[str, BoundedYamux]:
        _, noise = await self._security.select(wire, wire.is_initiator)
        if expected is None:
            secured = await noise.secure_inbound(wire)
        else:
            secured = await noise.secure_outbound(wire, ID.from_base58(expected))
        session = Session(wire, secured)
        _, muxer = await self._muxers.select(session, wire.is_initiator)
        wire.admit()
        remote = session.get_remote_peer()
        return remote.to_base58(), muxer(
            session,
            remote,
            is_initiator=wire.is_initiator,
            max_unread_bytes=self._limits.max_unread_bytes,
            has_ended=lambda: wire.has_ended,
        )
