"""What the contracts know, as values that cannot be wrong by construction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from eth_hash.auto import keccak
from eth_utils.address import is_checksum_address, to_checksum_address
from eth_utils.exceptions import ValidationError

from ledger.errors import MalformedAddress

EMPTY: Final = bytes(32)
"""The digest that stands for nothing: no previous result, no scores, no dealers."""

SETTLED: Final = 1
ABANDONED: Final = 2

STATISTICS: Final = 0
TRAINING: Final = 1
CLOSING: Final = 2

SIGNATURE_BYTES: Final = 64
"""EIP-2098: r, then s with the parity in its highest bit."""

ZERO_ADDRESS: Final = "0x" + "00" * 20

STORED_BYTES: Final = 27
"""How much of a result's struct hash the ledger keeps; the rest of the slot holds time and state."""

PPM: Final = 1_000_000

MAX_GAS_PRICE_WEI: Final = 500 * 10**9
"""For a unit of gas, unless told otherwise: mainnet is usually below a fifth of it."""

_UINT64: Final = 2**64
_UINT128: Final = 2**128
_UINT256: Final = 2**256

RESULT_TYPE: Final = (
    "RoundResult(uint64 round,uint8 kind,uint8 outcome,bytes32 previous,bytes32 config,uint256 dealers,"
    "bytes32 model,bytes32 deals,bytes32 scores,bytes32 rewards,uint128 rewardsTotal)"
)
_RESULT_TYPEHASH: Final = keccak(RESULT_TYPE.encode())
_DOMAIN_TYPEHASH: Final = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_NAME_HASH: Final = keccak(b"Mycelia")
_VERSION_HASH: Final = keccak(b"1")


def checked_address(address: str) -> str:
    """`address` in the mixed case of EIP-55.

    Raises:
        MalformedAddress: not 20 bytes in hex, or in mixed case with a wrong checksum.
    """
    try:
        wanted = to_checksum_address(address)
    except (ValueError, TypeError, ValidationError) as error:
        raise MalformedAddress(f"{address!r} is no address: that is 0x and 40 hex digits") from error
    digits = address.removeprefix("0x")
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(address):
        raise MalformedAddress(f"the checksum of address {address} is wrong: copy it again")
    return wanted


@lru_cache(maxsize=64)
def domain_separator(chain_id: int, ledger: str) -> bytes:
    """EIP-712 separator of everything that members sign for the RoundLedger at `ledger`."""
    address = bytes(12) + bytes.fromhex(checked_address(ledger)[2:])
    return keccak(_DOMAIN_TYPEHASH + _NAME_HASH + _VERSION_HASH + chain_id.to_bytes(32, "big") + address)


