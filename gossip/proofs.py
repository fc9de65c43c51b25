"""Proofs that a dealing is consistent: random combinations of its blocks, masked, opened as polynomials.

The challenge fixes, for each of rho repetitions, one coefficient per payload block.  The
dealer publishes the combination of the block polynomials plus a mask block used for nothing else, so a
uniformly random polynomial of degree t + k - 1; each holder combines its share alike and compares at its
own point.  A dealing whose shares of honest holders lie on no polynomials of that degree passes with
probability about (2 / p) ** rho.

Coefficients are the products of two vectors: block 128 * i + j has outer[i] * inner[j].
Both come from `prg.expand(derive_seed(challenge, b"challenge", 0))`: for each repetition the 128
words of `inner`, then the ceil(blocks / 128) of `outer`.  Source: secure-aggregation.md, 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from gossip.chunks import INNER, PIECE, WORD_BYTES, combine, decode_words, encode_words
from gossip.errors import LocalError
from gossip.field import Integers, Integers32, Reals, Words, multiply
from gossip.lagrange import coefficients, holder_point, powers
from gossip.layout import Layout
from gossip.parameters import CHECK_REPETITIONS, MODULUS
from gossip.prg import WordStreams, derive_seed
from gossip.shamir import Dealing, WordSource, dealer_nodes
from gossip.spec import HALF

CHALLENGE_BYTES: Final = 32
_AT_ONCE: Final = 2 * PIECE
"""Words that are combined at a time, of all rows together."""


@dataclass(frozen=True, eq=False)
class Combination:
    """Coefficients of several random combinations of one sequence of blocks.

    Attributes:
        blocks: length of the sequence.
        inner: (repetitions, 128), canonical.
        outer: (ceil(blocks / 128), repetitions), centred.
        shift: (repetitions,) HALF times the sum of all coefficients, modulo p.
    """

    blocks: int
    inner: Integers
    outer: Integers32
    shift: Integers

    @classmethod
    def from_seed(cls, seed: bytes, blocks: int, repetitions: int = CHECK_REPETITIONS) -> Combination:
        """The combinations that a 16-byte seed stands for."""
        rows = -(-blocks // INNER)
        inner = np.empty((repetitions, INNER), dtype=np.int64)
        outer = np.empty((rows, repetitions), dtype=np.int32)
        shift = np.empty(repetitions, dtype=np.int64)
        stream, drawn = WordStreams((seed,)), np.empty((1, INNER + rows), dtype=np.uint32)
        for s in range(repetitions):
            stream.fill(drawn)
            inner[s], of_rows = drawn[0, :INNER], drawn[0, INNER:]
            of_whole_rows = inner[s].sum() * (of_rows[:-1].sum(dtype=np.int64) % MODULUS)
            of_last_row = inner[s, : blocks - INNER * (rows - 1)].sum() * of_rows[-1:].sum(dtype=np.int64)
            shift[s] = (of_whole_rows + of_last_row) % MODULUS * HALF % MODULUS
            signed = of_rows.view(np.int32)
            outer[:, s] = signed - (signed > HALF) * np.int32(MODULUS)
        return cls(blocks, inner, outer, shift)

    def of(self, words: Words) -> Integers:
        """(repetitions,) canonical: the combinations of `words` (blocks,).

        Raises:
            LocalError: another number of words.
        """
        if words.shape != (self.blocks,):
            raise LocalError(f"the combination is one of {self.blocks} blocks, found shape {words.shape}")
        totals = np.zeros((1, *self.inner.shape))
        combine(words[np.newaxis], self.outer, totals)
        return np.asarray(self._finish(totals)[0])

    def of_next(self, source: WordSource, rows: int) -> Integers:
        """(rows, repetitions) canonical: the combinations of each row of the source's next `blocks` words."""
        totals = np.zeros((rows, *self.inner.shape))
        at_a_time = max(1, min(PIECE, _AT_ONCE // rows) // INNER) * INNER
        for start in range(0, self.blocks, at_a_time):
            words = source.take(min(at_a_time, self.blocks - start))
            combine(words, self.outer[start // INNER : -(-(start + words.shape[1]) // INNER)], totals)
        return self._finish(totals)

    def _finish(self, totals: Reals) -> Integers:
        """(R, repetitions) from sums (R, repetitions, 128), one for each place in a row.

        Words were moved by -HALF, so that 128 products of 46 bits stay within 2^53; `shift` moves the result back.
        """
        products = totals.astype(np.int64) * self.inner  # 47 bits and a sign
        return np.asarray((products.sum(axis=2) + self.shift) % MODULUS)


@lru_cache(maxsize=8)
def challenge_words(challenge: bytes, layout: Layout) -> Combination:
    """The coefficients that a challenge of 32 bytes fixes for the payload blocks.

    Raises:
        LocalError: a challenge of another length.
    """
    if len(challenge) != CHALLENGE_BYTES:
        raise LocalError(f"a challenge has {CHALLENGE_BYTES} bytes, found {len(challenge)}")
    return Combination.from_seed(derive_seed(challenge, b"challenge", 0), layout.blocks)


def proof_size(layout: Layout) -> int:
    """Bytes of a proof."""
    return WORD_BYTES * CHECK_REPETITIONS * layout.parameters.threshold


def prove(dealing: Dealing, challenge: bytes, attempt: int) -> bytes:
    """The dealer's answer to the challenge of an attempt: rho polynomials of t + k coefficients.

    Of each polynomial the coefficients, lowest degree first; in the wire form of words.  Answering two challenges with
    the masks of one attempt would reveal combinations of the payload.

    Raises:
        LocalError: a challenge of another length, or an attempt without masks.
    """
    layout = dealing.layout
    nodes = layout.parameters.threshold
    masked = combine_rows(dealing.node_words(), nodes, challenge, attempt, layout)  # (t + k, rho)
    matrix = coefficients(dealer_nodes(layout, dealing.dealer))
    return encode_words(multiply(matrix, masked).T.astype(np.uint32).reshape(-1))


def check_share(share: WordSource, proof: bytes, challenge: bytes, attempt: int, layout: Layout, holder: int) -> bool:
    """Whether a holder's share, a row of total_blocks words, agrees with its dealer's proof in every repetition.

    Raises:
        MalformedMessage: the proof has another size, or a word of it or of the share is not canonical.
        LocalError: a challenge of another length, or an attempt without masks.
    """
    words = decode_words(proof, CHECK_REPETITIONS * layout.parameters.threshold)
    polynomials = words.astype(np.int64).reshape(CHECK_REPETITIONS, -1)
    expected = multiply(polynomials, powers(holder_point(holder), layout.parameters.threshold))
    return np.array_equal(combine_rows(share, 1, challenge, attempt, layout)[0], expected)


def combine_rows(source: WordSource, rows: int, challenge: bytes, attempt: int, layout: Layout) -> Integers:
    """(rows, rho) canonical: the combinations of each row of total_blocks words, each plus its mask's word."""
    mine = layout.masks(attempt)
    combined = challenge_words(challenge, layout).of_next(source, rows)
    masks = source.take(layout.mask_blocks)[:, mine.start - layout.blocks : mine.stop - layout.blocks]
    return np.asarray((combined + masks) % MODULUS)
