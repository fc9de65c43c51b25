"""A node without a past waits for its place, says why, and begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import trio
import trio.testing

from gossip.committee import NOBODY
from gossip.session import Identity
from node.beginning import Newcomer
from node.seating import Seating
from tests.helpers.worlds import known_world


def test_a_member_whose_roster_is_not_final_yet_waits_for_that_and_then_begins() -> None:
    identity = known_world(4).nodes[3].workshop.identity
    after = identity.committee
    before = replace(after, signers=(*after.signers[:3], NOBODY))
    looks = [(before,), (before, replace(after, first_round=1)), (after,)]

    class Ledger:
        async def rosters(self) -> None:
            await trio.lowlevel.checkpoint()
            seating.plan = looks.pop(0)

    ledger: Any = Ledger()
    seating = Seating(ledger, identity)
    seating.plan = looks.pop(0)
    told: list[str] = []
    seated: list[Identity] = []
    reporter: Any = type("Reporter", (), {"waiting": lambda self, reason: told.append(reason)})()
    unused: Any = None
    first: Any = object()
    newcomer = Newcomer(unused, unused, seating, reporter, seated.append)

    async def begin() -> None:
        assert await newcomer.first_start(first) is first

    trio.run(begin, clock=trio.testing.MockClock(autojump_threshold=0))
    assert told == [
        "the roster that this member is in to be final on the ledger",
        "round 1, the first one that this member takes part in",
    ]
    assert [one.committee for one in seated] == [after]
