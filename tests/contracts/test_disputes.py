"""Disputes: two statements cost a stake, a challenge costs time once, everything else needs a quorum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger.model_state import Stake
from ledger.types import ABANDONED
from tests.helpers.chain import DISPUTES, SPEC, TERMS, Chain, Refusal, address_of, entries, key_of, mirrored
from tests.helpers.scene import EVIDENCE, OTHER, Scene

WINDOW, RULING, BOND = TERMS.dispute_window_seconds, DISPUTES.ruling_seconds, DISPUTES.bond_wei
STAKE = 5 * BOND


def staked(scene: Scene, index: int = 1) -> Scene:
    scene.accepted("vault", "stake", index, STAKE, value=STAKE)
    return scene


def challenged(scene: Scene) -> Scene:
    """Rewards after round 1 are funded and challenged by member 1."""
    scene.record_rewards((1, 2, 3, 4, 5))
    scene.accepted("vault", "fund", 15, value=15)
    scene.accepted("disputes", "challenge", 1, 1, EVIDENCE, sender=scene.account(1))
    return scene


# Equivocation.


def test_two_statements_of_one_member_cost_all_that_it_staked(scene: Scene) -> None:
    staked(scene)
    scene.accepted("vault", "requestUnstake", 1, BOND, sender=scene.account(1))
    scene.accepted("disputes", "proveEquivocation", *scene.equivocation(1))
    assert scene.state.vault.stake_of(1).staked == scene.state.vault.stake_of(1).unbonding == 0
    assert scene.state.vault.total_slashed == STAKE


def test_one_equivocation_is_punished_once(scene: Scene) -> None:
    scene.accepted("disputes", "proveEquivocation", *staked(scene).equivocation(1))
    staked(scene)
    index, statement, other, signed, other_signed = scene.equivocation(1)
    for again in (
        (index, statement, other, signed, other_signed),
        (index, replace(statement, digest=other), statement.digest, other_signed, signed),
    ):
        assert scene.refused("disputes", "proveEquivocation", *again).name == "AlreadyPunished"
    scene.accepted("disputes", "proveEquivocation", *scene.equivocation(1, attempt=2))


def test_a_member_cannot_have_itself_punished_in_advance(scene: Scene) -> None:
    """While it has nothing at stake it proves two things that it made up; what it says later is another offence."""
    scene.accepted("disputes", "proveEquivocation", *scene.equivocation(1, digest=b"1" * 32))
    scene.accepted("disputes", "proveResultEquivocation", *scene.two_results(1, model=b"1" * 32))
    staked(scene)
    scene.accepted("disputes", "proveEquivocation", *scene.equivocation(1))
    assert scene.state.vault.total_slashed == STAKE
    staked(scene)
    scene.accepted("disputes", "proveResultEquivocation", *scene.two_results(1))
    assert scene.state.vault.total_slashed == 2 * STAKE


def test_the_same_statement_twice_is_no_equivocation(scene: Scene) -> None:
    index, statement, _, signed, _ = scene.equivocation(1)
    call = (index, statement, statement.digest, signed, signed)
    assert scene.refused("disputes", "proveEquivocation", *call) == Refusal("NoContradiction", (statement.digest,))


@pytest.mark.parametrize("place", [3, 4])
@pytest.mark.parametrize("wrong", ["another's", "mirrored", "cut", "longer", "of the other"])
def test_both_statements_have_to_be_the_members(scene: Scene, place: int, wrong: str) -> None:
    call: list[Any] = list(scene.equivocation(1))
    call[place] = {
        "another's": scene.equivocation(2)[place],
        "mirrored": mirrored(call[place]),
        "cut": call[place][:-1],
        "longer": call[place] + b"\0",
        "of the other": call[7 - place],
    }[wrong]
    assert scene.refused("disputes", "proveEquivocation", *call).name == "NotTheMembers"


@pytest.mark.parametrize("field", ["round", "kind", "attempt", "subject"])
def test_statements_about_different_things_do_not_contradict(scene: Scene, field: str) -> None:
    call = list(scene.equivocation(1))
    call[4] = scene.equivocation(1, **{field: 9})[4]
    assert scene.refused("disputes", "proveEquivocation", *call).name == "NotTheMembers"


def test_a_statement_names_a_roster_of_this_consortium(scene: Scene) -> None:
    call = scene.equivocation(1, config=OTHER)
    assert scene.refused("disputes", "proveEquivocation", *call) == Refusal("UnknownConfig", (OTHER,))


def test_whoever_was_not_on_the_roster_cannot_have_spoken(scene: Scene) -> None:
    scene.accepted("registry", "leaveRoster", *scene.exit(0))
    assert scene.refused("disputes", "proveEquivocation", *scene.equivocation(5)) == Refusal("NotOnRoster", (5,))
    nobody = (*scene.equivocation(0)[:3], bytes(64), bytes(64))
    assert scene.refused("disputes", "proveEquivocation", *nobody) == Refusal("NotOnRoster", (0,))


def test_a_member_answers_for_what_it_said_before_it_rotated_or_left(scene: Scene) -> None:
    said = staked(scene).equivocation(1)
    scene.accepted("registry", "rotate", *scene.rotation(1))
    scene.accepted("registry", "leaveRoster", *scene.exit(1))
    scene.accepted("disputes", "proveEquivocation", *said)
    assert scene.state.vault.total_slashed == STAKE


def test_two_results_of_one_round_cost_all_that_was_staked_once(scene: Scene) -> None:
    call = staked(scene).two_results(1)
    scene.accepted("disputes", "proveResultEquivocation", *call)
    assert scene.state.vault.total_slashed == STAKE
    index, first, second, signed, other_signed = call
    for again in (call, (index, second, first, other_signed, signed)):
        assert scene.refused("disputes", "proveResultEquivocation", *again).name == "AlreadyPunished"


def test_results_of_different_rounds_or_rosters_do_not_contradict(scene: Scene) -> None:
    for changes in ({"round": 1}, {"config": OTHER}):
        call = scene.two_results(1, **changes)
        assert scene.refused("disputes", "proveResultEquivocation", *call).name == "DifferentRounds"


def test_the_same_result_twice_is_no_equivocation(scene: Scene) -> None:
    index, first, _, signed, _ = scene.two_results(1)
    call = (index, first, first, signed, signed)
    assert scene.refused("disputes", "proveResultEquivocation", *call).name == "NoContradiction"


@pytest.mark.parametrize("place", [3, 4])
def test_both_results_have_to_be_the_members(scene: Scene, place: int) -> None:
    call = list(scene.two_results(1))
    call[place] = scene.two_results(2)[place]
    assert scene.refused("disputes", "proveResultEquivocation", *call).name == "NotTheMembers"


def test_results_of_a_roster_that_never_was_prove_nothing(scene: Scene) -> None:
    index, first, second, *signed = scene.two_results(1)
    call = (index, replace(first, config=OTHER), replace(second, config=OTHER), *signed)
    assert scene.refused("disputes", "proveResultEquivocation", *call) == Refusal("UnknownConfig", (OTHER,))


# Challenges.


def test_a_challenge_makes_one_round_wait_until_the_last_second_of_the_ruling(scene: Scene) -> None:
    challenged(staked(scene))
    ends_at = scene.state.ledger.records[1].recorded_at + WINDOW + RULING
    scene.chain.travel_to(ends_at - 1)
    assert scene.refused("vault", "activate", scene.results[1]) == Refusal("DisputeWindowOpen", (1, ends_at))
    scene.accepted("vault", "activate", scene.results[1])


def test_a_later_round_does_not_pay_out_what_a_challenge_holds_back(scene: Scene) -> None:
    challenged(staked(scene))
    scene.travel(WINDOW // 2)
    scene.record_rewards((5, 4, 3, 2, 1))  # on top of the challenged ones
    scene.accepted("vault", "fund", 15, value=15)
    ends_at = scene.state.ledger.end_of(1)
    scene.chain.travel_to(scene.state.ledger.end_of(2))
    assert scene.refused("vault", "activate", scene.results[2]) == Refusal("DisputeWindowOpen", (2, ends_at))
    refusal = scene.refused("disputes", "challenge", 2, 1, EVIDENCE, sender=scene.account(1))
    assert refusal.name == "ChallengePending"
    scene.chain.travel_to(ends_at - 1)
    assert scene.refused("vault", "activate", scene.results[2]) == Refusal("DisputeWindowOpen", (2, ends_at))
    scene.accepted("vault", "activate", scene.results[2])


def test_nobody_has_to_end_a_challenge_for_the_others_to_be_paid(scene: Scene) -> None:
    challenged(staked(scene))
    scene.record_rewards((5, 4, 3, 2, 1))
    scene.accepted("vault", "fund", 15, value=15)
    scene.chain.travel_to(scene.state.ledger.end_of(1))
    scene.accepted("vault", "activate", scene.results[2])
    for index in range(5):
        scene.accepted("vault", "claim", *scene.claim(index))


def test_one_member_holds_no_round_back_for_longer_than_one_ruling(scene: Scene) -> None:
    challenged(staked(staked(scene), 2))
    scene.accepted("vault", "fund", 100, value=100)
    scene.travel(WINDOW - 10)
    for challenger in (1, 2):
        scene.record_rewards((1, 0, 0, 0, 0))
        latest = scene.state.ledger.end_of(2) + RULING
        call = ("disputes", "challenge", scene.state.ledger.next_round - 1, challenger, EVIDENCE)
        # Member 1 has a challenge already; member 2 challenges round 3, which says nothing about round 2.
        assert scene.call(*call, sender=scene.account(challenger)) == (challenger == 2)
    scene.chain.travel_to(scene.state.ledger.end_of(1))
    assert scene.state.ledger.end_of(1) < latest
    scene.accepted("vault", "activate", scene.results[2])
    assert scene.refused("vault", "activate", scene.results[3]).name == "DisputeWindowOpen"
    scene.chain.travel_to(scene.state.ledger.end_of(3))
    scene.accepted("vault", "activate", scene.results[3])


def test_a_challenge_holds_no_earlier_round(scene: Scene) -> None:
    staked(scene).record_rewards((1, 2, 3, 4, 5))
    scene.record_rewards((5, 4, 3, 2, 1))
    scene.accepted("vault", "fund", 15, value=15)
    scene.accepted("disputes", "challenge", 2, 1, EVIDENCE, sender=scene.account(1))
    scene.chain.travel_to(scene.state.ledger.end_of(1))
    scene.accepted("vault", "activate", scene.results[1])


def test_a_round_behind_a_challenge_can_be_challenged_in_its_own_window_alone(scene: Scene) -> None:
    challenged(staked(staked(scene), 2))
    scene.record()
    scene.record()
    scene.accepted("disputes", "challenge", 2, 2, EVIDENCE, sender=scene.account(2))
    staked(scene, 3)
    scene.chain.travel_to(scene.state.ledger.end_of(3))
    refusal = scene.refused("disputes", "challenge", 3, 3, EVIDENCE, sender=scene.account(3))
    assert refusal == Refusal("RoundNotDisputable", (3, 2))
    assert scene.refused("disputes", "ruleOnRound", *scene.round_ruling(3, False)) == Refusal(
        "RoundNotDisputable", (3, 2)
    )
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(3, True))


def test_a_member_challenges_one_round_at_a_time(scene: Scene) -> None:
    challenged(staked(scene)).record()
    refusal = scene.refused("disputes", "challenge", 2, 1, EVIDENCE, sender=scene.account(1))
    assert refusal == Refusal("ChallengePending", (1, 1))
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(1, False))
    scene.accepted("disputes", "challenge", 2, 1, EVIDENCE, sender=scene.account(1))
    scene.chain.travel_to(scene.state.ledger.end_of(2))
    scene.record()
    assert scene.refused("disputes", "challenge", 3, 1, EVIDENCE, sender=scene.account(1)) == Refusal(
        "ChallengePending", (1, 2)
    )
    scene.accepted("disputes", "lapse", 2)
    scene.accepted("disputes", "challenge", 3, 1, EVIDENCE, sender=scene.account(1))
    assert scene.state.ledger.disputed == (3,)  # what ended is forgotten


def test_a_challenge_without_a_ruling_costs_its_bond(scene: Scene) -> None:
    challenged(staked(scene))
    until = scene.state.ledger.end_of(1)
    scene.chain.travel_to(until - 1)
    assert scene.refused("disputes", "lapse", 1) == Refusal("RulingOpen", (1, until))
    scene.accepted("disputes", "lapse", 1)
    assert scene.state.vault.stake_of(1) == Stake(staked=STAKE - BOND)
    assert scene.state.vault.total_slashed == BOND
    assert scene.refused("disputes", "lapse", 1) == Refusal("NotChallenged", (1,))


def test_only_an_active_members_account_challenges(scene: Scene) -> None:
    staked(scene).record()
    for index, who in ((5, 1), (1, 2)):
        refusal = scene.refused("disputes", "challenge", 0, index, EVIDENCE, sender=scene.account(who))
        assert refusal.name == ("MemberNotActive" if index == 5 else "NotTheAccount")
    scene.accepted("registry", "leaveRoster", *scene.exit(1))
    refusal = scene.refused("disputes", "challenge", 0, 1, EVIDENCE, sender=scene.account(1))
    assert refusal == Refusal("MemberNotActive", (1,))


def test_a_challenge_needs_its_bond(scene: Scene) -> None:
    scene.record()
    scene.accepted("vault", "stake", 1, BOND - 1, value=BOND - 1)
    refusal = scene.refused("disputes", "challenge", 0, 1, EVIDENCE, sender=scene.account(1))
    assert refusal == Refusal("StakeTooSmall", (1, BOND - 1, BOND))


def test_a_round_that_is_not_recorded_or_final_is_not_challenged(scene: Scene) -> None:
    staked(scene).record()
    scene.record_abandoned()
    refusal = scene.refused("disputes", "challenge", 2, 1, EVIDENCE, sender=scene.account(1))
    assert refusal == Refusal("RoundNotDisputable", (2, 0))
    scene.travel(WINDOW)
    for round_id, state in ((0, 4), (1, 5)):
        refusal = scene.refused("disputes", "challenge", round_id, 1, EVIDENCE, sender=scene.account(1))
        assert refusal == Refusal("RoundNotDisputable", (round_id, state))


def test_a_round_is_challenged_once(scene: Scene) -> None:
    challenged(staked(staked(scene), 2))
    refusal = scene.refused("disputes", "challenge", 1, 2, EVIDENCE, sender=scene.account(2))
    assert refusal == Refusal("RoundNotDisputable", (1, 2))
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(1, False))
    refusal = scene.refused("disputes", "challenge", 1, 2, EVIDENCE, sender=scene.account(2))
    assert refusal == Refusal("AlreadyRuled", (1,))


# Rulings.


def test_a_founded_challenge_voids_the_round_and_gives_the_bond_back(scene: Scene) -> None:
    challenged(staked(scene))
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(1, True))
    assert scene.state.vault.stake_of(1) == Stake(staked=STAKE)
    scene.travel(WINDOW + RULING)
    assert scene.refused("vault", "activate", scene.results[1]) == Refusal("RoundIsVoid", (1,))
    assert scene.refused("disputes", "lapse", 1) == Refusal("NotChallenged", (1,))


def test_a_void_rounds_rewards_are_not_paid_by_a_later_round_either(scene: Scene) -> None:
    challenged(staked(scene))
    scene.record_rewards((5, 4, 3, 2, 1))  # on top of the wrong ones
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(1, True))
    scene.cumulative = ()
    corrected = scene.record_rewards((0, 4, 3, 2, 1))
    scene.travel(WINDOW + RULING)
    for round_id in (1, 2):
        refusal = scene.refused("vault", "activate", scene.results[round_id])
        assert refusal == Refusal("RoundIsVoid", (round_id,))
    assert scene.refused("disputes", "ruleOnRound", *scene.round_ruling(2, True)).name == "RoundNotDisputable"
    scene.accepted("vault", "activate", corrected)


def test_rulings_on_several_rounds_void_what_was_recorded_by_then_and_nothing_between(scene: Scene) -> None:
    scene.record()
    for _ in range(2):
        scene.record_rewards((0, 0, 0, 0, 0))
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(1, True))
    scene.record_rewards((1, 0, 0, 0, 0))
    scene.record_rewards((1, 0, 0, 0, 0))
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(4, True))
    scene.record_rewards((1, 0, 0, 0, 0))
    states = [scene.consortium.ledger.functions.stateOf(round_id).call() for round_id in range(7)]
    assert states == [1, 3, 3, 1, 3, 1, 0]
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(0, True))
    states = [scene.consortium.ledger.functions.stateOf(round_id).call() for round_id in range(7)]
    assert states == [3, 3, 3, 3, 3, 3, 0]


def test_who_challenged_a_round_that_an_earlier_ruling_voids_has_the_bond_back(scene: Scene) -> None:
    challenged(staked(staked(scene), 2)).record()
    scene.accepted("disputes", "challenge", 2, 2, EVIDENCE, sender=scene.account(2))
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(1, True))
    scene.record()
    scene.chain.travel_to(scene.state.ledger.end_of(3))
    scene.accepted("vault", "activate", scene.results[3])  # a void round holds nothing
    scene.accepted("disputes", "lapse", 2)
    assert scene.state.vault.stake_of(2) == Stake(staked=STAKE)


def test_an_unfounded_challenge_costs_its_bond_and_no_more_time(scene: Scene) -> None:
    challenged(staked(scene))
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(1, False))
    assert scene.state.vault.total_slashed == BOND
    scene.chain.travel_to(scene.state.ledger.records[1].recorded_at + WINDOW)
    scene.accepted("vault", "activate", scene.results[1])


def test_a_quorum_voids_a_round_within_its_window_without_a_challenge(scene: Scene) -> None:
    scene.record()
    assert scene.refused("disputes", "ruleOnRound", *scene.round_ruling(0, False)) == Refusal(
        "RoundNotDisputable", (0, 1)
    )
    scene.accepted("disputes", "ruleOnRound", *scene.round_ruling(0, True))
    again = scene.refused("disputes", "ruleOnRound", *scene.round_ruling(0, True))
    assert again == Refusal("RoundNotDisputable", (0, 3))


@pytest.mark.parametrize("is_void", [True, False])
def test_a_final_round_never_changes(scene: Scene, is_void: bool) -> None:
    challenged(staked(scene))
    scene.travel(WINDOW + RULING)
    refusal = scene.refused("disputes", "ruleOnRound", *scene.round_ruling(1, is_void))
    assert refusal == Refusal("RoundNotDisputable", (1, 4))


def test_less_than_a_quorum_rules_nothing(scene: Scene) -> None:
    scene.record()
    for function, call in (
        ("ruleOnRound", scene.round_ruling(0, True, signers=0b111)),
        ("ruleOnMember", scene.member_ruling(1, 5, signers=0b111)),
    ):
        assert scene.refused("disputes", function, *call) == Refusal("QuorumNotReached", (4, 3))


def test_a_ruling_names_round_verdict_and_evidence(scene: Scene) -> None:
    challenged(staked(scene))
    round_id, verdict, evidence, signers, signed = scene.round_ruling(1, True)
    for call in ((0, verdict, evidence), (round_id, False, evidence), (round_id, verdict, OTHER)):
        assert scene.refused("disputes", "ruleOnRound", *call, signers, signed).name == "InvalidSignature"


def test_a_roster_change_voids_a_ruling_that_waits(scene: Scene) -> None:
    waiting, other = staked(scene).member_ruling(1, 5), scene.round_ruling(0, True)
    scene.record()
    scene.accepted("registry", "rotate", *scene.rotation(4))
    assert scene.refused("disputes", "ruleOnMember", *waiting).name == "InvalidSignature"
    assert scene.refused("disputes", "ruleOnRound", *other).name == "InvalidSignature"


def test_a_ruling_is_about_somebody_who_was_a_member(scene: Scene) -> None:
    assert scene.refused("disputes", "ruleOnMember", *scene.member_ruling(5, 7)) == Refusal("UnknownMember", (5,))
    scene.accepted("registry", "leaveRoster", *scene.exit(1))
    scene.accepted("disputes", "ruleOnMember", *scene.member_ruling(1, 7))


def test_a_ruling_on_a_member_takes_what_there_is_and_is_carried_out_once(scene: Scene) -> None:
    staked(scene)
    scene.accepted("disputes", "ruleOnMember", *scene.member_ruling(1, 7))
    assert scene.state.vault.total_slashed == 7
    assert scene.refused("disputes", "ruleOnMember", *scene.member_ruling(1, 7)).name == "AlreadyPunished"
    scene.accepted("vault", "requestUnstake", 1, 100, sender=scene.account(1))
    scene.accepted("disputes", "ruleOnMember", *scene.member_ruling(1, STAKE - 7 - 50, OTHER))
    assert scene.state.vault.stake_of(1).staked == 0
    assert scene.state.vault.stake_of(1).unbonding == 50
    scene.accepted("disputes", "ruleOnMember", *scene.member_ruling(1, 2**255))
    assert scene.state.vault.total_slashed == STAKE


def test_slashed_money_pays_rewards(scene: Scene) -> None:
    scene.accepted("disputes", "proveEquivocation", *staked(scene).equivocation(1))
    result = scene.record_rewards((STAKE, 0, 0, 0, 0))
    scene.travel(WINDOW)
    scene.accepted("vault", "activate", result)
    scene.accepted("vault", "claim", *scene.claim(0))


def test_an_abandoned_round_becomes_final_and_carries_the_rewards_so_far(scene: Scene) -> None:
    scene.record_rewards((1, 2, 3, 4, 5))
    result = scene.record_abandoned()
    assert result.outcome == ABANDONED
    scene.accepted("vault", "fund", 15, value=15)
    scene.travel(WINDOW)
    scene.accepted("vault", "activate", result)
    scene.accepted("vault", "claim", *scene.claim(4))


@pytest.mark.parametrize(("function", "args"), [("dispute", (0,)), ("rule", (0, True))])
def test_only_the_disputes_change_a_rounds_state(scene: Scene, function: str, args: tuple[Any, ...]) -> None:
    scene.record()
    found = scene.chain.refusal(scene.consortium.ledger.functions[function](*args), sender=scene.account(1))
    assert found == Refusal("NotTheDisputes", (scene.account(1).lower(),))


# Deployment.


def test_disputes_exist_only_for_the_registry_that_names_them(scene: Scene) -> None:
    chain, stranger = Chain(), address_of(key_of("stranger"))
    assert chain.refusal(chain.construction("Disputes", stranger, 1)) == Refusal("NoRegistry", (stranger.lower(),))
    later = [chain.predicted(ahead) for ahead in (1, 2, 3)]
    registry = chain.deploy("MemberRegistry", entries(3), SPEC, *later)
    call = chain.construction("Disputes", registry.address, 1)
    assert chain.refusal(call) == Refusal("NotTheDisputes", (later[2].lower(),))


def test_new_disputes_repeat_what_they_were_given(scene: Scene) -> None:
    views = scene.consortium.disputes.functions
    assert views.VERSION().call() == "1.0.0"
    assert views.registry().call() == scene.state.addresses["registry"]
    assert views.ledger().call() == scene.state.addresses["ledger"]
    assert views.vault().call() == scene.state.addresses["vault"]
    assert views.bondWei().call() == BOND
    assert views.challengerOf(0).call() == 0
