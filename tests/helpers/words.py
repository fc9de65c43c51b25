"""Words that are there already, where the code reads them piece by piece."""

from __future__ import annotations

from gossip.field import Words


class Pieces:
    """A row of words as a `shamir.WordSource`."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._at = 0

    def take(self, count: int) -> Words:
        start, self._at = self._at, self._at + count
        return self._words[None, start : self._at]
