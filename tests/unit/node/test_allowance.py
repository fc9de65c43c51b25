"""What one peer may cause: much at once, little for long."""

from __future__ import annotations

import pytest

from node.allowance import CREDIT_PER_MEMBER, FEWEST_CREDIT, FORGED_COST, PLAIN_COST, SECONDS_TO_FILL, Allowance


@pytest.mark.parametrize("n", [3, 8, 64])
def test_all_that_two_rounds_hold_may_come_at_once_and_again_a_second_later(n: int) -> None:
    allowance, most = Allowance(n, 0.0), 2 * 12 * n
    assert all(allowance.spend(PLAIN_COST, float(second)) for second in (0, 1) for _ in range(most))


def test_whoever_goes_on_is_stopped_and_gets_credit_again_with_time() -> None:
    allowance = Allowance(4, 0.0)
    taken = [allowance.spend(PLAIN_COST, 0.0) for _ in range(FEWEST_CREDIT + 1)]
    assert taken == [True] * FEWEST_CREDIT + [False]
    assert not allowance.spend(PLAIN_COST, 0.0)
    assert allowance.spend(PLAIN_COST * FEWEST_CREDIT / 2, SECONDS_TO_FILL / 2)
    assert not allowance.spend(PLAIN_COST * 2, SECONDS_TO_FILL / 2)


def test_credit_does_not_grow_without_end() -> None:
    allowance = Allowance(64, 0.0)
    assert allowance.spend(CREDIT_PER_MEMBER * 64, 1e9)
    assert not allowance.spend(PLAIN_COST, 1e9)


def test_forgeries_use_it_up_soon() -> None:
    allowance = Allowance(4, 0.0)
    assert sum(allowance.spend(FORGED_COST, 0.0) for _ in range(1000)) == FEWEST_CREDIT / FORGED_COST
