"""How late the event loop does what is due: whatever blocks it delays every peer at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

import trio

INTERVAL_SECONDS: Final = 0.02
BOUNDS_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, float("inf"))


class LoopLag:
    """Counts, every 20 ms, by how much a task was woken too late."""

    def __init__(self) -> None:
        self._counts = [0] * len(BOUNDS_SECONDS)

    async def run(self) -> None:
        """Counts until cancelled."""
        while True:
            due = trio.current_time() + INTERVAL_SECONDS
            await trio.sleep_until(due)
            self._counts[bisect_left(BOUNDS_SECONDS, trio.current_time() - due)] += 1

    @property
    def counts(self) -> Mapping[float, int]:
        """How often it was at most so many seconds late and more than the next lower bound."""
        return dict(zip(BOUNDS_SECONDS, self._counts, strict=True))


def quantile(counts: Mapping[float, int], share: float) -> float:
    """The bound in seconds that `share` of what was counted kept; 0 if nothing was counted."""
    left = share * sum(counts.values())
    for bound in sorted(counts):
        left -= counts[bound]
        if counts[bound] and left <= 0:
            return bound
    return 0.0
