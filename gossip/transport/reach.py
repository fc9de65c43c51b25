"""Whether a member can be reached, as another member sees it: it asks, the other dials its registered address.

PROBE{} -> PROBED{clock, reason}: the other's clock, and nothing or why the dial failed.  Only the address that the
registry shows is ever dialled, and one probe at a time for each member, so that nobody can have others dialled.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from gossip.errors import MalformedMessage
from gossip.transport.frames import FrameType
from gossip.transport.interface import Limits
from gossip.transport.streams import Stream

REACH: Final = "/mycelia/reach/1.0.0"
UNIX_CLOCK: Final = struct.Struct(">d")
BUSY: Final = "it is trying already"


@dataclass(frozen=True, slots=True)
class View:
    """What another member saw.

    Attributes:
        reason: why this node could not be reached at its registered address; empty if it could.
        clock: seconds since 1970 at the other member when it answered.
    """

    reason: str
    clock: float


class Reach:
    """Both ends of a probe.

    Args:
        dial: tries to reach a peer; why it failed, or an empty text.
        clock: seconds since 1970.
    """

    def __init__(self, limits: Limits, dial: Callable[[str], Awaitable[str]], clock: Callable[[], float]) -> None:
        self._limits = limits
        self._dial = dial
        self._clock = clock
        self._under_way: set[str] = set()

    async def ask(self, stream: Stream) -> View:
        """How the peer at the other end of the stream sees this node.

        Raises:
            PeerUnreachable: the stream broke, or the peer was too slow.
            MalformedMessage: the peer answered with something else.
        """
        longest = UNIX_CLOCK.size + self._limits.max_reason_bytes
        await stream.write_frame(FrameType.PROBE, b"", seconds=self._limits.chunk_seconds)
        _, body = await stream.read_frame({FrameType.PROBED: longest}, seconds=self._limits.chunk_seconds)
        if len(body) < UNIX_CLOCK.size:
            raise MalformedMessage(f"an answer to a probe has at least {UNIX_CLOCK.size} bytes, found {len(body)}")
        (clock,) = UNIX_CLOCK.unpack_from(body)
        return View(body[UNIX_CLOCK.size :].decode(errors="replace"), clock)

    async def serve(self, stream: Stream, peer_id: str) -> None:
        """Dials the peer that asks.

        Raises:
            PeerUnreachable: the stream broke.
            MalformedMessage: the peer said something else.
        """
        await stream.read_frame({FrameType.PROBE: 0}, seconds=self._limits.chunk_seconds)
        reason = BUSY
        if peer_id not in self._under_way:
            self._under_way.add(peer_id)
            try:
                reason = await self._dial(peer_id)
            finally:
                self._under_way.discard(peer_id)
        text = reason.encode()[: self._limits.max_reason_bytes]
        await stream.write_frame(
            FrameType.PROBED, UNIX_CLOCK.pack(self._clock()), text, seconds=self._limits.chunk_seconds
        )
