"""Members that cannot dial each other meet through a third, which carries what it cannot read."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from gossip.errors import PeerUnreachable
from gossip.spec import digest
from gossip.transport import Limits
from gossip.transport.relay import StreamPipe
from tests.helpers.transports import ALICE, BOB, CAROL, QUICK, Node, running, until

pytestmark = [pytest.mark.network, pytest.mark.trio]

PAYLOAD = random.Random(5).randbytes(3 * 2**20)


@asynccontextmanager
async def apart(*, relay: bool, limits: Limits = QUICK) -> AsyncIterator[tuple[Node, Node, Node]]:
    """Alice and Bob, who can dial Carol alone: nobody listens where the registry says that they do."""
    alice, bob, carol = Node(ALICE, limits), Node(BOB, limits), Node(CAROL, limits, relay=relay)
    async with running(alice, bob, carol):
        alice.port = bob.port = 1
        carol.admit(alice, bob)
        alice.admit(bob, carol)
        bob.admit(alice, carol)
        await until(lambda: len(carol.transport.connected) == 2)
        yield alice, bob, carol


async def test_two_behind_firewalls_meet_through_a_member_that_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    carried: list[bytes] = []
    send_all = StreamPipe.send_all

    async def listen(self: StreamPipe, data: bytes) -> None:
        carried.append(bytes(data))
        await send_all(self, data)

    monkeypatch.setattr(StreamPipe, "send_all", listen)
    async with apart(relay=True) as (alice, bob, carol):
        await until(lambda: len(alice.transport.connected) == len(bob.transport.connected) == 2)
        assert alice.transport.statistics().relayed == {bob.transport.peer_id: carol.transport.peer_id}
        assert carol.transport.statistics().circuits >= 1
        alice.transport.announce(b"a secret of ours", to=bob.transport.peer_id)
        await until(lambda: bob.seen("heard"))
        assert bob.seen("heard") == [(alice.transport.peer_id, b"a secret of ours")]
        await alice.transport.push(bob.transport.peer_id, b"h", PAYLOAD, digest("share", PAYLOAD))
        assert bob.seen("payload") == [(b"h", PAYLOAD)]
        everything = b"".join(carried)
        assert len(everything) > len(PAYLOAD)
        assert b"a secret of ours" not in everything
        assert PAYLOAD[1000:1032] not in everything
        assert not carol.seen("heard")
        assert not carol.seen("offered")


async def test_member_that_was_not_told_to_relay_joins_nobody() -> None:
    async with apart(relay=False) as (alice, bob, carol):
        await until(lambda: bob.transport.peer_id in alice.transport.statistics().dial_failures)
        connection = alice.transport._dialer.direct(carol.transport.peer_id)
        assert connection is not None
        with pytest.raises(PeerUnreachable):
            await connection.open("/mycelia/relay/1.0.0")
        assert alice.transport.connected == {carol.transport.peer_id}
        assert carol.faults(alice) == {}


async def test_end_of_the_relay_is_the_end_of_what_goes_through_it_and_it_comes_back() -> None:
    async with apart(relay=True) as (alice, bob, carol):
        await until(lambda: bob.transport.peer_id in alice.transport.connected)
        carol.admit()
        await until(lambda: not alice.transport.connected and not bob.transport.connected)
        carol.admit(alice, bob)
        await until(lambda: len(alice.transport.connected) == len(bob.transport.connected) == 2)


async def test_relay_cannot_pass_itself_off_as_the_member_behind_it() -> None:
    """Carol joins Alice, who asked for Bob, with somebody else; Alice expects Bob's PeerID at the other end."""
    async with apart(relay=False) as (alice, bob, carol):
        others = {bob.transport.peer_id: alice.transport.peer_id}
        carol.transport._relay._find = lambda peer_id: carol.transport._dialer.direct(others.get(peer_id, ""))
        carol.transport._relay.is_on = True
        await until(lambda: alice.transport.statistics().handshakes_failed >= 1)
        assert bob.transport.peer_id not in alice.transport.connected


async def test_member_that_is_removed_loses_its_way_through_the_relay_too() -> None:
    async with apart(relay=True) as (alice, bob, carol):
        await until(lambda: bob.transport.peer_id in alice.transport.connected)
        alice.admit(carol)
        assert bob.transport.peer_id not in alice.transport.connected
        await until(lambda: alice.faults(bob).get("not admitted", 0) >= 1)
        assert bob.transport.peer_id not in alice.transport.connected


async def test_direct_way_is_taken_where_there_is_one() -> None:
    alice, bob, carol = Node(ALICE), Node(BOB), Node(CAROL, relay=True)
    async with running(alice, bob, carol):
        for node in (alice, bob, carol):
            node.admit(alice, bob, carol)
        await until(lambda: all(len(node.transport.connected) == 2 for node in (alice, bob, carol)))
        await trio.lowlevel.checkpoint()
        assert not alice.transport.statistics().relayed
        assert carol.transport.statistics().circuits == 0


async def test_relayed_connection_gives_way_to_a_direct_one_that_becomes_possible() -> None:
    limits = replace(QUICK, direct_retry_seconds=0.3)
    alice, bob, carol = Node(ALICE, limits), Node(BOB, limits), Node(CAROL, limits, relay=True)
    async with running(alice, bob, carol):
        true_port, alice.port, bob.port = bob.port, 1, 1
        carol.admit(alice, bob)
        alice.admit(bob, carol)
        bob.admit(alice, carol)
        await until(lambda: alice.transport.statistics().relayed and bob.transport.statistics().relayed)
        bob.port = true_port  # the firewall is opened
        alice.admit(bob, carol)
        await until(lambda: not alice.transport.statistics().relayed and not bob.transport.statistics().relayed)
        await until(lambda: carol.transport.statistics().circuits == 0)
        assert bob.transport.peer_id not in [peer for (peer,) in alice.seen("lost")]
        alice.transport.announce(b"still here", to=bob.transport.peer_id)
        await until(lambda: (alice.transport.peer_id, b"still here") in bob.seen("heard"))
