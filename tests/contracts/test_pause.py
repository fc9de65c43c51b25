"""RoundLedger.pause: a quorum stops rounds for a while, never anybody's money."""

from __future__ import annotations

from tests.helpers.chain import Refusal
from tests.helpers.scene import Scene

WEEK = 7 * 86_400


def test_less_than_a_quorum_stops_nothing(scene: Scene) -> None:
    call = scene.pause(scene.chain.now + 100, signers=0b111)
    assert scene.refused("ledger", "pause", *call).name == "QuorumNotReached"


def test_approvals_name_the_end(scene: Scene) -> None:
    until, signers, signed = scene.pause(scene.chain.now + 100)
    assert scene.refused("ledger", "pause", until + 1, signers, signed).name == "InvalidSignature"


def test_a_pause_is_ordered_once(scene: Scene) -> None:
    first = scene.pause(scene.chain.now + 100)
    scene.accepted("ledger", "pause", *first)
    assert scene.refused("ledger", "pause", *first).name == "InvalidSignature"


def test_a_roster_change_voids_an_approved_pause(scene: Scene) -> None:
    waiting = scene.pause(scene.chain.now + 100)
    scene.accepted("registry", "rotate", *scene.rotation(4))
    assert scene.refused("ledger", "pause", *waiting).name == "InvalidSignature"


def test_a_pause_lasts_a_week_at_most(scene: Scene) -> None:
    at = scene.chain.now + 50
    scene.chain.travel_to(at)
    assert scene.refused("ledger", "pause", *scene.pause(at + WEEK + 1)) == Refusal(
        "PauseTooLong", (at + WEEK, at + WEEK + 1)
    )
    scene.accepted("ledger", "pause", *scene.pause(at + 1 + WEEK))  # a second later it is a week


def test_no_round_is_recorded_or_activated_until_the_last_second(scene: Scene) -> None:
    result = scene.record_rewards((1, 2, 3, 4, 5))
    scene.accepted("vault", "fund", 100, value=100)
    until = scene.chain.now + 10_000
    scene.accepted("ledger", "pause", *scene.pause(until))
    scene.chain.travel_to(until - 2)
    following = scene.submission(scene.result())
    assert scene.refused("ledger", "submitRound", *following) == Refusal("RoundsPaused", (until,))
    assert scene.refused("vault", "activate", result) == Refusal("RoundsPaused", (until,))
    scene.accepted("vault", "activate", result)
    assert scene.chain.now == until
    assert scene.submit(*following)


def test_an_end_in_the_past_ends_a_pause(scene: Scene) -> None:
    scene.accepted("ledger", "pause", *scene.pause(scene.chain.now + WEEK))
    scene.accepted("ledger", "pause", *scene.pause(scene.chain.now))
    scene.record()


def test_claims_stakes_withdrawals_and_roster_changes_go_on(scene: Scene) -> None:
    scene.activate_rewards((10, 20, 30, 40, 50))
    scene.accepted("vault", "payRevenue", 150, value=150)
    scene.accepted("vault", "stake", 2, 7, value=7)
    scene.accepted("vault", "requestUnstake", 2, 7, sender=scene.account(2))
    scene.travel(2 * 86_400)
    scene.accepted("ledger", "pause", *scene.pause(scene.chain.now + WEEK))
    scene.accepted("vault", "claim", *scene.claim(2))
    scene.accepted("vault", "claimRevenue", 1, *scene.claim(2))
    scene.accepted("vault", "withdrawStake", 2)
    scene.accepted("vault", "fund", 1, value=1)
    scene.accepted("registry", "leaveRoster", *scene.exit(4))
