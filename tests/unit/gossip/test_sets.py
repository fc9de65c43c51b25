"""Which dealer sets are proposed, and which are confirmed; each with one thing amiss."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations, product
from random import Random

import msgspec
import numpy as np
import pytest

from gossip import sets
from gossip.messages import Freeze, Receipt
from gossip.parameters import Parameters
from gossip.results import is_history, result_digest
from gossip.state import RoundState, Turn
from gossip.statements import Kind
from gossip.values import (
    ABANDONED,
    EMPTY_SET,
    SET,
    SetValue,
)
from tests.helpers.worlds import known_world, saved_after, settled_world, state_of, with_statement

D = bytes(32)


@pytest.fixture
def state() -> RoundState:
    return state_of(settled_world())


def final_set(state: RoundState) -> SetValue:
    final = state.agreements[SET].final
    assert final is not None
    assert isinstance(final[1], SetValue)
    return final[1]


def is_justified(state: RoundState, value: SetValue) -> bool:
    return sets.is_justified(Turn(state, 1.0), 0, value)


# --- which sums are allowed -----------------------------------------------------------------------------------------


def test_a_set_below_the_fewest_dealers_is_not_allowed(state: RoundState) -> None:
    turn = Turn(state, 1.0)
    assert sets.is_allowed(turn, frozenset({0, 1, 2}))
    assert not sets.is_allowed(turn, frozenset({0, 1}))


@pytest.mark.parametrize(
    ("dealers", "is_allowed"),
    [({0, 1, 2, 3}, True), ({0, 1, 2}, False), ({0, 1, 3, 4}, False), ({0, 4, 5, 6}, True)],
)
def test_after_an_abandoned_sum_only_the_same_set_or_a_distant_one_is_allowed(
    dealers: set[int], is_allowed: bool
) -> None:
    """n = 7: t = 1, so a distant set differs by three members or more."""
    world = known_world(7, saved=saved_after(7, 1)).run(0.0)
    turn = after_abandoned(state_of(world), {0, 1, 2, 3})
    assert sets.is_allowed(turn, frozenset(dealers)) is is_allowed
    unknown = replace(turn.context, history=turn.context.history[:-1])
    assert sets.is_allowed(Turn(replace(turn.state, context=unknown), 1.0), frozenset(dealers)) is (
        dealers == {0, 1, 2, 3}
    )


def after_abandoned(state: RoundState, *seen: set[int]) -> Turn:
    """A turn in the round after rounds that were abandoned with these sums."""
    results = [state.context.previous]
    for dealers in seen:
        last = results[0]
        assert last is not None
        named = sum(1 << dealer for dealer in dealers)
        abandoned = {"round": last.round + 1, "outcome": ABANDONED, "dealers": named, "previous": result_digest(last)}
        results.insert(0, msgspec.structs.replace(last, **abandoned))
    history = tuple(result for result in results[1:] if result is not None)
    assert is_history(results[0], history)
    return Turn(replace(state, context=replace(state.context, previous=results[0], history=history)), 1.0)


def test_combinations_of_abandoned_sums_single_nobody_out() -> None:
    """n = 8, t + 2 = 4: each two of A, B and C differ by four or more, and A + B - C is member 0 twice and no other."""
    world = known_world(8, saved=saved_after(8, 0), last_round=1).run(0.0)
    state = state_of(world)
    a, b, c, near = {0, 1, 2, 3}, {0, 4, 5, 6, 7}, set(range(1, 8)), {0, 1, 2, 3, 4}
    for seen, allowed in (((), "abcn"), ((a,), "abc"), ((b,), "abcn"), ((a, b), "ab"), ((a, b, a), "ab")):
        turn = after_abandoned(state, *seen)
        found = [name for name, dealers in zip("abcn", (a, b, c, near), strict=True)
                 if sets.is_allowed(turn, frozenset(dealers))]  # fmt: skip
        assert "".join(found) == allowed, seen


@pytest.mark.parametrize("n", [6, 8, 9])
def test_whatever_sums_are_allowed_t_colluders_learn_no_single_update(n: int) -> None:
    """By linear algebra: no combination of the sums is about one member and colluders alone."""
    t, most = Parameters.of_size(n).privacy_threshold, 0
    for seed in range(12):
        rng, sums = Random(seed), [frozenset(range(n))]
        for _ in range(40):
            dealers = frozenset(rng.sample(range(n), rng.randint(n // 2, n)))
            if dealers not in sums and sets.is_allowed(after_abandoned(beginning(n), *map(set, sums)), dealers):
                sums.append(dealers)
        rows = np.array([[member in dealers for member in range(n)] for dealers in sums], dtype=np.float64)
        rank, most = np.linalg.matrix_rank(rows), max(most, len(sums))
        for members in combinations(range(n), t + 1):
            others = np.delete(rows, members, axis=1)  # a lower rank: some combination is about `members` alone
            assert np.linalg.matrix_rank(others) == rank, (seed, sums, members)
    assert most > 2, "more than two sums over one model were looked at"


def test_the_coefficients_of_combinations_are_minors() -> None:
    """The bounds that `fewest_told_of` looks within, against all matrices of zeros and ones."""
    for order in range(1, 5):
        rows = np.array(list(product((0, 1), repeat=order)))
        matrices = (rows[list(chosen)] for chosen in combinations(range(len(rows)), order))
        largest = max(abs(round(float(np.linalg.det(matrix)))) for matrix in matrices)
        assert largest == sets._LARGEST_MINOR[order]


def test_after_four_abandoned_sums_no_other_is_begun() -> None:
    """n = 12: halves of it, of which no two are alike."""
    everybody, other = set(range(12)), frozenset(range(0, 12, 2))
    seen = [everybody, {0, 1, 2, 3, 4, 5}, {0, 1, 2, 6, 7, 8}, {0, 3, 4, 6, 7, 9}]
    assert sets.is_allowed(after_abandoned(beginning(12)), other)
    assert sets.is_allowed(after_abandoned(beginning(12), *seen), frozenset(everybody - seen[-1])), "known already"
    turn = after_abandoned(beginning(12), *seen, everybody - seen[-1])
    assert not sets.is_allowed(turn, frozenset(everybody - seen[1])), "although it is known already"
    assert sets.is_allowed(turn, frozenset(everybody))


def test_members_proven_false_in_earlier_rounds_have_nothing_to_hide() -> None:
    """Otherwise a false dealer that is gone would keep four members from ever having another sum."""
    world = known_world(4, saved=saved_after(4, 0), last_round=1).run(0.0)
    turn = after_abandoned(state_of(world), {0, 1, 2, 3})
    assert not sets.is_allowed(turn, frozenset({0, 1, 2}))
    named = replace(turn.state, context=replace(turn.context, named=frozenset({3})))
    assert sets.is_allowed(Turn(named, 1.0), frozenset({0, 1, 2}))
    assert sets.is_allowed(Turn(named, 1.0), frozenset({0, 1, 2, 3})), "the same but for that member"


def test_members_proven_false_do_not_make_a_set_another_one() -> None:
    """n = 8: it differs by members 3, 4 and 5, one too few, and by the false member 7."""
    turn = after_abandoned(beginning(8), {0, 1, 2, 3})
    named = replace(turn.state, context=replace(turn.context, named=frozenset({7})))
    assert not sets.is_allowed(Turn(named, 1.0), frozenset({0, 1, 2, 4, 5, 7}))


def test_where_the_last_of_many_abandoned_rounds_names_no_sum_none_was_seen() -> None:
    turn = after_abandoned(beginning(4), set(), set())
    unknown = replace(turn.context, history=turn.context.history[:-1])
    assert sets.is_allowed(Turn(replace(turn.state, context=unknown), 1.0), frozenset({0, 1, 2}))


def test_members_proven_false_in_this_round_have_nothing_to_hide_either() -> None:
    turn = after_abandoned(beginning(4), {0, 1, 2, 3})
    assert sets.is_allowed(Turn(replace(turn.state, false_dealers=frozenset({3})), 1.0), frozenset({0, 1, 2}))


def test_a_sum_of_members_proven_false_alone_forbids_nothing() -> None:
    """n = 12: t + 2 = 5; with the first sum it differs by members 3, 4, 9 and 10."""
    turn = after_abandoned(beginning(12), {0, 1, 2, 3}, {4, 5, 6, 7, 8})
    other = frozenset({0, 1, 2, 4, 9, 10})
    assert not sets.is_allowed(turn, other)
    named = replace(turn.state, context=replace(turn.context, named=frozenset(range(4))))
    assert sets.is_allowed(Turn(named, 1.0), other)


def test_a_history_is_what_the_results_name() -> None:
    world = known_world(4, saved=saved_after(4, 0), last_round=1).run(0.0)
    context = after_abandoned(state_of(world), {0, 1, 2}, {0, 1, 3}).context
    assert is_history(context.previous, context.history)
    for false in (
        (),
        context.history[:1],
        context.history[1:],
        context.history[::-1],
        (*context.history, *context.history),
    ):
        assert not is_history(context.previous, false)


# --- which sets are proposed ----------------------------------------------------------------------------------------


@cache
def beginning(n: int) -> RoundState:
    """Round 1 of as many members, as one of them begins it."""
    return state_of(known_world(n, saved=saved_after(n, 0), last_round=1).run(0.0))


def holding(n: int, lacking: dict[int, set[int]]) -> dict[int, frozenset[int]]:
    """Each holder's dealers whose shares agree: all but those that it lacks."""
    return {holder: frozenset(range(n)) - lacking.get(holder, set()) for holder in range(n)}


