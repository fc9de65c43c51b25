"""Frames, offers and positions: bounded before they are read, and nothing but the typed error."""

from __future__ import annotations

import random

import pytest

from gossip.errors import MalformedMessage
from gossip.transport.frames import HEAD, FrameType, Offer, Position, Sequence, decode_head, encode_head

EXPECTED = {FrameType.CHUNK: 1000, FrameType.ACK: 32}


def test_head_tells_type_and_length() -> None:
    assert decode_head(encode_head(FrameType.CHUNK, 1000), EXPECTED) == (FrameType.CHUNK, 1000)


def test_longer_frame_than_its_type_allows_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="at most 32 bytes"):
        decode_head(encode_head(FrameType.ACK, 33), EXPECTED)


def test_frame_out_of_turn_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="may not come here"):
        decode_head(encode_head(FrameType.OFFER, 1), EXPECTED)


def test_random_heads_raise_nothing_but_the_typed_error() -> None:
    draw = random.Random(7)
    for _ in range(2000):
        head = bytearray(encode_head(FrameType.CHUNK, draw.randrange(2000)))
        head[draw.randrange(HEAD.size)] = draw.randrange(256)
        try:
            kind, size = decode_head(bytes(head), EXPECTED)
        except MalformedMessage:
            continue
        assert size <= EXPECTED[kind]


def test_offer_survives_its_encoding() -> None:
    offer = Offer(2**40, bytes(range(32)), b"round 3")
    assert Offer.decode(offer.encode()) == offer


def test_truncated_offer_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        Offer.decode(bytes(39))


def test_truncated_position_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        Position.decode(bytes(15))


def heard(*numbers: int, session: int = 9) -> Sequence:
    sequence = Sequence()
    for number in numbers:
        sequence.on_announcement(Position(session, number))
    return sequence


def test_announcements_in_order_are_delivered_without_a_gap() -> None:
    sequence = heard()
    assert [sequence.on_announcement(Position(9, number)) for number in (1, 2, 3)] == [(True, False)] * 3


def test_missing_announcement_is_noticed_at_the_next_one() -> None:
    assert heard(1, 2).on_announcement(Position(9, 4)) == (True, True)


def test_late_or_repeated_announcement_is_not_delivered() -> None:
    assert heard(1, 3).on_announcement(Position(9, 2)) == (False, False)
    assert heard(1, 3).on_announcement(Position(9, 3)) == (False, False)


def test_lost_tail_is_noticed_at_the_next_ping_and_only_once() -> None:
    sequence = heard(1)
    assert sequence.on_ping(Position(9, 3))
    assert not sequence.on_ping(Position(9, 3))


def test_ping_of_a_fresh_or_spare_connection_shows_no_gap() -> None:
    assert not heard().on_ping(Position(9, 0))
    assert not heard(1).on_ping(Position(0, 0))


def test_new_session_of_a_known_peer_counts_as_a_gap() -> None:
    assert heard(1, 2).on_ping(Position(10, 0))
    assert heard(1, 2).on_announcement(Position(10, 1)) == (True, True)
