"""`mycelia claim` pays what is final, whatever is disputed, void or paused beside it, and all revenue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ledger.approvals import Approval, Pause, RoundRuling
from ledger.audit import audit
from ledger.books import compute_books
from ledger.client import LedgerClient
from ledger.connection import Connection
from ledger.devchain import DEV_KEYS, running
from ledger.errors import Reverted
from ledger.types import DAY_SECONDS, EMPTY, members_of
from node import claiming
from node.keys import Keys
from tests.helpers import recorded as history
from tests.helpers.chain import compact_signature, key_of
from tests.helpers.recorded import HISTORY, QUORUM, Recorded, begin

pytestmark = pytest.mark.network
WINDOW = 600
SENDER = Keys(None, bytes.fromhex(DEV_KEYS[2].removeprefix("0x")), bytes(32))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as server:
        yield server.url


@pytest.fixture
def young(url: str, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Two rounds, of which the second pays, in a window of ten minutes; whoever claims is member 0."""
    monkeypatch.setattr(history, "TERMS", replace(history.TERMS, dispute_window_seconds=WINDOW))
    monkeypatch.setattr(claiming, "find_member", lambda roster, keys: 0)
    recorded = begin(url)
    for step in HISTORY[:2]:
        recorded.record(step)
    return recorded


def approve(url: str, recorded: Recorded, contract: str, function: str, approval: Approval, *args: object) -> None:
    """Sends what a quorum approved."""
    connection = Connection(url)
    registry = connection.contract("MemberRegistry", recorded.roster.registry)
    named = {"RoundLedger": "ledger", "Disputes": "disputes"}[contract]
    target = connection.contract(contract, connection.call(registry.functions[named]()))
    digest = approval.signing_digest(recorded.roster.chain_id, target.address)
    signed = b"".join(compact_signature(key_of(f"signer {index}"), digest) for index in members_of(QUORUM))
    data = target.encode_abi(function, [*args, QUORUM, signed])
    connection.send(DEV_KEYS[1], {"to": target.address, "value": 0, "data": data}, 500_000)


def make_void(url: str, recorded: Recorded, round_id: int) -> None:
    ruling = RoundRuling(recorded.roster.config_digest, round_id, True, EMPTY)
    approve(url, recorded, "Disputes", "ruleOnRound", ruling, round_id, True, EMPTY)


def claim(url: str, recorded: Recorded) -> int:
    return claiming.claim_for(LedgerClient(url, recorded.roster.registry), SENDER).paid_wei


def test_nothing_is_paid_before_the_window_is_over_and_everything_once_after_it(url: str, young: Recorded) -> None:
    assert claim(url, young) == 0
    young.client.increase_time(WINDOW + 1)
    assert claim(url, young) == young.cumulative[1][0] > 0
    assert claim(url, young) == 0


def test_a_void_round_pays_nothing_and_blocks_no_later_one(url: str, young: Recorded) -> None:
    make_void(url, young, 1)
    young.client.increase_time(WINDOW + 1)
    assert claim(url, young) == 0
    young.record(HISTORY[2])
    young.client.increase_time(WINDOW + 1)
    assert claim(url, young) == young.cumulative[2][0] > 0


def test_what_is_active_is_paid_while_newer_rounds_are_void_or_paused(url: str, young: Recorded) -> None:
    young.client.increase_time(WINDOW + 1)
    young.activate(1)
    for step in HISTORY[2:4]:
        young.record(step)
    make_void(url, young, 3)
    young.client.increase_time(WINDOW + 1)
    assert young.client.payable_round() == 2
    assert claim(url, young) == young.cumulative[1][0]
    young.record(HISTORY[4])
    young.client.increase_time(WINDOW + 1)
    until = young.client.block_timestamp() + DAY_SECONDS
    pause = Pause(young.roster.config_digest, 0, until)
    approve(url, young, "RoundLedger", "pause", pause, until)
    assert claim(url, young) == 0  # the newest rewards cannot become active
    young.client.increase_time(DAY_SECONDS + 1)
    assert claim(url, young) == young.cumulative[4][0] - young.cumulative[1][0] > 0


def test_a_member_that_nothing_is_left_for_sends_nothing(url: str, young: Recorded) -> None:
    young.client.increase_time(WINDOW + 1)
    claim(url, young)
    before = LedgerClient(url, young.roster.registry).active_round()
    young.record(HISTORY[2])
    young.client.increase_time(WINDOW + 1)
    assert (claim(url, young), young.client.active_round()) == (0, before)


# --- revenue ----------------------------------------------------------------------------------------------------------

REVENUE_WEI = 10**15 + 1


