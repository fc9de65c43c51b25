"""What the ledger keeps of a round: one word of its storage, which no view shows whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.trail import Trail
from ledger.types import STORED_BYTES

OF_ABANDONED: Final = 1
OF_CHALLENGED: Final = 2
OF_DISMISSED: Final = 4
OF_VOID: Final = 8


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A `Record` of RoundLedger.sol; all zero where no round was recorded.

    Attributes:
        digest: the first bytes of the result's struct hash.
        recorded_at: time of the block that recorded it, seconds since 1970.
        marks: what became of it, as `OF_...`.
    """

    digest: bytes
    recorded_at: int
    marks: int


def read_record(trail: Trail, ledger: str, round_id: int) -> StoredRecord:
    """What the ledger at this address keeps of the round."""
    word = trail.mapped("RoundLedger", ledger, "_records", round_id)
    # The first field of a slot lies in its lowest bytes.
    return StoredRecord(word[-STORED_BYTES:], int.from_bytes(word[1:5], "big"), word[0])
