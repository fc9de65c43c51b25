"""What is agreed on and how it is said: results, dealer sets, outcomes, certificates, and their canonical bytes."""

from __future__ import annotations

from typing import Final

import msgspec

from gossip.errors import MalformedMessage
from gossip.parameters import MAX_INDICES, MAX_MEMBERS
from gossip.spec import digest
from gossip.statements import SIGNATURE_BYTES

SET = 0
"""Subject of the agreement on whose updates are in the sum."""
OUTCOME = 1
"""Subject of the agreement on how the round ended."""

DIGEST_BYTES: Final = 32
Entries = tuple[tuple[int, bytes], ...]
"""Bytes by member, in ascending order."""

_ENCODER = msgspec.msgpack.Encoder()


def require(condition: bool, problem: str) -> None:
    if not condition:
        raise MalformedMessage(problem)


def require_uint(name: str, value: int, bits: int) -> None:
    require(0 <= value < 1 << bits, f"{name} is an unsigned integer of {bits} bits, found {value}")


def require_digest(name: str, value: bytes) -> None:
    require(len(value) == DIGEST_BYTES, f"{name} has {DIGEST_BYTES} bytes, found {len(value)}")


def require_entries(name: str, entries: tuple[tuple[int, bytes], ...], size: int) -> None:
    indices = [index for index, _ in entries]
    require(len(entries) <= MAX_MEMBERS, f"{name} has at most {MAX_MEMBERS} entries, found {len(entries)}")
    require(indices == sorted(set(indices)), f"{name} is in ascending order without repetition")
    for index, value in entries:
        require(0 <= index < MAX_MEMBERS, f"{name} names members, found {index}")
        require(len(value) == size, f"{name} holds {size} bytes each, found {len(value)}")


class RoundResult(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How a round ended, as the RoundLedger records it, with the scores that its digest covers.

    Attributes:
        round: number of the round.
        kind: RoundKind as an integer.
        outcome: 1 settled, 2 abandoned.
        previous: struct hash of the previous round's result; zero for round 0.
        config: digest of the roster and spec.
        dealers: bitmap by roster index of the members whose updates are in the sum.
        model: digest of the model file after the round.
        deals: Merkle root of the dealers' Deal digests.
        scores: parts per million of loss for each roster index, for the round that they score; None = unscored.
        rewards: Merkle root of the members' cumulative rewards.
        rewards_total: their sum in wei, as 16 bytes.
    """

    round: int
    kind: int
    outcome: int
    previous: bytes
    config: bytes
    dealers: int
    model: bytes
    deals: bytes
    scores: tuple[int, ...] | None
    rewards: bytes
    rewards_total: bytes

    def __post_init__(self) -> None:
        require_uint("round", self.round, 64)
        require(self.kind in (0, 1, 2), f"kind is 0, 1 or 2, found {self.kind}")
        require(self.outcome in (SETTLED, ABANDONED), f"outcome is 1 or 2, found {self.outcome}")
        for name in ("previous", "config", "model", "deals", "rewards"):
            require_digest(name, getattr(self, name))
        require_uint("dealers", self.dealers, MAX_INDICES)
        require(len(self.rewards_total) == 16, "rewards_total has 16 bytes")
        for score in self.scores or ():
            require(-(1 << 63) <= score < 1 << 63, f"a score has 64 bits, found {score}")
        require(len(self.scores or ()) <= MAX_INDICES, f"at most {MAX_INDICES} scores")

    @property
    def dealer_set(self) -> frozenset[int]:
        return frozenset(i for i in range(MAX_INDICES) if self.dealers >> i & 1)


SETTLED = 1
ABANDONED = 2


class SetValue(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=0):
    """A dealer set, with everything that justifies it named by digest.

    Attributes:
        freeze: digest of the Freeze whose challenge the Proofs answer; zero for the empty set.
        deals: (dealer, digest of its Deal).
        proofs: (dealer, digest of its Proof).
        receipts: (holder, digest of its Receipt); each covers every dealer of the set.
    """

    freeze: bytes
    deals: Entries
    proofs: Entries
    receipts: Entries

    def __post_init__(self) -> None:
        require_digest("freeze", self.freeze)
        for name in ("deals", "proofs", "receipts"):
            require_entries(name, getattr(self, name), DIGEST_BYTES)
        require([i for i, _ in self.deals] == [i for i, _ in self.proofs], "each dealer has a Deal and a Proof")

    @property
    def dealers(self) -> frozenset[int]:
        return frozenset(i for i, _ in self.deals)

    @property
    def is_empty(self) -> bool:
        return not self.deals


EMPTY_SET = SetValue(bytes(DIGEST_BYTES), (), (), ())


class OutcomeValue(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """How the round ends."""

    result: RoundResult


Value = SetValue | OutcomeValue


class Certificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Confirms of a quorum for one value in one attempt: the value is *prepared*.

    Attributes:
        attempt: the attempt in which it was confirmed.
        value: what was confirmed.
        signatures: (member, its signature of the CONFIRM statement).
    """

    attempt: int
    value: Value
    signatures: Entries

    def __post_init__(self) -> None:
        require_uint("attempt", self.attempt, 32)
        require_entries("signatures", self.signatures, SIGNATURE_BYTES)


def encode(item: msgspec.Struct) -> bytes:
    """The canonical bytes of a message, an envelope or a value."""
    return _ENCODER.encode(item)


def value_digest(value: Value) -> bytes:
    """What Confirms and Commits name a value by; 32 bytes."""
    return digest("value", encode(value))