def part(young: Recorded, round_id: int, paid_wei: int = REVENUE_WEI) -> int:
    return paid_wei * young.cumulative[round_id][0] // sum(young.cumulative[round_id])


def with_revenue(young: Recorded) -> None:
    """Round 1 draws some, then round 4, whose rewards are active."""
    young.client.increase_time(WINDOW + 1)
    young.activate(1)
    young.client.revenue.pay(young.key, REVENUE_WEI)
    for step in HISTORY[2:]:
        young.record(step)
    young.client.increase_time(WINDOW + 1)
    young.activate(4)
    young.client.revenue.pay(young.key, REVENUE_WEI)


def test_a_claim_pays_the_revenue_of_every_round_once(url: str, young: Recorded) -> None:
    with_revenue(young)
    account = young.roster.members[0].account
    before = young.client.balance_wei(account)
    first = claiming.claim_for(young.client, SENDER)
    assert (first.reward_wei, first.revenue_wei) == (young.cumulative[4][0], {1: part(young, 1), 4: part(young, 4)})
    assert young.client.balance_wei(account) - before == first.paid_wei
    assert claim(url, young) == 0
    assert audit(url, young.roster.registry).findings == ()


def test_what_comes_later_is_paid_by_the_next_claim(url: str, young: Recorded) -> None:
    with_revenue(young)
    claim(url, young)
    young.client.revenue.pay(young.key, REVENUE_WEI)
    second = claiming.claim_for(young.client, SENDER)
    assert (second.reward_wei, second.revenue_wei) == (0, {4: part(young, 4, 2 * REVENUE_WEI) - part(young, 4)})


def test_what_is_not_worth_its_gas_is_left_for_later(young: Recorded) -> None:
    with_revenue(young)
    reward, revenue = young.cumulative[4][0], sorted([part(young, 1), part(young, 4)])
    assert revenue[0] < revenue[1] < reward
    paid = [claiming.claim_for(young.client, SENDER, above).paid_wei for above in (reward, revenue[1], revenue[0], 0)]
    assert paid == [0, reward, revenue[1], revenue[0]]


def test_revenue_is_paid_while_newer_rewards_wait(url: str, young: Recorded) -> None:
    young.client.increase_time(WINDOW + 1)
    young.activate(1)
    young.client.revenue.pay(young.key, REVENUE_WEI)
    young.record(HISTORY[2])
    paid = claiming.claim_for(young.client, SENDER)
    assert (paid.reward_wei, paid.revenue_wei) == (young.cumulative[1][0], {1: part(young, 1)})


def test_whoever_earned_nothing_by_then_has_no_part(url: str, young: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    with_revenue(young)
    monkeypatch.setattr(claiming, "find_member", lambda roster, keys: 4)
    monkeypatch.setattr(young.client, "claimed_wei", lambda index: 0)
    assert claiming.claim_for(young.client, SENDER).paid_wei == 0


def test_who_left_and_came_back_is_paid_for_both_of_its_times(
    url: str, young: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_revenue(young)
    former = replace(young.roster.members[2], signer=SENDER.signer_address)
    members = (*young.roster.members[:2], former, young.roster.members[3])
    monkeypatch.setattr(young.client, "roster", lambda: replace(young.roster, members=members))
    paid = claiming.claim_for(young.client, SENDER)
    assert paid.reward_wei == young.cumulative[4][0] + young.cumulative[4][2]
    balances = compute_books(LedgerClient(url, young.roster.registry)).balances
    assert [balance.due_wei + balance.revenue_due_wei > 0 for balance in balances] == [False, True, False, True]
    assert sum(balance.revenue_claimed_wei for balance in balances) == sum(paid.revenue_wei.values())


def test_what_somebody_else_claims_in_the_meantime_is_no_error(
    url: str, young: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_revenue(young)
    client = LedgerClient(url, young.roster.registry)
    claim_reward, claim_revenue = client.claim, client.revenue.claim

    def twice(send: Callable[..., str]) -> Callable[..., str]:
        def sent(*arguments: Any) -> str:
            send(*arguments)
            return send(*arguments)

        return sent

    monkeypatch.setattr(client, "claim", twice(claim_reward))
    monkeypatch.setattr(client.revenue, "claim", twice(claim_revenue))
    assert claiming.claim_for(client, SENDER).paid_wei == 0
    assert claim(url, young) == 0


def test_another_refusal_of_a_payment_is_told(url: str, young: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    with_revenue(young)

    def refuse(*arguments: Any) -> str:
        raise Reverted("PaymentFailed")

    monkeypatch.setattr(young.client.revenue, "claim", refuse)
    with pytest.raises(Reverted, match="PaymentFailed"):
        claiming.claim_for(young.client, SENDER)
