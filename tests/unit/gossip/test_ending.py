"""Which answers open a score, which result is confirmed, and when a round is over."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from gossip import ending
from gossip.events import Settled
from gossip.state import RoundState, Turn
from gossip.statements import Kind
from gossip.values import (
    ABANDONED,
    OUTCOME,
    SETTLED,
    OutcomeValue,
)
from tests.helpers.worlds import settled_world, state_of, with_statement

D = bytes(32)
MEMBER = 2


@pytest.fixture
def state() -> RoundState:
    return state_of(settled_world())


@pytest.mark.parametrize("change", [{"scored": 9}, {"direction": D}, None], ids=["round", "direction", "proven false"])
def test_an_answer_counts_if_it_is_of_this_round_and_direction_and_of_nobody_proven_false(
    state: RoundState, change: dict[str, object] | None
) -> None:
    everybody = set(state.records(Kind.SCORE))
    scored, decoded = state.context.scored, state.decoded
    assert scored is not None
    assert decoded is not None
    assert set(ending._answers(Turn(state, 1.0), scored[0], decoded[2])) == everybody
    proven = replace(state, evidence={MEMBER: ()})
    other = proven if change is None else with_statement(state, Kind.SCORE, MEMBER, **change)
    assert set(ending._answers(Turn(other, 1.0), scored[0], decoded[2])) == everybody - {MEMBER}


def test_who_can_decode_confirms_no_abandoned(state: RoundState) -> None:
    previous = state.context.previous
    assert previous is not None
    settled = msgspec.structs.replace(previous, round=2, outcome=SETTLED, scores=None)
    scored = msgspec.structs.replace(settled, scores=(1, 2, 3, 4))
    abandoned = msgspec.structs.replace(settled, outcome=ABANDONED)
    known = replace(state, composed=(settled, scored, abandoned), decoded=None, scores=None)
    decoded = replace(known, decoded=(D, "", D))
    refused = replace(known, decoded=(None, "the average update is longer than its clip norm", b""))
    opened = replace(decoded, scores=(1, 2, 3, 4))

    def accepted(given: RoundState) -> list[bool]:
        turn = Turn(given, 1.0)
        return [ending.is_acceptable(turn, 0, OutcomeValue(r)) for r in (settled, scored, abandoned)]

    assert accepted(decoded) == [True, True, False]
    assert accepted(opened) == [False, True, False]
    assert accepted(known)[2]
    assert accepted(refused)[2]


def test_nobody_confirms_a_result_that_it_has_not_come_to_by_itself(state: RoundState) -> None:
    final = state.agreements[OUTCOME].final
    assert final is not None
    value = final[1]
    assert isinstance(value, OutcomeValue)
    assert ending.is_acceptable(Turn(state, 1.0), 0, value)
    forged = OutcomeValue(msgspec.structs.replace(value.result, model=D))
    assert not ending.is_acceptable(Turn(state, 1.0), 0, forged)


@pytest.mark.parametrize("signers", [2, 3])
def test_a_round_ends_when_a_quorum_has_signed(state: RoundState, signers: int) -> None:
    some = dict(list(sorted(state.records(Kind.SIGN).items()))[:signers])
    turn = Turn(replace(state, result=None, heard={**state.heard, (Kind.SIGN, 0, 0): some}), 1.0)
    ending.settle(turn)
    assert any(isinstance(effect, Settled) for effect in turn.effects) is (signers == 3)
    assert (turn.state.result == state.result) is (signers == 3)
