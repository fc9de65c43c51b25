"""Words chunk by chunk: their wire form, and what sharing does to a chunk of them.

On the wire each chunk of 65536 words is their low 16 bits (little-endian), then their high 8 bits: three bytes a word.
Every operation here exists compiled and in plain numpy, and gives the same bytes.  The compiled loops
(`kernels`) are loaded with the first chunk that is worth it: importing numba takes longer than sharing a small model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gossip.errors import LocalError, MalformedMessage
from gossip.field import Integers32, Reals, Words, interpolate, to_field
from gossip.parameters import MODULUS
from gossip.spec import HALF

Lows: TypeAlias = NDArray[np.uint16]
Highs: TypeAlias = NDArray[np.uint8]
_Part = TypeVar("_Part", np.uint16, np.uint8)

WORD_BYTES: Final = 3
WIRE_CHUNK: Final = 65_536
"""Words in one chunk of the wire form; the last chunk of a sequence may be shorter."""
COMPILED_FROM: Final = 1 << 15
"""Words in a chunk's input from which the compiled loops are loaded, and used."""
_LOADED_FROM: Final = 64
"""Once they are loaded, they are used from so many times fewer words."""
PIECE: Final = 1 << 15
"""Words that are read at a time: 128 KiB of them stay in the cache."""
SHARED: Final = 3 << 15
"""Words of seeded shares that are expanded at a time: their wire form, 288 KiB, stays in the cache."""
INNER: Final = 128
"""Words of a row; as many products fit exactly in a float64."""
_COMBINED: Final = 6
"""Combinations that the compiled loop makes at once."""
_RECOMBINED: Final = 1 << 17
"""Words that are recombined at a time, of all holders together: 512 KiB stay in the cache."""
_PADDING: Final = 192
"""Between the rows of a chunk: rows a power of two apart would share the same lines of the cache (kernels.md)."""


@dataclass(frozen=True, eq=False)
class Split:
    """Words (..., C) in two parts, which follow each other on the wire.

    Attributes:
        low: their low 16 bits.
        high: their high 8 bits.
    """

    low: Lows
    high: Highs

    @classmethod
    def empty(cls, rows: int, count: int) -> Split:
        low = np.empty((rows, count + _PADDING), dtype=np.uint16)
        high = np.empty((rows, count + _PADDING), dtype=np.uint8)
        return cls(low[:, :count], high[:, :count])

    @classmethod
    def of(cls, words: Words) -> Split:
        return cls(words.astype("<u2"), (words >> np.uint32(16)).astype(np.uint8))

    @classmethod
    def on_wire(cls, data: bytes | memoryview, count: int, offset: int = 0) -> Split:
        """The chunk of `count` words whose wire form begins at `offset`."""
        return cls(
            np.frombuffer(data, dtype="<u2", count=count, offset=offset),
            np.frombuffer(data, dtype=np.uint8, count=count, offset=offset + 2 * count),
        )

    def words(self) -> Words:
        """The words, canonical or not."""
        kernels = _compiled(self.low.size)
        if kernels is not None:
            words = np.empty(self.low.shape, dtype=np.uint32)
            for row in np.ndindex(self.low.shape[:-1]):
                kernels.join(self.low[row], self.high[row], words[row])
            return words
        joined = self.high.astype(np.uint32)
        joined <<= np.uint32(16)
        joined |= self.low
        return joined

    def first(self) -> Split:
        """The first row alone, (C,)."""
        return Split(self.low[0], self.high[0])

    def head(self, count: int) -> Split:
        """The first `count` words of each row."""
        return Split(self.low[..., :count], self.high[..., :count])

    def between(self, start: int, stop: int) -> Split:
        """These words of each row."""
        return Split(self.low[..., start:stop], self.high[..., start:stop])

    def row(self, index: int) -> tuple[memoryview, memoryview]:
        """The wire form of one row, in two pieces."""
        return memoryview(self.low[index]).cast("B"), memoryview(self.high[index])


@lru_cache(maxsize=1)
def _kernels() -> ModuleType | None:
    try:
        from gossip import kernels
    except ImportError:  # numba has no wheel for every platform
        return None
    return kernels


