"""Frames on a stream: magic, type, length, body; the length is checked before a byte of the body is read."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gossip.errors import MalformedMessage

MAGIC: Final = b"MYC1"
HEAD: Final = struct.Struct(">4sBI")
OFFER: Final = struct.Struct(">Q32s")
POSITION: Final = struct.Struct(">QQ")
DIGEST_BYTES: Final = 32


class FrameType(IntEnum):
    """What a frame carries; which ones may come next depends on the stream and its state."""

    ANNOUNCE = 1
    """Position of the announcement, then the message."""
    PING = 2
    """Position of the last announcement that was sent or dropped, then 8 bytes to be echoed."""
    PONG = 3
    """The 8 bytes of a ping."""
    OFFER = 4
    """Size and digest of a payload, then the header that describes it."""
    WANT = 5
    """Size and digest of a blob that the other side may have."""
    ACCEPT = 6
    """Offset from which the payload is to be sent, and up to which byte that is granted, 8 bytes each."""
    REJECT = 7
    """The reason, UTF-8."""
    CHUNK = 8
    """The next piece of the payload."""
    ACK = 9
    """Digest of the payload as it arrived."""
    PROBE = 10
    """Dial me; nothing else."""
    PROBED = 11
    """The other's clock, 8 bytes, and why the dial failed, UTF-8; nothing if it did not."""
    HOP = 13
    """PeerID of the member that a relay is to reach."""
    HOPPED = 14
    """The relay has reached it: what follows goes there."""
    GRANT = 12
    """Up to which byte of the payload its sender may go on, 8 bytes."""


Expected = Mapping[FrameType, int]
"""Types that may come next, and the longest body of each."""


def encode_head(kind: FrameType, size: int) -> bytes:
    """The 9 bytes before a body of `size` bytes."""
    return HEAD.pack(MAGIC, kind, size)


def decode_head(data: bytes, expected: Expected) -> tuple[FrameType, int]:
    """Type of a frame and length of its body.

    Raises:
        MalformedMessage: no frame, one that may not come now, or one that is too long.
    """
    magic, code, size = HEAD.unpack(data)
    if magic != MAGIC:
        raise MalformedMessage(f"a frame begins with {MAGIC!r}, found {magic!r}")
    kind = next((kind for kind in expected if kind == code), None)
    if kind is None:
        raise MalformedMessage(f"a frame of type {code} may not come here")
    if size > expected[kind]:
        raise MalformedMessage(f"a frame of type {kind.name} has at most {expected[kind]} bytes, found {size}")
    return kind, size


@dataclass(frozen=True, slots=True)
class Offer:
    """A payload that is offered (header: what it is) or asked for (no header)."""

    size: int
    digest: bytes
    header: bytes = b""

    def encode(self) -> bytes:
        return OFFER.pack(self.size, self.digest) + self.header

    @classmethod
    def decode(cls, data: bytes) -> Offer:
        """The offer in the body of a frame.

        Raises:
            MalformedMessage: too short.
        """
        if len(data) < OFFER.size:
            raise MalformedMessage(f"an offer has at least {OFFER.size} bytes, found {len(data)}")
        size, digest = OFFER.unpack_from(data)
        return cls(size, digest, data[OFFER.size :])


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the sequence of announcements that one peer makes to another.

    Attributes:
        session: drawn anew whenever the sender starts to count from 0; never 0.
        number: announcements so far.
    """

    session: int
    number: int

    def encode(self) -> bytes:
        return POSITION.pack(self.session, self.number)

    @classmethod
    def decode(cls, data: bytes) -> Position:
        """The position at the start of `data`.

        Raises:
            MalformedMessage: too short.
        """
        if len(data) < POSITION.size:
            raise MalformedMessage(f"a position has {POSITION.size} bytes, found {len(data)}")
        return cls(*POSITION.unpack_from(data))


class Sequence:
    """What a receiver knows of one peer's announcements: which comes next, and whether one is missing."""

    def __init__(self) -> None:
        self._last: Position | None = None

    def on_announcement(self, position: Position) -> tuple[bool, bool]:
        """Whether to deliver it, and whether others before it are missing."""
        last = self._last
        if last is None or last.session != position.session:
            self._last = position
            return True, last is not None or position.number > 1
        if position.number <= last.number:
            return False, False
        self._last = position
        return True, position.number > last.number + 1

    def on_ping(self, position: Position) -> bool:
        """Whether announcements up to `position` are missing."""
        if position.session == 0:  # a spare connection: it does not carry the announcements
            return False
        last = self._last
        if last is not None and last.session == position.session and position.number <= last.number:
            return False
        self._last = position
        return last is not None or position.number > 0
