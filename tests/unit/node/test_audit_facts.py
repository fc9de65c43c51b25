from __future__ import annotations

from typing import Any

from ledger.findings import MemberSummary, Notebook
from ledger.standing import Change, DisputedRound, Funds, Newest, Standing, VoidRounds
from node.audit_facts import change_in_words, facts

ETHER = 10**18


def told(standing: Standing | None = None, funds: Funds | None = None, **changes: Any) -> dict[str, str]:
    members = (MemberSummary("north", "0x", 0, 0, 0, 0, 0, **changes), MemberSummary("south", "0x", 0, 0, 0, 0, 0))
    seen = {"members": members, "standing": standing or Standing(), "funds": funds or Funds()}
    return dict(facts(Notebook().report(1, "0x", 9, **seen).as_json()))


def test_of_a_quiet_consortium_only_its_funds_are_told() -> None:
    funds = Funds(funded_wei=3 * ETHER, earned_wei=2 * ETHER, active_wei=ETHER, claimed_wei=ETHER // 2)
    assert told(funds=funds) == {
        "Vault": "3 ether paid in; recorded rounds earned 2 ether; 1 ether became active, 0.5 ether of it claimed"
    }


def test_what_came_from_elsewhere_is_told() -> None:
    funds = Funds(slashed_wei=ETHER, earned_wei=None, revenue_paid_wei=5 * ETHER, surplus_wei=ETHER)
    found = told(funds=funds, slashed_wei=ETHER)
    assert "1 ether slashed from stakes; recorded rounds earned an unknown sum;" in found["Vault"]
    assert "holds 1 ether more than its events explain" in found["Vault"]
    assert found["Revenue"] == "5 ether paid for the model, 0 ether of it received by members"
    assert found["Slashed"] == "north 1 ether; 1 ether in total"


def test_rounds_that_are_void_or_disputed_are_told() -> None:
    void = Newest((VoidRounds(3, 3), VoidRounds(5, 7)), left_out=2)
    found = told(Standing(void_rounds=void, disputed_rounds=Newest((DisputedRound(9, 1_800_000_000),))))
    assert found["Void"] == "2 older ones, round 3, rounds 5 to 7: a quorum found these rewards wrong"
    assert found["Disputed"] == "round 9 until 2027-01-15 08:00:00 UTC: waiting for a ruling"


def test_pauses_and_a_successor_are_told() -> None:
    found = told(Standing(pauses=2, paused_until=1_800_000_000, successor="0x77"))
    assert found["Paused"] == "2 times, the last until 2027-01-15 08:00:00 UTC"
    assert found["Successor"] == "0x77"


def test_where_no_member_is_known_nothing_is_told() -> None:
    assert facts(Notebook().report(1, "0x", 9).as_json()) == []


def test_a_change_is_one_line() -> None:
    change = Change(2, 34, "admitted west", 4, 5)
    report = Notebook().report(1, "0x", 9, standing=Standing(changes=Newest((change,)))).as_json()
    (found,) = report["changes"]["newest"]
    assert change_in_words(found) == "roster 2, block 34: admitted west (quorum 4 of 5)"
