"""Which of several values lie on one polynomial: decoding with errors, and agreement on a sum.

Decoding is Gao's: the extended Euclidean algorithm on the product of (x - x_i) and the interpolant of all
values, stopped half way.  Source: Gao 2003, "A new algorithm for decoding Reed-Solomon codes".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gossip.errors import LocalError
from gossip.field import Integers, Words, interpolate
from gossip.lagrange import basis, coefficients, holder_point, inverse, product_of_roots
from gossip.layout import Layout
from gossip.parameters import CHECK_REPETITIONS, MODULUS, Parameters
from gossip.prg import derive_seed
from gossip.proofs import Combination

AGREEMENT_SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Decoded:
    """A polynomial and the values that are not on it.

    Attributes:
        coefficients: canonical, lowest degree first, degree + 1 of them.
        wrong: positions, ascending, of the values that are off.
    """

    coefficients: tuple[int, ...]
    wrong: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Holders whose partial sums lie on common polynomials, and those whose do not; both ascending."""

    good: tuple[int, ...]
    wrong: tuple[int, ...]


def decode(xs: Sequence[int], ys: Sequence[int], degree: int) -> Decoded | None:
    """The polynomial of at most this degree that is off at no more than (len(xs) - degree - 1) // 2 values.

    There is at most one; None if there is none, or if fewer than degree + 1 values are given.

    Raises:
        LocalError: the points repeat, or points and values differ in number.
    """
    size = degree + 1
    if len(set(xs)) != len(xs) or len(xs) != len(ys):
        raise LocalError("a codeword has one value for each of distinct points")
    if len(xs) < size:
        return None
    radius = (len(xs) - size) // 2
    found = _check(_interpolate(xs[:size], ys[:size]), xs, ys, radius)
    if found is not None or radius == 0:
        return found  # the first values are right: no need to search
    polynomial = _gao(xs, ys, size)
    return None if polynomial is None else _check(polynomial, xs, ys, radius)


def agree_on_sum(
    partial_sums: Mapping[int, Words], layout: Layout, random: bytes, blocks: int | None = None, excluded: int = 0
) -> Agreement | None:
    """Whose partial sums (blocks,) lie on polynomials of degree t + k - 1, block by block (of a piece: `blocks`).

    None as long as that cannot be said: fewer than 2t + k would agree, or more than t would have to be
    wrong.  Then wait for more.  Where it is not None, any t + k of the good holders give the same sum, and
    at least t + k of them are honest, so it is the true one.

    Where `excluded` members are proven false, and not among these, so many fewer have to agree, and may be wrong.

    `random` is 32 bytes drawn by this member *after* the sums were in: against coefficients known before, a
    false sum can be fitted (protocol-analysis.md, P1).  A false sum then passes with probability (2 / p) **
    rho.

    Raises:
        LocalError: an unknown holder, a partial sum of another length, or `random` of another length.
    """
    size = layout.blocks if blocks is None else blocks
    _check_sums(partial_sums, layout.parameters, size, random)
    combination = Combination.from_seed(derive_seed(random, b"agreement"), size)
    return agree_on_values(
        {holder: combination.of(words) for holder, words in partial_sums.items()}, layout.parameters, excluded
    )


def agree_on_values(values: Mapping[int, Integers], parameters: Parameters, excluded: int = 0) -> Agreement | None:
    """Whose values (rho,) lie on polynomials; None while fewer than 2t + k do, or more than t are off.

    Both less `excluded`, members proven false that are not among these.
    """
    holders = tuple(sorted(values))
    if not holders:
        return None
    rows = np.stack([values[holder] for holder in holders])
    xs = tuple(map(holder_point, holders))
    wrong: set[int] = set()
    if not _is_codeword(xs, rows.astype(np.uint32), parameters.threshold):
        for repetition in range(CHECK_REPETITIONS):
            found = decode(xs, rows[:, repetition].tolist(), parameters.threshold - 1)
            if found is None:
                return None
            wrong.update(holders[position] for position in found.wrong)
    # [RULE] At most t partial sums, less as many as are proven false, are off when a sum opens
    if len(wrong) > max(0, parameters.privacy_threshold - excluded):
        return None
    # [RULE] 2t + k partial sums, less as many as are proven false, agree before a sum opens
    if len(holders) - len(wrong) < max(parameters.threshold, parameters.agreeing_sums - excluded):
        return None
    return Agreement(tuple(j for j in holders if j not in wrong), tuple(sorted(wrong)))


