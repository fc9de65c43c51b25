"""What a quorum, or one member, signs for the contracts beside results: EIP-712 structs, spelt out.

Each struct is signed for the contract that takes it: changes of the roster for the registry, a pause and statements
for the ledger, rulings for the disputes.  All of them name the config digest of the roster that signs, so that they
are void as soon as the roster changes.

Source: EIP-712; the type strings are those of the Solidity sources.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from eth_hash.auto import keccak

from ledger.types import checked_address, domain_separator


@dataclass(frozen=True, slots=True)
class Approval:
    """A struct whose fields are those of its EIP-712 `TYPE`, in that order."""

    TYPE: ClassVar[str]

    config: bytes

    def struct_hash(self) -> bytes:
        """EIP-712 hashStruct, 32 bytes."""
        types = self.TYPE.partition("(")[2].removesuffix(")").split(",")
        values = (getattr(self, field.name) for field in fields(self))
        words = (_word(kind.partition(" ")[0], value) for kind, value in zip(types, values, strict=True))
        return keccak(keccak(self.TYPE.encode()) + b"".join(words))

    def signing_digest(self, chain_id: int, contract: str) -> bytes:
        """The 32 bytes that are signed for the contract at this address."""
        return keccak(b"\x19\x01" + domain_separator(chain_id, contract) + self.struct_hash())


@dataclass(frozen=True, slots=True)
class Admission(Approval):
    """A quorum takes a member in."""

    TYPE = "Admission(bytes32 config,address account,address signer,string name,bytes peerId,string netAddress)"

    account: str
    signer: str
    name: str
    peer_id: bytes
    net_address: str


@dataclass(frozen=True, slots=True)
class Removal(Approval):
    """A quorum removes a member; `evidence` is a digest of what it had before it, or zeros."""

    TYPE = "Removal(bytes32 config,uint256 index,bytes32 evidence)"

    index: int
    evidence: bytes


@dataclass(frozen=True, slots=True)
class Rotation(Approval):
    """A member's account changes the member's keys and address."""

    TYPE = "Rotation(bytes32 config,uint256 index,address account,address signer,bytes peerId,string netAddress)"

    index: int
    account: str
    signer: str
    peer_id: bytes
    net_address: str


@dataclass(frozen=True, slots=True)
class Exit(Approval):
    """A member's account ends its membership."""

    TYPE = "Exit(bytes32 config,uint256 index)"

    index: int


@dataclass(frozen=True, slots=True)
class SpecChange(Approval):
    """A quorum announces another specification; `number` counts the announcements."""

    TYPE = "SpecChange(bytes32 config,uint64 number,bytes32 specDigest)"

    number: int
    spec_digest: bytes


@dataclass(frozen=True, slots=True)
class Succession(Approval):
    """A quorum names the registry at which the consortium goes on."""

    TYPE = "Succession(bytes32 config,address successor)"

    successor: str


@dataclass(frozen=True, slots=True)
class Pause(Approval):
    """A quorum stops rounds until a Unix time; `number` counts the pauses."""

    TYPE = "Pause(bytes32 config,uint64 number,uint64 until)"

    number: int
    until: int


@dataclass(frozen=True, slots=True)
class RoundRuling(Approval):
    """A quorum decides whether a round's rewards are void."""

    TYPE = "RoundRuling(bytes32 config,uint64 round,bool isVoid,bytes32 evidence)"

    round: int
    is_void: bool
    evidence: bytes


@dataclass(frozen=True, slots=True)
class MemberRuling(Approval):
    """A quorum decides what a member loses."""

    TYPE = "MemberRuling(bytes32 config,uint256 index,uint256 amountWei,bytes32 evidence)"

    index: int
    amount_wei: int
    evidence: bytes


@dataclass(frozen=True, slots=True)
class Statement(Approval):
    """One thing that a member says at most once; see gossip/statements.py."""

    TYPE = "Statement(bytes32 config,uint64 round,uint8 kind,uint32 attempt,uint32 subject,bytes32 digest)"

    round: int
    kind: int
    attempt: int
    subject: int
    digest: bytes

    def as_tuple(self) -> tuple[bytes | int, ...]:
        """The fields in the contract's order."""
        return self.config, self.round, self.kind, self.attempt, self.subject, self.digest


def _word(kind: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return keccak(value) if kind == "bytes" else value.rjust(32, b"\0")
    if isinstance(value, str):
        return keccak(value.encode()) if kind == "string" else bytes(12) + bytes.fromhex(checked_address(value)[2:])
    assert isinstance(value, int)
    return value.to_bytes(32, "big")
