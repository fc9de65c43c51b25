"""yamux with a bound on what a peer may leave unread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from libp2p.stream_muxer.yamux.yamux import Yamux

MAX_STREAMS: Final = 256
"""Streams that a connection keeps account of, those included that a peer opened and never closes."""


class WindowOverrun(trio.TooSlowError):
    """A peer sent far more than it was allowed to.

    Of the errors that can arise while py-libp2p reads a frame, it closes the connection on `TooSlowError`
    alone, and carries on after any other.
    """


class BoundedYamux(Yamux):  # type: ignore[misc]
    """A connection of many streams.

    Attributes:
        overrun: the peer sent more than `max_unread_bytes` that nobody read.
        broke: the muxer gave the connection up for what the peer sent, while both sides still had it open.

    py-libp2p only logs a peer that ignores its window: 200 MB sent into a window of 256 KB were all kept.
    """

    def __init__(
        self,
        session: Any,
        peer_id: Any,
        *,
        is_initiator: bool,
        max_unread_bytes: int,
        has_ended: Callable[[], bool],
    ) -> None:
        super().__init__(session, peer_id, is_initiator=is_initiator)
        self.overrun = False
        self.broke = False
        self._has_ended = has_ended
        self._max_unread_bytes = max_unread_bytes

    async def _read_data_body(self, length: int) -> bytes:
        if sum(map(len, self.stream_buffers.values())) + length > self._max_unread_bytes:
            self.overrun = True
            raise WindowOverrun
        body: bytes = await super()._read_data_body(length)
        return body

    async def _cleanup_on_error(self) -> None:
        self.broke |= not self._has_ended()
        await super()._cleanup_on_error()
