"""Payloads over real connections: resumed where they broke off, made on the fly, and never more than a few chunks."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio

from gossip.errors import PeerUnreachable, TransferRefused
from gossip.spec import digest
from gossip.transport import Limits
from gossip.transport.interface import MIB
from gossip.transport.payloads import Made, Memory, Piece
from gossip.transport.transfer import START
from tests.helpers.attacker import CHUNK_FRAME, OFFER_FRAME, TRANSFER, false_member, frame
from tests.helpers.transports import ALICE, BOB, QUICK, Node, pair, running, until

pytestmark = [pytest.mark.network, pytest.mark.trio]

PAYLOAD = random.Random(3).randbytes(12 * MIB + 5)
SHARE, BLOB = digest("share", PAYLOAD), digest("blob", PAYLOAD)
WINDOW = QUICK.window_chunks * QUICK.chunk_bytes


class Valve(Memory):
    """A sink that takes so many pieces and then waits to be opened, like a disk that has trouble."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.written: list[int] = []
        self.discarded = 0
        self._free = threading.Semaphore(pieces)

    def write(self, piece: bytes) -> None:
        assert self._free.acquire(timeout=10)
        super().write(piece)
        self.written.append(len(piece))

    def discard(self) -> None:
        super().discard()
        self.discarded += 1

    def open(self) -> None:
        self._free.release(10_000)


async def push(alice: Node, bob: Node, payload: bytes | Made = PAYLOAD, name: bytes = SHARE) -> None:
    """As a node does: again after a broken connection."""
    for _ in range(50):
        with suppress(PeerUnreachable):
            return await alice.transport.push(bob.transport.peer_id, b"h", payload, name)
        await trio.sleep(0.02)
    raise AssertionError("the payload never arrived")


def cut(alice: Node) -> None:
    for peer in alice.transport._peers.values():
        for connection in peer.connections:
            connection.close()


async def test_push_goes_on_behind_what_arrived_before_the_connection_broke() -> None:
    async with pair() as (alice, bob):
        valve = Valve(7)
        bob.make_sink = lambda: valve
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push, alice, bob)
            await until(lambda: len(valve.written) == 7)
            cut(alice)
            valve.open()
            await until(lambda: bob.seen("lost"))
        assert bob.seen("payload") == [(b"h", PAYLOAD)]
        assert sum(valve.written) == len(PAYLOAD)
        assert valve.discarded == 0


async def test_payload_made_on_the_fly_is_made_piece_by_piece_and_again_only_where_it_broke_off() -> None:
    made: list[int] = []

    def make() -> Iterator[Piece]:
        for at in range(0, len(PAYLOAD), MIB):
            made.append(at)
            yield PAYLOAD[at : at + MIB]

    async with pair() as (alice, bob):
        valve = Valve(2)
        bob.make_sink = lambda: valve
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push, alice, bob, Made(len(PAYLOAD), make))
            await until(lambda: len(valve.written) == 2)
            await until(lambda: bob.transport.statistics().bytes_received > WINDOW)
            assert len(made) <= 2 + QUICK.window_chunks + 3
            valve.open()
        assert bob.seen("payload") == [(b"h", PAYLOAD)]


async def test_made_payload_begins_at_any_offset() -> None:
    source = Made(10, lambda: iter((b"abcd", b"efgh", b"ij")))
    for offset in range(11):
        assert b"".join(source.pieces(offset)) == b"abcdefghij"[offset:]


async def test_slow_disk_slows_the_sender_and_nothing_else() -> None:
    async with pair() as (alice, bob):
        valve = Valve(1)
        bob.make_sink = lambda: valve
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push, alice, bob)
            await until(lambda: len(valve.written) == 1)
            await until(lambda: bob.transport.statistics().bytes_received > WINDOW)
            alice.transport.announce(b"meanwhile")
            await until(lambda: bob.seen("heard"))
            await alice.transport.flush(5)
            assert bob.transport.statistics().bytes_received < MIB + WINDOW + MIB
            valve.open()
        assert bob.seen("payload") == [(b"h", PAYLOAD)]
        assert not bob.seen("lost")


