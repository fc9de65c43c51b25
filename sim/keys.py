"""Signer keys of simulated members: a function of seed and index, and therefore worth nothing."""

from __future__ import annotations

from coincurve import PrivateKey

from gossip.spec import digest


def member_key(seed: int, index: int) -> PrivateKey:
    """The key of member `index` in a world with this seed."""
    return PrivateKey(digest("simulated key", seed.to_bytes(8, "big", signed=True), index.to_bytes(2, "big")))
