"""One round as a pure function: `step(state, event, now) -> (state, effects)`.

No clock, no randomness, no I/O: time is an argument, chance arrives inside events, and work on vectors is asked for as
an effect and answered by an event.  Every event is noted first; then the rules of `dealing`, `agreement` and `ending`
are applied until none has anything to add.  Remote misbehaviour becomes a `Blame`, never an exception.
"""

from __future__ import annotations

import math
from dataclasses import replace

from gossip import agreement, dealing, ending, holding, reveal, sets, versions
from gossip.errors import BadSignature, MalformedMessage
from gossip.events import (
    Announce,
    Answered,
    ChecksAnswered,
    ComplaintChecked,
    Composed,
    Dealt,
    Decoded,
    Effect,
    Event,
    Heard,
    PayloadArrived,
    PeerDown,
    PeerUp,
    PieceChecked,
    Proved,
    PushShares,
    Rebuilt,
    ScoresOpened,
    Settled,
    ShareArrived,
    ShareChecked,
    Summed,
    Ticked,
    Work,
    Working,
)
from gossip.faults import fault_of
from gossip.messages import (
    AnyMessage,
    Deal,
    Envelope,
    Propose,
    Status,
    decode_message,
    message_digest,
    verify_envelope,
)
from gossip.state import MAX_ATTEMPTS_AHEAD, Context, Record, RoundState, Turn
from gossip.statements import Kind
from gossip.values import OUTCOME, SET

MAX_SHARES_KEPT = 2
"""Different shares of one dealer and round that are kept; a dealer that sends more is wasting its own time."""


def begin(context: Context, now: float) -> tuple[RoundState, list[Effect]]:
    """The state at the start of a round, and what to do first."""
    return _turn(RoundState(context), now, None)


def step(state: RoundState, event: Event, now: float) -> tuple[RoundState, list[Effect]]:
    """The state after `event`, and what should happen; `state` itself is unchanged."""
    return _turn(state, now, event)


def resume(state: RoundState) -> list[Effect]:
    """After a restart and replay: say again what was said, and have unfinished work redone.

    The state stays the one that the log gives, and no time passes: a change here would be in no log, and after another
    restart the member might say something else than it said.
    """
    context = state.context
    said: list[Effect] = [
        Announce(records[context.me].envelope) for records in state.heard.values() if context.me in records
    ]
    if state.own_shares is not None:
        said.append(PushShares())
    wanted = [fetch for fetch in state.asked if state.lacks(fetch)]
    _, effects = _turn(replace(state.copy(), begun=frozenset(), timers={}, result=None), -math.inf, None)
    return [*said, *wanted, *(effect for effect in effects if isinstance(effect, Work | Settled))]


def _turn(state: RoundState, now: float, event: Event | None) -> tuple[RoundState, list[Effect]]:
    turn = Turn(state, now)
    due = {name for name, at in turn.state.timers.items() if at <= now}
    turn.state.fired |= due
    for name in due:
        del turn.state.timers[name]
    if event is not None:
        _note(turn, event)
    if turn.state.is_settled:
        return turn.state, turn.effects
    size = -1
    while size != len(turn.effects):
        size = len(turn.effects)
        _apply_rules(turn)
    return turn.state, turn.effects


def _apply_rules(turn: Turn) -> None:
    if turn.agreement(SET).final is None:
        dealing.run(turn)
        agreement.run(turn, SET, sets.is_justified)
    if turn.agreement(SET).final is not None:
        ending.run(turn)
    agreement.run(turn, OUTCOME, ending.is_acceptable)
    ending.settle(turn)


# --- events -----------------------------------------------------------------------------------------------------------


