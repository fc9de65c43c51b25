"""Committees on a grid: secure sums within rows, then within columns, for more members than one committee holds.

n = g * g members sit in g rows and g columns.  In the first step every row adds up its members' updates by the round
protocol; in the second every column, which has one member of each row, adds up the rows' sums in the same way.  So
every member does two rounds of g members whatever n is, and every column has the sum of all.  It is exact: integers
are added, and `magnitude` keeps the sum of n from wrapping.

What is promised, and tested in tests/unit/gossip/test_grid.py:

- any two members meet in one committee at most, so that no two steps show the same pair's difference;
- whoever is missing before a row's set is final is left out of the sum, everywhere alike;
- a column that misses a member misses that row's sum, and gives nothing; its members take the sum from a column that is
  whole.  There is one as long as fewer than g columns miss somebody;
- so any `tolerated` members may be missing, the worst ones included, and up to g * `tolerated` if they sit well.

t colluders of one row may see the sum of as few as A_min - t others of it, as in any committee; a row's sum is known to
its own members, and to nobody in the columns, where it is shared like an update.

Not promised: that a member shares its row's true sum in its column.  Every column has another member of that row, so
that columns differ where one of them lies; which column is right, these functions do not decide.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from gossip.errors import LocalError
from gossip.parameters import MAX_MEMBERS, Parameters
from gossip.spec import HALF


@dataclass(frozen=True, slots=True)
class Grid:
    """Seats of n = g * g members, g from 3 to 64.

    Attributes:
        side: g, members of a row and of a column.
    """

    side: int

    def __post_init__(self) -> None:
        if not 3 <= self.side <= MAX_MEMBERS:
            raise LocalError(f"a grid has 3 to {MAX_MEMBERS} rows, found {self.side}")

    @classmethod
    def of_size(cls, n: int) -> Grid:
        """The grid of n members.

        Raises:
            LocalError: n is no square of a committee's size.
        """
        side = math.isqrt(max(n, 0))
        if side * side != n:
            raise LocalError(f"a grid has a square number of members, found {n}")
        return cls(side)

    @property
    def n(self) -> int:
        return self.side * self.side

    @property
    def parameters(self) -> Parameters:
        """Those of every committee."""
        return Parameters.of_size(self.side)

    def seat(self, member: int) -> tuple[int, int]:
        """(row, column) of a member."""
        if not 0 <= member < self.n:
            raise LocalError(f"members are numbered 0 to {self.n - 1}, found {member}")
        return divmod(member, self.side)

    def row(self, index: int) -> tuple[int, ...]:
        """The committee of the first step; a member's place in it is its column."""
        return tuple(index * self.side + column for column in range(self.side))

    def column(self, index: int) -> tuple[int, ...]:
        """The committee of the second step; a member's place in it is its row."""
        return tuple(row * self.side + index for row in range(self.side))

    @property
    def magnitude(self) -> int:
        """Largest integer that one member may add to a coordinate, so that the sum of all does not wrap."""
        return HALF // self.n

    @property
    def tolerated(self) -> int:
        """Members that may be missing, whoever they are."""
        row = self.parameters
        lost_to_row = min(self.side - row.quorum, self.side - row.min_dealers, self.side - row.agreeing_sums)
        return max(0, min(lost_to_row, self.side - 1))

    def settles(self, missing: Collection[int]) -> bool:
        """Whether everybody who is there gets the sum although these members are missing."""
        gone = frozenset(missing)
        rows = all(self._is_enough(self.side - len(gone.intersection(self.row(i)))) for i in range(self.side))
        return rows and bool(self.whole_columns(gone))

    def whole_columns(self, missing: Collection[int]) -> tuple[int, ...]:
        """Columns that nobody is missing from: those that have the sum."""
        gone = frozenset(missing)
        return tuple(i for i in range(self.side) if gone.isdisjoint(self.column(i)))

    def _is_enough(self, present: int) -> bool:
        row = self.parameters
        return present >= max(row.quorum, row.min_dealers, row.agreeing_sums)


def add_up(grid: Grid, values: Mapping[int, int], missing: Collection[int] = ()) -> dict[int, int]:
    """What each whole column has after both steps, from each present member's integer; the steps in plain integers.

    Raises:
        LocalError: a row or every column misses too many, or a value is too large.
    """
    if not grid.settles(missing):
        raise LocalError(f"{len(frozenset(missing))} missing members leave a row or every column without a sum")
    present = {member: value for member, value in values.items() if member not in missing}
    if any(abs(value) > grid.magnitude for value in present.values()):
        raise LocalError(f"a member of {grid.n} adds at most {grid.magnitude} to a coordinate")
    rows = [sum(present.get(member, 0) for member in grid.row(i)) for i in range(grid.side)]
    return {column: sum(rows) for column in grid.whole_columns(missing)}


def average(
    grid: Grid, values: Mapping[int, int], weights: Mapping[int, int], missing: Collection[int] = ()
) -> dict[int, Fraction]:
    """What each whole column has as the average: weighted values over weights, which are summed as one more coordinate.

    Exact for every n = g * g, since both are sums of integers.  `values` are weighted already, as they are dealt.

    Raises:
        LocalError: as `add_up`; or the members that are there weigh nothing.
    """
    total = add_up(grid, weights, missing)
    if min(total.values()) < 1:
        raise LocalError("an average needs a positive weight")
    return {column: Fraction(value, total[column]) for column, value in add_up(grid, values, missing).items()}
