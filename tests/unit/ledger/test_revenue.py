"""Revenue is shared by the rewards of its time, and an endpoint that tells it otherwise is not believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ledger.asset import Asset
from ledger.audit import audit
from ledger.books import compute_books, compute_shared
from ledger.client import LedgerClient
from ledger.connection import Connection
from ledger.devchain import DEV_KEYS, running
from ledger.errors import ChainUnavailable, Reverted
from ledger.revenue import PAID_TOPIC, Revenue
from ledger.rewards import rewards_proof
from ledger.types import EMPTY
from tests.helpers.lying_proxy import Lie, Log, LyingProxy, honest, lying_proxy, on_answer
from tests.helpers.recorded import (
    FUND_WEI,
    HISTORY,
    Recorded,
    begin,
    deploy_token,
    member,
    on_token,
    token_balance,
)

pytestmark = pytest.mark.network

PAYER = DEV_KEYS[1]
PAID_WEI = 10**17 + 3


@pytest.fixture(scope="module")
def proxy() -> Iterator[LyingProxy]:
    with running() as server, lying_proxy(server.url) as proxy:
        yield proxy


@pytest.fixture
def lie(proxy: LyingProxy) -> Iterator[Callable[[Lie], None]]:
    """What the endpoint tells from now on."""

    def begin_with(told: Lie) -> None:
        proxy.lie = told

    yield begin_with
    proxy.lie = honest


@pytest.fixture(scope="module")
def paid(proxy: LyingProxy) -> Recorded:
    """Revenue under the rewards of round 1 and, twice, under those of round 4."""
    return with_revenue(begin(proxy.target), proxy.url)


def with_revenue(recorded: Recorded, url: str) -> Recorded:
    for number, step in enumerate(HISTORY):
        recorded.record(step)
        if number == 1:
            recorded.activate(1)
            recorded.client.revenue.pay(PAYER, PAID_WEI)
    recorded.activate(4)
    for _ in range(2):
        recorded.client.revenue.pay(PAYER, PAID_WEI)
    recorded.client = LedgerClient(url, recorded.roster.registry)
    return recorded


def parts(recorded: Recorded) -> list[list[int]]:
    """By round that drew revenue, what each member gets of it."""
    return [
        [sum_wei * wei // sum(recorded.cumulative[number]) for wei in recorded.cumulative[number]]
        for number, sum_wei in ((1, PAID_WEI), (4, 2 * PAID_WEI))
    ]


def test_a_part_is_rounded_down_and_nothing_is_shared_by_rewards_of_nothing() -> None:
    assert Revenue(1, EMPTY, total_wei=3, paid_wei=10, claimed_wei=0).part_wei(2) == 6
    assert Revenue(1, EMPTY, total_wei=0, paid_wei=0, claimed_wei=0).part_wei(0) == 0


def test_revenue_is_shared_by_the_rewards_that_were_active_when_it_came(paid: Recorded) -> None:
    shared = compute_shared(paid.client)
    assert [(part.revenue.round_id, part.revenue.paid_wei) for part in shared] == [(1, PAID_WEI), (4, 2 * PAID_WEI)]
    assert [part.earned for part in shared] == [paid.cumulative[1], paid.cumulative[4]]
    assert [[part.part_wei(index) for index in range(4)] for part in shared] == parts(paid)
    assert shared[0].part_wei(4) == 0  # admitted later


def test_books_tell_received_and_due_and_the_auditor_is_content(proxy: LyingProxy) -> None:
    recorded = with_revenue(begin(proxy.target), proxy.url)
    first, last = parts(recorded)
    proof = rewards_proof(recorded.cumulative[1], 2)
    recorded.client.revenue.claim(PAYER, 1, 2, recorded.cumulative[1][2], proof)

    books = compute_books(recorded.client)

    assert (books.revenue_wei, books.vault, books.asset) == (3 * PAID_WEI, recorded.roster.vault, Asset())
    assert [balance.revenue_claimed_wei for balance in books.balances] == [0, 0, first[2], 0]
    due = [a + b for a, b in zip(first, last, strict=True)]
    assert [balance.revenue_due_wei for balance in books.balances] == [due[0], due[1], last[2], due[3]]
    report = audit(proxy.target, recorded.roster.registry)
    assert (report.findings, [member.revenue_wei for member in report.members]) == ((), [0, 0, first[2], 0])


def test_what_comes_before_the_first_rewards_is_added_to_the_pool(proxy: LyingProxy) -> None:
    young = begin(proxy.target)
    young.client.revenue.pay(PAYER, 5)
    assert (young.client.funded_wei(), compute_shared(young.client)) == (FUND_WEI + 5, ())
    assert compute_books(young.client).revenue_wei == 0


def test_a_token_is_taken_by_the_vault_and_no_coin_is_sent(proxy: LyingProxy) -> None:
    token = deploy_token(proxy.target)
    recorded = with_revenue(begin(proxy.target, token=token), proxy.url)
    vault = recorded.roster.vault
    assert (recorded.client.balance_wei(vault), token_balance(proxy.target, token, vault)) == (
        0,
        FUND_WEI + 3 * PAID_WEI,
    )
    assert compute_books(recorded.client).asset == Asset(token, 0)
    recorded.client.revenue.claim(PAYER, 4, 0, recorded.cumulative[4][0], rewards_proof(recorded.cumulative[4], 0))
    assert token_balance(proxy.target, token, member(0).account) == parts(recorded)[1][0]
    assert audit(proxy.target, recorded.roster.registry).findings == ()


def test_a_payment_that_the_token_refuses_costs_nothing(proxy: LyingProxy) -> None:
    token = deploy_token(proxy.target)
    recorded = begin(proxy.target, token=token)
    on_token(proxy.target, PAYER, token, "approve(address,uint256)", recorded.roster.vault, 1)
    with pytest.raises(Reverted):
        recorded.client.revenue.pay(PAYER, 2)


# --- an endpoint that tells it otherwise ------------------------------------------------------------------------------


def logs_of(topic: bytes, change: Callable[[list[Log]], list[Log]]) -> Lie:
    def told(method: str, params: list[Any], result: Any) -> Any:
        is_meant = method == "eth_getLogs" and params[0]["topics"] == ["0x" + topic.hex()]
        return change(result) if is_meant else result

    return told


def test_revenue_of_a_round_that_is_not_shown_is_an_error(paid: Recorded, lie: Callable[[Lie], None]) -> None:
    other = "0x" + (9).to_bytes(32, "big").hex()
    lie(
        logs_of(
            PAID_TOPIC, lambda logs: [log | {"topics": [log["topics"][0], other, log["topics"][2]]} for log in logs]
        )
    )
    for compute in (compute_shared, compute_books):
        with pytest.raises(ChainUnavailable, match="revenue of round 9, but no such round: ask another"):
            compute(paid.client)


def test_an_event_without_its_round_is_an_error(paid: Recorded, lie: Callable[[Lie], None]) -> None:
    lie(logs_of(PAID_TOPIC, lambda logs: [log | {"topics": log["topics"][:1]} for log in logs]))
    with pytest.raises(ChainUnavailable, match="an event of the vault cannot be read"):
        paid.client.revenue.rounds()


def test_revenue_that_is_shared_by_other_rewards_is_an_error(
    paid: Recorded, proxy: LyingProxy, lie: Callable[[Lie], None]
) -> None:
    view = Connection(proxy.target).contract("RewardVault", paid.roster.vault).encode_abi("revenueOf", [4])

    def other(params: list[Any], answer: str) -> str:
        return "0x" + "77" * 32 + answer[66:] if params[0].get("data") == view else answer

    lie(on_answer("eth_call", other))
    with pytest.raises(ChainUnavailable, match="revenue of round 4 that is shared by other rewards"):
        compute_shared(paid.client)
