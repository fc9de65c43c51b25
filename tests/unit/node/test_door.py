"""What a node hands out to a peer that asks by digest: nothing becomes public because somebody else says so."""

from __future__ import annotations

from types import SimpleNamespace

from gossip import session as sessions
from gossip.events import Heard
from gossip.messages import Complaint, Deal, Reveal
from gossip.spec import digest
from gossip.statements import Kind
from node.door import Door
from sim.world import SimulatedNode, World
from tests.helpers.liars import signed
from tests.helpers.worlds import known_world, saved_after

LIAR = 3


def find(node: SimulatedNode, name: bytes) -> bytes | None:
    """What the node's door gives the liar for a name."""
    members = [SimpleNamespace(peer_id=f"peer{index}", index=index) for index in range(4)]
    store = SimpleNamespace(get=node.blobs.get, latest_checkpoint=lambda: None)
    shell = SimpleNamespace(
        roster=SimpleNamespace(members=members), store=store, current=node.session, workshop=node.workshop
    )
    return Door(shell).find_blob(f"peer{LIAR}", name)  # type: ignore[arg-type]


def hear(world: World, node: SimulatedNode, message: Reveal | Complaint) -> None:
    assert node.session is not None
    node.session, _ = sessions.step(node.session, Heard(signed(world.nodes[LIAR], message)), world.now)


def test_a_liars_words_make_neither_a_dealing_nor_a_foreign_share_public() -> None:
    world = known_world(4, saved=saved_after(4, 0), last_round=1).run(0.3)
    victim = world.nodes[0]
    config = victim.identity.config
    dealing = digest("own dealing", config, (1).to_bytes(8, "big"))
    assert victim.blobs.get(dealing) is not None
    hear(world, victim, Reveal(config, 1, bytes(32), dealing))
    assert find(victim, dealing) is None
    assert victim.session is not None
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
        served = [find(node, r.message.payload) for r in reveals.values() if isinstance(r.message, Reveal)]
        assert len([data for data in served if data is not None]) >= 3
