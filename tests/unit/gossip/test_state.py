"""What a turn may say."""

from __future__ import annotations

from gossip.events import Announce
from gossip.messages import Deal
from gossip.state import Turn
from gossip.statements import Kind
from tests.helpers.worlds import known_world, state_of


def test_a_member_says_the_first_of_two_things() -> None:
    turn = Turn(state_of(known_world(4).run(0.0)), 1.0)
    context = turn.context
    first, second = (Deal(context.config, context.round, context.model, (bytes([i]) * 32,) * 4) for i in range(2))
    turn.say(first)
    turn.say(second)
    assert turn.state.records(Kind.DEAL)[context.me].message == first
    assert [type(effect) for effect in turn.effects] == [Announce]
