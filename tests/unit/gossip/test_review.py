"""An auditor who is shown a round's record with one thing forged says so; with nothing forged, that all fits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gossip.errors import MalformedMessage
from gossip.messages import (
    Commit,
    Deal,
    Envelope,
    Proof,
    Receipt,
    Score,
    decode_message,
)
from gossip.record import RoundRecord, decode_record, encode_record
from gossip.results import result_signing_digest
from gossip.review import Review, review
from gossip.statements import Kind
from gossip.values import (
    ABANDONED,
    EMPTY_SET,
    OUTCOME,
    SET,
    RoundResult,
    SetValue,
    value_digest,
)
from sim.scenario import Scenario
from tests.helpers import liars
from tests.helpers.liars import signed
from tests.helpers.worlds import known_world, saved_after, settled_world

LIAR = 1
LIES = {
    "false partial sum": liars.false_sum,
    "share contradicts its proof": liars.false_proof,
    "false score answer": liars.false_answers,
}
Change = Callable[[RoundRecord], RoundRecord]


def record() -> RoundRecord:
    """What member 0 publishes of a closing round, which opens the scores of the round before it."""
    return settled_world().nodes[0].records[2]


@cache
def earlier_record(round_id: int) -> RoundRecord:
    """Of a round that opens no scores."""
    saved = saved_after(4, round_id - 1) if round_id else None
    return known_world(4, saved=saved, last_round=round_id).run(300).nodes[0].records[round_id]


def judged(*records: RoundRecord) -> Review:
    node = settled_world().nodes[0]
    return review(list(records), node.identity, node.evidence.get, b"\1" * 32)


def without(*kinds: Kind, of: int | None = None) -> Change:
    """The record with some statements left out."""

    def change(record: RoundRecord) -> RoundRecord:
        def is_kept(envelope: Envelope) -> bool:
            is_of_kind = decode_message(envelope.body).key[0] in kinds
            return not is_of_kind or (of is not None and envelope.sender != of)

        return structs.replace(record, statements=tuple(filter(is_kept, record.statements)))

    return change


def with_result(**changes: object) -> Change:
    return lambda record: structs.replace(record, result=structs.replace(record.result, **changes))


def ended_with(record: RoundRecord, **changes: object) -> RoundRecord:
    """The record as if all members had signed another result."""
    changed = with_result(**changes)(record)
    nodes = settled_world().nodes
    signed_digest = result_signing_digest(changed.result, nodes[0].identity.domain)
    signatures = tuple((node.me, node.identity.sign(signed_digest)) for node in nodes)
    return structs.replace(changed, signatures=signatures)


def committed(record: RoundRecord, value: SetValue, subject: int = SET) -> RoundRecord:
    """The record as if all members had committed to another set."""
    commit = Commit(record.result.config, record.start.round, 0, subject, value_digest(value))
    commits = tuple(signed(node, commit) for node in settled_world().nodes)
    others = without(Kind.COMMIT)(record)
    return structs.replace(others, dealers=value, statements=(*others.statements, *commits))


def final_set() -> SetValue:
    value = record().dealers
    assert value is not None
    return value


def resigned(record: RoundRecord) -> RoundRecord:
    """One statement under another member's name."""
    first, *rest = record.statements
    return structs.replace(record, statements=(structs.replace(first, sender=(first.sender + 1) % 4), *rest))


def other_set(record: RoundRecord) -> RoundRecord:
    """A set that nobody committed to."""
    value = final_set()
    return structs.replace(record, dealers=SetValue(value.freeze, value.deals[1:], value.proofs[1:], value.receipts))


def other_terms(record: RoundRecord) -> RoundRecord:
    assert record.terms is not None
    return structs.replace(record, terms=structs.replace(record.terms, weight=record.terms.weight * 2))


def uncovered_set() -> SetValue:
    """With a Proof that no Receipt is about."""
    value = final_set()
    return structs.replace(value, proofs=(*value.proofs[:-1], (value.proofs[-1][0], bytes(32))))


