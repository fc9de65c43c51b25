"""What the three contracts do, in plain Python: the same checks in the same order, names and integers.

Pure: every action takes a state and the time of the block, and returns the next state with the events, or raises
`Reverted` and changes nothing.  The simulator settles its rounds on it, and tests hold it against the EVM.  Two
things are left out: gas, and accounts that refuse a payment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from coincurve import PublicKey
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger.errors import Reverted
from ledger.rewards import REWARD_LEAF, SCORE_BYTES, is_proof
from ledger.types import (
    ABANDONED,
    CLOSING,
    EMPTY,
    SETTLED,
    SIGNATURE_BYTES,
    RoundResult,
    VaultTerms,
    compute_config_digest,
    members_of,
)

MIN_MEMBERS: Final = 3
MAX_MEMBERS: Final = 64
MAX_SPEC_BYTES: Final = 16_384
MAX_NAME_BYTES: Final = 64
MAX_PEER_ID_BYTES: Final = 128
MAX_NET_ADDRESS_BYTES: Final = 255
ZERO_ADDRESS: Final = "0x" + "00" * 20

_CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its Solidity name, and its parameters by their Solidity names."""

    name: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as the registry's constructor takes it; nothing about it is checked before that."""

    account: str
    signer: str
    name: str
    peer_id: bytes
    net_address: str


@dataclass(frozen=True, slots=True)
class Registry:
    """State of a MemberRegistry; see IMemberRegistry.sol."""

    chain_id: int
    address: str
    ledger: str
    vault: str
    members: tuple[Entry, ...]
    spec_digest: bytes
    version: int = 1

    @property
    def quorum(self) -> int:
        return 2 * len(self.members) // 3 + 1

    @property
    def active_bitmap(self) -> int:
        return (1 << len(self.members)) - 1

    @property
    def config_digest(self) -> bytes:
        signers = tuple(member.signer for member in self.members)
        return compute_config_digest(self.chain_id, self.address, self.version, signers, self.quorum, self.spec_digest)


@dataclass(frozen=True, slots=True)
class Ledger:
    """State of a RoundLedger; see IRoundLedger.sol."""

    digests: tuple[bytes, ...] = ()
    recorded_at: tuple[int, ...] = ()

    @property
    def next_round(self) -> int:
        return len(self.digests)

    def result_digest(self, round_id: int) -> bytes:
        """Struct hash of the recorded result; `EMPTY` while there is none."""
        return self.digests[round_id] if 0 <= round_id < len(self.digests) else EMPTY


@dataclass(frozen=True, slots=True)
class Vault:
    """State of a RewardVault; see IRewardVault.sol.  What it holds is `total_funded - total_claimed`."""

    terms: VaultTerms
    total_funded: int = 0
    total_claimed: int = 0
    active_round: int = 0
    active_root: bytes = EMPTY
    active_total: int = 0
    claimed_wei: Mapping[int, int] = field(default_factory=dict)


def found_registry(
    chain_id: int, address: str, members: Sequence[Entry], spec: bytes, ledger: str, vault: str
) -> tuple[Registry, tuple[Event, ...]]:
    """The registry that its constructor makes at `address`.

    Raises:
        Reverted: as the constructor.
    """
    if not MIN_MEMBERS <= len(members) <= MAX_MEMBERS:
        raise Reverted("MemberCountOutOfRange", {"found": len(members)})
    if not 1 <= len(spec) <= MAX_SPEC_BYTES:
        raise Reverted("SpecLengthOutOfRange", {"found": len(spec)})
    if ZERO_ADDRESS in (ledger, vault) or ledger == vault:
        raise Reverted("InvalidContracts", {"ledger": ledger, "vault": vault})
    for index in range(len(members)):
        _check_entry(index, members)
    registry = Registry(chain_id, address, ledger, vault, tuple(members), keccak(spec))
    return registry, tuple(_founding_events(registry, spec))


def found_vault(terms: VaultTerms) -> tuple[Vault, tuple[Event, ...]]:
    """The vault that its constructor makes, with terms that `VaultTerms` has checked."""
    values = {
        "roundBudget": terms.round_budget_wei,
        "participationPpm": terms.participation_ppm,
        "disputeWindowSeconds": terms.dispute_window_seconds,
    }
    return Vault(terms), (Event("TermsAdopted", values),)


