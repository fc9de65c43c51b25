from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest

from gossip.errors import LocalError
from gossip.field import to_field
from gossip.lagrange import basis
from gossip.layout import Layout
from gossip.parameters import MODULUS, Parameters
from gossip.quantise import gradient_scale, update_bound, update_scale
from gossip.scores import (
    MAX_PPM,
    Direction,
    Terms,
    answer,
    compute_direction,
    direction_bound,
    open_score,
    score_bound,
    to_ppm,
)
from gossip.shamir import deal, open_blob
from gossip.spec import HALF, MICRO, TaskSpec
from tests.helpers.integers import quantise_gradient, quantise_update

SPEC = TaskSpec(
    task="test", dimension=31, features=0, rounds=5, clip_norm_micro=2_000_000, max_weight=1000,
    gradient_clip_micro=3_000_000, max_gradient_weight=500, initial_model="0" * 64,
)  # fmt: skip
BEACON = bytes(range(32))
SIZES = (3, 4, 5, 7, 8, 12, 16)


def spec(**changes: Any) -> TaskSpec:
    return msgspec.structs.replace(SPEC, **changes)


def answers_for(update: np.ndarray, direction: Direction, n: int, dealer: int = 0) -> dict[int, int]:
    layout = Layout(Parameters.of_size(n), len(update))
    dealing = deal(to_field(update), layout, dealer, bytes(range(32)))
    shares = {j: open_blob(dealing.blob(j), layout, dealer, j) for j in range(n)}
    return {j: answer(direction, share, layout, j) for j, share in shares.items()}


ORACLE_UPDATE = np.array([7919 * c % 2001 - 1000 for c in range(1000)])
ORACLE_DIRECTION = Direction(np.array([104729 * c % 11 - 5 for c in range(1000)]), 1, 0)


@pytest.mark.parametrize("n", SIZES)
def test_the_field_oracle_of_the_measurements(n: int) -> None:
    answers = answers_for(ORACLE_UPDATE, ORACLE_DIRECTION, n)
    assert open_score(answers, Parameters.of_size(n)) == (4131, ())


@pytest.mark.parametrize(("n", "slots"), [(4, [4131]), (8, [5899, -1768]), (16, [4133, -6301, 1766, 4533])])
def test_the_slots_of_the_oracle_add_up(n: int, slots: list[int]) -> None:
    k = Parameters.of_size(n).pack_size
    products = ORACLE_UPDATE * ORACLE_DIRECTION.values
    assert [int(products[s::k].sum()) for s in range(k)] == slots


@pytest.mark.parametrize(
    ("n", "expected"),
    [(4, [16777208, 4, 2]), (8, [16777190, 6, 2]), (16, [16777113, 123, 5])],
)
def test_an_answer_weighs_each_block_by_the_directions_polynomial(n: int, expected: list[int]) -> None:
    layout = Layout(Parameters.of_size(n), 1000)
    for block, value in enumerate(expected):
        share = np.zeros(layout.total_blocks, np.uint32)
        share[block] = 1
        assert answer(ORACLE_DIRECTION, share, layout, holder=0) == value


@pytest.mark.parametrize("n", SIZES)
def test_scores_add_up_to_that_of_the_sum(n: int) -> None:
    rng = np.random.default_rng(n)
    direction = Direction(rng.integers(-40, 41, 23), 1, 0)
    updates = rng.integers(-4096, 4097, (3, 23))
    opened = [open_score(answers_for(x, direction, n, i), Parameters.of_size(n))[0] for i, x in enumerate(updates)]
    assert opened == [int(x @ direction.values) for x in updates]
    assert sum(filter(None, opened)) == int(updates.sum(axis=0) @ direction.values)


def test_answers_are_exact_at_the_largest_magnitudes() -> None:
    layout = Layout(Parameters.of_size(16), 300_000)
    direction = Direction(np.full(300_000, 2047), 1, 0)
    share = np.full(layout.total_blocks, MODULUS - 1, np.uint32)
    weights = [int(w) for w in basis((-1, -2, -3, -4), (6,))[0]]
    assert answer(direction, share, layout, 5) == -sum(weights) * 2047 * 75_000 % MODULUS


