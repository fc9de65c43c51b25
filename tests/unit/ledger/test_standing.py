from __future__ import annotations

import json

import pytest

from ledger.findings import Notebook
from ledger.standing import MAX_LISTED, Change, Funds, Standing, newest_of, notices
from ledger.types import ZERO_ADDRESS

ETHER = 10**18
TOKEN = "0x" + "77" * 20


def test_a_report_lists_the_newest_and_counts_the_others() -> None:
    listed = newest_of(range(MAX_LISTED + 7))
    assert (len(listed.newest), listed.newest[-1], listed.left_out) == (MAX_LISTED, MAX_LISTED + 6, 7)
    assert newest_of([1, 2]).newest == (1, 2)
    assert newest_of([1, 2]).left_out == 0


@pytest.mark.parametrize(
    ("funds", "missing"),
    [
        (Funds(earned_wei=5 * ETHER // 2), 5 * ETHER // 2),
        (Funds(funded_wei=2, slashed_wei=3, earned_wei=6), 1),
        (Funds(funded_wei=2, slashed_wei=3, earned_wei=5), 0),
        (Funds(funded_wei=9, earned_wei=5, active_wei=5, claimed_wei=5), 0),
        (Funds(earned_wei=None), 0),
    ],
)
def test_what_was_earned_and_has_no_funds_is_missing(funds: Funds, missing: int) -> None:
    assert funds.as_json()["missing_wei"] == missing
    assert bool(notices(Standing(), funds, ZERO_ADDRESS, 0)) == bool(missing)


def test_missing_funds_are_told_in_the_unit_that_the_vault_pays_in() -> None:
    funds = Funds(earned_wei=5 * ETHER // 2)
    assert notices(Standing(), funds, ZERO_ADDRESS, 0) == (
        "recorded rounds earned 2.5 ether, the vault has funds for 0 ether: "
        "2.5 ether cannot be claimed until it is funded",
    )
    assert TOKEN in notices(Standing(), funds, TOKEN, 0)[0]


def test_a_pause_that_is_over_needs_no_notice() -> None:
    standing = Standing(pauses=1, paused_until=1_800_000_000)
    assert notices(standing, Funds(), ZERO_ADDRESS, 1_800_000_000) == ()
    (told,) = notices(standing, Funds(), ZERO_ADDRESS, 1_799_999_999)
    assert told == "rounds are paused until 2027-01-15 08:00:00 UTC"


def test_a_successor_is_named() -> None:
    (told,) = notices(Standing(successor=TOKEN), Funds(), ZERO_ADDRESS, 0)
    assert TOKEN in told


def test_standing_and_funds_are_in_the_report_and_no_findings() -> None:
    standing = Standing(changes=newest_of([Change(1, 5, "founded by north", 3, 3)]), successor=TOKEN)
    report = Notebook().report(1, "0x", 9, standing=standing, funds=Funds(earned_wei=1))
    told = json.loads(json.dumps(report.as_json()))
    assert report.ok
    change = {"version": 1, "block": 5, "what": "founded by north", "quorum": 3, "members": 3}
    assert told["changes"] == {"newest": [change], "left_out": 0}
    assert (told["successor"], told["earned_wei"], told["missing_wei"], len(told["notices"])) == (TOKEN, 1, 1, 2)
