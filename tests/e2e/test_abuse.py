"""Attacks from outside, with sockets of the attacker's own: the node stays up, others keep working, all is counted."""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from gossip.spec import digest
from gossip.transport import Limits
from tests.helpers.attacker import (
    ANNOUNCE_FRAME,
    CHUNK_FRAME,
    CONTROL,
    DATA,
    GO_AWAY,
    NOISE,
    OFFER_FRAME,
    PATIENCE_SECONDS,
    PING_FRAME,
    RST,
    SYN,
    TRANSFER,
    WINDOW,
    Attacker,
    attacker,
    false_member,
    frame,
    line,
    position,
    public_key_of,
    yamux,
)
from tests.helpers.transports import ALICE, BOB, CAROL, QUICK, Node, running, until

pytestmark = [pytest.mark.network, pytest.mark.trio]

QUICK_TO_END = Limits(handshake_seconds=0.4, chunk_seconds=0.5, redial_min_seconds=0.02, redial_max_seconds=0.2)
STRANGER = b"s" * 32


@asynccontextmanager
async def attacked(limits: Limits = QUICK) -> AsyncIterator[tuple[Node, Node, Node]]:
    """Alice, who is attacked; Bob, whose place the attacker may take; Carol, an honest member connected to Alice."""
    alice, bob, carol = Node(ALICE, limits), Node(BOB, port=1), Node(CAROL)
    async with running(alice, carol):
        alice.admit(bob, carol)
        carol.admit(alice)
        await until(lambda: carol.transport.connected and alice.transport.connected)
        yield alice, bob, carol
        await is_well(alice, carol)


async def is_well(alice: Node, carol: Node) -> None:
    """Alice still hears Carol, takes what she sends, and was never cut off from her."""
    heard = len(alice.seen("heard"))
    carol.transport.announce(b"still there?")
    await until(lambda: len(alice.seen("heard")) > heard)
    await carol.transport.push(alice.transport.peer_id, b"", b"share", digest("share", b"share"))
    assert carol.transport.peer_id not in [peer for (peer,) in alice.seen("lost")]
    assert alice.faults(carol) == {}


# --- who gets in ------------------------------------------------------------------------------------------------------


async def test_impostor_that_knows_a_members_public_key_is_refused() -> None:
    async with attacked() as (alice, _, _), attacker(alice.port) as impostor:
        await impostor.secure(STRANGER, claim=public_key_of(BOB))
        assert await impostor.is_cut()
        assert alice.transport.statistics().handshakes_failed == 1
        assert len(alice.seen("connected")) == 1


@pytest.mark.parametrize("protocol", ["/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0"])
async def test_no_other_security_than_noise_is_offered(protocol: str) -> None:
    async with attacked() as (alice, _, _), attacker(alice.port) as impostor:
        assert await impostor.ask_for(protocol) == b"na"


async def test_stranger_with_a_key_of_its_own_is_refused_and_counted() -> None:
    async with attacked() as (alice, _, _), attacker(alice.port) as stranger:
        await stranger.secure(STRANGER)
        assert await stranger.is_cut()
        assert alice.transport.statistics().strangers_refused == 1


async def test_removed_member_is_cut_at_once_and_refused_under_its_name() -> None:
    async with attacked() as (alice, bob, carol), false_member(alice.port, BOB) as removed:
        await until(lambda: len(alice.transport.connected) == 2)
        await removed.open(1, CONTROL)
        await removed.send(1, frame(ANNOUNCE_FRAME, position(7, 1) + b"while a member"))
        await until(lambda: len(alice.seen("heard")) == 1)
        alice.admit(carol)
        with suppress(trio.BrokenResourceError):
            await removed.send(1, frame(ANNOUNCE_FRAME, position(7, 2) + b"no longer"))
        assert await removed.is_cut()
        async with attacker(alice.port) as again:
            await again.secure(BOB)
            assert await again.is_cut()
        assert [message for _, message in alice.seen("heard")] == [b"while a member"]
        assert alice.faults(bob) == {"not admitted": 1}


async def test_admitted_set_can_change_again_and_again() -> None:
    alice, bob, carol = Node(ALICE), Node(BOB), Node(CAROL)
    async with running(alice, bob, carol):
        bob.admit(alice)
        carol.admit(alice)
        for members in ([bob], [bob, carol], [carol], [], [carol, bob]):
            alice.admit(*members)
            wanted = {node.transport.peer_id for node in members}
            assert alice.transport.connected <= wanted
            await until(lambda wanted=wanted: alice.transport.connected == wanted)  # type: ignore[misc]


# --- before the handshake ends ----------------------------------------------------------------------------------------


async def send_only_hello(one: Attacker) -> None:
    await one.stream.send_all(line("/multistream/1.0.0"))


async def stop_in_the_middle_of_noise(one: Attacker) -> None:
    await one.begin_noise()


async def announce_a_message_that_never_comes(one: Attacker) -> None:
    assert await one.ask_for(NOISE) == NOISE.encode()
    await one.stream.send_all(b"\xff\xff" + bytes(100))


