"""From OPEN to a proposed dealer set: who has dealt, which challenge is drawn, and when the set is proposed."""

from __future__ import annotations

from gossip.agreement import prepared_to_propose, propose, restart_clock, statuses_for_proposal
from gossip.events import Deal as DealWork
from gossip.events import Prove, PushShares
from gossip.holding import check_complaints, check_share, freeze_of, own_share_digest, proof_answering
from gossip.messages import (
    Deal,
    Freeze,
    Open,
    Proof,
    Receipt,
)
from gossip.sets import choose_set
from gossip.state import Turn
from gossip.statements import Kind
from gossip.values import EMPTY_SET, SET, Value


def run(turn: Turn) -> None:
    """Apply the rules of OPEN, TRAIN, DEAL and PROVE, and propose a set where it is this member's turn."""
    if not _is_open(turn):
        _open(turn)
    if not _is_open(turn):
        return
    _train(turn)
    _deal(turn)
    _wait_for_work(turn)
    _freeze_or_repropose(turn)
    attempt = turn.agreement(SET).attempt
    _on_freeze(turn, attempt)
    _prove(turn, attempt)
    _check_shares(turn, attempt)
    check_complaints(turn)
    _give_receipt(turn, attempt)
    _propose(turn, attempt)


# --- OPEN, TRAIN, DEAL ----------------------------------------------------------------------------------------------


def _is_open(turn: Turn) -> bool:
    return any(kind is Kind.OPEN for kind, _, _ in turn.state.heard)


def _open(turn: Turn) -> None:
    context = turn.context
    rank = context.rank(context.me)
    earlier = {context.proposer(attempt) for attempt in range(rank)}
    turn.wait("open", context.timing.open_seconds * rank)
    if rank == 0 or turn.fired("open") or earlier <= turn.state.down:
        turn.say(
            Open(
                context.config,
                context.round,
                rank,
                context.model,
                context.previous,
                context.previous_signatures,
                context.cumulative,
                context.history,
            )
        )


def _train(turn: Turn) -> None:
    timing = turn.context.timing
    turn.drop_timers("open")
    if turn.once("train"):
        turn.enter("TRAIN")
        turn.wait("freeze", timing.train_seconds)
        turn.wait("patience", timing.longest_train_seconds or timing.train_seconds)
        restart_clock(turn, SET, timing.train_seconds + _slack(turn))
    if turn.state.own_shares is None:
        turn.work(DealWork())


def _wait_for_work(turn: Turn) -> None:
    """Who still shows that it trains is waited for, up to the longest time; who is gone is not."""
    state, timing = turn.state, turn.context.timing
    if turn.fired("patience") or turn.agreement(SET).attempt > 0 or not state.is_training:
        return
    dealt = turn.state.records(Kind.DEAL)
    signs = [at for member, at in state.working.items() if member not in dealt and member not in state.down]
    if signs and max(signs) + timing.silence_seconds > turn.now:
        until = max(signs) + timing.silence_seconds
        turn.wait_longer("freeze", until)
        turn.wait_longer(f"attempt:{SET}:0", until + _slack(turn))


def _slack(turn: Turn) -> float:
    """From the Freeze to the end of an attempt."""
    timing = turn.context.timing
    return timing.prove_seconds + timing.receipt_seconds + timing.agree_seconds


def _deal(turn: Turn) -> None:
    context, shares = turn.context, turn.state.own_shares
    if shares is None or turn.has_said(Kind.DEAL):
        return
    turn.enter("DEAL")
    turn.say(Deal(context.config, context.round, context.model, shares))
    turn.emit(PushShares())


# --- FREEZE -----------------------------------------------------------------------------------------------------------


def _freeze_or_repropose(turn: Turn) -> None:
    """As proposer of the current attempt: propose what is bound, the empty set, or freeze the Deals."""
    context, attempt = turn.context, turn.agreement(SET).attempt
    if context.proposer(attempt) != context.me or turn.has_said(Kind.PROPOSE, attempt, SET):
        return
    statuses = statuses_for_proposal(turn, SET)
    if statuses is None:
        return
    bound: Value | None = prepared_to_propose(turn, SET)
    if bound is None and attempt >= context.parameters.max_attempts:
        bound = EMPTY_SET
    if bound is not None:
        propose(turn, SET, bound, statuses)
    elif not turn.has_said(Kind.FREEZE, attempt):
        _freeze(turn, attempt)


