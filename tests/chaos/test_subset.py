"""A few cells of the fault matrix, on one cluster of real processes; `make chaos` runs all of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.matrix import Cell, judged, run

pytestmark = [pytest.mark.network, pytest.mark.lengthy]

CELLS = [
    Cell("kill", "DEAL", 4, 1),
    Cell("partition", "PROVE", 4, 1),
    Cell("disk", "AGREE", 4, 1),
    Cell("chain", "REVEAL", 4, 4),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(4, tmp_path_factory.mktemp("chaos") / "n4") as found:
        yield found


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.key)
def test_others_settle_the_exact_sum_and_the_victim_returns(cell: Cell, cluster: Cluster) -> None:
    (entry,) = judged([run(cell, cluster)], cluster)
    assert entry["outcome"] in ("settled", "settled later")