FORGERIES: dict[str, tuple[Change, str]] = {
    "a statement under another name": (resigned, "signed by their senders"),
    "a dealer's Deal left out": (without(Kind.DEAL, of=3), "does not hold the Deal of member 3"),
    "a dealer's Proof left out": (without(Kind.PROOF, of=3), "does not hold the Proof of member 3"),
    "Receipts left out": (without(Kind.RECEIPT), "0 Receipts that cover"),
    "Commits left out": (without(Kind.COMMIT), "does not hold the Commits"),
    "another set": (other_set, "does not hold the Commits"),
    "a set that no Receipt covers": (
        lambda record: committed(record, uncovered_set()),
        "0 Receipts that cover the dealer set, and 3 are needed",
    ),
    "Commits in another agreement": (lambda record: committed(record, final_set(), OUTCOME), "not hold the Commits"),
    "scores of a round that has none": (
        lambda _: ended_with(structs.replace(earlier_record(1), terms=record().terms), scores=(1, 2, 3, 4)),
        "its result has scores",
    ),
    "what scores follow from left out": (
        lambda record: structs.replace(record, terms=None),
        "0 versions of what these follow from",
    ),
    "rewards that no result names": (
        lambda record: structs.replace(record, start=structs.replace(record.start, cumulative=(bytes(16),) * 4)),
        "does not begin where the round before it ended",
    ),
    "rewards in other bytes": (
        lambda record: structs.replace(
            record, start=structs.replace(record.start, cumulative=tuple(b"\0" + w for w in record.start.cumulative))
        ),
        "does not begin where the round before it ended",
    ),
    "rewards of hundreds of bytes": (
        lambda record: structs.replace(record, start=structs.replace(record.start, cumulative=(b"\1" * 300,) * 4)),
        "does not begin where the round before it ended",
    ),
    "one signature four times": (
        lambda record: structs.replace(record, signatures=record.signatures[:1] * 4),
        "signatures of a quorum",
    ),
    "another number": (with_result(round=9), "does not begin where the round before it ended"),
    "another model": (
        lambda record: structs.replace(record, start=structs.replace(record.start, model=bytes(32))),
        "does not begin where the round before it ended",
    ),
    "answers left out": (without(Kind.SCORE), "does not hold the answers"),
    "other scores": (with_result(scores=(1, 2, 3, 4)), "scores are not those"),
    "other weights": (other_terms, "scores are not those"),
    "other dealers": (with_result(dealers=0b0111), "names other dealers"),
    "another round before it": (with_result(previous=bytes(32)), "does not begin where the round before it ended"),
    "signatures left out": (lambda record: structs.replace(record, signatures=()), "signatures of a quorum"),
    "an honest member blamed": (
        lambda record: structs.replace(record, blamed=((2, "equivocation"),)),
        "member 2 is blamed for what no statement shows",
    ),
}


def test_what_is_true_fits() -> None:
    found = judged(record())
    assert not found.findings
    assert not found.faults
    assert (found.statements, found.scores) == (len(record().statements), 4)
    assert found.deals == final_set().deals


@pytest.mark.parametrize("round_id", [0, 1])
def test_a_round_that_opens_no_scores_fits(round_id: int) -> None:
    found = judged(earlier_record(round_id))
    assert (found.findings, found.faults, found.scores) == ((), frozenset(), 0)


@pytest.mark.parametrize("kind", [Kind.COMMIT, Kind.RECEIPT])
def test_the_statements_of_as_many_as_are_needed_suffice(kind: Kind) -> None:
    """Three of four are a quorum, and H_min holders."""
    assert not judged(without(kind, of=3)(record())).findings
    assert judged(without(kind, of=3)(without(kind, of=2)(record()))).findings


def test_an_abandoned_round_needs_no_set_and_names_one_that_may_have_been_seen() -> None:
    abandoned = ended_with(record(), outcome=ABANDONED, scores=None, dealers=0b0111)
    for each in (abandoned, committed(abandoned, EMPTY_SET), without(Kind.COMMIT)(abandoned)):
        assert not judged(each).findings


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_record_is_found(name: str) -> None:
    change, words = FORGERIES[name]
    found = judged(change(record())).findings
    assert any(words in text for text in found), found