async def drip(one: Attacker) -> None:
    with suppress(trio.BrokenResourceError):
        for byte in line("/multistream/1.0.0") + line("/noise") * 100:
            await one.stream.send_all(bytes([byte]))
            await trio.sleep(0.02)


async def promise_a_line_of_exabytes(one: Attacker) -> None:
    with suppress(trio.BrokenResourceError):
        await one.stream.send_all(b"\xff" * 8 + b"\x7f" + bytes(100_000))


async def say_nothing(one: Attacker) -> None:
    pass


async def send_noise_messages_of_random_bytes(one: Attacker) -> None:
    await one.begin_noise()
    with suppress(trio.BrokenResourceError):
        for size in (0, 1, 48, 96, 65_535):
            await one.stream.send_all(size.to_bytes(2, "big") + random.Random(size).randbytes(size))


HALF_OPEN = [
    say_nothing,
    send_only_hello,
    stop_in_the_middle_of_noise,
    announce_a_message_that_never_comes,
    drip,
    promise_a_line_of_exabytes,
    send_noise_messages_of_random_bytes,
]


@pytest.mark.parametrize("attack", HALF_OPEN, ids=lambda attack: attack.__name__)
async def test_half_a_handshake_ends_at_its_deadline(attack: Callable[[Attacker], Awaitable[None]]) -> None:
    async with attacked(QUICK_TO_END) as (alice, _, _), attacker(alice.port) as one:
        with trio.fail_after(PATIENCE_SECONDS):
            await attack(one)
            assert await one.is_cut()
        await until(lambda: alice.transport.statistics().handshakes_failed == 1)
        assert alice.transport.statistics().half_open == 0


async def test_flood_from_one_address_displaces_itself_and_no_slow_member() -> None:
    limits = Limits(max_half_open=8, handshake_seconds=30.0, redial_min_seconds=0.02)
    async with attacked(limits) as (alice, _, _), AsyncExitStack() as stack:
        slow = await stack.enter_async_context(attacker(alice.port, source="127.0.0.2"))
        noise, static = await slow.begin_noise()
        flood = [await stack.enter_async_context(attacker(alice.port)) for _ in range(60)]
        await until(lambda: alice.transport.statistics().handshakes_failed == len(flood) - 7)
        assert alice.transport.statistics().half_open == 8
        await slow.finish(noise, static, BOB)
        await slow.say(line("/multistream/1.0.0") + line("/yamux/1.0.0"))
        await until(lambda: len(alice.seen("connected")) == 2)


# --- after it: a member gone bad --------------------------------------------------------------------------------------

PING_BODY = position(1, 0) + bytes(8)
CONTROL_LIES = {
    "no frame": b"GET / HTTP/1.1\r\n\r\n",
    "frame of no known type": frame(200, b""),
    "length of four gigabytes": frame(ANNOUNCE_FRAME, b"", 2**32 - 1),
    "announcement shorter than its position": frame(ANNOUNCE_FRAME, b"abc"),
    "chunk on the control stream": frame(CHUNK_FRAME, b"x"),
}
MUXER_LIES = {
    "data of four gigabytes": yamux(DATA, 0, 1, 2**32 - 1),
    "end of the session": yamux(GO_AWAY, 0, 0, 1),
}


@pytest.mark.parametrize("lie", CONTROL_LIES.values(), ids=CONTROL_LIES)
async def test_lie_on_the_control_stream_costs_the_connection(lie: bytes) -> None:
    async with attacked() as (alice, bob, _), false_member(alice.port, BOB) as one:
        await one.open(1, CONTROL)
        await one.send(1, frame(PING_FRAME, PING_BODY) + lie)
        assert await one.is_cut()
        await until(lambda: alice.faults(bob) == {"malformed": 1})


@pytest.mark.parametrize("lie", MUXER_LIES.values(), ids=MUXER_LIES)
async def test_lie_to_the_muxer_costs_the_connection(lie: bytes) -> None:
    async with attacked() as (alice, bob, _), false_member(alice.port, BOB) as one:
        await one.open(1, CONTROL)
        await one.say(lie)
        assert await one.is_cut()
        await until(lambda: alice.faults(bob) == {"malformed": 1})


async def test_replayed_ciphertext_costs_the_connection() -> None:
    async with attacked() as (alice, bob, _), false_member(alice.port, BOB) as one:
        await one.open(1, CONTROL)
        await one.send(1, frame(ANNOUNCE_FRAME, position(7, 1) + b"once"))
        await until(lambda: alice.seen("heard"))
        await one.say_again()
        assert await one.is_cut()
        await until(lambda: alice.faults(bob) == {"malformed": 1})
        assert [message for _, message in alice.seen("heard")] == [b"once"]


async def test_replayed_and_reordered_announcements_are_delivered_once_in_order_and_counted() -> None:
    async with attacked() as (alice, bob, _), false_member(alice.port, BOB) as one:
        await one.open(1, CONTROL)
        for number in (1, 2, 2, 1, 4, 3, 5):
            await one.send(1, frame(ANNOUNCE_FRAME, position(7, number) + b"%d" % number))
        await until(lambda: len(alice.seen("heard")) == 4)
        assert [message for _, message in alice.seen("heard")] == [b"1", b"2", b"4", b"5"]
        assert alice.faults(bob) == {"repeated": 3}
        assert alice.seen("gap") == [(bob.transport.peer_id,)]


