"""Proofs that a dealing is consistent: random combinations of its blocks, masked, opened as polynomials.

The challenge fixes, for each segment and each of rho repetitions, one coefficient per payload block.  The
dealer publishes the combination of the block polynomials plus a mask block used for nothing else, so a
uniformly random polynomial of degree t + k - 1; each holder combines its share alike and compares at its
own point.  A dealing whose shares of honest holders lie on no polynomials of that degree passes with
probability about (2 / p) ** rho.

Coefficients are the products of two vectors: block 128 * i + j of the segment has outer[i] * inner[j].
Both come from `prg.expand(derive_seed(challenge, b"challenge", segment))`: for each repetition the 128
words of `inner`, then the ceil(blocks / 128) of `outer`.  Source: secure-aggregation.md, 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from gossip.chunks import WORD_BYTES, combine, decode_words, encode_words
from gossip.errors import LocalError
from gossip.field import Integers, Reals, Words, centred, multiply, reduce
from gossip.lagrange import coefficients, holder_point, powers
from gossip.layout import Layout
from gossip.parameters import CHECK_REPETITIONS, MODULUS
from gossip.prg import derive_seed, expand
from gossip.shamir import Dealing, dealer_nodes
from gossip.spec import HALF

CHALLENGE_BYTES: Final = 32
INNER: Final = 128
"""Blocks that share an outer coefficient; as many products fit exactly in a float64."""

_TILE_ROWS: Final = 256


@dataclass(frozen=True, eq=False)
class Combination:
    """Coefficients of several random combinations of one sequence of blocks.

    Attributes:
        blocks: length of the sequence.
        inner: (128, repetitions), centred.
        outer: (ceil(blocks / 128), repetitions), centred.
        shift: (repetitions,) HALF times the sum of all coefficients, modulo p.
    """

    blocks: int
    inner: Reals
    outer: Integers
    shift: Integers

    @classmethod
    def from_seed(cls, seed: bytes, blocks: int, repetitions: int = CHECK_REPETITIONS) -> Combination:
        """The combinations that a 16-byte seed stands for."""
        rows = -(-blocks // INNER)
        drawn = expand(seed, repetitions * (INNER + rows)).reshape(repetitions, -1).astype(np.int64)
        inner, outer = drawn[:, :INNER], drawn[:, INNER:]
        per_row = np.repeat(inner.sum(axis=1, keepdims=True), rows, axis=1)
        if blocks % INNER:
            per_row[:, -1] = inner[:, : blocks % INNER].sum(axis=1)
        total = ((per_row % MODULUS) * outer % MODULUS).sum(axis=1) % MODULUS
        return cls(
            blocks=blocks,
            inner=centred(np.ascontiguousarray(inner.T)),
            outer=centred(np.ascontiguousarray(outer.T)).astype(np.int64),
            shift=total * HALF % MODULUS,
        )

    def of(self, words: Words) -> Integers:
        """(repetitions,) canonical: the combinations of `words` (blocks,).

        Words are moved by -HALF, so that 128 products of 46 bits stay within 2^53; `shift` moves the result
        back.

        Raises:
            LocalError: another number of words.
        """
        if words.shape != (self.blocks,):
            raise LocalError(f"the combination is one of {self.blocks} blocks, found shape {words.shape}")
        total = self.shift.copy()
        for row in range(0, len(self.outer), _TILE_ROWS):
            products = combine(words[row * INNER : (row + _TILE_ROWS) * INNER], self.inner)
            level = reduce(products).astype(np.int64)  # (rows, repetitions)
            level *= self.outer[row : row + _TILE_ROWS]
            total += level.sum(axis=0)
            total %= MODULUS
        return total


@lru_cache(maxsize=8)
def challenge_words(challenge: bytes, layout: Layout, segment: int) -> Combination:
    """The coefficients that a challenge of 32 bytes fixes for the payload blocks of one segment.

    Raises:
        LocalError: a challenge of another length, or an unknown segment.
    """
    if len(challenge) != CHALLENGE_BYTES:
        raise LocalError(f"a challenge has {CHALLENGE_BYTES} bytes, found {len(challenge)}")
    part = layout.segment(segment)
    return Combination.from_seed(derive_seed(challenge, b"challenge", segment), part.stop - part.start)


def proof_size(layout: Layout) -> int:
    """Bytes of a proof."""
    return WORD_BYTES * layout.masks_per_attempt * layout.parameters.threshold


def prove(dealing: Dealing, challenge: bytes, attempt: int) -> bytes:
    """The dealer's answer to the challenge of an attempt: S * rho polynomials of t + k coefficients.

    Ordered by segment, then repetition; of each polynomial the coefficients, lowest degree first; in the
    wire form of words.  Answering two challenges with the masks of one attempt would reveal combinations of
    the payload.

    Raises:
        LocalError: a challenge of another length, or an attempt without masks.
    """
    layout = dealing.layout
    masked = _combine_nodes(dealing, challenge, attempt)  # (t + k, S * rho)
    matrix = coefficients(dealer_nodes(layout, dealing.dealer))
    return encode_words(multiply(matrix, masked).T.astype(np.uint32).reshape(-1))


def check_share(share: Words, proof: bytes, challenge: bytes, attempt: int, layout: Layout, holder: int) -> bool:
    """Whether a holder's share (total_blocks,) agrees with its dealer's proof in every repetition.

    Raises:
        MalformedMessage: the proof has another size, or a word that is not canonical.
        LocalError: a challenge of another length, or an attempt without masks.
    """
    words = decode_words(proof, layout.masks_per_attempt * layout.parameters.threshold)
    polynomials = words.astype(np.int64).reshape(layout.masks_per_attempt, -1)
    expected = multiply(polynomials, powers(holder_point(holder), layout.parameters.threshold))
    return np.array_equal(combine_share(share, challenge, attempt, layout), expected)


def combine_share(share: Words, challenge: bytes, attempt: int, layout: Layout) -> Integers:
    """(S * rho,) canonical: the combinations of a share (total_blocks,), each plus its mask's share."""
    masks = share[layout.masks(attempt)].astype(np.int64)
    parts = [challenge_words(challenge, layout, s).of(share[layout.segment(s)]) for s in range(layout.segments)]
    return np.asarray((np.concatenate(parts) + masks) % MODULUS)


def _combine_nodes(dealing: Dealing, challenge: bytes, attempt: int) -> Integers:
    """(t + k, S * rho): the masked combinations of the values at each of the dealer's nodes."""
    layout = dealing.layout
    rows = [combine_share(row, challenge, attempt, layout) for row in dealing.node_rows()]
    return np.stack(rows)
