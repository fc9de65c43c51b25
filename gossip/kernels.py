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

from gossip.field import Integers32, Reals, Words
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
_INLINE: Final[dict[str, Any]] = {
    **_OPTIONS, "cache": False, "forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True
}  # fmt: skip
"""For loops that are only ever part of another: they need neither a place in the cache nor a door from Python."""


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
def _centre_words(words: Words, out: Reals) -> None:
    for j in range(words.shape[0]):
        out[j] = float64(int32(int32(words[j]) - int32(_H)))


@njit(**_INLINE)
def _centre_slots(words: Words, n: int, k: int, u: Reals) -> None:
    """u[slot * _STRIDE + j] from words[j * k + slot]; where k is a constant, without gathering words one by one."""
    for slot in range(k):
        row = u[slot * _STRIDE : slot * _STRIDE + n]
        for j in range(n):
            row[j] = float64(int32(int32(words[uint64(j) * uint64(k) + uint64(slot)]) - int32(_H)))


@njit(**_INLINE)
def _centre_4_slots(words: Words, n: int, k: int, u: Reals) -> None:
    for j in range(n):
        at = uint64(j) * uint64(k)
        u[j] = float64(int32(int32(words[at]) - int32(_H)))
        u[j + _STRIDE] = float64(int32(int32(words[at + uint64(1)]) - int32(_H)))
        u[j + 2 * _STRIDE] = float64(int32(int32(words[at + uint64(2)]) - int32(_H)))
        u[j + 3 * _STRIDE] = float64(int32(int32(words[at + uint64(3)]) - int32(_H)))


@njit(**_INLINE)
def _residue(value: float) -> int:
    v = value + float64(_H)
    q = (v * _INVERSE + _MAGIC) - _MAGIC
    z = uint32(int32(v - q * _P))
    return min(z, uint32(z + uint32(_P)))  # a negative number is a large one without its sign


@njit(**_INLINE)
def _pack(values: Reals, low: Lows, high: Highs) -> None:
    for j in range(low.shape[0]):
        z = _residue(values[j])
        low[j] = uint16(z)
        high[j] = uint8(z >> uint32(16))


@njit(**_INLINE)
def _scatter(y: Reals, n: int, slot: int, slots: int, k: int, out: Words) -> None:
    """out[j * k + slot + i] from y[i * _STRIDE + j]; where k is a constant, without storing words one by one."""
    for i in range(slots):
        row = y[i * _STRIDE : i * _STRIDE + n]
        for j in range(n):
            out[uint64(j) * uint64(k) + uint64(slot + i)] = _residue(row[j])


@njit(**_INLINE)
def _scatter_4(y: Reals, n: int, k: int, out: Words) -> None:
    for j in range(n):
        at = uint64(j) * uint64(k)
        out[at] = _residue(y[j])
        out[at + uint64(1)] = _residue(y[j + _STRIDE])
        out[at + uint64(2)] = _residue(y[j + 2 * _STRIDE])
        out[at + uint64(3)] = _residue(y[j + 3 * _STRIDE])


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
    for q in range(0, m.shape[1], 4):
        _multiply4(m, r, q, u, y, n, q == 0)


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
    at: int,
    count: int,
    u: Reals,
    y: Reals,
) -> None:
    """Shares of some blocks: m @ (secrets, streams) modulo p, split for the wire.

    secrets (C * k,) uint32; stream_low (t, C) uint16 and stream_high (t, C) uint8; m, u and y as from `scratch`;
    `count` = C columns, from `at`, of low (m, >= at + C) uint16 and high (m, >= at + C) uint8 are filled.
    """
    t = stream_low.shape[0]
    for start in range(0, count, TILE):
        n = min(TILE, count - start)
        stop = start + n
        words = secrets[start * k : stop * k]
        if k == 1:
            _centre_words(words, u[:n])
        elif k == 2:
            _centre_slots(words, n, 2, u)
        elif k == 4:
            _centre_4_slots(words, n, 4, u)
        elif k == 8:
            _centre_4_slots(words, n, 8, u)
            _centre_4_slots(words[4:], n, 8, u[4 * _STRIDE :])
        else:
            _centre_slots(words, n, k, u)
        for i in range(t):
            row = k + i
            _centre(stream_low[i, start:stop], stream_high[i, start:stop], u[row * _STRIDE : row * _STRIDE + n])
        for r in range(0, m.shape[0], _ROWS):
            _multiply(m, r, u, y, n)
            for i in range(min(_ROWS, low.shape[0] - r)):
                columns = slice(at + start, at + stop)
                _pack(y[i * _STRIDE : i * _STRIDE + n], low[r + i, columns], high[r + i, columns])


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
            words = out[start * k : stop * k]
            if k == 1:
                _scatter(y, n, 0, 1, 1, words)
            elif k == 2:
                _scatter(y, n, 0, 2, 2, words)
            elif k == 4:
                _scatter_4(y, n, 4, words)
            elif k == 8:
                _scatter_4(y, n, 8, words[r:])
            else:
                _scatter(y, n, r, min(_ROWS, k - r), k, words)


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
def make_canonical(sums: Words) -> None:
    """Sums of at most 64 words each, modulo p, in place: 2^24 is 3."""
    for j in range(sums.shape[0]):
        z = uint32((sums[j] & uint32(0xFFFFFF)) + uint32(3) * (sums[j] >> uint32(24)))
        sums[j] = min(z, uint32(z - uint32(_P)))


