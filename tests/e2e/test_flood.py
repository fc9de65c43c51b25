"""A member gone bad floods a node with announcements: it is dropped and counted by name, and costs nobody else."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
import trio

from gossip.messages import Deal, Envelope
from gossip.statements import Domain, sign
from gossip.transport import peer_id_of
from gossip.values import encode
from node.allowance import FEWEST_CREDIT, FORGED_COST
from node.frames import Summary, encode_frame
from node.meters import METERS_FILE
from node.runner import Habits, Node
from node.sync import most_taken
from sim.keys import member_key
from tests.helpers.attacker import ANNOUNCE_FRAME, CONTROL, Attacker, attacker, false_member, frame, position
from tests.helpers.nodes import even_spec, first_start, make_node
from tests.helpers.transports import until

pytestmark = [pytest.mark.network, pytest.mark.trio]

N, BAD, GOOD = 4, 1, 2
HUNDRED = 100
SPEC = even_spec(rounds=1)
DOMAIN = Domain(1, bytes.fromhex("22" * 20))


def node_key(member: int) -> bytes:
    return bytes([member]) * 32


@asynccontextmanager
async def flooded(folder: Path) -> AsyncIterator[tuple[Node, int]]:
    """Member 0's node and its port; member 2 is connected, and still is at the end."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    node = make_node(folder, SPEC, 0, N, habits=Habits(("127.0.0.1", port)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.run, first_start(SPEC, N))
        await until(lambda: node.current is not None)
        async with false_member(port, node_key(GOOD)) as good:
            await good.open(1, CONTROL)
            await until(lambda: peer_id_of(node_key(GOOD)) in node.transport.connected)
            yield node, port
            heard = node.transport.statistics().announcements_received
            await good.send(1, announced(1, encode_frame(said(GOOD, 1))))
            await until(lambda: node.transport.statistics().announcements_received > heard)
            await until(lambda: GOOD in {envelope.sender for envelope in node.session.envelopes()})
            assert faults(node, GOOD) == {}
        nursery.cancel_scope.cancel()
    node.store.close()
    node.progress.close()


def faults(node: Node, member: int) -> dict[str, int]:
    return dict(node.transport.statistics().faults.get(peer_id_of(node_key(member)), {}))


def announced(number: int, message: bytes) -> bytes:
    return frame(ANNOUNCE_FRAME, position(7, number) + message)


def said(sender: int, number: int, key: int | None = None) -> Envelope:
    """A Deal that nobody has heard yet, signed by its sender, or by another."""
    config = bytes([7]) * 32
    deal = Deal(config, 0, number.to_bytes(32, "big"), (bytes(32),) * N)
    body = encode(deal)
    signed = deal.statement(body).signing_digest(DOMAIN)
    return Envelope(sender, body, sign(member_key(0, sender if key is None else key), signed))


async def flood(one: Attacker, messages: Iterator[bytes]) -> None:
    """Says them, a hundred at a time, until the connection is cut."""
    await one.open(1, CONTROL)
    with suppress(trio.BrokenResourceError):
        for first in count(1, HUNDRED):
            numbers = range(first, first + HUNDRED)
            await one.send(1, b"".join(announced(number, next(messages)) for number in numbers))


def forgeries() -> Iterator[bytes]:
    """Of one's own name and of others'."""
    return (encode_frame(said(number % N, number, key=(number + 1) % N)) for number in count())


def news_without_end() -> Iterator[bytes]:
    return (encode_frame(said(BAD, number)) for number in count())


def summaries_that_have_nothing() -> Iterator[bytes]:
    return (encode_frame(Summary(0, "OPEN", False, number, b"")) for number in count())


def the_same_again() -> Iterator[bytes]:
    once = encode_frame(said(BAD, 1))
    return (once for _ in count())


FLOODS = [forgeries, news_without_end, summaries_that_have_nothing, the_same_again]


@pytest.mark.parametrize("messages", FLOODS, ids=lambda flood: flood.__name__)
async def test_flood_of_announcements_ends_the_connection_and_is_counted(tmp_path: Path, messages) -> None:  # type: ignore[no-untyped-def]
    async with flooded(tmp_path / "node") as (node, port):
        with trio.fail_after(60):
            async with false_member(port, node_key(BAD)) as bad:
                await flood(bad, messages())
        await until(lambda: faults(node, BAD).get("flooding"))
        found = faults(node, BAD)
        assert found["flooding"] == 1
        most_forged = 2 * FEWEST_CREDIT / FORGED_COST  # credit comes back while they arrive
        assert (0 < found["forged"] < most_forged) if messages is forgeries else "forged" not in found
        taken = [envelope for envelope in node.session.envelopes() if envelope.sender == BAD]
        assert len(taken) <= most_taken(N)


async def test_who_flooded_is_refused_for_a_while_and_named_in_the_metrics(tmp_path: Path) -> None:
    async with flooded(tmp_path / "node") as (node, port):
        async with false_member(port, node_key(BAD)) as bad:
            await flood(bad, forgeries())
        await until(lambda: faults(node, BAD).get("flooding"))
        assert peer_id_of(node_key(BAD)) not in node.transport.connected
        async with attacker(port) as again:
            await again.secure(node_key(BAD))
            assert await again.is_cut()
        await until(lambda: faults(node, BAD).get("shunned"))
        metrics = tmp_path / "node" / METERS_FILE
        await until(lambda: 'peer="m1",fault="shunned"' in metrics.read_text())
        assert 'peer="m1",fault="forged"' in metrics.read_text()
        assert 'peer="m1",fault="flooding"} 1\n' in metrics.read_text()