@dataclass(frozen=True, slots=True)
class Member:
    """One institution's entry in the registry.

    Attributes:
        index: roster index, from 0.
        account: address that receives the rewards.
        signer: address whose key signs results and statements.
        name: what people call it, 1 to 64 bytes.
        peer_id: libp2p PeerID in base58.
        host: name or address where the node listens; IPv6 without brackets.
        port: TCP port where the node listens.
    """

    index: int
    account: str
    signer: str
    name: str
    peer_id: str
    host: str
    port: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "account", checked_address(self.account))
        object.__setattr__(self, "signer", checked_address(self.signer))
        if self.index < 0:
            raise ValueError(f"a roster index is at least 0, found {self.index}")
        if not 1 <= len(self.name.encode()) <= 64:
            raise ValueError(f"a member's name has 1 to 64 bytes, found {self.name!r}")
        if not (self.peer_id.isascii() and self.peer_id.isalnum() and len(self.peer_id) <= 128):
            raise ValueError(f"a PeerID is base58, at most 128 characters, found {self.peer_id!r}")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"a port is 1 to 65535, found {self.port}")
        if not self.host or any(c.isspace() for c in self.host) or len(self.net_address.encode()) > 255:
            raise ValueError(f"not a host: {self.host!r}")

    @property
    def net_address(self) -> str:
        """`host:port` as the registry holds it, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @staticmethod
    def split_net_address(text: str) -> tuple[str, int]:
        """Host and port of a registry's `host:port`.

        Raises:
            ValueError: there is no port, or it is no number.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5):
            raise ValueError(f"a net address is host:port, found {text!r}")
        return host.removeprefix("[").removesuffix("]"), int(port)


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is a member, by which rules, and where the three contracts are.

    Attributes:
        version: counts the changes of roster and spec; 1 since the deployment.
        config_digest: 32 bytes that bind chain, registry, version, signers, quorum and spec.
        quorum: signatures that suffice.
        members: by roster index.
        spec: the task, canonical JSON.
        registry, ledger, vault: addresses.
        chain_id: EIP-155 id of the chain.
        active: bitmap of the members that have not left or been removed; None for all of them.
    """

    version: int
    config_digest: bytes
    quorum: int
    members: tuple[Member, ...]
    spec: bytes
    registry: str
    ledger: str
    vault: str
    chain_id: int
    active: int | None = None

    def __post_init__(self) -> None:
        for name in ("registry", "ledger", "vault"):
            object.__setattr__(self, name, checked_address(getattr(self, name)))
        if len(self.config_digest) != 32:
            raise ValueError(f"a digest has 32 bytes, found {len(self.config_digest)}")
        if [member.index for member in self.members] != list(range(len(self.members))):
            raise ValueError("the members are not in the order of their roster indices")
        if not 1 <= self.quorum <= len(self.members):
            raise ValueError(f"a quorum of {self.quorum} among {len(self.members)} members")
        everybody = (1 << len(self.members)) - 1
        if self.active is None:
            object.__setattr__(self, "active", everybody)
        elif self.active & ~everybody:
            raise ValueError(f"active members {self.active:#x} among {len(self.members)}")

    def is_active(self, index: int) -> bool:
        """Whether the member with this index has not left or been removed."""
        return bool((self.active or 0) >> index & 1)

    @property
    def signers(self) -> tuple[str, ...]:
        """Address of each member's signer, by roster index; the zero address where a member is gone."""
        return tuple(m.signer if self.is_active(m.index) else ZERO_ADDRESS for m in self.members)


def compute_config_digest(
    chain_id: int, registry: str, version: int, signers: tuple[str, ...], quorum: int, spec_digest: bytes
) -> bytes:
    """keccak256(abi.encode(chainid, registry, version, signers, quorum, specDigest)), as in the registry."""
    words = [
        chain_id,
        int(registry, 16),
        version,
        6 * 32,  # where the array begins
        quorum,
        int.from_bytes(spec_digest, "big"),
        len(signers),
        *(int(signer, 16) for signer in signers),
    ]
    return keccak(b"".join(word.to_bytes(32, "big") for word in words))


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a quorum says about one round; every value fits the contract's struct, which judges the rest.

    Attributes:
        round: its number.
        kind: 0 statistics, 1 training, 2 closing.
        outcome: 1 settled, 2 abandoned.
        previous: struct hash of the result of the round before; `EMPTY` for round 0.
        config: the registry's configDigest when it was signed.
        dealers: bitmap of the members whose updates are in the sum; of an abandoned round, those whose sum
            somebody may have seen, who are paid nothing for it.
        model: BLAKE3 digest of the model file after the round.
        deals: Merkle root of the dealers' Deal digests; `EMPTY` if abandoned.
        scores: keccak256 of the packed scores that became known; `EMPTY` if none did.
        rewards: Merkle root of the cumulative rewards after this round.
        rewards_total: their sum in wei.
    """

    round: int
    kind: int
    outcome: int
    previous: bytes
    config: bytes
    dealers: int
    model: bytes
    deals: bytes
    scores: bytes
    rewards: bytes
    rewards_total: int

    def __post_init__(self) -> None:
        limits = {
            "round": _UINT64,
            "kind": 256,
            "outcome": 256,
            "dealers": _UINT256,
            "rewards_total": _UINT128,
        }
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) < limit:
                raise ValueError(f"{name} does not fit: {getattr(self, name)}")
        for name in ("previous", "config", "model", "deals", "scores", "rewards"):
            if len(getattr(self, name)) != 32:
                raise ValueError(f"{name} has 32 bytes, found {len(getattr(self, name))}")

    def encode(self) -> bytes:
        """ABI encoding, 11 words."""
        return b"".join(part if isinstance(part, bytes) else part.to_bytes(32, "big") for part in self.as_tuple())

    def as_tuple(self) -> tuple[int | bytes, ...]:
        """The fields in the contract's order."""
        return (
            self.round, self.kind, self.outcome, self.previous, self.config, self.dealers,
            self.model, self.deals, self.scores, self.rewards, self.rewards_total,
        )  # fmt: skip

    def struct_hash(self) -> bytes:
        """EIP-712 hashStruct, which the next result names as `previous`."""
        return keccak(_RESULT_TYPEHASH + self.encode())

    def stored_digest(self) -> bytes:
        """What the ledger keeps of the struct hash."""
        return self.struct_hash()[:STORED_BYTES]

    def signing_digest(self, chain_id: int, ledger: str) -> bytes:
        """The 32 bytes that members sign for the RoundLedger at `ledger`."""
        return keccak(b"\x19\x01" + domain_separator(chain_id, ledger) + self.struct_hash())


