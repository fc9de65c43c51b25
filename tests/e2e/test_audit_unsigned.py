"""What no signature shows: an endpoint that lies about it everywhere alike fits, and differs from another."""

from __future__ import annotations

from typing import Any, Final

import pytest
from eth_hash.auto import keccak

from ledger.audit import audit_trail
from ledger.errors import ChainUnavailable, TransactionFailed
from ledger.trail import Trail, event_types
from tests.helpers.chain import ETHER
from tests.helpers.lying_proxy import Lie, Log, honest
from tests.helpers.storm import Shown, raise_storm

FUNDED, CLAIMED = (
    next("0x" + topic.hex() for topic, kind in event_types("RewardVault").items() if kind.name == name)
    for name in ("Funded", "RewardClaimed")
)
NOBODYS_WEI: Final = 1000 * ETHER
FIRST_CLAIM: Final = 581_578_947_368_421_052
"""What the storm pays to its first member, all at once."""


@pytest.fixture(scope="module")
def shown() -> Shown:
    return Shown(raise_storm().consortium)


def off_by(number: str, wei: int) -> str:
    """A word, or a balance without leading zeros, with so much more."""
    found = int(number, 16) + wei
    return f"0x{found:064x}" if len(number) == 66 else hex(found)


def money_is(more_wei: int, changed_views: dict[str, int], logs: Any) -> Lie:
    """A lie about events, these views and the vault's balance, which fit each other."""
    selectors = {"0x" + keccak(name.encode())[:4].hex(): wei for name, wei in changed_views.items()}

    def lie(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getBalance":
            return off_by(result, more_wei)
        if method == "eth_getLogs":
            return logs(result)
        if method != "eth_call" or params[0]["data"][:10] not in selectors:
            return result
        is_another_members = int(params[0]["data"][10:] or "0", 16) > 0
        return result if is_another_members else off_by(result, selectors[params[0]["data"][:10]])

    return lie


def with_more_funds(logs: list[Log]) -> list[Log]:
    return [log | {"data": off_by(log["data"], NOBODYS_WEI)} if log["topics"][0] == FUNDED else log for log in logs]


def without_the_first_claim(logs: list[Log]) -> list[Log]:
    return [log for log in logs if log["topics"][:2] != [CLAIMED, "0x" + bytes(32).hex()]]


UNSIGNED: Final = {
    "funds that nobody paid": money_is(NOBODYS_WEI, {"totalFunded()": NOBODYS_WEI}, with_more_funds),
    "a payment that is hidden": money_is(
        FIRST_CLAIM, {"totalClaimed()": -FIRST_CLAIM, "claimedWei(uint256)": -FIRST_CLAIM}, without_the_first_claim
    ),
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_money_that_nobody_signs_for_rests_on_the_endpoint(shown: Shown, name: str) -> None:
    true, false = (shown.audit(lie).as_json() for lie in (honest, UNSIGNED[name]))
    assert false["ok"]
    assert (false["block"], false["block_hash"]) == (true["block"], true["block_hash"])
    assert false != true


@pytest.mark.parametrize("name", UNSIGNED)
def test_the_same_lie_told_in_one_place_is_found(shown: Shown, name: str) -> None:
    whole = UNSIGNED[name]

    def logs_alone(method: str, params: list[Any], result: Any) -> Any:
        return whole(method, params, result) if method == "eth_getLogs" else result

    assert not shown.audit(logs_alone).ok


def few_blocks_at_a_time(method: str, params: list[Any], result: Any) -> Any:
    """An honest endpoint with a limit."""
    if method == "eth_getLogs" and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) > 3:
        raise TransactionFailed("too many blocks")
    return result


def up_to(shown: Shown, block: int, lie: Lie = honest) -> dict[str, Any]:
    shown.lie = lie
    endpoint: Any = shown
    return audit_trail(Trail(endpoint, block=block), shown.registry).as_json()


def test_two_honest_endpoints_give_equal_reports_of_one_block(shown: Shown) -> None:
    newest = shown.audit(honest).as_json()
    assert up_to(shown, newest["block"], few_blocks_at_a_time) == newest


def test_a_chain_that_went_on_can_be_compared_at_an_older_block(shown: Shown) -> None:
    earlier = up_to(shown, 50)
    assert (earlier["ok"], earlier["block"]) == (True, 50)
    assert earlier == up_to(shown, 50, few_blocks_at_a_time)
    assert earlier["changes"] != up_to(shown, 66)["changes"]


def test_a_block_that_is_not_there_yet_is_refused(shown: Shown) -> None:
    with pytest.raises(ChainUnavailable, match="block 9999 is not final"):
        up_to(shown, 9999)
