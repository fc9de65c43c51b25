"""MemberRegistry.leaveRoster and remove: who goes keeps its money and loses its voice."""

from __future__ import annotations

import pytest

from ledger.approvals import Exit
from tests.helpers.chain import Refusal
from tests.helpers.scene import OTHER, Scene


def test_nobody_else_ends_a_membership(scene: Scene) -> None:
    forged = scene.by_account(3, Exit(scene.config, 2))
    assert scene.refused("registry", "leaveRoster", 2, forged) == Refusal(
        "NotTheAccount", (2, scene.account(2).lower())
    )


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_has_64_bytes(scene: Scene, length: int) -> None:
    index, signed = scene.exit(2)
    altered = (signed + b"\0")[:length]
    assert scene.refused("registry", "leaveRoster", index, altered).name == "NotTheAccount"


def test_the_signer_does_not_end_a_membership(scene: Scene) -> None:
    _, signed = scene.approved("registry", Exit(scene.config, 2), signers=0b100)
    assert scene.refused("registry", "leaveRoster", 2, signed).name == "NotTheAccount"


def test_an_account_that_calls_itself_signs_as_well(scene: Scene) -> None:
    assert scene.refused("registry", "leaveRoster", 2, b"", sender=scene.account(2)).name == "NotTheAccount"


def test_whoever_left_cannot_leave_again(scene: Scene) -> None:
    scene.accepted("registry", "leaveRoster", *scene.exit(2))
    assert scene.refused("registry", "leaveRoster", *scene.exit(2)) == Refusal("MemberNotActive", (2,))


@pytest.mark.parametrize("index", [5, 300])
def test_a_stranger_cannot_leave(scene: Scene, index: int) -> None:
    assert scene.refused("registry", "leaveRoster", index, b"") == Refusal("UnknownMember", (index,))


def test_an_exit_signed_for_an_earlier_roster_is_void(scene: Scene) -> None:
    early = scene.exit(2)
    scene.accepted("registry", "leaveRoster", *scene.exit(4))
    assert scene.refused("registry", "leaveRoster", *early).name == "NotTheAccount"


def test_the_third_last_member_cannot_leave(scene: Scene) -> None:
    for index in (0, 1):
        scene.accepted("registry", "leaveRoster", *scene.exit(index))
    assert scene.refused("registry", "leaveRoster", *scene.exit(2)) == Refusal("MemberCountOutOfRange", (2,))


def test_the_third_last_member_cannot_be_removed(scene: Scene) -> None:
    for index in (0, 1):
        scene.accepted("registry", "remove", *scene.removal(index))
    assert scene.refused("registry", "remove", *scene.removal(2)) == Refusal("MemberCountOutOfRange", (2,))


def test_less_than_a_quorum_removes_nobody(scene: Scene) -> None:
    refusal = scene.refused("registry", "remove", *scene.removal(4, signers=0b111))
    assert refusal == Refusal("QuorumNotReached", (4, 3))


def test_approvals_to_remove_one_member_remove_no_other(scene: Scene) -> None:
    _, evidence, signers, signed = scene.removal(4)
    assert scene.refused("registry", "remove", 3, evidence, signers, signed).name == "InvalidSignature"


def test_approvals_name_the_evidence(scene: Scene) -> None:
    index, _, signers, signed = scene.removal(4)
    assert scene.refused("registry", "remove", index, OTHER, signers, signed).name == "InvalidSignature"


@pytest.mark.parametrize(("index", "error"), [(4, "MemberNotActive"), (5, "UnknownMember")])
def test_only_an_active_member_can_be_removed(scene: Scene, index: int, error: str) -> None:
    scene.accepted("registry", "remove", *scene.removal(4))
    assert scene.refused("registry", "remove", *scene.removal(index)) == Refusal(error, (index,))


def test_a_removed_member_signs_nothing_any_more(scene: Scene) -> None:
    scene.accepted("registry", "remove", *scene.removal(0))
    assert scene.state.registry.keys.quorum == 3
    result = scene.result()
    assert scene.refused("ledger", "submitRound", *scene.submission(result, signers=0b01111)) == Refusal(
        "SignersOutsideRoster", (0b01111, 0b11110)
    )
    assert scene.refused("ledger", "submitRound", *scene.submission(scene.result(dealers=0b00001))).name == (
        "DealersOutsideRoster"
    )


def test_garbage_is_not_taken_for_the_signature_of_somebody_who_is_gone(scene: Scene) -> None:
    """What recovers to nobody recovers to the zero address, which is what a roster holds for a member that is gone."""
    scene.accepted("registry", "remove", *scene.removal(0))
    result = scene.result()
    _, _, _, signed = scene.submission(result, signers=0b00110)
    refusal = scene.refused("ledger", "submitRound", result, b"", 0b00111, bytes(64) + signed)
    assert refusal == Refusal("SignersOutsideRoster", (0b00111, 0b11110))


def test_whoever_is_gone_still_gets_its_money(scene: Scene) -> None:
    scene.accepted("vault", "stake", 4, 1000, value=1000)
    scene.activate_rewards((10, 20, 30, 40, 50))
    scene.accepted("registry", "remove", *scene.removal(4))
    scene.accepted("vault", "claim", *scene.claim(4))
    scene.accepted("vault", "requestUnstake", 4, 1000, sender=scene.account(4))
    scene.travel(2 * 86_400)
    scene.accepted("vault", "withdrawStake", 4)


def test_the_evidence_is_in_the_event(scene: Scene) -> None:
    scene.accepted("registry", "remove", *scene.removal(4))
    assert scene.seen["MemberRemoved"] == scene.seen["Approved"] == scene.seen["RosterChanged"] == 1
