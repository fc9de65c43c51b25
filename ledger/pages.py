"""Which blocks to ask an endpoint about next, when it says neither how many it allows nor how full they are."""

from __future__ import annotations

from typing import Final

MAX_BLOCK: Final = 2**33
"""A block every ten milliseconds for three years; to look through more would take for ever."""

FIRST_BLOCKS: Final = 2_000
MOST_BLOCKS: Final = 1 << 17
FULL_LOGS: Final = 100
"""Logs in an answer from which on the next question is not about more blocks, and from twice as many about fewer."""


class Pages:
    """Spans of blocks, one after the other: longer ones while answers are short, shorter ones after a refusal."""

    def __init__(self, first_block: int, last_block: int) -> None:
        self._next = first_block
        self._last = last_block
        self._size = FIRST_BLOCKS
        self._most = MOST_BLOCKS

    def span(self) -> tuple[int, int] | None:
        """First and last block of the next question; None when all are answered."""
        if self._next > self._last:
            return None
        return self._next, min(self._next + self._size - 1, self._last)

    def answered(self, logs: int) -> None:
        """The span was answered with so many logs."""
        self._next += self._size
        if logs < FULL_LOGS:
            self._size = min(2 * self._size, self._most)
        elif logs >= 2 * FULL_LOGS:
            self._size = max(1, self._size // 2)

    def refused(self, error: Exception) -> None:
        """The endpoint did not answer about so many blocks.

        Raises:
            error: it was a single one.
        """
        span = self.span()
        if span is None or span[0] == span[1]:
            raise error
        self._size = self._most = max(1, (span[1] - span[0] + 1) // 2)
