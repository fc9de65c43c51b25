"""Whose partial sums, pieces and answers count when a sum is opened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossip import reveal
from gossip.events import Blame, PieceChecked
from gossip.messages import Check, Piece
from gossip.state import RoundState, Turn
from gossip.statements import Kind
from gossip.values import SET, value_digest
from tests.helpers.worlds import recorded, settled_world, state_of, with_statement

D = bytes(32)
MEMBER = 2
WORDS = bytes(18)


@pytest.fixture
def state() -> RoundState:
    return state_of(settled_world())


def final_name(state: RoundState) -> bytes:
    final = state.agreements[SET].final
    assert final is not None
    return value_digest(final[1])


def proven(state: RoundState) -> RoundState:
    """The state in which the member has shown itself false."""
    return replace(state, evidence={MEMBER: ()})


def test_a_partial_sum_counts_if_it_is_over_the_final_set_and_of_nobody_proven_false(state: RoundState) -> None:
    everybody, name = set(state.records(Kind.REVEAL)), final_name(state)
    assert set(reveal.revealed(Turn(state, 1.0), name)) == everybody
    for other in (with_statement(state, Kind.REVEAL, MEMBER, value=D), proven(state)):
        assert set(reveal.revealed(Turn(other, 1.0), name)) == everybody - {MEMBER}


def test_a_piece_counts_if_it_is_of_the_sum_over_the_final_set(state: RoundState) -> None:
    for value in (final_name(state), D):
        turn = Turn(state, 1.0)
        piece = Piece(state.context.config, state.context.round, value, D)
        turn.keep(MEMBER, recorded(settled_world().nodes[MEMBER], piece))
        assert reveal._pieces(turn, final_name(state)) == ({} if value == D else {MEMBER: D})


@pytest.mark.parametrize("case", ["true", "another set", "proven false"])
def test_an_answer_counts_if_it_is_over_the_final_set_and_of_nobody_proven_false(state: RoundState, case: str) -> None:
    turn = Turn(proven(state) if case == "proven false" else state, 1.0)
    value = D if case == "another set" else final_name(state)
    check = Check(state.context.config, state.context.round, value, ((0, D, WORDS),))
    turn.keep(MEMBER, recorded(settled_world().nodes[MEMBER], check))
    assert reveal._answers(turn, final_name(state)) == ({(0, D): [(MEMBER, WORDS)]} if case == "true" else {})


@pytest.mark.parametrize("is_true", [True, False])
def test_a_piece_is_taken_if_it_is_true_and_else_its_maker_is_named(state: RoundState, is_true: bool) -> None:
    turn = Turn(replace(state, rebuilt={}), 1.0)
    reveal.note_checked(turn, PieceChecked(MEMBER, D, is_true, ()))
    assert turn.state.rebuilt == ({MEMBER: D} if is_true else {})
    assert turn.state.false_pieces == (frozenset() if is_true else {MEMBER})
    assert [effect.member for effect in turn.effects if isinstance(effect, Blame)] == ([] if is_true else [MEMBER])
