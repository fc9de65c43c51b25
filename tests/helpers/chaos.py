"""Random worlds in which all goes wrong at once: liars, members that are gone, and others that crash and come back.

What is required of naming, beside that no honest member is named:

- Two versions of a statement of which honest members hold different ones when the last round has ended and they have
  gone on exchanging for a while: a member that is up has named their sender.  In earlier rounds an auditor finds them
  in the honest members' records.
- A share that an honest holder found to contradict its dealer's Proof: its dealer is named.
- In a calm world, where nobody stops and nothing is slow or lost, every member whose work for others was false; for
  false answers to scores only where 2t + 2k - 1 true ones came, since of fewer nobody can say which are false.

It cannot be required otherwise.  Two versions of which one reached nobody that is honest and up, or reached it after
the last statement of a round was passed on, are one version to all who could tell.  A partial sum, piece or answer is
judged only by who fetches it, against 2t + k (2t + 2k - 1) others that came in time; where messages take seconds and
members stop, a false one may come when the sum is open.  What is withheld is missing, and no fault.

What is required of progress: members that all do as they should, with the disks that chaos left, settle one of the next
two rounds; an abandoned one is none.  A sum that was abandoned may forbid a first set; nothing is open after two.
Nothing is required while up to t members lie: they may void every round in which they deal (DESIGN 7).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from msgspec import structs

from gossip.events import Announce, Effect, Event, Tell, Work
from gossip.layout import PIECES_FROM_MEMBERS
from gossip.messages import (
    Commit,
    Confirm,
    Message,
    Propose,
    decode_message,
)
from gossip.parameters import Parameters
from gossip.review import review
from gossip.statements import Kind
from gossip.values import value_digest
from node.workshop import Workshop
from sim.node import SimulatedNode
from sim.scenario import Crash, Scenario
from sim.world import World
from tests.helpers import liars
from tests.helpers.learners import KnownLearner, first_model, small_spec

Lie = Callable[[Workshop, Work, Event | None], Event | None]

WORK = (liars.false_sum, liars.false_piece, liars.false_checks, liars.false_proof, liars.false_answers)


def chaotic_world(seed: int, n: int) -> World:
    """Up to t members of `n` are faulty: they lie, or are gone; of the others some crash, and come back."""
    chance, t = random.Random(seed), Parameters.of_size(n).privacy_threshold
    false = chance.sample(range(n), chance.randint(0, t))
    honest = [member for member in range(n) if member not in false]
    gone = chance.sample(honest, t - len(false)) if chance.random() < 0.7 else []
    scenario = Scenario(
        latency_seconds=(0.01, chance.choice((0.05, 0.05, 1.0, 4.0))),
        loss=chance.choice((0.0, 0.0, 0.2, 0.5)),
        notice_seconds=chance.choice((0.2, 0.2, None)),
        crashes=tuple(_crashes(chance, gone, [member for member in honest if member not in gone])),
        lies={member: Liar(chance, n) for member in false},
        keep_to_themselves=frozenset(member for member in false if chance.random() < 0.6),
    )
    begin = chance.choice((0, 0, 1))
    world = _world(n, begin + 1, scenario, saved=_world(n, begin, seed=seed).run(300).save(), seed=seed)
    for member in false:
        _lie_at_work(chance, world, member)
    return world


def calm_world(seed: int, n: int) -> tuple[World, dict[int, set[Lie]]]:
    """Up to t members work falsely and nothing else goes wrong; with what each has done, as the world goes on."""
    chance, t = random.Random(seed), Parameters.of_size(n).privacy_threshold
    false = chance.sample(range(n), chance.randint(1, t))
    scenario = Scenario(lies={member: _as_ever for member in false})
    world = _world(n, 2, scenario, saved=_world(n, 1, seed=seed).run(300).save(), seed=seed)
    # A sum of one piece everybody rebuilds: who does so falsely tells nobody, and answers for scores that nobody opens.
    lies = WORK if n >= PIECES_FROM_MEMBERS else [lie for lie in WORK if lie is not liars.false_piece]
    done: dict[int, set[Lie]] = {}
    for member in false:
        for lie in chance.sample(lies, chance.randint(1, 2)):
            liars.lie_at_work(world, member, _noting(lie, member, done))
    return world, done


def to_be_named(world: World, done: dict[int, set[Lie]]) -> set[int]:
    """Who has to be named after a calm world."""
    session = next(node.session for node in world.nodes if node.me not in done)
    assert session is not None
    assert session.current.decoded is not None
    direction = session.current.decoded[2]  # whoever rebuilt a false sum answers along another
    records = session.current.records(Kind.SCORE).items()
    answered = {sender for sender, record in records if structs.asdict(record.message)["direction"] == direction}
    true = answered - {member for member, lies in done.items() if liars.false_answers in lies}
    if len(true) >= Parameters.of_size(len(world.nodes)).agreeing_answers:
        return set(done)
    return {member for member, lies in done.items() if lies != {liars.false_answers}}


def world_after(world: World, rounds: int) -> World:
    """The members of a world as its end left their disks; from then on nobody lies or stops and nothing is lost."""
    n, last = len(world.nodes), world.last_round + rounds
    return _world(n, last, saved=world.save(), seed=world.seed)


def assert_named(world: World) -> None:
    """Whoever told honest members different things, or dealt what contradicts its Proof, was named."""
    honest = [node for node in world.nodes if node.me not in world.scenario.lies]
    states = [node.session.current for node in honest if node.session is not None]
    states = [state for state in states if state.context.round == world.last_round]
    versions: dict[tuple[int, Kind, int, int], set[bytes]] = {}
    for state in states:
        for key, records in state.heard.items():
            for sender, record in records.items():
                versions.setdefault((sender, *key), set()).add(record.digest)
    two_faced = {key[0] for key, digests in versions.items() if len(digests) > 1}
    false = {dealer for state in states for (dealer, _, _), agrees in state.checked.items() if not agrees}
    named = {member for state in states for member, _ in state.blamed}
    assert two_faced <= named, f"members {two_faced - named} said two things to honest members, and nobody named them"
    assert false <= named, f"members {false - named} dealt false shares, and nobody named them"
    for round_id in range(world.last_round):
        assert_named_in_records(honest, round_id)


def assert_named_in_records(honest: list[SimulatedNode], round_id: int) -> None:
    """Two versions of a statement in the records of a round make an auditor name who said them."""
    records = [node.records[round_id] for node in honest if round_id in node.records]
    versions: dict[tuple[int, Kind, int, int], set[bytes]] = {}
    for record in records:
        for envelope in record.statements:
            message = decode_message(envelope.body)
            versions.setdefault((envelope.sender, *message.key), set()).add(envelope.body)
    two_faced = {key[0] for key, bodies in versions.items() if len(bodies) > 1}
    if two_faced:
        evidence = {name: data for node in honest for name, data in node.evidence.items()}
        found = review(records, honest[0].identity, evidence.get, b"\1" * 32)
        named = {member for member, _ in found.faults}
        assert two_faced <= named, f"round {round_id}: no auditor names members {two_faced - named}"


def _noting(lie: Lie, member: int, done: dict[int, set[Lie]]) -> Lie:
    def noting(workshop: Workshop, work: Work, event: Event | None) -> Event | None:
        answer = lie(workshop, work, event)
        if answer != event:
            done.setdefault(member, set()).add(lie)
        return answer

    return noting


def _as_ever(node: SimulatedNode, effects: list[Effect]) -> list[Effect]:
    return effects


def _world(n: int, last_round: int, scenario: Scenario | None = None, **options: object) -> World:
    dimension = 60 if n >= 6 else 6
    spec = small_spec(dimension=dimension, rounds=2)
    learners = [KnownLearner(spec, member) for member in range(n)]
    model = first_model(dimension)
    return World(spec, learners, model, scenario=scenario, last_round=last_round, **options)  # type: ignore[arg-type]


def _crashes(chance: random.Random, gone: list[int], steady: list[int]) -> Iterator[Crash]:
    for member in gone:
        back_after = None if chance.random() < 0.6 else chance.choice((0.05, 1.0, 20.0, 60.0))
        yield Crash(member, chance.randrange(1, 120), chance.random() < 0.5, back_after)
    for member in chance.sample(steady, chance.randint(0, min(3, len(steady)))):
        for _ in range(chance.randint(1, 3)):
            back_after = chance.choice((0.05, 0.5, 3.0, 20.0))
            yield Crash(member, chance.randrange(1, 160), chance.random() < 0.5, back_after)


def _lie_at_work(chance: random.Random, world: World, member: int) -> None:
    others = [node.me for node in world.nodes if node.me != member]
    for lie in WORK:
        if chance.random() < 0.25:
            liars.lie_at_work(world, member, lie)
    if chance.random() < 0.25:
        liars.deal_unequally(world, member, chance.choice(others), is_canonical=chance.random() < 0.7)
    if chance.random() < 0.25:
        liars.deal_late(world, member, chance.choice(others))


class Liar:
    """Has two faces in some kinds of statements, withholds some from some members, and may stop at one of them."""

    def __init__(self, chance: random.Random, n: int) -> None:
        share = chance.choice((0.1, 0.4))
        self.kinds = {kind for kind in Kind if chance.random() < share}
        self.others_see = {kind: {member for member in range(n) if chance.random() < 0.5} for kind in Kind}
        self.never_told = {
            kind: {member for member in range(n) if chance.random() < 0.6} if chance.random() < 0.15 else set()
            for kind in Kind
        }
        self.stops_after = chance.choice([*Kind, *[None] * 8])
        self.has_stopped = False
        self.other_values: dict[bytes, bytes] = {}

    def __call__(self, node: SimulatedNode, effects: list[Effect]) -> list[Effect]:
        told: list[Effect] = []
        for effect in effects:
            if self.has_stopped:
                break
            if not isinstance(effect, Announce):
                told.append(effect)
                continue
            message = decode_message(effect.envelope.body)
            other = self._other(node, message)
            versions = (effect.envelope, effect.envelope if other is None else liars.signed(node, other))
            for member in range(len(node.identity.signers)):
                if member != node.me and member not in self.never_told[message.kind]:
                    told.append(Tell(member, (versions[member in self.others_see[message.kind]],)))
            self.has_stopped = message.kind is self.stops_after
        return told

    def _other(self, node: SimulatedNode, message: Message) -> Message | None:
        if message.kind not in self.kinds:
            return None
        if isinstance(message, Confirm | Commit) and message.value in self.other_values:
            return structs.replace(message, value=self.other_values[message.value])
        other = liars.other_version(node, message)
        if isinstance(message, Propose) and isinstance(other, Propose):
            first, second = value_digest(message.value), value_digest(other.value)
            self.other_values |= {first: second, second: first}
        return other
