"""An attacker from outside: sockets and bytes of its own, nothing of the node's transport or of py-libp2p.

It can be anybody who can reach the port, or a member gone bad who knows its own node key.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from noise.connection import Keypair, NoiseConnection  # type: ignore[import-untyped]

MULTISTREAM, NOISE, YAMUX = "/multistream/1.0.0", "/noise", "/yamux/1.0.0"
CONTROL, TRANSFER = "/mycelia/control/1.0.0", "/mycelia/transfer/1.0.0"
DATA, WINDOW, PING, GO_AWAY = 0, 1, 2, 3
SYN, ACK, FIN, RST = 1, 2, 4, 8
ANNOUNCE_FRAME, PING_FRAME, OFFER_FRAME, CHUNK_FRAME = 1, 2, 4, 8
PATIENCE_SECONDS: Final = 10.0


def line(text: str) -> bytes:
    """A multistream-select message."""
    return bytes([len(text) + 1]) + text.encode() + b"\n"


def yamux(kind: int, flags: int, stream: int, length: int) -> bytes:
    """A yamux header, true or not."""
    return struct.pack(">BBHII", 0, kind, flags, stream, length)


def frame(kind: int, body: bytes, size: int | None = None) -> bytes:
    """A frame of ours, whose head may lie about its size."""
    return struct.pack(">4sBI", b"MYC1", kind, len(body) if size is None else size) + body


def position(session: int, number: int) -> bytes:
    return struct.pack(">QQ", session, number)


def public_key_of(node_key: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(node_key).public_key().public_bytes_raw()


def credentials(public_key: bytes, signature: bytes) -> bytes:
    """The payload that proves an identity in a Noise handshake, true or not."""
    key = b"\x08\x01\x12\x20" + public_key
    return b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(signature)]) + signature


class Attacker:
    """One TCP connection to a node, and as much of the protocol as the attack needs."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._noise: Any = None
        self._sent: list[bytes] = []
        self._plain = b""
        self._raw = b""

    async def is_cut(self) -> bool:
        """Whether the node ended the connection, now or within patience; what it still says is thrown away."""
        with trio.move_on_after(PATIENCE_SECONDS):
            try:
                while await self.stream.receive_some():
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            return True
        return False

    # --- in the clear ----------------------------------------------------------------------------------------------

    async def take(self, size: int) -> bytes:
        """Exactly `size` bytes as they come off the wire."""
        while len(self._raw) < size:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._raw += data
        found, self._raw = self._raw[:size], self._raw[size:]
        return found

    async def ask_for(self, protocol: str) -> bytes:
        """What the node answers to a security protocol."""
        await self.stream.send_all(line(MULTISTREAM) + line(protocol))
        await self.take(len(line(MULTISTREAM)))
        (size,) = await self.take(1)
        return (await self.take(size)).rstrip(b"\n")

    async def begin_noise(self) -> tuple[Any, bytes]:
        """The first of the three messages; the answer, half of a handshake, is left unread."""
        assert await self.ask_for(NOISE) == NOISE.encode()
        own = X25519PrivateKey.generate()
        noise = NoiseConnection.from_name(b"Noise_XX_25519_ChaChaPoly_SHA256")
        noise.set_as_initiator()
        noise.set_keypair_from_private_bytes(Keypair.STATIC, own.private_bytes_raw())
        noise.start_handshake()
        await self._send_message(bytes(noise.write_message(b"")))
        return noise, own.public_key().public_bytes_raw()

    async def secure(self, node_key: bytes, claim: bytes | None = None) -> None:
        """The whole handshake, under the own name or that of whoever has the public key `claim`."""
        await self.finish(*await self.begin_noise(), node_key, claim)

    async def finish(self, noise: Any, static: bytes, node_key: bytes, claim: bytes | None = None) -> None:
        """The rest of a handshake."""
        noise.read_message(await self._take_message())
        signature = Ed25519PrivateKey.from_private_bytes(node_key).sign(b"noise-libp2p-static-key:" + static)
        await self._send_message(bytes(noise.write_message(credentials(claim or public_key_of(node_key), signature))))
        self._noise = noise

    async def _send_message(self, data: bytes) -> None:
        await self.stream.send_all(struct.pack(">H", len(data)) + data)

    async def _take_message(self) -> bytes:
        (size,) = struct.unpack(">H", await self.take(2))
        return await self.take(size)

    # --- as a member -----------------------------------------------------------------------------------------------

    async def say(self, *parts: bytes) -> None:
        """Encrypted bytes, in one Noise message."""
        data = bytes(self._noise.encrypt(b"".join(parts)))
        self._sent.append(data)
        await self._send_message(data)

    async def say_again(self, index: int = -1) -> None:
        """A message that was sent before, byte for byte as it was encrypted then."""
        await self._send_message(self._sent[index])

    async def hear(self, size: int) -> bytes:
        """Exactly `size` decrypted bytes."""
        while len(self._plain) < size:
            self._plain += bytes(self._noise.decrypt(await self._take_message()))
        found, self._plain = self._plain[:size], self._plain[size:]
        return found

    async def join(self, node_key: bytes) -> None:
        """A connection like a member's, up to its streams."""
        await self.secure(node_key)
        await self.say(line(MULTISTREAM) + line(YAMUX))
        expected = line(MULTISTREAM) + line(YAMUX)
        assert await self.hear(len(expected)) == expected

    async def open(self, stream: int, protocol: str) -> None:
        """A stream, without waiting for its acknowledgement."""
        hello = line(MULTISTREAM) + line(protocol)
        await self.say(yamux(WINDOW, SYN, stream, 0), yamux(DATA, 0, stream, len(hello)), hello)

    async def send(self, stream: int, data: bytes) -> None:
        """Data on a stream, with no regard for its window."""
        for at in range(0, len(data), 60_000):
            piece = data[at : at + 60_000]
            await self.say(yamux(DATA, 0, stream, len(piece)), piece)


@asynccontextmanager
async def attacker(port: int, source: str = "127.0.0.9") -> AsyncIterator[Attacker]:
    """A connection from an address of its own."""
    with trio.fail_after(PATIENCE_SECONDS):
        stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=source)
    async with stream:
        yield Attacker(stream)


@asynccontextmanager
async def false_member(port: int, node_key: bytes) -> AsyncIterator[Attacker]:
    """A member's connection in the hands of an attacker."""
    async with attacker(port) as one:
        with trio.fail_after(PATIENCE_SECONDS):
            await one.join(node_key)
        yield one
