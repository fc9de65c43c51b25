"""Randomness from seeds: AES-128 in counter mode, rejection-sampled to field elements, and HKDF.

Three key streams of one seed differ in the first byte of the 16-byte initial counter, whose other bytes are
zero: 0 gives the low 16 bits of each word (little-endian), 1 its high 8 bits, 2 the words that replace
rejected ones (three bytes each, little-endian, themselves rejected if they are no residue), in the order of
the words they replace.  So the words do not depend on how many are taken at a time.  Source: kernels.md,
"Exactness".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gossip.chunks import PIECE, Split, join, rejected
from gossip.errors import LocalError
from gossip.field import Words
from gossip.parameters import MODULUS

SEED_BYTES: Final = 16

_SALT: Final = b"mycelia 1 seed"
_ZEROS: Final = memoryview(bytes(2 * PIECE))
_LOW, _HIGH, _REDRAW, _BYTES = range(4)


def derive_seed(secret: bytes, *labels: bytes | int) -> bytes:
    """A seed of 16 bytes that belongs to these labels alone: HKDF-SHA256 of `secret`.

    A label enters with its type and length (numbers as 8 bytes, big-endian), so that no two lists of labels
    collide.

    Raises:
        LocalError: a number outside 0..2^64 - 1.
    """
    info = b"".join(_encode_label(label) for label in labels)
    return HKDF(algorithm=hashes.SHA256(), length=SEED_BYTES, salt=_SALT, info=info).derive(secret)


def expand(seed: bytes, count: int) -> Words:
    """The first `count` words of the seed's stream: uniform in [0, MODULUS).

    Raises:
        LocalError: the seed has not 16 bytes.
    """
    words = np.empty(count, dtype=np.uint32)
    WordStreams((seed,)).fill(words[np.newaxis])
    return words


def keystream(seed: bytes, count: int) -> bytes:
    """`count` uniform bytes of the seed's fourth stream, for seeds and rounding noise.

    Raises:
        LocalError: the seed has not 16 bytes.
    """
    drawn = bytearray(count)
    ByteStream(seed).fill(memoryview(drawn))
    return bytes(drawn)


def dither(seed: bytes, count: int) -> Words:
    """`count` uniform 24-bit numbers: the words of `expand` before any is rejected.

    Raises:
        LocalError: the seed has not 16 bytes.
    """
    return _raw(_cipher(seed, _LOW), _cipher(seed, _HIGH), count)


class ByteStream:
    """The bytes of `keystream`, taken piece by piece.

    Raises:
        LocalError: the seed has not 16 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        self._cipher = _cipher(seed, _BYTES)

    def fill(self, target: memoryview) -> None:
        """The next bytes, as many as fit."""
        _encipher(self._cipher, target)


class WordStreams:
    """The words of one or more seeds, taken piece by piece."""

    def __init__(self, seeds: Sequence[bytes]) -> None:
        self._seeds = seeds
        self._lows = [_cipher(seed, _LOW) for seed in seeds]
        self._highs = [_cipher(seed, _HIGH) for seed in seeds]
        self._redraws: dict[int, CipherContext] = {}
        self._buffer: Split | None = None

    def take(self, count: int) -> Split:
        """The next `count` words of each seed, (len(seeds), count); overwritten by the next call."""
        split = self._draw(count)
        self._replace_rejected(split)
        return split

    def fill(self, words: Words) -> None:
        """The next words of each seed, as many as fit in `words` (len(seeds), C)."""
        for start in range(0, words.shape[1], PIECE):
            pieces = words[:, start : start + PIECE]
            split = self._draw(pieces.shape[1])
            if not _join_rows(split, pieces):  # a word in six million is no residue
                self._replace_rejected(split)
                _join_rows(split, pieces)

    def _draw(self, count: int) -> Split:
        """The next `count` words of each seed, those among them that are no residues as well."""
        if self._buffer is None or self._buffer.low.shape[1] < count:
            self._buffer = Split.empty(len(self._seeds), count)
        split = self._buffer.head(count)
        if count == 0:
            return split
        for row, (low, high) in enumerate(zip(self._lows, self._highs, strict=True)):
            _encipher(low, memoryview(split.low[row]).cast("B"))
            _encipher(high, memoryview(split.high[row]))
        return split

    def _replace_rejected(self, split: Split) -> None:
        for row, column in rejected(split):
            word = self._replacement(row)
            split.low[row, column], split.high[row, column] = word & 0xFFFF, word >> 16

    def _replacement(self, row: int) -> int:
        cipher = self._redraws.setdefault(row, _cipher(self._seeds[row], _REDRAW))
        while True:
            candidate = int.from_bytes(cipher.update(bytes(3)), "little")
            if candidate < MODULUS:
                return candidate


def _encode_label(label: bytes | int) -> bytes:
    if isinstance(label, bytes):
        return b"b" + len(label).to_bytes(8, "big") + label
    if not 0 <= label < 2**64:
        raise LocalError(f"a label is a number of 64 bits, found {label}")
    return b"i" + label.to_bytes(8, "big")


def _cipher(seed: bytes, stream: int) -> CipherContext:
    if len(seed) != SEED_BYTES:
        raise LocalError(f"a seed has {SEED_BYTES} bytes, found {len(seed)}")
    return Cipher(algorithms.AES(seed), modes.CTR(bytes([stream]) + bytes(15))).encryptor()


def _encipher(cipher: CipherContext, target: memoryview) -> None:
    for start in range(0, len(target), len(_ZEROS)):
        piece = target[start : start + len(_ZEROS)]
        cipher.update_into(_ZEROS[: len(piece)], piece)


def _join_rows(split: Split, words: Words) -> bool:
    """Fill `words` (rows, C); whether all are canonical."""
    return all([join(Split(split.low[row], split.high[row]), piece) for row, piece in enumerate(words)])


def _raw(low: CipherContext, high: CipherContext, count: int) -> Words:
    words = np.frombuffer(high.update(bytes(count)), dtype=np.uint8).astype(np.uint32)
    words <<= np.uint32(16)
    words |= np.frombuffer(low.update(bytes(2 * count)), dtype="<u2")
    return words
