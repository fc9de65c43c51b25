"""Liars, members that are gone and members that crash and come back, at most t of them faulty: rounds end, alike."""

from __future__ import annotations

import pytest

from gossip import layout
from tests.helpers.chaos import chaotic_world
from tests.helpers.worlds import assert_agreement

BATCH = 10


def run(n: int, first_seed: int) -> None:
    for seed in range(first_seed, first_seed + BATCH):
        world = chaotic_world(seed, n).run(1500)
        print(f"n = {n}, seed {seed}: {world.now:.1f} s")
        assert_agreement(world, liars=frozenset(world.scenario.lies))


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