async def test_fetch_goes_on_behind_what_arrived_before_the_connection_broke() -> None:
    async with pair() as (alice, bob):
        bob.blobs[BLOB] = PAYLOAD
        download = alice.transport.new_download(len(PAYLOAD))
        got: list[bytes] = []

        async def fetch() -> None:
            while not got:
                with suppress(PeerUnreachable):
                    got.append(await alice.transport.fetch(bob.transport.peer_id, BLOB, len(PAYLOAD), download))
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch)
            await until(lambda: download.offset >= 2 * MIB)
            cut(alice)
            await until(lambda: alice.seen("lost"))
            before = download.offset
            assert before >= 2 * MIB
        assert got == [PAYLOAD]
        assert alice.transport.statistics().bytes_received < len(PAYLOAD) + WINDOW + 2 * MIB


async def test_liars_part_of_a_blob_spoils_no_later_fetch() -> None:
    async with pair() as (alice, bob):
        bob.blobs[BLOB] = PAYLOAD[:-1] + b"?"
        download = alice.transport.new_download(len(PAYLOAD))
        with pytest.raises(TransferRefused, match="digest"):
            await alice.transport.fetch(bob.transport.peer_id, BLOB, len(PAYLOAD), download)
        bob.blobs[BLOB] = PAYLOAD
        assert await alice.transport.fetch(bob.transport.peer_id, BLOB, len(PAYLOAD), download) == PAYLOAD


async def test_member_that_sends_more_than_was_granted_is_cut() -> None:
    limits = Limits(chunk_bytes=1000, window_chunks=2, redial_min_seconds=0.02)
    alice, bob = Node(ALICE, limits), Node(BOB, port=1)
    valve = Valve(0)
    alice.make_sink = lambda: valve
    async with running(alice):
        alice.admit(bob)
        async with false_member(alice.port, BOB) as one:
            await one.open(1, TRANSFER)
            size = 20_000
            await one.send(1, frame(OFFER_FRAME, size.to_bytes(8, "big") + bytes(32)))
            for _ in range(12):
                await one.send(1, frame(CHUNK_FRAME, bytes(1000)))
            await until(lambda: alice.transport.statistics().bytes_received > 12_000)
            valve.open()
            assert await one.is_cut()
        await until(lambda: alice.faults(bob) == {"overrun": 1})
        assert sum(valve.written) <= 2 * 1000
        assert not alice.seen("payload")


async def test_started_payloads_of_one_peer_are_few_and_go_when_it_is_removed() -> None:
    alice, bob = Node(ALICE), Node(BOB, port=1)
    sinks: list[Valve] = []

    def make_sink() -> Valve:
        sinks.append(Valve(10_000))
        return sinks[-1]

    alice.make_sink = make_sink
    async with running(alice):
        alice.admit(bob)
        for number in range(9):
            async with false_member(alice.port, BOB) as one:
                await one.open(1, TRANSFER)
                await one.send(1, frame(OFFER_FRAME, (5000).to_bytes(8, "big") + bytes([number]) * 32))
                await one.send(1, frame(CHUNK_FRAME, bytes(1000)))
                await until(lambda number=number: len(sinks) == number + 1 and sinks[number].written)  # type: ignore[misc]
            await until(lambda: not alice.transport.connected)
        assert [sink.discarded for sink in sinks] == [1] * 5 + [0] * 4
        alice.admit()
        assert [sink.discarded for sink in sinks] == [1] * 9


async def test_offset_beyond_the_payload_costs_a_member_its_connection() -> None:
    alice, bob = Node(ALICE), Node(BOB, port=1)
    alice.blobs[BLOB] = b"12345"
    async with running(alice):
        alice.admit(bob)
        async with false_member(alice.port, BOB) as one:
            await one.open(1, TRANSFER)
            await one.send(1, frame(5, (5).to_bytes(8, "big") + BLOB + START.pack(6, 6)))
            assert await one.is_cut()
        assert alice.faults(bob) == {"malformed": 1}
