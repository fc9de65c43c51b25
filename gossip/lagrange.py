"""Matrices over the field that take a polynomial from some of its values to others, or to coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gossip.field import Integers, Reals, centred
from gossip.parameters import MODULUS

_Number = TypeVar("_Number", np.int64, np.float64)


def holder_point(holder: int) -> int:
    """Where holder `holder` evaluates; x = 0 is nobody's and means nothing."""
    return holder + 1


@lru_cache(maxsize=4096)
def inverse(value: int) -> int:
    """1 / value modulo p; the differences of nodes are few, so they are remembered."""
    return pow(value, -1, MODULUS)


@lru_cache(maxsize=512)
def basis(nodes: tuple[int, ...], points: tuple[int, ...]) -> Reals:
    """L (len(points), len(nodes)), centred: values at `points` = L @ values at the distinct `nodes`.

    The polynomial is the one of degree below len(nodes).  Each row adds up to 1 modulo p.
    """
    weights = _barycentric_weights(nodes)
    matrix = np.zeros((len(points), len(nodes)), dtype=np.int64)
    for row, point in enumerate(points):
        if point in nodes:
            matrix[row, nodes.index(point)] = 1
            continue
        whole = 1
        for node in nodes:
            whole = whole * (point - node) % MODULUS
        for column, node in enumerate(nodes):
            matrix[row, column] = whole * weights[column] * inverse(point - node) % MODULUS
    return _frozen(centred(matrix))


@lru_cache(maxsize=256)
def coefficients(nodes: tuple[int, ...]) -> Integers:
    """C (K, K), canonical: coefficients, lowest degree first, = C @ values at the K distinct `nodes`."""
    whole = product_of_roots(nodes)
    matrix = np.zeros((len(nodes), len(nodes)), dtype=np.int64)
    for column, (node, weight) in enumerate(zip(nodes, _barycentric_weights(nodes), strict=True)):
        carry = 0
        for degree in range(len(nodes) - 1, -1, -1):
            carry = (whole[degree + 1] + node * carry) % MODULUS
            matrix[degree, column] = carry * weight % MODULUS
    return _frozen(matrix)


@lru_cache(maxsize=1024)
def powers(point: int, count: int) -> Integers:
    """(count,): 1, point, point^2, ... modulo p, canonical."""
    values = [pow(point, exponent, MODULUS) for exponent in range(count)]
    return _frozen(np.array(values, dtype=np.int64))


def product_of_roots(nodes: Sequence[int]) -> list[int]:
    """Coefficients of the product of (x - node), lowest degree first."""
    whole = [1]
    for node in nodes:
        shifted = [0, *whole]
        whole = [(high - node * low) % MODULUS for high, low in zip(shifted, [*whole, 0], strict=True)]
    return whole


def _barycentric_weights(nodes: tuple[int, ...]) -> list[int]:
    weights = []
    for node in nodes:
        weight = 1
        for other in nodes:
            if other != node:
                weight = weight * inverse(node - other) % MODULUS
        weights.append(weight)
    return weights


def _frozen(array: NDArray[_Number]) -> NDArray[_Number]:
    array.flags.writeable = False
    return array
