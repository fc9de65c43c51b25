"""What can go wrong between peers, by whose fault it is."""

from __future__ import annotations


class GossipError(Exception):
    """Every protocol failure expected in normal operation."""


class LocalError(GossipError):
    """We broke a rule: a bug or misuse."""


class PeerError(GossipError):
    """A peer broke a rule; never ends the process.

    Attributes:
        peer: roster index or PeerID of the culprit, None where nobody can be named.
        evidence: bytes that show it to a third party; empty where there are none.
    """

    def __init__(self, reason: str, *, peer: int | str | None = None, evidence: bytes = b"") -> None:
        super().__init__(reason)
        self.peer = peer
        self.evidence = evidence


class MalformedMessage(PeerError):
    """Bytes that are not the canonical form of any message."""


class BadSignature(PeerError):
    """A message that its alleged sender did not sign."""


class Equivocation(PeerError):
    """Two statements of one signer with one key and different digests."""


class PeerUnreachable(GossipError):
    """The peer did not answer in time, or the connection broke."""


class TransferRefused(GossipError):
    """The peer will not take, or does not have, what was offered or asked for."""
