"""Where each secret word of a dealing sits: payload blocks, mask blocks behind them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gossip.errors import LocalError
from gossip.parameters import CHECK_REPETITIONS, Parameters
from gossip.spec import RoundKind, TaskSpec

PIECES_FROM_MEMBERS: Final = 6
PIECES_FROM_WORDS = 1 << 16
"""Members and words from which a sum is rebuilt in pieces."""


@dataclass(frozen=True)
class Layout:
    """The blocks of every dealing of a round.

    Block b holds words b*k .. b*k + k - 1 of the payload at x = -1 .. -k; zeros pad the last one.  Behind
    the payload blocks lie the mask blocks, one per attempt and repetition (attempt-major), of k
    uniform words each.

    Attributes:
        parameters: those of the committee.
        words: length of the payload before padding, at least 1.
    """

    parameters: Parameters
    words: int

    def __post_init__(self) -> None:
        if self.words < 1:
            raise LocalError(f"a payload has at least one word, found {self.words}")

    @classmethod
    def for_round(cls, parameters: Parameters, spec: TaskSpec, round_id: int) -> Layout:
        """Layout of [update, weight, gradient, gradient weight], of [update, weight] alone in round 0."""
        words = spec.update_size(round_id) + 1
        if spec.kind(round_id) is not RoundKind.STATISTICS:
            words += spec.dimension + 1
        return cls(parameters, words)

    @cached_property
    def blocks(self) -> int:
        """B, payload blocks."""
        return -(-self.words // self.parameters.pack_size)

    @cached_property
    def pieces(self) -> int:
        """In how many pieces the members rebuild a sum and give it to each other: one each, or 1 for all of it.

        Whole partial sums cost a member 2t + k - 1 downloads of 1 / k of the payload, pieces 1 / n of that and then the
        payload once, but two more messages; small sums are not worth these.
        """
        n = self.parameters.n
        is_large = self.words >= PIECES_FROM_WORDS and self.blocks >= n
        return n if n >= PIECES_FROM_MEMBERS and is_large else 1

    def piece(self, index: int) -> slice:
        """Payload blocks of piece `index` of a sum.

        Raises:
            LocalError: there is no such piece.
        """
        if not 0 <= index < self.pieces:
            raise LocalError(f"pieces are numbered 0 to {self.pieces - 1}, found {index}")
        return slice(index * self.blocks // self.pieces, (index + 1) * self.blocks // self.pieces)

    @cached_property
    def mask_blocks(self) -> int:
        """rho * attempts."""
        return CHECK_REPETITIONS * self.parameters.max_attempts

    @cached_property
    def total_blocks(self) -> int:
        """Words of one share."""
        return self.blocks + self.mask_blocks

    def masks(self, attempt: int) -> slice:
        """Blocks that mask the proof of `attempt`, one for each repetition.

        Raises:
            LocalError: no masks were dealt for this attempt.
        """
        if not 0 <= attempt < self.parameters.max_attempts:
            raise LocalError(f"attempts are numbered 0 to {self.parameters.max_attempts - 1}, found {attempt}")
        start = self.blocks + attempt * CHECK_REPETITIONS
        return slice(start, start + CHECK_REPETITIONS)
