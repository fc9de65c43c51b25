"""The checks of one round, each with one thing broken: the message is not kept, or its sender is named."""

from __future__ import annotations

import msgspec
import pytest

from gossip import agreement
from gossip import round as one_round
from gossip.events import Blame, Heard
from gossip.messages import (
    Check,
    Commit,
    Complaint,
    Confirm,
    Deal,
    Envelope,
    Freeze,
    Message,
    Open,
    Piece,
    Proof,
    Propose,
    Reveal,
    Sign,
    Status,
    decode_message,
)
from gossip.results import result_signing_digest
from gossip.session import is_certified
from gossip.state import MAX_ATTEMPTS_AHEAD, RoundState
from gossip.statements import Kind
from gossip.values import (
    EMPTY_SET,
    OUTCOME,
    SET,
    Certificate,
    SetValue,
    encode,
    value_digest,
)
from sim.node import SimulatedNode
from sim.world import World
from tests.helpers.liars import signed
from tests.helpers.worlds import known_world, recorded, saved_after, state_of

D = bytes(32)
ROUND = 2
PROPOSER = 2
VALUE = SetValue(D, ((0, D), (1, D), (2, D)), ((0, D), (1, D), (2, D)), ((0, D), (1, D), (2, D)))


@pytest.fixture
def world() -> World:
    return known_world(4, saved=saved_after(4, 1)).run(0.0)


@pytest.fixture
def state(world: World) -> RoundState:
    return state_of(world)


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
        "opened on another result": (
            1,
            msgspec.structs.replace(opened, previous=msgspec.structs.replace(start.previous, model=D)),
        ),
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
        "froze the deal of nobody": (PROPOSER, Freeze(c, ROUND, 0, (*deals[:2], (4, D)))),
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
        "certificate signed by nobody": (
            1,
            Status(c, ROUND, 1, SET, Certificate(0, VALUE, (*bound.signatures[:2], (4, bytes(64))))),
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


@pytest.mark.parametrize(
    "change",
    [{"attempt": 2}, {"subject": OUTCOME}, {"config": D}, {"round": 3}, {"prepared": Certificate(0, VALUE, ())}],
    ids=lambda change: next(iter(change)),
)
def test_a_status_that_is_not_of_this_attempt_and_agreement_and_true_justifies_no_propose(
    world: World, state: RoundState, change: dict[str, object]
) -> None:
    first, *others = statuses(world, 1)
    false = msgspec.structs.replace(Status(config(world), ROUND, 1, SET, None), **change)
    for status, reason in ((first, None), (says(world, 0, false), "proposed with a false status")):
        propose = Propose(config(world), ROUND, 1, SET, VALUE, (status, *others))
        assert agreement.validate_propose(state.context, state.context.proposer(1), propose) == reason


def test_a_status_that_its_sender_did_not_sign_justifies_no_propose(world: World, state: RoundState) -> None:
    first, *others = statuses(world, 1)
    forged = says(world, 3, decode_message(first.body))  # type: ignore[arg-type]
    propose = Propose(config(world), ROUND, 1, SET, VALUE, (msgspec.structs.replace(forged, sender=0), *others))
    assert agreement.validate_propose(state.context, 3, propose) == "proposed with a false status"


def test_a_statement_of_an_agreement_that_does_not_exist_is_not_kept(world: World, state: RoundState) -> None:
    after, blamed = hear(state, says(world, 1, Confirm(config(world), ROUND, 0, 2, D)))
    assert not after.records(Kind.CONFIRM, 0, 2)
    assert not blamed


@pytest.mark.parametrize("model", ["true", "another"])
def test_a_second_version_that_breaks_a_rule_is_not_kept_whoever_goes_by_it(
    world: World, state: RoundState, model: str
) -> None:
    c, liar = config(world), 3
    first = Deal(c, ROUND, state.context.model, (D,) * 4)
    second = Deal(c, ROUND, state.context.model if model == "true" else D, (bytes([1]) * 32,) * 4)
    name = recorded(world.nodes[liar], second).digest
    freeze = Freeze(c, ROUND, 0, ((0, D), (1, D), (liar, name)))
    envelopes = says(world, liar, first), says(world, PROPOSER, freeze), says(world, liar, second)
    after, blamed = hear(state, *envelopes)
    assert [blame.member for blame in blamed] == [liar]
    assert ((liar, name) in after.by_digest) is (model == "true")


@pytest.mark.parametrize("voters", [2, 3])
def test_a_value_is_prepared_and_final_by_the_votes_of_a_quorum(world: World, state: RoundState, voters: int) -> None:
    c, name = config(world), value_digest(VALUE)
    votes = [vote(c, ROUND, 0, SET, name) for vote in (Confirm, Commit)]
    said = [says(world, member, vote) for vote in votes for member in range(1, 1 + voters)]
    after, _ = hear(state, says(world, PROPOSER, Propose(c, ROUND, 0, SET, VALUE, ())), *said)
    assert (after.agreements[SET].prepared is not None) is (voters == 3)
    assert (after.agreements[SET].final is not None) is (voters == 3)


@pytest.mark.parametrize(("movers", "attempt"), [((1,), 0), ((1, 2), 1)])
def test_who_hears_t_and_one_statuses_of_later_attempts_goes_there(
    world: World, state: RoundState, movers: tuple[int, ...], attempt: int
) -> None:
    """Of those attempts to the latest that an honest member may be in."""
    said = [says(world, member, Status(config(world), ROUND, member, SET, None)) for member in movers]
    assert hear(state, *said)[0].agreements[SET].attempt == attempt


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


def test_only_a_quorum_of_a_results_signers_opens_the_next_round(world: World) -> None:
    node: SimulatedNode = world.nodes[0]
    start = node.begun_with
    opened = Open(node.identity.config, ROUND, 0, start.model, start.previous, start.signatures, start.cumulative, ())
    assert is_certified(node.identity, opened)
    for change in (
        {"signatures": start.signatures[:2]},
        {"signatures": ((0, start.signatures[1][1]), *start.signatures[1:])},
        {"signatures": (*start.signatures[:3], (4, start.signatures[0][1]))},
        {"model": D},
        {"cumulative": ()},
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
