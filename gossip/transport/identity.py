"""PeerIDs and addresses, without importing libp2p."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import base58
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ED25519_PEER_ID: Final = bytes.fromhex("002408011220")
"""Identity multihash (00), 36 bytes (24) of protobuf: key type Ed25519 (08 01), 32 bytes of key (12 20)."""


def peer_id_of(node_key: bytes) -> str:
    """The libp2p PeerID ("12D3Koo...") of a node key, a 32-byte Ed25519 seed.

    Raises:
        ValueError: the key does not have 32 bytes.

    Source: libp2p specs, peer-ids/peer-ids.md, "Keys" and "String representation".
    """
    public = Ed25519PrivateKey.from_private_bytes(node_key).public_key().public_bytes_raw()
    return base58.b58encode(ED25519_PEER_ID + public).decode()


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where an admitted peer listens.

    Attributes:
        peer_id: PeerID of an Ed25519 key, base58.
        host: name or IP address.
        port: TCP port, 1 to 65535.
    """

    peer_id: str
    host: str
    port: int

    def __post_init__(self) -> None:
        try:
            raw = base58.b58decode(self.peer_id)
        except ValueError as error:
            raise ValueError(f"not a PeerID: {self.peer_id!r}") from error
        if len(raw) != len(ED25519_PEER_ID) + 32 or not raw.startswith(ED25519_PEER_ID):
            raise ValueError(f"not the PeerID of an Ed25519 key: {self.peer_id!r}")
        if not self.host:
            raise ValueError(f"no host in the address of {self.peer_id}")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"a port lies in 1..65535, found {self.port}")
