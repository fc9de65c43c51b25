"""States of the reference model, and what its four parts share; see model.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from coincurve import PublicKey
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger.errors import Reverted
from ledger.types import (
    EMPTY,
    SIGNATURE_BYTES,
    STORED_BYTES,
    ZERO_ADDRESS,
    VaultTerms,
    compute_config_digest,
    members_of,
)

NOTHING: Final = bytes(STORED_BYTES)
"""The stored digest of a round that is not recorded."""

_CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


@dataclass(frozen=True, slots=True)
class Event:
    """One event: which contract wrote it, its Solidity name, and its parameters by their Solidity names."""

    contract: str
    name: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and when: the sender's address, and the time of the block in Unix seconds."""

    sender: str
    now: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as the registry takes it; nothing about it is checked before that."""

    account: str
    signer: str
    name: str
    peer_id: bytes
    net_address: str


@dataclass(frozen=True, slots=True)
class Keys:
    """A roster as signatures are counted against it: signer by index, the zero address where a member is gone."""

    signers: tuple[str, ...]
    version: int

    @property
    def active(self) -> int:
        return sum(1 << index for index, signer in enumerate(self.signers) if signer != ZERO_ADDRESS)

    @property
    def quorum(self) -> int:
        return 2 * self.active.bit_count() // 3 + 1


@dataclass(frozen=True, slots=True)
class Registry:
    """State of a MemberRegistry; see IMemberRegistry.sol."""

    members: tuple[Entry, ...]
    keys: Keys
    spec_digest: bytes
    config_digest: bytes
    rosters: Mapping[bytes, Keys]
    rotated_at: Mapping[int, int] = field(default_factory=dict)
    proposed_spec: bytes = EMPTY
    adoptable_at: int = 0
    spec_proposals: int = 0
    successor: str = ZERO_ADDRESS

    def is_active(self, index: int) -> bool:
        return bool(self.keys.active >> index & 1)

    def account_at(self, index: int) -> str:
        if index >= len(self.members):
            raise Reverted("UnknownMember", {"index": index})
        return self.members[index].account


@dataclass(frozen=True, slots=True)
class Record:
    """What the ledger keeps of a round."""

    digest: bytes
    recorded_at: int
    abandoned: bool
    challenged: bool = False
    dismissed: bool = False


NONE, OPEN, DISPUTED, VOID, FINAL, ABANDONED_FINAL = range(6)
"""RoundState in IRoundLedger.sol."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """State of a RoundLedger; see IRoundLedger.sol."""

    dispute_window_seconds: int
    ruling_seconds: int
    records: tuple[Record, ...] = ()
    recording_version: int = 1
    paused_until: int = 0
    pauses: int = 0
    voided: tuple[tuple[int, int], ...] = ()
    disputed: tuple[int, ...] = ()

    @property
    def next_round(self) -> int:
        return len(self.records)

    def digest(self, round_id: int) -> bytes:
        """Stored digest of the recorded result; `NOTHING` while there is none."""
        return self.records[round_id].digest if 0 <= round_id < len(self.records) else NOTHING

    def end_of(self, round_id: int) -> int:
        """When the round's own time is over; 0 while it is not recorded."""
        if round_id >= len(self.records):
            return 0
        record = self.records[round_id]
        return record.recorded_at + self.dispute_window_seconds + self.ruling_seconds * record.challenged

    def final_at(self, round_id: int, now: int) -> int:
        """When the round is final, as far as can be said now; 0 while it is not recorded."""
        held = [self.end_of(earlier) for earlier in self.disputed if earlier <= round_id and self.waits(earlier, now)]
        return max(self.end_of(round_id), *held, 0) if round_id < len(self.records) else 0

    def waits(self, round_id: int, now: int) -> bool:
        """Whether a quorum can still rule on the challenge of this round."""
        return self.records[round_id].challenged and now < self.end_of(round_id) and not self.is_void(round_id)

    def is_void(self, round_id: int) -> bool:
        """Whether a quorum ruled that the rewards of this round, or of an earlier one that they contain, are wrong."""
        return any(first <= round_id < below for first, below in self.voided)

    def state_of(self, round_id: int, now: int) -> int:
        """The round's RoundState at this time."""
        if round_id >= len(self.records):
            return NONE
        record = self.records[round_id]
        if self.is_void(round_id):
            return VOID
        if now >= self.final_at(round_id, now):
            return ABANDONED_FINAL if record.abandoned else FINAL
        return OPEN if now < self.end_of(round_id) and not record.challenged else DISPUTED


@dataclass(frozen=True, slots=True)
class Stake:
    """A member's own money in the vault."""

    staked: int = 0
    unbonding: int = 0
    bonded: int = 0
    release_at: int = 0


