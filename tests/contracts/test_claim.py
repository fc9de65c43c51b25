"""RewardVault.claim: what the active root owes, to the member's account, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from eth_hash.auto import keccak

from ledger.rewards import rewards_proof, rewards_root
from tests.helpers.chain import ETHER, Chain, Consortium, Refusal, deploy_consortium, entries, entry

CUMULATIVE = (100, 0, 250, 50)
ACCEPT, REFUSE, REENTER, REENTER_AND_SWALLOW = range(4)


def claim(consortium: Consortium, member: int, cumulative: tuple[int, ...] = CUMULATIVE, **changes: Any) -> Any:
    """The claim that pays this member in full, with `changes` of its arguments."""
    valid = {"index": member, "cumulativeWei": cumulative[member], "proof": rewards_proof(cumulative, member)}
    return consortium.vault.functions.claim(*(valid | changes).values())


def test_nothing_can_be_claimed_before_an_activation(consortium: Consortium) -> None:
    consortium.record_rewards(CUMULATIVE)
    assert consortium.chain.refusal(claim(consortium, 0)) == Refusal("InvalidProof", (0, 100))


@pytest.mark.parametrize("index", [4, 2**256 - 1])
def test_nobody_beyond_the_roster_is_paid(consortium: Consortium, index: int) -> None:
    consortium.activate_rewards(CUMULATIVE)
    call = claim(consortium, 0, index=index)
    assert consortium.chain.refusal(call) == Refusal("UnknownMember", (index,))


def test_a_larger_sum_than_the_proven_one_is_refused(consortium: Consortium) -> None:
    consortium.activate_rewards(CUMULATIVE)
    call = claim(consortium, 0, cumulativeWei=101)
    assert consortium.chain.refusal(call) == Refusal("InvalidProof", (0, 101))


def test_another_members_proof_is_refused(consortium: Consortium) -> None:
    consortium.activate_rewards(CUMULATIVE)
    call = claim(consortium, 2, index=0)
    assert consortium.chain.refusal(call) == Refusal("InvalidProof", (0, 250))


@pytest.mark.parametrize("cut", [0, 1])
def test_a_shortened_proof_is_refused(consortium: Consortium, cut: int) -> None:
    consortium.activate_rewards(CUMULATIVE)
    call = claim(consortium, 0, proof=rewards_proof(CUMULATIVE, 0)[:cut])
    assert consortium.chain.refusal(call) == Refusal("InvalidProof", (0, 100))


def test_a_lengthened_proof_is_refused(consortium: Consortium) -> None:
    consortium.activate_rewards(CUMULATIVE)
    call = claim(consortium, 0, proof=(*rewards_proof(CUMULATIVE, 0), bytes(32)))
    assert consortium.chain.refusal(call) == Refusal("InvalidProof", (0, 100))


def test_a_proof_under_an_earlier_root_is_refused(consortium: Consortium) -> None:
    consortium.activate_rewards(CUMULATIVE)
    consortium.activate_rewards((100, 5, 250, 50))
    assert consortium.chain.refusal(claim(consortium, 0)) == Refusal("InvalidProof", (0, 100))


def test_a_reward_is_paid_once(consortium: Consortium) -> None:
    consortium.activate_rewards(CUMULATIVE)
    consortium.chain.send(claim(consortium, 0))
    assert consortium.chain.refusal(claim(consortium, 0)) == Refusal("NothingToClaim", (0, 100))
    assert consortium.chain.balance(consortium.accounts[0]) == 100


def test_a_member_without_a_reward_has_nothing_to_claim(consortium: Consortium) -> None:
    consortium.activate_rewards(CUMULATIVE)
    assert consortium.chain.refusal(claim(consortium, 1)) == Refusal("NothingToClaim", (1, 0))


def test_a_member_whose_sum_shrank_gets_nothing_more(consortium: Consortium) -> None:
    consortium.activate_rewards(CUMULATIVE)
    consortium.chain.send(claim(consortium, 0))
    shrunk = (99, 1, 250, 50)
    consortium.activate_rewards(shrunk)
    assert consortium.chain.refusal(claim(consortium, 0, shrunk)) == Refusal("NothingToClaim", (0, 100))


def test_leaves_that_exceed_the_signed_total_are_not_paid_from_what_nobody_was_given(
    consortium: Consortium,
) -> None:
    """Even a quorum that signs a root and a smaller total does not reach the rest of the pool."""
    chain = consortium.chain
    chain.send(consortium.vault.functions.fund(1_000), value=1_000)
    consortium.activate_rewards(CUMULATIVE)
    chain.send(claim(consortium, 2))
    greedy = (100, 0, 350, 50)
    result = consortium.result(rewards=rewards_root(greedy), rewards_total=400)
    consortium.record(result)
    chain.travel_to(chain.now + 3601)
    chain.send(consortium.vault.functions.activate(result.as_tuple()))
    chain.send(claim(consortium, 0, greedy))
    assert chain.refusal(claim(consortium, 2, greedy)) == Refusal("ClaimsExceedTotal", (50, 100))
    chain.send(claim(consortium, 3, greedy))


def test_anybody_claims_and_only_the_members_account_is_paid(consortium: Consortium) -> None:
    chain = consortium.chain
    consortium.activate_rewards(CUMULATIVE)
    stranger = chain.w3.eth.accounts[7]
    receipt = chain.send(claim(consortium, 2), sender=stranger)
    expected = {"index": 2, "account": consortium.accounts[2], "amountWei": 250, "cumulativeWei": 250}
    assert chain.events(consortium.vault, "RewardClaimed", receipt) == [expected]
    assert chain.balance(consortium.accounts[2]) == 250
    assert consortium.vault.functions.claimedWei(2).call() == 250


def test_later_claims_pay_the_difference(consortium: Consortium) -> None:
    chain = consortium.chain
    consortium.activate_rewards(CUMULATIVE)
    chain.send(claim(consortium, 0))
    grown = (130, 20, 250, 50)
    consortium.activate_rewards(grown)
    receipt = chain.send(claim(consortium, 0, grown))
    [event] = chain.events(consortium.vault, "RewardClaimed", receipt)
    assert (event["amountWei"], event["cumulativeWei"]) == (30, 130)
    assert chain.balance(consortium.accounts[0]) == 130


def test_the_budget_is_conserved_to_the_wei(consortium: Consortium) -> None:
    chain, vault = consortium.chain, consortium.vault
    chain.send(vault.functions.fund(ETHER), value=ETHER)
    consortium.activate_rewards(CUMULATIVE)
    paid = 0
    for index in (3, 0, 2):
        chain.send(claim(consortium, index))
        paid += CUMULATIVE[index]
        assert vault.functions.totalClaimed().call() == paid
        assert chain.balance(vault.address) == ETHER - paid
    assert sum(chain.balance(account) for account in consortium.accounts) == paid == 400


@dataclass(frozen=True)
class Trap:
    """A consortium in which the account of member 0 is a contract that answers payments."""

    consortium: Consortium
    receiver: Any

    def arm(self, mode: int, call: Any = None) -> None:
        data = call._encode_transaction_data() if call is not None else "0x"
        vault = self.consortium.vault.address
        self.consortium.chain.send(self.receiver.functions.arm(mode, vault, data))


@pytest.fixture
def trap() -> Trap:
    chain = Chain()
    receiver = chain.deploy_mock("ReentrantReceiver")
    members = [entry(0, account=receiver.address), *entries(4)[1:]]
    return Trap(deploy_consortium(4, members=members, chain=chain), receiver)


def test_a_contract_that_accepts_is_paid(trap: Trap) -> None:
    trap.consortium.activate_rewards(CUMULATIVE)
    trap.consortium.chain.send(claim(trap.consortium, 0))
    assert trap.consortium.chain.balance(trap.receiver.address) == 100


def test_an_account_that_refuses_payment_keeps_its_claim_and_blocks_nobody(trap: Trap) -> None:
    consortium, chain = trap.consortium, trap.consortium.chain
    consortium.activate_rewards(CUMULATIVE)
    trap.arm(REFUSE)
    expected = Refusal("PaymentFailed", (trap.receiver.address.lower(), 100))
    assert chain.refusal(claim(consortium, 0)) == expected
    assert consortium.vault.functions.claimedWei(0).call() == 0
    chain.send(claim(consortium, 2))
    trap.arm(ACCEPT)
    chain.send(claim(consortium, 0))
    assert chain.balance(trap.receiver.address) == 100


def test_a_claim_from_within_a_claim_undoes_the_payment(trap: Trap) -> None:
    consortium = trap.consortium
    consortium.activate_rewards(CUMULATIVE)
    trap.arm(REENTER, claim(consortium, 0))
    expected = Refusal("PaymentFailed", (trap.receiver.address.lower(), 100))
    assert consortium.chain.refusal(claim(consortium, 0)) == expected
    assert consortium.chain.balance(consortium.vault.address) == 400


@pytest.mark.parametrize("index", [0, 2])
def test_a_receiver_that_swallows_its_refused_claim_is_paid_once(trap: Trap, index: int) -> None:
    """Not even another member's claim is accepted from within a payment."""
    consortium, chain = trap.consortium, trap.consortium.chain
    consortium.activate_rewards(CUMULATIVE)
    trap.arm(REENTER_AND_SWALLOW, claim(consortium, index))
    chain.send(claim(consortium, 0))
    assert trap.receiver.functions.reentered().call() is False
    assert trap.receiver.functions.answer().call() == keccak(b"ReentrancyGuardReentrantCall()")[:4]
    assert chain.balance(trap.receiver.address) == 100
    assert chain.balance(consortium.vault.address) == 300


def test_everything_is_written_before_the_payment(trap: Trap) -> None:
    """The receiver reads the vault while it is being paid, and finds the claim done."""
    consortium, chain = trap.consortium, trap.consortium.chain
    consortium.activate_rewards(CUMULATIVE)
    for view in (consortium.vault.functions.claimedWei(0), consortium.vault.functions.totalClaimed()):
        with chain.undone():
            trap.arm(REENTER, view)
            chain.send(claim(consortium, 0))
            assert int.from_bytes(trap.receiver.functions.answer().call(), "big") == 100
