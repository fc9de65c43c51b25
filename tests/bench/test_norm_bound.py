"""The experiment on a norm bound says what its docstring says that it says."""

from __future__ import annotations

import numpy as np
import pytest

from gossip.parameters import MODULUS
from tests.bench.norm_bound import (
    BOUND,
    Committee,
    answers_needed,
    draw_rows,
    long_with_a_small_square,
    open_squared_norm,
    verdict,
)

PRODUCT = [Committee.of_size(n) for n in (4, 8, 16)]
ROOMY = [Committee(5, 1, 1), Committee(9, 2, 1)]


@pytest.mark.parametrize("committee", PRODUCT + ROOMY, ids=str)
def test_the_proof_tells_an_honest_dealer_from_a_false_one(committee: Committee) -> None:
    assert verdict(committee, 1.0) == "accepted"
    assert verdict(committee, 3.0) == "refused"
    assert verdict(committee, 1.0, "bits") == "refused"
    assert verdict(committee, 1.0, "masks") == "refused"


@pytest.mark.parametrize("committee", PRODUCT, ids=str)
def test_one_lying_holder_voids_the_proof_with_the_parameters_of_the_product(committee: Committee) -> None:
    assert verdict(committee, 1.0, liars=1) == "undecided"
    assert verdict(committee, 1.0, missing=1) == "accepted"
    assert verdict(committee, 1.0, missing=2) == "undecided"


@pytest.mark.parametrize("committee", ROOMY, ids=str)
def test_t_lying_holders_change_nothing_where_nothing_is_packed(committee: Committee) -> None:
    assert verdict(committee, 1.0, liars=committee.t) == "accepted"
    assert verdict(committee, 3.0, liars=committee.t) == "refused"


def test_enough_members_are_there_for_four_sizes_alone() -> None:
    assert [n for n in range(3, 65) if answers_needed(n)["answers_to_correct_t_lies"] <= n] == [5, 6, 7, 11]


def test_n_minus_one_answers_open_and_more_than_n_correct() -> None:
    for n in (4, 8, 16, 32, 64):
        needed = answers_needed(n)
        assert needed["answers_to_open"] == n - 1
        assert needed["answers_to_correct_t_lies"] == 3 * n // 2 - 1 > n


@pytest.mark.parametrize("committee", PRODUCT, ids=str)
def test_a_squared_norm_is_opened_exactly_and_modulo_p_alone(committee: Committee) -> None:
    secrets = np.random.default_rng(1).integers(0, MODULUS, (20, committee.k), dtype=np.uint32)
    exact = sum(int(word) ** 2 for word in secrets.flat)
    assert open_squared_norm(committee, secrets) == open_squared_norm(committee, secrets, missing=1) == exact % MODULUS
    assert open_squared_norm(committee, secrets, missing=2) is None


def test_numbers_a_hundred_times_too_long_have_no_length_modulo_p() -> None:
    found = long_with_a_small_square()
    first, second = found["numbers"]
    assert (first**2 + second**2) % MODULUS == found["square"] == 0
    assert first**2 + second**2 > (100 * BOUND) ** 2


def test_rows_have_the_probabilities_that_they_should() -> None:
    rows = draw_rows(bytes(16), 8, 10_000)
    for value, probability in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        assert abs((rows == value).mean() - probability) < 0.01
