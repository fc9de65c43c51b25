"""Random worlds in which all goes wrong at once: liars, members that are gone, and others that crash and come back."""

from __future__ import annotations

import random
from collections.abc import Iterator

from msgspec import structs

from gossip.events import Announce, Effect, Tell
from gossip.messages import Commit, Confirm, Message, Propose, decode_message, value_digest
from gossip.parameters import Parameters
from gossip.statements import Kind
from sim.world import Crash, Scenario, SimulatedNode, World
from tests.helpers import liars
from tests.helpers.learners import KnownLearner, first_model, small_spec

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
