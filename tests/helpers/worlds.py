"""Small worlds of members with known contributions, and what must hold in every one of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from msgspec import structs

from gossip.events import Announce, Tell
from gossip.messages import (
    Commit,
    Message,
    Reveal,
    decode_message,
    message_digest,
)
from gossip.review import review
from gossip.state import PHASES, Record, RoundState
from gossip.statements import Kind
from gossip.values import SET
from sim.node import Saved, SimulatedNode
from sim.scenario import Scenario
from sim.world import World
from tests.helpers.learners import KnownLearner, first_model, small_spec
from tests.helpers.liars import signed


def known_world(
    n: int, *, rounds: int = 1, seed: int = 0, scenario: Scenario | None = None, **options: object
) -> World:
    """A world of `n` members that contribute known numbers."""
    spec = small_spec(rounds=rounds)
    learners = [KnownLearner(spec, index) for index in range(n)]
    return World(spec, learners, first_model(spec.dimension), seed=seed, scenario=scenario, **options)  # type: ignore[arg-type]


@cache
def saved_after(n: int, last_round: int) -> tuple[Saved, ...]:
    """Disks of `n` members that have settled `last_round` of one training round, to begin the next round from."""
    return known_world(n, last_round=last_round).run(300).save()


@cache
def settled_world() -> World:
    """Four members that have settled round 2, which opens the scores of round 1; not to be changed."""
    return known_world(4, saved=saved_after(4, 1)).run(300)


def state_of(world: World, member: int = 0) -> RoundState:
    """What a member knows of the round that it is in."""
    session = world.nodes[member].session
    assert session is not None
    return session.current


def recorded(node: SimulatedNode, message: Message) -> Record:
    """A statement as whoever heard the member make it keeps it."""
    envelope = signed(node, message)
    return Record(message, envelope, message_digest(envelope.body))


def with_statement(state: RoundState, kind: Kind, member: int, **changes: object) -> RoundState:
    """The state in which one first-attempt statement says something else, under the digest that others name it by."""
    key = (kind, 0, 0)
    record = state.heard[key][member]
    other = replace(record, message=structs.replace(record.message, **changes))
    by_digest = {name: other if kept is record else kept for name, kept in state.by_digest.items()}
    return replace(state, heard={**state.heard, key: {**state.heard[key], member: other}}, by_digest=by_digest)


def assert_agreement(world: World, *, liars: frozenset[int] = frozenset()) -> None:
    """Whoever is up and honest settled on the same results, said nothing twice, and blamed no honest member."""
    honest = [node for node in world.nodes if node.is_up and node.me not in liars]
    stuck = [node.me for node in honest if world.last_round not in node.results]
    assert not stuck, f"members {stuck} never settled round {world.last_round}, at {world.now:.1f} s"
    for round_id in range(world.last_round + 1):
        results = {node.results[round_id] for node in honest if round_id in node.results}
        assert len(results) <= 1, f"two results of round {round_id}"
    twice = [first.sender for first, _ in world.contradictions if first.sender not in liars]
    assert not twice, f"members {twice} said two different things"
    assert world.blamed() <= liars, f"honest members {world.blamed() - liars} were blamed"
    assert_reveals(world, liars)
    assert_records(world, liars)


def assert_reveals(world: World, liars: frozenset[int]) -> None:
    """Whenever an honest member revealed anything, a quorum had said its Commits to that very set."""
    commits: dict[tuple[int, int, bytes], set[int]] = {}
    for at, _, effect in world.trace:
        envelopes = (effect.envelope,) if isinstance(effect, Announce) else ()
        for envelope in effect.envelopes if isinstance(effect, Tell) else envelopes:
            message = decode_message(envelope.body)
            if isinstance(message, Commit) and message.subject == SET:
                commits.setdefault((message.round, message.attempt, message.value), set()).add(envelope.sender)
            elif isinstance(message, Reveal) and envelope.sender not in liars:
                most = max((len(members) for (of, _, value), members in commits.items()
                            if (of, value) == (message.round, message.value)), default=0)  # fmt: skip
                quorum = world.nodes[envelope.sender].identity.parameters.quorum
                assert most >= quorum, f"member {envelope.sender} revealed at {at:.1f} s after {most} Commits"


def assert_records(world: World, liars: frozenset[int]) -> None:
    """An auditor finds the honest members' records in order, and every fault shown that they blame somebody for."""
    honest = [node for node in world.nodes if node.me not in liars]
    evidence = {name: data for node in honest for name, data in node.evidence.items()}
    for round_id in range(world.last_round + 1):
        records = [node.records[round_id] for node in honest if round_id in node.records]
        if records:
            found = review(records, honest[0].identity, evidence.get, b"\1" * 32)
            assert not found.findings, f"round {round_id}: {found.findings}"
            assert {member for member, _ in found.faults} <= liars


def kinds_said(world: World) -> set[Kind]:
    """Kinds of statements that somebody made."""
    return {decode_message(envelope.body).key[0] for envelope in world.said.values()}


def phases_entered(world: World) -> set[str]:
    """Phases that some member's round came to."""
    found = {effect.phase for _, _, effect in world.trace if type(effect).__name__ == "Entered"}  # type: ignore[union-attr]
    return found & set(PHASES)
