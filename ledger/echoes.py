"""What one contract does to another is told by both: a book in which the two accounts cancel out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ledger.replay import check_room


class Echoes:
    """Holds only what one of the two has told of so far; which of them is heard first makes no difference.

    Both raise `TooMany` where one tells of more than there is room for, and the other of nothing.
    """

    def __init__(self) -> None:
        self._open: Counter[tuple[Any, ...]] = Counter()

    def cause(self, tx: str, *what: object) -> None:
        """The contract that acts tells of this in a transaction."""
        self._add(1, (tx, *what))

    def effect(self, tx: str, *what: object) -> None:
        """The contract that is acted upon tells of this in a transaction."""
        self._add(-1, (tx, *what))

    def left(self) -> Iterator[str]:
        """What only one of the two tells of."""
        for (tx, *what), number in self._open.items():
            told = "only the one that acts tells" if number > 0 else "only the one that is acted upon tells"
            yield f"{told} of {' '.join(map(str, what))} in transaction {tx}"

    def _add(self, number: int, key: tuple[Any, ...]) -> None:
        if key not in self._open:
            check_room(
                self._open, "dispute.bound", "disputes, slashes or pauses of which only one contract told so far"
            )
        self._open[key] += number
        if not self._open[key]:
            del self._open[key]
