"""Catching up with an agreement: who is behind moves on with the others, and learns what became final without it."""

from __future__ import annotations

from gossip import round as one_round
from gossip.events import Announce, Heard, Tell
from gossip.messages import Status, decode_message
from gossip.state import RoundState
from gossip.statements import Kind
from gossip.values import SET
from sim.node import SimulatedNode
from sim.world import World
from tests.helpers.liars import signed
from tests.helpers.worlds import known_world, saved_after

ME, LATER = 0, 3


def state_of(node: SimulatedNode) -> RoundState:
    assert node.session is not None
    return node.session.current


def hear_status(world: World, state: RoundState, sender: int) -> tuple[RoundState, list[object]]:
    node = world.nodes[sender]
    status = Status(node.identity.config, state.context.round, LATER, SET, None)
    following, effects = one_round.step(state, Heard(signed(node, status)), world.now)
    return following, list(effects)


def test_t_plus_1_statuses_of_a_later_attempt_take_a_member_there_and_t_do_not() -> None:
    """Protocol analysis, P12: without such a rule members in different attempts never meet."""
    world = known_world(4, saved=saved_after(4, 1)).run(0.0)
    state, effects = hear_status(world, state_of(world.nodes[ME]), 1)
    assert state.agreements[SET].attempt == 0
    assert not effects
    state, effects = hear_status(world, state, 3)
    assert state.agreements[SET].attempt == LATER
    said = [decode_message(effect.envelope.body).key for effect in effects if isinstance(effect, Announce)]
    assert (Kind.STATUS, LATER, SET) in said


def test_who_asks_after_a_set_became_final_is_told_what_makes_it_final() -> None:
    """Protocol analysis, P12: the others go on to reveal, and no later attempt would bring the set to who is behind."""
    world = known_world(4, saved=saved_after(4, 1)).run(0.0)
    behind = state_of(world.nodes[ME])
    while (knows := state_of(world.nodes[1])).agreements[SET].final is None:
        world.run_on(0.001)
    _, effects = hear_status(world, knows, ME)
    [told] = [effect for effect in effects if isinstance(effect, Tell)]
    assert told.member == ME
    for envelope in told.envelopes:
        behind, _ = one_round.step(behind, Heard(envelope), world.now)
    assert behind.agreements[SET].final == knows.agreements[SET].final