def refused(turn: Turn) -> Turn:
    """The turn after a sum that was beyond the task's bounds."""
    return Turn(replace(turn.state, context=replace(turn.context, refused=True)), 1.0)


def in_round(turn: Turn, number: int) -> Turn:
    return Turn(replace(turn.state, context=replace(turn.context, round=number)), 1.0)


@pytest.mark.parametrize(
    ("lacking", "chosen"),
    [(set(), set(range(8))), ({3}, set(range(8)) - {3}), ({3, 4}, set(range(8)) - {3, 4}), ({3, 4, 5}, set(range(8)))],
)
def test_who_says_that_shares_are_lacking_keeps_at_most_t_dealers_out(lacking: set[int], chosen: set[int]) -> None:
    """n = 8: t = 2 dealers may really have kept their shares from a holder; more have not, unless it lies."""
    assert sets._largest_allowed(Turn(beginning(8), 1.0), holding(8, {7: lacking})) == chosen


def test_no_more_holders_are_waited_for_than_t_above_what_is_needed() -> None:
    """n = 9: eight of nine suffice, so that one holder alone keeps nobody out."""
    everybody = frozenset(range(9))
    assert sets._largest_allowed(Turn(beginning(9), 1.0), holding(9, {7: {3}})) == everybody
    assert sets._largest_allowed(Turn(beginning(9), 1.0), holding(9, {6: {3}, 7: {3}})) == everybody - {3}


