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
    if found is None:
        return
    freeze, challenge = found
    for dealer, deal_digest in freeze.deals:
        proof = turn.get(Proof, dealer, attempt)
        answers = proof is not None and proof[0].freeze == challenge
        _check_share(turn, dealer, deal_digest, proof if answers else None)


def _check_share(turn: Turn, dealer: int, deal_digest: bytes, proof: tuple[Proof, bytes] | None) -> bool:
    """Have this member's share of a dealing compared with a Proof; whether they are known to agree."""
    share = own_share_digest(turn, dealer, deal_digest)
    if share is None:
        return False
    # [RULE] A share that does not match the Deal has not arrived: it is asked for again and never shown
    if share not in turn.state.shares.get(dealer, frozenset()):
        if turn.once(f"fetch-share:{dealer}:{share.hex()}"):
            turn.emit(FetchShare(dealer, share))
        return False
    if proof is None:
        return False
    message, name = proof
    agrees = turn.state.checked.get((dealer, share, name))
    if agrees is None:
        turn.work(CheckShare(message.attempt, dealer, share, name, message.freeze, message.polynomials))
    return agrees is True


def checked_shares(turn: Turn, dealers: SetValue) -> tuple[tuple[int, bytes], ...] | None:
    """(dealer, digest of this member's share) over a set, once each agrees with the Proof that the set names."""
    agree = []
    for (dealer, deal_digest), (_, name) in zip(dealers.deals, dealers.proofs, strict=True):
        proof = turn.find(Proof, dealer, name)
        agree.append(_check_share(turn, dealer, deal_digest, None if proof is None else (proof, name)))
    if not all(agree):
        return None
    shares = ((dealer, own_share_digest(turn, dealer, deal_digest)) for dealer, deal_digest in dealers.deals)
    return tuple((dealer, share) for dealer, share in shares if share is not None)


def own_share_digest(turn: Turn, dealer: int, deal_digest: bytes) -> bytes | None:
    """Digest of this member's share of a dealing, if the Deal with that digest is known."""
    deal = turn.find(Deal, dealer, deal_digest)
    return None if deal is None else deal.shares[turn.context.me]


def note_check(turn: Turn, dealer: int, share: bytes, name: bytes, agrees: bool) -> None:
    """Remember whether a share agrees with a Proof; publish it if it contradicts it."""
    turn.state.checked[dealer, share, name] = agrees
    context, proof = turn.context, turn.find(Proof, dealer, name)
    if agrees or proof is None:
        return
    turn.say(Complaint(context.config, context.round, proof.attempt, dealer, proof.freeze, name, share))
    judge_complaint(turn, proof.attempt, context.me, dealer, justified=True)


def check_complaints(turn: Turn) -> None:
    """Have every complaint judged whose Freeze, Deal and Proof are known, in whichever attempt it was made."""
    for _, attempt, dealer in sorted(key for key in turn.state.heard if key[0] is Kind.COMPLAINT):
        found = _freeze_of(turn, attempt)
        deal_digest = None if found is None else dict(found[0].deals).get(dealer)
        deal = None if deal_digest is None else turn.find(Deal, dealer, deal_digest)
        if found is None or deal is None:
            continue
        for holder, complaint in turn.all(Complaint, attempt, dealer).items():
            if holder != turn.context.me and complaint.freeze == found[1]:
                _check_complaint(turn, holder, complaint, deal)


def _check_complaint(turn: Turn, holder: int, complaint: Complaint, deal: Deal) -> None:
    attempt, dealer, share = complaint.attempt, complaint.subject, complaint.share
    proof = turn.find(Proof, dealer, complaint.proof)
    if proof is None or (proof.attempt, proof.freeze) != (attempt, complaint.freeze):
        return
    # [REJECT] A complaint shows the very share that its dealer announced
    if share != deal.shares[holder]:
        record = turn.state.records(Kind.COMPLAINT, attempt, dealer)[holder]
        turn.blame(holder, "complaint about a share that was never dealt", record.envelope)
    elif share not in turn.state.payloads:
        if turn.once(f"fetch-share-of:{holder}:{share.hex()}"):
            turn.emit(FetchPayload(holder, share, dealer))
    else:
        turn.work(CheckComplaint(attempt, holder, dealer, share, complaint.freeze, proof.polynomials))


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
    dealers = _largest_allowed(turn, good)
    if dealers is None:
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


def _largest_allowed(turn: Turn, good: dict[int, frozenset[int]]) -> frozenset[int] | None:
    """The largest covered set that is allowed beside the sums of abandoned rounds; None if there is none."""
    fewest = turn.context.parameters.min_holders
    covered = best_covered(good, fewest)
    seen = [dealers for dealers in turn.context.seen if sum(dealers <= of for of in good.values()) >= fewest]
    candidates = [covered, *seen, _away_from(turn, covered)]
    allowed = [dealers for dealers in candidates if is_allowed(turn, dealers)]
    return max(allowed, key=lambda dealers: (len(dealers), sorted(dealers)), default=None)


def _away_from(turn: Turn, dealers: frozenset[int]) -> frozenset[int]:
    """A part of a set that differs enough from every set seen, leaving out members that most of these have."""
    too_near = [seen for seen in turn.context.seen if not _is_apart(turn, seen, dealers)]
    while too_near and len(dealers) > turn.context.parameters.min_dealers:
        count = {dealer: sum(dealer in seen for seen in too_near) for dealer in sorted(dealers)}
        dealers -= {max(count, key=lambda dealer: (count[dealer], dealer))}
        too_near = [seen for seen in too_near if not _is_apart(turn, seen, dealers)]
    return dealers


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
    # [REJECT] A member that was away and does not know every sum of abandoned rounds has only the last one again
    if not turn.context.knows_all_seen:
        return dealers in turn.context.seen
    # [REJECT] After abandoned sums over the same model, one of these sets, or one that differs by t + 2 from them all
    return all(_is_apart(turn, seen, dealers) for seen in turn.context.seen if not _is_same(turn, seen, dealers))


def _is_same(turn: Turn, seen: frozenset[int], dealers: frozenset[int]) -> bool:
    return not seen - turn.state.false_dealers or not (seen ^ dealers) - turn.state.false_dealers


def _is_apart(turn: Turn, seen: frozenset[int], dealers: frozenset[int]) -> bool:
    differing = (seen ^ dealers) - turn.state.false_dealers
    return len(differing) >= turn.context.parameters.privacy_threshold + 2


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
        proof = turn.find(Proof, dealer, name)
        if proof is None or (proof.attempt, proof.freeze) != (attempt, value.freeze):
            return False
    # [REJECT] H_min holders can answer for every dealer of the set
    return len(value.receipts) >= turn.context.parameters.min_holders and all(
        _covers(turn, attempt, value, holder, name) for holder, name in value.receipts
    )


def _covers(turn: Turn, attempt: int, value: SetValue, holder: int, name: bytes) -> bool:
    receipt = turn.find(Receipt, holder, name)
    return (
        receipt is not None
        and (receipt.attempt, receipt.freeze) == (attempt, value.freeze)
        and set(value.proofs) <= set(receipt.proofs)
    )
