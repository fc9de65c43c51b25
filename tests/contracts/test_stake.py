"""RewardVault.stake, requestUnstake and withdrawStake: a member's own money, with a delay."""

from __future__ import annotations

import pytest

from ledger.model_state import Stake
from ledger.types import DAY_SECONDS
from tests.helpers.chain import DISPUTES, TERMS, Chain, Refusal, entries
from tests.helpers.scene import Scene

UNBONDING = 2 * DAY_SECONDS


@pytest.mark.parametrize(("index", "gone"), [(5, False), (300, False), (4, True)])
def test_only_active_members_have_a_stake(scene: Scene, index: int, gone: bool) -> None:
    if gone:
        scene.accepted("registry", "leaveRoster", *scene.exit(index))
    assert scene.refused("vault", "stake", index, 5, value=5) == Refusal("MemberNotActive", (index,))


@pytest.mark.parametrize(("amount", "value"), [(5, 4), (5, 6), (5, 0), (0, 5)])
@pytest.mark.parametrize("function", ["fund", "payRevenue", "stake"])
def test_the_coins_are_what_the_call_names(scene: Scene, function: str, amount: int, value: int) -> None:
    index = (1,) if function == "stake" else ()
    refusal = scene.refused("vault", function, *index, amount, value=value)
    assert refusal == Refusal("ValueMismatch", (amount, value))


@pytest.mark.parametrize("function", ["fund", "payRevenue", "stake"])
def test_nothing_is_no_payment(scene: Scene, function: str) -> None:
    index = (1,) if function == "stake" else ()
    assert scene.refused("vault", function, *index, 0) == Refusal("NothingFunded")


def test_anybody_may_add_to_a_stake(scene: Scene) -> None:
    scene.accepted("vault", "stake", 1, 5, value=5)
    scene.accepted("vault", "stake", 1, 7, value=7, sender=scene.account(2))
    assert scene.state.vault.stake_of(1) == Stake(staked=12)


@pytest.mark.parametrize("who", [0, 2])
def test_only_the_account_takes_a_stake_back(scene: Scene, who: int) -> None:
    scene.accepted("vault", "stake", 1, 5, value=5)
    refusal = scene.refused("vault", "requestUnstake", 1, 5, sender=scene.account(who))
    assert refusal == Refusal("NotTheAccount", (1, scene.account(1).lower()))


def test_nobody_beyond_the_roster_takes_a_stake_back(scene: Scene) -> None:
    assert scene.refused("vault", "requestUnstake", 5, 5) == Refusal("UnknownMember", (5,))


@pytest.mark.parametrize("amount", [0, 6])
def test_no_more_is_taken_back_than_there_is_and_not_nothing(scene: Scene, amount: int) -> None:
    scene.accepted("vault", "stake", 1, 5, value=5)
    refusal = scene.refused("vault", "requestUnstake", 1, amount, sender=scene.account(1))
    assert refusal == Refusal("StakeTooSmall", (1, 5, amount))


def test_a_stake_is_paid_after_the_last_second_of_its_unbonding_and_once(scene: Scene) -> None:
    scene.accepted("vault", "stake", 1, 5, value=5)
    assert scene.refused("vault", "withdrawStake", 1) == Refusal("NothingUnbonding", (1,))
    scene.accepted("vault", "requestUnstake", 1, 3, sender=scene.account(1))
    release_at = scene.chain.now + UNBONDING
    scene.chain.travel_to(release_at - 1)
    assert scene.refused("vault", "withdrawStake", 1) == Refusal("UnbondingNotOver", (1, release_at))
    scene.accepted("vault", "withdrawStake", 1)
    assert scene.refused("vault", "withdrawStake", 1) == Refusal("NothingUnbonding", (1,))


def test_a_second_request_makes_all_of_it_wait(scene: Scene) -> None:
    scene.accepted("vault", "stake", 1, 5, value=5)
    scene.accepted("vault", "requestUnstake", 1, 3, sender=scene.account(1))
    scene.travel(UNBONDING)
    scene.accepted("vault", "requestUnstake", 1, 2, sender=scene.account(1))
    assert scene.refused("vault", "withdrawStake", 1).name == "UnbondingNotOver"


def test_rewards_are_not_paid_from_stakes(scene: Scene) -> None:
    scene.accepted("vault", "stake", 1, 10**18, value=10**18)
    result = scene.record_rewards((1, 0, 0, 0, 0))
    scene.travel(TERMS.dispute_window_seconds)
    assert scene.refused("vault", "activate", result) == Refusal("TotalExceedsFunds", (0, 1))


@pytest.mark.parametrize(("function", "args"), [("slash", (1, 5)), ("lockBond", (1, 5)), ("releaseBond", (1, 5, True))])
def test_only_the_disputes_touch_a_stake(scene: Scene, function: str, args: tuple[int, ...]) -> None:
    scene.accepted("vault", "stake", 1, 5, value=5)
    call = scene.consortium.vault.functions[function](*args)
    found = scene.chain.refusal(call, sender=scene.account(1))
    assert found == Refusal("NotTheDisputes", (scene.account(1).lower(),))


def test_a_stake_unbonds_for_longer_than_a_dispute_lasts() -> None:
    chain = Chain()
    later = [chain.predicted(ahead) for ahead in (1, 2, 3)]
    registry = chain.deploy("MemberRegistry", entries(3), b"spec", *later)
    window, ruling = TERMS.dispute_window_seconds, DISPUTES.ruling_seconds
    ledger = chain.deploy("RoundLedger", registry.address, window, ruling)
    zero = "0x" + "00" * 20
    call = chain.construction("RewardVault", registry.address, ledger.address, zero, 1, 1, window + ruling)
    expected = Refusal("UnbondingTooShort", (window + ruling + 1, window + ruling))
    assert chain.refusal(call, mine=False) == expected
    chain.deploy("RewardVault", registry.address, ledger.address, zero, 1, 1, window + ruling + 1)