def test_where_too_few_hold_shares_nothing_is_proposed() -> None:
    good = {holder: dealers for holder, dealers in holding(8, {}).items() if holder < 5}
    assert sets._largest_allowed(Turn(beginning(8), 1.0), good) is None
    assert sets._largest_allowed(Turn(beginning(8), 1.0), {}) is None


def test_after_an_abandoned_sum_more_than_t_are_left_out_for_a_set_that_all_cover() -> None:
    """One of them may have made it void; without holder 7 the same set could be made void again."""
    good = holding(8, {7: {3, 4, 5, 6}})
    state = beginning(8)
    assert sets._largest_allowed(Turn(state, 1.0), good) == frozenset(range(8))
    assert sets._largest_allowed(after_abandoned(state, set(range(8))), good) == {0, 1, 2, 7}


@pytest.mark.parametrize(
    ("lacking", "chosen"),
    [({}, {0, 1, 2}), ({3: {2}}, {0, 1, 2}), ({0: {3}, 3: {2}}, {0, 1, 2}), ({2: {2}, 3: {2}}, None)],
)
def test_the_abandoned_set_is_proposed_again_if_enough_holders_cover_it(
    lacking: dict[int, set[int]], chosen: set[int] | None
) -> None:
    turn = after_abandoned(beginning(4), {0, 1, 2})
    assert sets._best_allowed(turn, holding(4, lacking), 3) == chosen


