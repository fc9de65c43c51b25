"""From OPEN to a proposed dealer set: who has dealt, whose shares hold, and which set the proposer may ask for.

Promises: an honest dealer that everybody hears is in the set; a dealer whose share contradicts its Proof is named with
that share as evidence, and nobody else ever is; a set that an honest member confirms is covered by H_min Receipts.
"""

from __future__ import annotations

from itertools import combinations

from gossip.agreement import prepared_to_propose, propose, restart_clock, statuses_for_proposal
from gossip.events import CheckComplaint, CheckShare, FetchPayload, FetchShare, Prove, PushShares
from gossip.events import Deal as DealWork
from gossip.messages import (
    EMPTY_SET,
    SET,
    Complaint,
    Deal,
    Freeze,
    Open,
    Proof,
    Receipt,
    SetValue,
    Value,
)
from gossip.state import Turn
from gossip.statements import Kind


def run(turn: Turn) -> None:
    """Apply the rules of OPEN, TRAIN, DEAL and PROVE, and propose a set where it is this member's turn."""
    if not _is_open(turn):
        _open(turn)
    if not _is_open(turn):
        return
    _train(turn)
    _deal(turn)
    _freeze_or_repropose(turn)
    attempt = turn.agreement(SET).attempt
    _on_freeze(turn, attempt)
    _prove(turn, attempt)
    _check_shares(turn, attempt)
    _check_complaints(turn, attempt)
    _give_receipt(turn, attempt)
    _propose(turn, attempt)


# --- OPEN, TRAIN, DEAL ----------------------------------------------------------------------------------------------


def _is_open(turn: Turn) -> bool:
    return any(kind is Kind.OPEN for kind, _, _ in turn.state.heard)


def _open(turn: Turn) -> None:
    context = turn.context
    rank = (context.me - context.round) % context.parameters.n
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
            )
        )


def _train(turn: Turn) -> None:
    timing = turn.context.timing
    turn.drop_timers("open")
    if turn.once("train"):
        turn.enter("TRAIN")
        turn.wait("freeze", timing.train_seconds)
        slack = timing.prove_seconds + timing.receipt_seconds + timing.agree_seconds
        restart_clock(turn, SET, timing.train_seconds + slack)
    if turn.state.own_shares is None:
        turn.work(DealWork())


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


def _freeze_of(turn: Turn, attempt: int) -> tuple[Freeze, bytes] | None:
    return turn.get(Freeze, turn.context.proposer(attempt), attempt)


def _on_freeze(turn: Turn, attempt: int) -> None:
    """The Freeze of the current attempt arrived: start its waits and ask again for shares that are missing."""
    found = _freeze_of(turn, attempt)
    if found is None or not turn.once(f"freeze:{attempt}"):
        return
    timing = turn.context.timing
    turn.enter("PROVE", attempt)
    turn.wait(f"receipt:{attempt}", timing.prove_seconds)
    turn.wait(f"propose:{attempt}", timing.prove_seconds + timing.receipt_seconds)
    restart_clock(turn, SET, timing.prove_seconds + timing.receipt_seconds + timing.agree_seconds)


# --- PROVE ------------------------------------------------------------------------------------------------------------


def _prove(turn: Turn, attempt: int) -> None:
    context, found = turn.context, _freeze_of(turn, attempt)
    own = turn.state.records(Kind.DEAL).get(context.me)
    if found is None or own is None or turn.has_said(Kind.PROOF, attempt):
        return
    freeze, challenge = found
    # [RULE] A dealer answers one challenge an attempt, and only for the Deal that it signed
    if (context.me, own.digest) not in freeze.deals or attempt >= context.parameters.max_attempts:
        return
    polynomials = turn.state.proved.get(attempt)
    if polynomials is None:
        turn.work(Prove(attempt, challenge))
    else:
        turn.say(Proof(context.config, context.round, attempt, challenge, polynomials))


def _check_shares(turn: Turn, attempt: int) -> None:
    found = _freeze_of(turn, attempt)
    if found is None or turn.has_said(Kind.RECEIPT, attempt):
        return
    freeze, challenge = found
    for dealer, deal_digest in freeze.deals:
        share = own_share_digest(turn, dealer, deal_digest)
        if share is None or (attempt, dealer) in turn.state.checked:
            continue
        # [RULE] A share that does not match the Deal has not arrived: it is asked for again and never shown
        if share not in turn.state.shares.get(dealer, frozenset()):
            if turn.once(f"fetch-share:{dealer}:{share.hex()}"):
                turn.emit(FetchShare(dealer, share))
            continue
        proof = turn.get(Proof, dealer, attempt)
        if proof is not None and proof[0].freeze == challenge:
            turn.work(CheckShare(attempt, dealer, share, challenge, proof[0].polynomials))