def submit_round(
    registry: Registry,
    ledger: Ledger,
    result: RoundResult,
    scores: bytes,
    signers: int,
    signatures: bytes,
    now: int,
) -> tuple[Ledger, tuple[Event, ...]]:
    """The ledger after `submitRound` in a block of time `now`, Unix seconds.

    Raises:
        Reverted: as the contract.
    """
    _check_sequence(ledger, result)
    if result.config != registry.config_digest:
        raise Reverted("ConfigMismatch", {"expected": registry.config_digest, "found": result.config})
    _check_outcome(result, registry.active_bitmap)
    _check_scores(result.scores, scores, len(registry.members))
    _check_signers(signers, len(signatures), registry)
    _check_signatures(registry, result, signers, signatures)

    digest = result.struct_hash()
    values = {
        "round": result.round,
        "digest": digest,
        "result": result,
        "scores": scores,
        "signers": signers,
        "signatures": signatures,
    }
    following = Ledger((*ledger.digests, digest), (*ledger.recorded_at, now))
    return following, (Event("RoundRecorded", values),)


def fund(vault: Vault, sender: str, amount_wei: int) -> tuple[Vault, tuple[Event, ...]]:
    """The vault after `fund` with a value of `amount_wei`.

    Raises:
        Reverted: as the contract.
    """
    if amount_wei == 0:
        raise Reverted("NothingFunded")
    funded = replace(vault, total_funded=vault.total_funded + amount_wei)
    return funded, (Event("Funded", {"from": sender, "amountWei": amount_wei}),)


def activate(ledger: Ledger, vault: Vault, result: RoundResult, now: int) -> tuple[Vault, tuple[Event, ...]]:
    """The vault after `activate` in a block of time `now`, Unix seconds.

    Raises:
        Reverted: as the contract.
    """
    recorded = ledger.result_digest(result.round)
    if recorded == EMPTY:
        raise Reverted("RoundNotRecorded", {"round": result.round})
    found = result.struct_hash()
    if found != recorded:
        raise Reverted("ResultMismatch", {"round": result.round, "recorded": recorded, "found": found})
    if result.round <= vault.active_round:
        raise Reverted("RoundNotNewer", {"active": vault.active_round, "found": result.round})
    ends_at = ledger.recorded_at[result.round] + vault.terms.dispute_window_seconds
    if now < ends_at:
        raise Reverted("DisputeWindowOpen", {"round": result.round, "endsAt": ends_at})
    if result.rewards_total < vault.active_total:
        raise Reverted("TotalDecreased", {"active": vault.active_total, "found": result.rewards_total})
    if result.rewards_total > vault.total_funded:
        raise Reverted("TotalExceedsFunds", {"funded": vault.total_funded, "found": result.rewards_total})

    values = {"round": result.round, "root": result.rewards, "totalWei": result.rewards_total}
    activated = replace(vault, active_round=result.round, active_root=result.rewards, active_total=result.rewards_total)
    return activated, (Event("RootActivated", values),)


def claim(
    registry: Registry, vault: Vault, index: int, cumulative_wei: int, proof: Sequence[bytes]
) -> tuple[Vault, tuple[Event, ...]]:
    """The vault after `claim`; its event names the account that was paid, and the payment.

    Raises:
        Reverted: as the contract.
    """
    if index >= len(registry.members):
        raise Reverted("UnknownMember", {"index": index})
    if not is_proof(vault.active_root, REWARD_LEAF, (index, cumulative_wei), proof):
        raise Reverted("InvalidProof", {"index": index, "cumulativeWei": cumulative_wei})
    claimed = vault.claimed_wei.get(index, 0)
    if cumulative_wei <= claimed:
        raise Reverted("NothingToClaim", {"index": index, "claimedWei": claimed})
    amount = cumulative_wei - claimed
    unclaimed = vault.active_total - vault.total_claimed
    if amount > unclaimed:
        raise Reverted("ClaimsExceedTotal", {"unclaimedWei": unclaimed, "foundWei": amount})

    values = {
        "index": index,
        "account": registry.members[index].account,
        "amountWei": amount,
        "cumulativeWei": cumulative_wei,
    }
    paid = replace(
        vault,
        total_claimed=vault.total_claimed + amount,
        claimed_wei={**vault.claimed_wei, index: cumulative_wei},
    )
    return paid, (Event("RewardClaimed", values),)


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


