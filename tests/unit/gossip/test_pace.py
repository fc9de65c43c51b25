"""How long a round waits: what the rounds before it took, between bounds; who still works longer, who is gone not."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from gossip.events import Missed
from gossip.pace import FACTOR, ROUNDS, Pace, adapt
from gossip.state import Timing
from sim.scenario import Scenario
from sim.world import World
from tests.helpers.worlds import assert_agreement, known_world

TIMING = Timing(train_seconds=40.0, shortest_seconds=3.0, silence_seconds=2.5, grace_seconds=0.1)
SLOW = 3
spans = st.lists(st.floats(0, 1000), max_size=ROUNDS).map(tuple)


@given(st.builds(Pace, spans, spans, spans, spans, spans))
def test_no_wait_leaves_its_bounds(pace: Pace) -> None:
    found = adapt(TIMING, pace)
    for field in fields(Timing):
        longest, wait = getattr(TIMING, field.name), getattr(found, field.name)
        if field.name != "longest_train_seconds":
            assert min(longest, TIMING.shortest_seconds) <= wait <= longest
    assert found.longest_train_seconds == TIMING.train_seconds


def test_a_wait_is_a_multiple_of_the_slowest_recent_round() -> None:
    assert adapt(TIMING, Pace()).train_seconds == TIMING.train_seconds
    assert adapt(TIMING, Pace(train=(0.1, 2.0, 0.3))).train_seconds == FACTOR * 2.0
    assert adapt(TIMING, Pace(train=(0.1,))).train_seconds == TIMING.shortest_seconds
    assert adapt(TIMING, Pace(train=(0.1, 30.0))).train_seconds == TIMING.train_seconds


def world(seconds: float, *, hanging: frozenset[int] = frozenset()) -> World:
    """Three quick members and one that trains for so long in the last of several rounds."""
    scenario = Scenario(timing=TIMING, notice_seconds=None)
    quick = known_world(4, rounds=3, last_round=2, scenario=scenario).run(300)
    scenario = Scenario(timing=TIMING, notice_seconds=None, training_seconds={SLOW: seconds}, hanging=hanging)
    slow = known_world(4, rounds=3, last_round=3, scenario=scenario, saved=quick.save())
    for node, before in zip(slow.nodes, quick.nodes, strict=True):
        assert before.session is not None
        node.pace = before.session.pace
    return slow.run(300)


def test_who_still_trains_is_waited_for_beyond_what_the_others_took() -> None:
    found = world(20.0)
    assert_agreement(found)
    assert SLOW in found.nodes[0].results[3].dealer_set
    assert not list(found.effects(Missed))


def test_who_gives_no_sign_of_work_costs_no_more_than_the_others_took() -> None:
    found = world(20.0, hanging=frozenset({SLOW}))
    assert SLOW not in found.nodes[0].results[3].dealer_set
    assert TIMING.shortest_seconds <= first_missed_deal(found) <= TIMING.shortest_seconds + 1.0


def first_missed_deal(world: World) -> float:
    """When somebody first waited in vain for the slow member's Deal."""
    found = ((at, e) for at, _, e in world.effects(Missed) if isinstance(e, Missed))
    return next(at for at, e in found if (e.phase, e.members) == ("DEAL", (SLOW,)))


def test_who_trains_for_ever_is_waited_for_up_to_the_longest_time() -> None:
    scenario = Scenario(timing=TIMING, training_seconds={SLOW: 50.0})
    found = known_world(4, rounds=2, last_round=2, scenario=scenario).run(1000)
    assert all(result.dealer_set >= {0, 1, 2} for result in found.nodes[0].results.values())
    longest = TIMING.train_seconds + TIMING.silence_seconds
    assert TIMING.train_seconds <= first_missed_deal(found) <= longest + 1.0
