"""Transports on loopback, and what their handlers saw."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from gossip.errors import MalformedMessage
from gossip.transport import Limits, PeerAddress
from gossip.transport.host import Transport
from gossip.transport.payloads import Memory, Sink, Source, Stored

HOST: Final = "127.0.0.1"
PATIENCE_SECONDS: Final = 8.0
QUICK: Final = Limits(redial_min_seconds=0.02, redial_max_seconds=0.2, head_start_seconds=0.05)
ALICE, BOB, CAROL = (bytes([letter]) * 32 for letter in b"abc")


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110  (nothing tells when a counter changes)
            await trio.sleep(0.005)


class Node:
    """A transport and what its handlers saw."""

    def __init__(self, key: bytes, limits: Limits = QUICK, port: int = 0, *, relay: bool = False) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.blobs: dict[bytes, bytes] = {}
        self.verdict: str | None = None
        self.make_sink: Callable[[], Sink] = Memory
        self.transport = Transport(key, HOST, port, self, limits, relay=relay)
        self.port = port

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.transport.peer_id, HOST, self.port)

    def admit(self, *others: Node) -> None:
        self.transport.admit([other.address for other in others])

    def seen(self, kind: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == kind]

    def faults(self, other: Node) -> dict[str, int]:
        return dict(self.transport.statistics().faults.get(other.transport.peer_id, {}))

    def on_connected(self, peer_id: str) -> None:
        self.calls.append(("connected", peer_id))

    def on_lost(self, peer_id: str) -> None:
        self.calls.append(("lost", peer_id))

    def on_announcement(self, peer_id: str, message: bytes) -> None:
        if message == b"forged":
            raise MalformedMessage("not a message", peer=peer_id)
        self.calls.append(("heard", peer_id, message))

    def on_gap(self, peer_id: str) -> None:
        self.calls.append(("gap", peer_id))

    def judge_offer(self, peer_id: str, header: bytes, size: int, digest: bytes) -> str | None:
        self.calls.append(("offered", header, size, digest))
        return self.verdict

    def open_sink(self, size: int) -> Sink:
        return self.make_sink()

    async def on_payload(self, peer_id: str, header: bytes, payload: Sink) -> None:
        self.calls.append(("payload", header, payload.take()))

    async def find_blob(self, peer_id: str, digest: bytes) -> Source | None:
        self.calls.append(("wanted", digest))
        return Stored(self.blobs[digest]) if digest in self.blobs else None


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        for node in nodes:
            node.port = await nursery.start(node.transport.run)
        yield nursery
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def pair(limits: Limits = QUICK) -> AsyncIterator[tuple[Node, Node]]:
    alice, bob = Node(ALICE, limits), Node(BOB, limits)
    async with running(alice, bob):
        alice.admit(bob)
        bob.admit(alice)
        await until(lambda: alice.transport.connected and bob.transport.connected)
        yield alice, bob


def is_closed_by(stream: trio.SocketStream) -> Callable[[], bool]:
    """Reads nothing; tells whether the other side closed the socket."""

    def check() -> bool:
        try:
            return not stream.socket._sock.recv(65536)  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except OSError:
            return True

    return check


def line(text: str) -> bytes:
    """A multistream-select message."""
    return bytes([len(text) + 1]) + text.encode() + b"\n"
