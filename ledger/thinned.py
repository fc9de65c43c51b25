"""A history of any length in bounded memory: a curve through evenly spaced points of it, and the newest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MOST_POINTS: Final = 240

Point = tuple[int, tuple[int, ...]]
"""A round, and a number for each member."""


class Thinned:
    """Keeps every point until there are too many, then every second, every fourth, and so on."""

    def __init__(self, most: int = MOST_POINTS) -> None:
        self._most = most
        self._step = 1
        self._count = 0
        self._kept: list[Point] = []
        self._newest: Point | None = None

    def add(self, round_id: int, values: Sequence[int]) -> None:
        """One more point, after all others; a second one of the same round takes the place of the first."""
        before, self._newest = self._newest, (round_id, tuple(values))
        if before is not None and before[0] == round_id:
            if self._kept[-1] == before:
                self._kept[-1] = self._newest
            return
        if self._count % self._step == 0:
            self._kept.append(self._newest)
        self._count += 1
        if len(self._kept) > self._most:
            self._kept = self._kept[::2]
            self._step *= 2

    @property
    def points(self) -> tuple[Point, ...]:
        """What is kept, in the order of the rounds."""
        if self._newest is None or self._kept[-1] == self._newest:
            return tuple(self._kept)
        return (*self._kept, self._newest)
