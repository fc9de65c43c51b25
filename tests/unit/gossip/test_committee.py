"""A member's place in a committee and its roster index are never taken for each other."""

from __future__ import annotations

import pytest

from gossip.committee import NOBODY, Committee, committee_of
from tests.helpers.learners import small_spec

SPEC = small_spec()


def committee(*indices: int, size: int = 6, first_round: int = 0) -> Committee:
    signers = tuple(bytes([index + 1]) * 20 if index in indices else NOBODY for index in range(size))
    return Committee(bytes(32), signers, SPEC, first_round)


def test_members_sit_in_the_order_of_their_roster_indices() -> None:
    found = committee(0, 2, 3, 5)
    assert found.seats == (0, 2, 3, 5)
    assert found.keys == tuple(bytes([index + 1]) * 20 for index in (0, 2, 3, 5))
    assert found.parameters.n == 4
    assert [found.member_at(index) for index in range(7)] == [0, None, 1, 2, None, 3, None]


def test_bitmaps_and_scores_are_by_roster_index() -> None:
    found = committee(0, 2, 3, 5)
    assert found.bitmap({1, 3}) == 0b100100
    assert found.by_index((7, 8, 9, 10), 0) == (7, 0, 8, 9, 0, 10)
    with pytest.raises(ValueError, match="longer"):
        found.by_index((7, 8, 9, 10, 11), 0)


def test_whoever_is_gone_is_counted_and_is_no_member() -> None:
    named = committee(0, 2, 3, 5).members_of(0b010111)
    assert named & {0, 1, 2, 3} == {0, 1}
    assert len(named) == 4


def test_moving_keeps_institutions_and_drops_those_that_are_gone() -> None:
    assert committee(0, 1, 2, 3).moved({0, 1, 3}, committee(0, 2, 3, 4)) == {0, 2}


def test_the_last_committee_that_has_begun_makes_a_round() -> None:
    plan = (committee(0, 1, 2), committee(0, 1, 2, 3, first_round=4), committee(0, 2, 3, first_round=4))
    assert [plan.index(committee_of(plan, round_id)) for round_id in (0, 3, 4, 9)] == [0, 0, 2, 2]