def _check_entry(index: int, members: Sequence[Entry]) -> None:
    entry = members[index]
    if entry.account == ZERO_ADDRESS:
        raise Reverted("ZeroAccount", {"index": index})
    if entry.signer == ZERO_ADDRESS:
        raise Reverted("ZeroSigner", {"index": index})
    _check_length("NameLengthOutOfRange", index, entry.name.encode(), MAX_NAME_BYTES)
    _check_length("PeerIdLengthOutOfRange", index, entry.peer_id, MAX_PEER_ID_BYTES)
    _check_length("NetAddressLengthOutOfRange", index, entry.net_address.encode(), MAX_NET_ADDRESS_BYTES)
    for other in members[:index]:
        if other.account == entry.account:
            raise Reverted("DuplicateAccount", {"index": index, "account": entry.account})
        if other.signer == entry.signer:
            raise Reverted("DuplicateSigner", {"index": index, "signer": entry.signer})
        if other.name == entry.name:
            raise Reverted("DuplicateName", {"index": index, "name": entry.name})
        if other.peer_id == entry.peer_id:
            raise Reverted("DuplicatePeerId", {"index": index, "peerId": entry.peer_id})


def _check_length(error: str, index: int, data: bytes, limit: int) -> None:
    if not 1 <= len(data) <= limit:
        raise Reverted(error, {"index": index, "found": len(data)})


def _founding_events(registry: Registry, spec: bytes) -> Iterator[Event]:
    for index, entry in enumerate(registry.members):
        values = {
            "index": index,
            "account": entry.account,
            "signer": entry.signer,
            "name": entry.name,
            "peerId": entry.peer_id,
            "netAddress": entry.net_address,
        }
        yield Event("MemberAdmitted", values)
    yield Event("SpecAdopted", {"specDigest": registry.spec_digest, "spec": spec})
    values = {
        "rosterVersion": registry.version,
        "configDigest": registry.config_digest,
        "activeBitmap": registry.active_bitmap,
        "quorum": registry.quorum,
    }
    yield Event("RosterChanged", values)


def _check_sequence(ledger: Ledger, result: RoundResult) -> None:
    if result.round != ledger.next_round:
        raise Reverted("RoundOutOfSequence", {"expected": ledger.next_round, "found": result.round})
    last = ledger.result_digest(ledger.next_round - 1)
    if result.previous != last:
        raise Reverted("PreviousMismatch", {"expected": last, "found": result.previous})


def _check_outcome(result: RoundResult, active: int) -> None:
    if result.kind > CLOSING:
        raise Reverted("UnknownKind", {"found": result.kind})
    if result.outcome not in (SETTLED, ABANDONED):
        raise Reverted("UnknownOutcome", {"found": result.outcome})
    if result.dealers == 0 if result.outcome == SETTLED else result.deals != EMPTY:
        values = {"outcome": result.outcome, "dealers": result.dealers, "deals": result.deals}
        raise Reverted("DealersContradictOutcome", values)
    if result.dealers & ~active:
        raise Reverted("DealersOutsideRoster", {"dealers": result.dealers, "active": active})


def _check_scores(expected: bytes, scores: bytes, n: int) -> None:
    found = keccak(scores) if scores else EMPTY
    if found != expected:
        raise Reverted("ScoresMismatch", {"expected": expected, "found": found})
    if scores and len(scores) != SCORE_BYTES * n:
        raise Reverted("ScoresLengthMismatch", {"expected": SCORE_BYTES * n, "found": len(scores)})


def _check_signers(signers: int, length: int, registry: Registry) -> None:
    if signers & ~registry.active_bitmap:
        raise Reverted("SignersOutsideRoster", {"signers": signers, "active": registry.active_bitmap})
    count = signers.bit_count()
    if count < registry.quorum:
        raise Reverted("QuorumNotReached", {"needed": registry.quorum, "found": count})
    if length != SIGNATURE_BYTES * count:
        raise Reverted("SignaturesLengthMismatch", {"expected": SIGNATURE_BYTES * count, "found": length})


def _check_signatures(registry: Registry, result: RoundResult, signers: int, signatures: bytes) -> None:
    signed = result.signing_digest(registry.chain_id, registry.ledger)
    for place, index in enumerate(members_of(signers)):
        signature = signatures[SIGNATURE_BYTES * place : SIGNATURE_BYTES * (place + 1)]
        if recover_signer(signed, signature) != registry.members[index].signer:
            raise Reverted("InvalidSignature", {"index": index})
