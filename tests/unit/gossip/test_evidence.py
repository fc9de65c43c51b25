"""What a round's statements show of each member, and what they do not; each with one thing amiss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from gossip.chunks import decode_words, encode_words
from gossip.evidence import Evidence, Fault
from gossip.layout import Layout
from gossip.messages import (
    AnyMessage,
    Check,
    Complaint,
    Deal,
    Freeze,
    Message,
    Piece,
    Proof,
    Reveal,
    Score,
    decode_message,
    message_digest,
)
from gossip.pace import Pace
from gossip.parameters import MODULUS
from gossip.pieces import challenge
from gossip.session import Conduct, context_of
from gossip.spec import blob_digest
from gossip.values import value_digest
from tests.helpers.liars import signed
from tests.helpers.worlds import settled_world, state_of

D = bytes(32)
ROUND, DEALER, HOLDER = 2, 1, 3
Change = Callable[[int, AnyMessage], Message | None]
"""What a member (first argument) says instead; None = it says nothing."""


def said() -> list[tuple[int, AnyMessage]]:
    record = settled_world().nodes[0].records[ROUND]
    return [(envelope.sender, decode_message(envelope.body)) for envelope in record.statements]


def evidence(
    *more: tuple[int, Message], change: Change = lambda _, message: message, blobs: Mapping[bytes, bytes] | None = None
) -> Evidence:
    """An honest round's, with statements changed and added."""
    world = settled_world()
    node, record = world.nodes[0], world.nodes[0].records[ROUND]
    context = context_of(node.identity, record.start, Conduct(), Pace())
    layout = Layout.for_round(context.parameters, node.identity.spec, ROUND)
    changed = [(member, change(member, message)) for member, message in said()]
    envelopes = [signed(world.nodes[member], message) for member, message in (*changed, *more) if message is not None]
    return Evidence.of(context, layout, envelopes, (blobs or {}).get)


def apart_from(members: frozenset[int], found: Evidence) -> Evidence:
    """What the others say, where these members are proven false."""
    others = tuple(record for record in found.statements if record.envelope.sender not in members)
    return replace(found, statements=others, excluded=len(members))


def final_name() -> bytes:
    value = settled_world().nodes[0].records[ROUND].dealers
    assert value is not None
    return value_digest(value)


def faults(
    *more: tuple[int, Message], change: Change = lambda _, message: message, blobs: Mapping[bytes, bytes] | None = None
) -> frozenset[Fault]:
    """What such a round shows."""
    return evidence(*more, change=change, blobs=blobs).faults(final_name(), b"\1" * 32)


def the(kind: type[Message], member: int) -> tuple[AnyMessage, bytes]:
    """The member's statement of a kind, and its digest."""
    state = state_of(settled_world())
    (record,) = [records[member] for key, records in state.heard.items() if key[0] is kind.kind and member in records]
    return record.message, record.digest


def complaint(**changes: object) -> tuple[int, Complaint]:
    """A complaint of a true share."""
    deal, _ = the(Deal, DEALER)
    assert isinstance(deal, Deal)
    freeze, proof = the(Freeze, ROUND)[1], the(Proof, DEALER)[1]
    honest = Complaint(deal.config, ROUND, 0, DEALER, freeze, proof, deal.shares[HOLDER])
    return HOLDER, structs.replace(honest, **changes)


def share() -> bytes:
    """The holder's share, as it was dealt."""
    found = [node.workshop.blobs.get(complaint()[1].share) for node in settled_world().nodes]
    return next(blob for blob in found if blob is not None)


def without(kind: type[Message], of: int) -> Change:
    return lambda member, message: None if isinstance(message, kind) and member == of else message


# --- complaints -----------------------------------------------------------------------------------------------------


def test_who_complains_of_a_true_share_is_shown_to_be_false_by_the_share_alone() -> None:
    _, said_falsely = complaint()
    assert faults(complaint(), blobs={said_falsely.share: share()}) == {(HOLDER, "false complaint")}
    assert not faults(complaint())
    assert not faults(complaint(), blobs={said_falsely.share: b"another file"})
    assert faults(complaint(share=D)) == {(HOLDER, "complaint about a share that was never dealt")}


