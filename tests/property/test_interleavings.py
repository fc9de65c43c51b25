"""Every interleaving of an attempt and the next: never two final sets, whatever the order, and whoever is the liar."""

from __future__ import annotations

import pytest

from gossip import agreement
from tests.helpers.interleavings import Checker, Member, Violation, changed

LIARS = {"the first proposer lies": 0, "the second proposer lies": 1}
NEAR = {"the first proposer lies": 5_000, "the second proposer lies": 3_000}
RESTARTS = 50
"""Every so many-th state of a member that is compared with a restart by default; all of them in `make test-long`."""


def explore(attempts: int, liar_proposes_in: int, limit: int | None = None) -> Checker:
    checker = Checker(attempts, liar_proposes_in)
    checker.explore(limit)
    what = "all there are" if checker.is_complete else "the nearest"
    print(
        f"attempts 0 to {attempts - 1}: {checker.visited} states, {what}, up to {checker.depth} acts away; "
        f"{checker.locals} states of single members by {checker.steps} calls of step; "
        f"by number of members with a final set: {checker.ends}"
    )
    return checker


@pytest.mark.parametrize("liar", LIARS)
def test_no_order_of_an_attempt_makes_two_sets_final(liar: str) -> None:
    checker = explore(1, LIARS[liar])
    assert checker.is_complete
    assert checker.depth >= 8
    assert all(checker.ends), "some number of members never comes to hold a final set"
    checker.check_restarts()


@pytest.mark.parametrize("liar", LIARS)
def test_no_order_near_the_beginning_of_two_attempts_makes_two_sets_final(liar: str) -> None:
    checker = explore(2, LIARS[liar], limit=NEAR[liar])
    assert checker.visited == NEAR[liar]
    assert checker.depth >= 4
    checker.check_restarts(lambda count: range(0, count, RESTARTS))


@pytest.mark.slow
def test_no_order_of_an_attempt_and_the_next_makes_two_sets_final() -> None:
    checker = explore(2, LIARS["the first proposer lies"])
    assert checker.is_complete
    assert checker.depth == 17
    assert checker.visited > 800_000
    checker.check_restarts(lambda count: range(0, count, RESTARTS))


@pytest.mark.slow
def test_no_order_of_an_attempt_and_much_of_the_next_makes_two_sets_final() -> None:
    checker = explore(2, LIARS["the second proposer lies"], limit=300_000)
    assert checker.is_complete or checker.visited == 300_000
    checker.check_restarts(lambda count: range(0, count, RESTARTS))


@pytest.mark.slow
@pytest.mark.parametrize("liar_proposes_in", range(3))
def test_no_order_near_the_beginning_of_three_attempts_makes_two_sets_final(liar_proposes_in: int) -> None:
    explore(3, liar_proposes_in, limit=100_000)


@pytest.mark.parametrize("attempts", [2, 4])
@pytest.mark.parametrize("liar", LIARS)
def test_no_random_path_makes_two_sets_final(liar: str, attempts: int) -> None:
    checker = Checker(attempts, LIARS[liar])
    walk_all(checker, range(8))
    assert checker.ends[3], "no path comes to the end of an agreement"


def shown_by_bundles(member: Member, local: int, pool: int) -> set[object]:
    """What the member may show after bundles of the pool, one after another."""
    seen, todo = {local}, [local]
    while todo:
        for end in member.bundles(todo.pop(), pool):
            if end not in seen:
                seen.add(end)
                todo.append(end)
    return {member.locals[at].shown for at in seen}


@pytest.mark.parametrize("liar", LIARS)
def test_bundles_lose_nothing_that_single_deliveries_show(liar: str) -> None:
    checker, compared = Checker(2, LIARS[liar]), 0
    for seed in range(6):
        for member, local, pool in checker.walk(seed, length=12):
            if member.locals[local].is_final:
                continue
            single = {member.locals[at].shown for at in member.all_shown(local, pool, limit=40)}
            missing = single - shown_by_bundles(member, local, pool)
            assert not missing, f"seed {seed}: member {member.me} shows {len(missing)} more of {len(single)}"
            compared += len(single)
    print(f"{compared} outcomes compared")
    assert compared > 100


def test_a_late_commit_would_make_two_sets_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can fail: two confirm, everybody moves on, a late certificate is committed to, and another set is agreed."""
    careless = changed(
        agreement,
        "_prepare_and_commit",
        {
            "if attempt < agreement.attempt:": "if False:",
            "replace(agreement, attempt=attempt)": "replace(agreement, attempt=max(attempt, agreement.attempt))",
        },
    )
    monkeypatch.setattr(agreement, "_prepare_and_commit", careless)
    find_two_sets(0)


def test_without_statuses_in_a_propose_two_sets_would_become_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can fail: one holds a final set, and the next proposer pretends that nothing was prepared."""
    careless = changed(
        agreement,
        "validate_propose",
        {"if len(propose.statuses) != needed:": "if False:"},
    )
    monkeypatch.setattr(agreement, "validate_propose", careless)
    find_two_sets(1, shows_statuses=False)


def find_two_sets(liar_proposes_in: int, *, shows_statuses: bool = True) -> None:
    checker = Checker(2, liar_proposes_in, shows_statuses)
    with pytest.raises(Violation, match="two sets became final"):
        walk_all(checker, range(3_000))


def walk_all(checker: Checker, seeds: range) -> None:
    for seed in seeds:
        checker.walk(seed)
