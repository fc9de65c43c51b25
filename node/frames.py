"""What nodes announce to each other beside envelopes: which envelopes they have, and where they are."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from gossip.errors import MalformedMessage
from gossip.messages import UNREADABLE, Envelope, decode_envelope
from gossip.values import encode

ENVELOPE, SUMMARY = b"E", b"S"
_ID_BYTES = 16  # nobody makes two statements of one id
MOST_IDS = 16_384
"""Envelopes that one summary lists."""


class Summary(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Sent every second: what this node has, so that the other can send what it lacks.

    Attributes:
        round: the round it is in.
        phase: how far it has come there.
        is_finished: its last round is over and recorded.
        work: grows while it trains.
        ids: the first bytes of the id of every envelope that it has of this round and the one before.
    """

    round: int
    phase: str
    is_finished: bool
    work: int
    ids: bytes

    def __post_init__(self) -> None:
        if len(self.ids) > MOST_IDS * _ID_BYTES or len(self.ids) % _ID_BYTES:
            raise MalformedMessage(f"a summary lists at most {MOST_IDS} whole ids")
        if self.round < 0 or self.work < 0 or len(self.phase) > 16:
            raise MalformedMessage("a summary names a round and a phase")

    def has(self) -> frozenset[bytes]:
        return frozenset(self.ids[i : i + _ID_BYTES] for i in range(0, len(self.ids), _ID_BYTES))


@lru_cache(maxsize=8192)
def short_id(envelope: Envelope) -> bytes:
    return envelope.id[:_ID_BYTES]


def encode_frame(item: Envelope | Summary) -> bytes:
    """One announcement."""
    return (ENVELOPE if isinstance(item, Envelope) else SUMMARY) + encode(item)


def decode_frame(data: bytes) -> Envelope | Summary:
    """The announcement in `data`.

    Raises:
        MalformedMessage: it is none.
    """
    if data[:1] == ENVELOPE:
        return decode_envelope(data[1:])
    if data[:1] != SUMMARY:
        raise MalformedMessage("an announcement is an envelope or a summary")
    try:
        return msgspec.msgpack.decode(data[1:], type=Summary)
    except UNREADABLE as error:
        raise MalformedMessage(f"not a summary: {error}") from error
