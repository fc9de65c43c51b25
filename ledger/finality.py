"""When a block of the chain counts as final."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

RULE: Final = "instant, confirmations:k with k from 1 to 10000, safe, or finalized"


@dataclass(frozen=True, slots=True)
class Finality:
    """Which blocks no reorganisation is expected to undo.

    Attributes:
        confirmations: blocks on top of a final one; 0 where a block is final at once, as under QBFT.
        tag: "safe" or "finalized" where the chain itself says so; None elsewhere.
    """

    confirmations: int = 0
    tag: str | None = None

    @staticmethod
    def parse(text: str) -> Finality:
        """The finality that a configuration names.

        Raises:
            ValueError: it names none.
        """
        if text == "instant":
            return INSTANT
        if text in ("safe", "finalized"):
            return Finality(tag=text)
        found = re.fullmatch(r"confirmations:([1-9][0-9]{0,4})", text, re.ASCII)
        if found is None or int(found[1]) > 10_000:
            raise ValueError(f"finality is {RULE}, found {text!r}")
        return Finality(confirmations=int(found[1]))

    def __str__(self) -> str:
        if self.tag is not None:
            return self.tag
        return f"confirmations:{self.confirmations}" if self.confirmations else "instant"


INSTANT: Final = Finality()
