"""Disputes in plain Python; see model.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from eth_hash.auto import keccak

from ledger.approvals import Approval, MemberRuling, RoundRuling, Statement
from ledger.errors import Reverted
from ledger.model_rounds import dispute, rule
from ledger.model_state import Call, Event, Outcome, State, is_signed_by, require_quorum
from ledger.model_vault import lock_bond, release_bond, slash
from ledger.types import ZERO_ADDRESS, RoundResult

CONTRACT: Final = "disputes"
EVERYTHING: Final = 2**256 - 1


def prove_equivocation(
    state: State,
    call: Call,
    index: int,
    statement: Statement,
    other_digest: bytes,
    signature: bytes,
    other_signature: bytes,
) -> Outcome:
    """After `proveEquivocation`.

    Raises:
        Reverted: as the contract, here and below.
    """
    if statement.digest == other_digest:
        raise Reverted("NoContradiction", {"digest": other_digest})
    signer = _signer_of(state, statement.config, index)
    ledger = state.addresses["ledger"]
    for said, signed in ((statement, signature), (replace(statement, digest=other_digest), other_signature)):
        if not is_signed_by(signer, said.signing_digest(state.chain_id, ledger), signed):
            raise Reverted("NotTheMembers", {"index": index, "digest": said.struct_hash()})
    other = replace(statement, digest=other_digest)
    punished = _punish_once(state, contradiction(index, statement.struct_hash(), other.struct_hash()))
    following, slashed, taken = slash(punished, index, EVERYTHING)
    values = {
        "index": index,
        "statement": statement.as_tuple(),
        "otherDigest": other_digest,
        "signature": signature,
        "otherSignature": other_signature,
        "slashedWei": taken,
    }
    return following, (slashed, Event(CONTRACT, "EquivocationProven", values))


def prove_result_equivocation(
    state: State,
    call: Call,
    index: int,
    first: RoundResult,
    second: RoundResult,
    first_signature: bytes,
    second_signature: bytes,
) -> Outcome:
    """After `proveResultEquivocation`."""
    if (first.round, first.config) != (second.round, second.config):
        raise Reverted("DifferentRounds", {"first": first.round, "second": second.round})
    if first.struct_hash() == second.struct_hash():
        raise Reverted("NoContradiction", {"digest": first.struct_hash()})
    signer = _signer_of(state, first.config, index)
    ledger = state.addresses["ledger"]
    for result, signed in ((first, first_signature), (second, second_signature)):
        if not is_signed_by(signer, result.signing_digest(state.chain_id, ledger), signed):
            raise Reverted("NotTheMembers", {"index": index, "digest": result.struct_hash()})
    punished = _punish_once(state, contradiction(index, first.struct_hash(), second.struct_hash()))
    following, slashed, taken = slash(punished, index, EVERYTHING)
    values = {
        "index": index,
        "first": first,
        "second": second,
        "firstSignature": first_signature,
        "secondSignature": second_signature,
        "slashedWei": taken,
    }
    return following, (slashed, Event(CONTRACT, "ResultEquivocationProven", values))


def challenge(state: State, call: Call, round_id: int, index: int, evidence: bytes) -> Outcome:
    """After `challenge`."""
    if not state.registry.is_active(index):
        raise Reverted("MemberNotActive", {"index": index})
    account = state.registry.account_at(index)
    if call.sender != account:
        raise Reverted("NotTheAccount", {"index": index, "account": account})
    last = state.disputes.last_challenged.get(index, 0)
    if state.disputes.challenger_of.get(last, 0) == index + 1:
        raise Reverted("ChallengePending", {"index": index, "round": last})
    challenged = Event(CONTRACT, "RoundChallenged", {"round": round_id, "index": index, "evidence": evidence})
    last_challenged = {**state.disputes.last_challenged, index: round_id}
    noted = replace(state, disputes=replace(state.disputes, last_challenged=last_challenged))
    disputed, first = dispute(_with_challenger(noted, round_id, index + 1), call, round_id)
    following, second = lock_bond(disputed, index, state.disputes.bond_wei)
    return following, (challenged, *first, *second)


def rule_on_round(
    state: State, call: Call, round_id: int, is_void: bool, evidence: bytes, signers: int, signatures: bytes
) -> Outcome:
    """After `ruleOnRound`."""
    config = state.registry.config_digest
    _require_quorum(state, RoundRuling(config, round_id, is_void, evidence), signers, signatures)
    challenger = state.disputes.challenger_of.get(round_id, 0)
    following, events = rule(_with_challenger(state, round_id, 0), call, round_id, is_void)
    values = {
        "round": round_id,
        "isVoid": is_void,
        "below": state.ledger.next_round if is_void else round_id + 1,
        "evidence": evidence,
        "config": config,
        "signers": signers,
        "signatures": signatures,
    }
    events += (Event(CONTRACT, "RoundRulingMade", values),)
    if challenger:
        following, released = release_bond(following, challenger - 1, state.disputes.bond_wei, not is_void)
        events += released
    return following, events


def lapse(state: State, call: Call, round_id: int) -> Outcome:
    """After `lapse`."""
    challenger = state.disputes.challenger_of.get(round_id, 0)
    if not challenger:
        raise Reverted("NotChallenged", {"round": round_id})
    is_void = state.ledger.is_void(round_id)
    until = 0 if is_void else state.ledger.final_at(round_id, call.now)
    if call.now < until:
        raise Reverted("RulingOpen", {"round": round_id, "until": until})
    lapsed = Event(CONTRACT, "ChallengeLapsed", {"round": round_id})
    freed = _with_challenger(state, round_id, 0)
    following, released = release_bond(freed, challenger - 1, state.disputes.bond_wei, not is_void)
    return following, (lapsed, *released)


def rule_on_member(
    state: State, call: Call, index: int, amount_wei: int, evidence: bytes, signers: int, signatures: bytes
) -> Outcome:
    """After `ruleOnMember`."""
    config = state.registry.config_digest
    ruling = MemberRuling(config, index, amount_wei, evidence)
    _require_quorum(state, ruling, signers, signatures)
    state.registry.account_at(index)
    following, slashed, taken = slash(_punish_once(state, ruling.struct_hash()), index, amount_wei)
    values = {
        "index": index,
        "amountWei": amount_wei,
        "evidence": evidence,
        "slashedWei": taken,
        "config": config,
        "signers": signers,
        "signatures": signatures,
    }
    return following, (slashed, Event(CONTRACT, "MemberRulingMade", values))


def contradiction(index: int, digest: bytes, other: bytes) -> bytes:
    """What Disputes remembers of two things that a member said, in either order."""
    return keccak(index.to_bytes(32, "big") + min(digest, other) + max(digest, other))


def _signer_of(state: State, config: bytes, index: int) -> str:
    keys = state.registry.rosters.get(config)
    if keys is None:
        raise Reverted("UnknownConfig", {"found": config})
    if index >= len(keys.signers) or keys.signers[index] == ZERO_ADDRESS:
        raise Reverted("NotOnRoster", {"index": index})
    return keys.signers[index]


def _require_quorum(state: State, approval: Approval, signers: int, signatures: bytes) -> None:
    signed = approval.signing_digest(state.chain_id, state.addresses[CONTRACT])
    require_quorum(signed, signers, signatures, state.registry.keys)


def _punish_once(state: State, offence: bytes) -> State:
    disputes = state.disputes
    if offence in disputes.punished:
        raise Reverted("AlreadyPunished", {"offence": offence})
    return replace(state, disputes=replace(disputes, punished=disputes.punished | {offence}))


def _with_challenger(state: State, round_id: int, value: int) -> State:
    challengers = {**state.disputes.challenger_of, round_id: value}
    return replace(state, disputes=replace(state.disputes, challenger_of=challengers))