class RoundState(IntEnum):
    """What has become of a round, in the ledger's numbers."""

    NONE = 0
    OPEN = 1
    DISPUTED = 2
    VOID = 3
    FINAL = 4
    ABANDONED = 5

    @property
    def is_over(self) -> bool:
        """Whether its rewards can become active."""
        return self in (RoundState.FINAL, RoundState.ABANDONED)


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One recorded round, as its event tells it.

    Attributes:
        result: what was recorded.
        scores: parts per million of loss by roster index; None if the result carries none.
        signers: bitmap of the members who signed.
        signatures: 64 bytes each, by ascending roster index.
        tx: hash of the transaction, 0x and 64 hex digits.
        block: its block number.
    """

    result: RoundResult
    scores: tuple[int, ...] | None
    signers: int
    signatures: bytes
    tx: str
    block: int

    def __post_init__(self) -> None:
        if self.signers < 0 or len(self.signatures) != SIGNATURE_BYTES * self.signers.bit_count():
            raise ValueError(f"{self.signers.bit_count()} signers and {len(self.signatures)} bytes of signatures")


@dataclass(frozen=True, slots=True)
class VaultTerms:
    """What a training round pays, fixed at deployment.

    Attributes:
        round_budget_wei: paid by one training round.
        participation_ppm: part of it that its dealers share equally, in parts per million.
        dispute_window_seconds: between the record of a round and the activation of its rewards.
    """

    round_budget_wei: int
    participation_ppm: int
    dispute_window_seconds: int

    def __post_init__(self) -> None:
        if not 0 <= self.round_budget_wei < _UINT128:
            raise ValueError(f"a round's budget fits 128 bits, found {self.round_budget_wei}")
        if not 0 <= self.participation_ppm <= PPM:
            raise ValueError(f"a part is 0 to {PPM} parts per million, found {self.participation_ppm}")
        if not 0 <= self.dispute_window_seconds < _UINT64:
            raise ValueError(f"a window fits 64 bits, found {self.dispute_window_seconds}")


DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class DisputeTerms:
    """What disputes cost and how long they take, and in what the vault pays; fixed at deployment.

    Attributes:
        ruling_seconds: after the dispute window, in which a quorum can rule on a challenged round.
        unbonding_seconds: between asking for a stake and its payment; None for a day more than a dispute can take.
        bond_wei: what a challenge locks of the challenger's stake.
        asset: address of the ERC-20 token that the vault pays in; None for the chain's own coin.
    """

    ruling_seconds: int = 7 * DAY_SECONDS
    unbonding_seconds: int | None = None
    bond_wei: int = 10**16
    asset: str | None = None

    def __post_init__(self) -> None:
        for name in ("ruling_seconds", "unbonding_seconds"):
            if not 0 <= (getattr(self, name) or 0) < _UINT64:
                raise ValueError(f"{name} fits 64 bits, found {getattr(self, name)}")
        if not 0 <= self.bond_wei < _UINT128:
            raise ValueError(f"a bond fits 128 bits, found {self.bond_wei}")
        if self.asset is not None:
            object.__setattr__(self, "asset", checked_address(self.asset))

    def unbonding_after(self, dispute_window_seconds: int) -> int:
        """Seconds that a stake unbonds where rounds can be challenged for this long."""
        if self.unbonding_seconds is not None:
            return self.unbonding_seconds
        return min(dispute_window_seconds + self.ruling_seconds + DAY_SECONDS, _UINT64 - 1)


def members_of(bitmap: int) -> tuple[int, ...]:
    """Roster indices of the set bits, ascending."""
    return tuple(index for index in range(bitmap.bit_length()) if bitmap >> index & 1)


def bitmap_of(indices: Iterable[int]) -> int:
    """The bitmap with these bits set."""
    return sum(1 << index for index in set(indices))
