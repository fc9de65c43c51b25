"""What the simulated consortium promises a researcher."""

from __future__ import annotations

import runpy
from pathlib import Path
from statistics import mean

import pytest

from sim.consortium import Consortium

DOCS = Path(__file__).parents[3] / "docs"


def test_the_script_that_a_researcher_begins_with_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(DOCS / "first_simulation.py"))
    printed = capsys.readouterr().out
    assert printed.startswith("together 0.9")
    assert len(printed.splitlines()) == 8, "one line of quality and one for each of seven rounds"


@pytest.mark.lengthy
def test_learning_together_is_as_good_as_pooling_and_better_than_alone() -> None:
    """Five seeds, fifty rounds through the production step: the bounds that the project promises."""
    qualities = [Consortium.of_breast_cancer(members=4, rounds=50, seed=seed).run() for seed in range(5)]
    federated = mean(quality.federated for quality in qualities)
    pooled = mean(quality.pooled for quality in qualities)
    local = mean(mean(quality.local) for quality in qualities)
    print(f"federated {federated:.4f}, pooled {pooled:.4f}, local {local:.4f}")
    assert federated >= pooled - 0.015
    assert federated >= local + 0.04


def test_the_same_seed_gives_the_same_digests() -> None:
    first, second = (Consortium.of_breast_cancer(rounds=1, seed=7) for _ in range(2))
    first.run()
    second.run()
    assert [n.results for n in first.world.nodes] == [n.results for n in second.world.nodes]
