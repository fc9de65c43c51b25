"""Committees on a grid: who sits where, the exact sum, and who may be missing."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from gossip.errors import LocalError
from gossip.field import from_field, to_field
from gossip.grid import Grid, add_up, average
from gossip.layout import Layout
from gossip.parameters import Parameters
from gossip.shamir import PartialSum, deal, recombine
from gossip.spec import HALF

SIDES = (3, 4, 5, 8, 16, 64)


@pytest.mark.parametrize("side", SIDES)
def test_everybody_sits_in_one_row_and_one_column_and_no_two_meet_twice(side: int) -> None:
    grid = Grid(side)
    rows, columns = [grid.row(i) for i in range(side)], [grid.column(i) for i in range(side)]
    assert sorted(m for row in rows for m in row) == sorted(m for c in columns for m in c) == list(range(grid.n))
    for member in range(grid.n):
        row, column = grid.seat(member)
        assert rows[row][column] == columns[column][row] == member
    assert all(len(set(row) & set(column)) == 1 for row in rows for column in columns)


@pytest.mark.parametrize("side", [3, 4, 5])
def test_the_sum_is_exact_through_the_production_sharing(side: int) -> None:
    grid, rng = Grid(side), np.random.default_rng(side)
    values = rng.integers(-grid.magnitude, grid.magnitude + 1, (grid.n, 7))
    values[0], values[1] = grid.magnitude, -grid.magnitude
    rows = [secure_sum([values[m] for m in grid.row(i)], rng) for i in range(side)]
    for _ in range(side):
        assert secure_sum(rows, rng).tolist() == values.sum(axis=0).tolist()
    by_column = add_up(grid, {member: int(values[member, 0]) for member in range(grid.n)})
    assert by_column == dict.fromkeys(range(side), int(values[:, 0].sum()))


@pytest.mark.parametrize("missing", [(), (0,), (5, 10)])
def test_the_average_is_that_of_all_who_are_there(missing: tuple[int, ...]) -> None:
    grid, rng = Grid(5), np.random.default_rng(7)
    values = {member: int(value) for member, value in enumerate(rng.integers(-1000, 1000, grid.n))}
    weights = {member: 1 + member for member in range(grid.n)}
    dealt = {member: value * weights[member] for member, value in values.items()}
    there = [member for member in range(grid.n) if member not in missing]
    expected = Fraction(sum(dealt[m] for m in there), sum(weights[m] for m in there))
    found = average(grid, dealt, weights, missing)
    assert set(found.values()) == {expected}
    assert set(found) == set(grid.whole_columns(missing))
    with pytest.raises(LocalError, match="positive weight"):
        average(grid, dealt, dict.fromkeys(weights, 0), missing)


@pytest.mark.parametrize("side", SIDES)
def test_the_sum_of_the_largest_does_not_wrap(side: int) -> None:
    grid = Grid(side)
    assert grid.n * grid.magnitude <= HALF < grid.n * (grid.magnitude + 1)


@pytest.mark.parametrize("side", [3, 4, 5])
def test_whoever_is_missing_the_sum_settles_within_the_tolerance(side: int) -> None:
    grid = Grid(side)
    values = {member: member + 1 for member in range(grid.n)}
    for count in range(grid.tolerated + 1):
        for missing in combinations(range(grid.n), count):
            expected = sum(values.values()) - sum(values[member] for member in missing)
            assert set(add_up(grid, values, missing).values()) == {expected}
    worst = grid.row(0)[: grid.tolerated + 1]
    assert not grid.settles(worst)
    with pytest.raises(LocalError, match="missing"):
        add_up(grid, values, worst)


def test_many_more_may_be_missing_where_they_sit_well() -> None:
    grid = Grid(16)
    gone = [member for row in range(16) for member in grid.row(row)[: grid.tolerated]]
    assert len(gone) == 16 * grid.tolerated == 64
    assert grid.settles(gone)
    assert not grid.settles([17 * i for i in range(16)])  # one in each column


@pytest.mark.parametrize("n", [0, 4, 8, 15, 65 * 65])
def test_another_number_of_members_is_refused(n: int) -> None:
    with pytest.raises(LocalError):
        Grid.of_size(n)


def test_a_value_that_could_wrap_is_refused() -> None:
    grid = Grid(3)
    with pytest.raises(LocalError, match="at most"):
        add_up(grid, {0: grid.magnitude + 1})


def secure_sum(vectors: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """The sum of a committee's vectors through dealing, holding and recombining."""
    layout = Layout(Parameters.of_size(len(vectors)), len(vectors[0]))
    dealings = [deal(to_field(vector), layout, i, rng.bytes(32)) for i, vector in enumerate(vectors)]
    sums = {}
    for holder in range(layout.parameters.threshold):
        partial_sum = PartialSum(layout, holder)
        for dealing in dealings:
            partial_sum.add(dealing.dealer, dealing.blob(holder))
        sums[holder] = partial_sum.words()
    return from_field(recombine(sums, layout))
