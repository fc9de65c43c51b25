"""RoundLedger: results of the roster that made them, until a later roster has recorded one."""

from __future__ import annotations

from eth_hash.auto import keccak

from ledger.types import compute_config_digest
from tests.helpers.chain import SPEC, Refusal, address_of, deploy_consortium
from tests.helpers.early_change import EarlyChange
from tests.helpers.scene import OTHER, Scene


def test_a_result_of_the_roster_that_made_it_is_recorded_after_a_change(scene: Scene) -> None:
    scene.record()
    old = scene.config
    scene.accepted("registry", "leaveRoster", *scene.exit(4))
    scene.record(config=old, dealers=0b11111)
    assert scene.state.ledger.recording_version == 1


def test_results_of_both_rosters_follow_each_other(scene: Scene) -> None:
    old = scene.config
    scene.accepted("registry", "admit", *scene.admission())
    for changes in ({"config": old, "dealers": 0b11111}, {"config": old, "dealers": 0b00111}, {}, {}):
        scene.record(**changes)
    assert scene.state.ledger.recording_version == 2


def test_an_old_roster_records_nothing_after_a_later_one(scene: Scene) -> None:
    old = scene.config
    scene.accepted("registry", "leaveRoster", *scene.exit(4))
    scene.record()
    result = scene.result(config=old)
    assert scene.refused("ledger", "submitRound", *scene.submission(result)) == Refusal("RosterSuperseded", (2, 1))


def test_a_roster_between_may_be_skipped_and_is_then_too_late(scene: Scene) -> None:
    configs = [scene.config]
    for index in (4, 3):
        scene.accepted("registry", "leaveRoster", *scene.exit(index))
        configs.append(scene.config)
    scene.record(config=configs[0])
    scene.record(config=configs[2])
    result = scene.result(config=configs[1])
    assert scene.refused("ledger", "submitRound", *scene.submission(result)) == Refusal("RosterSuperseded", (3, 2))


def test_a_roster_that_never_was_records_nothing(scene: Scene) -> None:
    for wrong in (OTHER, bytes(32)):
        changed = scene.submission(scene.result())[0]
        forged = type(changed)(**{name: getattr(changed, name) for name in changed.__slots__} | {"config": wrong})
        assert scene.refused("ledger", "submitRound", *scene.submission(forged)) == Refusal("UnknownConfig", (wrong,))


def test_the_quorum_is_that_of_the_roster_that_made_the_result(scene: Scene) -> None:
    old = scene.config
    for index in (4, 3):
        scene.accepted("registry", "leaveRoster", *scene.exit(index))
    assert scene.state.registry.keys.quorum == 3
    result = scene.result(config=old)
    refusal = scene.refused("ledger", "submitRound", *scene.submission(result, signers=0b111))
    assert refusal == Refusal("QuorumNotReached", (4, 3))


def test_signatures_of_the_old_roster_do_not_count_for_the_new_one(scene: Scene) -> None:
    old_result = scene.submission(scene.result())
    scene.accepted("registry", "leaveRoster", *scene.exit(4))
    new = scene.result()
    _, scores, _, signed = old_result
    assert scene.refused("ledger", "submitRound", new, scores, 0b1111, signed) == Refusal("InvalidSignature", (0,))


def test_a_change_before_the_ledger_exists_keeps_no_roster_from_recording() -> None:
    consortium = deploy_consortium(4, chain=EarlyChange(4))
    signers = tuple(address_of(key) for key in consortium.signer_keys)
    registry = consortium.registry.address
    founding = compute_config_digest(consortium.chain_id, registry, 1, signers, consortium.quorum, keccak(SPEC))
    consortium.record(consortium.result(config=founding))
    consortium.record(consortium.result(dealers=0b0111))
    late = consortium.submission(consortium.result(config=founding))
    assert consortium.chain.refusal(late) == Refusal("RosterSuperseded", (2, 1))
