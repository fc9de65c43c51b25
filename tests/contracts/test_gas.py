"""What every external function costs: contracts/gas.json, which `make gas` writes, and the goals."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.helpers.gas import SIZES, TABLE, measure

COMMITTED: Final[dict[str, dict[str, int]]] = json.loads(TABLE.read_text(encoding="utf-8"))
NEW_ACCOUNT: Final = 25_000
"""What the chain itself takes for the first coins of an account."""

NEW_TOKEN_BALANCE: Final = 17_100
"""What the chain itself takes for an account's first tokens."""


@pytest.mark.parametrize("n", SIZES)
def test_nothing_costs_three_percent_more_than_the_committed_table(n: int) -> None:
    found = measure(n)
    assert found.keys() == COMMITTED.keys()
    assert {name: gas for name, gas in found.items() if gas > COMMITTED[name][str(n)] * 1.03} == {}


@pytest.mark.parametrize("n", SIZES)
def test_the_committed_table_keeps_the_goals(n: int) -> None:
    gas = {name: figures[str(n)] for name, figures in COMMITTED.items()}
    assert gas["submitRound"] <= 60_000 + 8_200 * (2 * n // 3 + 1) + 600 * n
    assert gas["claim"] <= 65_000
    assert gas["claim, a member's first, to an account new to the chain"] - NEW_ACCOUNT <= 85_000
    assert gas["claim, in tokens"] <= 65_000
    assert gas["claim, a member's first, in tokens"] - NEW_TOKEN_BALANCE <= 85_000
    assert gas["stake, a member's first, in tokens"] <= 90_000
    assert gas["stake, a member's first"] <= 90_000
    assert max(gas["proveEquivocation"], gas["proveResultEquivocation"]) <= 120_000
    assert gas["deploy MemberRegistry"] <= 2**24  # EIP-7825