@pytest.mark.parametrize("number", [2, 5])
def test_after_a_refused_sum_another_set_is_proposed_and_who_is_left_out_rotates(number: int) -> None:
    """n = 8: it differs by t + 2 = 4 members from the one that was refused."""
    turn, everybody = in_round(after_abandoned(beginning(8), set(range(8))), number), frozenset(range(8))
    assert sets._best_allowed(turn, holding(8, {}), 6) == everybody
    others = {number % 8, (number + 2) % 8, (number + 4) % 8, (number + 6) % 8}
    assert sets._best_allowed(refused(turn), holding(8, {}), 6) == others
    again = in_round(after_abandoned(beginning(8), set(range(8)), others), number + 1)
    assert sets._best_allowed(refused(again), holding(8, {}), 6) == everybody - others


@pytest.mark.parametrize(("n", "stuck"), [(6, 0), (8, 0), (9, 2), (12, 0)])
def test_one_member_that_spoils_sums_is_left_out_after_few_of_them(n: int, stuck: int) -> None:
    """Of an even number two sums fail at most; of an odd one the two halves are not both large enough."""
    lost = [sums_lost(n, culprit) for culprit in range(n)]
    assert lost.count(None) == stuck
    assert max(number for number in lost if number is not None) <= (2 if n % 2 == 0 else sets.MAX_SEEN)


def sums_lost(n: int, culprit: int) -> int | None:
    """How many sums are refused before one is over a set without this member; None if that never comes."""
    seen = [set(range(n))]
    while seen[-1] not in seen[:-1]:
        turn = refused(in_round(after_abandoned(beginning(n), *seen), len(seen) + 1))
        dealers = sets._best_allowed(turn, holding(n, {}), turn.context.parameters.min_holders)
        assert dealers is not None
        if culprit not in dealers:
            return len(seen)
        seen.append(set(dealers))
    return None


def test_where_no_other_set_is_allowed_the_refused_one_is_proposed_again() -> None:
    turn = refused(after_abandoned(beginning(4), {0, 1, 2, 3}))
    assert sets._best_allowed(turn, holding(4, {}), 3) == {0, 1, 2, 3}


def test_only_members_of_the_abandoned_sum_are_left_out_to_be_away_from_it() -> None:
    turn = in_round(after_abandoned(beginning(8), {0, 1, 2, 3}), 4)
    assert sets._away_from(turn, frozenset(range(6))) == {2, 3, 4, 5}


def test_the_largest_set_that_enough_cover_is_found_where_leaving_out_one_by_one_does_not() -> None:
    good = holding(8, {0: {3}, 3: {1, 5}, 6: {0}, 7: {1, 4}})
    assert sets.best_covered(good, 6) == {1, 2, 4, 5, 6, 7}


def test_of_many_holders_those_that_lack_most_are_not_asked_to_cover_the_set() -> None:
    good = holding(12, {3: {0, 1}, 5: {2}, 7: {4, 5, 6}})
    assert sets.best_covered(good, 9) == frozenset(range(12))
    assert sets.best_covered(good, 10) == frozenset(range(12)) - {2}
    assert sets.best_covered(good, 12) == frozenset(range(12)) - {0, 1, 2, 4, 5, 6}


def chosen_set(state: RoundState, holders: tuple[int, ...] = (0, 1, 2, 3)) -> SetValue | None:
    """What the proposer asks for by the Receipts of these holders."""
    turn = Turn(state, 1.0)
    found = turn.get(Freeze, state.context.proposer(0))
    assert found is not None
    receipts = {holder: receipt for holder, receipt in turn.all(Receipt).items() if holder in holders}
    return sets.choose_set(turn, 0, *found, receipts)


