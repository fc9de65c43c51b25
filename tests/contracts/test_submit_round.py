"""RoundLedger.submitRound: only the next result, only by a quorum of the roster, only once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from ledger.rewards import pack_scores, scores_digest
from ledger.types import ABANDONED, CLOSING, EMPTY, SIGNATURE_BYTES, STATISTICS, TRAINING
from tests.helpers.chain import (
    Consortium,
    Refusal,
    compact_signature,
    deploy_consortium,
    key_of,
    mirrored,
    with_flipped_parity,
)

OTHER = keccak(b"other")
SCORES = (1_000, -5, 0, 2**63 - 1)


@pytest.mark.parametrize("found", [1, 2**64 - 1])
def test_a_gap_is_refused(consortium: Consortium, found: int) -> None:
    call = consortium.submission(consortium.result(round=found))
    assert consortium.chain.refusal(call) == Refusal("RoundOutOfSequence", (0, found))


def test_a_recorded_result_is_not_recorded_again(consortium: Consortium) -> None:
    result = consortium.record()
    assert consortium.chain.refusal(consortium.submission(result)) == Refusal("RoundOutOfSequence", (1, 0))


def test_another_result_of_a_recorded_round_is_refused(consortium: Consortium) -> None:
    result = consortium.record()
    call = consortium.submission(replace(result, model=OTHER))
    assert consortium.chain.refusal(call) == Refusal("RoundOutOfSequence", (1, 0))


def test_the_first_result_follows_nothing(consortium: Consortium) -> None:
    call = consortium.submission(consortium.result(previous=OTHER))
    assert consortium.chain.refusal(call) == Refusal("PreviousMismatch", (EMPTY[:27], OTHER))


def test_a_result_that_follows_another_history_is_refused(consortium: Consortium) -> None:
    first = consortium.record()
    call = consortium.submission(consortium.result(previous=OTHER))
    assert consortium.chain.refusal(call) == Refusal("PreviousMismatch", (first.stored_digest(), OTHER))


def test_a_result_of_another_roster_is_refused(consortium: Consortium) -> None:
    call = consortium.submission(consortium.result(config=OTHER))
    assert consortium.chain.refusal(call) == Refusal("UnknownConfig", (OTHER,))


def test_an_unknown_kind_is_refused(consortium: Consortium) -> None:
    call = consortium.submission(consortium.result(kind=3))
    assert consortium.chain.refusal(call) == Refusal("UnknownKind", (3,))


@pytest.mark.parametrize("outcome", [0, 3])
def test_an_unknown_outcome_is_refused(consortium: Consortium, outcome: int) -> None:
    call = consortium.submission(consortium.result(outcome=outcome))
    assert consortium.chain.refusal(call) == Refusal("UnknownOutcome", (outcome,))


def test_a_settled_round_without_dealers_is_refused(consortium: Consortium) -> None:
    result = consortium.result(dealers=0)
    expected = Refusal("DealersContradictOutcome", (1, 0, result.deals))
    assert consortium.chain.refusal(consortium.submission(result)) == expected


def test_an_abandoned_round_with_deals_is_refused(consortium: Consortium) -> None:
    result = consortium.result(outcome=ABANDONED, dealers=0)
    expected = Refusal("DealersContradictOutcome", (2, 0, result.deals))
    assert consortium.chain.refusal(consortium.submission(result)) == expected


def test_a_dealer_outside_the_roster_is_refused(consortium: Consortium) -> None:
    call = consortium.submission(consortium.result(dealers=0b10111))
    assert consortium.chain.refusal(call) == Refusal("DealersOutsideRoster", (0b10111, 0b1111))


def test_scores_other_than_the_signed_ones_are_refused(consortium: Consortium) -> None:
    forged = pack_scores((2_000, *SCORES[1:]))
    call = consortium.submission(consortium.result(scores=scores_digest(SCORES)), forged)
    assert consortium.chain.refusal(call) == Refusal("ScoresMismatch", (scores_digest(SCORES), keccak(forged)))


def test_signed_scores_that_are_left_out_are_refused(consortium: Consortium) -> None:
    call = consortium.submission(consortium.result(scores=scores_digest(SCORES)))
    assert consortium.chain.refusal(call) == Refusal("ScoresMismatch", (scores_digest(SCORES), EMPTY))


def test_scores_that_nobody_signed_are_refused(consortium: Consortium) -> None:
    packed = pack_scores(SCORES)
    call = consortium.submission(consortium.result(), packed)
    assert consortium.chain.refusal(call) == Refusal("ScoresMismatch", (EMPTY, keccak(packed)))


@pytest.mark.parametrize("count", [3, 5])
def test_scores_for_more_or_fewer_than_the_roster_are_refused(consortium: Consortium, count: int) -> None:
    scores = range(count)
    call = consortium.submission(consortium.result(scores=scores_digest(scores)), pack_scores(scores))
    assert consortium.chain.refusal(call) == Refusal("ScoresLengthMismatch", (32, 8 * count))


def test_a_signer_outside_the_roster_is_refused(consortium: Consortium) -> None:
    result = consortium.result()
    outsider = compact_signature(key_of("stranger"), b"\1" * 32)
    call = consortium.submission(result, signers=0b10011, signatures=consortium.sign(result, (0, 1)) + outsider)
    assert consortium.chain.refusal(call) == Refusal("SignersOutsideRoster", (0b10011, 0b1111))


def test_one_signature_below_the_quorum_is_refused(consortium: Consortium) -> None:
    call = consortium.submission(consortium.result(), signers=0b1010)
    assert consortium.chain.refusal(call) == Refusal("QuorumNotReached", (3, 2))


def test_no_signature_at_all_is_refused(consortium: Consortium) -> None:
    call = consortium.submission(consortium.result(), signers=0)
    assert consortium.chain.refusal(call) == Refusal("QuorumNotReached", (3, 0))


@pytest.mark.parametrize("change", [-SIGNATURE_BYTES, -1, 1, SIGNATURE_BYTES])
def test_signatures_of_another_length_are_refused(consortium: Consortium, change: int) -> None:
    result = consortium.result()
    signed = (consortium.sign(result) + bytes(SIGNATURE_BYTES))[: 192 + change]
    call = consortium.submission(result, signatures=signed)
    assert consortium.chain.refusal(call) == Refusal("SignaturesLengthMismatch", (192, 192 + change))


def test_signatures_in_another_order_than_the_roster_are_refused(consortium: Consortium) -> None:
    result = consortium.result()
    call = consortium.submission(result, signatures=consortium.sign(result, (0, 2, 1)))
    assert consortium.chain.refusal(call) == Refusal("InvalidSignature", (1,))


def test_one_member_does_not_count_twice(consortium: Consortium) -> None:
    result = consortium.result()
    call = consortium.submission(result, signers=0b1101, signatures=consortium.sign(result, (0, 2, 2)))
    assert consortium.chain.refusal(call) == Refusal("InvalidSignature", (3,))


def test_a_strangers_signature_is_refused(consortium: Consortium) -> None:
    result = consortium.result()
    digest = result.signing_digest(consortium.chain.w3.eth.chain_id, consortium.ledger.address)
    signed = consortium.sign(result, (0, 1)) + compact_signature(key_of("stranger"), digest)
    call = consortium.submission(result, signatures=signed)
    assert consortium.chain.refusal(call) == Refusal("InvalidSignature", (2,))


@pytest.mark.parametrize("altered", [mirrored, with_flipped_parity])
def test_another_form_of_a_members_signature_is_refused(
    consortium: Consortium, altered: Callable[[bytes], bytes]
) -> None:
    result = consortium.result()
    changed = altered(consortium.sign(result, (0,)))
    call = consortium.submission(result, signatures=changed + consortium.sign(result, (1, 2)))
    assert consortium.chain.refusal(call) == Refusal("InvalidSignature", (0,))


@pytest.mark.parametrize(
    "broken", [bytes(64), b"\xff" * 64, bytes(32) + b"\1" * 32, b"\1" * 32 + bytes(32)], ids=["0", "ff", "r0", "s0"]
)
def test_bytes_that_are_no_signature_are_refused(consortium: Consortium, broken: bytes) -> None:
    result = consortium.result()
    call = consortium.submission(result, signatures=consortium.sign(result, (0, 1)) + broken)
    assert consortium.chain.refusal(call) == Refusal("InvalidSignature", (2,))


def test_a_changed_result_voids_every_signature(consortium: Consortium) -> None:
    result = consortium.result()
    signed = consortium.sign(result)
    changes = {
        "model": OTHER, "deals": OTHER, "rewards": OTHER, "rewards_total": 1, "dealers": 0b0111, "kind": CLOSING,
    }  # fmt: skip
    for name, value in changes.items():
        call = consortium.submission(replace(result, **{name: value}), signatures=signed)  # type: ignore[arg-type]
        assert consortium.chain.refusal(call) == Refusal("InvalidSignature", (0,)), name


def test_a_signature_for_another_chain_is_refused(consortium: Consortium) -> None:
    result = consortium.result()
    call = consortium.submission(result, signatures=consortium.sign(result, chain_id=1))
    assert consortium.chain.refusal(call) == Refusal("InvalidSignature", (0,))


def test_a_signature_for_another_consortiums_ledger_is_refused(consortium: Consortium) -> None:
    other = deploy_consortium(4, chain=consortium.chain)
    result = consortium.result()
    call = consortium.submission(result, signatures=other.sign(result))
    assert consortium.chain.refusal(call) == Refusal("InvalidSignature", (0,))


def test_a_refused_result_leaves_the_ledger_as_it_was(consortium: Consortium) -> None:
    consortium.chain.refusal(consortium.submission(consortium.result(), signers=0b11))
    assert consortium.ledger.functions.nextRound().call() == 0
    assert consortium.ledger.functions.resultDigest(0).call() == EMPTY[:27]


def test_anybody_may_submit_what_a_quorum_signed(consortium: Consortium) -> None:
    stranger = consortium.chain.w3.eth.accounts[5]
    consortium.chain.send(consortium.submission(consortium.result()), sender=stranger)
    assert consortium.ledger.functions.nextRound().call() == 1


@pytest.mark.parametrize("signers", [0b0111, 0b1011, 0b1101, 0b1110, 0b1111])
def test_every_quorum_suffices(consortium: Consortium, signers: int) -> None:
    consortium.chain.send(consortium.submission(consortium.result(), signers=signers))
    assert consortium.ledger.functions.nextRound().call() == 1


def test_the_digest_and_the_blocks_time_are_stored_and_chained(consortium: Consortium) -> None:
    results = []
    for kind in (STATISTICS, *[TRAINING] * 6, CLOSING):
        results.append(consortium.record(consortium.result(kind=kind)))
        assert consortium.ledger.functions.recordedAt(len(results) - 1).call() == consortium.chain.now
    views = consortium.ledger.functions
    assert views.nextRound().call() == 8
    for number, result in enumerate(results):
        assert views.resultDigest(number).call() == result.stored_digest()
        assert result.previous == (results[number - 1].struct_hash() if number else EMPTY)
    times = [views.recordedAt(number).call() for number in range(8)]
    assert times == sorted(times)
    assert views.recordedAt(8).call() == 0


def test_an_abandoned_round_is_recorded_and_does_not_block_the_next(consortium: Consortium) -> None:
    consortium.record()
    consortium.record(consortium.result(outcome=ABANDONED, dealers=0, deals=EMPTY))
    consortium.record()
    assert consortium.ledger.functions.nextRound().call() == 3


def test_an_abandoned_round_names_the_dealers_whose_sum_may_have_been_seen(consortium: Consortium) -> None:
    consortium.record(consortium.result(outcome=ABANDONED, dealers=0b0111, deals=EMPTY))
    assert consortium.ledger.functions.nextRound().call() == 1


def test_the_event_carries_everything_that_was_submitted(consortium: Consortium) -> None:
    consortium.record()
    result = consortium.result(scores=scores_digest(SCORES), rewards_total=2**128 - 1)
    signed = consortium.sign(result, (1, 2, 3))
    receipt = consortium.chain.send(
        consortium.submission(result, pack_scores(SCORES), signers=0b1110, signatures=signed)
    )
    [event] = consortium.chain.events(consortium.ledger, "RoundRecorded", receipt)
    assert event["round"] == 1
    assert event["digest"] == result.struct_hash()
    assert tuple(event["result"].values()) == result.as_tuple()
    assert event["scores"] == pack_scores(SCORES)
    assert event["signers"] == 0b1110
    assert event["signatures"] == signed


def test_the_contract_hashes_a_result_as_clients_do(consortium: Consortium) -> None:
    result = consortium.result(
        round=2**64 - 1, kind=255, outcome=255, dealers=2**256 - 1, scores=OTHER, rewards_total=2**128 - 1
    )
    assert consortium.ledger.functions.hashResult(result.as_tuple()).call() == result.struct_hash()


def test_forty_three_of_sixty_four_members_record_a_round() -> None:
    large = deploy_consortium(64)
    too_few = large.submission(large.result(), signers=(1 << 42) - 1)
    assert large.chain.refusal(too_few, mine=False) == Refusal("QuorumNotReached", (43, 42))
    large.record(scores=range(64))
    assert large.ledger.functions.nextRound().call() == 1
