"""One-shot Byzantine agreement in two steps, used twice a round: on the dealer set, and on the outcome.

Promises, for at most t faulty members of n >= 3 (PROTOCOL.md, "Agreement"): at most one value ever becomes final, at
every member the same; with n - t members that hear each other, an attempt whose proposer is honest ends.

What holds it: a member signs one Confirm for each attempt; a quorum of them is a *prepared certificate*; who has seen
it signs Commit; a quorum of Commits is final.  Who has moved on (Status) signs nothing of an earlier attempt; a later
proposer must propose the highest certificate among n - t Statuses again.

Source: the normal case and view change of Castro and Liskov 1999, for one slot; protocol-analysis P2 for why late
Confirms and missing Statuses each give two final sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from gossip.errors import BadSignature, MalformedMessage
from gossip.events import Tell
from gossip.messages import (
    Commit,
    Confirm,
    Envelope,
    Propose,
    Status,
    decode_message,
    verify_envelope,
)
from gossip.state import Context, Record, Turn
from gossip.statements import Kind, Statement, recovers
from gossip.values import (
    OUTCOME,
    SET,
    Certificate,
    OutcomeValue,
    SetValue,
    Value,
    value_digest,
)

MAX_GROWTH = 12
"""Attempts after which their time no longer grows by half: 130 times as long."""

Judge = Callable[[Turn, int, Value], bool]
"""Whether a value that no certificate binds may be confirmed in this attempt, as far as is known now."""


# --- judging what arrives ---------------------------------------------------------------------------------------


def validate_certificate(context: Context, certificate: Certificate, subject: int) -> str | None:
    """Why the certificate proves nothing, or None."""
    # [REJECT] A certificate is of the agreement that it is used in
    if not _is_of(subject, certificate.value):
        return "certificate of another agreement"
    # [REJECT] A quorum of distinct members confirmed the value
    if len(certificate.signatures) < context.parameters.quorum:
        return "certificate without a quorum"
    name = value_digest(certificate.value)
    statement = Statement(context.config, context.round, Kind.CONFIRM, certificate.attempt, subject, name)
    signed = statement.signing_digest(context.domain)
    for member, signature in certificate.signatures:
        # [REJECT] A certificate is signed by members
        if member >= len(context.signers):
            return "certificate signed by nobody"
        # [REJECT] Each signature in a certificate is that member's
        if not recovers(signed, signature, context.signers[member]):
            return "certificate with a false signature"
    return None


def validate_status(context: Context, status: Status) -> str | None:
    """Why the Status is not a possible one, or None."""
    # [REJECT] A Status is for an attempt after the first
    if status.attempt == 0:
        return "status for the first attempt"
    if status.prepared is None:
        return None
    # [REJECT] A Status reports a certificate of an earlier attempt
    if status.prepared.attempt >= status.attempt:
        return "status with a certificate from its own future"
    return validate_certificate(context, status.prepared, status.subject)


def validate_propose(context: Context, sender: int, propose: Propose) -> str | None:
    """Why the Propose breaks a rule that shows in itself, or None; whether it is justified is judged later."""
    # [REJECT] Only the attempt's proposer proposes
    if sender != context.proposer(propose.attempt):
        return "proposed out of turn"
    # [REJECT] The value is of the agreement that it is proposed in
    if not _is_of(propose.subject, propose.value):
        return "proposed a value of another agreement"
    needed = 0 if propose.attempt == 0 else context.parameters.n - context.parameters.privacy_threshold
    # [REJECT] A first attempt carries no Statuses, a later one those of n - t members
    if len(propose.statuses) != needed:
        return "proposed without the statuses of n - t members"
    statuses = [_carried_status(context, propose, envelope) for envelope in propose.statuses]
    # [REJECT] Each Status that a Propose carries is a true one
    if any(status is None for status in statuses):
        return "proposed with a false status"
    bound = highest_prepared([status for status in statuses if status is not None])
    # [REJECT] The highest certificate among the Statuses is proposed again
    if bound is not None and bound.value != propose.value:
        return "proposed against a prepared certificate"
    if bound is not None or not isinstance(propose.value, SetValue):
        return None
    is_late = propose.attempt >= context.parameters.max_attempts
    # [REJECT] When attempts have run out with nothing prepared, the empty set is proposed, and never before
    if propose.value.is_empty != is_late:
        return "proposed the empty set too early, or another one too late"
    return None


def highest_prepared(statuses: list[Status]) -> Certificate | None:
    """The certificate of the latest attempt that these Statuses report."""
    certificates = [status.prepared for status in statuses if status.prepared is not None]
    return max(certificates, key=lambda certificate: certificate.attempt, default=None)


def is_bound(propose: Propose, context: Context) -> bool:
    """Whether a certificate in its Statuses forces the proposed value."""
    statuses = [_carried_status(context, propose, envelope) for envelope in propose.statuses]
    return highest_prepared([status for status in statuses if status is not None]) is not None


def _carried_status(context: Context, propose: Propose, envelope: Envelope) -> Status | None:
    try:
        message = decode_message(envelope.body)
    except MalformedMessage:
        return None
    if not isinstance(message, Status):
        return None
    # [REJECT] A Status that a Propose carries is of its attempt and agreement
    if (message.attempt, message.subject) != (propose.attempt, propose.subject):
        return None
    # [REJECT] A Status that a Propose carries is of this roster and round
    if (message.config, message.round) != (context.config, context.round):
        return None
    try:
        genuine = verify_envelope(envelope, message, context.domain, context.signers)
    except BadSignature:
        return None
    # [REJECT] A Status that a Propose carries was signed by its sender
    if not genuine:
        return None
    # [REJECT] A Status that a Propose carries breaks no rule
    if validate_status(context, message) is not None:
        return None
    return message


def _is_of(subject: int, value: Value) -> bool:
    return isinstance(value, SetValue if subject == SET else OutcomeValue)


# --- rules --------------------------------------------------------------------------------------------------------


def run(turn: Turn, subject: int, may_confirm: Judge) -> None:
    """Apply the rules of one agreement until none of them has anything to add."""
    if turn.agreement(subject).final is not None:
        return
    _follow_statuses(turn, subject)
    _expire(turn, subject)
    _confirm(turn, subject, may_confirm)
    _prepare_and_commit(turn, subject)
    _finish(turn, subject)


def restart_clock(turn: Turn, subject: int, seconds: float) -> None:
    """Give the current attempt so much time from now; longer in later attempts."""
    attempt = turn.agreement(subject).attempt
    turn.drop_timers(f"attempt:{subject}:")
    turn.wait_anew(f"attempt:{subject}:{attempt}", seconds * 1.5 ** min(attempt, MAX_GROWTH))


def statuses_for_proposal(turn: Turn, subject: int) -> tuple[Envelope, ...] | None:
    """The Statuses that a Propose of the current attempt carries: of n - t members, the highest certificate's among
    them; None while there are too few.
    """
    attempt = turn.agreement(subject).attempt
    if attempt == 0:
        return ()
    records = turn.state.records(Kind.STATUS, attempt, subject)
    parameters = turn.context.parameters
    needed = parameters.n - parameters.privacy_threshold
    if len(records) < needed:
        return None
    statuses = turn.all(Status, attempt, subject)
    ranked = sorted(records, key=lambda i: (-_prepared_attempt(statuses[i]), i))
    return tuple(records[i].envelope for i in sorted(ranked[:needed]))


def _prepared_attempt(status: Status) -> int:
    return -1 if status.prepared is None else status.prepared.attempt


def propose(turn: Turn, subject: int, value: Value, statuses: tuple[Envelope, ...]) -> None:
    """Say the current attempt's Propose."""
    context, attempt = turn.context, turn.agreement(subject).attempt
    turn.say(Propose(context.config, context.round, attempt, subject, value, statuses))