@pytest.mark.parametrize(("kind", "of"), [(Freeze, ROUND), (Deal, DEALER), (Proof, DEALER)])
def test_a_complaint_without_what_it_is_about_shows_nothing(kind: type[Message], of: int) -> None:
    assert not faults(complaint(share=D), change=without(kind, of))


@pytest.mark.parametrize("changes", [{"attempt": 1}, {"freeze": D}, {"proof": D}, {"subject": 0}], ids=str)
def test_a_complaint_about_a_proof_that_answers_something_else_shows_nothing(changes: dict[str, object]) -> None:
    assert not faults(complaint(share=D, **changes))


def test_a_complaint_under_another_freeze_of_the_same_deals_shows_nothing() -> None:
    freeze, _ = the(Freeze, ROUND)
    later = structs.replace(freeze, attempt=1)
    name = message_digest(signed(settled_world().nodes[3], later).body)
    assert not faults((3, later), complaint(share=D, freeze=name))


# --- what signatures show -------------------------------------------------------------------------------------------


def test_two_versions_and_a_broken_rule_are_shown() -> None:
    deal, _ = the(Deal, DEALER)
    assert faults((DEALER, structs.replace(deal, shares=(D,) * 4))) == {(DEALER, "equivocation")}
    assert faults((HOLDER, complaint(subject=4)[1])) == {(HOLDER, "complained of nobody")}


@pytest.mark.parametrize("changes", [{"round": ROUND + 1}, {"config": D}], ids=str)
def test_a_statement_of_another_round_or_roster_is_no_second_version(changes: dict[str, object]) -> None:
    deal, _ = the(Deal, DEALER)
    other = structs.replace(deal, shares=(D,) * 4, **changes)
    assert not faults((DEALER, other))


# --- sums, pieces and scores ----------------------------------------------------------------------------------------

JUNK = b"no field elements"


def test_a_partial_sum_is_judged_if_it_is_over_the_final_set_and_of_nobody_proven_false() -> None:
    def changed(value: bytes) -> Change:
        return lambda member, message: (
            structs.replace(message, value=value, pieces=(blob_digest(JUNK),))
            if isinstance(message, Reveal) and member == HOLDER
            else message
        )

    blobs, name, fault = {blob_digest(JUNK): JUNK}, final_name(), (HOLDER, "false partial sum")
    assert faults(change=changed(name), blobs=blobs) == {fault}
    assert not faults(change=changed(D), blobs=blobs)
    found = evidence(change=changed(name), blobs=blobs)
    assert not list(apart_from(frozenset({HOLDER}), found)._by_sums(name, b"\1" * 32))


def test_each_version_of_what_a_member_proven_false_revealed_is_judged() -> None:
    """Whoever heard the false version first blames it for that, and the record holds both."""
    reveal, _ = the(Reveal, HOLDER)
    false = structs.replace(reveal, pieces=(blob_digest(JUNK),))
    for versions in ((reveal, false), (false, reveal)):
        found = evidence(
            *((HOLDER, version) for version in versions),
            change=lambda member, message: None if (member, message) == (HOLDER, reveal) else message,
            blobs={blob_digest(JUNK): JUNK},
        ).faults(final_name(), b"\1" * 32)
        assert found == {(HOLDER, "equivocation"), (HOLDER, "false partial sum")}


def rebuilt() -> bytes:
    """The true sum, of one piece."""
    nodes = settled_world().nodes
    state = state_of(settled_world())
    found = [node.workshop.blobs.get(state.rebuilt[0]) for node in nodes]
    return next(blob for blob in found if blob is not None)


def pieces_shown(
    piece: bytes,
    *,
    maker: int = 0,
    value: bytes | None = None,
    is_here: bool = True,
    off: Mapping[int, bytes] | None = None,
    checked: bytes | None = None,
    false: frozenset[int] = frozenset(),
    is_zero: bool = False,
) -> set[Fault]:
    """What is shown when a member has rebuilt these bytes, and the holders' answers are true but for those in `off`."""
    found = with_piece(piece, maker, value, is_here, off, checked, is_zero)
    return set(apart_from(false, found)._by_pieces(final_name()))


