"""The checks of one round, each with one thing broken: the message is not kept, or its sender is named."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from gossip import agreement, ending, sets
from gossip import round as one_round
from gossip.events import Blame, Heard
from gossip.messages import (
    ABANDONED,
    EMPTY_SET,
    OUTCOME,
    SET,
    SETTLED,
    Certificate,
    Check,
    Commit,
    Complaint,
    Confirm,
    Deal,
    Envelope,
    Freeze,
    Message,
    Open,
    OutcomeValue,
    Piece,
    Proof,
    Propose,
    Reveal,
    SetValue,
    Sign,
    Status,
    encode,
    value_digest,
)
from gossip.results import is_history, result_digest, result_signing_digest
from gossip.session import is_certified
from gossip.state import MAX_ATTEMPTS_AHEAD, RoundState, Turn
from gossip.statements import Kind
from sim.world import SimulatedNode, World
from tests.helpers.liars import signed
from tests.helpers.worlds import known_world, saved_after

D = bytes(32)
ROUND = 2
PROPOSER = 2
VALUE = SetValue(D, ((0, D), (1, D), (2, D)), ((0, D), (1, D), (2, D)), ((0, D), (1, D), (2, D)))


@pytest.fixture
def world() -> World:
    return known_world(4, saved=saved_after(4, 1)).run(0.0)


@pytest.fixture
def state(world: World) -> RoundState:
    session = world.nodes[0].session
    assert session is not None
    return session.current


def hear(state: RoundState, *envelopes: Envelope) -> tuple[RoundState, list[Blame]]:
    blamed = []
    for envelope in envelopes:
        state, effects = one_round.step(state, Heard(envelope), 1.0)
        blamed += [effect for effect in effects if isinstance(effect, Blame)]
    return state, blamed


def says(world: World, member: int, message: Message) -> Envelope:
    return signed(world.nodes[member], message)


def config(world: World) -> bytes:
    return world.nodes[0].identity.config


def statuses(world: World, attempt: int, prepared: Certificate | None = None) -> tuple[Envelope, ...]:
    given = [Status(config(world), ROUND, attempt, SET, prepared if i == 0 else None) for i in range(3)]
    return tuple(says(world, i, status) for i, status in enumerate(given))


def certificate(world: World, value: SetValue, members: tuple[int, ...] = (0, 1, 2)) -> Certificate:
    vote = Confirm(config(world), ROUND, 0, SET, value_digest(value))
    return Certificate(0, value, tuple((i, says(world, i, vote).signature) for i in members))


def test_a_deal_in_another_members_name_is_not_kept(world: World, state: RoundState) -> None:
    deal = Deal(config(world), ROUND, state.context.model, (D,) * 4)
    forged = msgspec.structs.replace(says(world, 1, deal), sender=3)
    after, blamed = hear(state, forged)
    assert not after.records(Kind.DEAL)
    assert not blamed
    assert hear(state, says(world, 3, deal))[0].records(Kind.DEAL)


@pytest.mark.parametrize("change", [{"round": 3}, {"config": bytes([9]) * 32}])
def test_a_message_of_another_round_or_roster_is_not_kept(
    world: World, state: RoundState, change: dict[str, object]
) -> None:
    deal = msgspec.structs.replace(Deal(config(world), ROUND, state.context.model, (D,) * 4), **change)
    assert not hear(state, says(world, 1, deal))[0].records(Kind.DEAL)


def test_two_deals_of_one_member_are_evidence(world: World, state: RoundState) -> None:
    two = [Deal(config(world), ROUND, state.context.model, (bytes([i]) * 32,) * 4) for i in range(2)]
    _, blamed = hear(state, *(says(world, 1, deal) for deal in two))
    assert [(blame.member, blame.reason, len(blame.evidence)) for blame in blamed] == [(1, "equivocation", 2)]


def test_an_attempt_far_ahead_takes_no_memory(world: World, state: RoundState) -> None:
    far = MAX_ATTEMPTS_AHEAD + 1
    after, _ = hear(state, says(world, 1, Confirm(config(world), ROUND, far, SET, D)))
    assert not after.records(Kind.CONFIRM, far, SET)
    near, _ = hear(state, says(world, 1, Confirm(config(world), ROUND, far - 1, SET, D)))
    assert near.records(Kind.CONFIRM, far - 1, SET)


def faulty_messages(world: World, state: RoundState) -> dict[str, tuple[int, Message]]:
    c, model, size = config(world), state.context.model, state.context.proof_bytes
    deals = ((0, D), (1, D), (2, D))
    bound = certificate(world, VALUE)
    other = SetValue(D, VALUE.deals, VALUE.proofs, ())
    last = state.context.parameters.max_attempts
    start = world.nodes[1].begun_with
    opened = Open(c, ROUND, 3, model, start.previous, start.signatures, start.cumulative, ())
    few = start.signatures[:2]
    return {
        "opened on another model": (1, Open(c, ROUND, 3, D, state.context.previous, (), (), ())),
        "opened with other rewards": (1, msgspec.structs.replace(opened, cumulative=(bytes(16),) * 3)),
        "opened with another history": (1, msgspec.structs.replace(opened, history=(start.previous,))),
        "opened out of turn": (1, msgspec.structs.replace(opened, attempt=0)),
        "opened without the signatures of a quorum": (1, msgspec.structs.replace(opened, signatures=few)),
        "answered a challenge after the last attempt": (1, Proof(c, ROUND, last, D, bytes(size))),
        "revealed in other pieces": (1, Reveal(c, ROUND, D, (D, D))),
        "rebuilt a piece of a sum that has none": (1, Piece(c, ROUND, D, D)),
        "answered for nobody's piece": (1, Check(c, ROUND, D, ((4, D, bytes(18)),))),
        "complained of nobody": (1, Complaint(c, ROUND, 0, 4, D, D, D)),
        "dealt to another committee": (1, Deal(c, ROUND, model, (D,) * 3)),
        "dealt from another model": (1, Deal(c, ROUND, D, (D,) * 4)),
        "froze out of turn": (1, Freeze(c, ROUND, 0, deals)),
        "froze too few deals": (PROPOSER, Freeze(c, ROUND, 0, deals[:2])),
        "froze after the last attempt": (PROPOSER, Freeze(c, ROUND, last, deals)),
        "proof of a wrong size": (1, Proof(c, ROUND, 0, D, bytes(size + 3))),
        "proposed out of turn": (1, Propose(c, ROUND, 0, SET, VALUE, ())),
        "proposed a value of another agreement": (PROPOSER, Propose(c, ROUND, 0, OUTCOME, VALUE, ())),
        "proposed without the statuses of n - t members": (3, Propose(c, ROUND, 1, SET, VALUE, ())),
        "proposed with a false status": (3, Propose(c, ROUND, 1, SET, VALUE, statuses(world, 2))),
        "proposed against a prepared certificate": (3, Propose(c, ROUND, 1, SET, other, statuses(world, 1, bound))),
        "proposed the empty set too early, or another one too late": (
            PROPOSER,
            Propose(c, ROUND, 0, SET, EMPTY_SET, ()),
        ),
        "status for the first attempt": (1, Status(c, ROUND, 0, SET, None)),
        "status with a certificate from its own future": (
            1,
            Status(c, ROUND, 1, SET, msgspec.structs.replace(bound, attempt=1)),
        ),
        "certificate without a quorum": (1, Status(c, ROUND, 1, SET, certificate(world, VALUE, (0, 1)))),
        "certificate with a false signature": (
            1,
            Status(c, ROUND, 1, SET, Certificate(0, other, bound.signatures)),
        ),
        "certificate of another agreement": (1, Status(c, ROUND, 1, OUTCOME, bound)),
        "false signature of a result": (1, Sign(c, ROUND, D, says(world, 2, Sign(c, ROUND, D, bytes(64))).signature)),
    }


def test_whoever_breaks_a_rule_is_named_and_not_heard(world: World, state: RoundState) -> None:
    for reason, (sender, message) in faulty_messages(world, state).items():
        envelope = says(world, sender, message)
        after, blamed = hear(state, envelope)
        assert [(blame.member, blame.reason) for blame in blamed] == [(sender, reason)], reason
        assert envelope in blamed[0].evidence
        assert sender not in after.records(*message.key), reason


def test_what_breaks_no_rule_is_heard(world: World, state: RoundState) -> None:
    c, bound = config(world), certificate(world, VALUE)
    start = world.nodes[1].begun_with
    for sender, message in (
        (PROPOSER, Propose(c, ROUND, 0, SET, VALUE, ())),
        (3, Propose(c, ROUND, 1, SET, VALUE, statuses(world, 1, bound))),
        (1, Status(c, ROUND, 1, SET, bound)),
        (PROPOSER, Freeze(c, ROUND, 0, ((0, D), (1, D), (2, D)))),
        (1, Open(c, ROUND, 3, start.model, start.previous, start.signatures, start.cumulative, ())),
        (1, Complaint(c, ROUND, state.context.parameters.max_attempts - 1, 3, D, D, D)),
    ):
        after, blamed = hear(state, says(world, sender, message))
        assert not blamed
        assert sender in after.records(*message.key)


def test_after_the_last_mask_only_the_empty_set_is_proposed(world: World, state: RoundState) -> None:
    last = state.context.parameters.max_attempts
    sender = state.context.proposer(last)
    for value, is_fine in ((EMPTY_SET, True), (VALUE, False)):
        propose = Propose(config(world), ROUND, last, SET, value, statuses(world, last))
        reason = agreement.validate_propose(state.context, sender, propose)
        assert (reason is None) is is_fine


def test_a_set_below_the_fewest_dealers_is_not_allowed(state: RoundState) -> None:
    turn = Turn(state, 1.0)
    assert sets.is_allowed(turn, frozenset({0, 1, 2}))
    assert not sets.is_allowed(turn, frozenset({0, 1}))


@pytest.mark.parametrize(
    ("dealers", "is_allowed"),
    [({0, 1, 2, 3}, True), ({0, 1, 2}, False), ({0, 1, 3, 4}, False), ({0, 4, 5, 6}, True)],
)
def test_after_an_abandoned_sum_only_the_same_set_or_a_distant_one_is_allowed(
    dealers: set[int], is_allowed: bool
) -> None:
    """n = 7: t = 1, so a distant set differs by three members or more."""
    world = known_world(7, saved=saved_after(7, 1)).run(0.0)
    session = world.nodes[0].session
    assert session is not None
    turn = after_abandoned(session.current, {0, 1, 2, 3})
    assert sets.is_allowed(turn, frozenset(dealers)) is is_allowed
    unknown = replace(turn.context, history=turn.context.history[:-1])
    assert sets.is_allowed(Turn(replace(turn.state, context=unknown), 1.0), frozenset(dealers)) is (
        dealers == {0, 1, 2, 3}
    )


@pytest.mark.parametrize(
    ("lacking", "chosen"),
    [(set(), set(range(8))), ({3}, set(range(8)) - {3}), ({3, 4}, set(range(8)) - {3, 4}), ({3, 4, 5}, set(range(8)))],
)
def test_who_says_that_shares_are_lacking_keeps_at_most_t_dealers_out(lacking: set[int], chosen: set[int]) -> None:
    """n = 8: t = 2 dealers may really have kept their shares from a holder; more have not, unless it lies."""
    world = known_world(8, saved=saved_after(8, 0), last_round=1).run(0.0)
    assert world.nodes[0].session is not None
    turn = Turn(world.nodes[0].session.current, 1.0)
    good = {holder: frozenset(range(8)) - (lacking if holder == 7 else set()) for holder in range(8)}
    assert sets._largest_allowed(turn, good) == chosen


def after_abandoned(state: RoundState, *seen: set[int]) -> Turn:
    """A turn in the round after rounds that were abandoned with these sums."""
    results = [state.context.previous]
    for dealers in seen:
        last = results[0]
        assert last is not None
        named = sum(1 << dealer for dealer in dealers)
        abandoned = {"round": last.round + 1, "outcome": ABANDONED, "dealers": named, "previous": result_digest(last)}
        results.insert(0, msgspec.structs.replace(last, **abandoned))
    history = tuple(result for result in results[1:] if result is not None)
    assert is_history(results[0], history)
    return Turn(replace(state, context=replace(state.context, previous=results[0], history=history)), 1.0)


def test_combinations_of_abandoned_sums_single_nobody_out() -> None:
    """n = 8, t + 2 = 4: each two of A, B and C differ by four or more, and A + B - C is member 0 twice and no other."""
    world = known_world(8, saved=saved_after(8, 0), last_round=1).run(0.0)
    assert world.nodes[0].session is not None
    state = world.nodes[0].session.current
    a, b, c, near = {0, 1, 2, 3}, {0, 4, 5, 6, 7}, set(range(1, 8)), {0, 1, 2, 3, 4}
    for seen, allowed in (((), "abcn"), ((a,), "abc"), ((b,), "abcn"), ((a, b), "ab"), ((a, b, a), "ab")):
        turn = after_abandoned(state, *seen)
        found = [name for name, dealers in zip("abcn", (a, b, c, near), strict=True)
                 if sets.is_allowed(turn, frozenset(dealers))]  # fmt: skip
        assert "".join(found) == allowed, seen


def test_members_proven_false_in_earlier_rounds_have_nothing_to_hide() -> None:
    """Otherwise a false dealer that is gone would keep four members from ever having another sum."""
    world = known_world(4, saved=saved_after(4, 0), last_round=1).run(0.0)
    assert world.nodes[0].session is not None
    turn = after_abandoned(world.nodes[0].session.current, {0, 1, 2, 3})
    assert not sets.is_allowed(turn, frozenset({0, 1, 2}))
    named = replace(turn.state, context=replace(turn.context, named=frozenset({3})))
    assert sets.is_allowed(Turn(named, 1.0), frozenset({0, 1, 2}))


def test_a_history_is_what_the_results_name() -> None:
    world = known_world(4, saved=saved_after(4, 0), last_round=1).run(0.0)
    assert world.nodes[0].session is not None
    context = after_abandoned(world.nodes[0].session.current, {0, 1, 2}, {0, 1, 3}).context
    assert is_history(context.previous, context.history)
    for false in (
        (),
        context.history[:1],
        context.history[1:],
        context.history[::-1],
        (*context.history, *context.history),
    ):
        assert not is_history(context.previous, false)


def test_who_can_decode_confirms_no_abandoned(state: RoundState) -> None:
    previous = state.context.previous
    assert previous is not None
    settled = msgspec.structs.replace(previous, round=ROUND, outcome=SETTLED, scores=None)
    scored = msgspec.structs.replace(settled, scores=(1, 2, 3, 4))
    abandoned = msgspec.structs.replace(settled, outcome=ABANDONED)
    known = replace(state, composed=(settled, scored, abandoned))
    decoded = replace(known, decoded=(D, "", D))
    opened = replace(decoded, scores=(1, 2, 3, 4))

    def accepted(given: RoundState) -> list[bool]:
        turn = Turn(given, 1.0)
        return [ending.is_acceptable(turn, 0, OutcomeValue(r)) for r in (settled, scored, abandoned)]

    assert accepted(decoded) == [True, True, False]
    assert accepted(opened) == [False, True, False]
    assert accepted(known)[2]


def test_only_a_quorum_of_a_results_signers_opens_the_next_round(world: World) -> None:
    node: SimulatedNode = world.nodes[0]
    start = node.begun_with
    opened = Open(node.identity.config, ROUND, 0, start.model, start.previous, start.signatures, start.cumulative, ())
    assert is_certified(node.identity, opened)
    for change in (
        {"signatures": start.signatures[:2]},
        {"signatures": ((0, start.signatures[1][1]), *start.signatures[1:])},
        {"model": D},
        {"cumulative": start.cumulative[:3]},
        {"cumulative": (b"\1" * 16, *start.cumulative[1:])},
        {"round": ROUND + 1},
        {"history": (start.previous,)},
    ):
        assert not is_certified(node.identity, msgspec.structs.replace(opened, **change)), change
    assert start.previous is not None
    foreign = msgspec.structs.replace(start.previous, config=D)
    digest = result_signing_digest(foreign, node.identity.domain)
    signatures = tuple((other.me, other.identity.sign(digest)) for other in world.nodes)
    assert not is_certified(node.identity, msgspec.structs.replace(opened, previous=foreign, signatures=signatures))


def test_a_turn_leaves_the_state_that_it_was_given_unchanged(world: World, state: RoundState) -> None:
    before = encode(Envelope(0, repr(state).encode()[:100_000], bytes(64)))
    hear(state, says(world, 1, Commit(config(world), ROUND, 0, SET, D)))
    assert encode(Envelope(0, repr(state).encode()[:100_000], bytes(64))) == before


def test_a_set_is_confirmed_only_if_all_that_it_names_was_heard() -> None:
    world = known_world(4, saved=saved_after(4, 1)).run(300)
    session = world.nodes[0].session
    assert session is not None
    state = session.current
    final = state.agreements[SET].final
    assert final is not None
    attempt, value = final
    assert isinstance(value, SetValue)
    assert sets.is_justified(Turn(state, 1.0), attempt, value)
    dealer, holder = value.deals[0][0], value.receipts[0][0]

    def without(kind: Kind, member: int) -> RoundState:
        key = (kind, attempt if kind is not Kind.DEAL else 0, 0)
        kept = {i: record for i, record in state.heard[key].items() if i != member}
        named = {name: r for name, r in state.by_digest.items() if name[0] != member or r.message.key != key}
        return replace(state, heard={**state.heard, key: kept}, by_digest=named)

    for lacking in (
        without(Kind.FREEZE, state.context.proposer(attempt)),
        without(Kind.PROOF, dealer),
        without(Kind.RECEIPT, holder),
        replace(state, false_dealers=frozenset({dealer})),
    ):
        assert not sets.is_justified(Turn(lacking, 1.0), attempt, value)
    for other in (
        msgspec.structs.replace(value, freeze=D),
        msgspec.structs.replace(value, deals=((dealer, D), *value.deals[1:])),
        msgspec.structs.replace(value, proofs=((dealer, D), *value.proofs[1:])),
        msgspec.structs.replace(value, receipts=value.receipts[:2]),
        msgspec.structs.replace(value, receipts=((holder, D), *value.receipts[1:])),
    ):
        assert not sets.is_justified(Turn(state, 1.0), attempt, other)


def test_garbage_inside_a_message_is_a_fault_and_no_crash(world: World, state: RoundState) -> None:
    config, liar = world.nodes[0].identity.config, world.nodes[PROPOSER]
    garbage = tuple((member, b"\xff" * 64) for member in range(3))
    status = signed(liar, Status(config, ROUND, 1, SET, Certificate(0, VALUE, garbage)))
    later = state.context.proposer(1)
    carried = tuple(Envelope(member, b"\x01", b"\xff" * 64) for member in range(3))
    propose = signed(world.nodes[later], Propose(config, ROUND, 1, SET, VALUE, carried))
    for envelope in (status, propose):
        _, effects = one_round.step(state, Heard(envelope), 1.0)
        assert [effect.member for effect in effects if isinstance(effect, Blame)] == [envelope.sender]
