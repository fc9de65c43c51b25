"""Liars, members that are gone and members that crash and come back, at most t of them faulty: rounds end, alike."""

from __future__ import annotations

import pytest

from gossip import layout
from gossip.values import SETTLED
from tests.helpers.chaos import assert_named, calm_world, chaotic_world, to_be_named, world_after
from tests.helpers.worlds import assert_agreement

BATCH = 10
PASSED_ON_SECONDS = 12.0
"""Twice the longest way of a message and an exchange."""


def run(n: int, first_seed: int) -> None:
    for seed in range(first_seed, first_seed + BATCH):
        world = chaotic_world(seed, n).run(1500)
        print(f"n = {n}, seed {seed}: {world.now:.1f} s")
        assert_agreement(world, liars=frozenset(world.scenario.lies))
        assert_named(world.run_on(PASSED_ON_SECONDS))
        after = world_after(world, rounds=2).run(600)
        assert_agreement(after)
        outcomes = [after.nodes[0].results[world.last_round + 1 + later].outcome for later in range(2)]
        assert SETTLED in outcomes, f"n = {n}, seed {seed}: no round settled after the faults had stopped"


def run_calm(n: int, seeds: range) -> None:
    for seed in seeds:
        world, done = calm_world(seed, n)
        assert_agreement(world.run(300), liars=frozenset(world.scenario.lies))
        missed = to_be_named(world, done) - world.blamed()
        assert not missed, f"n = {n}, seed {seed}: nobody named {missed}"


@pytest.fixture(autouse=True)
def pieces_of_small_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "PIECES_FROM_WORDS", 1)


@pytest.mark.parametrize("first_seed", [0])
@pytest.mark.parametrize("n", [4, 6, 8])
def test_with_at_most_t_faulty_members_rounds_end_alike(n: int, first_seed: int) -> None:
    run(n, first_seed)


@pytest.mark.slow
@pytest.mark.parametrize("first_seed", range(100, 600, BATCH))
@pytest.mark.parametrize("n", [4, 6, 7, 8, 12])
def test_with_at_most_t_faulty_members_rounds_end_alike_in_many_more_worlds(n: int, first_seed: int) -> None:
    run(n, first_seed)


@pytest.mark.parametrize("n", [4, 6, 8])
def test_every_false_work_is_named_where_nothing_else_goes_wrong(n: int) -> None:
    run_calm(n, range(3))


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 5, 6, 7, 8, 12])
def test_every_false_work_is_named_in_many_more_worlds(n: int) -> None:
    run_calm(n, range(100, 300))
