"""From the Freeze to the Receipt: which challenges a dealer answers, and which shares a holder judges."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import structs

from gossip import round as one_round
from gossip.events import Announce, CheckShare, Effect, FetchShare, Heard, Prove
from gossip.messages import Envelope, Freeze, decode_message
from gossip.state import RoundState
from gossip.statements import Kind
from sim.node import SimulatedNode
from sim.scenario import Scenario
from sim.world import World
from tests.helpers.liars import signed
from tests.helpers.worlds import known_world, saved_after

PROPOSER = 2
ME = 0


def keep_back(kinds: set[Kind], kept: list[Effect]) -> Callable[[SimulatedNode, list[Effect]], list[Effect]]:
    """Say nothing of these kinds."""

    def lie(node: SimulatedNode, effects: list[Effect]) -> list[Effect]:
        held = [e for e in effects if isinstance(e, Announce) and decode_message(e.envelope.body).kind in kinds]
        kept.extend(held)
        return [effect for effect in effects if effect not in held]

    return lie


@pytest.fixture
def dealt() -> tuple[World, Freeze]:
    """A round in which everybody has dealt, and the Freeze that its proposer has told nobody of."""
    kept: list[Effect] = []
    scenario = Scenario(lies={PROPOSER: keep_back({Kind.FREEZE}, kept)}, exchange_seconds=1e9)
    world = known_world(4, saved=saved_after(4, 1), scenario=scenario)
    while not kept:
        world.run_on(0.001)
    world.run_on(0.2)
    assert isinstance(kept[0], Announce)
    freeze = decode_message(kept[0].envelope.body)
    assert isinstance(freeze, Freeze)
    return world, freeze


def state_of(world: World) -> RoundState:
    session = world.nodes[ME].session
    assert session is not None
    return session.current


def after_freeze(world: World, state: RoundState, freeze: Freeze) -> list[Effect]:
    _, effects = one_round.step(state, Heard(signed(world.nodes[PROPOSER], freeze)), world.now)
    return effects


def test_a_dealer_answers_for_the_deal_that_it_signed_and_for_no_other(dealt: tuple[World, Freeze]) -> None:
    world, freeze = dealt
    state = state_of(world)
    assert any(isinstance(effect, Prove) for effect in after_freeze(world, state, freeze))
    other = tuple((dealer, bytes(32) if dealer == ME else name) for dealer, name in freeze.deals)
    forged = after_freeze(world, state, structs.replace(freeze, deals=other))
    assert not any(isinstance(effect, Prove) for effect in forged)
    without_me = after_freeze(world, state, structs.replace(freeze, deals=freeze.deals[1:]))
    assert not any(isinstance(effect, Prove) for effect in without_me)


def test_a_share_that_has_not_arrived_is_asked_for_and_not_judged(dealt: tuple[World, Freeze]) -> None:
    world, freeze = dealt
    state = state_of(world)
    dealer = 1
    state = state.copy()
    state.shares[dealer] = frozenset({bytes(32)})  # something else came instead
    effects = after_freeze(world, state, freeze)
    assert [effect.dealer for effect in effects if isinstance(effect, FetchShare)] == [dealer]
    assert all(effect.dealer != dealer for effect in effects if isinstance(effect, CheckShare))
    proof = next(e for e in _proofs(world, freeze) if e.sender == dealer)
    state, _ = one_round.step(state, Heard(signed(world.nodes[PROPOSER], freeze)), world.now)
    _, effects = one_round.step(state, Heard(proof), world.now)
    assert not any(isinstance(effect, CheckShare) and effect.dealer == dealer for effect in effects)


def _proofs(world: World, freeze: Freeze) -> list[Envelope]:
    """Every member's Proof under the freeze."""
    found = []
    for node in world.nodes:
        assert node.session is not None
        state, effects = one_round.step(node.session.current, Heard(signed(world.nodes[PROPOSER], freeze)), world.now)
        for effect in [effect for effect in effects if isinstance(effect, Prove)]:
            event = node.workshop.perform(effect)
            assert event is not None
            _, said = one_round.step(state, event, world.now)
            found += [e.envelope for e in said if isinstance(e, Announce) and e.envelope.sender == node.me]
    return [envelope for envelope in found if decode_message(envelope.body).kind is Kind.PROOF]
