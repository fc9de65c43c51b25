"""RoundLedger in plain Python; see model.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from eth_hash.auto import keccak

from ledger.approvals import Pause
from ledger.errors import Reverted
from ledger.model_state import (
    DISPUTED,
    NONE,
    NOTHING,
    OPEN,
    Call,
    Event,
    Keys,
    Ledger,
    Outcome,
    Record,
    State,
    require_quorum,
)
from ledger.rewards import SCORE_BYTES
from ledger.types import ABANDONED, CLOSING, DAY_SECONDS, EMPTY, SETTLED, STORED_BYTES, RoundResult

MAX_PAUSE_SECONDS: Final = 7 * DAY_SECONDS
CONTRACT: Final = "ledger"


def submit_round(
    state: State, call: Call, result: RoundResult, scores: bytes, signers: int, signatures: bytes
) -> Outcome:
    """After `submitRound`.

    Raises:
        Reverted: as the contract, here and below.
    """
    ledger = state.ledger
    if call.now < ledger.paused_until:
        raise Reverted("RoundsPaused", {"until": ledger.paused_until})
    _check_sequence(ledger, result)
    keys = _recording_roster(state, result.config)
    _check_outcome(result, keys.active)
    _check_scores(result.scores, scores, len(keys.signers))
    require_quorum(result.signing_digest(state.chain_id, state.addresses[CONTRACT]), signers, signatures, keys)

    record = Record(result.stored_digest(), call.now, abandoned=result.outcome == ABANDONED)
    following = replace(ledger, records=(*ledger.records, record), recording_version=keys.version)
    values = {
        "round": result.round,
        "digest": result.struct_hash(),
        "result": result,
        "scores": scores,
        "signers": signers,
        "signatures": signatures,
    }
    return replace(state, ledger=following), (Event(CONTRACT, "RoundRecorded", values),)


def pause(state: State, call: Call, until: int, signers: int, signatures: bytes) -> Outcome:
    """After `pause`."""
    ledger, config = state.ledger, state.registry.config_digest
    signed = Pause(config, ledger.pauses, until).signing_digest(state.chain_id, state.addresses[CONTRACT])
    require_quorum(signed, signers, signatures, state.registry.keys)
    latest = call.now + MAX_PAUSE_SECONDS
    if until > latest:
        raise Reverted("PauseTooLong", {"latest": latest, "found": until})
    values = {
        "number": ledger.pauses,
        "until": until,
        "config": config,
        "signers": signers,
        "signatures": signatures,
    }
    following = replace(ledger, pauses=ledger.pauses + 1, paused_until=until)
    return replace(state, ledger=following), (Event(CONTRACT, "Paused", values),)


def dispute(state: State, call: Call, round_id: int) -> Outcome:
    """After `dispute`, which only the disputes can call."""
    found = state.ledger.state_of(round_id, call.now)
    if found != OPEN:
        raise Reverted("RoundNotDisputable", {"round": round_id, "state": found})
    record = state.ledger.records[round_id]
    if record.dismissed:
        raise Reverted("AlreadyRuled", {"round": round_id})
    event = Event(CONTRACT, "RoundDisputed", {"round": round_id})
    following = _with_record(state, round_id, replace(record, challenged=True))
    waiting = tuple(earlier for earlier in state.ledger.disputed if state.ledger.waits(earlier, call.now))
    return replace(following, ledger=replace(following.ledger, disputed=(*waiting, round_id))), (event,)


def rule(state: State, call: Call, round_id: int, is_void: bool) -> Outcome:
    """After `rule`, which only the disputes can call."""
    found = state.ledger.state_of(round_id, call.now)
    is_possible = found in (OPEN, DISPUTED) if is_void else found != NONE and state.ledger.waits(round_id, call.now)
    if not is_possible:
        raise Reverted("RoundNotDisputable", {"round": round_id, "state": found})
    record = state.ledger.records[round_id]
    following = _with_record(
        state, round_id, replace(record, challenged=False, dismissed=record.dismissed or not is_void)
    )
    if is_void:
        voided = (*state.ledger.voided, (round_id, state.ledger.next_round))
        following = replace(following, ledger=replace(following.ledger, voided=voided))
    return following, (Event(CONTRACT, "RoundRuled", {"round": round_id, "isVoid": is_void}),)


def _with_record(state: State, round_id: int, record: Record) -> State:
    records = state.ledger.records
    return replace(state, ledger=replace(state.ledger, records=(*records[:round_id], record, *records[round_id + 1 :])))


def _check_sequence(ledger: Ledger, result: RoundResult) -> None:
    if result.round != ledger.next_round:
        raise Reverted("RoundOutOfSequence", {"expected": ledger.next_round, "found": result.round})
    last = ledger.digest(ledger.next_round - 1)
    follows = result.previous[:STORED_BYTES] == last if result.round else result.previous == EMPTY
    if not follows:
        raise Reverted("PreviousMismatch", {"expected": last if result.round else NOTHING, "found": result.previous})


def _recording_roster(state: State, config: bytes) -> Keys:
    keys = state.registry.rosters.get(config)
    if keys is None:
        raise Reverted("UnknownConfig", {"found": config})
    if keys.version < state.ledger.recording_version:
        raise Reverted("RosterSuperseded", {"recording": state.ledger.recording_version, "found": keys.version})
    return keys


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
