"""Sums that are rebuilt in pieces: as true, as private and as hard to stop as whole ones, with less to upload."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from gossip import layout, pieces
from gossip.errors import LocalError
from gossip.events import Blame, FetchPayload
from gossip.layout import Layout
from gossip.parameters import MODULUS, Parameters
from gossip.shamir import PartialSum, deal
from gossip.statements import Kind
from sim.scenario import Crash, Scenario
from sim.world import World
from tests.helpers import liars
from tests.helpers.learners import KnownLearner, PlainModel, first_model, small_spec
from tests.helpers.worlds import assert_agreement, kinds_said

DIMENSION = 60
LIAR = 3


@pytest.fixture(autouse=True)
def pieces_of_small_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "PIECES_FROM_WORDS", 1)


def world_of(n: int, scenario: Scenario | None = None, *, dimension: int = DIMENSION, last_round: int = 1) -> World:
    spec = small_spec(dimension=dimension)
    learners = [KnownLearner(spec, index) for index in range(n)]
    return World(spec, learners, first_model(dimension), scenario=scenario, last_round=last_round)


@pytest.fixture(scope="module")
def whole() -> World:
    """The same world with sums of one piece."""
    return world_of(8).run(300)


def assert_same_sum(world: World, other: World) -> None:
    """Up to rounding, which is random; `assert_agreement` holds members of one world to the same bits."""
    found = [msgspec.msgpack.decode(each.nodes[0].models[1], type=PlainModel) for each in (world, other)]
    assert [each.nodes[0].results[1].dealers for each in (world, other)] == [2 ** len(world.nodes) - 1] * 2
    np.testing.assert_allclose(found[0].shared, found[1].shared, atol=0.02)  # n roundings of 0.002
    assert any(found[0].shared)


# --- the sum --------------------------------------------------------------------------------------------------------


def test_the_pieces_make_the_same_model_as_whole_sums(whole: World) -> None:
    world = world_of(8).run(300)
    assert {Kind.PIECE, Kind.CHECK} <= kinds_said(world)
    assert Kind.PIECE not in kinds_said(whole)
    assert_agreement(world)
    assert_same_sum(world, whole)


UPLOADED = {
    4: 4.00, 5: 5.00, 6: 5.17, 7: 6.14, 8: 3.69, 9: 4.17, 10: 4.65, 11: 5.14,
    12: 3.81, 13: 4.14, 14: 4.46, 15: 4.79, 16: 3.87,
}  # fmt: skip
"""Words for each shared number, as PROTOCOL.md has them; 6, 7 and 11 pack too little for five."""


def test_the_protocol_states_what_is_uploaded() -> None:
    text = (Path(__file__).parents[2] / "PROTOCOL.md").read_text()
    sizes, words = (" | ".join(map(str, row)) for row in (UPLOADED, (f"{value:.2f}" for value in UPLOADED.values())))
    assert f"| n | {sizes} |" in text
    assert f"| words | {words} |" in text


@pytest.mark.parametrize("n", [pytest.param(n, marks=[] if n in (4, 7, 8) else [pytest.mark.slow]) for n in UPLOADED])
def test_a_member_uploads_a_few_words_for_each_number(n: int) -> None:
    """Shares, its part of others' sums, and its piece."""
    dimension = 40_000
    world = world_of(n, dimension=dimension, last_round=0).run(300)
    assert_agreement(world)
    world = World(
        world.spec, [node.learner for node in world.nodes], b"", last_round=1, saved=world.save(),
    ).run(300)  # fmt: skip
    assert_agreement(world)
    numbers = Layout.for_round(Parameters.of_size(n), world.spec, 1).words
    most = max(world.uploaded.values()) / 3 / numbers
    assert most <= UPLOADED[n] + 0.01
    assert most <= 4.01 or n % 4


# --- lies -----------------------------------------------------------------------------------------------------------

WORK = {
    "false partial sum": liars.false_sum,
    "false piece of a sum": liars.false_piece,
    "false check of a sum": liars.false_checks,
}


@pytest.mark.parametrize("reason", WORK)
@pytest.mark.parametrize("n", [6, 8])
def test_who_lies_about_a_piece_is_named_and_changes_nothing(n: int, reason: str) -> None:
    world = world_of(n)
    liars.lie_at_work(world, LIAR, WORK[reason])
    world.run(300).run_on(3.0)
    assert_agreement(world, liars=frozenset({LIAR}))
    found = {(effect.member, effect.reason) for _, _, effect in world.effects(Blame) if isinstance(effect, Blame)}
    assert (LIAR, reason) in found
    assert {member for member, _ in found} == {LIAR}
    assert_same_sum(world, world_of(n).run(300))


