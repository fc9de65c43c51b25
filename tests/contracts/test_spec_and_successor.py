"""MemberRegistry.proposeSpec, adoptSpec and nameSuccessor: a quorum decides, a delay protects, a pointer stays."""

from __future__ import annotations

import pytest
from eth_hash.auto import keccak

from ledger.types import EMPTY
from tests.helpers.chain import SPEC, Refusal, address_of, key_of
from tests.helpers.scene import Scene

NEW = b'{"task":"another"}'
DAY = 86_400


def test_less_than_a_quorum_proposes_nothing(scene: Scene) -> None:
    assert scene.refused("registry", "proposeSpec", *scene.spec_change(NEW, signers=0b111)).name == "QuorumNotReached"


@pytest.mark.parametrize("spec", [b"", bytes(16_385)])
def test_a_spec_has_its_bounds(scene: Scene, spec: bytes) -> None:
    refusal = scene.refused("registry", "proposeSpec", *scene.spec_change(spec))
    assert refusal == Refusal("SpecLengthOutOfRange", (len(spec),))


def test_approvals_of_another_spec_are_void(scene: Scene) -> None:
    _, signers, signed = scene.spec_change(NEW)
    assert scene.refused("registry", "proposeSpec", SPEC, signers, signed).name == "InvalidSignature"


def test_an_approved_proposal_is_made_once(scene: Scene) -> None:
    first = scene.spec_change(NEW)
    scene.accepted("registry", "proposeSpec", *first)
    assert scene.refused("registry", "proposeSpec", *first).name == "InvalidSignature"


def test_nothing_is_adopted_that_was_not_proposed(scene: Scene) -> None:
    assert scene.refused("registry", "adoptSpec", NEW) == Refusal("SpecNotProposed", (EMPTY, keccak(NEW)))


def test_a_later_proposal_replaces_an_earlier_one(scene: Scene) -> None:
    scene.accepted("registry", "proposeSpec", *scene.spec_change(b"first"))
    scene.accepted("registry", "proposeSpec", *scene.spec_change(NEW))
    scene.travel(DAY)
    expected = Refusal("SpecNotProposed", (keccak(NEW), keccak(b"first")))
    assert scene.refused("registry", "adoptSpec", b"first") == expected


def test_a_spec_waits_until_the_last_second_of_its_delay(scene: Scene) -> None:
    scene.accepted("registry", "proposeSpec", *scene.spec_change(NEW))
    at = scene.chain.now + DAY
    scene.chain.travel_to(at - 1)
    assert scene.refused("registry", "adoptSpec", NEW) == Refusal("SpecDelayNotOver", (at,))
    scene.accepted("registry", "adoptSpec", NEW)
    assert scene.state.registry.spec_digest == keccak(NEW)
    assert scene.state.registry.keys.version == 2


def test_a_spec_is_adopted_once(scene: Scene) -> None:
    scene.accepted("registry", "proposeSpec", *scene.spec_change(NEW))
    scene.travel(DAY)
    scene.accepted("registry", "adoptSpec", NEW)
    assert scene.refused("registry", "adoptSpec", NEW).name == "SpecNotProposed"


def test_a_rotation_does_not_stop_a_spec_that_waits(scene: Scene) -> None:
    scene.accepted("registry", "proposeSpec", *scene.spec_change(NEW))
    scene.accepted("registry", "rotate", *scene.rotation(1))
    scene.travel(DAY)
    scene.accepted("registry", "adoptSpec", NEW)


def test_less_than_a_quorum_names_no_successor(scene: Scene) -> None:
    call = scene.succession(scene.state.addresses["vault"], signers=0b111)
    assert scene.refused("registry", "nameSuccessor", *call).name == "QuorumNotReached"


def test_approvals_name_the_successor(scene: Scene) -> None:
    _, signers, signed = scene.succession(scene.state.addresses["vault"])
    call = (scene.state.addresses["ledger"], signers, signed)
    assert scene.refused("registry", "nameSuccessor", *call).name == "InvalidSignature"


def test_a_successor_is_another_contract_that_exists(scene: Scene) -> None:
    for wrong in (address_of(key_of("nobody")), scene.state.addresses["registry"]):
        refusal = scene.refused("registry", "nameSuccessor", *scene.succession(wrong))
        assert refusal == Refusal("InvalidSuccessor", (wrong.lower(),))


def test_a_successor_is_named_once_and_nothing_stops(scene: Scene) -> None:
    vault = scene.state.addresses["vault"]
    scene.activate_rewards((10, 20, 30, 40, 50))
    scene.accepted("registry", "nameSuccessor", *scene.succession(vault))
    again = scene.succession(scene.state.addresses["ledger"])
    assert scene.refused("registry", "nameSuccessor", *again) == Refusal("SuccessorNamedAlready", (vault.lower(),))
    scene.record()
    scene.accepted("vault", "claim", *scene.claim(2))
