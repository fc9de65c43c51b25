"""What a member signs: EIP-712 statements that the contracts themselves can judge.

Two statements of one signer with equal (config, round, kind, attempt, subject) and different digests are an
equivocation.  The hash is the one that `eth_signTypedData_v4` and the RoundLedger compute; here it is spelt out
because it is taken for every message, and all its fields have a fixed size.

Source: EIP-712; EIP-2098 for the 64-byte form of signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from gossip.errors import BadSignature

SIGNATURE_BYTES = 64
ADDRESS_BYTES = 20

_DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_STATEMENT_TYPE = keccak(
    b"Statement(bytes32 config,uint64 round,uint8 kind,uint32 attempt,uint32 subject,bytes32 digest)"
)


class Kind(IntEnum):
    """Kinds of statements; the number is part of what is signed."""

    OPEN = 1
    DEAL = 2
    FREEZE = 3
    PROOF = 4
    RECEIPT = 5
    COMPLAINT = 6
    PROPOSE = 7
    CONFIRM = 8
    COMMIT = 9
    STATUS = 10
    REVEAL = 11
    SCORE = 12
    SIGN = 13
    PIECE = 14
    CHECK = 15


@dataclass(frozen=True, slots=True)
class Domain:
    """The chain and RoundLedger for which signatures count.

    Attributes:
        chain_id: EIP-155 id of the chain.
        ledger: 20-byte address of the RoundLedger.
    """

    chain_id: int
    ledger: bytes

    def __post_init__(self) -> None:
        if len(self.ledger) != ADDRESS_BYTES:
            raise ValueError(f"an address has 20 bytes, found {len(self.ledger)}")

    @property
    def separator(self) -> bytes:
        return _domain_separator(self.chain_id, self.ledger)


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that a member says at most once."""

    config: bytes
    round: int
    kind: Kind
    attempt: int
    subject: int
    digest: bytes

    def signing_digest(self, domain: Domain) -> bytes:
        """The 32 bytes that are signed."""
        return _signing_digest(self, domain)

    def struct_hash(self) -> bytes:
        """EIP-712 hashStruct of the statement; 32 bytes."""
        return keccak(
            _STATEMENT_TYPE
            + self.config
            + self.round.to_bytes(32, "big")
            + int(self.kind).to_bytes(32, "big")
            + self.attempt.to_bytes(32, "big")
            + self.subject.to_bytes(32, "big")
            + self.digest
        )


@lru_cache(maxsize=4096)
def _signing_digest(statement: Statement, domain: Domain) -> bytes:
    return typed_data_digest(domain, statement.struct_hash())


def typed_data_digest(domain: Domain, struct_hash: bytes) -> bytes:
    """The 32 bytes that are signed for a struct with this hash."""
    return keccak(b"\x19\x01" + domain.separator + struct_hash)


def sign(key: PrivateKey, digest: bytes) -> bytes:
    """The deterministic (RFC 6979) 64-byte signature of a 32-byte digest."""
    raw = key.sign_recoverable(digest, hasher=None)
    s: int = int.from_bytes(raw[32:64], "big") | raw[64] << 255
    return bytes(raw[:32]) + s.to_bytes(32, "big")


@lru_cache(maxsize=65_536)
def recover(digest: bytes, signature: bytes) -> bytes:
    """The 20-byte address that signed `digest`.

    Raises:
        BadSignature: not a signature of anybody.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise BadSignature(f"a signature has {SIGNATURE_BYTES} bytes, found {len(signature)}")
    s = int.from_bytes(signature[32:], "big")
    raw = signature[:32] + (s & ((1 << 255) - 1)).to_bytes(32, "big") + bytes([s >> 255])
    try:
        key = PublicKey.from_signature_and_message(raw, digest, hasher=None)
    except ValueError as error:
        raise BadSignature(f"nobody made this signature: {error}") from error
    return address_of(key)


def recovers(digest: bytes, signature: bytes, signer: bytes) -> bool:
    """Whether it is this signer's signature; garbage is nobody's."""
    try:
        return recover(digest, signature) == signer
    except BadSignature:
        return False


def address_of(key: PublicKey) -> bytes:
    """The 20-byte Ethereum address of a secp256k1 key."""
    return keccak(key.format(compressed=False)[1:])[12:]


@lru_cache(maxsize=64)
def _domain_separator(chain_id: int, ledger: bytes) -> bytes:
    return keccak(
        _DOMAIN_TYPE + keccak(b"Mycelia") + keccak(b"1") + chain_id.to_bytes(32, "big") + ledger.rjust(32, b"\0")
    )
