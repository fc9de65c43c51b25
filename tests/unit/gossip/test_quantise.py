from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest

from gossip import quantise
from gossip.errors import LocalError
from gossip.field import to_field
from gossip.layout import Layout
from gossip.parameters import Parameters
from gossip.quantise import (
    SumOfPayloads,
    average,
    check_sum,
    gradient_scale,
    quantise_payload,
    unpack_sum,
    update_bound,
    update_scale,
)
from gossip.spec import HALF, MAX_WEIGHT, TaskSpec
from tests.helpers.integers import quantise_gradient, quantise_update

SPEC = TaskSpec(
    task="test", dimension=31, features=3, rounds=5, clip_norm_micro=2_000_000, max_weight=1000,
    gradient_clip_micro=3_000_000, max_gradient_weight=500, initial_model="0" * 64,
)  # fmt: skip
TRAINING, STATISTICS = 1, 0


def spec(**changes: Any) -> TaskSpec:
    return msgspec.structs.replace(SPEC, **changes)


def seeded(seed: int) -> Callable[[int], bytes]:
    return np.random.default_rng(seed).bytes


def vector(size: int, norm: float, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=size)
    return drawn * (norm / np.linalg.norm(drawn))


@pytest.mark.parametrize(
    ("dimension", "bound"),
    [(1, 2**12), (31, 2**12), (4096, 2**12), (4097, 2**13), (10**5, 2**15), (10**6, 2**16), (10**8, 2**16)],
)
def test_the_scale_follows_the_l2_rule(dimension: int, bound: int) -> None:
    assert update_bound(spec(dimension=dimension)) == bound
    margin = bound - 2 * update_scale(spec(dimension=dimension), TRAINING)
    assert math.sqrt(dimension) / 2 + 4 <= margin <= math.sqrt(dimension) / 2 + 5.5


@pytest.mark.parametrize("size", [1, 31, 5000])
def test_an_update_never_exceeds_its_bound(size: int) -> None:
    task = spec(dimension=size)
    for seed, norm in enumerate([2.0, 2.1, 1e9, 1e300, 1e-300, 5e-324, 0.0]):
        update = vector(size, 1.0, seed) * norm
        drawn = quantise_update(update, 1000, task, TRAINING, seeded(seed))
        assert sum(int(x) ** 2 for x in drawn) <= update_bound(task) ** 2


def test_rounding_is_within_one_of_the_exact_product() -> None:
    update = vector(31, 1.5)
    drawn = quantise_update(update, 700, SPEC, TRAINING, seeded(1))
    scale = update_scale(SPEC, TRAINING) * Fraction(700, 1000)
    for x, value in zip(drawn.tolist(), update.tolist(), strict=True):
        assert abs(x - Fraction(value) * scale) < 1


def test_clipping_keeps_the_direction() -> None:
    update = vector(31, 50.0)
    drawn = quantise_update(update, 1000, SPEC, TRAINING, seeded(1)).astype(float)
    assert np.linalg.norm(drawn - update * (2 / 50) * float(update_scale(SPEC, TRAINING))) < math.sqrt(31)


def test_rounding_is_unbiased() -> None:
    update = vector(31, 0.01)
    exact = update * float(update_scale(SPEC, TRAINING) * Fraction(10, 1000))
    source = seeded(2)
    mean = np.mean([quantise_update(update, 10, SPEC, TRAINING, source) for _ in range(2000)], axis=0)
    assert np.abs(mean - exact).max() < 5 * 0.5 / math.sqrt(2000)


