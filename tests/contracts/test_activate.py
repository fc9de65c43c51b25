"""RewardVault.activate: only recorded rewards, only after the window, only upwards, only what is funded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.rewards import rewards_proof, rewards_root
from tests.helpers.chain import TERMS, Consortium, Refusal

CUMULATIVE = (100, 0, 250, 50)


def activation(consortium: Consortium, result: object) -> object:
    return consortium.vault.functions.activate(result.as_tuple())  # type: ignore[attr-defined]


def after_window(consortium: Consortium) -> None:
    consortium.chain.travel_to(consortium.chain.now + TERMS.dispute_window_seconds + 1)


def fund(consortium: Consortium, amount: int) -> None:
    consortium.fund(amount)


def test_a_round_that_is_not_recorded_is_refused(consortium: Consortium) -> None:
    call = activation(consortium, consortium.result(round=1))
    assert consortium.chain.refusal(call) == Refusal("RoundNotRecorded", (1,))


def test_another_result_than_the_recorded_one_is_refused(consortium: Consortium) -> None:
    recorded = consortium.record_rewards(CUMULATIVE)
    after_window(consortium)
    forged = replace(recorded, rewards_total=0)
    expected = Refusal("ResultMismatch", (1, recorded.stored_digest(), forged.struct_hash()))
    assert consortium.chain.refusal(activation(consortium, forged)) == expected


def test_round_0_pays_nothing_and_is_refused(consortium: Consortium) -> None:
    result = consortium.record()
    after_window(consortium)
    assert consortium.chain.refusal(activation(consortium, result)) == Refusal("RoundNotNewer", (0, 0))


def test_the_active_round_is_not_activated_again(consortium: Consortium) -> None:
    result = consortium.activate_rewards(CUMULATIVE)
    assert consortium.chain.refusal(activation(consortium, result)) == Refusal("RoundNotNewer", (1, 1))


def test_an_earlier_round_than_the_active_one_is_refused(consortium: Consortium) -> None:
    earlier = consortium.record_rewards(CUMULATIVE)
    consortium.activate_rewards(CUMULATIVE)
    assert consortium.chain.refusal(activation(consortium, earlier)) == Refusal("RoundNotNewer", (2, 1))


def test_rewards_are_refused_until_the_last_second_of_the_window(consortium: Consortium) -> None:
    result = consortium.record_rewards(CUMULATIVE)
    fund(consortium, sum(CUMULATIVE))
    ends_at = consortium.ledger.functions.recordedAt(1).call() + TERMS.dispute_window_seconds
    call = activation(consortium, result)
    consortium.chain.travel_to(ends_at - 1)
    assert consortium.chain.refusal(call) == Refusal("DisputeWindowOpen", (1, ends_at))
    # The refusal was mined in that second, so this block has exactly the first second after the window.
    consortium.chain.send(call)
    assert consortium.chain.now == ends_at


def test_a_smaller_total_than_the_active_one_is_refused(consortium: Consortium) -> None:
    consortium.activate_rewards(CUMULATIVE)
    result = consortium.record_rewards((100, 0, 250, 49))
    after_window(consortium)
    assert consortium.chain.refusal(activation(consortium, result)) == Refusal("TotalDecreased", (400, 399))


@pytest.mark.parametrize("funded", [0, 399])
def test_more_than_what_was_funded_is_refused(consortium: Consortium, funded: int) -> None:
    result = consortium.record_rewards(CUMULATIVE)
    if funded:
        fund(consortium, funded)
    after_window(consortium)
    assert consortium.chain.refusal(activation(consortium, result)) == Refusal("TotalExceedsFunds", (funded, 400))


def test_what_was_claimed_still_counts_as_funded(consortium: Consortium) -> None:
    consortium.activate_rewards(CUMULATIVE)
    proof = rewards_proof(CUMULATIVE, 2)
    consortium.chain.send(consortium.vault.functions.claim(2, 250, proof))
    consortium.activate_rewards(CUMULATIVE)
    assert consortium.vault.functions.activeRound().call() == 2


def test_anybody_activates_exactly_what_is_funded(consortium: Consortium) -> None:
    result = consortium.record_rewards(CUMULATIVE)
    fund(consortium, 400)
    after_window(consortium)
    stranger = consortium.chain.w3.eth.accounts[5]
    receipt = consortium.chain.send(activation(consortium, result), sender=stranger)
    root = rewards_root(CUMULATIVE)
    expected = {"round": 1, "root": root, "totalWei": 400}
    assert consortium.chain.events(consortium.vault, "RootActivated", receipt) == [expected]
    views = consortium.vault.functions
    assert (views.activeRound().call(), views.activeRoot().call(), views.activeTotal().call()) == (1, root, 400)


def test_rounds_may_be_left_out(consortium: Consortium) -> None:
    for total in (1, 2, 3):
        consortium.record_rewards((total, 0, 0, 0))
    consortium.activate_rewards(CUMULATIVE)
    assert consortium.vault.functions.activeRound().call() == 4
