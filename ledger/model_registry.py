"""MemberRegistry in plain Python; see model.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from eth_hash.auto import keccak

from ledger.approvals import Admission, Approval, Exit, Removal, Rotation, SpecChange, Succession
from ledger.errors import Reverted
from ledger.model_state import (
    Call,
    Entry,
    Event,
    Keys,
    Outcome,
    Registry,
    State,
    config_digest_of,
    is_signed_by,
    replaced,
    require_quorum,
)
from ledger.types import DAY_SECONDS, EMPTY, ZERO_ADDRESS

MIN_MEMBERS: Final = 3
MAX_MEMBERS: Final = 64
MAX_INDICES: Final = 256
MAX_SPEC_BYTES: Final = 16_384
MAX_NAME_BYTES: Final = 64
MAX_PEER_ID_BYTES: Final = 128
MAX_NET_ADDRESS_BYTES: Final = 255
ROTATION_PERIOD_SECONDS: Final = DAY_SECONDS
SPEC_DELAY_SECONDS: Final = DAY_SECONDS

CONTRACT: Final = "registry"


def found_registry(
    chain_id: int, address: str, members: Sequence[Entry], spec: bytes, ledger: str, vault: str, disputes: str
) -> tuple[Registry, tuple[Event, ...]]:
    """The registry that its constructor makes at `address`.

    Raises:
        Reverted: as the constructor.
    """
    _check_spec(spec)
    named = (ledger, vault, disputes)
    if ZERO_ADDRESS in named or len(set(named)) != len(named):
        raise Reverted("InvalidContracts", {"ledger": ledger, "vault": vault, "disputes": disputes})
    for index, entry in enumerate(members):
        _check_entry(index, entry)
        for other in members[:index]:
            _check_distinct(index, entry, other)
    keys = Keys(tuple(member.signer for member in members), 1)
    _check_count(keys)
    digest = keccak(spec)
    config = config_digest_of(chain_id, address, keys, digest)
    registry = Registry(tuple(members), keys, digest, config, {config: keys})
    events = (
        *(_admitted(index, entry) for index, entry in enumerate(members)),
        Event(CONTRACT, "SpecAdopted", {"specDigest": digest, "spec": spec}),
        _roster_changed(registry),
    )
    return registry, events


def admit(state: State, call: Call, entry: Entry, signers: int, signatures: bytes) -> Outcome:
    """After `admit`.

    Raises:
        Reverted: as the contract, here and below.
    """
    registry = state.registry
    fields = (entry.account, entry.signer, entry.name, entry.peer_id, entry.net_address)
    approved = _approve(state, Admission(registry.config_digest, *fields), signers, signatures)
    index = len(registry.members)
    if index >= MAX_INDICES:
        raise Reverted("IndicesExhausted")
    _check_new(registry, index, entry)
    following = replace(registry, members=(*registry.members, entry))
    return _adopt(state, following, (*registry.keys.signers, entry.signer), approved, _admitted(index, entry))


def remove(state: State, call: Call, index: int, evidence: bytes, signers: int, signatures: bytes) -> Outcome:
    """After `remove`."""
    registry = state.registry
    approved = _approve(state, Removal(registry.config_digest, index, evidence), signers, signatures)
    _check_active(registry, index)
    removed = Event(CONTRACT, "MemberRemoved", {"index": index, "evidence": evidence})
    return _adopt(state, registry, replaced(registry.keys.signers, index, ZERO_ADDRESS), approved, removed)


def propose_spec(state: State, call: Call, spec: bytes, signers: int, signatures: bytes) -> Outcome:
    """After `proposeSpec`."""
    registry, digest = state.registry, keccak(spec)
    number = registry.spec_proposals
    approved = _approve(state, SpecChange(registry.config_digest, number, digest), signers, signatures)
    _check_spec(spec)
    at = call.now + SPEC_DELAY_SECONDS
    following = replace(registry, proposed_spec=digest, adoptable_at=at, spec_proposals=number + 1)
    values = {"number": number, "specDigest": digest, "adoptableAt": at, "spec": spec}
    return replace(state, registry=following), (approved, Event(CONTRACT, "SpecProposed", values))


def adopt_spec(state: State, call: Call, spec: bytes) -> Outcome:
    """After `adoptSpec`."""
    registry, digest = state.registry, keccak(spec)
    if digest != registry.proposed_spec:
        raise Reverted("SpecNotProposed", {"proposed": registry.proposed_spec, "found": digest})
    if call.now < registry.adoptable_at:
        raise Reverted("SpecDelayNotOver", {"adoptableAt": registry.adoptable_at})
    following = replace(registry, proposed_spec=EMPTY, spec_digest=digest)
    adopted = Event(CONTRACT, "SpecAdopted", {"specDigest": digest, "spec": spec})
    return _adopt(state, following, registry.keys.signers, adopted)


def name_successor(
    state: State, call: Call, successor: str, is_contract: bool, signers: int, signatures: bytes
) -> Outcome:
    """After `nameSuccessor`; `is_contract` says whether there is code at that address."""
    registry = state.registry
    approved = _approve(state, Succession(registry.config_digest, successor), signers, signatures)
    if registry.successor != ZERO_ADDRESS:
        raise Reverted("SuccessorNamedAlready", {"successor": registry.successor})
    if not is_contract or successor == state.addresses[CONTRACT]:
        raise Reverted("InvalidSuccessor", {"found": successor})
    named = Event(CONTRACT, "SuccessorNamed", {"successor": successor})
    return replace(state, registry=replace(registry, successor=successor)), (approved, named)


def rotate(
    state: State,
    call: Call,
    index: int,
    account: str,
    signer: str,
    peer_id: bytes,
    net_address: str,
    signature: bytes,
) -> Outcome:
    """After `rotate`."""
    registry = state.registry
    _check_active(registry, index)
    rotation = Rotation(registry.config_digest, index, account, signer, peer_id, net_address)
    authorised = _authorise(state, index, rotation, signature)
    allowed_at = registry.rotated_at.get(index, 0) + ROTATION_PERIOD_SECONDS
    if call.now < allowed_at:
        raise Reverted("RotatedTooRecently", {"index": index, "allowedAt": allowed_at})
    entry = Entry(account, signer, registry.members[index].name, peer_id, net_address)
    _check_new(registry, index, entry)

    members = (*registry.members[:index], entry, *registry.members[index + 1 :])
    following = replace(registry, members=members, rotated_at={**registry.rotated_at, index: call.now})
    values = {"index": index, "account": account, "signer": signer, "peerId": peer_id, "netAddress": net_address}
    rotated = Event(CONTRACT, "MemberRotated", values)
    return _adopt(state, following, replaced(registry.keys.signers, index, signer), authorised, rotated)


def leave_roster(state: State, call: Call, index: int, signature: bytes) -> Outcome:
    """After `leaveRoster`."""
    registry = state.registry
    _check_active(registry, index)
    authorised = _authorise(state, index, Exit(registry.config_digest, index), signature)
    left = Event(CONTRACT, "MemberLeft", {"index": index})
    return _adopt(state, registry, replaced(registry.keys.signers, index, ZERO_ADDRESS), authorised, left)


def _approve(state: State, approval: Approval, signers: int, signatures: bytes) -> Event:
    signed = approval.signing_digest(state.chain_id, state.addresses[CONTRACT])
    require_quorum(signed, signers, signatures, state.registry.keys)
    values = {
        "config": state.registry.config_digest,
        "approved": approval.struct_hash(),
        "signers": signers,
        "signatures": signatures,
    }
    return Event(CONTRACT, "Approved", values)


def _authorise(state: State, index: int, approval: Approval, signature: bytes) -> Event:
    account = state.registry.members[index].account
    signed = approval.signing_digest(state.chain_id, state.addresses[CONTRACT])
    if not is_signed_by(account, signed, signature):
        raise Reverted("NotTheAccount", {"index": index, "account": account})
    values = {
        "config": state.registry.config_digest,
        "index": index,
        "authorised": approval.struct_hash(),
        "signature": signature,
    }
    return Event(CONTRACT, "Authorised", values)


def _adopt(state: State, registry: Registry, signers: tuple[str, ...], *events: Event) -> Outcome:
    keys = Keys(signers, registry.keys.version + 1)
    _check_count(keys)
    config = config_digest_of(state.chain_id, state.addresses[CONTRACT], keys, registry.spec_digest)
    following = replace(registry, keys=keys, config_digest=config, rosters={**registry.rosters, config: keys})
    return replace(state, registry=following), (*events, _roster_changed(following))


def _check_count(keys: Keys) -> None:
    count = keys.active.bit_count()
    if not MIN_MEMBERS <= count <= MAX_MEMBERS:
        raise Reverted("MemberCountOutOfRange", {"found": count})


def _check_active(registry: Registry, index: int) -> None:
    registry.account_at(index)
    if not registry.is_active(index):
        raise Reverted("MemberNotActive", {"index": index})


def _check_new(registry: Registry, index: int, entry: Entry) -> None:
    _check_entry(index, entry)
    for place, other in enumerate(registry.members):
        if place != index and registry.is_active(place):
            _check_distinct(index, entry, other)


def _check_spec(spec: bytes) -> None:
    if not 1 <= len(spec) <= MAX_SPEC_BYTES:
        raise Reverted("SpecLengthOutOfRange", {"found": len(spec)})


def _check_entry(index: int, entry: Entry) -> None:
    if entry.account == ZERO_ADDRESS:
        raise Reverted("ZeroAccount", {"index": index})
    if entry.signer == ZERO_ADDRESS:
        raise Reverted("ZeroSigner", {"index": index})
    _check_length("NameLengthOutOfRange", index, entry.name.encode(), MAX_NAME_BYTES)
    _check_length("PeerIdLengthOutOfRange", index, entry.peer_id, MAX_PEER_ID_BYTES)
    address = entry.net_address.encode()
    _check_length("NetAddressLengthOutOfRange", index, address, MAX_NET_ADDRESS_BYTES)
    if not entry.peer_id.isalnum():
        raise Reverted("PeerIdNotAlphanumeric", {"index": index})
    if not all(0x20 < byte < 0x7F for byte in address):
        raise Reverted("NetAddressNotPrintable", {"index": index})


def _check_length(error: str, index: int, data: bytes, limit: int) -> None:
    if not 1 <= len(data) <= limit:
        raise Reverted(error, {"index": index, "found": len(data)})


def _check_distinct(index: int, entry: Entry, other: Entry) -> None:
    for same, error, name in _comparisons(entry, other):
        if same:
            raise Reverted(error, {"index": index, name: getattr(entry, _FIELDS[name])})


_FIELDS: Final = {"account": "account", "signer": "signer", "name": "name", "peerId": "peer_id"}


def _comparisons(entry: Entry, other: Entry) -> Iterator[tuple[bool, str, str]]:
    yield other.account == entry.account, "DuplicateAccount", "account"
    yield other.signer == entry.signer, "DuplicateSigner", "signer"
    yield other.name == entry.name, "DuplicateName", "name"
    yield other.peer_id == entry.peer_id, "DuplicatePeerId", "peerId"


def _admitted(index: int, entry: Entry) -> Event:
    values = {
        "index": index,
        "account": entry.account,
        "signer": entry.signer,
        "name": entry.name,
        "peerId": entry.peer_id,
        "netAddress": entry.net_address,
    }
    return Event(CONTRACT, "MemberAdmitted", values)


def _roster_changed(registry: Registry) -> Event:
    values = {
        "rosterVersion": registry.keys.version,
        "configDigest": registry.config_digest,
        "activeBitmap": registry.keys.active,
        "quorum": registry.keys.quorum,
    }
    return Event(CONTRACT, "RosterChanged", values)
