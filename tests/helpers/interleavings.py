"""A model checker over the production step: n = 4, from the last Receipt on, one Byzantine proposer with two faces.

The three honest members run `gossip.round.step` on their real states.  What is interleaved: each delivery of a Propose,
Confirm, Commit or Status to each member, the end of each member's waits, and one restart.  The Byzantine member says
whatever helps it: two proposals, votes for both, a Status that hides what it knows; each member hears both, in some
order.  A member that is never chosen again has crashed; a message that is never chosen was lost.  Freezes, Proofs and
Receipts of a later attempt are delivered at once: nothing in the agreement depends on their order.

A state is known by what each member has heard, its attempt, its certificate and what became final for it, and by what
is under way; states that agree in these are visited once.
"""

from __future__ import annotations

import inspect
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType

from gossip import round as one_round
from gossip.events import Announce, Blame, CheckShare, Effect, Event, Heard, Prove, Tell, Ticked
from gossip.messages import SET, Commit, Confirm, Envelope, Propose, SetValue, Status, decode_message, value_digest
from gossip.state import RoundState
from gossip.statements import Kind
from sim.world import Scenario, SimulatedNode, World
from tests.helpers.liars import other_version, signed
from tests.helpers.worlds import known_world, saved_after

N = 4
ROUND = 2
LIAR = ROUND % N
MAX_STEPS = 400
AGREED = (Kind.PROPOSE, Kind.CONFIRM, Kind.COMMIT, Kind.STATUS)
Action = tuple[str, int, Envelope | None]


class Violation(AssertionError):
    """Something that must never happen did."""


@dataclass(frozen=True)
class Place:
    """A state of the whole: each honest member's, and what is under way to it."""

    states: dict[int, RoundState]
    nows: dict[int, float]
    under_way: frozenset[tuple[int, Envelope]]
    restarts: int = 0

    def key(self) -> tuple[object, ...]:
        return (
            tuple(_essence(state) for state in self.states.values()),
            frozenset((member, envelope.signature) for member, envelope in self.under_way),
            self.restarts,
        )


