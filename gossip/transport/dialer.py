"""When to dial again."""

from __future__ import annotations

from collections.abc import Callable

from gossip.transport.interface import Limits


class Backoff:
    """Pauses between dials that double from the shortest to the longest, each shortened by up to a half.

    `draw` gives numbers in [0, 1): without chance, members that went down together would come back together.
    """

    def __init__(self, limits: Limits, draw: Callable[[], float]) -> None:
        self._limits = limits
        self._draw = draw
        self._pause = limits.redial_min_seconds

    def on_failure(self) -> float:
        """Seconds until the next dial."""
        pause = self._pause
        self._pause = min(2 * pause, self._limits.redial_max_seconds)
        return pause * (1 - self._draw() / 2)

    def on_lost(self, lived_seconds: float) -> float:
        """Seconds until the next dial after a connection that lasted so long; a short one is a failure."""
        if lived_seconds < self._limits.redial_max_seconds:
            return self.on_failure()
        self._pause = self._limits.redial_min_seconds
        return 0.0
