"""What the lag of a loop is called."""

from __future__ import annotations

import time

import pytest
import trio

from gossip.transport.lag import BOUNDS_SECONDS, LoopLag, quantile


def test_quantile_is_the_bound_that_so_many_kept() -> None:
    counts = {0.001: 90, 0.03: 9, 0.1: 0, float("inf"): 1}
    assert [quantile(counts, share) for share in (0.5, 0.9, 0.95, 0.99, 1.0)] == [
        0.001,
        0.001,
        0.03,
        0.03,
        float("inf"),
    ]


def test_quantile_of_nothing_is_none_at_all() -> None:
    assert quantile({}, 0.95) == quantile(dict.fromkeys(BOUNDS_SECONDS, 0), 0.95) == 0.0


@pytest.mark.trio
async def test_whatever_blocks_the_loop_is_counted_as_late() -> None:
    lag = LoopLag()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.run)
        await trio.sleep(0.05)
        time.sleep(0.25)  # noqa: ASYNC251  (that is what is measured)
        await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert sum(count for bound, count in lag.counts.items() if bound >= 0.5) == 1