def own_share_digest(turn: Turn, dealer: int, deal_digest: bytes) -> bytes | None:
    """Digest of this member's share of a dealing, if the Deal with that digest is known."""
    deal = turn.get(Deal, dealer)
    return deal[0].shares[turn.context.me] if deal is not None and deal[1] == deal_digest else None


def complain(turn: Turn, attempt: int, dealer: int) -> None:
    """Publish the share that contradicts its dealer's Proof."""
    context, found, proof = turn.context, _freeze_of(turn, attempt), turn.get(Proof, dealer, attempt)
    deal = turn.get(Deal, dealer)
    if found is None or proof is None or deal is None:
        return
    share = deal[0].shares[context.me]
    turn.say(Complaint(context.config, context.round, attempt, dealer, found[1], proof[1], share))


def _check_complaints(turn: Turn, attempt: int) -> None:
    found = _freeze_of(turn, attempt)
    if found is None:
        return
    for dealer, deal_digest in found[0].deals:
        proof, deal = turn.get(Proof, dealer, attempt), turn.get(Deal, dealer)
        if proof is None or deal is None or deal[1] != deal_digest or proof[0].freeze != found[1]:
            continue
        for holder, complaint in turn.all(Complaint, attempt, dealer).items():
            if holder == turn.context.me or (complaint.freeze, complaint.proof) != (found[1], proof[1]):
                continue
            # [REJECT] A complaint shows the very share that its dealer announced
            if complaint.share != deal[0].shares[holder]:
                record = turn.state.records(Kind.COMPLAINT, attempt, dealer)[holder]
                turn.blame(holder, "complaint about a share that was never dealt", record.envelope)
            elif complaint.share not in turn.state.payloads:
                if turn.once(f"fetch:{complaint.share.hex()}"):
                    turn.emit(FetchPayload(holder, complaint.share))
            else:
                turn.work(CheckComplaint(attempt, holder, dealer, complaint.share, found[1], proof[0].polynomials))


def judge_complaint(turn: Turn, attempt: int, holder: int, dealer: int, justified: bool) -> None:
    """Name the dealer, or whoever complained falsely."""
    complaint = turn.state.records(Kind.COMPLAINT, attempt, dealer).get(holder)
    if complaint is None:
        return
    if not justified:
        turn.blame(holder, "false complaint", complaint.envelope)
        return
    turn.state.false_dealers |= {dealer}
    evidence = [
        record.envelope
        for key in ((Kind.DEAL, 0), (Kind.PROOF, attempt))
        if (record := turn.state.records(*key).get(dealer)) is not None
    ]
    turn.blame(dealer, "share contradicts its proof", *evidence, complaint.envelope)


def _give_receipt(turn: Turn, attempt: int) -> None:
    context, found = turn.context, _freeze_of(turn, attempt)
    if found is None or turn.has_said(Kind.RECEIPT, attempt) or attempt >= context.parameters.max_attempts:
        return
    freeze, challenge = found
    judged = {dealer for dealer, _ in freeze.deals if (attempt, dealer) in turn.state.checked}
    awaited = frozenset(dealer for dealer, _ in freeze.deals) & turn.expected
    late = turn.fired(f"receipt:{attempt}")
    if not late and not awaited <= judged | turn.state.false_dealers:
        return
    if late:
        turn.miss("PROVE", awaited - judged)
    proofs = []
    for dealer, _ in freeze.deals:
        proof = turn.get(Proof, dealer, attempt)
        good = turn.state.checked.get((attempt, dealer), False) and dealer not in turn.state.false_dealers
        if good and proof is not None:
            proofs.append((dealer, proof[1]))
    turn.drop_timers(f"receipt:{attempt}")
    turn.enter("AGREE", attempt)
    turn.say(Receipt(context.config, context.round, attempt, challenge, tuple(proofs)))


# --- PROPOSE ----------------------------------------------------------------------------------------------------------


def _propose(turn: Turn, attempt: int) -> None:
    context = turn.context
    if context.proposer(attempt) != context.me or turn.has_said(Kind.PROPOSE, attempt, SET):
        return
    found, statuses = _freeze_of(turn, attempt), statuses_for_proposal(turn, SET)
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