def prepared_to_propose(turn: Turn, subject: int) -> Value | None:
    """The value that the current attempt's Statuses bind its proposer to, if any."""
    statuses = list(turn.all(Status, turn.agreement(subject).attempt, subject).values())
    certificate = highest_prepared(statuses)
    return None if certificate is None else certificate.value


def answer_status(turn: Turn, sender: int, status: Status) -> None:
    """Hand the Commits that made the value final to a member that still asks."""
    final = turn.agreement(status.subject).final
    if final is None or sender == turn.context.me:
        return
    attempt, _ = final
    commits = turn.state.votes(Kind.COMMIT, attempt, status.subject)
    proposals = turn.state.records(Kind.PROPOSE, attempt, status.subject).values()
    turn.emit(Tell(sender, tuple(record.envelope for record in (*commits, *proposals))))


def _follow_statuses(turn: Turn, subject: int) -> None:
    """t + 1 Statuses of later attempts include an honest member's: go there."""
    current = turn.agreement(subject).attempt
    latest: dict[int, int] = {}
    for kind, attempt, of in turn.state.heard:
        if kind is Kind.STATUS and of == subject and attempt > current:
            for member in turn.state.heard[kind, attempt, of]:
                latest[member] = max(latest.get(member, 0), attempt)
    if not latest:
        return
    needed = turn.context.parameters.privacy_threshold + 1
    # [RULE] Who hears t + 1 Statuses of later attempts, so an honest one among them, goes there
    if len(latest) < needed:
        return
    _move(turn, subject, sorted(latest.values(), reverse=True)[:needed][-1])


