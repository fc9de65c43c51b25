"""Real connections on loopback: admitted members reach each other, nobody else reaches anything."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from gossip.errors import LocalError, PeerUnreachable, TransferRefused
from gossip.spec import digest
from gossip.transport import Limits, PeerAddress, PortTaken, peer_id_of
from gossip.transport.frames import MAGIC, FrameType, Offer, Position, encode_head
from gossip.transport.handshake import Handshake
from gossip.transport.muxer import BoundedYamux
from gossip.transport.streams import CONTROL, TRANSFER, Stream
from gossip.transport.wire import Meter, SocketPipe, Wire
from tests.helpers.transports import (
    ALICE,
    BOB,
    CAROL,
    HOST,
    PATIENCE_SECONDS,
    QUICK,
    Node,
    is_closed_by,
    line,
    pair,
    running,
    until,
)

pytestmark = [pytest.mark.network, pytest.mark.trio]


# --- admission ----------------------------------------------------------------------------------------------


async def test_stranger_is_refused_before_any_handler_runs() -> None:
    alice, bob, stranger = Node(ALICE), Node(BOB), Node(CAROL)
    async with running(alice, bob, stranger):
        alice.admit(bob)
        stranger.admit(alice)
        await until(lambda: alice.transport.statistics().strangers_refused >= 3)
        assert alice.calls == []
        assert stranger.calls == []
        assert alice.transport.peer_id in stranger.transport.statistics().dial_failures


async def test_whoever_answers_under_a_members_address_must_be_that_member() -> None:
    alice, bob, other = Node(ALICE), Node(BOB), Node(CAROL)
    async with running(alice, other):
        bob.port = other.port
        alice.admit(bob, other)
        other.admit(alice)
        await until(lambda: bob.transport.peer_id in alice.transport.statistics().dial_failures)
        await until(lambda: alice.transport.connected)
        assert alice.transport.connected == {other.transport.peer_id}
        assert "Peer" in alice.transport.statistics().dial_failures[bob.transport.peer_id]


async def test_revocation_closes_the_connection_at_once_and_for_good() -> None:
    async with pair() as (alice, bob):
        alice.admit()
        assert alice.transport.connected == frozenset()
        bob.transport.announce(b"after")
        await until(lambda: bob.seen("lost"))
        await until(lambda: alice.transport.statistics().strangers_refused >= 2)
        assert bob.transport.connected == frozenset()
        assert [call[0] for call in alice.calls] == ["connected", "lost"]
        alice.admit(bob)
        await until(lambda: alice.transport.connected)


@pytest.mark.parametrize("protocol", ["/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0"])
async def test_nothing_but_noise_is_offered_to_an_impostor(protocol: str) -> None:
    alice, bob = Node(ALICE), Node(BOB, port=1)
    async with running(alice):
        alice.admit(bob)
        stream = await trio.open_tcp_stream(HOST, alice.port)
        async with stream:
            await stream.send_all(line("/multistream/1.0.0") + line("ls") + line(protocol))
            expected = line("/multistream/1.0.0") + line("/noise\n") + line("na")
            answer = b""
            with trio.fail_after(PATIENCE_SECONDS):
                while len(answer) < len(expected):
                    answer += await stream.receive_some()
        assert answer == expected
        assert alice.calls == []


# --- announcements ------------------------------------------------------------------------------------------


async def test_announcements_arrive_in_the_order_in_which_they_were_made() -> None:
    async with pair() as (alice, bob):
        messages = [b"%d" % number * 40 for number in range(1000)]
        for message in messages:
            alice.transport.announce(message)
        bob.transport.announce(b"x" * QUICK.max_announcement_bytes, to=alice.transport.peer_id)
        await until(lambda: len(bob.seen("heard")) == 1000 and alice.seen("heard"))
        assert [message for _, message in bob.seen("heard")] == messages
        assert not bob.seen("gap")
        assert await alice.transport.flush(PATIENCE_SECONDS) == frozenset()


async def test_peer_too_slow_for_the_queue_learns_that_it_missed_something() -> None:
    async with pair(Limits(max_queued_announcements=4, ping_seconds=0.1, redial_min_seconds=0.02)) as (alice, bob):
        for number in range(50):
            alice.transport.announce(b"%d" % number)
        await until(lambda: bob.seen("gap"))
        assert [message for _, message in bob.seen("heard")] == [b"0", b"1", b"2", b"3"]
        assert alice.transport.statistics().announcements_dropped == 46
        alice.transport.announce(b"next")
        await until(lambda: len(bob.seen("heard")) == 5)
        assert len(bob.seen("gap")) == 1


async def test_connection_on_which_much_is_said_still_gets_its_signs_of_life() -> None:
    """Without them each side takes the other for dead, however much it hears."""
    async with pair(Limits(ping_seconds=0.2, redial_min_seconds=0.02)) as (alice, _), trio.open_nursery() as nursery:

        async def chatter() -> None:
            while True:
                alice.transport.announce(b"so much to say")
                await trio.sleep(0.02)

        nursery.start_soon(chatter)
        connection = next(iter(alice.transport._peers.values())).primary
        await until(lambda: connection._answered > 0)
        first = connection._answered
        await until(lambda: connection._answered > first)
        nursery.cancel_scope.cancel()


async def test_announcement_that_is_too_long_is_our_own_error() -> None:
    async with pair() as (alice, _):
        with pytest.raises(LocalError):
            alice.transport.announce(bytes(QUICK.max_announcement_bytes + 1))


async def test_message_that_the_node_rejects_costs_the_sender_its_connection() -> None:
    async with pair() as (alice, bob):
        alice.transport.announce(b"forged")
        await until(lambda: bob.seen("lost"))
        assert bob.faults(alice) == {"malformed": 1}


async def test_two_connections_to_one_peer_are_one_transition_each_way() -> None:
    alice, bob, twin = Node(ALICE), Node(BOB, port=1), Node(BOB)
    async with running(alice):
        alice.admit(bob)
        async with running(twin):
            twin.admit(alice)
            await until(lambda: alice.transport.connected)
            bob.port = 0
            async with running(bob):
                bob.admit(alice)
                await until(lambda: alice.transport.statistics().connections == 2)
                alice.transport.announce(b"once")
                await until(lambda: twin.seen("heard"))
                assert not bob.seen("heard")
                await alice.transport.push(bob.transport.peer_id, b"", b"", digest("share", b""))
            await until(lambda: alice.transport.statistics().connections == 1)
            alice.transport.announce(b"again")
            await until(lambda: len(twin.seen("heard")) == 2)
            assert not alice.seen("lost")
        await until(lambda: alice.seen("lost"))
        assert len(alice.seen("connected")) == len(alice.seen("lost")) == 1


# --- transfers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 3 * 1024 * 1024])
async def test_payload_arrives_whole(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    share, blob = digest("share", payload), digest("blob", payload)
    async with pair() as (alice, bob):
        await alice.transport.push(bob.transport.peer_id, b"header", payload, share)
        assert bob.seen("offered") == [(b"header", size, share)]
        assert bob.seen("payload") == [(b"header", payload)]
        bob.blobs[blob] = payload
        assert await alice.transport.fetch(bob.transport.peer_id, blob, size) == payload


async def test_refused_offer_names_the_reason_and_sends_nothing() -> None:
    async with pair() as (alice, bob):
        bob.verdict = "not of this round"
        with pytest.raises(TransferRefused, match="not of this round"):
            await alice.transport.push(bob.transport.peer_id, b"", bytes(10**6), bytes(32))
        assert not bob.seen("payload")
        assert alice.transport.statistics().bytes_sent < 10**5


async def test_damaged_payload_is_refused_and_counted() -> None:
    async with pair() as (alice, bob):
        with pytest.raises(TransferRefused, match="digest"):
            await alice.transport.push(bob.transport.peer_id, b"", b"damaged", digest("share", b"whole"))
        assert not bob.seen("payload")
        assert bob.faults(alice) == {"digest": 1}


async def test_blob_of_another_size_or_digest_or_that_nobody_has_is_refused() -> None:
    async with pair() as (alice, bob):
        peer = bob.transport.peer_id
        wanted = digest("blob", b"whole")
        with pytest.raises(TransferRefused, match="not found"):
            await alice.transport.fetch(peer, wanted, 5)
        bob.blobs[wanted] = b"longer"
        with pytest.raises(TransferRefused, match="6 bytes, not 5"):
            await alice.transport.fetch(peer, wanted, 5)
        bob.blobs[wanted] = b"other"
        with pytest.raises(TransferRefused, match="digest"):
            await alice.transport.fetch(peer, wanted, 5)
        assert alice.faults(bob) == {"digest": 1}


async def test_payload_beyond_the_receivers_bound_is_refused_before_it_is_judged() -> None:
    alice, bob = Node(ALICE), Node(BOB, Limits(max_payload_bytes=1000, max_bytes_in_flight=1000))
    async with running(alice, bob):
        alice.admit(bob)
        bob.admit(alice)
        await until(lambda: bob.transport.connected and alice.transport.connected)
        with pytest.raises(TransferRefused, match="more than 1000 bytes"):
            await alice.transport.push(bob.transport.peer_id, b"", bytes(1001), bytes(32))
        assert not bob.seen("offered")
        with pytest.raises(LocalError):
            await bob.transport.push(alice.transport.peer_id, b"", bytes(1001), bytes(32))


async def test_many_pushes_at_once_share_the_bounds() -> None:
    limits = Limits(max_bytes_in_flight=300_000, max_payload_bytes=200_000, redial_min_seconds=0.02)
    async with pair(limits) as (alice, bob):
        payloads = [bytes([number]) * 150_000 for number in range(12)]
        async with trio.open_nursery() as nursery:
            for payload in payloads:
                share = digest("share", payload)
                nursery.start_soon(alice.transport.push, bob.transport.peer_id, b"", payload, share)
        assert sorted(payload for _, payload in bob.seen("payload")) == payloads
        assert bob.faults(alice) == {}


async def test_push_that_its_caller_gives_up_leaves_the_connection_usable() -> None:
    async with pair() as (alice, bob):
        payload = bytes(8 * 1024 * 1024)
        for _ in range(3):
            with trio.move_on_after(0.01):
                await alice.transport.push(bob.transport.peer_id, b"", payload, digest("share", payload))
        await alice.transport.push(bob.transport.peer_id, b"last", b"1", digest("share", b"1"))
        assert len(alice.calls) == 1
        assert bob.seen("payload")[-1] == (b"last", b"1")


async def test_peer_that_is_not_connected_is_unreachable_at_once() -> None:
    alice = Node(ALICE)
    with pytest.raises(PeerUnreachable):
        await alice.transport.push(peer_id_of(BOB), b"", b"", bytes(32))


# --- loss and return ----------------------------------------------------------------------------------------

CHILD = """
import sys, trio
from gossip.transport import Limits, PeerAddress
from gossip.transport.host import Transport
from gossip.transport.payloads import Memory

