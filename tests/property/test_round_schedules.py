"""Random worlds: latency, loss, and up to t members that stop at random events, with and without anybody noticing."""

from __future__ import annotations

import random

import pytest

from sim.world import Crash, Scenario
from tests.helpers.worlds import assert_agreement, known_world, saved_after


def scenario_of(n: int, seed: int) -> Scenario:
    """A schedule that follows from its seed."""
    chance = random.Random(seed)
    victims = chance.sample(range(n), chance.randint(0, max(1, n // 4)))
    crashes = tuple(
        Crash(victim, chance.randrange(100), chance.random() < 0.5, chance.choice([None, 1.0, 5.0, 20.0]))
        for victim in victims
    )
    return Scenario(
        latency_seconds=(0.005, chance.choice([0.05, 0.5])),
        loss=chance.choice([0.0, 0.05, 0.3]),
        notice_seconds=chance.choice([None, 0.2]),
        crashes=crashes,
    )


@pytest.mark.parametrize("first", range(0, 500, 50))
def test_seven_members_agree_under_any_schedule(first: int) -> None:
    check(7, range(first, first + 50))


@pytest.mark.parametrize("first", range(0, 100, 50))
def test_four_members_agree_under_any_schedule(first: int) -> None:
    check(4, range(first, first + 50))


def check(n: int, seeds: range) -> None:
    saved = saved_after(n, 1)
    for seed in seeds:
        world = known_world(n, seed=0, saved=saved, scenario=scenario_of(n, seed))
        world._chance = random.Random(seed)
        try:
            assert_agreement(world.run(600))
        except AssertionError as error:
            raise AssertionError(f"n = {n}, seed {seed}: {error}") from error
