"""n = 4, exhaustively: whoever stops at whatever event of a round, the others settle it, and the lost one comes back.

Run on the round after a training round, which opens on a signed result and opens scores, so that every message that
members exchange without a cheater is met.
"""

from __future__ import annotations

import pytest

from gossip.state import PHASES
from gossip.statements import Kind
from sim.scenario import Crash, Scenario
from tests.helpers.worlds import assert_agreement, kinds_said, known_world, phases_entered, saved_after

MEMBERS = 4
LAST = 2
KINDS_WITHOUT_FAULTS = set(Kind) - {Kind.COMPLAINT, Kind.STATUS, Kind.PIECE, Kind.CHECK}  # four rebuild no pieces

MODES = {
    "never comes back": (False, None),
    "comes back, the event lost": (False, 2.0),
    "comes back, the event logged and nothing done": (True, 2.0),
}


def test_an_undisturbed_round_meets_every_message_and_phase() -> None:
    world = known_world(MEMBERS, saved=saved_after(MEMBERS, LAST - 1)).run(300)
    assert_agreement(world)
    assert kinds_said(world) >= KINDS_WITHOUT_FAULTS
    assert phases_entered(world) >= set(PHASES) - {"OPEN"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("member", range(MEMBERS))
def test_a_crash_at_any_event_is_survived(member: int, mode: str) -> None:
    is_logged, back_after_seconds = MODES[mode]
    saved = saved_after(MEMBERS, LAST - 1)
    events = known_world(MEMBERS, saved=saved).run(300).nodes[member].handled
    assert events > 40, "a round has become shorter than this test expects"
    kinds: set[Kind] = set()
    for at in range(events):
        crash = Crash(member, at, is_logged, back_after_seconds)
        world = known_world(MEMBERS, saved=saved, scenario=Scenario(crashes=(crash,))).run(300)
        try:
            assert_agreement(world)
        except AssertionError as error:
            raise AssertionError(f"{crash}: {error}") from error
        if back_after_seconds is not None:
            assert world.nodes[member].is_up
        kinds |= kinds_said(world)
    print(f"member {member}, {mode}: {events} events covered")
    proposer = LAST % MEMBERS
    expected = KINDS_WITHOUT_FAULTS | ({Kind.STATUS} if member == proposer else set())
    assert kinds >= expected, f"never hit: {expected - kinds}"
