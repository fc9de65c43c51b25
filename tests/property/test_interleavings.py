"""Every interleaving of an attempt and the next, as far as time allows: never two final sets, whatever the order."""

from __future__ import annotations

import pytest

from gossip import agreement
from tests.helpers.interleavings import Checker, Violation, changed


def explore(breadth: int, walks: range, attempts: int = 2) -> Checker:
    """All states near the start, then random paths to the end."""
    checker = Checker(attempts)
    checker.breadth_first(breadth)
    near, depth = checker.visited, checker.deepest
    for seed in walks:
        checker.walk(seed)
    far = checker.visited - near
    print(f"{near} states, all up to {depth - 1} steps; {far} more on {len(walks)} paths of up to {checker.deepest}")
    print(f"{checker.settled} of {3 * len(walks)} honest members ended with a final set")
    return checker


@pytest.mark.parametrize("attempts", [2, 4])
def test_no_order_makes_two_sets_final(attempts: int) -> None:
    checker = explore(breadth=300, walks=range(500), attempts=attempts)
    assert checker.visited > 15_000
    assert checker.settled > 3 * 500 // 2, "the checker hardly ever comes to the end of an agreement"


@pytest.mark.slow
@pytest.mark.parametrize("attempts", [2, 3, 4])
def test_no_order_makes_two_sets_final_in_many_more_states(attempts: int) -> None:
    explore(breadth=10_000, walks=range(1_000, 21_000), attempts=attempts)


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
    with pytest.raises(Violation, match="two sets became final"):
        explore(breadth=1, walks=range(2_000))
