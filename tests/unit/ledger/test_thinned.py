from __future__ import annotations

from itertools import pairwise

import pytest

from ledger.thinned import Thinned


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 11, 100, 1000, 12_345])
def test_any_history_keeps_its_ends_and_few_points_between_them(count: int) -> None:
    curve = Thinned(most=10)
    for number in range(count):
        curve.add(number, [number, 2 * number])
    rounds = [number for number, _ in curve.points]
    assert rounds == sorted(set(rounds))
    assert len(rounds) <= 11
    assert (rounds[:1], rounds[-1:]) == ([0][:count], [count - 1][:count])
    assert all(values == (number, 2 * number) for number, values in curve.points)


@pytest.mark.parametrize("before", [0, 1, 5, 20])
def test_of_one_round_the_last_point_counts(before: int) -> None:
    curve = Thinned(most=10)
    for number in range(before):
        curve.add(number, [0])
    for value in range(4):
        curve.add(before, [value])
    assert [values for number, values in curve.points if number == before] == [(3,)]


def test_a_short_history_is_kept_whole() -> None:
    curve = Thinned(most=10)
    for number in range(10):
        curve.add(number, [])
    assert [number for number, _ in curve.points] == list(range(10))


def test_points_are_evenly_spaced() -> None:
    curve = Thinned(most=10)
    for number in range(999):
        curve.add(number, [])
    rounds = [number for number, _ in curve.points[:-1]]
    assert {after - before for before, after in pairwise(rounds)} == {128}
