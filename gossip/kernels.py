"""Fused loops over field elements, compiled by numba: each pass reads its input once and writes its output once.

They give byte for byte what the plain numpy functions of `field`, `prg`, `shamir`, `proofs` and `quantise` give, which
are used where numba has no wheel and where a payload is too short to be worth a compiler.  What each trick buys is
measured in kernels.md: float64 products on centred operands, tiles whose scratch rows have a stride known to the
compiler, four output rows at a time, rounding to nearest by adding and subtracting 1.5 * 2^52, slices taken before
loops so that nothing can alias, arithmetic kept in 32 bits by force.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numba import float64, int32, int64, njit, uint8, uint16, uint32, uint64
from numpy.typing import NDArray

from gossip.field import Integers, Reals, Words
from gossip.parameters import MODULUS
from gossip.spec import HALF

Lows: TypeAlias = NDArray[np.uint16]
Highs: TypeAlias = NDArray[np.uint8]

TILE: Final = 512
_STRIDE: Final = TILE + 24
_MAGIC: Final = 1.5 * 2.0**52
_INVERSE: Final = 1.0 / MODULUS
_P: Final = MODULUS
_H: Final = HALF
_ROWS: Final = 4
_INNER: Final = 128


def _has_cache() -> bool:
    """Whether numba finds a folder to keep compiled code in; if not, every process compiles anew, in a few seconds."""
    try:
        njit(cache=True)(lambda: None)
    except RuntimeError:
        return False
    return True


_OPTIONS: Final[dict[str, Any]] = {
    "fastmath": {"contract"}, "nogil": True, "cache": _has_cache(), "error_model": "numpy"
}  # fmt: skip
_INLINE: Final[dict[str, Any]] = {**_OPTIONS, "forceinline": True}


def scratch(matrix: Reals) -> tuple[Reals, Reals, Reals]:
    """A matrix padded with zeros to multiples of 4, and the rows that `share` and `recombine` work in."""
    rows, columns = matrix.shape
    padded = np.zeros((-(-rows // _ROWS) * _ROWS, -(-columns // _ROWS) * _ROWS))
    padded[:rows, :columns] = matrix
    return padded, np.zeros(padded.shape[1] * _STRIDE), np.zeros(_ROWS * _STRIDE)


# --- pieces ---------------------------------------------------------------------------------------------------------


@njit(**_INLINE)
def _centre(low: Lows, high: Highs, out: Reals) -> None:
    for j in range(low.shape[0]):
        out[j] = float64(int32(int32(low[j]) + (int32(high[j]) << int32(16)) - int32(_H)))


@njit(**_INLINE)
def _centre_slot(words: Words, slot: int, k: int, out: Reals) -> None:
    for j in range(out.shape[0]):
        out[j] = float64(int32(int32(words[uint64(j) * uint64(k) + uint64(slot)]) - int32(_H)))


@njit(**_INLINE)
def _centre_words(words: Words, out: Reals) -> None:
    for j in range(words.shape[0]):
        out[j] = float64(int32(int32(words[j]) - int32(_H)))


@njit(**_INLINE)
def _pack(values: Reals, low: Lows, high: Highs) -> None:
    for j in range(low.shape[0]):
        v = values[j] + float64(_H)
        q = (v * _INVERSE + _MAGIC) - _MAGIC
        z = int32(v - q * _P)
        z = int32(z + (int32(_P) & (z >> int32(31))))
        low[j] = uint16(z)
        high[j] = uint8(z >> int32(16))


@njit(**_INLINE)
def _scatter(values: Reals, slot: int, k: int, out: Words) -> None:
    for j in range(values.shape[0]):
        v = values[j] + float64(_H)
        q = (v * _INVERSE + _MAGIC) - _MAGIC
        z = int32(v - q * _P)
        out[uint64(j) * uint64(k) + uint64(slot)] = uint32(z + (int32(_P) & (z >> int32(31))))


@njit(**_INLINE)
def _multiply4(m: Reals, r: int, q: int, u_all: Reals, y: Reals, n: int, first: bool) -> None:
    """y[4 rows] (+)= m[r:r+4, q:q+4] @ u[q:q+4]
    scratch rows are _STRIDE apart."""
    m00 = m[r, q]
    m01 = m[r, q + 1]
    m02 = m[r, q + 2]
    m03 = m[r, q + 3]
    m10 = m[r + 1, q]
    m11 = m[r + 1, q + 1]
    m12 = m[r + 1, q + 2]
    m13 = m[r + 1, q + 3]
    m20 = m[r + 2, q]
    m21 = m[r + 2, q + 1]
    m22 = m[r + 2, q + 2]
    m23 = m[r + 2, q + 3]
    m30 = m[r + 3, q]
    m31 = m[r + 3, q + 1]
    m32 = m[r + 3, q + 2]
    m33 = m[r + 3, q + 3]
    u = u_all[q * _STRIDE : (q + 4) * _STRIDE]
    if first:
        for i in range(n):
            j = uint64(i)
            a = u[j]
            b = u[j + uint64(_STRIDE)]
            c = u[j + uint64(2 * _STRIDE)]
            d = u[j + uint64(3 * _STRIDE)]
            y[j] = m00 * a + m01 * b + m02 * c + m03 * d
            y[j + uint64(_STRIDE)] = m10 * a + m11 * b + m12 * c + m13 * d
            y[j + uint64(2 * _STRIDE)] = m20 * a + m21 * b + m22 * c + m23 * d
            y[j + uint64(3 * _STRIDE)] = m30 * a + m31 * b + m32 * c + m33 * d
    else:
        for i in range(n):
            j = uint64(i)
            a = u[j]
            b = u[j + uint64(_STRIDE)]
            c = u[j + uint64(2 * _STRIDE)]
            d = u[j + uint64(3 * _STRIDE)]
            y[j] = y[j] + m00 * a + m01 * b + m02 * c + m03 * d
            y[j + uint64(_STRIDE)] = y[j + uint64(_STRIDE)] + m10 * a + m11 * b + m12 * c + m13 * d
            y[j + uint64(2 * _STRIDE)] = y[j + uint64(2 * _STRIDE)] + m20 * a + m21 * b + m22 * c + m23 * d
            y[j + uint64(3 * _STRIDE)] = y[j + uint64(3 * _STRIDE)] + m30 * a + m31 * b + m32 * c + m33 * d


@njit(**_INLINE)
def _multiply(m: Reals, r: int, u: Reals, y: Reals, n: int) -> None:
    q = 0
    while q < m.shape[1]:
        _multiply4(m, r, q, u, y, n, q == 0)
        q += 4


# --- sharing and recombining ----------------------------------------------------------------------------------------


@njit(**_OPTIONS)
def share(
    secrets: Words,
    k: int,
    stream_low: Lows,
    stream_high: Highs,
    m: Reals,
    low: Lows,
    high: Highs,
    count: int,
    u: Reals,
    y: Reals,
) -> None:
    """Shares of a chunk of blocks: m @ (secrets, streams) modulo p, split for the wire.

    secrets (C * k,) uint32; stream_low (t, C) uint16 and stream_high (t, C) uint8; m, u and y as from `scratch`;
    the first `count` = C columns of low (m, >= C) uint16 and high (m, >= C) uint8 are filled.
    """
    t = stream_low.shape[0]
    for start in range(0, count, TILE):
        n = min(TILE, count - start)
        stop = start + n
        for i in range(k):
            _centre_slot(secrets[start * k : stop * k], i, k, u[i * _STRIDE : i * _STRIDE + n])
        for i in range(t):
            row = k + i
            _centre(stream_low[i, start:stop], stream_high[i, start:stop], u[row * _STRIDE : row * _STRIDE + n])
        for r in range(0, m.shape[0], _ROWS):
            _multiply(m, r, u, y, n)
            for i in range(min(_ROWS, low.shape[0] - r)):
                _pack(y[i * _STRIDE : i * _STRIDE + n], low[r + i, start:stop], high[r + i, start:stop])


@njit(**_OPTIONS)
def recombine(rows: Words, m: Reals, k: int, count: int, out: Words, u: Reals, y: Reals) -> None:
    """Secrets of `count` = C blocks, out (C * k,) uint32, from words rows (K, >= C) of t + k holders."""
    for start in range(0, count, TILE):
        n = min(TILE, count - start)
        stop = start + n
        for i in range(rows.shape[0]):
            _centre_words(rows[i, start:stop], u[i * _STRIDE : i * _STRIDE + n])
        for r in range(0, m.shape[0], _ROWS):
            _multiply(m, r, u, y, n)
            for i in range(min(_ROWS, k - r)):
                _scatter(y[i * _STRIDE : i * _STRIDE + n], r + i, k, out[start * k : stop * k])


@njit(**_OPTIONS)
def join(low: Lows, high: Highs, out: Words) -> bool:
    """Words from their wire form; whether all are canonical."""
    most = uint32(0)
    for j in range(low.shape[0]):
        z = uint32(uint32(low[j]) + (uint32(high[j]) << uint32(16)))
        out[j] = z
        most |= uint32(uint32(_P - 1) - z)
    return most >> uint32(31) == 0


@njit(**_OPTIONS)
def add(low: Lows, high: Highs, total: Words) -> bool:
    """total += words in their wire form, at most 255 times
    whether all are canonical."""
    most = uint32(0)
    for j in range(low.shape[0]):
        z = uint32(uint32(low[j]) + (uint32(high[j]) << uint32(16)))
        total[j] = uint32(total[j] + z)
        most |= uint32(uint32(_P - 1) - z)
    return most >> uint32(31) == 0


@njit(**_OPTIONS)
def first_rejected(low: Lows, high: Highs) -> int:
    """Index of the first row (of `low`, `high`: (t, C)) with a word that is no residue; -1 if there is none."""
    for i in range(low.shape[0]):
        lows, highs = low[i], high[i]
        most = uint32(0)
        for j in range(lows.shape[0]):
            most |= uint32(uint32(_P - 1) - uint32(uint32(lows[j]) + (uint32(highs[j]) << uint32(16))))
        if most >> uint32(31):
            return i
    return -1


# --- checking -------------------------------------------------------------------------------------------------------


# Sums of exact integers may be added in any order.
@njit(**{**_OPTIONS, "fastmath": {"contract", "reassoc"}})
def combine(words: Words, inner: Reals, out: Reals) -> None:
    """out (ceil(B / 128), rho): exact products of each 128 centred words with inner (rho, 128), rho a multiple of 3."""
    whole = words.shape[0] // _INNER
    repetitions = inner.shape[0]
    u = np.zeros(_INNER)
    for row in range(out.shape[0]):
        n = _INNER if row < whole else words.shape[0] - whole * _INNER
        piece = words[row * _INNER : row * _INNER + n]
        _centre_words(piece, u[:n])
        for s in range(0, repetitions, 3):
            first, second, third = 0.0, 0.0, 0.0
            c0, c1, c2 = inner[s, :n], inner[s + 1, :n], inner[s + 2, :n]
            for j in range(n):
                first += u[j] * c0[j]
                second += u[j] * c1[j]
                third += u[j] * c2[j]
            out[row, s] = first
            out[row, s + 1] = second
            out[row, s + 2] = third


# --- quantising -----------------------------------------------------------------------------------------------------


# The norm is a dealer's own affair, and may be added up in any order.
@njit(**{**_OPTIONS, "fastmath": {"contract", "reassoc"}})
def squared_length(values: Reals) -> float:
    """Sum of squares; not finite if a value is not, or if it is too large for a float64."""
    total = 0.0
    for j in range(values.shape[0]):
        total += float64(values[j]) * float64(values[j])
    return total


# Without "contract": multiplied and added in two roundings, as numpy does.
@njit(**{**_OPTIONS, "fastmath": False})
def round_up_or_down(values: Reals, factor: float, noise: Words, out: Integers) -> int:
    """out = floor(values * factor + noise / 2^32); the sum of their squares, exact for 2^16 of magnitude 2^23."""
    squares = int64(0)
    for j in range(values.shape[0]):
        rounded = np.floor(float64(values[j]) * factor + float64(noise[j]) * 2.0**-32)
        out[j] = int64(rounded)
        squares += int64(rounded * rounded)
    return squares


@njit(**_OPTIONS)
def to_residues(values: Integers, out: Words) -> bool:
    """Residues of signed integers; whether all have one of their own."""
    outside = int64(0)
    for j in range(values.shape[0]):
        v = values[j]
        out[j] = uint32(v + (int64(_P) & (v >> int64(63))))
        outside |= (int64(_H) - v) | (int64(_H) + v)
    return outside >= 0
