"""Field elements modulo 2^24 - 3: signed integers in and out, exact products.

A word is a canonical residue, a `uint32` in [0, MODULUS).  Matrix products run in float64 on operands of
magnitude at most HALF < 2^23: up to 128 products of 46 bits add up to less than 2^53, so that every partial
sum is an integer that a float64 holds exactly, in whatever order the library adds.  Source:
secure-aggregation.md, 2.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gossip.errors import LocalError
from gossip.parameters import MODULUS
from gossip.spec import HALF

Words: TypeAlias = NDArray[np.uint32]
Integers: TypeAlias = NDArray[np.int64]
Integers32: TypeAlias = NDArray[np.int32]
Reals: TypeAlias = NDArray[np.float64]

_TILE: Final = 8_192
_INVERSE: Final = 1.0 / MODULUS


def to_field(values: Integers) -> Words:
    """The residues that stand for signed integers of magnitude at most HALF.

    Raises:
        LocalError: a value that no residue stands for.
    """
    if values.size and (values.min() < -HALF or values.max() > HALF):
        raise LocalError(f"an integer outside ±{HALF} has no residue of its own")
    return np.where(values < 0, values + MODULUS, values).astype(np.uint32)


def from_field(words: Words) -> Integers:
    """The signed integers in [-HALF, HALF] that the residues stand for."""
    values = words.astype(np.int64)
    values[values > HALF] -= MODULUS
    return values


def reduce(values: Reals) -> Words:
    """Canonical residues of integers of magnitude at most 2^53 - 2^24, given as float64.

    The quotient is rounded to nearest, so the remainder is exact and at most HALF + 1 away from 0: one
    conditional addition makes it canonical (kernels.md, "Exactness").
    """
    quotients = np.rint(values * _INVERSE)
    quotients *= MODULUS
    np.subtract(values, quotients, out=quotients)
    remainders = quotients.astype(np.int32)
    remainders += (remainders >> np.int32(31)) & np.int32(MODULUS)
    return remainders.view(np.uint32)


def centred(words: Words | Integers) -> Reals:
    """Residues as float64 integers in [-HALF, HALF]."""
    values = words.astype(np.float64)
    values[values > HALF] -= MODULUS
    return values


def interpolate(basis: Reals, rows: Words) -> Words:
    """basis @ rows modulo p, (m, C), for `rows` (K, C) and a `basis` (m, K) each row of which adds up to 1.

    Lagrange bases do, and so the words may be moved into the range of a signed operand by subtracting HALF
    from all of them, and the product moved back by adding HALF.
    """
    out = np.empty((len(basis), rows.shape[1]), dtype=np.uint32)  # (m, C)
    for start in range(0, rows.shape[1], _TILE):
        tile = slice(start, start + _TILE)
        moved = rows[:, tile].astype(np.float64)
        moved -= HALF
        product = basis @ moved
        product += HALF
        out[:, tile] = reduce(product)
    return out


def multiply(left: Integers, right: Integers) -> Integers:
    """left @ right modulo p for small canonical matrices; the inner dimension is at most 2^15."""
    return np.asarray((left @ right) % MODULUS, dtype=np.int64)
