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


LONG_RUN = {4: 12_000, 5: 4_000, 6: 2_000, 7: 1_500, 8: 500, 12: 40, 16: 10}
"""Schedules for each size in `make test-long`, beside those above: 20,050 in all."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "first"), [(n, first) for n, count in LONG_RUN.items() for first in range(1_000, 1_000 + count, 500)]
)
def test_committees_of_any_size_agree_under_many_schedules(n: int, first: int) -> None:
    check(n, range(first, min(first + 500, 1_000 + LONG_RUN[n])))


def check(n: int, seeds: range) -> None:
    saved = saved_after(n, 1)
    for seed in seeds:
        world = known_world(n, seed=0, saved=saved, scenario=scenario_of(n, seed))
        world._chance = random.Random(seed)
        try:
            assert_agreement(world.run(600))
        except AssertionError as error:
            raise AssertionError(f"n = {n}, seed {seed}: {error}") from error
