"""Which committee makes which round follows from the ledger, and is certain before the round begins."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.committee import committee_of
from ledger.periods import Period
from node.errors import ConfigError
from node.plan import LEAD_ROUNDS, plan_of, rounds_to_wait_for
from tests.helpers.learners import small_spec

SIGNERS = tuple("0x" + f"{index + 1:040x}" for index in range(4))


def period(version: int, recorded: int, rounds: int = 1000) -> Period:
    return Period(version, bytes([version]) * 32, SIGNERS, small_spec(rounds=rounds).encode(), recorded, 10 * version)


def test_a_roster_makes_the_rounds_from_the_eighth_after_those_recorded_on() -> None:
    plan = plan_of([period(1, 0), period(2, 5), period(3, 7)])
    assert [each.first_round for each in plan] == [0, 5 + LEAD_ROUNDS, 7 + LEAD_ROUNDS]


def test_two_changes_at_once_make_one() -> None:
    plan = plan_of([period(1, 0), period(2, 5), period(3, 5)])
    assert committee_of(plan, 5 + LEAD_ROUNDS).config == bytes([3]) * 32


def test_a_task_that_is_over_goes_on_with_the_next_one_at_once() -> None:
    over = period(1, 0, rounds=3)
    plan = plan_of([over, period(2, 5, rounds=3), period(3, 5, rounds=9)])
    assert [each.first_round for each in plan] == [0, 5, 5]
    assert committee_of(plan, 4).config == over.config


UNUSABLE = {
    "garbage": b"{}",
    "shape": small_spec(dimension=6, rounds=1000).encode(),
    "training": msgspec.structs.replace(small_spec(rounds=1000), training={"local_step": 5}).encode(),
    "model": msgspec.structs.replace(small_spec(rounds=1000), initial_model="22" * 32).encode(),
}


@pytest.mark.parametrize("spec", UNUSABLE.values(), ids=UNUSABLE)
def test_a_task_that_cannot_follow_makes_no_rounds_and_the_next_one_can_mend_it(spec: bytes) -> None:
    wrong = replace(period(2, 5), spec=spec)
    assert [each.config[0] for each in plan_of([period(1, 0), wrong])] == [1]
    assert [(each.config[0], each.first_round) for each in plan_of([period(1, 0), wrong, period(3, 9)])][1:] == [
        (3, 17)
    ]


def test_a_registry_that_begins_without_a_task_is_named() -> None:
    with pytest.raises(ConfigError, match="spec cannot be used"):
        plan_of([replace(period(1, 0), spec=b"{}")])


@given(st.lists(st.integers(0, 60), max_size=6), st.integers(0, 80))
def test_no_roster_that_comes_later_makes_a_round_that_may_have_begun(recorded: list[int], round_id: int) -> None:
    """What the ledger shows when a round may begin decides its committee, whatever comes after."""
    changes = [period(version, found) for version, found in enumerate(sorted(recorded), 2)]
    known = [each for each in changes if each.recorded < rounds_to_wait_for(round_id)]
    later = plan_of([period(1, 0), *changes])
    assert committee_of(plan_of([period(1, 0), *known]), round_id).config == committee_of(later, round_id).config
