from __future__ import annotations

import numpy as np
import pytest

from gossip.codeword import Agreement, agree_on_sum, decode
from gossip.errors import LocalError
from gossip.field import Words
from gossip.layout import Layout
from gossip.parameters import MODULUS, Parameters
from gossip.prg import derive_seed
from gossip.proofs import Combination
from tests.helpers import plain_sharing as plain

RANDOM = bytes(range(32))


def codeword(size: int, points: int, seed: int = 0) -> tuple[list[int], list[int], list[int]]:
    rng = np.random.default_rng([size, points, seed])
    coefficients = rng.integers(0, MODULUS, size).tolist()
    xs = list(range(1, points + 1))
    return coefficients, xs, [plain.horner(coefficients, x) for x in xs]


@pytest.mark.parametrize(("points", "size"), [(3, 2), (4, 2), (8, 4), (12, 6), (16, 8), (33, 16), (64, 32)])
def test_every_number_of_errors_within_the_radius_is_corrected(points: int, size: int) -> None:
    rng = np.random.default_rng(points)
    for errors in range((points - size) // 2 + 1):
        coefficients, xs, ys = codeword(size, points, errors)
        wrong = sorted(rng.choice(points, errors, replace=False).tolist())
        for position in wrong:
            ys[position] = (ys[position] + int(rng.integers(1, MODULUS))) % MODULUS
        found = decode(xs, ys, size - 1)
        assert found is not None
        assert (list(found.coefficients), list(found.wrong)) == (coefficients, wrong)


def test_liars_at_the_first_points_are_found() -> None:
    coefficients, xs, ys = codeword(4, 12)
    other, _, false = codeword(4, 12, seed=1)
    found = decode(xs, false[:4] + ys[4:], 3)  # four on a common false polynomial
    assert found is not None
    assert list(found.coefficients) == coefficients != other
    assert found.wrong == (0, 1, 2, 3)


def test_values_far_from_every_polynomial_are_not_decoded() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        assert decode(range(1, 13), rng.integers(0, MODULUS, 12).tolist(), 3) is None


@pytest.mark.parametrize("constant", [0, 7])
def test_polynomials_of_low_degree_keep_their_length(constant: int) -> None:
    found = decode([1, 2, 3, 4, 5, 6, 7], [constant + 1, constant + 9, *[constant] * 5], 2)
    assert found is not None
    assert (found.coefficients, found.wrong) == ((constant, 0, 0), (0, 1))


def test_too_few_values_decode_to_nothing() -> None:
    assert decode([1, 2], [5, 5], 2) is None


def test_repeated_points_are_refused() -> None:
    with pytest.raises(LocalError):
        decode([1, 1], [5, 5], 0)
    with pytest.raises(LocalError):
        decode([1, 2], [5], 0)


# --- agreement --------------------------------------------------------------------------------------------------------


def sums(n: int, blocks: int = 5, seed: int = 0) -> tuple[Layout, dict[int, Words]]:
    parameters = Parameters.of_size(n)
    layout = Layout(parameters, blocks * parameters.pack_size)
    rng = np.random.default_rng([n, seed])
    polynomials = rng.integers(0, MODULUS, (blocks, parameters.threshold)).tolist()
    values = {j: [plain.horner(f, j + 1) for f in polynomials] for j in range(n)}
    return layout, {j: np.array(row, np.uint32) for j, row in values.items()}


def falsify(words: Words, position: int = 0, by: int = 1) -> Words:
    false = words.copy()
    false[position] = (int(false[position]) + by) % MODULUS
    return false


@pytest.mark.parametrize("n", [3, 4, 7, 8, 16, 64])
def test_true_sums_agree_as_soon_as_there_are_enough(n: int) -> None:
    layout, partial = sums(n)
    enough = layout.parameters.agreeing_sums
    first = dict(list(partial.items())[:enough])
    assert agree_on_sum(first, layout, RANDOM) == Agreement(tuple(range(enough)), ())
    del first[0]
    assert agree_on_sum(first, layout, RANDOM) is None


def test_holders_that_are_wrong_in_different_words_are_all_named() -> None:
    layout, partial = sums(16)
    for holder, position in ((0, 0), (3, 4), (15, 2), (7, 2)):
        partial[holder] = falsify(partial[holder], position)
    found = agree_on_sum(partial, layout, RANDOM)
    assert found is not None
    assert found.wrong == (0, 3, 7, 15)
    assert len(found.good) == 12


def test_with_more_false_sums_than_tolerated_nothing_opens_and_nobody_is_named() -> None:
    layout, partial = sums(16)
    for holder in range(5):
        partial[holder] = falsify(partial[holder])
    assert agree_on_sum(partial, layout, RANDOM) is None
    layout, partial = sums(7)  # t = 1, and five of seven would agree
    partial[0], partial[1] = falsify(partial[0]), falsify(partial[1])
    assert agree_on_sum(partial, layout, RANDOM) is None


def test_one_late_sum_may_decide() -> None:
    layout, partial = sums(4)
    partial[2] = falsify(partial[2])
    late = partial.pop(0)
    assert agree_on_sum(partial, layout, RANDOM) is None
    assert agree_on_sum({**partial, 0: late}, layout, RANDOM) == Agreement((0, 1, 3), (2,))


def test_liars_together_cannot_open_a_false_sum() -> None:
    # t liars fit a false polynomial through t + k - 1 honest sums; 2t + k would have to agree.
    layout, partial = sums(8)
    honest = (0, 1, 2)
    for block in range(layout.blocks):
        points = {j + 1: int(partial[j][block]) for j in honest}
        points[6 + 1] = (int(partial[6][block]) + 1) % MODULUS
        for liar in (6, 7):
            partial[liar][block] = plain.evaluate(points, liar + 1)
    assert agree_on_sum({j: partial[j] for j in (*honest, 3, 6, 7)}, layout, RANDOM) is None
    found = agree_on_sum(partial, layout, RANDOM)
    assert found is not None
    assert found.wrong == (6, 7)


def test_a_sum_fitted_to_known_coefficients_fails_against_fresh_ones() -> None:
    # Protocol-analysis P1: against coefficients known before, a liar adds a vector of their kernel.
    layout, partial = sums(4, blocks=8)
    combination = Combination.from_seed(derive_seed(RANDOM, b"agreement"), 8)
    rows = [combination.of(np.eye(8, dtype=np.uint32)[b]).tolist() for b in range(8)]
    kernel = kernel_vector([list(row) for row in zip(*rows, strict=True)])
    partial[1] = ((partial[1].astype(np.int64) + kernel) % MODULUS).astype(np.uint32)
    assert agree_on_sum(partial, layout, RANDOM) == Agreement((0, 1, 2, 3), ())
    assert agree_on_sum(partial, layout, RANDOM[::-1]) == Agreement((0, 2, 3), (1,))


def test_a_false_sum_that_one_repetition_does_not_see_is_named() -> None:
    layout, partial = sums(4, blocks=8)
    combination = Combination.from_seed(derive_seed(RANDOM, b"agreement"), 8)
    first = [int(combination.of(np.eye(8, dtype=np.uint32)[b])[0]) for b in range(8)]
    partial[1] = ((partial[1].astype(np.int64) + kernel_vector([first])) % MODULUS).astype(np.uint32)
    assert agree_on_sum(partial, layout, RANDOM) == Agreement((0, 2, 3), (1,))


def kernel_vector(rows: list[list[int]]) -> list[int]:
    """A vector that all rows map to zero, by Gauss-Jordan elimination."""
    pivots: list[int] = []
    for column in range(len(rows[0])):
        row = next((i for i in range(len(pivots), len(rows)) if rows[i][column]), None)
        if row is None:
            vector = [0] * len(rows[0])
            vector[column] = 1
            for i, pivot in enumerate(pivots):
                vector[pivot] = -rows[i][column] % MODULUS
            return vector
        rows[len(pivots)], rows[row] = rows[row], rows[len(pivots)]
        chosen = rows[len(pivots)]
        scale = pow(chosen[column], -1, MODULUS)
        chosen[:] = [value * scale % MODULUS for value in chosen]
        for i, other in enumerate(rows):
            if i != len(pivots):
                factor = other[column]
                other[:] = [(a - factor * b) % MODULUS for a, b in zip(other, chosen, strict=True)]
        pivots.append(column)
    raise AssertionError("the rows have no kernel")


def test_misuse_is_refused() -> None:
    layout, partial = sums(4)
    for wrong in ({**partial, 4: partial[0]}, {**partial, 0: partial[0][:-1]}):
        with pytest.raises(LocalError):
            agree_on_sum(wrong, layout, RANDOM)
    with pytest.raises(LocalError):
        agree_on_sum(partial, layout, RANDOM[:16])