def _compiled(words: int) -> ModuleType | None:
    is_loaded = _kernels.cache_info().currsize > 0
    return _kernels() if words >= (COMPILED_FROM // _LOADED_FROM if is_loaded else COMPILED_FROM) else None


class WireWords:
    """Words (count,) read piece by piece from their wire form.

    Raises:
        MalformedMessage: another size, or, once it is read, a residue that is not canonical.
    """

    def __init__(self, data: bytes | memoryview, count: int) -> None:
        if len(data) != WORD_BYTES * count:
            raise MalformedMessage(f"{count} words take {WORD_BYTES * count} bytes, found {len(data)}")
        self._data, self._count, self._at = data, count, 0

    def fill(self, words: Words) -> None:
        """The next words, as many as fit in the only row of `words` (1, C)."""
        row, filled = words[0], 0
        while filled < len(row):
            chunk = self._at - self._at % WIRE_CHUNK
            split = Split.on_wire(self._data, min(WIRE_CHUNK, self._count - chunk), WORD_BYTES * chunk)
            part = split.between(self._at - chunk, self._at - chunk + len(row) - filled)
            size = len(part.low)
            _require_canonical(join(part, row[filled : filled + size]))
            filled += size
            self._at += size


def share(secrets: Words, streams: Split, matrix: Reals, shares: Split, at: int = 0) -> None:
    """Fill C columns, from `at`, of `shares` (m, >= at + C): those of C blocks with these secrets (C * k,), block by
    block, and these seeded shares (t, C).

    `matrix` (m, k + t) takes the values at a dealer's nodes to those at the holders' points; see `lagrange.basis`.
    """
    t, count = streams.low.shape
    k = matrix.shape[1] - t
    kernels = _compiled(count * matrix.shape[1])
    if kernels is None:
        rows = np.empty((k + t, count), dtype=np.uint32)
        rows[:k] = secrets.reshape(count, k).T
        rows[k:] = streams.words()
        plain, filled = Split.of(interpolate(matrix, rows)), shares.between(at, at + count)
        filled.low[:], filled.high[:] = plain.low, plain.high
        return
    padded, inputs, outputs = kernels.scratch(matrix)
    low, high = _with_padding(shares.low), _with_padding(shares.high)
    kernels.share(
        secrets, k, _with_padding(streams.low), _with_padding(streams.high), padded, low, high, at, count, inputs,
        outputs,
    )  # fmt: skip


def _with_padding(array: NDArray[_Part]) -> NDArray[_Part]:
    """The contiguous rows that a part was cut from by `Split.head`, if it was; they begin as its own do."""
    base = array.base
    if isinstance(base, np.ndarray) and base.ndim == 2 and base.shape[0] == array.shape[0] and base.flags.c_contiguous:
        return base
    return np.ascontiguousarray(array)


def recombine(rows: Sequence[Words], matrix: Reals, secrets: Words) -> None:
    """Fill `secrets` (C * k,), block by block, from the words (C,) of each of t + k holders; `matrix` (k, t + k)."""
    k, count = len(matrix), len(rows[0])
    kernels = _compiled(count * len(rows))
    if kernels is None:
        secrets[:] = interpolate(matrix, np.stack(rows)).T.reshape(-1)
        return
    padded, inputs, outputs = kernels.scratch(matrix)
    at_a_time = min(count, _RECOMBINED // len(rows))
    held = np.empty((len(rows), at_a_time + _PADDING), dtype=np.uint32)
    for start in range(0, count, at_a_time):
        stop = min(start + at_a_time, count)
        for row, words in zip(held, rows, strict=True):
            row[: stop - start] = words[start:stop]
        kernels.recombine(held, padded, k, stop - start, secrets[start * k : stop * k], inputs, outputs)


def encode_words(words: Words) -> bytes:
    """The wire form of words (count,).

    Raises:
        LocalError: a word that is not canonical; sent, it could reveal how it was computed.
    """
    if words.size and int(words.max()) >= MODULUS:
        raise LocalError("only canonical residues may leave this node")
    parts: list[bytes] = []
    for start in range(0, len(words), WIRE_CHUNK):
        split = Split.of(words[start : start + WIRE_CHUNK])
        parts += [split.low.tobytes(), split.high.tobytes()]
    return b"".join(parts)


def decode_words(data: bytes | memoryview, count: int) -> Words:
    """The `count` words whose wire form is `data`.

    Raises:
        MalformedMessage: another size, or a residue that is not canonical.
    """
    source = WireWords(data, count)
    words = np.empty(count, dtype=np.uint32)
    source.fill(words[np.newaxis])
    return words


def join(split: Split, words: Words) -> bool:
    """Fill `words` (C,) from their wire form; whether all are canonical."""
    kernels = _compiled(len(words))
    if kernels is not None:
        return bool(kernels.join(split.low, split.high, words))
    words[:] = split.words()
    return int(words.max()) < MODULUS


def _require_canonical(is_canonical: bool) -> None:
    if not is_canonical:
        raise MalformedMessage("a word is not a canonical residue")


def add(split: Split, total: Words) -> None:
    """total (C,) += words in their wire form, at most 255 times before it is reduced.

    Raises:
        MalformedMessage: a residue that is not canonical.
    """
    kernels = _compiled(len(total))
    if kernels is not None:
        _require_canonical(kernels.add(split.low, split.high, total))
        return
    words = split.words()
    _require_canonical(int(words.max()) < MODULUS)
    total += words


def make_canonical(sums: Words) -> None:
    """Put residues in the place of sums (C,) of at most 64 words each."""
    kernels = _compiled(len(sums))
    if kernels is None:
        sums %= np.uint32(MODULUS)
    else:
        kernels.make_canonical(sums)


def rejected(split: Split) -> list[tuple[int, int]]:
    """(row, column) of each word that is no residue, in rows (t, C)."""
    kernels = _compiled(split.low.size)
    if kernels is not None:
        low, high = _with_padding(split.low), _with_padding(split.high)
        if kernels.first_rejected(low, high, split.low.shape[1]) < 0:
            return []
    return [(int(row), int(column)) for row, column in np.argwhere(split.words() >= MODULUS)]


def round_stochastically(values: Reals, factor: float, noise: Words, words: Words) -> int:
    """Fill `words` (C,) with residues of floor(values * factor + noise / 2^32); the sum of these integers' squares.

    Exact for C up to 2^16.

    Raises:
        LocalError: an integer that no residue stands for.
    """
    kernels = _compiled(len(values))
    if kernels is None:
        floored = np.floor(values * factor + noise * 2.0**-32)
        _require_residues(bool((np.abs(floored) <= HALF).all()))
        rounded = floored.astype(np.int64)
        words[:] = to_field(rounded)
        return int(rounded @ rounded)
    squares = int(kernels.round_to_residues(values, factor, noise, words))
    _require_residues(squares >= 0)
    return squares


def _require_residues(are_within: bool) -> None:
    if not are_within:
        raise LocalError(f"an integer outside ±{HALF} has no residue of its own")


def length_of(values: Reals) -> float | None:
    """L2 norm of a vector; None where its squares are too small or too large for a float64, or not all are finite."""
    kernels = _compiled(len(values))
    with np.errstate(over="ignore"):
        total = float(values @ values) if kernels is None else float(kernels.squared_length(values))
    return math.sqrt(total) if 1e-200 < total < math.inf else None


def combine(words: Words, outer: Integers32, totals: Reals) -> None:
    """Add outer.T @ (words - HALF) modulo p to `totals` (R, rho, 128), centred, for each row of words (R, C).

    A row is taken as rows of 128, of which the last may be short; `outer` (ceil(C / 128), rho) is centred.
    """
    kernels = _compiled(words.size)
    if kernels is not None and outer.shape[1] == _COMBINED:
        kernels.combine(np.ascontiguousarray(words), np.ascontiguousarray(outer), totals.reshape(len(words), -1))
        return
    for row, total in zip(words, totals, strict=True):
        for first in range(0, len(outer), INNER):
            part, factors = row[first * INNER : (first + INNER) * INNER], outer[first : first + INNER]
            moved = np.zeros(len(factors) * INNER)
            np.subtract(part, float(HALF), out=moved[: len(part)])
            total += factors.T.astype(np.float64) @ moved.reshape(-1, INNER)
            total -= np.rint(total / MODULUS) * MODULUS
