"""From round to round: who was away catches up, a restart changes nothing, and abandoned sums are remembered."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from gossip import session as sessions
from gossip.events import Announce, Dealt, Effect, Event, FetchShare, Heard, LaggedBehind, PeerDown, PeerUp, Ticked
from gossip.messages import Envelope, Open, decode_message
from gossip.results import result_digest, result_signing_digest
from gossip.session import RoundStart, Session
from gossip.statements import Kind
from gossip.values import RoundResult
from sim.node import Saved, SimulatedNode
from sim.scenario import Crash, Scenario
from sim.world import World
from tests.helpers.liars import signed
from tests.helpers.worlds import known_world, saved_after

LIAR = 3


def later_open(world: World, sender: int, **changes: object) -> Envelope:
    """An Open of round 2, as who settled round 1 makes it."""
    start = known_world(4, saved=saved_after(4, 0), last_round=1).run(300).nodes[1].next_start
    assert start is not None
    config = world.nodes[0].identity.config
    opened = Open(config, 2, 1, start.model, start.previous, start.signatures, start.cumulative, ())
    return signed(world.nodes[sender], msgspec.structs.replace(opened, **changes))


def test_a_lie_about_rewards_keeps_nobody_from_catching_up() -> None:
    world = known_world(4, last_round=2).run(0.0)
    session = world.nodes[0].session
    assert session is not None
    session, effects = sessions.step(session, Heard(later_open(world, LIAR, cumulative=(b"\1" * 16,) * 4)), 1.0)
    assert not effects
    session, effects = sessions.step(session, Heard(later_open(world, 2)), 1.0)
    assert [type(effect) for effect in effects] == [LaggedBehind]


def test_who_restarts_while_catching_up_still_catches_up() -> None:
    world = known_world(4, last_round=2).run(0.0)
    session = world.nodes[0].session
    assert session is not None
    session, effects = sessions.step(session, Heard(later_open(world, 2)), 1.0)
    assert [effect for effect in sessions.resume(session) if isinstance(effect, LaggedBehind)] == effects


# --- restarts -------------------------------------------------------------------------------------------------------


def replay(node: SimulatedNode, log: list[tuple[float, Event]]) -> Session:
    session, _ = sessions.start(node.identity, node.begun_with, 0.0)
    for at, event in log:
        session, _ = sessions.step(session, event, at)
    return session


def frozen(effects: list[Effect]) -> list[Envelope]:
    said = [effect.envelope for effect in effects if isinstance(effect, Announce)]
    return [envelope for envelope in said if decode_message(envelope.body).kind is Kind.FREEZE]


def test_a_wait_that_ends_during_a_restart_is_logged_before_it_is_acted_upon() -> None:
    """Otherwise the next restart replays another story, and the member says two things."""
    me = known_world(4, saved=saved_after(4, 0), last_round=1).run(3.0).nodes[1]  # proposes in round 1

    def is_kept(event: Event) -> bool:
        if not isinstance(event, Heard):
            return isinstance(event, Dealt)
        return decode_message(event.envelope.body).kind in (Kind.OPEN, Kind.DEAL) and event.envelope.sender != LIAR

    log = [(at, event) for at, event in me.log if is_kept(event)]
    deadline = replay(me, log).current.timers["freeze"]
    log.append((deadline - 0.01, PeerUp(0)))  # what the log ends with when the node is killed
    session = replay(me, log)
    assert not frozen(sessions.resume(session))
    log.append((deadline + 0.02, Ticked()))
    session, effects = sessions.step(session, Ticked(), deadline + 0.02)
    (first,) = frozen(effects)
    assert frozen(sessions.resume(replay(me, log))) == [first]


@pytest.mark.parametrize("seconds", [0.02, 0.2, 0.5, 1.0, 3.0])
def test_a_restart_leaves_the_state_that_the_log_gives(seconds: float) -> None:
    for node in known_world(4, saved=saved_after(4, 0), last_round=1).run(seconds).nodes:
        session = replay(node, node.log)
        before = repr(session.current)
        said = [effect.envelope for effect in sessions.resume(session) if isinstance(effect, Announce)]
        assert repr(session.current) == before
        assert set(said) == {e for e in session.current.envelopes() if e.sender == node.me}


def test_a_restart_fetches_again_whatever_was_asked_for_and_is_not_here() -> None:
    """Also from a member that was down when the log ended: nothing asks for it a second time."""
    asked = 0
    for node in known_world(4, saved=saved_after(4, 0), last_round=1).run(300).nodes:
        for at in range(len(node.log)):
            session = replay(node, node.log[:at])
            wanted = [fetch for fetch in session.current.asked if session.current.lacks(fetch)]
            for fetch in wanted:
                asked += 1
                holder = fetch.dealer if isinstance(fetch, FetchShare) else fetch.holder
                log = [*node.log[:at], (node.log[at][0], PeerDown(holder))]
                assert fetch in sessions.resume(replay(node, log))
    assert asked


# --- abandoned rounds -----------------------------------------------------------------------------------------------


def after_abandoned(n: int, *seen: int) -> tuple[Saved, ...]:
    """Disks at the beginning of a round, after as many that were abandoned with these sums."""
    base = known_world(n, last_round=0).run(300)
    start = base.save()[0].start
    results = [start.previous]
    for number, dealers in enumerate(seen, start=1):
        last = results[0]
        assert last is not None
        results.insert(0, RoundResult(
            number, 1, 2, result_digest(last), last.config, dealers, start.model, bytes(32), None, last.rewards,
            last.rewards_total,
        ))  # fmt: skip
    last, *history = results
    assert last is not None
    digest = result_signing_digest(last, base.nodes[0].identity.domain)
    signatures = tuple((node.me, node.identity.sign(digest)) for node in base.nodes)
    before = tuple(result for result in history if result is not None)
    begin = RoundStart(len(seen) + 1, start.model, last, signatures, start.cumulative, before)
    return tuple(Saved(begin, saved.blobs) for saved in base.save())


def world_after(n: int, *seen: int, scenario: Scenario | None = None) -> World:
    saved = after_abandoned(n, *seen)
    return known_world(n, rounds=6, saved=saved, last_round=len(seen) + 1, scenario=scenario).run(1000)


def settled_sets(world: World) -> set[tuple[int, frozenset[int]]]:
    last = [node.results[world.last_round] for node in world.nodes if node.is_up]
    return {(result.outcome, result.dealer_set) for result in last}


@pytest.mark.parametrize(
    ("n", "seen", "expected"),
    [
        (4, (0b0111,), {0, 1, 2}),
        (4, (0b1111,), {0, 1, 2, 3}),
        (8, (0b0111_1111,), {0, 1, 2, 3, 4, 5, 6}),
        (8, (0b0000_1111, 0b1111_0001), {0, 4, 5, 6, 7}),
    ],
)
def test_after_an_abandoned_sum_the_same_members_are_proposed_although_more_have_dealt(
    n: int, seen: tuple[int, ...], expected: set[int]
) -> None:
    assert settled_sets(world_after(n, *seen)) == {(1, frozenset(expected))}


def test_where_a_member_of_the_abandoned_sum_is_gone_a_distant_set_is_proposed() -> None:
    """n = 8: without member 7 the largest set differs from all eight by one; four members differ by four."""
    world = world_after(8, 0xFF, scenario=Scenario(crashes=(Crash(7, 0),)))
    ((outcome, dealers),) = settled_sets(world)
    assert (outcome, len(dealers)) == (1, 4)
    assert 7 not in dealers


def test_who_was_away_learns_the_abandoned_rounds_from_the_open() -> None:
    """It is needed: without it four of six confirm, and five have to."""
    saved = list(after_abandoned(6, 0b10_1111, 0b10_0011))
    away = 4
    saved[away] = Saved(known_world(6, last_round=0).run(300).save()[away].start, saved[away].blobs)
    scenario = Scenario(crashes=(Crash(3, 0),))
    world = known_world(6, rounds=6, saved=saved, last_round=3, scenario=scenario).run(1000)
    assert settled_sets(world) == {(1, frozenset({0, 1, 2, 4}))}


def test_an_older_sum_that_is_abandoned_again_is_named_by_everybody_alike() -> None:
    """The empty set names the last sum that may have been seen, whichever round it was first seen in."""
    world = world_after(4, 0b0111, 0b1110, 0b0111)
    context = world.nodes[0].session.current.context  # type: ignore[union-attr]
    assert context.last_seen == {0, 1, 2}


@pytest.mark.parametrize("was_here", [True, False])
def test_what_was_abandoned_is_carried_until_the_model_changes(was_here: bool) -> None:
    (saved, *_) = after_abandoned(8, 0x0F)
    node = known_world(8, rounds=2, saved=(saved,) * 8, last_round=2).run(0.0).nodes[0]
    last = saved.start.previous
    assert last is not None
    again = msgspec.structs.replace(last, round=2, dealers=0xF0, previous=result_digest(last))
    history = (last, *saved.start.history)
    if was_here:
        start = node.workshop.next_start(again, ())
    else:
        opened = Open(last.config, 3, 0, last.model, again, (), saved.start.cumulative, history)
        start = node.workshop.start_from(opened)
    assert start.history == history
    settled = msgspec.structs.replace(again, outcome=1)
    assert node.workshop.next_start(settled, ()).history == ()


def test_conduct_is_carried_by_a_copy() -> None:
    node = known_world(4).run(0.0).nodes[0]
    assert node.session is not None
    blamed = replace(node.session.current, blamed=frozenset({(2, "equivocation")}))
    once, _ = sessions.memory_after(replace(node.session, current=blamed), node.identity.committee)
    assert (once.once, once.again) == ({2}, frozenset())
    twice, _ = sessions.memory_after(replace(node.session, current=blamed, conduct=once), node.identity.committee)
    assert (twice.once, twice.again) == ({2}, {2})