def test_a_direction_shorter_than_the_payload_leaves_the_rest_out() -> None:
    layout = Layout(Parameters.of_size(8), 40)
    share = np.zeros(layout.total_blocks, np.uint32)
    share[16:] = 5  # blocks behind the 31 coordinates of the update
    assert answer(Direction(np.ones(31, np.int64), 1, 0), share, layout, 3) == 0


def test_a_direction_that_does_not_fit_is_refused() -> None:
    layout = Layout(Parameters.of_size(8), 30)
    with pytest.raises(LocalError):
        answer(Direction(np.ones(31, np.int64), 1, 0), np.zeros(layout.total_blocks, np.uint32), layout, 3)
    with pytest.raises(LocalError):
        answer(Direction(np.ones(3, np.int64), 1, 0), np.zeros(7, np.uint32), layout, 3)


# --- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(3, 65))
def test_every_committee_has_enough_members_to_open_a_score(n: int) -> None:
    assert Parameters.of_size(n).agreeing_answers <= n


@pytest.mark.parametrize("n", SIZES)
def test_false_answers_are_named_as_long_as_enough_others_agree(n: int) -> None:
    parameters = Parameters.of_size(n)
    true = answers_for(ORACLE_UPDATE, ORACLE_DIRECTION, n)
    tolerated = min(parameters.privacy_threshold, n - parameters.agreeing_answers)
    for lies in range(tolerated + 2):
        answers = {j: (a + (j < lies) * (j + 1)) % MODULUS for j, a in true.items()}
        expected = (4131, tuple(range(lies))) if lies <= tolerated else (None, ())
        assert open_score(answers, parameters) == expected


@pytest.mark.parametrize("n", SIZES)
def test_too_few_answers_open_nothing(n: int) -> None:
    parameters = Parameters.of_size(n)
    answers = answers_for(ORACLE_UPDATE, ORACLE_DIRECTION, n)
    enough = dict(list(answers.items())[-parameters.agreeing_answers :])
    assert open_score(enough, parameters) == (4131, ())
    enough.popitem()
    assert open_score(enough, parameters) == (None, ())
    assert open_score({}, parameters) == (None, ())


def test_liars_who_fit_a_false_polynomial_neither_open_it_nor_blame_the_honest() -> None:
    # Protocol-analysis P5: at n = 8, six points lie on the forgery, and six on the truth.
    parameters = Parameters.of_size(8)
    answers = answers_for(ORACLE_UPDATE, ORACLE_DIRECTION, 8)
    for liar in (6, 7):
        offset = math.prod(liar + 1 - x for x in (1, 2, 3, 4))  # zero at four honest points
        answers[liar] = (answers[liar] + offset) % MODULUS
    assert open_score(answers, parameters) == (None, ())


def test_an_unknown_holder_is_refused() -> None:
    with pytest.raises(LocalError):
        open_score({0: 1, 1: 2, 9: 3}, Parameters.of_size(4))


def test_the_largest_score_opens_with_its_sign() -> None:
    task = spec(dimension=1)
    bound, v = update_bound(task), direction_bound(task, 1)
    for sign in (1, -1):
        answers = answers_for(np.array([sign * bound]), Direction(np.array([v]), 1, 0), 4)
        assert open_score(answers, Parameters.of_size(4)) == (sign * score_bound(task, 1), ())
    assert HALF - bound < score_bound(task, 1) <= HALF


# --- direction --------------------------------------------------------------------------------------------------------