@pytest.mark.parametrize("kind", [Kind.REVEAL, Kind.PIECE, Kind.CHECK], ids=lambda kind: kind.name)
def test_who_shows_two_versions_is_named_and_changes_nothing(kind: Kind) -> None:
    world = world_of(8, Scenario(lies={LIAR: liars.equivocate(kind)})).run(300).run_on(3.0)
    assert_agreement(world, liars=frozenset({LIAR}))
    assert world.blamed() == {LIAR}


@pytest.mark.parametrize("kind", [Kind.REVEAL, Kind.PIECE, Kind.CHECK], ids=lambda kind: kind.name)
@pytest.mark.parametrize("count", [1, 2])
def test_who_withholds_costs_one_deadline_and_is_not_blamed(kind: Kind, count: int, whole: World) -> None:
    scenario = Scenario(lies={member: liars.withhold(kind) for member in range(LIAR, LIAR + count)})
    world = world_of(8, scenario).run(300)
    assert_agreement(world)
    assert_same_sum(world, whole)
    assert world.now < whole.now + 2 * scenario.timing.reveal_seconds


def test_a_member_that_dies_before_its_piece_is_done_without(whole: World) -> None:
    handled = whole.nodes[LIAR].handled
    for at in range(handled - 40, handled, 8):
        back_after = None if at % 16 < 8 else 1.0
        crash = Crash(LIAR, at, is_logged=at % 3 == 0, back_after_seconds=back_after)
        assert_agreement(world_of(8, Scenario(crashes=(crash,))).run(300))


def test_whole_partial_sums_are_fetched_only_from_as_many_as_are_needed(whole: World) -> None:
    fetched = [effect for _, _, effect in whole.effects(FetchPayload) if isinstance(effect, FetchPayload)]
    rounds = 2
    assert len(fetched) == rounds * 8 * (Parameters.of_size(8).agreeing_sums - 1)


# --- the check ------------------------------------------------------------------------------------------------------


def judged(n: int, *, words_off: int = 0, answers_off: int = 0, answers: int | None = None) -> tuple[bool, int] | None:
    """Whether a piece with so many words changed is taken, and how many of so many changed answers are named."""
    parameters, rng = Parameters.of_size(n), np.random.default_rng(n)
    sums = Layout(parameters, 200 * parameters.pack_size)
    payload = rng.integers(0, MODULUS, sums.words, dtype=np.uint32)
    dealing = deal(payload, sums, 0, bytes(32))
    rows = {}
    for holder in range(n):
        own = PartialSum(sums, holder)
        own.add(0, dealing.blob(holder))
        rows[holder] = own.words()
    k, piece = parameters.pack_size, sums.piece(1)
    words = payload[piece.start * k : piece.stop * k].copy()
    words[:words_off] = (words[:words_off] + 1) % MODULUS
    combination = pieces.challenge(bytes(32), 1, bytes(32), len(words) // k)
    given = {holder: combination.of(rows[holder][piece]) for holder in range(n if answers is None else answers)}
    for holder in range(answers_off):
        given[holder] = (given[holder] + 1) % MODULUS
    found = pieces.judge(words, given, combination, sums)
    return None if found is None else (found[0], len(found[1].wrong))


@pytest.mark.parametrize("n", [6, 8, 13, 16, 64])
def test_a_piece_is_judged_by_the_answers_of_2t_and_k(n: int) -> None:
    parameters = Parameters.of_size(n)
    assert judged(n) == (True, 0)
    assert judged(n, words_off=1) == (False, 0)
    t = parameters.privacy_threshold
    assert judged(n, answers_off=t) == (True, t)
    assert judged(n, words_off=1, answers_off=t) == (False, t)
    assert judged(n, answers=parameters.agreeing_sums) == (True, 0)
    assert judged(n, answers=parameters.agreeing_sums - 1) is None
    assert judged(n, answers=parameters.agreeing_sums, answers_off=1) is None


def test_pieces_cover_a_sum_once() -> None:
    for n, words in ((6, 6), (8, 100), (64, 12_345)):
        sums = Layout(Parameters.of_size(n), words)
        slices = [sums.piece(index) for index in range(sums.pieces)]
        assert [block for part in slices for block in range(part.start, part.stop)] == list(range(sums.blocks))
        with pytest.raises(LocalError):
            sums.piece(sums.pieces)


def test_small_committees_and_small_sums_have_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Layout(Parameters.of_size(5), 10**6).pieces == 1
    assert Layout(Parameters.of_size(16), 10).pieces == 1
    monkeypatch.setattr(layout, "PIECES_FROM_WORDS", 1 << 16)
    assert Layout(Parameters.of_size(16), (1 << 16) - 1).pieces == 1
    assert Layout(Parameters.of_size(16), 1 << 16).pieces == 16