def _freeze(turn: Turn, attempt: int) -> None:
    context = turn.context
    records = turn.state.records(Kind.DEAL)
    deals = {i: record.digest for i, record in records.items() if i not in turn.state.false_dealers}
    trusted = {i: deal_digest for i, deal_digest in deals.items() if i not in context.left_out}
    # [RULE] Who was named in two earlier rounds is left out, unless too few would remain
    if len(trusted) >= context.parameters.min_dealers:
        deals = trusted
    missing = turn.expected - frozenset(records) - context.left_out
    if len(deals) < context.parameters.min_dealers or (missing and not turn.fired("freeze")):
        return
    turn.miss("DEAL", frozenset(context.members) - frozenset(records))
    turn.drop_timers("freeze")
    turn.say(Freeze(context.config, context.round, attempt, tuple(sorted(deals.items()))))


def _on_freeze(turn: Turn, attempt: int) -> None:
    """The Freeze of the current attempt arrived: start its waits and ask again for shares that are missing."""
    found = freeze_of(turn, attempt)
    if found is None or not turn.once(f"freeze:{attempt}"):
        return
    timing = turn.context.timing
    turn.drop_timers("patience")
    turn.enter("PROVE", attempt)
    turn.wait(f"receipt:{attempt}", timing.prove_seconds)
    turn.wait(f"propose:{attempt}", timing.prove_seconds + timing.receipt_seconds)
    restart_clock(turn, SET, timing.prove_seconds + timing.receipt_seconds + timing.agree_seconds)


# --- PROVE ------------------------------------------------------------------------------------------------------------


def _prove(turn: Turn, attempt: int) -> None:
    context, found = turn.context, freeze_of(turn, attempt)
    own = turn.state.records(Kind.DEAL).get(context.me)
    if found is None or own is None:
        return
    freeze, challenge = found
    # [RULE] A dealer answers a challenge only for the Deal that it signed
    if (context.me, own.digest) not in freeze.deals:
        return
    polynomials = turn.state.proved.get(attempt)
    if polynomials is None:
        turn.work(Prove(attempt, challenge))
    else:
        turn.say(Proof(context.config, context.round, attempt, challenge, polynomials))


def _check_shares(turn: Turn, attempt: int) -> None:
    found = freeze_of(turn, attempt)
    if found is None:
        return
    freeze, challenge = found
    for dealer, deal_digest in freeze.deals:
        check_share(turn, dealer, deal_digest, proof_answering(turn, dealer, attempt, challenge))


def _give_receipt(turn: Turn, attempt: int) -> None:
    context, found = turn.context, freeze_of(turn, attempt)
    if found is None or turn.has_said(Kind.RECEIPT, attempt):
        return
    freeze, challenge = found
    checks = {dealer: _check_of(turn, attempt, dealer, deal_digest) for dealer, deal_digest in freeze.deals}
    judged = {dealer for dealer, agrees in checks.items() if agrees is not None}
    awaited = frozenset(dealer for dealer, _ in freeze.deals) & turn.expected
    late = turn.fired(f"receipt:{attempt}")
    if not late and not awaited <= judged | turn.state.false_dealers:
        return
    if late:
        turn.miss("PROVE", awaited - judged)
    proofs = []
    for dealer, _ in freeze.deals:
        proof = turn.get(Proof, dealer, attempt)
        if checks[dealer] and dealer not in turn.state.false_dealers and proof is not None:
            proofs.append((dealer, proof[1]))
    turn.drop_timers(f"receipt:{attempt}")
    turn.enter("AGREE", attempt)
    turn.say(Receipt(context.config, context.round, attempt, challenge, tuple(proofs)))


def _check_of(turn: Turn, attempt: int, dealer: int, deal_digest: bytes) -> bool | None:
    """Whether this member's share agrees with the Proof of this attempt; None while that is not known."""
    share, proof = own_share_digest(turn, dealer, deal_digest), turn.get(Proof, dealer, attempt)
    return None if share is None or proof is None else turn.state.checked.get((dealer, share, proof[1]))


# --- PROPOSE ----------------------------------------------------------------------------------------------------------


def _propose(turn: Turn, attempt: int) -> None:
    context = turn.context
    if context.proposer(attempt) != context.me or turn.has_said(Kind.PROPOSE, attempt, SET):
        return
    found, statuses = freeze_of(turn, attempt), statuses_for_proposal(turn, SET)
    if found is None or statuses is None:
        return
    receipts = _matching_receipts(turn, attempt, found[1])
    missing = turn.expected - frozenset(receipts)
    if missing and not turn.fired(f"propose:{attempt}"):
        return
    value = choose_set(turn, attempt, found[0], found[1], receipts)
    if value is not None:
        turn.miss("AGREE", missing)
        turn.drop_timers(f"propose:{attempt}")
        propose(turn, SET, value, statuses)


def _matching_receipts(turn: Turn, attempt: int, freeze: bytes) -> dict[int, Receipt]:
    return {i: receipt for i, receipt in turn.all(Receipt, attempt).items() if receipt.freeze == freeze}
