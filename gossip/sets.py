"""Which dealer set a proposer may ask for, and what it takes to confirm one.

Promises: an honest dealer whose share every member has is in the set, unless that sum was refused before; a set that an
honest member confirms is covered by H_min Receipts; sums over the sets that become final, in a round and in abandoned
ones before it, single nobody out.
"""

from __future__ import annotations

from itertools import combinations

from gossip.holding import freeze_of, proof_answering
from gossip.messages import Freeze, Proof, Receipt
from gossip.results import is_whole
from gossip.state import Turn
from gossip.statements import Kind
from gossip.values import SetValue, Value


def choose_set(
    turn: Turn, attempt: int, freeze: Freeze, freeze_digest: bytes, receipts: dict[int, Receipt]
) -> SetValue | None:
    """A large set that enough Receipts cover, as `_largest_allowed` weighs them; None if there is none."""
    proofs = {
        dealer: proof[1]
        for dealer, _ in freeze.deals
        if dealer not in turn.state.false_dealers
        and (proof := proof_answering(turn, dealer, attempt, freeze_digest)) is not None
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
    """The largest covered set that is allowed beside the sums of abandoned rounds; None if there is none.

    A dealer may have kept its share from some holders and fall silent when the sum is to be revealed.  So that this
    costs nothing, t holders more than are needed should cover the set, or as many more as there are, even if up to t
    dealers are left out for it: that many may be faulty.  More are not, before a sum was abandoned: t holders that
    claim to lack shares could leave out anybody.
    """
    parameters = turn.context.parameters
    best = _best_allowed(turn, good, parameters.min_holders)
    if best is None:
        return None
    fewest = 0 if turn.context.seen else len(best) - parameters.privacy_threshold
    most = parameters.min_holders + parameters.privacy_threshold
    for holders in range(most, parameters.min_holders, -1):
        safer = _best_allowed(turn, good, holders)
        if safer is not None and len(safer) >= fewest:
            return safer
    return best


def _best_allowed(turn: Turn, good: dict[int, frozenset[int]], holders: int) -> frozenset[int] | None:
    """The largest allowed set that so many holders cover; another one than was seen, where its sum was refused."""
    covered = best_covered(good, holders)
    seen = [dealers for dealers in turn.context.seen if sum(dealers <= of for of in good.values()) >= holders]
    candidates = [covered, *seen, _away_from(turn, covered)]
    allowed = [dealers for dealers in candidates if is_allowed(turn, dealers)]
    fresh = [dealers for dealers in allowed if dealers not in turn.context.seen] if turn.context.refused else []
    return max(fresh or allowed, key=lambda dealers: (len(dealers), sorted(dealers)), default=None)


def _away_from(turn: Turn, dealers: frozenset[int]) -> frozenset[int]:
    """A part of a set that is allowed beside what was seen and was not, leaving out members; one too small if none is.

    Whose turn it is to be left out rotates with the round.
    """
    n, first = turn.context.parameters.n, turn.context.round
    for seen in turn.context.seen:
        for dealer in sorted(dealers & seen, key=lambda dealer: (dealer - first) % n):
            if dealers not in turn.context.seen and is_allowed(turn, dealers):
                return dealers
            dealers -= {dealer}
    return dealers


def best_covered(good: dict[int, frozenset[int]], min_holders: int) -> frozenset[int]:
    """The largest intersection of `min_holders` of these sets; greedy where there are more than eight."""
    holders = sorted(good)
    if len(holders) < min_holders:
        return frozenset()
    if len(holders) <= 8:
        groups = combinations(holders, min_holders)
        return max((_common(good, group) for group in groups), key=lambda s: (len(s), sorted(s)))
    group = tuple(holders)
    while len(group) > min_holders:
        smaller = [tuple(h for h in group if h != out) for out in group]
        group = max(smaller, key=lambda g: len(_common(good, g)))
    return _common(good, group)


def _common(good: dict[int, frozenset[int]], holders: tuple[int, ...]) -> frozenset[int]:
    return frozenset.intersection(*(good[holder] for holder in holders))


def is_allowed(turn: Turn, dealers: frozenset[int]) -> bool:
    """Whether a sum over these dealers hides each of them, also beside those that abandoned rounds may have shown."""
    context, parameters = turn.context, turn.context.parameters
    # [REJECT] A sum hides a member among A_min dealers
    if len(dealers) < parameters.min_dealers:
        return False
    # Members proven false have nothing to hide.
    aside = turn.state.false_dealers | context.named
    seen = {of - aside for of in context.seen if of - aside}
    if not seen or dealers - aside in seen:
        return True
    # [REJECT] After two abandoned sums over the same model, no third: their combinations could single out a member
    if len(seen) > 1:
        return False
    # [REJECT] Who does not know every abandoned sum over the same model has only the last one again
    if not is_whole(context.previous, context.history):
        return False
    # [REJECT] After one abandoned sum over the same model, another one differs from it by t + 2 members
    return all(len(of ^ (dealers - aside)) >= parameters.privacy_threshold + 2 for of in seen)


def is_justified(turn: Turn, attempt: int, value: Value) -> bool:
    """Whether everything that a proposed set names was heard, and bears it out."""
    if not isinstance(value, SetValue):
        return False
    if value.is_empty:
        return True  # `validate_propose` lets it be proposed only when attempts have run out
    found = freeze_of(turn, attempt)
    if found is None:
        return False
    # [REJECT] The set is of this attempt's Freeze
    if value.freeze != found[1]:
        return False
    # [REJECT] Whoever confirms a set finds its sum allowed, whatever its proposer finds
    if not is_allowed(turn, value.dealers):
        return False
    # [REJECT] Each dealer's Deal is among those frozen
    if not set(value.deals) <= set(found[0].deals):
        return False
    # [REJECT] No dealer of the set is proven false
    if value.dealers & turn.state.false_dealers:
        return False
    for dealer, name in value.proofs:
        proof = turn.find(Proof, dealer, name)
        # [REJECT] Each dealer's Proof was heard, and answers this Freeze
        if proof is None or proof.freeze != value.freeze:
            return False
    # [REJECT] A set names the Receipts of H_min holders
    if len(value.receipts) < turn.context.parameters.min_holders:
        return False
    return all(_covers(turn, value, holder, name) for holder, name in value.receipts)


def _covers(turn: Turn, value: SetValue, holder: int, name: bytes) -> bool:
    receipt = turn.find(Receipt, holder, name)
    if receipt is None:
        return False
    # [REJECT] Each Receipt that a set names is of this Freeze
    if receipt.freeze != value.freeze:
        return False
    # [REJECT] Each Receipt that a set names covers every dealer of the set
    return set(value.proofs) <= set(receipt.proofs)
