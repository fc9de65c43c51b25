from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossip import events
from gossip.errors import MalformedMessage
from gossip.messages import Envelope
from gossip.values import RoundResult
from node.errors import StoreError
from node.eventlog import decode_event, encode_event
from node.frames import Summary, decode_frame, encode_frame, short_id

ENVELOPE = Envelope(3, b"body", bytes(64))
RESULT = RoundResult(1, 1, 1, bytes(32), bytes(32), 7, bytes(32), bytes(32), (1, -2), bytes(32), bytes(16))
EVENTS = [
    events.Heard(ENVELOPE),
    events.Ticked(),
    events.PeerUp(1),
    events.Working(1),
    events.PeerDown(2),
    events.ShareArrived(1, bytes(32)),
    events.PayloadArrived(bytes(32)),
    events.Dealt((bytes(32), b"\1" * 32)),
    events.Proved(1, b"polynomials"),
    events.ShareChecked(2, bytes(32), bytes([1]) * 32, True),
    events.ComplaintChecked(0, 1, 2, False),
    events.Summed((bytes(32), bytes(32))),
    events.Rebuilt(3, None, (1,)),
    events.ChecksAnswered(((1, bytes(32), bytes(18)),)),
    events.PieceChecked(2, bytes(32), False, (1,)),
    events.Decoded(None, "reason", b""),
    events.Answered(((0, 5), (1, 7))),
    events.ScoresOpened((1, -2), ()),
    events.Composed(RESULT),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_event_is_read_back_as_it_was_logged(event: events.Event) -> None:
    assert decode_event(encode_event(event)) == event


def test_every_kind_of_event_can_be_logged() -> None:
    assert {type(event) for event in EVENTS} == set(events.Event.__args__)


@pytest.mark.parametrize("data", [b"", b"\x92\xa5Party\xc0", b"\x92\xa6Ticked\x05", b"\xc1"])
def test_log_entry_of_another_version_is_named(data: bytes) -> None:
    with pytest.raises(StoreError):
        decode_event(data)


def test_frames_are_read_back() -> None:
    summary = Summary(3, "AGREE", False, 7, short_id(ENVELOPE))
    assert decode_frame(encode_frame(ENVELOPE)) == ENVELOPE
    assert decode_frame(encode_frame(summary)) == summary
    assert summary.has() == {short_id(ENVELOPE)}


@given(st.binary(max_size=200))
@example(data=b"\xdc\x00\x04\x00\xa2\x00\x80")  # a phase that is no UTF-8
def test_bytes_that_are_no_frame_are_malformed_and_nothing_else(data: bytes) -> None:
    for prefix in (b"", b"E", b"S"):
        try:
            decode_frame(prefix + data)
        except MalformedMessage:
            continue


@pytest.mark.parametrize("ids", [b"1234567", bytes(8 * 16_385)])
def test_summary_of_other_than_whole_bounded_ids_is_malformed(ids: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_frame(b"S" + encode_frame_body(ids))


def encode_frame_body(ids: bytes) -> bytes:
    import msgspec

    return msgspec.msgpack.encode((1, "OPEN", False, ids))