def _check_sums(partial_sums: Mapping[int, Words], parameters: Parameters, blocks: int, random: bytes) -> None:
    if len(random) != AGREEMENT_SEED_BYTES:
        raise LocalError(f"agreement needs {AGREEMENT_SEED_BYTES} fresh bytes, found {len(random)}")
    for holder, words in partial_sums.items():
        if not 0 <= holder < parameters.n or words.shape != (blocks,):
            raise LocalError(f"holder {holder} gave no partial sum of {blocks} words")


def _is_codeword(xs: tuple[int, ...], values: Words, size: int) -> bool:
    """Whether every column of `values` (points, columns) lies on a polynomial of degree below `size`."""
    predicted = interpolate(basis(xs[:size], xs[size:]), values[:size])
    return np.array_equal(predicted, values[size:])


def _interpolate(xs: Sequence[int], ys: Sequence[int]) -> list[int]:
    matrix = coefficients(tuple(xs))
    return [int(sum(int(c) * y for c, y in zip(row, ys, strict=True)) % MODULUS) for row in matrix]


def _check(polynomial: list[int], xs: Sequence[int], ys: Sequence[int], radius: int) -> Decoded | None:
    wrong = tuple(i for i, (x, y) in enumerate(zip(xs, ys, strict=True)) if _evaluate(polynomial, x) != y)
    return Decoded(tuple(polynomial), wrong) if len(wrong) <= radius else None


def _evaluate(polynomial: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * x + coefficient) % MODULUS
    return value


def _gao(xs: Sequence[int], ys: Sequence[int], size: int) -> list[int] | None:
    """The message polynomial, padded to `size` coefficients, if the remainder sequence gives one."""
    older, newer = product_of_roots(xs), _trim(_interpolate(xs, ys))
    factor_older: list[int] = []
    factor_newer = [1]
    while 2 * (len(newer) - 1) >= len(xs) + size:
        quotient, remainder = _divide(older, newer)
        older, newer = newer, remainder
        factor_older, factor_newer = factor_newer, _subtract(factor_older, _product(quotient, factor_newer))
    message, rest = _divide(newer, factor_newer)
    if rest or len(message) > size:
        return None
    return message + [0] * (size - len(message))


def _trim(polynomial: list[int]) -> list[int]:
    while polynomial and polynomial[-1] == 0:
        polynomial.pop()
    return polynomial


def _divide(dividend: Sequence[int], divisor: Sequence[int]) -> tuple[list[int], list[int]]:
    """Quotient and remainder, trimmed; the divisor is trimmed and not zero."""
    rest, lead = list(dividend), inverse(divisor[-1])
    quotient = [0] * max(0, len(rest) - len(divisor) + 1)
    for shift in range(len(quotient) - 1, -1, -1):
        factor = quotient[shift] = rest[shift + len(divisor) - 1] * lead % MODULUS
        if factor:
            for i, coefficient in enumerate(divisor, start=shift):
                rest[i] = (rest[i] - factor * coefficient) % MODULUS
    return _trim(quotient), _trim(rest)


def _product(left: Sequence[int], right: Sequence[int]) -> list[int]:
    if not left or not right:
        return []
    result = [0] * (len(left) + len(right) - 1)
    for i, a in enumerate(left):
        for j, b in enumerate(right, start=i):
            result[j] = (result[j] + a * b) % MODULUS
    return _trim(result)


def _subtract(left: Sequence[int], right: Sequence[int]) -> list[int]:
    longer = max(len(left), len(right))
    padded = [*left, *[0] * (longer - len(left))], [*right, *[0] * (longer - len(right))]
    return _trim([(a - b) % MODULUS for a, b in zip(*padded, strict=True)])
