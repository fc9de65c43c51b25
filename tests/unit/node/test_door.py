"""What a node hands out to a peer that asks by digest: nothing becomes public because somebody else says so."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import msgspec
import pytest
import trio

from gossip import session as sessions
from gossip.events import Heard
from gossip.messages import Complaint, Deal, Reveal
from gossip.shamir import blob_size
from gossip.statements import Kind
from node.door import Door
from sim.node import SimulatedNode
from sim.world import World
from tests.helpers.liars import signed
from tests.helpers.worlds import known_world, saved_after

LIAR = 3


def find(node: SimulatedNode, name: bytes) -> bytes | None:
    """What the node's door gives the liar for a name."""
    source = trio.run(door(node).find_blob, f"peer{LIAR}", name)
    return None if source is None else b"".join(source.pieces(0))


async def at_once(call: Callable[[], bytes | None]) -> bytes | None:
    return call()


def door(node: SimulatedNode) -> Door:
    shell = SimpleNamespace(
        admission=SimpleNamespace(index_of=lambda peer_id: int(peer_id.removeprefix("peer"))),
        store=SimpleNamespace(get=node.blobs.get, checkpoint=lambda name: None),
        current=node.session,
        session=node.session,
        workshop=node.workshop,
        round=node.round,
        me=node.me,
        threads=SimpleNamespace(at_the_disk=at_once, at_the_vectors=at_once),
    )
    return Door(shell)  # type: ignore[arg-type]


@pytest.mark.parametrize("has_dealt", [False, True])
def test_a_dealer_does_not_fill_the_disk(has_dealt: bool) -> None:
    world = known_world(4, saved=saved_after(4, 0), last_round=1).run(300 if has_dealt else 0.0)
    node = world.nodes[0]
    assert node.session is not None
    size = blob_size(node.workshop.layout, LIAR, node.me)
    at_the_door, header = door(node), msgspec.msgpack.encode((1, LIAR))
    names = [bytes([i]) * 32 for i in range(20)]
    answers = [at_the_door.judge_offer(f"peer{LIAR}", header, size, name) for name in names]
    assert answers.count(None) == (0 if has_dealt else 2)


def hear(world: World, node: SimulatedNode, message: Reveal | Complaint) -> None:
    assert node.session is not None
    node.session, _ = sessions.step(node.session, Heard(signed(world.nodes[LIAR], message)), world.now)


def test_a_liars_words_make_neither_a_dealing_nor_a_foreign_share_public() -> None:
    world = known_world(4, saved=saved_after(4, 0), last_round=1).run(0.3)
    victim = world.nodes[0]
    config = victim.identity.config
    assert victim.session is not None
    own = victim.session.current.own_shares
    assert own is not None
    hear(world, victim, Reveal(config, 1, bytes(32), (own[0],)))
    assert victim.blobs.get(own[0]) is not None
    assert find(victim, own[0]) is None
    deal = victim.session.current.records(Kind.DEAL)[1].message
    assert isinstance(deal, Deal)
    hear(world, victim, Complaint(config, 1, 0, 1, bytes(32), bytes(32), deal.shares[0]))
    assert victim.blobs.get(deal.shares[0]) is not None
    assert find(victim, deal.shares[0]) is None


def test_a_revealed_sum_is_served_by_who_revealed_it_and_who_fetched_it() -> None:
    world = known_world(4, saved=saved_after(4, 1)).run(300)
    for node in world.nodes:
        assert node.session is not None
        reveals = node.session.current.records(Kind.REVEAL)
        served = [find(node, r.message.pieces[0]) for r in reveals.values() if isinstance(r.message, Reveal)]
        assert len([data for data in served if data is not None]) >= 3
