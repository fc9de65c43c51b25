from __future__ import annotations

import numpy as np
import pytest

from gossip.field import to_field
from gossip.lagrange import basis, coefficients, holder_point, inverse, powers, product_of_roots
from gossip.parameters import MODULUS
from tests.helpers import plain_sharing as plain

NODES = (-1, -2, 5, 64, 3)


def test_a_basis_carries_values_to_other_points() -> None:
    values = [7, MODULUS - 1, 0, 123_456, 5]
    points = (1, 2, -3, 64, 100)  # 64 is a node itself
    rows = [[int(x) for x in row] for row in basis(NODES, points)]
    found = [sum(a * y for a, y in zip(row, values, strict=True)) % MODULUS for row in rows]
    assert found == [plain.evaluate(dict(zip(NODES, values, strict=True)), x) for x in points]
    assert rows[3] == [0, 0, 0, 1, 0]
    assert all(sum(row) % MODULUS == 1 for row in rows)


def test_coefficients_are_those_of_the_polynomial_lowest_degree_first() -> None:
    polynomial = [3, 0, MODULUS - 2, 9, 1]
    values = np.array([plain.horner(polynomial, x) for x in NODES])
    assert (coefficients(NODES) @ values % MODULUS).tolist() == polynomial
    assert powers(7, 5).tolist() == [7**e % MODULUS for e in range(5)]


def test_roots_make_a_monic_polynomial_that_is_zero_there_alone() -> None:
    whole = product_of_roots(NODES)
    assert len(whole) == 6
    assert whole[-1] == 1
    assert [plain.horner(whole, x) for x in NODES] == [0] * 5
    assert plain.horner(whole, 1) != 0


@pytest.mark.parametrize("value", [1, -1, 2, 65, -65])
def test_inverses_invert(value: int) -> None:
    assert inverse(value) * value % MODULUS == 1


def test_cached_matrices_cannot_be_spoiled() -> None:
    for matrix in (basis(NODES, (1,)), coefficients(NODES), powers(2, 3)):
        with pytest.raises(ValueError, match="read-only"):
            matrix += 1


def test_nobody_evaluates_at_zero() -> None:
    assert [holder_point(j) for j in (0, 63)] == [1, 64]
    assert to_field(np.array([-1]))[0] == MODULUS - 1