@pytest.mark.parametrize("name", [name for name, (_, words) in FORGERIES.items() if "does not begin" in words])
def test_a_forged_beginning_makes_nobody_look_false(name: str) -> None:
    forged = FORGERIES[name][0](record())
    assert judged(forged).faults == frozenset()
    beside = judged(forged, record())
    assert beside.faults == frozenset()
    assert "does not begin" in beside.findings[0]


def test_what_one_record_lacks_another_one_may_hold() -> None:
    half = without(Kind.COMMIT, Kind.PROOF)(record())
    assert judged(half).findings
    assert not judged(half, record()).findings
    nothing = structs.replace(record(), dealers=None, terms=None)
    assert not judged(record(), nothing).findings


def test_how_many_statements_do_not_count_is_said() -> None:
    (text, *_) = judged(resigned(record())).findings
    assert text.startswith(f"1 of {len(record().statements)} statements")


def test_records_that_tell_two_stories_of_the_scores_are_found() -> None:
    assert any("2 versions" in text for text in judged(record(), other_terms(record())).findings)


@pytest.mark.parametrize("lie", LIES)
def test_who_is_blamed_for_false_work_is_shown_to_be_false(lie: str) -> None:
    world = known_world(4, saved=saved_after(4, 1))
    liars.lie_at_work(world, LIAR, LIES[lie])
    node = world.run(300).nodes[0]
    assert node.records[2].blamed == ((LIAR, lie),)
    found = review([node.records[2]], node.identity, node.evidence.get, b"\1" * 32)
    assert (found.findings, found.faults) == ((), {(LIAR, lie)})


def test_a_fault_that_nobody_names_is_shown_all_the_same() -> None:
    scenario = Scenario(lies={LIAR: liars.equivocate(Kind.RECEIPT)}, exchange_seconds=0.1)
    world = known_world(4, saved=saved_after(4, 1), scenario=scenario).run(300)
    node = next(node for node in world.nodes if node.me != LIAR and node.records[2].blamed)
    silent = structs.replace(node.records[2], blamed=())
    found = review([silent], node.identity, node.evidence.get, b"\1" * 32)
    assert (found.findings, found.faults) == ((), {(LIAR, "equivocation")})


def test_who_is_blamed_for_a_share_is_not_shown_false_without_the_share() -> None:
    """The evidence is a file beside the record; another file in its place is worth nothing."""
    world = known_world(4, saved=saved_after(4, 1))
    liars.deal_unequally(world, LIAR, 3)
    node = world.run(300).nodes[0]
    record, fault = node.records[2], (LIAR, "share contradicts its proof")
    assert fault in review([record], node.identity, node.evidence.get, b"\1" * 32).faults
    for find in (lambda name: None, lambda name: b"something else"):
        found = review([record], node.identity, find, b"\1" * 32)
        assert fault not in found.faults
        assert any("blamed for what no statement shows" in text for text in found.findings)


def test_a_record_survives_its_file() -> None:
    assert decode_record(encode_record(record())) == record()
    kinds = {type(decode_message(envelope.body)) for envelope in record().statements}
    assert kinds >= {Deal, Proof, Receipt, Commit, Score}
    assert isinstance(record().result, RoundResult)


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_bytes_do_more_than_be_refused(changes: list[tuple[int, int]]) -> None:
    encoded = bytearray(encode_record(record()))
    for index, byte in changes:
        encoded[index % len(encoded)] = byte
    try:
        changed = decode_record(bytes(encoded))
    except MalformedMessage:
        return
    assert isinstance(judged(changed), Review)


TERMS = {"numerator": (-1,), "shift": (-1, 64), "weight": (0, -1), "gradient_weights": ((-1, 1), (1, 1 << 24))}


@pytest.mark.parametrize("name", TERMS)
def test_weights_that_no_round_has_are_refused_before_anything_is_computed(name: str) -> None:
    terms = record().terms
    for value in TERMS[name]:
        forged = structs.replace(record(), terms=structs.replace(terms, **{name: value}))
        with pytest.raises(MalformedMessage, match="not a round's record"):
            decode_record(encode_record(forged))


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_half_a_record_is_refused(size: int) -> None:
    with pytest.raises(MalformedMessage):
        decode_record(encode_record(record())[:size])