def choose_set(
    turn: Turn, attempt: int, freeze: Freeze, freeze_digest: bytes, receipts: dict[int, Receipt]
) -> SetValue | None:
    """The largest set that enough Receipts cover, and among equals the one that most cover; None if there is none."""
    proofs = {
        dealer: proof[1]
        for dealer, _ in freeze.deals
        if (proof := turn.get(Proof, dealer, attempt)) is not None
        and proof[0].freeze == freeze_digest
        and dealer not in turn.state.false_dealers
    }
    good = {
        holder: frozenset(dealer for dealer, name in receipt.proofs if proofs.get(dealer) == name)
        for holder, receipt in receipts.items()
    }
    dealers = best_covered(good, turn.context.parameters.min_holders)
    if not is_allowed(turn, dealers):
        return None
    names = {
        holder: record.digest
        for holder, record in turn.state.records(Kind.RECEIPT, attempt).items()
        if holder in good and dealers <= good[holder]
    }
    return SetValue(
        freeze_digest,
        tuple((dealer, name) for dealer, name in freeze.deals if dealer in dealers),
        tuple((dealer, proofs[dealer]) for dealer in sorted(dealers)),
        tuple(sorted(names.items())),
    )


def best_covered(good: dict[int, frozenset[int]], min_holders: int) -> frozenset[int]:
    """The largest intersection of at least `min_holders` of these sets; greedy where there are more than eight."""
    holders = sorted(good)
    if len(holders) < min_holders:
        return frozenset()
    if len(holders) <= 8:
        groups = (g for size in range(min_holders, len(holders) + 1) for g in combinations(holders, size))
        return max((_common(good, group) for group in groups), key=lambda s: (len(s), sorted(s)))
    group, best = tuple(holders), _common(good, tuple(holders))
    while len(group) > min_holders:
        smaller = [tuple(h for h in group if h != out) for out in group]
        group = max(smaller, key=lambda g: len(_common(good, g)))
        best = max(best, _common(good, group), key=len)
    return best


def _common(good: dict[int, frozenset[int]], holders: tuple[int, ...]) -> frozenset[int]:
    return frozenset.intersection(*(good[holder] for holder in holders))


def is_allowed(turn: Turn, dealers: frozenset[int]) -> bool:
    """Whether a sum over these dealers hides each of them, also beside one that an abandoned round may have shown."""
    parameters = turn.context.parameters
    # [REJECT] A sum hides a member among A_min dealers
    if len(dealers) < parameters.min_dealers:
        return False
    # [REJECT] After an abandoned sum over the same model, the same set or one that differs by t + 2 members
    seen = turn.context.seen_before - turn.state.false_dealers
    differing = len((seen ^ dealers) - turn.state.false_dealers)
    return not seen or differing == 0 or differing >= parameters.privacy_threshold + 2


def is_justified(turn: Turn, attempt: int, value: Value) -> bool:
    """Whether everything that a proposed set names was heard, and bears it out."""
    if not isinstance(value, SetValue):
        return False
    if value.is_empty:
        return attempt >= turn.context.parameters.max_attempts
    found = _freeze_of(turn, attempt)
    # [REJECT] The set is of this attempt's Freeze
    if found is None or value.freeze != found[1] or not is_allowed(turn, value.dealers):
        return False
    # [REJECT] Each dealer's Deal is among those frozen
    if not set(value.deals) <= set(found[0].deals):
        return False
    # [REJECT] No dealer of the set is proven false
    if value.dealers & turn.state.false_dealers:
        return False
    # [REJECT] Each dealer's Proof answers this Freeze
    for dealer, name in value.proofs:
        proof = turn.get(Proof, dealer, attempt)
        if proof is None or proof[1] != name or proof[0].freeze != value.freeze:
            return False
    # [REJECT] H_min holders can answer for every dealer of the set
    return len(value.receipts) >= turn.context.parameters.min_holders and all(
        _covers(turn, attempt, value, holder, name) for holder, name in value.receipts
    )


def _covers(turn: Turn, attempt: int, value: SetValue, holder: int, name: bytes) -> bool:
    receipt = turn.get(Receipt, holder, attempt)
    return (
        receipt is not None
        and receipt[1] == name
        and receipt[0].freeze == value.freeze
        and set(value.proofs) <= set(receipt[0].proofs)
    )
