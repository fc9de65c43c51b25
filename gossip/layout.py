"""Where each secret word of a dealing sits: payload blocks, their segments, mask blocks behind them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gossip.errors import LocalError
from gossip.parameters import CHECK_REPETITIONS, MAX_MEMBERS, Parameters
from gossip.spec import RoundKind, TaskSpec

PIECES_FROM_MEMBERS: Final = 6
PIECES_FROM_WORDS = 1 << 16
"""Members and words from which a sum is rebuilt in pieces."""


@dataclass(frozen=True)
class Layout:
    """The blocks of every dealing of a round.

    Block b holds words b*k .. b*k + k - 1 of the payload at x = -1 .. -k; zeros pad the last one.  Behind
    the payload blocks lie the mask blocks, one per attempt, segment and repetition (attempt-major), of k
    uniform words each.

    Attributes:
        parameters: those of the committee.
        words: length of the payload before padding, at least 1.
        segments: S, parts of a sum that are proven by themselves; 1 where sums are revealed whole.
    """

    parameters: Parameters
    words: int
    segments: int = 1

    def __post_init__(self) -> None:
        if self.words < 1:
            raise LocalError(f"a payload has at least one word, found {self.words}")
        if not 1 <= self.segments <= MAX_MEMBERS:
            raise LocalError(f"a payload has 1 to {MAX_MEMBERS} segments, found {self.segments}")

    @classmethod
    def for_round(cls, parameters: Parameters, spec: TaskSpec, round_id: int, segments: int = 1) -> Layout:
        """Layout of [update, weight, gradient, gradient weight], of [update, weight] alone in round 0."""
        words = spec.update_size(round_id) + 1
        if spec.kind(round_id) is not RoundKind.STATISTICS:
            words += spec.dimension + 1
        return cls(parameters, words, segments)

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
    def masks_per_attempt(self) -> int:
        """S * rho."""
        return self.segments * CHECK_REPETITIONS

    @cached_property
    def mask_blocks(self) -> int:
        """S * rho * attempts."""
        return self.masks_per_attempt * self.parameters.max_attempts

    @cached_property
    def total_blocks(self) -> int:
        """Words of one share."""
        return self.blocks + self.mask_blocks

    def segment(self, index: int) -> slice:
        """Payload blocks of segment `index`; the last segments may be short, or empty."""
        if not 0 <= index < self.segments:
            raise LocalError(f"segments are numbered 0 to {self.segments - 1}, found {index}")
        size = -(-self.blocks // self.segments)
        return slice(min(index * size, self.blocks), min((index + 1) * size, self.blocks))

    def masks(self, attempt: int) -> slice:
        """Blocks that mask the proof of `attempt`, ordered by segment, then repetition.

        Raises:
            LocalError: no masks were dealt for this attempt.
        """
        if not 0 <= attempt < self.parameters.max_attempts:
            raise LocalError(f"attempts are numbered 0 to {self.parameters.max_attempts - 1}, found {attempt}")
        start = self.blocks + attempt * self.masks_per_attempt
        return slice(start, start + self.masks_per_attempt)