@dataclass(frozen=True, slots=True)
class Revenue:
    """What was paid while one root was active, and what of it was claimed by whom."""

    root: bytes
    total_wei: int
    paid_wei: int = 0
    claimed: Mapping[int, int] = field(default_factory=dict)

    @property
    def claimed_wei(self) -> int:
        return sum(self.claimed.values())


@dataclass(frozen=True, slots=True)
class Vault:
    """State of a RewardVault; see IRewardVault.sol."""

    terms: VaultTerms
    unbonding_seconds: int
    total_funded: int = 0
    total_slashed: int = 0
    total_claimed: int = 0
    active_round: int = 0
    active_root: bytes = EMPTY
    active_total: int = 0
    claimed_wei: Mapping[int, int] = field(default_factory=dict)
    revenue: Mapping[int, Revenue] = field(default_factory=dict)
    stakes: Mapping[int, Stake] = field(default_factory=dict)

    def stake_of(self, index: int) -> Stake:
        return self.stakes.get(index, Stake())

    @property
    def staked_wei(self) -> int:
        """Everything that belongs to members as stake, in whatever state."""
        return sum(stake.staked + stake.unbonding + stake.bonded for stake in self.stakes.values())

    @property
    def held_wei(self) -> int:
        """What the vault holds if nobody forced coins on it."""
        pool = self.total_funded + self.total_slashed - self.total_claimed
        return pool + self.staked_wei + sum(part.paid_wei - part.claimed_wei for part in self.revenue.values())


@dataclass(frozen=True, slots=True)
class Disputes:
    """State of a Disputes; see IDisputes.sol."""

    bond_wei: int
    challenger_of: Mapping[int, int] = field(default_factory=dict)
    punished: frozenset[bytes] = frozenset()
    last_challenged: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """The four contracts of one consortium.

    Attributes:
        chain_id: EIP-155 id of the chain.
        addresses: of registry, ledger, vault and disputes, by those names.
    """

    chain_id: int
    addresses: Mapping[str, str]
    registry: Registry
    ledger: Ledger
    vault: Vault
    disputes: Disputes


Outcome = tuple[State, tuple[Event, ...]]


def config_digest_of(chain_id: int, registry: str, keys: Keys, spec_digest: bytes) -> bytes:
    """The digest that names this roster with this specification."""
    return compute_config_digest(chain_id, registry, keys.version, keys.signers, keys.quorum, spec_digest)


def require_quorum(signed: bytes, signers: int, signatures: bytes, keys: Keys) -> None:
    """Raises unless a quorum of different active members signed the 32 bytes `signed`.

    Raises:
        Reverted: as Rosters.sol.
    """
    if signers & ~keys.active:
        raise Reverted("SignersOutsideRoster", {"signers": signers, "active": keys.active})
    count = signers.bit_count()
    if count < keys.quorum:
        raise Reverted("QuorumNotReached", {"needed": keys.quorum, "found": count})
    if len(signatures) != SIGNATURE_BYTES * count:
        raise Reverted("SignaturesLengthMismatch", {"expected": SIGNATURE_BYTES * count, "found": len(signatures)})
    for index, signature in zip(members_of(signers), _split(signatures), strict=True):
        if recover_signer(signed, signature) != keys.signers[index]:
            raise Reverted("InvalidSignature", {"index": index})


def recover_signer(digest: bytes, signature: bytes) -> str:
    """Address whose key made the EIP-2098 `signature` of `digest`; the zero address if nobody's did.

    Source: OpenZeppelin ECDSA.tryRecover(hash, r, vs) and the precompile ecrecover.
    """
    vs = int.from_bytes(signature[32:SIGNATURE_BYTES], "big")
    parity, s = vs >> 255, vs & ~(1 << 255)
    if s > _CURVE_ORDER // 2:
        return ZERO_ADDRESS
    try:
        key = PublicKey.from_signature_and_message(
            signature[:32] + s.to_bytes(32, "big") + bytes([parity]), digest, hasher=None
        )
    except ValueError:
        return ZERO_ADDRESS
    return str(to_checksum_address(keccak(key.format(compressed=False)[1:])[-20:]))


def is_signed_by(address: str, digest: bytes, signature: bytes) -> bool:
    """Whether it is this address's 64-byte signature; nobody's is the zero address's, to which garbage recovers."""
    is_whole = len(signature) == SIGNATURE_BYTES and address != ZERO_ADDRESS
    return is_whole and recover_signer(digest, signature) == address


def _split(signatures: bytes) -> Iterator[bytes]:
    for start in range(0, len(signatures), SIGNATURE_BYTES):
        yield signatures[start : start + SIGNATURE_BYTES]


def replaced(values: Sequence[str], index: int, value: str) -> tuple[str, ...]:
    """`values` with another one in this place."""
    return (*values[:index], value, *values[index + 1 :])