def test_rounding_that_breaks_the_bound_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    update = vector(31, 2.0)
    scale = update_scale(SPEC, TRAINING)
    norms = {s: np.linalg.norm(quantise_update(update, 1000, SPEC, TRAINING, seeded(s))) for s in range(9)}
    longest = max(norms, key=lambda s: norms[s])
    norm = int(norms[longest])
    monkeypatch.setattr(quantise, "update_scale", lambda spec, round_id: scale)
    monkeypatch.setattr(quantise, "update_bound", lambda spec: norm)
    again = quantise_update(update, 1000, SPEC, TRAINING, seeded(longest))
    assert sum(int(x) ** 2 for x in again) <= norm**2 < norms[longest] ** 2
    monkeypatch.setattr(quantise, "update_bound", lambda spec: norm // 2)
    with pytest.raises(LocalError):
        quantise_update(update, 1000, SPEC, TRAINING, seeded(longest))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    update = np.zeros(31)
    update[7] = bad
    with pytest.raises(LocalError):
        quantise_update(update, 1, SPEC, TRAINING, seeded(0))
    with pytest.raises(LocalError):
        quantise_gradient(update, 1, SPEC, seeded(0))


@pytest.mark.parametrize("weight", [0, -1, 1001])
def test_a_weight_out_of_range_is_refused(weight: int) -> None:
    with pytest.raises(LocalError):
        quantise_update(np.zeros(31), weight, SPEC, TRAINING, seeded(0))


@pytest.mark.parametrize("bound", ["max_weight", "max_gradient_weight"])
def test_a_task_whose_weights_could_wrap_is_refused(bound: str) -> None:
    with pytest.raises(ValueError, match=f"{bound} is at most {MAX_WEIGHT}"):
        spec(**{bound: MAX_WEIGHT + 1})


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(LocalError):
        quantise_update(np.zeros(30), 1, SPEC, TRAINING, seeded(0))
    with pytest.raises(LocalError):
        quantise_gradient(np.zeros((31, 1)), 1, SPEC, seeded(0))


def test_the_largest_parts_of_64_members_do_not_wrap() -> None:
    one = spec(dimension=1, features=0, max_weight=MAX_WEIGHT, max_gradient_weight=MAX_WEIGHT)
    for sign in (1.0, -1.0):
        for drawn in (
            quantise_update(np.array([sign * 2.0]), MAX_WEIGHT, one, TRAINING, seeded(0)),
            quantise_update(np.array([sign * 5.0]), MAX_WEIGHT, one, STATISTICS, seeded(0)),
            quantise_gradient(np.array([sign * 9.0]), MAX_WEIGHT, one, seeded(0)),
        ):
            assert 64 * abs(int(drawn[0])) <= HALF
    assert 64 * MAX_WEIGHT <= HALF


def test_statistics_are_clipped_one_by_one() -> None:
    drawn = quantise_update(np.array([0.5, 7.0, -7.0, 1.0, -1.0, 0.0]), 1000, SPEC, STATISTICS, seeded(0))
    assert drawn[1:].tolist() == [65535, -65535, 65535, -65535, 0]
    assert drawn[0] in (32767, 32768)


def honest_sum(dealers: int, norm: float, task: TaskSpec = SPEC, seed: int = 0) -> SumOfPayloads:
    rng = np.random.default_rng(seed)
    update, gradient = (np.zeros(task.dimension, np.int64) for _ in range(2))
    weights, gradient_weights = 0, 0
    for i in range(dealers):
        weight, gradient_weight = int(rng.integers(1, 1001)), int(rng.integers(0, 501))
        # all alike, so that nothing cancels and the average is as long as can be
        update += quantise_update(vector(task.dimension, norm), weight, task, TRAINING, seeded(i))
        gradient += quantise_gradient(vector(task.dimension, 2 * norm), gradient_weight, task, seeded(i))
        weights += weight
        gradient_weights += gradient_weight
    return SumOfPayloads(update, weights, gradient, gradient_weights)


@pytest.mark.parametrize("dealers", [2, 3, 16, 64])
@pytest.mark.parametrize("dimension", [1, 31, 3000])
def test_honest_sums_pass_at_full_length(dealers: int, dimension: int) -> None:
    task = spec(dimension=dimension)
    assert check_sum(honest_sum(dealers, 3.0, task), task, TRAINING, dealers) is None


def test_a_payload_holds_each_part_in_its_place() -> None:
    layout = Layout.for_round(Parameters.of_size(8), SPEC, TRAINING)
    update, gradient = vector(31, 1.5), vector(31, 2.5, seed=1)
    words = quantise_payload(update, 700, gradient, 300, SPEC, TRAINING, layout, seeded(5))
    source = seeded(5)
    found = unpack_sum(words, SPEC, TRAINING, 1)
    assert found.gradient is not None
    assert np.array_equal(found.update, quantise_update(update, 700, SPEC, TRAINING, source))
    assert np.array_equal(found.gradient, quantise_gradient(gradient, 300, SPEC, source))
    assert (found.weight, found.gradient_weight) == (700, 300)


def test_a_payload_of_statistics_holds_them_and_their_weight() -> None:
    layout = Layout.for_round(Parameters.of_size(8), SPEC, STATISTICS)
    statistics = np.array([0.5, 7.0, -7.0, 1.0, -1.0, 0.0])
    words = quantise_payload(statistics, 9, None, 0, SPEC, STATISTICS, layout, seeded(5))
    found = unpack_sum(words, SPEC, STATISTICS, 1)
    expected = quantise_update(statistics, 9, SPEC, STATISTICS, seeded(5))
    assert (found.update.tolist(), found.weight, found.gradient, found.gradient_weight) == (
        expected.tolist(), 9, None, 0,
    )  # fmt: skip


def test_parts_that_do_not_fill_a_payload_are_refused() -> None:
    layout = Layout.for_round(Parameters.of_size(8), SPEC, TRAINING)
    with pytest.raises(LocalError):
        quantise_payload(np.zeros(31), 1, None, 0, SPEC, TRAINING, layout, seeded(0))
    with pytest.raises(LocalError):
        quantise_payload(np.zeros(31), 1, np.zeros(30), 1, SPEC, TRAINING, layout, seeded(0))
    with pytest.raises(LocalError):
        unpack_sum(to_field(np.zeros(63, np.int64)), SPEC, TRAINING, 3)
    with pytest.raises(LocalError):
        unpack_sum(to_field(np.zeros(64, np.int64)), SPEC, TRAINING, 65)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 2},
        {"weight": 3001},
        {"weight": -5},
        {"gradient_weight": -1},
        {"gradient_weight": 1501},
        {"update": np.full(31, 4096)},
        {"gradient": np.full(31, HALF)},
    ],
)
def test_a_sum_that_no_three_honest_members_have_is_refused(change: dict[str, Any]) -> None:
    total = honest_sum(3, 1.0)
    parts = {name: getattr(total, name) for name in ("update", "weight", "gradient", "gradient_weight")}
    assert check_sum(SumOfPayloads(**{**parts, **change}), SPEC, TRAINING, 3) is not None


