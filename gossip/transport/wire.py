"""One TCP connection: read ahead, written whole or not at all, and closed at any moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import trio
from libp2p.abc import ConnectionType, IRawConnection
from libp2p.io.exceptions import ConnectionClosedError

READ_AHEAD_BYTES: Final = 256 * 1024
"""A system call for four messages instead of two for each."""

HANDSHAKE_BYTES: Final = 16 * 1024
"""More than any handshake needs.  py-libp2p would read a length prefix of 2**63 as long as bytes arrive."""


@dataclass(slots=True)
class Meter:
    """Bytes that crossed the network."""

    received: int = 0
    sent: int = 0


class Pipe(Protocol):
    """What carries bytes: a socket, or a stream through a relay."""

    async def receive_some(self, max_bytes: int) -> bytes: ...

    async def send_all(self, data: bytes) -> None: ...

    def abort(self) -> None: ...


class SocketPipe:
    """A socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)

    def abort(self) -> None:
        self._stream.socket.close()


class Wire(IRawConnection):  # type: ignore[misc]
    """A socket, or what stands for one, under a Noise session.

    `stall_seconds` bounds one write.  A write is never cancelled half way, since the peer could not decrypt
    anything that comes after it; one that stalls closes the connection.
    """

    def __init__(self, pipe: Pipe, *, is_initiator: bool, stall_seconds: float, meter: Meter) -> None:
        self.is_initiator = is_initiator
        self.last_received = trio.current_time()
        self._pipe = pipe
        self._stall_seconds = stall_seconds
        self._meter = meter
        self._allowance: int | None = HANDSHAKE_BYTES
        self._ahead = b""
        self._taken = 0
        self._closed = False
        self._ended = False

    def admit(self) -> None:
        """Lifts the bound on received bytes that holds during the handshake."""
        self._allowance = None

    async def read(self, n: int | None = None) -> bytes:
        """At least one byte and at most `n`.

        Raises:
            ConnectionClosedError: closed by either side, or more bytes than a handshake has.
        """
        if self._taken == len(self._ahead):
            await self._fill()
        end = len(self._ahead) if n is None else min(self._taken + n, len(self._ahead))
        data = self._ahead[self._taken : end]
        self._taken = end
        return data

    def take_nowait(self, n: int) -> bytes | None:
        """Exactly `n` bytes, if they are here."""
        end = self._taken + n
        if end > len(self._ahead):
            return None
        data = self._ahead[self._taken : end]
        self._taken = end
        return data

    async def take(self, n: int) -> bytes:
        """Exactly `n` bytes.

        Raises:
            ConnectionClosedError: closed by either side.
        """
        pieces: list[bytes] = []
        while (last := self.take_nowait(n)) is None:
            pieces.append(self._ahead[self._taken :])
            n -= len(pieces[-1])
            await self._fill()
        return b"".join((*pieces, last)) if pieces else last

    async def _fill(self) -> None:
        wanted = READ_AHEAD_BYTES if self._allowance is None else min(READ_AHEAD_BYTES, self._allowance)
        if wanted == 0:
            self.abort()
            raise ConnectionClosedError("more bytes than a handshake has")
        try:
            data = await self._pipe.receive_some(wanted)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._ended = True
            raise ConnectionClosedError("connection closed") from error
        if not data:
            self._ended = True
            raise ConnectionClosedError("closed by the peer")
        self._ahead, self._taken = data, 0
        self.last_received = trio.current_time()
        self._meter.received += len(data)
        if self._allowance is not None:
            self._allowance -= len(data)

    async def write(self, data: bytes) -> None:
        """Hands all of `data` to the kernel.

        Raises:
            ConnectionClosedError: closed by either side, or the peer does not read.
        """
        deadline = trio.current_time() + self._stall_seconds
        with trio.CancelScope(deadline=deadline, shield=True):
            try:
                await self._pipe.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._ended = True
                raise ConnectionClosedError("connection closed") from error
            self._meter.sent += len(data)
            return
        self.abort()
        raise ConnectionClosedError("the peer does not read")

    def abort(self) -> None:
        """Closes the socket now; whoever reads or writes gets an error."""
        self._closed = True
        self._pipe.abort()

    @property
    def is_closed(self) -> bool:
        """Whether this side closed it."""
        return self._closed

    @property
    def has_ended(self) -> bool:
        """Whether it was closed, by either side, or broke."""
        return self._closed or self._ended

    async def close(self) -> None:
        self.abort()

    def get_remote_address(self) -> tuple[str, int] | None:
        return None

    def get_transport_addresses(self) -> list[Any]:
        return []

    def get_connection_type(self) -> Any:
        return ConnectionType.DIRECT
