"""MemberRegistry.admit: a quorum of the current roster, and an entry that is nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.types import SIGNATURE_BYTES, ZERO_ADDRESS
from tests.helpers.chain import Refusal, compact_signature, entries, key_of
from tests.helpers.scene import Scene, deploy_scene, new_entry

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no account": ({"account": ZERO_ADDRESS}, "ZeroAccount"),
    "no signer": ({"signer": ZERO_ADDRESS}, "ZeroSigner"),
    "no name": ({"name": ""}, "NameLengthOutOfRange"),
    "long name": ({"name": "n" * 65}, "NameLengthOutOfRange"),
    "no PeerID": ({"peer_id": b""}, "PeerIdLengthOutOfRange"),
    "PeerID with a space": ({"peer_id": b"12D3 KooW"}, "PeerIdNotAlphanumeric"),
    "PeerID that is no text": ({"peer_id": b"12D3\xff"}, "PeerIdNotAlphanumeric"),
    "address with a space": ({"net_address": "10.0.0.1 :1"}, "NetAddressNotPrintable"),
    "address with a control character": ({"net_address": "10.0.0.1:1\x7f"}, "NetAddressNotPrintable"),
    "address with an umlaut": ({"net_address": "m\u00fcnchen:1"}, "NetAddressNotPrintable"),
    "long PeerID": ({"peer_id": b"p" * 129}, "PeerIdLengthOutOfRange"),
    "no address": ({"net_address": ""}, "NetAddressLengthOutOfRange"),
    "long address": ({"net_address": "h" * 256}, "NetAddressLengthOutOfRange"),
    "another's account": ({"account": entries(5)[4].account}, "DuplicateAccount"),
    "another's signer": ({"signer": entries(5)[0].signer}, "DuplicateSigner"),
    "another's name": ({"name": entries(5)[2].name}, "DuplicateName"),
    "another's PeerID": ({"peer_id": entries(5)[3].peer_id}, "DuplicatePeerId"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_entry_is_refused_although_a_quorum_approved_it(scene: Scene, case: str) -> None:
    changes, error = WRONG[case]
    assert scene.refused("registry", "admit", *scene.admission(new_entry(5, **changes))).name == error


def test_less_than_a_quorum_admits_nobody(scene: Scene) -> None:
    assert scene.refused("registry", "admit", *scene.admission(signers=0b111)) == Refusal("QuorumNotReached", (4, 3))


def test_a_stranger_is_no_part_of_a_quorum(scene: Scene) -> None:
    found, signers, signed = scene.admission()
    forged = compact_signature(key_of("stranger"), b"\1" * 32) + signed[SIGNATURE_BYTES:]
    assert scene.refused("registry", "admit", found, signers, forged) == Refusal("InvalidSignature", (0,))


def test_one_member_does_not_approve_twice(scene: Scene) -> None:
    found, signers, signed = scene.admission()
    twice = signed[:SIGNATURE_BYTES] * 4
    assert scene.refused("registry", "admit", found, signers, twice) == Refusal("InvalidSignature", (1,))


@pytest.mark.parametrize("change", [-1, 64])
def test_signatures_of_another_length_are_refused(scene: Scene, change: int) -> None:
    found, signers, signed = scene.admission()
    altered = (signed + bytes(64))[: len(signed) + change]
    expected = Refusal("SignaturesLengthMismatch", (256, 256 + change))
    assert scene.refused("registry", "admit", found, signers, altered) == expected


def test_whom_the_roster_does_not_know_yet_cannot_approve(scene: Scene) -> None:
    found, _, signed = scene.admission()
    assert scene.refused("registry", "admit", found, 0b100111, signed).name == "SignersOutsideRoster"


@pytest.mark.parametrize("field", ["account", "signer", "name", "peer_id", "net_address"])
def test_approvals_of_another_entry_are_void(scene: Scene, field: str) -> None:
    _, signers, signed = scene.admission(new_entry(5))
    other = new_entry(5, **{field: getattr(new_entry(6), field)})
    assert scene.refused("registry", "admit", other, signers, signed) == Refusal("InvalidSignature", (0,))


def test_an_admission_voids_every_approval_that_was_collected_before_it(scene: Scene) -> None:
    second = scene.admission(new_entry(6))
    scene.accepted("registry", "admit", *scene.admission(new_entry(5)))
    assert scene.refused("registry", "admit", *second).name == "QuorumNotReached"  # six members need five
    third = scene.admission(new_entry(6), signers=0b111111)
    scene.accepted("registry", "admit", *third)
    assert scene.refused("registry", "admit", *third).name == "InvalidSignature"


def test_a_new_member_counts_from_the_next_result_on(scene: Scene) -> None:
    scene.accepted("registry", "admit", *scene.admission())
    assert scene.state.registry.keys.quorum == 5
    scene.record(dealers=0b111111)
    assert scene.state.ledger.recording_version == 2


def test_the_name_of_somebody_who_left_is_free_again(scene: Scene) -> None:
    scene.accepted("registry", "leaveRoster", *scene.exit(4))
    back = new_entry(4)
    scene.accepted("registry", "admit", *scene.admission(back))
    assert scene.state.registry.members[5] == back
    assert scene.state.registry.keys.active == 0b101111


def test_a_sixty_fifth_member_is_refused() -> None:
    full = Scene(deploy_scene(64))
    refusal = full.refused("registry", "admit", *full.admission(new_entry(64)))
    assert refusal == Refusal("MemberCountOutOfRange", (65,))