def _note(turn: Turn, event: Event) -> None:
    state = turn.state
    match event:
        case Heard(envelope):
            _hear(turn, envelope)
        case Ticked():
            pass
        case PeerUp(member):
            state.down -= {member}
        case PeerDown(member):
            state.down |= {member}
        case Working(member):
            state.working[member] = turn.now
        case ShareArrived(dealer, digest):
            kept = state.shares.get(dealer, frozenset())
            if len(kept) < MAX_SHARES_KEPT or digest in announced_shares(state, dealer):
                state.shares[dealer] = kept | {digest}
        case PayloadArrived(digest):
            state.payloads |= {digest}
        case Dealt(shares) if state.own_shares is None:
            state.own_shares = shares
            state.shares[turn.context.me] = frozenset({shares[turn.context.me]})
        case Proved(attempt, polynomials):
            state.proved.setdefault(attempt, polynomials)
        case ShareChecked(dealer, share, proof, agrees):
            holding.note_check(turn, dealer, share, proof, agrees)
        case ComplaintChecked(attempt, holder, dealer, justified):
            holding.judge_complaint(turn, attempt, holder, dealer, justified)
        case Summed(pieces):
            state.own_sum = pieces
            state.payloads |= frozenset(pieces)
        case Rebuilt():
            reveal.note_rebuilt(turn, event)
        case ChecksAnswered(answers) if state.own_checks is None:
            state.own_checks = answers
        case PieceChecked():
            reveal.note_checked(turn, event)
        case Decoded(model, reason, direction) if state.decoded is None:
            state.decoded = (model, reason, direction)
        case Answered(answers) if state.own_answers is None:
            state.own_answers = answers
        case ScoresOpened(scores, wrong):
            ending.name_false_answers(turn, wrong)
            state.scores = state.scores or scores
        case Composed(result):
            if result not in state.composed:
                state.composed = (*state.composed, result)
        case _:
            pass


def announced_shares(state: RoundState, dealer: int) -> list[bytes]:
    """Digests of this member's share in every version of the dealer's Deal that is kept."""
    deals = (record.message for (sender, _), record in state.by_digest.items() if sender == dealer)
    return [deal.shares[state.context.me] for deal in deals if isinstance(deal, Deal)]


# --- envelopes --------------------------------------------------------------------------------------------------------


def _hear(turn: Turn, envelope: Envelope) -> None:
    """Keep a statement if its sender made it and no rule forbids it; name its sender if it contradicts itself."""
    context = turn.context
    try:
        message = decode_message(envelope.body)
    except MalformedMessage:
        return  # nobody can be named: the signature covers no statement
    # [IGNORE] The message is of this roster and task
    if message.config != context.config:
        return
    # [IGNORE] The message is of this round
    if message.round != context.round:
        return
    known = turn.state.records(*message.key).get(envelope.sender)
    record = Record(message, envelope, message_digest(envelope.body))
    if known is not None and known.digest == record.digest:
        return
    try:
        genuine = verify_envelope(envelope, message, context.domain, context.signers)
    except BadSignature:
        return
    # [REJECT] Its alleged sender signed it
    if not genuine:
        return
    # [REJECT] A member says one thing for each key
    if known is not None:
        turn.prove(envelope.sender, "equivocation", known.envelope, envelope)
        _hear_again(turn, record)
        return
    if not is_within_reach(turn.state, message):
        return
    reason = fault_of(context, envelope.sender, message)
    if reason is not None:
        turn.prove(envelope.sender, reason, envelope)
        return
    turn.keep(envelope.sender, record)
    _follow_up(turn, envelope.sender, message)


def _hear_again(turn: Turn, second: Record) -> None:
    """Keep a second version of a statement where others go by it."""
    # [REJECT] A second version that breaks a rule counts for nothing, whoever goes by it
    if fault_of(turn.context, second.envelope.sender, second.message) is not None:
        return
    if versions.is_relied_upon(turn.state, second):
        versions.keep(turn, second)


def proves_false(state: RoundState, sender: int, message: AnyMessage) -> bool:
    """Whether a statement of this round, signed by its sender, would be the first evidence against it."""
    if sender in state.evidence:
        return False
    known = state.records(*message.key).get(sender)
    if known is not None:
        return known.message != message
    return is_within_reach(state, message) and fault_of(state.context, sender, message) is not None


def is_within_reach(state: RoundState, message: AnyMessage) -> bool:
    """Whether a statement's attempt is near enough to be kept; one that is not may be said again later."""
    kind, attempt, subject = message.key
    of = subject if kind in (Kind.PROPOSE, Kind.CONFIRM, Kind.COMMIT, Kind.STATUS) else SET
    # [IGNORE] There are two agreements in a round
    if of not in (SET, OUTCOME):
        return False
    # [IGNORE] A statement's attempt is within reach
    return attempt <= state.agreements[of].attempt + MAX_ATTEMPTS_AHEAD


def _follow_up(turn: Turn, sender: int, message: AnyMessage) -> None:
    """What follows from a statement beyond its being kept."""
    match message:
        case Propose():
            turn.learn_value(message.value)
            for status in message.statuses:
                _hear(turn, status)
        case Status():
            if message.prepared is not None:
                turn.learn_value(message.prepared.value)
            agreement.answer_status(turn, sender, message)
        case _:
            pass