def test_a_dealer_that_is_false_or_whose_proof_answers_something_else_is_not_proposed(state: RoundState) -> None:
    everybody = chosen_set(state)
    assert everybody is not None
    assert everybody.dealers == {0, 1, 2, 3}
    for other in (replace(state, false_dealers=frozenset({1})), with_statement(state, Kind.PROOF, 1, freeze=D)):
        value = chosen_set(other)
        assert value is not None
        assert value.dealers == {0, 2, 3}
        assert [dealer for dealer, _ in value.deals] == [0, 2, 3]


def test_a_receipt_is_named_if_it_covers_the_set_and_is_of_this_freeze(state: RoundState) -> None:
    receipt = state.records(Kind.RECEIPT)[3].message
    assert isinstance(receipt, Receipt)
    others = tuple((dealer, D if dealer < 2 else name) for dealer, name in receipt.proofs)
    lacking = chosen_set(with_statement(state, Kind.RECEIPT, 3, proofs=others))
    unheard = chosen_set(state, holders=(0, 1, 2))
    for value in (lacking, unheard):
        assert value is not None
        assert value.dealers == {0, 1, 2, 3}
        assert [holder for holder, _ in value.receipts] == [0, 1, 2]
    assert chosen_set(state, holders=(0, 1)) is None


# --- which sets are confirmed ---------------------------------------------------------------------------------------


def test_a_set_is_confirmed_only_if_all_that_it_names_was_heard(state: RoundState) -> None:
    value = final_set(state)
    assert is_justified(state, value)
    assert is_justified(state, msgspec.structs.replace(value, receipts=value.receipts[:3])), "H_min suffice"
    assert is_justified(state, EMPTY_SET), "whether it may be proposed is judged before"
    dealer, holder = value.deals[0][0], value.receipts[0][0]

    def without(kind: Kind, member: int) -> RoundState:
        key = (kind, 0, 0)
        kept = {i: record for i, record in state.heard[key].items() if i != member}
        named = {name: r for name, r in state.by_digest.items() if name[0] != member or r.message.key != key}
        return replace(state, heard={**state.heard, key: kept}, by_digest=named)

    for lacking in (
        without(Kind.FREEZE, state.context.proposer(0)),
        without(Kind.PROOF, dealer),
        without(Kind.RECEIPT, holder),
        replace(state, false_dealers=frozenset({dealer})),
    ):
        assert not is_justified(lacking, value)
    for other in (
        msgspec.structs.replace(value, freeze=D),
        msgspec.structs.replace(value, deals=((dealer, D), *value.deals[1:])),
        msgspec.structs.replace(value, proofs=((dealer, D), *value.proofs[1:])),
        msgspec.structs.replace(value, receipts=value.receipts[:2]),
        msgspec.structs.replace(value, receipts=((holder, D), *value.receipts[1:])),
    ):
        assert not is_justified(state, other)


def test_a_set_of_another_freeze_is_not_confirmed(state: RoundState) -> None:
    """Its proposer has two faces: all else that the set names is known and answers the Freeze that others heard."""
    (proposer, heard), *_ = state.records(Kind.FREEZE).items()
    other = {**state.heard, (Kind.FREEZE, 0, 0): {proposer: replace(heard, digest=D)}}
    assert not is_justified(replace(state, heard=other), final_set(state))


def test_a_set_that_may_single_somebody_out_is_not_confirmed_whatever_was_heard(state: RoundState) -> None:
    assert not is_justified(after_abandoned(state, {0, 1, 2}).state, final_set(state))


def test_a_proof_of_another_freeze_justifies_no_set(state: RoundState) -> None:
    assert not is_justified(with_statement(state, Kind.PROOF, 1, freeze=D), final_set(state))


def test_a_receipt_of_another_freeze_covers_no_set(state: RoundState) -> None:
    holder, _ = final_set(state).receipts[0]
    assert not is_justified(with_statement(state, Kind.RECEIPT, holder, freeze=D), final_set(state))


def test_a_receipt_that_lacks_a_dealer_covers_no_set_with_it(state: RoundState) -> None:
    holder, _ = final_set(state).receipts[0]
    receipt = state.records(Kind.RECEIPT)[holder].message
    assert isinstance(receipt, Receipt)
    assert not is_justified(with_statement(state, Kind.RECEIPT, holder, proofs=receipt.proofs[1:]), final_set(state))
