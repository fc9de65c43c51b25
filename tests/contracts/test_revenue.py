"""RewardVault.payRevenue and claimRevenue: what others pay is shared by what members had earned by then."""

from __future__ import annotations

from tests.helpers.chain import Refusal
from tests.helpers.scene import Scene

ADDED = (10, 20, 30, 40, 0)


def test_revenue_before_any_rewards_goes_to_the_pool(scene: Scene) -> None:
    scene.accepted("vault", "payRevenue", 77, value=77)
    assert scene.state.vault.total_funded == 77


def test_everybody_gets_its_part_rounded_down(scene: Scene) -> None:
    scene.activate_rewards(ADDED)
    scene.accepted("vault", "payRevenue", 55, value=55)
    for index, part in enumerate((5, 11, 16, 22)):
        scene.accepted("vault", "claimRevenue", 1, *scene.claim(index))
        assert scene.state.vault.revenue[1].claimed[index] == part
    assert scene.refused("vault", "claimRevenue", 1, *scene.claim(4)) == Refusal("NothingToClaim", (4, 0))


def test_revenue_is_claimed_once_and_again_when_more_came(scene: Scene) -> None:
    scene.activate_rewards(ADDED)
    scene.accepted("vault", "payRevenue", 100, value=100)
    scene.accepted("vault", "claimRevenue", 1, *scene.claim(1))
    assert scene.refused("vault", "claimRevenue", 1, *scene.claim(1)) == Refusal("NothingToClaim", (1, 20))
    scene.accepted("vault", "payRevenue", 50, value=50)
    scene.accepted("vault", "claimRevenue", 1, *scene.claim(1))
    assert scene.state.vault.revenue[1].claimed[1] == 30


def test_revenue_is_shared_by_what_was_earned_when_it_came(scene: Scene) -> None:
    first = scene.activate_rewards(ADDED)
    scene.accepted("vault", "payRevenue", 100, value=100)
    scene.activate_rewards((0, 0, 0, 0, 100))
    scene.accepted("vault", "payRevenue", 100, value=100)
    scene.accepted("vault", "claimRevenue", 1, *scene.claim(3, first.rewards))
    scene.accepted("vault", "claimRevenue", 2, *scene.claim(3))
    scene.accepted("vault", "claimRevenue", 2, *scene.claim(4))
    assert scene.state.vault.revenue[1].claimed == {3: 40}
    assert scene.state.vault.revenue[2].claimed == {3: 20, 4: 50}


def test_a_proof_under_another_root_is_refused(scene: Scene) -> None:
    scene.activate_rewards(ADDED)
    scene.accepted("vault", "payRevenue", 100, value=100)
    scene.activate_rewards((0, 0, 0, 0, 100))
    assert scene.refused("vault", "claimRevenue", 1, *scene.claim(4)) == Refusal("InvalidProof", (4, 100))
    assert scene.refused("vault", "claimRevenue", 7, *scene.claim(4)) == Refusal("InvalidProof", (4, 100))


def test_nobody_beyond_the_roster_gets_revenue(scene: Scene) -> None:
    scene.activate_rewards(ADDED)
    assert scene.refused("vault", "claimRevenue", 1, 5, 1, ()) == Refusal("UnknownMember", (5,))


def test_leaves_above_their_total_reach_nothing_beyond_the_revenue(scene: Scene) -> None:
    """A quorum signed a total smaller than one leaf, and smaller than two others together."""
    result = scene.record_rewards((10, 20, 100, 30, 0), overstated=-110)
    scene.accepted("vault", "fund", 1000, value=1000)
    scene.travel(3600)
    scene.accepted("vault", "activate", result)
    scene.accepted("vault", "payRevenue", 100, value=100)
    assert scene.refused("vault", "claimRevenue", 1, *scene.claim(2)) == Refusal("ClaimsExceedTotal", (50, 100))
    scene.accepted("vault", "claimRevenue", 1, *scene.claim(3))
    scene.accepted("vault", "claimRevenue", 1, *scene.claim(1))
    assert scene.refused("vault", "claimRevenue", 1, *scene.claim(0)) == Refusal("ClaimsExceedTotal", (0, 20))


def test_revenue_does_not_pay_rewards_nor_rewards_revenue(scene: Scene) -> None:
    scene.activate_rewards(ADDED)
    scene.accepted("vault", "payRevenue", 1000, value=1000)
    result = scene.record_rewards((1, 0, 0, 0, 0))
    scene.travel(3600)
    assert scene.refused("vault", "activate", result) == Refusal("TotalExceedsFunds", (100, 101))
