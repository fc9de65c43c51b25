"""MemberRegistry.rotate: a member's keys are its account's to change, once a day."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.types import ZERO_ADDRESS
from tests.helpers.chain import Refusal, entries, key_of
from tests.helpers.scene import Scene

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no account": ({"account": ZERO_ADDRESS}, "ZeroAccount"),
    "no signer": ({"signer": ZERO_ADDRESS}, "ZeroSigner"),
    "no PeerID": ({"peer_id": b""}, "PeerIdLengthOutOfRange"),
    "PeerID with a space": ({"peer_id": b"12D3 KooW"}, "PeerIdNotAlphanumeric"),
    "PeerID that is no text": ({"peer_id": b"12D3\xff"}, "PeerIdNotAlphanumeric"),
    "address with a space": ({"net_address": "10.0.0.1 :1"}, "NetAddressNotPrintable"),
    "address with a control character": ({"net_address": "10.0.0.1:1\x7f"}, "NetAddressNotPrintable"),
    "address with an umlaut": ({"net_address": "m\u00fcnchen:1"}, "NetAddressNotPrintable"),
    "long address": ({"net_address": "h" * 256}, "NetAddressLengthOutOfRange"),
    "another's account": ({"account": entries(5)[0].account}, "DuplicateAccount"),
    "another's signer": ({"signer": entries(5)[4].signer}, "DuplicateSigner"),
    "another's PeerID": ({"peer_id": entries(5)[3].peer_id}, "DuplicatePeerId"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_entry_is_refused(scene: Scene, case: str) -> None:
    changes, error = WRONG[case]
    assert scene.refused("registry", "rotate", *scene.rotation(2, **changes)).name == error


@pytest.mark.parametrize("byte", b"/:@[`{")
def test_the_neighbours_of_letters_and_digits_are_none(scene: Scene, byte: int) -> None:
    refusal = scene.refused("registry", "rotate", *scene.rotation(2, peer_id=bytes([byte])))
    assert refusal == Refusal("PeerIdNotAlphanumeric", (2,))


def test_every_letter_digit_and_visible_sign_is_taken(scene: Scene) -> None:
    visible = bytes(range(0x21, 0x7F))
    alphanumeric = bytes(byte for byte in visible if bytes([byte]).isalnum())
    scene.accepted("registry", "rotate", *scene.rotation(2, peer_id=alphanumeric, net_address=visible.decode()))


@pytest.mark.parametrize("key", ["signer 2", "account 1", "rotated account 2", "stranger"])
def test_only_the_account_as_it_is_changes_an_entry(scene: Scene, key: str) -> None:
    refusal = scene.refused("registry", "rotate", *scene.rotation(2, key_of(key)))
    assert refusal == Refusal("NotTheAccount", (2, scene.account(2).lower()))


def test_a_signature_over_other_keys_is_void(scene: Scene) -> None:
    signed = scene.rotation(2)[-1]
    for field in ("account", "signer", "peer_id", "net_address"):
        other = scene.rotation(3, key_of("account 2"))
        names = ("account", "signer", "peer_id", "net_address")
        changed = scene.rotation(2, **{field: other[1 + names.index(field)]})
        assert scene.refused("registry", "rotate", *changed[:-1], signed).name == "NotTheAccount", field


def test_an_account_that_calls_itself_signs_as_well(scene: Scene) -> None:
    arguments = *scene.rotation(2)[:-1], b""
    assert scene.refused("registry", "rotate", *arguments, sender=scene.account(2)).name == "NotTheAccount"


def test_a_member_rotates_once_a_day(scene: Scene) -> None:
    scene.accepted("registry", "rotate", *scene.rotation(2))
    allowed_at = scene.chain.now + 86_400
    scene.chain.travel_to(allowed_at - 1)
    again = scene.rotation(2, net_address="10.0.0.77:1")
    assert scene.refused("registry", "rotate", *again) == Refusal("RotatedTooRecently", (2, allowed_at))
    scene.accepted("registry", "rotate", *again)
    assert scene.chain.now == allowed_at


def test_nobody_elses_rotation_makes_a_member_wait(scene: Scene) -> None:
    scene.accepted("registry", "rotate", *scene.rotation(2))
    scene.accepted("registry", "rotate", *scene.rotation(3))


def test_a_member_that_is_gone_rotates_nothing(scene: Scene) -> None:
    scene.accepted("registry", "leaveRoster", *scene.exit(2))
    assert scene.refused("registry", "rotate", *scene.rotation(2)) == Refusal("MemberNotActive", (2,))


def test_a_rotation_voids_what_others_had_approved(scene: Scene) -> None:
    waiting = scene.admission()
    scene.accepted("registry", "rotate", *scene.rotation(4))
    assert scene.refused("registry", "admit", *waiting).name == "InvalidSignature"


def test_the_old_signer_signs_nothing_of_the_new_roster(scene: Scene) -> None:
    old = scene.config
    scene.accepted("registry", "rotate", *scene.rotation(0))
    result = scene.result()
    digest = result.signing_digest(scene.state.chain_id, scene.state.addresses["ledger"])
    by_old_keys = scene.signed_by(digest, range(4), old)
    assert scene.refused("ledger", "submitRound", result, b"", 0b1111, by_old_keys) == Refusal("InvalidSignature", (0,))
    scene.record()


def test_what_was_not_claimed_goes_to_the_new_account(scene: Scene) -> None:
    scene.activate_rewards((10, 20, 30, 40, 50))
    scene.accepted("registry", "rotate", *scene.rotation(2))
    scene.accepted("vault", "claim", *scene.claim(2))
    assert scene.account(2) == scene.rotation(2)[1]
