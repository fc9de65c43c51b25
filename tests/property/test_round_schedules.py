"""Random worlds: latency, loss, and up to t members that stop at random events, with and without anybody noticing."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from sim.scenario import Crash, Scenario
from tests.helpers.worlds import assert_agreement, known_world, saved_after


def scenario_of(n: int, seed: int, rounds: int = 1) -> Scenario:
    """A schedule that follows from its seed; who stops may do so in any of its rounds."""
    chance = random.Random(seed)
    victims = chance.sample(range(n), chance.randint(0, max(1, n // 4)))
    crashes = tuple(
        Crash(victim, chance.randrange(100 * rounds), chance.random() < 0.5, chance.choice([None, 1.0, 5.0, 20.0]))
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


LONG_RUN = {4: 6_000, 5: 4_000, 6: 3_000, 7: 2_500, 8: 1_500, 9: 900, 10: 650, 11: 500, 12: 350, 13: 250, 14: 200,
            15: 150, 16: 100}  # fmt: skip
"""Schedules for each size in `make test-long`, beside those above: 20,100 in all; every tenth has two rounds."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "first"), [(n, first) for n, count in LONG_RUN.items() for first in range(1_000, 1_000 + count, 50)]
)
def test_committees_of_any_size_agree_under_many_schedules(n: int, first: int) -> None:
    seeds = range(first, min(first + 50, 1_000 + LONG_RUN[n]))
    check(n, (seed for seed in seeds if seed % 10))
    check(n, (seed for seed in seeds if seed % 10 == 0), rounds=2)


def test_every_size_has_its_schedules() -> None:
    assert LONG_RUN.keys() == set(range(4, 17))
    assert sum(LONG_RUN.values()) >= 20_000


def check(n: int, seeds: Iterable[int], rounds: int = 1) -> None:
    saved = saved_after(n, 2 - rounds)
    for seed in seeds:
        world = known_world(n, seed=0, saved=saved, scenario=scenario_of(n, seed, rounds))
        world._chance = random.Random(seed)
        try:
            assert_agreement(world.run(600 * rounds))
        except AssertionError as error:
            raise AssertionError(f"n = {n}, seed {seed}, {rounds} rounds: {error}") from error
