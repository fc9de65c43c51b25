"""A Noise session: whole messages over a wire, each decrypted once and handed out in slices.

py-libp2p's own reads a length and a body with a call each and copies a byte four times on its way to a stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import trio
from libp2p.abc import ISecureConn
from libp2p.io.exceptions import ConnectionClosedError

from gossip.transport.wire import Wire

LENGTH_BYTES: Final = 2
MAX_PLAIN_BYTES: Final = 65535 - 16
"""What fits into one Noise message beside its tag."""

MESSAGE_SECONDS: Final = 60.0
"""For a message that has begun; a connection without a byte is cut long before."""


class Session(ISecureConn):  # type: ignore[misc]
    """What a handshake ended with.

    Args:
        secured: py-libp2p's session, of which nothing was read or written yet.
    """

    def __init__(self, wire: Wire, secured: Any) -> None:
        self.is_initiator = wire.is_initiator
        self._wire = wire
        self._secured = secured
        self._noise = secured.conn.noise_state
        self._plain = memoryview(b"")

    async def read(self, n: int | None = None) -> bytes:
        """Exactly `n` bytes; where that is None, the rest of the message that is being read, or the next.

        Raises:
            ConnectionClosedError: closed by either side.
            NoiseInvalidMessage: nobody who knows the key wrote this.
            TooSlowError: a message that had begun did not end.
        """
        if not self._plain:
            await self._next()
        left = len(self._plain) if n is None else n
        pieces: list[memoryview] = []
        while (last := self.take_nowait(left)) is None:
            pieces.append(self._plain)
            left -= len(self._plain)
            await self._next()
        return b"".join((*pieces, last))

    def take_nowait(self, n: int) -> memoryview | None:
        """The next `n` bytes, if they are in the message that is being read."""
        if len(self._plain) < n:
            return None
        data, self._plain = self._plain[:n], self._plain[n:]
        return data

    async def _next(self) -> None:
        size = int.from_bytes(await self._wire.take(LENGTH_BYTES), "big")
        message = self._wire.take_nowait(size)
        if message is None:
            with trio.fail_after(MESSAGE_SECONDS):
                message = await self._wire.take(size)
        plain = self._noise.decrypt(message)
        if not plain:
            raise ConnectionClosedError("the peer said nothing, encrypted")
        self._plain = memoryview(plain)

    async def write(self, data: bytes) -> None:
        """Sends `data`, in as many messages as it needs.

        Raises:
            ConnectionClosedError: closed by either side, or the peer does not read.
        """
        view = memoryview(data)
        await self.write_all(bytes(view[at : at + MAX_PLAIN_BYTES]) for at in range(0, len(view), MAX_PLAIN_BYTES))

    async def write_all(self, messages: Iterable[bytes]) -> None:
        """Sends each in a message of its own, all in one call of the kernel.

        Raises:
            ConnectionClosedError: closed by either side, or the peer does not read.
        """
        parts: list[bytes] = []
        for message in messages:
            sealed = self._noise.encrypt(message)
            parts += (len(sealed).to_bytes(LENGTH_BYTES, "big"), sealed)
        await self._wire.write(b"".join(parts))

    async def close(self) -> None:
        await self._wire.close()

    def get_local_peer(self) -> Any:
        return self._secured.get_local_peer()

    def get_local_private_key(self) -> Any:
        return self._secured.get_local_private_key()

    def get_remote_peer(self) -> Any:
        return self._secured.get_remote_peer()

    def get_remote_public_key(self) -> Any:
        return self._secured.get_remote_public_key()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._wire.get_remote_address()

    def get_transport_addresses(self) -> list[Any]:
        return self._wire.get_transport_addresses()

    def get_connection_type(self) -> Any:
        return self._wire.get_connection_type()
