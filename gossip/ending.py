"""From a final dealer set to a signed result: SCORE, RECORD, and what sets off `reveal`.

Promises: whoever can decode confirms no ABANDONED; a member signs one result a round, and only the agreed one.
"""

from __future__ import annotations

from gossip import reveal
from gossip.agreement import prepared_to_propose, propose, restart_clock, statuses_for_proposal
from gossip.events import AnswerScores, Compose, OpenScores, Settled
from gossip.messages import Score, Sign
from gossip.results import result_digest, result_signing_digest
from gossip.state import Turn
from gossip.statements import Kind
from gossip.values import (
    ABANDONED,
    OUTCOME,
    SET,
    SETTLED,
    OutcomeValue,
    RoundResult,
    SetValue,
    Value,
    value_digest,
)


def run(turn: Turn) -> None:
    """Apply the rules that follow once a dealer set is final."""
    dealers = final_set(turn)
    if dealers is None:
        return
    if turn.once("final"):
        timing = turn.context.timing
        turn.enter("REVEAL", final_attempt(turn))
        for prefix in ("freeze", "patience", "receipt:", "propose:"):
            turn.drop_timers(prefix)
        reveal.start_waits(turn)
        restart_clock(turn, OUTCOME, timing.reveal_seconds + timing.score_seconds + timing.agree_seconds)
    if not dealers.is_empty:
        reveal.run(turn, dealers)
        _score(turn)
    _compose(turn, dealers)
    _propose_outcome(turn)


def final_set(turn: Turn) -> SetValue | None:
    """The dealer set that became final, if one did."""
    final = turn.agreement(SET).final
    return final[1] if final is not None and isinstance(final[1], SetValue) else None


def final_attempt(turn: Turn) -> int:
    final = turn.agreement(SET).final
    return 0 if final is None else final[0]


# --- SCORE ------------------------------------------------------------------------------------------------------------


def _score(turn: Turn) -> None:
    context, decoded = turn.context, turn.state.decoded
    if decoded is None or decoded[0] is None or context.scored is None or not decoded[2]:
        return
    scored, dealers = context.scored
    turn.enter("SCORE")
    turn.wait("score", context.timing.score_seconds)
    answers = turn.state.own_answers
    if answers is None:
        turn.work(AnswerScores(scored, dealers))
    elif answers:
        turn.say(Score(context.config, context.round, scored, decoded[2], answers))
    heard, excluded = _answers(turn, scored, decoded[2]), len(turn.proven)
    if turn.state.scores is None and len(heard) >= context.parameters.agreeing_answers - excluded:
        turn.work(OpenScores(scored, dealers, tuple(sorted(heard.items())), excluded))


def _answers(turn: Turn, scored: int, direction: bytes) -> dict[int, tuple[tuple[int, int], ...]]:
    found = {}
    for holder, score in turn.all(Score).items():
        # [IGNORE] A score answer that counts is about the round that is scored
        if score.scored != scored:
            continue
        # [IGNORE] A score answer that counts is along the direction that this member decoded
        if score.direction != direction:
            continue
        # [IGNORE] A score answer of a member proven false counts for nothing
        if holder in turn.proven:
            continue
        found[holder] = score.answers
    return found


def name_false_answers(turn: Turn, wrong: tuple[int, ...]) -> None:
    for holder in wrong:
        record = turn.state.records(Kind.SCORE).get(holder)
        turn.blame(holder, "false score answer", *([record.envelope] if record else []))


# --- RECORD -----------------------------------------------------------------------------------------------------------


def _compose(turn: Turn, dealers: SetValue) -> None:
    decoded = turn.state.decoded
    members = turn.context.last_seen if dealers.is_empty else dealers.dealers
    if dealers.is_empty or (decoded is not None and decoded[0] is None):
        turn.work(Compose(dealers.deals, members, None, None))
    elif decoded is not None:
        awaits_scores = turn.context.scored is not None and bool(decoded[2])
        if turn.state.scores is not None:
            turn.work(Compose(dealers.deals, members, decoded[0], turn.state.scores))
        elif not awaits_scores or turn.fired("score"):
            turn.work(Compose(dealers.deals, members, decoded[0], None))
    elif turn.fired("reveal"):
        # Who could not answer for the set was kept from it by a dealer, and is not waited for.
        able = frozenset(holder for holder, _ in dealers.receipts)
        if turn.once("missed-reveals"):
            turn.miss("REVEAL", able - frozenset(reveal.revealed(turn, value_digest(dealers))))
        turn.work(Compose(dealers.deals, members, None, None))


def _best_composed(turn: Turn) -> RoundResult | None:
    """The result this member would have: settled before abandoned, scored before unscored."""
    own = [result for result in turn.state.composed if is_acceptable(turn, 0, OutcomeValue(result))]
    return max(own, key=lambda result: (result.outcome == SETTLED, result.scores is not None), default=None)


def is_acceptable(turn: Turn, attempt: int, value: Value) -> bool:
    """Whether this member, by what it knows now, would have the round end so."""
    if not isinstance(value, OutcomeValue):
        return False
    # [REJECT] Who confirms a result has come to the same by itself
    if value.result not in turn.state.composed:
        return False
    decoded = turn.state.decoded
    has_model = decoded is not None and decoded[0] is not None
    # [REJECT] Who can decode confirms no ABANDONED
    if has_model and value.result.outcome == ABANDONED:
        return False
    # [REJECT] Who can open the scores confirms no result without them
    return value.result.scores is not None or turn.state.scores is None


def _propose_outcome(turn: Turn) -> None:
    context, attempt = turn.context, turn.agreement(OUTCOME).attempt
    if context.proposer(attempt) != context.me or turn.has_said(Kind.PROPOSE, attempt, OUTCOME):
        return
    statuses = statuses_for_proposal(turn, OUTCOME)
    if statuses is None:
        return
    value = prepared_to_propose(turn, OUTCOME)
    if value is None:
        result = _best_composed(turn)
        value = None if result is None else OutcomeValue(result)
    if value is not None:
        propose(turn, OUTCOME, value, statuses)


def settle(turn: Turn) -> None:
    """Sign the agreed result, and end the round when a quorum has."""
    if turn.state.result is not None:
        return
    final = turn.agreement(OUTCOME).final
    if final is not None and isinstance(final[1], OutcomeValue):
        _sign(turn, final[1].result)
    known = {
        result_digest(value.result): value.result
        for value in turn.state.values.values()
        if isinstance(value, OutcomeValue)
    }
    signed = turn.all(Sign)
    for name, result in known.items():
        members = sorted(i for i, sign in signed.items() if sign.result == name)
        # [RULE] A round ends with the result that a quorum signed
        if len(members) < turn.context.parameters.quorum:
            continue
        _sign(turn, result)  # the only one that a quorum can sign; others may still lack signatures
        turn.state.result = result
        turn.state.timers = {}
        turn.enter("SETTLED")
        signatures = tuple((i, signed[i].signature) for i in members)
        turn.emit(Settled(result, signatures, final_attempt(turn)))
        return


def _sign(turn: Turn, result: RoundResult) -> None:
    context = turn.context
    if not turn.has_said(Kind.SIGN):
        turn.enter("RECORD")
        signature = context.sign(result_signing_digest(result, context.domain))
        turn.say(Sign(context.config, context.round, result_digest(result), signature))