def some_gradients(size: int, largest: int = 2**20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([size, seed])
    return rng.integers(-largest, largest + 1, size), rng.integers(-largest, largest + 1, size)


@pytest.mark.parametrize("size", [1, 2, 31, 650, 40_000])
@pytest.mark.parametrize("largest", [1, 300, HALF])
@pytest.mark.parametrize("weights", [(1, 1), (777, 3), (HALF, HALF)])
def test_a_direction_uses_its_bound_and_never_exceeds_it(size: int, largest: int, weights: tuple[int, int]) -> None:
    first, second = some_gradients(size, largest)
    bound = direction_bound(spec(dimension=size), 1)
    found = compute_direction(first, second, *weights, bound, BEACON)
    norm = sum(int(v) ** 2 for v in found.values)
    assert norm <= bound**2
    combined = [-(int(a) * weights[1] + int(b) * weights[0]) for a, b in zip(first, second, strict=True)]
    if any(combined):
        assert norm > (0.9 * bound) ** 2
        cosine = np.dot(found.values, combined) / math.sqrt(norm) / np.linalg.norm(np.array(combined, float))
        assert cosine > 0.9
    else:
        assert found.numerator == norm == 0


def test_the_numerator_is_the_first_of_the_ladder_that_fits() -> None:
    first, second = some_gradients(650)
    found = compute_direction(first, second, 3, 4, 127, BEACON)
    from gossip.prg import derive_seed
    from tests.helpers import plain_sharing as plain

    seed = derive_seed(BEACON, b"direction")
    low, high = plain.aes_stream(seed, 0, 1300), plain.aes_stream(seed, 1, 650)
    noise = [low[2 * i] + 256 * low[2 * i + 1] + 65536 * high[i] for i in range(650)]
    combined = [-(4 * int(a) + 3 * int(b)) for a, b in zip(first, second, strict=True)]
    shift = max(0, max(map(abs, combined)).bit_length() - 22)
    leading = [a >> shift for a in combined]
    numerator = (127 << 40) // math.isqrt(sum(a * a for a in leading))
    while True:
        values = [(a * numerator + (u << 16)) >> 40 for a, u in zip(leading, noise, strict=True)]
        if sum(v * v for v in values) <= 127**2:
            break
        numerator = numerator * 49 // 50
    assert (found.values.tolist(), found.numerator, found.shift) == (values, numerator, shift)


def test_dither_keeps_the_cosine_of_a_long_vector() -> None:
    # scores.md, 1: its error is about 0.8 / V.
    rng = np.random.default_rng(1)
    gradient = rng.integers(-(2**20), 2**20, 40_000)
    along = -gradient / np.linalg.norm(gradient)
    noise = rng.normal(size=40_000)
    update = 0.3 * along + math.sqrt(1 - 0.09) * noise / np.linalg.norm(noise)
    found = compute_direction(gradient, gradient, 1, 1, 127, BEACON)
    length = np.linalg.norm(2 * gradient) * found.numerator / 2 ** (40 + found.shift)
    assert abs(update @ found.values / length - update @ along) < 3 * 0.8 / 127


def test_each_average_gradient_counts_equally() -> None:
    first = np.array([1000, 0])  # an average of 10 along the first axis
    second = np.array([0, 30])  # and of 10 along the second
    found = compute_direction(first, second, 100, 3, 2047, BEACON).values
    assert abs(int(found[0]) - int(found[1])) <= 1
    assert found[0] < -1400


def test_a_round_without_gradients_counts_as_zero() -> None:
    gradient, nothing = np.array([300, -400]), np.array([9, 9])
    for found in (
        compute_direction(gradient, nothing, 7, 0, 1000, BEACON),
        compute_direction(nothing, gradient, 0, 7, 1000, BEACON),
    ):
        assert np.abs(found.values - [-600, 800]).max() <= 20
    empty = compute_direction(nothing, nothing, 0, 0, 1000, BEACON)
    assert (empty.values.tolist(), empty.numerator) == ([0, 0], 0)
    assert to_ppm(0, Terms(empty.numerator, empty.shift, 5, (0, 0)), SPEC) == 0


def test_beacons_change_nothing_but_the_dither() -> None:
    first, second = some_gradients(31)
    one = compute_direction(first, second, 1, 1, 2047, BEACON)
    same = compute_direction(first, second, 1, 1, 2047, BEACON)
    other = compute_direction(first, second, 1, 1, 2047, BEACON[::-1])
    assert np.array_equal(one.values, same.values)
    assert not np.array_equal(one.values, other.values)
    assert np.abs(one.values - other.values).max() <= 1 + 0.02 * 2047


@pytest.mark.parametrize(
    ("first", "second", "weights"),
    [
        ([1, 2], [1], (1, 1)),
        ([], [], (1, 1)),
        ([1], [1], (-1, 1)),
        ([HALF + 1], [1], (1, 1)),
        ([1], [1], (1, HALF + 1)),
    ],
)
def test_numbers_that_no_sum_holds_are_refused(first: list[int], second: list[int], weights: tuple[int, int]) -> None:
    with pytest.raises(LocalError):
        compute_direction(np.array(first, np.int64), np.array(second, np.int64), *weights, 100, BEACON)


@pytest.mark.parametrize("round_id", [0, 6])
def test_only_training_rounds_are_scored(round_id: int) -> None:
    with pytest.raises(LocalError):
        direction_bound(SPEC, round_id)


# --- score ------------------------------------------------------------------------------------------------------------


def test_ppm_is_the_exact_quotient_rounded_down() -> None:
    direction = Direction(np.zeros(31, np.int64), 12345, 3)
    for value in (98_765, -98_765, 0):
        exact = (
            Fraction(value) * Fraction(1000, 2500) / update_scale(SPEC, 1)
            * Fraction(500, gradient_scale(SPEC)) * Fraction(2**43, 2 * 300 * 200 * 12345)
        )  # fmt: skip
        assert to_ppm(value, Terms(direction.numerator, direction.shift, 2500, (300, 200)), SPEC) == math.floor(
            exact * MICRO
        )


def test_a_zero_update_scores_zero_and_equal_updates_alike() -> None:
    direction = compute_direction(*some_gradients(31), 10, 10, 2047, BEACON)
    update = np.arange(31)
    values = [open_score(answers_for(x, direction, 8), Parameters.of_size(8))[0] for x in (update * 0, update)]
    clone = open_score(answers_for(update, direction, 8, dealer=5), Parameters.of_size(8))[0]
    assert values[0] == 0
    assert values[1] == clone
    assert to_ppm(0, Terms(direction.numerator, direction.shift, 5, (10, 10)), SPEC) == 0


def shapley(n: int, utility: Any) -> list[float]:
    found = [0.0] * n
    for order in itertools.permutations(range(n)):
        seen: tuple[int, ...] = ()
        for i in order:
            found[i] += utility((*seen, i)) - utility(seen)
            seen = (*seen, i)
    return [x / math.factorial(n) for x in found]


@pytest.mark.parametrize("seed", range(4))
def test_for_a_quadratic_loss_the_score_is_the_shapley_value_up_to_rounding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d, weights, rows = 4, 6, [1000, 400, 700, 50], [500, 100, 300, 20]
    task = spec(dimension=d)
    root = rng.normal(size=(d, d)) * 0.3
    hessian, slope = root @ root.T, rng.normal(size=d) * 0.4
    updates = [x * 1.9 / np.linalg.norm(x) for x in rng.normal(size=(n, d))]
    parts = [w * x / sum(weights) for w, x in zip(weights, updates, strict=True)]

    def utility(members: tuple[int, ...]) -> float:
        x = sum((parts[i] for i in members), np.zeros(d))
        return float(-(slope @ x + x @ hessian @ x / 2))

    def gradient_sum(x: np.ndarray) -> np.ndarray:
        gradient = slope + hessian @ x
        return sum((quantise_gradient(gradient, q, task, rng.bytes) for q in rows), np.zeros(d, np.int64))

    integers = [quantise_update(x, w, task, 1, rng.bytes) for x, w in zip(updates, weights, strict=True)]
    sums = gradient_sum(np.zeros(d)), gradient_sum(sum(parts))
    bound = direction_bound(task, 1)
    direction = compute_direction(*sums, sum(rows), sum(rows), bound, BEACON)
    terms = Terms(direction.numerator, direction.shift, sum(weights), (sum(rows), sum(rows)))
    unit = to_ppm(10**9, terms, task) / 10**9
    # v is off by less than 1 in each coordinate, x as well, the gradients by far less than v
    tolerance = unit * math.sqrt(d) * (update_bound(task) + bound) + 2
    for x, expected in zip(integers, shapley(n, utility), strict=True):
        value, _ = open_score(answers_for(x, direction, n), Parameters.of_size(n))
        assert value is not None
        found = to_ppm(value, terms, task)
        assert abs(found - expected * MICRO) < tolerance < 0.01 * MICRO


def test_a_score_fits_the_ledger_whatever_norms_a_task_allows() -> None:
    task = msgspec.structs.replace(spec(dimension=4), clip_norm_micro=10**30, gradient_clip_micro=10**30)
    direction = Direction(np.array([1, 2, 3, 4]), 1, 30)
    bound = score_bound(task, 1)
    terms = Terms(direction.numerator, direction.shift, 1, (1, 1))
    assert to_ppm(bound, terms, task) == MAX_PPM
    assert to_ppm(-bound, terms, task) == -MAX_PPM