def _expire(turn: Turn, subject: int) -> None:
    attempt = turn.agreement(subject).attempt
    name = f"attempt:{subject}:{attempt}"
    proposer = turn.context.proposer(attempt)
    timing = turn.context.timing
    if proposer in turn.state.down and name in turn.state.timers:
        turn.state.timers[name] = min(turn.state.timers[name], turn.now + timing.grace_seconds)
    if turn.fired(name):
        if not turn.state.records(Kind.PROPOSE, attempt, subject):
            turn.miss("AGREE" if subject == SET else "RECORD", frozenset({proposer}))
        _move(turn, subject, attempt + 1)


def _move(turn: Turn, subject: int, attempt: int) -> None:
    agreement = replace(turn.agreement(subject), attempt=attempt)
    turn.set_agreement(subject, agreement)
    context = turn.context
    turn.say(Status(context.config, context.round, attempt, subject, agreement.prepared))
    seconds = context.timing.agree_seconds
    if subject == SET:
        seconds += context.timing.prove_seconds + context.timing.receipt_seconds
        still_training = turn.state.timers.get("freeze")
        if still_training is not None:
            seconds += max(0.0, still_training - turn.now)
    restart_clock(turn, subject, seconds)


def _confirm(turn: Turn, subject: int, may_confirm: Judge) -> None:
    attempt = turn.agreement(subject).attempt
    if turn.has_said(Kind.CONFIRM, attempt, subject):
        return
    found = turn.get(Propose, turn.context.proposer(attempt), attempt, subject)
    if found is None:
        return
    proposal, _ = found
    if is_bound(proposal, turn.context) or may_confirm(turn, attempt, proposal.value):
        context = turn.context
        name = turn.learn_value(proposal.value)
        turn.say(Confirm(context.config, context.round, attempt, subject, name))
        restart_clock(turn, subject, context.timing.agree_seconds)


def _prepare_and_commit(turn: Turn, subject: int) -> None:
    for attempt in sorted({a for kind, a, of in turn.state.heard if kind is Kind.CONFIRM and of == subject}):
        certificate = _certificate(turn, subject, attempt)
        if certificate is None:
            continue
        agreement = turn.agreement(subject)
        if agreement.prepared is None or agreement.prepared.attempt < attempt:
            agreement = replace(agreement, prepared=certificate)
        # [RULE] Who has moved to a later attempt signs no Commit of an earlier one
        if attempt < agreement.attempt:
            turn.set_agreement(subject, agreement)
            continue
        turn.set_agreement(subject, replace(agreement, attempt=attempt))
        context = turn.context
        name = value_digest(certificate.value)
        if not turn.has_said(Kind.COMMIT, attempt, subject):
            turn.say(Commit(context.config, context.round, attempt, subject, name))
            restart_clock(turn, subject, context.timing.agree_seconds)


def _certificate(turn: Turn, subject: int, attempt: int) -> Certificate | None:
    votes = turn.state.votes(Kind.CONFIRM, attempt, subject)
    value = _quorum_value(turn, votes)
    if value is None:
        return None
    name = value_digest(value)
    signatures = {r.envelope.sender: r.envelope.signature for r in votes if _voted_value(r) == name}
    return Certificate(attempt, value, tuple(sorted(signatures.items())))


def _finish(turn: Turn, subject: int) -> None:
    for attempt in sorted({a for kind, a, of in turn.state.heard if kind is Kind.COMMIT and of == subject}):
        value = _quorum_value(turn, turn.state.votes(Kind.COMMIT, attempt, subject))
        if value is not None:
            turn.set_agreement(subject, replace(turn.agreement(subject), final=(attempt, value)))
            turn.drop_timers(f"attempt:{subject}:")
            return


def _quorum_value(turn: Turn, votes: list[Record]) -> Value | None:
    """The value that a quorum of these votes is for, if it is known in full."""
    names = Counter(_voted_value(vote) for vote in votes)
    for name, count in names.items():
        # [RULE] A value is prepared, and final, by the votes of a quorum
        if count < turn.context.parameters.quorum:
            continue
        return turn.state.values.get(name)
    return None


def _voted_value(vote: Record) -> bytes:
    return vote.message.value if isinstance(vote.message, Confirm | Commit) else b""


__all__ = [
    "OUTCOME",
    "SET",
    "answer_status",
    "highest_prepared",
    "is_bound",
    "prepared_to_propose",
    "propose",
    "restart_clock",
    "run",
    "statuses_for_proposal",
    "validate_certificate",
    "validate_propose",
    "validate_status",
]
