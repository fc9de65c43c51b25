"""How much work one peer's announcements may cause: a bucket of credit that fills slowly."""

from __future__ import annotations

from typing import Final

CREDIT_PER_MEMBER: Final = 256
"""A member that has missed all of two rounds is told everything by everybody at once, and again a second later."""
FEWEST_CREDIT: Final = 2_048
SECONDS_TO_FILL: Final = 32.0

SEEN_COST: Final = 0.25
"""Of what was heard before: one digest."""
SUMMARY_COST: Final = 8.0
"""Of a comparison of two lists, one of them as long as a round's log; one a second is due."""
PLAIN_COST: Final = 1.0
"""Of anything else: a signature to check, and some rules."""
FORGED_COST: Final = 16.0
"""On top, of a signature that is none: an honest node passes none on."""
BYTES_PER_CREDIT: Final = 16_384


class Allowance:
    """What one peer of a committee of `n` may still cause."""

    def __init__(self, n: int, now: float) -> None:
        self._most = float(max(FEWEST_CREDIT, CREDIT_PER_MEMBER * n))
        self._credit = self._most
        self._at = now

    def spend(self, cost: float, now: float) -> bool:
        """Takes `cost` off; False if there is not that much, and everything is taken then."""
        self._credit = min(self._most, self._credit + (now - self._at) * self._most / SECONDS_TO_FILL) - cost
        self._at = now
        if self._credit < 0:
            self._credit = 0.0
            return False
        return True
