"""A node takes its place by what the ledger shows, waits for it, and begins with what it can check itself."""

from __future__ import annotations

from itertools import accumulate

import msgspec
import pytest
import trio
import trio.testing

from gossip.results import scores_digest
from ledger.books import Newest
from ledger.errors import BooksMismatch
from ledger.periods import Period
from ledger.rewards import pay
from ledger.types import RoundRecord, bitmap_of
from node.conversions import ledger_result
from node.plan import LEAD_ROUNDS
from node.seating import LOOK_SECONDS, Seating
from sim.world import World
from tests.helpers.worlds import known_world

Signatures = tuple[tuple[int, bytes], ...]


class Ledger:
    """What a chain queue would tell, one look after another."""

    def __init__(self, *recorded: int, periods: tuple[Period, ...] = (), newest: Newest | None = None) -> None:
        self.looks = list(recorded)
        self.periods = periods
        self.newest = newest

    async def rosters(self) -> tuple[int, tuple[Period, ...]] | None:
        await trio.lowlevel.checkpoint()
        return (self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]), self.periods

    async def newest_result(self) -> Newest | None:
        await trio.lowlevel.checkpoint()
        return self.newest


def settled() -> World:
    return known_world(4, rounds=2).run(300)


def newest_of(world: World, signatures: Signatures | None = None) -> Newest:
    """What the ledger shows after a world's last round."""
    node = world.nodes[0]
    results = [result for _, result in sorted(node.results.items())]
    signed = signatures or node.records[len(results) - 1].signatures
    last = results[-1]
    record = RoundRecord(
        ledger_result(last), last.scores, bitmap_of(i for i, _ in signed), b"".join(s for _, s in signed), "", 9
    )
    terms = node.workshop.terms
    added = [pay(terms, r.kind, r.outcome, r.dealers, r.scores, 4) for r in results]
    *_, cumulative = accumulate(added, lambda old, new: tuple(map(sum, zip(old, new, strict=True))))
    return Newest(record, cumulative, ())


def test_who_begins_with_the_ledger_begins_like_everybody_else() -> None:
    world = settled()
    assert scores_digest(world.nodes[0].results[3].scores) != bytes(32)
    seating = Seating(Ledger(4, newest=newest_of(world)), world.nodes[3].identity)  # type: ignore[arg-type]
    start = trio.run(seating.start_from_ledger)
    wanted = world.nodes[0].next_start
    assert wanted is not None
    assert start is not None
    assert start == msgspec.structs.replace(wanted, signatures=start.signatures)  # any quorum's will do


def test_a_result_that_no_quorum_signed_is_not_begun_with() -> None:
    world = settled()
    (first, signature), *others = world.nodes[0].records[3].signatures
    false = newest_of(world, ((first, signature[:-1] + bytes([signature[-1] ^ 1])), *others))
    seating = Seating(Ledger(4, newest=false), world.nodes[3].identity)  # type: ignore[arg-type]
    with pytest.raises(BooksMismatch):
        trio.run(seating.start_from_ledger)


def test_a_round_waits_until_the_ledger_shows_the_one_eight_earlier() -> None:
    told: list[str] = []
    seating = Seating(Ledger(0, 1, 2, 3), settled().nodes[0].identity)  # type: ignore[arg-type]

    async def begin() -> float:
        await seating.until_it_may_begin(LEAD_ROUNDS - 1, told.append)
        assert seating.recorded == 0
        assert not told
        before = trio.current_time()
        await seating.until_it_may_begin(LEAD_ROUNDS + 2, told.append)
        return trio.current_time() - before

    assert trio.run(begin, clock=trio.testing.MockClock(autojump_threshold=0)) == pytest.approx(3 * LOOK_SECONDS)
    assert (seating.recorded, len(told)) == (3, 1)


def test_each_round_has_the_place_that_its_roster_gives() -> None:
    identity = settled().nodes[3].identity
    signers = tuple("0x" + signer.hex() for signer in identity.signers)
    shrunk = tuple("0x" + bytes(20).hex() if index == 1 else signer for index, signer in enumerate(signers))
    gone = (*signers[:3], "0x" + bytes(20).hex())
    spec = msgspec.structs.replace(identity.spec, rounds=100).encode()
    periods = (
        Period(1, bytes([1]) * 32, signers, spec, 0, 1),
        Period(2, bytes([2]) * 32, shrunk, spec, 2, 5),
        Period(3, bytes([3]) * 32, gone, spec, 9, 7),
    )
    seating = Seating(Ledger(9, periods=periods), identity)  # type: ignore[arg-type]
    trio.run(seating.look)
    places = [seating.identity_in(round_id) for round_id in (0, 2 + LEAD_ROUNDS, 9 + LEAD_ROUNDS)]
    assert [None if place is None else place.me for place in places] == [3, 2, None]


def replace_rounds(spec: bytes) -> bytes:
    """The same task with many more rounds."""
    from gossip.spec import TaskSpec

    return msgspec.structs.replace(TaskSpec.decode(spec), rounds=100).encode()
