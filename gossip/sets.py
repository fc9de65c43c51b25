"""Which dealer set a proposer may ask for, and what it takes to confirm one.

Promises: an honest dealer whose share every member has is in the set, unless that sum was refused before; a set that an
honest member confirms is covered by H_min Receipts; sums over the sets that become final, in a round and in abandoned
ones before it, single nobody out.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, product
from typing import Final

import numpy as np

from gossip.holding import freeze_of, proof_answering
from gossip.messages import Freeze, Proof, Receipt
from gossip.results import is_whole
from gossip.state import Turn
from gossip.statements import Kind
from gossip.values import SetValue, Value

_LARGEST_MINOR: Final = (0, 1, 1, 2, 3)
"""By order, the largest determinant of a matrix of zeros and ones (Hadamard's problem, OEIS A003432)."""
MAX_SEEN: Final = len(_LARGEST_MINOR) - 1
"""Abandoned sums over one model, after which no other one is begun."""


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
    """The largest allowed set that so many holders cover; after a sum that was refused, another one if one is."""
    covered, seen = best_covered(good, holders), turn.context.seen
    if turn.context.refused:
        for dealers in _others(turn, covered):
            if dealers not in seen and is_allowed(turn, dealers):
                return dealers
    covered_again = [dealers for dealers in seen if sum(dealers <= of for of in good.values()) >= holders]
    candidates = [covered, *covered_again, _away_from(turn, covered)]
    allowed = [dealers for dealers in candidates if is_allowed(turn, dealers)]
    return max(allowed, key=lambda dealers: (len(dealers), sorted(dealers)), default=None)


def _others(turn: Turn, covered: frozenset[int]) -> list[frozenset[int]]:
    """What to add up after a spoiled sum: what a seen set leaves of all, which tells nothing new, or one of two halves.

    A single culprit is in one half only.  Nobody is found out by this: it may deal truly while it is looked for.
    """
    seen = sorted(turn.context.seen, key=sorted)
    return [*(covered - dealers for dealers in seen), _halves(turn, covered), _away_from(turn, covered), covered]


def _halves(turn: Turn, dealers: frozenset[int]) -> frozenset[int]:
    """Of each group of members that were in the same sums, every other one; which ones rotates with the round."""
    n, first = turn.context.parameters.n, turn.context.round
    groups: dict[frozenset[frozenset[int]], list[int]] = {}
    for dealer in sorted(dealers, key=lambda dealer: (dealer - first) % n):
        groups.setdefault(frozenset(of for of in turn.context.seen if dealer in of), []).append(dealer)
    return frozenset(dealer for group in groups.values() for dealer in group[::2])


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
    # [REJECT] Who does not know every abandoned sum over the same model has only the last one again
    if not is_whole(context.previous, context.history):
        return False
    # [REJECT] After four abandoned sums over the same model, no other: what they tell together grows with each
    if len(seen) > MAX_SEEN:
        return False
    # [REJECT] Whatever a sum and abandoned ones over the same model tell together is about t + 2 members, or known
    return fewest_told_of(dealers - aside, frozenset(seen)) not in range(1, parameters.privacy_threshold + 2)


@lru_cache(maxsize=256)
def fewest_told_of(dealers: frozenset[int], seen: frozenset[frozenset[int]]) -> int:
    """Of how few members a combination of this sum and some of up to MAX_SEEN seen ones tells; 0 if it follows from
    these.

    The combinations of fewest members cancel at as many groups of members as they can: their coefficients are minors
    of a matrix of zeros and ones, and few.
    """
    most = _LARGEST_MINOR[len(seen)]
    members = sorted(frozenset.union(dealers, *seen))
    rows = np.array([[member in of for member in members] for of in (*seen, dealers)], dtype=np.int64)
    factors = product(*[range(-most, most + 1)] * len(seen), range(1, most + 1))
    mixed = np.array([row for row in factors if any(row[:-1])], dtype=np.int64)
    return int(np.count_nonzero(mixed @ rows, axis=1).min())


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