def test_an_average_beyond_its_clip_norm_is_refused_as_soon_as_rounding_does_not_explain_it() -> None:
    weight = 3 * 1000
    length = 3 * (update_bound(SPEC) - 7)  # three members, clip norm, full weight
    slack = (math.isqrt(31) + 11) * (math.isqrt(3) + 1) // 2
    update = np.zeros(31, np.int64)
    for excess, is_refused in ((slack - 1, False), (slack + 1, True)):
        update[4] = length + excess
        reason = check_sum(SumOfPayloads(update, weight, np.zeros(31, np.int64), 0), SPEC, TRAINING, 3)
        assert (reason is not None) == is_refused


def test_statistics_beyond_one_are_refused() -> None:
    for value, is_refused in ((2 * 65535 + 2, False), (2 * 65535 + 3, True)):
        total = SumOfPayloads(np.array([0, 0, 0, 0, 0, -value]), 2000, None, 0)
        assert (check_sum(total, SPEC, STATISTICS, 2) is not None) == is_refused


def test_the_average_is_weighted_and_in_the_updates_unit() -> None:
    updates, weights = [vector(31, 1.0, i) for i in range(4)], [1000, 500, 250, 900]
    total = np.zeros(31, np.int64)
    for i, (update, weight) in enumerate(zip(updates, weights, strict=True)):
        total += quantise_update(update, weight, SPEC, TRAINING, seeded(i))
    found = average(SumOfPayloads(total, sum(weights), None, 0), SPEC, TRAINING)
    expected = np.average(updates, axis=0, weights=weights)
    unit = float(Fraction(1000, sum(weights)) / update_scale(SPEC, TRAINING))
    assert np.abs(found - expected).max() < 4 * unit


def test_the_average_is_two_ieee_roundings_of_the_exact_quotient() -> None:
    total = SumOfPayloads(np.array([12345, -7, 0]), 2651, None, 0)
    factor = Fraction(1000, 2651) / update_scale(SPEC, TRAINING)
    expected = [float(x) * (factor.numerator / factor.denominator) for x in (12345, -7, 0)]
    assert average(total, SPEC, TRAINING).tolist() == expected
    with pytest.raises(LocalError):
        average(SumOfPayloads(np.array([1]), 0, None, 0), SPEC, TRAINING)


def test_scales_are_exact_fractions_of_the_spec() -> None:
    assert gradient_scale(SPEC) == 21845
    assert update_scale(SPEC, TRAINING) == Fraction(4096 - 7, 2)
    assert update_scale(SPEC, STATISTICS) == 65535
