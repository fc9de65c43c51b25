"""Which second versions are kept: those that others go by, so that few lies take little memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gossip import versions
from gossip.messages import (
    Commit,
    Confirm,
    Deal,
    Freeze,
    Message,
    Proof,
    Propose,
    Receipt,
)
from gossip.state import Record, RoundState, Turn
from gossip.values import SET, SetValue, value_digest
from sim.world import World
from tests.helpers.worlds import known_world, recorded, saved_after, state_of

D = bytes(32)
ROUND, PROPOSER, LIAR = 2, 2, 3
VALUE = SetValue(D, ((0, D), (1, D), (2, D)), ((0, D), (1, D), (2, D)), ((0, D), (1, D), (2, D)))


@pytest.fixture
def world() -> World:
    return known_world(4, saved=saved_after(4, 1)).run(0.0)


def said(world: World, member: int, message: Message) -> Record:
    return recorded(world.nodes[member], message)


Build = Callable[[bytes, RoundState], Message]
NAMED: dict[str, tuple[Build, Callable[[bytes], SetValue]]] = {
    "Deal": (
        lambda config, state: Deal(config, ROUND, state.context.model, (D,) * 4),
        lambda name: SetValue(D, ((LIAR, name),), ((LIAR, D),), ()),
    ),
    "Proof": (
        lambda config, state: Proof(config, ROUND, 0, D, bytes(state.context.proof_bytes)),
        lambda name: SetValue(D, ((LIAR, D),), ((LIAR, name),), ()),
    ),
    "Receipt": (
        lambda config, state: Receipt(config, ROUND, 0, D, ()),
        lambda name: SetValue(D, (), (), ((LIAR, name),)),
    ),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_second_version_is_kept_if_a_set_names_it(world: World, kind: str) -> None:
    state = state_of(world)
    build, naming = NAMED[kind]
    second = said(world, LIAR, build(state.context.config, state))
    assert not versions.is_relied_upon(state, second)
    value = naming(second.digest)
    named = replace(state, values={value_digest(value): value})
    assert versions.is_relied_upon(named, second)
    known = replace(named, by_digest={(LIAR, second.digest): second})
    assert not versions.is_relied_upon(known, second), "it is here already"


def test_a_second_deal_is_kept_if_a_freeze_names_it(world: World) -> None:
    state = state_of(world)
    config = state.context.config
    second = said(world, LIAR, Deal(config, ROUND, state.context.model, (D,) * 4))
    for name in (D, second.digest):
        turn = Turn(state, 1.0)
        turn.keep(PROPOSER, said(world, PROPOSER, Freeze(config, ROUND, 0, ((0, D), (1, D), (LIAR, name)))))
        assert versions.is_relied_upon(turn.state, second) is (name != D)


@pytest.mark.parametrize("vote", [Confirm, Commit])
def test_a_second_value_is_learnt_and_voted_for_once_t_and_one_members_vote_for_it(
    world: World, vote: type[Confirm | Commit]
) -> None:
    turn = Turn(state_of(world), 1.0)
    config, name = turn.context.config, value_digest(VALUE)
    propose = said(world, PROPOSER, Propose(config, ROUND, 0, SET, VALUE, ()))
    second_vote = said(world, LIAR, vote(config, ROUND, 0, SET, name))
    for voters in range(3):
        assert versions.is_relied_upon(turn.state, propose) is (voters >= 2)
        assert versions.is_relied_upon(turn.state, second_vote) is (voters >= 2)
        turn.keep(voters, said(world, voters, vote(config, ROUND, 0, SET, name)))
    versions.keep(turn, propose)
    versions.keep(turn, second_vote)
    assert turn.state.values == {name: VALUE}
    assert turn.state.second_votes == (second_vote,)
    assert not versions.is_relied_upon(turn.state, propose)
    assert not versions.is_relied_upon(turn.state, second_vote)


def test_votes_for_another_value_or_attempt_or_agreement_do_not_count(world: World) -> None:
    turn = Turn(state_of(world), 1.0)
    config, name = turn.context.config, value_digest(VALUE)
    propose = said(world, PROPOSER, Propose(config, ROUND, 0, SET, VALUE, ()))
    for voter in range(2):
        for attempt, subject, value in ((0, SET, D), (1, SET, name), (0, 1 - SET, name)):
            turn.keep(voter, said(world, voter, Confirm(config, ROUND, attempt, subject, value)))
    assert not versions.is_relied_upon(turn.state, propose)