@njit(**_OPTIONS)
def first_rejected(low: Lows, high: Highs, count: int) -> int:
    """The first row of `low` and `high` with a word, among its first `count`, that is no residue; -1 without one."""
    for i in range(low.shape[0]):
        lows, highs = low[i, :count], high[i, :count]
        most = uint32(0)
        for j in range(lows.shape[0]):
            most |= uint32(uint32(_P - 1) - uint32(uint32(lows[j]) + (uint32(highs[j]) << uint32(16))))
        if most >> uint32(31):
            return i
    return -1


# --- checking -------------------------------------------------------------------------------------------------------


@njit(**_INLINE)
def _combine4(u: Reals, outer: Integers32, row: int, t: Reals) -> None:
    """t (6 * 128) += outer[row : row + 4].T @ u (4 * 128)"""
    c00 = float64(outer[row, 0])
    c01 = float64(outer[row + 1, 0])
    c02 = float64(outer[row + 2, 0])
    c03 = float64(outer[row + 3, 0])
    c10 = float64(outer[row, 1])
    c11 = float64(outer[row + 1, 1])
    c12 = float64(outer[row + 2, 1])
    c13 = float64(outer[row + 3, 1])
    c20 = float64(outer[row, 2])
    c21 = float64(outer[row + 1, 2])
    c22 = float64(outer[row + 2, 2])
    c23 = float64(outer[row + 3, 2])
    c30 = float64(outer[row, 3])
    c31 = float64(outer[row + 1, 3])
    c32 = float64(outer[row + 2, 3])
    c33 = float64(outer[row + 3, 3])
    c40 = float64(outer[row, 4])
    c41 = float64(outer[row + 1, 4])
    c42 = float64(outer[row + 2, 4])
    c43 = float64(outer[row + 3, 4])
    c50 = float64(outer[row, 5])
    c51 = float64(outer[row + 1, 5])
    c52 = float64(outer[row + 2, 5])
    c53 = float64(outer[row + 3, 5])
    for j in range(_INNER):
        a = u[j]
        b = u[j + _INNER]
        c = u[j + 2 * _INNER]
        d = u[j + 3 * _INNER]
        t[j] += c00 * a + c01 * b + c02 * c + c03 * d
        t[j + _INNER] += c10 * a + c11 * b + c12 * c + c13 * d
        t[j + 2 * _INNER] += c20 * a + c21 * b + c22 * c + c23 * d
        t[j + 3 * _INNER] += c30 * a + c31 * b + c32 * c + c33 * d
        t[j + 4 * _INNER] += c40 * a + c41 * b + c42 * c + c43 * d
        t[j + 5 * _INNER] += c50 * a + c51 * b + c52 * c + c53 * d


@njit(**_INLINE)
def _combine1(u: Reals, outer: Integers32, t: Reals) -> None:
    for s in range(outer.shape[0]):
        coefficient = float64(outer[s])
        sums = t[s * _INNER : s * _INNER + u.shape[0]]
        for j in range(u.shape[0]):
            sums[j] += coefficient * u[j]


@njit(**_INLINE)
def _combine_row(words: Words, outer: Integers32, t: Reals, u: Reals) -> None:
    for first in range(0, outer.shape[0], _INNER):
        last = min(first + _INNER, outer.shape[0])
        for row in range(first, last, _ROWS):
            piece = words[row * _INNER : min(row + _ROWS, last) * _INNER]
            _centre_words(piece, u[: piece.shape[0]])
            if piece.shape[0] == _ROWS * _INNER:
                _combine4(u, outer, row, t)
                continue
            for i in range(last - row):
                n = min(_INNER, piece.shape[0] - i * _INNER)
                _combine1(u[i * _INNER : i * _INNER + n], outer[row + i], t)
        for j in range(t.shape[0]):
            t[j] -= ((t[j] * _INVERSE + _MAGIC) - _MAGIC) * _P


@njit(**_OPTIONS)
def combine(words: Words, outer: Integers32, totals: Reals) -> None:
    """totals (R, 6 * 128), centred, += outer.T @ (words - HALF) modulo p; outer (ceil(C / 128), 6).

    Each of the R rows of words (R, C) is taken as rows of 128; 128 products of 46 bits and what was there before stay
    below 2^53.
    """
    u = np.zeros(_ROWS * _INNER)
    for i in range(words.shape[0]):
        _combine_row(words[i], outer, totals[i], u)


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
def round_to_residues(values: Reals, factor: float, noise: Words, out: Words) -> int:
    """out = residues of floor(values * factor + noise / 2^32); the sum of these integers' squares.

    Exact for 2^16 of them; -1 if one has no residue of its own.
    """
    squares, outside = int64(0), False
    for j in range(values.shape[0]):
        rounded = np.floor(float64(values[j]) * factor + float64(noise[j]) * 2.0**-32)
        outside |= not (-float64(_H) <= rounded <= float64(_H))
        v = int32(rounded)
        out[j] = min(uint32(v), uint32(uint32(v) + uint32(_P)))
        squares += int64(v) * int64(v)
    return -1 if outside else squares