async def test_frame_that_comes_in_many_messages_is_read_whole() -> None:
    """As a muxer may cut it that is not ours: header and data in pieces, two frames in one message."""
    async with attacked() as (alice, _, _), false_member(alice.port, BOB) as one:
        await one.open(1, CONTROL)
        whole = frame(ANNOUNCE_FRAME, position(7, 1) + bytes(range(256)) * 8)
        framed = yamux(DATA, 0, 1, len(whole)) + whole
        for at in range(0, len(framed), 7):
            await one.say(framed[at : at + 7])
        other = frame(ANNOUNCE_FRAME, position(7, 2) + b"and another")
        await one.say(yamux(DATA, 0, 1, 3), other[:3], yamux(DATA, 0, 1, len(other) - 3), other[3:])
        await until(lambda: len(alice.seen("heard")) == 2)
        assert [message for _, message in alice.seen("heard")] == [bytes(range(256)) * 8, b"and another"]


async def test_drip_of_single_bytes_on_a_stream_ends_it() -> None:
    async with attacked(QUICK_TO_END) as (alice, _, _), false_member(alice.port, BOB) as one:
        await one.open(1, TRANSFER)
        with suppress(trio.BrokenResourceError):
            for byte in frame(OFFER_FRAME, bytes(2000)):
                await one.send(1, bytes([byte]))
                await trio.sleep(0.01)
        assert not alice.seen("offered")


async def test_streams_without_end_cost_the_connection() -> None:
    async with attacked() as (alice, bob, _), false_member(alice.port, BOB) as one:
        with suppress(trio.BrokenResourceError):
            for stream in range(1, 4001, 2):
                await one.say(yamux(WINDOW, SYN, stream, 0))
        assert await one.is_cut()
        await until(lambda: len(alice.seen("lost")) == 1)
        assert alice.faults(bob)["streams"] > 200


async def test_streams_that_are_opened_and_reset_without_end_are_forgotten() -> None:
    async with attacked() as (alice, bob, _), false_member(alice.port, BOB) as one:
        await until(lambda: len(alice.transport.connected) == 2)
        muxer = next(iter(alice.transport._peers[bob.transport.peer_id].connections))._muxer
        for stream in range(1, 2001, 2):
            await one.say(yamux(WINDOW, SYN | RST, stream, 0))
            if stream % 200 == 1:
                assert len(muxer.streams) < 64


async def test_payload_larger_than_its_offer_and_memory_without_end_are_cut() -> None:
    async with attacked(Limits(max_unread_bytes=2**20)) as (alice, bob, _), false_member(alice.port, BOB) as one:
        await until(lambda: len(alice.transport.connected) == 2)
        await one.open(1, CONTROL)
        with suppress(trio.BrokenResourceError):
            await one.say(yamux(WINDOW, SYN, 3, 0))  # never negotiated: nobody reads what follows
            await one.send(3, bytes(2**23))
        assert await one.is_cut()
        await until(lambda: "overrun" in alice.faults(bob))


# --- for a long time --------------------------------------------------------------------------------------------------


AT_WORK = 8
"""What nodes may have open at any moment, a dial of an absent member, say; each kind of leak leaves 30 or more."""


@pytest.mark.parametrize("cycles", [120, pytest.param(2000, marks=pytest.mark.slow)])
async def test_connecting_and_leaving_again_and_again_leaves_nothing_behind(cycles: int) -> None:
    async with attacked() as (alice, _, _):

        async def come_and_go(number: int) -> None:
            async with attacker(alice.port) as one:
                match number % 4:
                    case 0:
                        await one.join(BOB)
                    case 1:
                        await one.secure(STRANGER)
                    case 2:
                        await send_only_hello(one)
            await until(lambda: alice.transport.statistics().connections == 1)

        for number in range(40):
            await come_and_go(number)
        await until(lambda: not alice.transport.statistics().half_open)
        before = footprint(alice)
        for number in range(cycles):
            await come_and_go(number)
        await until(lambda: all(now <= then + AT_WORK for now, then in zip(footprint(alice), before, strict=True)))
        async with false_member(alice.port, BOB):
            await until(lambda: len(alice.transport.connected) == 2)


def footprint(alice: Node) -> tuple[int, ...]:
    """What a leak of connections would make grow: tasks, open files, places, and objects of a connection."""
    alice.calls.clear()
    gc.collect()
    kinds = ("Connection", "Wire", "BoundedYamux", "NoiseConnection", "SocketStream")
    objects = [type(item).__name__ for item in gc.get_objects()]
    statistics = alice.transport.statistics()
    return (
        trio.lowlevel.current_statistics().tasks_living,
        len(list(Path("/proc/self/fd").iterdir())),
        statistics.connections,
        statistics.half_open,
        *(objects.count(kind) for kind in kinds),
    )