@dataclass
class Checker:
    """Explores; `visited` counts states, `deepest` the longest path, `settled` members at the ends of walks."""

    attempts: int = 2
    world: World = field(init=False)
    start: Place = field(init=False)
    visited: int = 0
    deepest: int = 0
    settled: int = 0

    def __post_init__(self) -> None:
        self._results: dict[tuple[int, object], Event | None] = {}
        captured: list[Envelope] = []
        self.world = known_world(N, saved=saved_after(N, 1), scenario=Scenario(lies={LIAR: _keeping(captured)}))
        self.honest = [node.me for node in self.world.nodes if node.me != LIAR]
        while not (captured and all(self._has_receipts(member) for member in self.honest)):
            self.world.run_on(0.001)
        states = {member: self._state_in_world(member) for member in self.honest}
        lies = list(self._lies(captured[0]))
        under_way = frozenset((member, envelope) for member in self.honest for envelope in lies)
        self.start = Place(states, dict.fromkeys(self.honest, self.world.now), under_way)

    # --- exploring --------------------------------------------------------------------------------------------------

    def breadth_first(self, limit: int) -> None:
        """Visit every state, nearest first, up to so many."""
        seen, queue = {self.start.key()}, deque([(self.start, 0)])
        while queue and self.visited < limit:
            place, depth = queue.popleft()
            self.visited += 1
            self.deepest = depth
            for action in self.actions(place):
                following = self.take(place, action)
                key = following.key()
                if key not in seen:
                    seen.add(key)
                    queue.append((following, depth + 1))

    def walk(self, seed: int) -> Place:
        """Follow one random path to its end."""
        chance, place, depth = random.Random(seed), self.start, 0
        impatience = chance.choice((0.01, 0.1, 0.5))
        while depth < MAX_STEPS and (actions := list(self.actions(place))):
            calm = [action for action in actions if action[0] == "deliver"]
            rash = [action for action in actions if action[0] != "deliver"]
            choices = rash if rash and (not calm or chance.random() < impatience) else calm
            place = self.take(place, chance.choice(choices))
            self.visited += 1
            depth += 1
        self.deepest = max(self.deepest, depth)
        self.settled += sum(state.agreements[0].final is not None for state in place.states.values())
        return place

    def actions(self, place: Place) -> Iterator[Action]:
        for member, envelope in sorted(place.under_way, key=lambda item: (item[0], item[1].signature)):
            yield "deliver", member, envelope
        for member, state in place.states.items():
            if state.agreements[0].final is None and state.timers:
                is_last = state.agreements[0].attempt + 1 == self.attempts
                if not (is_last and _next_timer(state).startswith(f"attempt:{SET}:")):
                    yield "expire", member, None
            if not place.restarts:
                yield "restart", member, None

    def take(self, place: Place, action: Action) -> Place:
        """The place after an action; raises Violation where something is wrong."""
        what, member, envelope = action
        states, nows, under_way = dict(place.states), dict(place.nows), set(place.under_way)
        restarts = place.restarts
        if what == "deliver":
            assert envelope is not None
            under_way.discard((member, envelope))
            self._step(states, nows, under_way, member, Heard(envelope))
        elif what == "expire":
            nows[member] = max(nows[member], states[member].timers[_next_timer(states[member])])
            self._step(states, nows, under_way, member, Ticked())
        else:
            restarts += 1
            self._carry_out(states, nows, under_way, member, one_round.resume(states[member]))
        self._judge(states)
        return Place(states, nows, frozenset(under_way), restarts)

    # --- one member -------------------------------------------------------------------------------------------------

    def _step(
        self,
        states: dict[int, RoundState],
        nows: dict[int, float],
        under_way: set[tuple[int, Envelope]],
        member: int,
        event: Event,
    ) -> None:
        before = states[member]
        states[member], effects = one_round.step(before, event, nows[member])
        for effect in effects:
            if isinstance(effect, Announce):
                message = decode_message(effect.envelope.body)
                said = before.records(*message.key).get(member)
                if said is not None and said.envelope != effect.envelope:
                    raise Violation(f"member {member} said two things: {said.message} and {message}")
        self._carry_out(states, nows, under_way, member, effects)

    def _carry_out(
        self,
        states: dict[int, RoundState],
        nows: dict[int, float],
        under_way: set[tuple[int, Envelope]],
        member: int,
        effects: list[Effect],
    ) -> None:
        for effect in effects:
            match effect:
                case Announce(envelope):
                    kind = decode_message(envelope.body).kind
                    others = [other for other in self.honest if other != member]
                    if kind in AGREED:
                        under_way |= {(o, envelope) for o in others if not _has(states[o], envelope)}
                        continue
                    if kind in (Kind.FREEZE, Kind.PROOF, Kind.RECEIPT):
                        for other in others:
                            self._step(states, nows, under_way, other, Heard(envelope))
                case Tell(other, envelopes) if other != LIAR:
                    under_way |= {(other, envelope) for envelope in envelopes if not _has(states[other], envelope)}
                case Prove() | CheckShare():
                    event = self._perform(member, effect)
                    if event is not None:
                        self._step(states, nows, under_way, member, event)
                case Blame(blamed, reason) if blamed != LIAR:
                    raise Violation(f"honest member {blamed} was blamed: {reason}")
                case _:
                    pass

    def _perform(self, member: int, work: Prove | CheckShare) -> Event | None:
        key = (member, work)
        if key not in self._results:
            self._results[key] = self.world.nodes[member].workshop.perform(work)
        return self._results[key]

    def _judge(self, states: dict[int, RoundState]) -> None:
        finals = {}
        for member, state in states.items():
            final = state.agreements[0].final
            if final is not None:
                finals[value_digest(final[1])] = member
                commits = state.records(Kind.COMMIT, final[0], SET)
                if len(commits) < state.context.parameters.quorum:
                    raise Violation(f"member {member} took a set as final with {len(commits)} Commits")
        if len(finals) > 1:
            raise Violation(f"two sets became final, for members {sorted(finals.values())}")

    # --- the beginning ----------------------------------------------------------------------------------------------

    def _lies(self, proposed: Envelope) -> Iterator[Envelope]:
        """All that the Byzantine member may say; who hears which of two contradicting statements is explored."""
        node = self.world.nodes[LIAR]
        first = decode_message(proposed.body)
        assert isinstance(first, Propose)
        second = other_version(node, first)
        assert isinstance(second, Propose)
        config = node.identity.config
        yield proposed
        yield signed(node, second)
        for value in (first.value, second.value):
            assert isinstance(value, SetValue)
            for attempt in range(self.attempts):
                yield signed(node, Confirm(config, ROUND, attempt, SET, value_digest(value)))
                yield signed(node, Commit(config, ROUND, attempt, SET, value_digest(value)))
        for attempt in range(1, self.attempts):
            yield signed(node, Status(config, ROUND, attempt, SET, None))

    def _state_in_world(self, member: int) -> RoundState:
        session = self.world.nodes[member].session
        assert session is not None
        return replace(session.current, timers=dict(session.current.timers))

    def _has_receipts(self, member: int) -> bool:
        return len(self._state_in_world(member).records(Kind.RECEIPT)) == N


def _keeping(captured: list[Envelope]):  # type: ignore[no-untyped-def]
    """A lie that keeps the first proposal to itself."""

    def lie(node: SimulatedNode, effects: list[Effect]) -> list[Effect]:
        told = []
        for effect in effects:
            if isinstance(effect, Announce) and decode_message(effect.envelope.body).kind in AGREED:
                if decode_message(effect.envelope.body).kind is Kind.PROPOSE:
                    captured.append(effect.envelope)
                continue
            told.append(effect)
        return told

    return lie


def _next_timer(state: RoundState) -> str:
    return min(state.timers, key=lambda name: (state.timers[name], name))


def _has(state: RoundState, envelope: Envelope) -> bool:
    message = decode_message(envelope.body)
    known = state.records(*message.key).get(envelope.sender)
    return known is not None and known.envelope == envelope


def _essence(state: RoundState) -> tuple[object, ...]:
    agreement = state.agreements[0]
    heard = frozenset(
        record.envelope.signature
        for (kind, _, subject), records in state.heard.items()
        if kind in AGREED and subject == SET
        for record in records.values()
    )
    prepared = None if agreement.prepared is None else (agreement.prepared.attempt, agreement.prepared.value)
    return (
        heard,
        frozenset(state.values),
        agreement.attempt,
        None if prepared is None else (prepared[0], value_digest(prepared[1])),
        agreement.final is not None,
    )


def changed(module: ModuleType, function: str, changes: dict[str, str]) -> Callable[..., object]:
    """A function of a module with some of its text replaced, to see what that text is for."""
    source = inspect.getsource(getattr(module, function))
    for old, new in changes.items():
        if source.count(old) != 1:
            raise ValueError(f"{function} has {old!r} {source.count(old)} times")
        source = source.replace(old, new)
    scope = dict(vars(module))
    exec(compile(source, f"{function}, changed", "exec"), scope)
    result: Callable[..., object] = scope[function]
    return result