def with_piece(
    piece: bytes,
    maker: int = 0,
    value: bytes | None = None,
    is_here: bool = True,
    off: Mapping[int, bytes] | None = None,
    checked: bytes | None = None,
    is_zero: bool = False,
    silent: frozenset[int] = frozenset(),
) -> Evidence:
    """A round in which that is so, and some holders answer nothing."""
    name, nodes = final_name(), settled_world().nodes
    context, state = evidence().context, state_of(settled_world())
    said: list[tuple[int, Message]] = [(maker, Piece(context.config, ROUND, value or name, blob_digest(piece)))]
    for node in (node for node in nodes if node.me not in silent):
        reveal = state.records(Reveal.kind)[node.me].message
        assert isinstance(reveal, Reveal)
        blob = node.workshop.blobs.get(reveal.pieces[0])
        assert blob is not None
        sums = decode_words(blob, len(blob) // 3)
        words = challenge(name, 0, blob_digest(piece), len(sums)).of(np.zeros_like(sums) if is_zero else sums)
        answer = (off or {}).get(node.me, encode_words(words.astype(np.uint32)))
        over = checked if checked is not None and node.me in (off or {}) else name
        said.append((node.me, Check(context.config, ROUND, over, ((0, blob_digest(piece), answer),))))
    blobs = {blob_digest(piece): piece} if is_here else {}
    return evidence(*said, blobs=blobs)


def test_a_piece_is_shown_to_be_false_by_its_bytes_and_the_holders_answers() -> None:
    true = rebuilt()
    other = encode_words(((decode_words(true, len(true) // 3) + 1) % MODULUS).astype(np.uint32))
    assert not pieces_shown(true)
    assert pieces_shown(other) == {(0, "false piece of a sum")}
    assert not pieces_shown(other, is_here=False)
    assert not pieces_shown(other, value=D)
    assert not pieces_shown(other, maker=1), "there is no such piece"
    unchecked = evidence((0, Piece(evidence().context.config, ROUND, final_name(), D)))
    assert not list(unchecked._by_pieces(final_name()))


def test_a_piece_of_a_member_proven_false_is_judged_by_as_few_answers_as_members_judge_it_by() -> None:
    true = rebuilt()
    other = encode_words(((decode_words(true, len(true) // 3) + 1) % MODULUS).astype(np.uint32))
    for piece in (true, other):
        found = with_piece(piece, maker=0, silent=frozenset({0, HOLDER}))
        assert found.proven == {0}, "nobody rebuilds a sum of one piece for others"
        shown = found.faults(final_name(), b"\1" * 32)
        assert ((0, "false piece of a sum") in shown) == (piece == other)
        too_few = with_piece(piece, maker=0, silent=frozenset({0, 1, HOLDER})).faults(final_name(), b"\1" * 32)
        assert (0, "false piece of a sum") not in too_few


def test_a_piece_that_cannot_be_read_is_false_even_of_a_sum_that_is_zero() -> None:
    assert pieces_shown(JUNK, is_zero=True) == {(0, "false piece of a sum")}


@pytest.mark.parametrize("answer", [bytes(18), b"\xff" * 18], ids=["another", "none"])
def test_an_answer_is_judged_if_it_is_over_the_final_set_and_of_nobody_proven_false(answer: bytes) -> None:
    true, off = rebuilt(), {HOLDER: answer}
    assert pieces_shown(true, off=off) == {(HOLDER, "false check of a sum")}
    assert not pieces_shown(true, off=off, checked=D)
    assert not pieces_shown(true, off=off, false=frozenset({HOLDER}))


def test_a_score_answer_is_judged_if_it_is_of_the_scored_round_and_of_nobody_proven_false() -> None:
    def changed(scored: int) -> Change:
        return lambda member, message: (
            structs.replace(message, scored=scored, answers=tuple((dealer, 1) for dealer, _ in message.answers))
            if isinstance(message, Score) and member == HOLDER
            else message
        )

    assert faults(change=changed(ROUND - 1)) == {(HOLDER, "false score answer")}
    assert not faults(change=changed(ROUND))
    assert apart_from(frozenset({HOLDER}), evidence()).opened_scores() == evidence().opened_scores()
    assert evidence().opened_scores() is not None
