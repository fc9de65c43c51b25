"""RewardVault with ERC-20 tokens: what arrives counts, and no token takes more than it was asked to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ledger.rewards import rewards_proof
from tests.helpers.chain import (
    DISPUTES,
    TERMS,
    Chain,
    Consortium,
    DisputeTerms,
    Refusal,
    address_of,
    create_address,
    deploy_consortium,
    entries,
    key_of,
)

HONEST, TAKES_FEE, RETURNS_FALSE, RETURNS_NOTHING, REENTERS, SWALLOWS, OVERCHARGES = range(7)
CUMULATIVE = (100, 0, 250, 50)


@dataclass
class Paid:
    """A consortium whose vault pays in a token that does as it is told."""

    consortium: Consortium
    token: Any

    @property
    def chain(self) -> Chain:
        return self.consortium.chain

    @property
    def vault(self) -> Any:
        return self.consortium.vault.functions

    def held(self) -> int:
        return int(self.token.functions.balanceOf(self.consortium.vault.address).call())

    def behave(self, mode: int) -> None:
        self.chain.send(self.token.functions.setMode(mode))

    def activate(self, cumulative: tuple[int, ...] = CUMULATIVE) -> None:
        result = self.consortium.record_rewards(cumulative)
        self.chain.send(self.vault.fund(sum(cumulative)))
        self.chain.travel_to(self.chain.now + TERMS.dispute_window_seconds + 1)
        self.chain.send(self.vault.activate(result.as_tuple()))

    def claim(self, index: int) -> Any:
        return self.vault.claim(index, CUMULATIVE[index], rewards_proof(CUMULATIVE, index))


@pytest.fixture(scope="module")
def deployed_paid() -> Paid:
    chain = Chain()
    token = chain.deploy_mock("OddToken")
    terms = DisputeTerms(DISPUTES.ruling_seconds, DISPUTES.unbonding_seconds, DISPUTES.bond_wei, token.address)
    consortium = deploy_consortium(4, chain=chain, disputes=terms)
    chain.send(token.functions.mint(chain.deployer, 10**6))
    chain.send(token.functions.approve(consortium.vault.address, 10**6))
    return Paid(consortium, token)


@pytest.fixture
def paid(deployed_paid: Paid) -> Any:
    with deployed_paid.chain.undone():
        yield deployed_paid


def test_a_vault_needs_a_token_where_it_names_one() -> None:
    chain, nobody = Chain(), address_of(key_of("nobody"))
    later = [create_address(chain.deployer, ahead) for ahead in (1, 2, 3)]
    registry = chain.deploy("MemberRegistry", entries(3), b"spec", *later)
    ledger = chain.deploy("RoundLedger", registry.address, 1, 1)
    call = chain.construction("RewardVault", registry.address, ledger.address, nobody, 1, 1, 10)
    assert chain.refusal(call, mine=False) == Refusal("NoToken", (nobody.lower(),))


@pytest.mark.parametrize("mode", [HONEST, RETURNS_NOTHING])
def test_money_comes_in_and_goes_out_in_tokens(paid: Paid, mode: int) -> None:
    paid.behave(mode)
    paid.activate()
    paid.chain.send(paid.claim(2))
    assert paid.token.functions.balanceOf(paid.consortium.accounts[2]).call() == 250
    assert paid.held() == 150


def test_what_arrives_after_the_tokens_fee_counts(paid: Paid) -> None:
    paid.behave(TAKES_FEE)
    paid.chain.send(paid.vault.fund(1000))
    paid.chain.send(paid.vault.stake(1, 1000))
    assert paid.vault.totalFunded().call() == paid.vault.stakeOf(1).call()[0] == 989
    assert paid.held() == 2 * 989


def test_a_fee_on_the_way_out_is_the_receivers(paid: Paid) -> None:
    paid.activate()
    paid.behave(TAKES_FEE)
    paid.chain.send(paid.claim(2))
    assert paid.held() == 150


def test_a_payment_that_the_fee_eats_is_none(paid: Paid) -> None:
    paid.behave(TAKES_FEE)
    assert paid.chain.refusal(paid.vault.fund(1)) == Refusal("NothingFunded")


@pytest.mark.parametrize("function", ["fund", "payRevenue", "stake"])
def test_a_token_that_says_no_adds_nothing(paid: Paid, function: str) -> None:
    paid.behave(RETURNS_FALSE)
    index = (1,) if function == "stake" else ()
    refusal = paid.chain.refusal(paid.vault[function](*index, 5))
    assert refusal == Refusal("SafeERC20FailedOperation", (paid.token.address.lower(),))


def test_a_token_that_says_no_pays_nothing_and_the_claim_stays(paid: Paid) -> None:
    paid.activate()
    paid.behave(RETURNS_FALSE)
    assert paid.chain.refusal(paid.claim(2)) == Refusal("SafeERC20FailedOperation", (paid.token.address.lower(),))
    paid.behave(HONEST)
    paid.chain.send(paid.claim(2))


def test_coins_are_refused_where_the_money_is_a_token(paid: Paid) -> None:
    assert paid.chain.refusal(paid.vault.fund(5), value=5) == Refusal("ValueMismatch", (0, 5))


def test_a_token_that_takes_more_than_was_paid_takes_nothing(paid: Paid) -> None:
    paid.activate()
    paid.behave(OVERCHARGES)
    assert paid.chain.refusal(paid.claim(2)) == Refusal("TokenOvercharged", (250, 253))
    assert paid.held() == 400


@pytest.mark.parametrize("inner", ["fund", "payRevenue", "stake", "claim", "claimRevenue", "withdrawStake"])
@pytest.mark.parametrize("outer", ["fund", "payRevenue", "stake", "claim", "claimRevenue", "withdrawStake"])
def test_no_payment_is_made_within_another(paid: Paid, outer: str, inner: str) -> None:
    paid.activate()
    paid.chain.send(paid.vault.payRevenue(100))
    paid.chain.send(paid.vault.stake(1, 5))
    paid.chain.adopt(key_of("account 1"))
    paid.chain.send(paid.vault.requestUnstake(1, 5), sender=address_of(key_of("account 1")))
    paid.chain.travel_to(paid.chain.now + 3 * 86_400)
    proof = rewards_proof(CUMULATIVE, 2)
    calls = {
        "fund": paid.vault.fund(1),
        "payRevenue": paid.vault.payRevenue(1),
        "stake": paid.vault.stake(2, 1),
        "claim": paid.vault.claim(2, 250, proof),
        "claimRevenue": paid.vault.claimRevenue(1, 2, 250, proof),
        "withdrawStake": paid.vault.withdrawStake(1),
    }
    data = calls[inner]._encode_transaction_data()
    paid.chain.send(paid.token.functions.arm(SWALLOWS, paid.consortium.vault.address, data))
    paid.chain.send(calls[outer])
    assert not paid.token.functions.reentered().call()


def test_a_member_whom_the_token_blocks_blocks_nobody_else(paid: Paid) -> None:
    paid.activate()
    paid.chain.send(paid.token.functions.block_(paid.consortium.accounts[0]))
    assert paid.chain.refusal(paid.claim(0)) is not None
    paid.chain.send(paid.claim(2))
    paid.chain.send(paid.claim(3))
