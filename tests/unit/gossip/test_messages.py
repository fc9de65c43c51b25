"""Messages: one canonical form, validated when they are made, and nothing but the typed error for anything else."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.errors import MalformedMessage
from gossip.messages import (
    MAX_HISTORY,
    MAX_MESSAGE_BYTES,
    AnyMessage,
    Check,
    Commit,
    Complaint,
    Confirm,
    Deal,
    Envelope,
    Freeze,
    Open,
    Piece,
    Proof,
    Propose,
    Receipt,
    Reveal,
    Score,
    Sign,
    Status,
    decode_envelope,
    decode_message,
    longest_message,
)
from gossip.parameters import Parameters
from gossip.statements import Kind
from gossip.transport.interface import Limits
from gossip.values import (
    EMPTY_SET,
    SET,
    SETTLED,
    Certificate,
    OutcomeValue,
    RoundResult,
    SetValue,
    encode,
)

D = bytes(range(32))
SIGNATURE = bytes(64)
RESULT = RoundResult(1, 1, SETTLED, D, D, 0b1011, D, D, (5, -7, 0, 9), D, bytes(16))
VALUE = SetValue(D, ((0, D), (1, D)), ((0, D), (1, D)), ((0, D), (1, D), (2, D)))
ENVELOPE = Envelope(2, encode(Status(D, 3, 1, SET, None)), SIGNATURE)

MESSAGES: list[AnyMessage] = [
    Open(D, 0, 0, D, None, (), (), ()),
    Open(D, 2, 1, D, RESULT, ((0, SIGNATURE), (3, SIGNATURE)), (bytes(16),) * 4, (RESULT,)),
    Deal(D, 3, D, (D, D, D, D)),
    Freeze(D, 3, 1, ((0, D), (2, D), (3, D))),
    Proof(D, 3, 1, D, bytes(36)),
    Receipt(D, 3, 1, D, ((0, D), (2, D))),
    Complaint(D, 3, 1, 2, D, D, D),
    Propose(D, 3, 0, SET, VALUE, ()),
    Propose(D, 3, 1, 1, OutcomeValue(RESULT), (ENVELOPE,)),
    Confirm(D, 3, 1, SET, D),
    Commit(D, 3, 1, SET, D),
    Status(D, 3, 2, SET, Certificate(0, EMPTY_SET, ((1, SIGNATURE),))),
    Reveal(D, 3, D, (D, D)),
    Piece(D, 3, D, D),
    Check(D, 3, D, ((0, D, bytes(18)), (2, D, bytes(18)))),
    Score(D, 3, 2, D, ((0, 5), (1, 16_777_212))),
    Sign(D, 3, D, SIGNATURE),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_its_journey(message: AnyMessage) -> None:
    assert decode_message(encode(message)) == message


def test_every_kind_of_statement_is_covered_here() -> None:
    assert {message.key[0] for message in MESSAGES} == set(Kind)


def test_an_envelope_survives_its_journey() -> None:
    assert decode_envelope(encode(ENVELOPE)) == ENVELOPE


@pytest.mark.parametrize(
    "make",
    [
        lambda: Confirm(D, -1, 0, SET, D),
        lambda: Confirm(D, 1 << 64, 0, SET, D),
        lambda: Confirm(D[:31], 1, 0, SET, D),
        lambda: Confirm(D, 1, -1, SET, D),
        lambda: Confirm(D, 1, 0, SET, D + b"x"),
        lambda: Freeze(D, 1, 0, ((2, D), (1, D))),
        lambda: Freeze(D, 1, 0, ((1, D), (1, D))),
        lambda: Freeze(D, 1, 0, ((64, D),)),
        lambda: Deal(D, 1, D, (D,) * 65),
        lambda: Score(D, 1, 0, D, ((0, 1 << 24),)),
        lambda: SetValue(D, ((0, D),), (), ()),
        lambda: Open(D, 0, 0, D, RESULT, (), (), ()),
        lambda: Open(D, 1, 0, D, None, (), (), ()),
        lambda: Open(D, 2, 0, D, RESULT, (), (), (RESULT,) * (MAX_HISTORY + 1)),
        lambda: Sign(D, 1, D, bytes(65)),
        lambda: Envelope(64, b"", SIGNATURE),
        lambda: msgspec.structs.replace(RESULT, outcome=3),
        lambda: Propose(D, 1, 1, SET, VALUE, (ENVELOPE, ENVELOPE)),
    ],
)
def test_a_message_out_of_bounds_cannot_be_made(make: object) -> None:
    with pytest.raises(MalformedMessage):
        make()  # type: ignore[operator]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_give_nothing_but_the_typed_error(data: bytes) -> None:
    for decode in (decode_message, decode_envelope):
        with pytest.raises(MalformedMessage):
            decode(data)


@settings(max_examples=600, derandomize=True, deadline=None)
@given(st.sampled_from(MESSAGES), st.data())
def test_a_changed_byte_gives_another_message_or_the_typed_error(message: AnyMessage, data: st.DataObject) -> None:
    encoded = bytearray(encode(message))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_message(bytes(encoded))
    except MalformedMessage:
        return
    assert found != message
    assert encode(found) == bytes(encoded)


def test_another_encoding_of_the_same_message_is_refused() -> None:
    longer = msgspec.msgpack.encode(msgspec.msgpack.decode(encode(MESSAGES[9])))
    assert longer == encode(MESSAGES[9])
    body = bytearray(longer)
    round_at = body.index(D) + 32
    assert body[round_at] == 3
    with pytest.raises(MalformedMessage, match="canonical"):
        decode_message(bytes(body[:round_at]) + b"\xcc\x03" + bytes(body[round_at + 1 :]))


@pytest.mark.parametrize("n", range(3, 65))
def test_the_longest_honest_message_is_within_the_bound(n: int) -> None:
    """A late Propose whose n - t Statuses each carry a certificate that all signed."""
    digest, most = bytes([255]) * 32, 2**31
    full = tuple((i, digest) for i in range(n))
    value = SetValue(digest, full, full, full)
    certificate = Certificate(most, value, tuple((i, bytes(64)) for i in range(n)))
    status = encode(Status(digest, 2**63, most, SET, certificate))
    needed = n - Parameters.of_size(n).privacy_threshold
    statuses = tuple(Envelope(i, status, bytes(64)) for i in range(needed))
    body = encode(Propose(digest, 2**63, most, SET, value, statuses))
    assert len(body) <= longest_message(n)
    longest = encode(Envelope(n - 1, body, bytes(64)))
    assert len(longest) <= MAX_MESSAGE_BYTES < Limits().max_announcement_bytes
    assert decode_envelope(longest).sender == n - 1


def test_a_message_beyond_the_bound_is_not_even_decoded() -> None:
    with pytest.raises(MalformedMessage, match="at most"):
        decode_message(bytes(MAX_MESSAGE_BYTES + 1))