class Handlers:
    def open_sink(self, size):
        return Memory()

    def __getattr__(self, name):
        return lambda *args: None

async def main(port, peer_id, peer_port):
    transport = Transport(b"b" * 32, "127.0.0.1", port, Handlers(), Limits(redial_min_seconds=0.05))
    async with trio.open_nursery() as nursery:
        print(await nursery.start(transport.run), flush=True)
        transport.admit([PeerAddress(peer_id, "127.0.0.1", peer_port)])

trio.run(main, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
"""


@contextlib.contextmanager
def child_process(alice: Node, port: int) -> Any:
    command = [sys.executable, "-c", CHILD, str(port), alice.transport.peer_id, str(alice.port)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_process_that_stops_or_dies_is_noticed_and_comes_back_under_its_name() -> None:
    alice = Node(ALICE, Limits(silence_seconds=0.8, ping_seconds=0.2, redial_min_seconds=0.05))
    payload = bytes(256 * 1024 * 1024)
    async with running(alice):
        with child_process(alice, 0) as process:
            port = int(await trio.to_thread.run_sync(process.stdout.readline))
            bob = Node(BOB, port=port)
            alice.admit(bob)
            await until(lambda: alice.transport.connected)
            process.send_signal(signal.SIGSTOP)
            await until(lambda: alice.seen("lost"))
            assert alice.faults(bob) == {"silent": 1}
            process.send_signal(signal.SIGCONT)
            await until(lambda: alice.transport.connected)

            sent = alice.transport.statistics().bytes_sent
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_to_push, alice, payload)
                await until(lambda: alice.transport.statistics().bytes_sent > sent + 10**7)
                process.kill()
                killed = trio.current_time()
            assert trio.current_time() - killed < 1.0
            await until(lambda: len(alice.seen("lost")) == 2)
            assert trio.current_time() - killed < 1.0
        with child_process(alice, port):
            await until(lambda: alice.transport.connected)
        assert [call[0] for call in alice.calls][:5] == ["connected", "lost", "connected", "lost", "connected"]


async def fail_to_push(alice: Node, payload: bytes) -> None:
    with pytest.raises(PeerUnreachable):
        await alice.transport.push(peer_id_of(BOB), b"", payload, bytes(32))


async def test_peer_is_found_again_after_a_restart() -> None:
    alice, bob = Node(ALICE), Node(BOB)
    async with running(alice):
        async with running(bob):
            alice.admit(bob)
            bob.admit(alice)
            await until(lambda: alice.transport.connected)
        await until(lambda: not alice.transport.connected)
        again = Node(BOB, port=bob.port)
        again.admit(alice)
        async with running(again):
            await until(lambda: again.transport.connected and alice.transport.connected)
            alice.transport.announce(b"welcome back")
            await until(lambda: again.seen("heard"))


async def test_bug_in_a_handler_is_not_hidden() -> None:
    def broken(peer_id: str) -> None:
        raise KeyError(peer_id)

    alice, bob = Node(ALICE), Node(BOB)
    bob.on_connected = broken  # type: ignore[method-assign]
    with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        async with running(alice, bob):
            alice.admit(bob)
            bob.admit(alice)
            await trio.sleep_forever()


async def test_port_in_use_is_refused_with_its_number() -> None:
    alice = Node(ALICE)
    async with running(alice):
        with pytest.raises(PortTaken, match=str(alice.port)):
            await Node(BOB, port=alice.port).transport.run()


# --- attacks from outside -----------------------------------------------------------------------------------


async def test_garbage_on_the_port_is_dropped_and_members_are_served() -> None:
    draw = random.Random(11)
    hello = line("/multistream/1.0.0") + line("/noise")
    prefix = b"\xff" * 8 + b"\x7f"
    kinds = [
        b"GET / HTTP/1.1\r\n\r\n",
        prefix + bytes(10**6),
        hello + b"\xff\xff" + draw.randbytes(70_000),
        *(hello + bytes([0, 32]) + draw.randbytes(32) + draw.randbytes(draw.randrange(400)) for _ in range(40)),
        *(draw.randbytes(draw.randrange(1, 300)) for _ in range(40)),
        line("/multistream/1.0.0") + line("ls") * 3000,
    ]
    async with pair(Limits(handshake_seconds=0.5, redial_min_seconds=0.02)) as (alice, _):
        async with trio.open_nursery() as nursery:
            for data in kinds:
                nursery.start_soon(send_garbage, alice.port, data)
        await until(lambda: alice.transport.statistics().handshakes_failed == len(kinds))
        assert alice.transport.statistics().half_open == 0
        assert len(alice.calls) == 1


async def send_garbage(port: int, data: bytes) -> None:
    async with await trio.open_tcp_stream(HOST, port) as stream:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(data)
        await until(is_closed_by(stream))


async def test_idle_socket_is_closed_when_the_time_for_a_handshake_is_over() -> None:
    alice = Node(ALICE, Limits(handshake_seconds=0.2))
    async with running(alice), await trio.open_tcp_stream(HOST, alice.port) as stream:
        begun = trio.current_time()
        await until(is_closed_by(stream))
        assert trio.current_time() - begun < 1.0
        assert alice.transport.statistics().handshakes_failed == 1


async def test_flood_of_idle_sockets_keeps_no_member_out() -> None:
    alice, bob = Node(ALICE, Limits(max_half_open=8, handshake_seconds=5.0)), Node(BOB)
    async with running(alice, bob), contextlib.AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(await trio.open_tcp_stream(HOST, alice.port)) for _ in range(30)]
        await until(lambda: alice.transport.statistics().handshakes_failed == 22)
        assert alice.transport.statistics().half_open == 8
        alice.transport.admit([PeerAddress(bob.transport.peer_id, HOST, 1)])  # only bob can dial
        bob.admit(alice)
        await until(lambda: alice.transport.connected)
        await until(is_closed_by(idle[0]))


# --- attacks by a member ------------------------------------------------------------------------------------


@asynccontextmanager
async def rogue(limits: Limits = QUICK) -> AsyncIterator[tuple[Node, Node, BoundedYamux]]:
    """A node, the member that attacks it, and the attacker's connection, on which it says what it likes."""
    alice, bob = Node(ALICE, limits), Node(BOB, port=1)
    async with running(alice) as nursery:
        alice.admit(bob)
        stream = await trio.open_tcp_stream(HOST, alice.port)
        wire = Wire(SocketPipe(stream), is_initiator=True, stall_seconds=5.0, meter=Meter())
        _, muxer = await Handshake(BOB, lambda _: True, limits).upgrade(wire, alice.transport.peer_id)
        nursery.start_soon(muxer.start)
        await until(lambda: alice.transport.connected)
        yield alice, bob, muxer


async def opened(muxer: BoundedYamux, protocol: str) -> tuple[Stream, Any]:
    raw = await muxer.open_stream()
    stream = Stream(raw, "the node")
    await stream.select(protocol, PATIENCE_SECONDS)
    return stream, raw


PING = Position(1, 0).encode() + bytes(8)
MALFORMED_CONTROL = {
    "wrong magic": b"HTTP" + bytes(20),
    "unknown type": MAGIC + bytes([99]) + bytes(4),
    "type of another stream": encode_head(FrameType.CHUNK, 1) + b"x",
    "oversize length": encode_head(FrameType.ANNOUNCE, 2**32 - 1),
    "truncated position": encode_head(FrameType.ANNOUNCE, 3) + b"abc",
    "truncated ping": encode_head(FrameType.PING, 16) + bytes(16),
}


@pytest.mark.parametrize("data", MALFORMED_CONTROL.values(), ids=MALFORMED_CONTROL.keys())
async def test_malformed_frame_costs_a_member_its_connection(data: bytes) -> None:
    async with rogue() as (alice, bob, muxer):
        _, raw = await opened(muxer, CONTROL)
        await raw.write(encode_head(FrameType.PING, len(PING)) + PING + data)
        await until(lambda: alice.seen("lost"))
        assert alice.faults(bob) == {"malformed": 1}
        assert not alice.seen("heard")


async def test_second_control_stream_costs_a_member_its_connection() -> None:
    async with rogue() as (alice, bob, muxer):
        await opened(muxer, CONTROL)
        with contextlib.suppress(PeerUnreachable):
            await opened(muxer, CONTROL)
        await until(lambda: alice.seen("lost"))
        assert alice.faults(bob) == {"malformed": 1}


@pytest.mark.parametrize("chunk", [b"", bytes(11)], ids=["empty", "longer than the offer"])
async def test_chunk_beside_the_offer_costs_a_member_its_connection(chunk: bytes) -> None:
    async with rogue() as (alice, bob, muxer):
        stream, _ = await opened(muxer, TRANSFER)
        await stream.write_frame(FrameType.OFFER, Offer(10, bytes(32)).encode(), seconds=1)
        await stream.read_frame({FrameType.ACCEPT: 16}, seconds=PATIENCE_SECONDS)
        await stream.write_frame(FrameType.CHUNK, chunk, seconds=1)
        await until(lambda: alice.seen("lost"))
        assert alice.faults(bob) == {"malformed": 1}
        assert not alice.seen("payload")


async def test_payload_that_ends_early_is_no_payload() -> None:
    async with rogue() as (alice, bob, muxer):
        stream, _ = await opened(muxer, TRANSFER)
        await stream.write_frame(FrameType.OFFER, Offer(10, digest("share", b"12345")).encode(), seconds=1)
        await stream.read_frame({FrameType.ACCEPT: 16}, seconds=PATIENCE_SECONDS)
        await stream.write_frame(FrameType.CHUNK, b"12345", seconds=1)
        await stream.close()
        with pytest.raises(PeerUnreachable):
            await stream.read_frame({FrameType.ACK: 32}, seconds=PATIENCE_SECONDS)
        assert not alice.seen("payload")
        assert alice.faults(bob) == {}


async def test_member_that_ignores_its_window_is_cut() -> None:
    limits = Limits(max_unread_bytes=2**20, max_payload_bytes=2**30, max_bytes_in_flight=2**30)
    async with rogue(limits) as (alice, bob, muxer):
        raw = await muxer.open_stream()  # never negotiated further than this: nobody reads what follows
        stream = Stream(raw, "the node")
        await stream.select(TRANSFER, PATIENCE_SECONDS)
        await stream.write_frame(FrameType.OFFER, Offer(2**30, bytes(32)).encode(), seconds=1)
        raw.send_window = 2**30
        alice.transport._services.transfers.budget._free = 0  # the node waits for memory and does not read
        with contextlib.suppress(Exception):
            for _ in range(400):
                await raw.write(bytes(65_000))
        await until(lambda: alice.seen("lost"))
        assert alice.faults(bob) == {"overrun": 1}


async def test_streams_beyond_the_bound_are_reset_and_the_connection_stays() -> None:
    async with rogue() as (alice, bob, muxer):
        for _ in range(20):
            await muxer.open_stream()
        await until(lambda: alice.faults(bob).get("streams") == 15)
        assert not alice.seen("lost")


async def test_drip_of_single_bytes_ends_at_the_deadline() -> None:
    async with rogue(Limits(chunk_seconds=0.3, redial_min_seconds=5.0)) as (alice, _, muxer):
        _, raw = await opened(muxer, TRANSFER)
        sent = 0
        for byte in encode_head(FrameType.OFFER, 4000) + bytes(4000):
            if raw.reset_received:
                break
            await raw.write(bytes([byte]))
            sent += 1
            await trio.sleep(0.01)
        assert 10 < sent < 100
        assert not alice.seen("offered")
