"""Which dealer sets are proposed, and which are confirmed; each with one thing amiss."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from gossip import sets
from gossip.messages import ABANDONED, SET, Receipt, SetValue
from gossip.results import is_history, result_digest
from gossip.state import RoundState, Turn
from gossip.statements import Kind
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


@pytest.mark.parametrize(
    ("lacking", "chosen"),
    [(set(), set(range(8))), ({3}, set(range(8)) - {3}), ({3, 4}, set(range(8)) - {3, 4}), ({3, 4, 5}, set(range(8)))],
)
def test_who_says_that_shares_are_lacking_keeps_at_most_t_dealers_out(lacking: set[int], chosen: set[int]) -> None:
    """n = 8: t = 2 dealers may really have kept their shares from a holder; more have not, unless it lies."""
    world = known_world(8, saved=saved_after(8, 0), last_round=1).run(0.0)
    turn = Turn(state_of(world), 1.0)
    good = {holder: frozenset(range(8)) - (lacking if holder == 7 else set()) for holder in range(8)}
    assert sets._largest_allowed(turn, good) == chosen


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


def test_members_proven_false_in_earlier_rounds_have_nothing_to_hide() -> None:
    """Otherwise a false dealer that is gone would keep four members from ever having another sum."""
    world = known_world(4, saved=saved_after(4, 0), last_round=1).run(0.0)
    turn = after_abandoned(state_of(world), {0, 1, 2, 3})
    assert not sets.is_allowed(turn, frozenset({0, 1, 2}))
    named = replace(turn.state, context=replace(turn.context, named=frozenset({3})))
    assert sets.is_allowed(Turn(named, 1.0), frozenset({0, 1, 2}))


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


# --- which sets are confirmed ---------------------------------------------------------------------------------------


def test_a_set_is_confirmed_only_if_all_that_it_names_was_heard(state: RoundState) -> None:
    value = final_set(state)
    assert is_justified(state, value)
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
