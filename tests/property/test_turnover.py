"""Rounds whose committees change: whoever comes and goes, all agree, and the records bear them out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossip import layout
from gossip.review import review
from gossip.values import SETTLED
from sim.scenario import Crash, Scenario
from sim.world import World
from tests.helpers import liars
from tests.helpers.worlds import known_world

JOIN_AND_LEAVE = ((0, frozenset({0, 1, 2, 3})), (2, frozenset(range(5))), (4, frozenset({0, 2, 3, 4})))
MANY = ((0, frozenset(range(6))), (2, frozenset(range(9))), (3, frozenset({1, 2, 4, 5, 6, 7, 8})))
ROUNDS = 5


@pytest.fixture(autouse=True)
def pieces_of_small_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "PIECES_FROM_WORDS", 1)


def turning_world(turnover: tuple[tuple[int, frozenset[int]], ...], **options: object) -> World:
    n = max(max(members) for _, members in turnover) + 1
    return known_world(n, rounds=ROUNDS, turnover=turnover, **options)  # type: ignore[arg-type]


def assert_all_agree(world: World) -> None:
    evidence = {name: data for node in world.nodes for name, data in node.evidence.items()}
    for round_id in range(world.last_round + 1):
        committee = world.nodes[0].identity.committee_of(round_id)
        results = {node.results[round_id] for node in world.nodes if round_id in node.results}
        assert len(results) == 1, f"round {round_id} has {len(results)} results"
        result = results.pop()
        assert (result.round, result.config) == (round_id, committee.config)
        assert result.dealers & ~committee.bitmap(range(len(committee.seats))) == 0
        assert len(result.scores or committee.signers) == len(committee.signers)
        records = [node.records[round_id] for node in world.nodes if round_id in node.records]
        auditor = replace(world.nodes[0].identity, committee=committee)
        assert review(records, auditor, evidence.get, bytes(32)).findings == (), f"round {round_id}"
    assert not world.contradictions


@pytest.mark.parametrize("turnover", [JOIN_AND_LEAVE, MANY], ids=["four", "many"])
@pytest.mark.parametrize("seed", range(3))
def test_members_that_come_and_go_leave_one_history(
    turnover: tuple[tuple[int, frozenset[int]], ...], seed: int
) -> None:
    world = turning_world(turnover, seed=seed, scenario=Scenario(loss=0.05)).run(1000)
    assert_all_agree(world)
    last = world.plan[-1]
    for index in last.seats:
        assert world.last_round in world.nodes[index].results
    assert world.blamed() == set()
    newest = world.nodes[last.seats[0]].results[world.last_round]
    assert newest.outcome == SETTLED
    assert newest.scores is not None
    assert all(newest.scores[index] == 0 for index in range(len(last.signers)) if index not in last.seats)


@pytest.mark.parametrize("seed", range(4))
def test_a_member_that_is_down_while_the_roster_changes_comes_back_into_the_new_one(seed: int) -> None:
    crash = Crash(2, 150 + 40 * seed, back_after_seconds=15.0)
    world = turning_world(JOIN_AND_LEAVE, seed=seed, scenario=Scenario(crashes=(crash,))).run(1000)
    assert_all_agree(world)
    assert world.last_round in world.nodes[2].results


def test_the_first_round_of_a_roster_scores_nobody_and_the_next_one_does() -> None:
    world = turning_world(JOIN_AND_LEAVE).run(1000)
    results = world.nodes[0].results
    assert [results[round_id].scores is None for round_id in range(2, 6)] == [True, False, True, False]


def test_whoever_lied_under_one_roster_is_remembered_under_the_next() -> None:
    world = turning_world(JOIN_AND_LEAVE, scenario=Scenario())
    liars.deal_unequally(world, 3, 0)
    world.run(1000)
    assert_all_agree(world)
    session = world.nodes[0].session
    assert session is not None
    # Member 3 of the first roster sits in place 2 of the last one.
    assert session.conduct.again == {2}
