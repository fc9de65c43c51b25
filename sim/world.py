"""A consortium on one machine, in virtual time: every member runs the production `step` and `Workshop`.

What is simulated is the world around them: latency, loss, crashes, restarts and lies.  A run is a function of its
arguments: the same `Scenario` and seed give the same messages, results and digests, whatever the machine.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

from gossip import session as sessions
from gossip.committee import NOBODY, Committee, committee_of
from gossip.events import (
    Announce,
    Blame,
    Deal,
    Effect,
    Entered,
    Event,
    FetchPayload,
    FetchShare,
    Heard,
    LaggedBehind,
    Missed,
    PeerDown,
    PeerUp,
    PushShares,
    Settled,
    Tell,
    Ticked,
    Work,
    Working,
)
from gossip.messages import Envelope, decode_message
from gossip.record import evidence_of, record_of
from gossip.session import Identity, RoundStart
from gossip.spec import TaskSpec, blob_digest
from gossip.statements import Domain, Kind, address_of, sign
from gossip.values import RoundResult
from ledger.types import VaultTerms
from node.contribution import Learner
from node.workshop import MissingModel, Workshop, committed_rewards
from sim.keys import member_key
from sim.node import MemoryBlobs, Saved, SimulatedNode
from sim.scenario import Crash, Scenario

Turnover = Sequence[tuple[int, frozenset[int]]]
"""Who makes the rounds from one on, by roster index; the first entry is for round 0."""


class World:
    """Members, an event heap, and a trace of everything that was said and found.

    Attributes:
        plan: the committees, one after another.
        trace: (time, roster index, effect), in order.
        uploaded: bytes of shares, sums and models that each member sent, by roster index.
    """

    def __init__(
        self,
        spec: TaskSpec,
        learners: Sequence[Learner],
        model: bytes,
        *,
        seed: int = 0,
        scenario: Scenario | None = None,
        terms: VaultTerms | None = None,
        last_round: int | None = None,
        saved: Sequence[Saved] | None = None,
        turnover: Turnover | None = None,
    ) -> None:
        self.spec = spec
        self.seed = seed
        self.scenario = scenario or Scenario()
        self.last_round = spec.closing_round if last_round is None else last_round
        self.now = 0.0
        self.trace: list[tuple[float, int, Effect]] = []
        self.uploaded: Counter[int] = Counter()
        self.said: dict[tuple[int, int, Kind, int, int], Envelope] = {}
        self.contradictions: list[tuple[Envelope, Envelope]] = []
        self._chance = random.Random(seed)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        n = len(learners)
        keys = [member_key(seed, index) for index in range(n)]
        signers = tuple(address_of(key.public_key) for key in keys)
        turnover = turnover or [(0, frozenset(range(n)))]
        self.plan = _plan(spec, signers, turnover)
        terms = terms or VaultTerms(10**18, 500_000, 0)
        start = RoundStart(0, blob_digest(model), None, (), (bytes(16),) * len(self.plan[0].signers))
        self.nodes = []
        for index, learner in enumerate(learners):
            committee = next(each for each in self.plan if index in each.seats)
            identity = Identity(
                me=committee.seats.index(index),
                committee=committee,
                sign=lambda digest, key=keys[index]: sign(key, digest),  # type: ignore[misc]
                domain=Domain(1, bytes(20)),
                timing=self.scenario.timing,
                rewards_root=committed_rewards,
                plan=self.plan,
            )
            blobs = MemoryBlobs()
            blobs.put(start.model, 0, model)
            if saved is not None:
                start, blobs = saved[index].start, saved[index].blobs.copy()
            workshop = Workshop(identity, learner, blobs, terms, self._chance.randbytes)
            crashes = {crash.at: crash for crash in self.scenario.crashes if crash.member == index}
            self.nodes.append(SimulatedNode(index, identity, learner, blobs, workshop, start, crashes=crashes))
        for node in (node for node in self.nodes if node.identity.committee is self.plan[0]):
            self._later(0.0, lambda node=node: self._start(node))  # type: ignore[misc]
        self._later(self.scenario.exchange_seconds, self._exchange)

    # --- running --------------------------------------------------------------------------------------------------

    def run(self, until_seconds: float = 100_000.0) -> World:
        """Run until every honest member that is up has settled the last round, or nothing more happens by then."""
        while self._heap and not self.is_over:
            at, _, action = heapq.heappop(self._heap)
            if at > until_seconds:
                break
            self.now = at
            action()
        return self

    def run_on(self, seconds: float) -> World:
        """Go on for so long, although every member may have settled: what was said late still arrives."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = end
        return self

    @property
    def is_over(self) -> bool:
        honest = (node for node in self.nodes if node.is_up and node.index not in self.scenario.lies)
        is_settled = all(self.last_round in node.results for node in honest)
        return is_settled and not any(node.will_return for node in self.nodes)

    def effects(self, kind: type[Effect]) -> Iterator[tuple[float, int, Effect]]:
        """(time, member, effect) of one kind, in order."""
        return (entry for entry in self.trace if isinstance(entry[2], kind))

    def save(self) -> tuple[Saved, ...]:
        """Every member's disk after the last round, to go on from with the next one."""
        return tuple(Saved(node.next_start or node.begun_with, node.blobs.copy()) for node in self.nodes)

    def blamed(self) -> set[int]:
        """Every member that somebody blamed."""
        return {effect.member for _, _, effect in self.trace if isinstance(effect, Blame)}

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), action))

    def _latency(self) -> float:
        return self._chance.uniform(*self.scenario.latency_seconds)

    def _send(self, seconds: float, node: SimulatedNode, event: Event) -> None:
        """Deliver an event to a member, if it is still in the same life then."""
        life = node.life
        self._later(seconds, lambda: self._handle(node, event) if node.life == life else None)

    # --- lives ----------------------------------------------------------------------------------------------------

    def _start(self, node: SimulatedNode) -> None:
        """Begin, or come back: replay the log, then say again what was said."""
        node.will_return = False
        node.workshop.begin(node.begun_with)
        is_new = node.begun_at is None
        if node.begun_at is None:
            node.begun_at = self.now
        session, effects = sessions.start(node.identity, node.begun_with, node.begun_at, node.conduct, node.pace)
        if not is_new:
            for at, event in node.log:
                session, _ = sessions.step(session, event, at)
            effects = sessions.resume(session)
        node.session = session
        self._perform(node, effects)
        self._tick_when_due(node)

    def _stop(self, node: SimulatedNode, crash: Crash) -> None:
        node.session = None
        node.life += 1
        self._notice(node, PeerDown)
        node.will_return = crash.back_after_seconds is not None
        if crash.back_after_seconds is not None:
            self._later(crash.back_after_seconds, lambda: self._return(node))

    def _return(self, node: SimulatedNode) -> None:
        node.life += 1
        self._start(node)
        self._notice(node, PeerUp)
        self._meet(node)

    def _meet(self, node: SimulatedNode) -> None:
        """Tell it who is there of its committee."""
        for member, index in enumerate(node.identity.committee.seats):
            if index != node.index:
                self._send(0.0, node, PeerUp(member) if self.nodes[index].is_up else PeerDown(member))

    def _notice(self, node: SimulatedNode, kind: type[PeerUp | PeerDown]) -> None:
        if self.scenario.notice_seconds is not None:
            for other in self.nodes:
                member = other.identity.committee.member_at(node.index)
                if other is not node and other.is_up and member is not None:
                    self._send(self.scenario.notice_seconds, other, kind(member))

    def _at(self, node: SimulatedNode, member: int) -> SimulatedNode:
        """The member in this place of a node's committee."""
        return self.nodes[node.identity.committee.seats[member]]

    # --- events and effects ---------------------------------------------------------------------------------------

    def _handle(self, node: SimulatedNode, event: Event) -> None:
        if node.session is None:
            return
        crash = node.crashes.pop(node.handled, None)
        if crash is not None:
            if crash.is_logged:
                node.log.append((self.now, event))
            self._stop(node, crash)
            return
        node.handled += 1
        node.log.append((self.now, event))
        node.session, effects = sessions.step(node.session, event, self.now)
        self._perform(node, effects)
        self._tick_when_due(node)

    def _tick_when_due(self, node: SimulatedNode) -> None:
        deadline = node.session.deadline if node.session is not None else None
        if deadline is not None:
            life = node.life

            def tick() -> None:
                alive = node.session is not None and node.life == life
                if alive and node.session is not None and node.session.deadline == deadline:
                    self._handle(node, Ticked())

            self._later(max(0.0, deadline - self.now), tick)

    def _perform(self, node: SimulatedNode, effects: list[Effect]) -> None:
        lie = self.scenario.lies.get(node.index)
        for effect in effects if lie is None else lie(node, effects):
            self.trace.append((self.now, node.index, effect))
            self._do(node, effect)

    def _do(self, node: SimulatedNode, effect: Effect) -> None:
        match effect:
            case Announce(envelope):
                self._note_said(envelope)
                for other in self.nodes:
                    if other is not node and self._chance.random() >= self.scenario.loss:
                        self._send(self._latency(), other, Heard(envelope))
            case Tell(member, envelopes):
                for envelope in envelopes:
                    self._send(self._latency(), self._at(node, member), Heard(envelope))
            case PushShares():
                for share in node.workshop.shares():
                    self.uploaded[node.index] += share.size
                    if self._chance.random() >= self.scenario.loss:
                        self._push(node, self._at(node, share.holder), node.round, share.data())
            case FetchShare(dealer, name):
                self._fetch_share(node, self._at(node, dealer), name, node.round)
            case FetchPayload():
                self._fetch_payload(node, effect, node.round)
            case Settled(result, signatures, _):
                self._publish(node, result, signatures)
                self._finish(node, result, lambda: node.workshop.next_start(result, signatures))
            case LaggedBehind(opened) if opened.previous is not None:
                self._finish(node, opened.previous, lambda: node.workshop.start_from(opened))
            case Blame() | Missed() | Entered() | LaggedBehind():
                pass
            case _:
                self._work(node, effect)

    def _work(self, node: SimulatedNode, work: Work) -> None:
        life, round_id = node.life, node.round

        def perform() -> None:
            if node.life == life and node.round == round_id:
                event = node.workshop.perform(work)
                if event is not None:
                    self._handle(node, event)

        scenario, seconds = self.scenario, self.scenario.work_seconds
        if isinstance(work, Deal):
            seconds = max(seconds, scenario.training_seconds.get(node.index, 0.0))
            signs = 0 if node.index in scenario.hanging else int(seconds / scenario.exchange_seconds)
            for sign in range(signs):
                self._later(sign * scenario.exchange_seconds, lambda: self._show_work(node, life, round_id))
        self._later(seconds, perform)

    def _show_work(self, node: SimulatedNode, life: int, round_id: int) -> None:
        if node.life == life and node.round == round_id:
            for other in (other for other in self.nodes if other.is_up and other.round == round_id):
                self._send(0.0 if other is node else self._latency(), other, Working(node.me))

    def _push(self, dealer: SimulatedNode, holder: SimulatedNode, round_id: int, blob: bytes) -> None:
        def arrive() -> None:
            if holder.is_up and holder.round == round_id:
                event = holder.workshop.accept_share(round_id, dealer.me, blob)
                if event is not None:
                    self._handle(holder, event)

        self._later(self._latency(), arrive)

    def _fetch_share(self, node: SimulatedNode, dealer: SimulatedNode, name: bytes, round_id: int) -> None:
        def arrive() -> None:
            if not node.is_up or node.round != round_id or node.blobs.get(name) is not None:
                return
            blob = dealer.workshop.share_of(node.me, name) if dealer.is_up and dealer.round == round_id else None
            event = None if blob is None else node.workshop.accept_share(round_id, dealer.me, blob)
            if event is not None:
                self._handle(node, event)
            else:
                self._later(self.scenario.exchange_seconds, arrive)

        self._later(2 * self._latency(), arrive)

    def _fetch_payload(self, node: SimulatedNode, wanted: FetchPayload, round_id: int) -> None:
        def arrive() -> None:
            if not node.is_up or node.round != round_id:
                return
            is_share = wanted.what == "share"  # of which nobody is asked but who complained about it
            data = self._find(wanted.digest, self._at(node, wanted.holder), only=is_share)
            event = data and node.workshop.accept_payload(wanted.what, wanted.index, wanted.holder, data)
            if event:
                self._handle(node, event)
            else:
                self._later(self.scenario.exchange_seconds, arrive)

        self._later(2 * self._latency(), arrive)

    def _find(self, name: bytes, holder: SimulatedNode, *, only: bool = False) -> bytes | None:
        """Bytes by digest from `holder`, or else from whoever has them; they count as uploaded."""
        others = (node for node in self.nodes if node.is_up and (not only or node is holder))
        for other in sorted(others, key=lambda other: (other is not holder, other.index)):
            data = other.blobs.get(name)
            if data is not None:
                self.uploaded[other.index] += len(data)
                return data
        return None

    def _finish(self, node: SimulatedNode, result: RoundResult, make_start: Callable[[], RoundStart]) -> None:
        """Go on to the next round once the model is here."""
        life = node.life
        if not node.is_up or node.round > result.round:
            return
        try:
            start = make_start()
        except MissingModel as missing:
            data = self._find(missing.model, self.nodes[0])
            if data is not None:
                node.blobs.put(missing.model, result.round, data)
            self._later(
                2 * self._latency(), lambda: self._finish(node, result, make_start) if node.life == life else None
            )
            return
        node.results[result.round] = result
        node.models[result.round] = node.blobs.get(result.model) or b""
        node.next_start = start
        if result.round >= self.last_round or node.session is None:
            return
        committee = committee_of(self.plan, start.round)
        self._admit(committee, start, node.models[result.round])
        me = committee.member_at(node.index)
        if me is None:
            node.session = None  # it is no member any more
            node.life += 1
            return
        has_moved = committee is not node.identity.committee
        node.identity = node.workshop.identity = replace(node.identity, me=me, committee=committee)
        node.begun_with = start
        node.log = []
        node.blobs.prune(start.round - 2)
        node.blobs.put(start.model, start.round, node.models[result.round])
        node.workshop.begin(start)
        node.begun_at = self.now
        node.session, effects, waiting = sessions.advance(node.session, node.identity, start, self.now)
        node.conduct, node.pace = node.session.conduct, node.session.pace
        self._perform(node, effects)
        for event in waiting:
            self._handle(node, event)
        if has_moved:
            self._meet(node)
        self._tick_when_due(node)

    def _admit(self, committee: Committee, start: RoundStart, model: bytes) -> None:
        """Let those begin that take part from this round on, from what the ledger and their peers show."""
        for node in (self.nodes[index] for index in committee.seats if self.nodes[index].begun_at is None):
            if node.begun_with.round < start.round == committee.first_round:
                node.begun_with = start
                node.blobs.put(start.model, start.round, model)
                self._later(self._latency(), lambda node=node: self._start(node))  # type: ignore[misc]

    def _publish(self, node: SimulatedNode, result: RoundResult, signatures: tuple[tuple[int, bytes], ...]) -> None:
        """Keep the record of the round that has settled, and what its faults are judged by."""
        if node.session is None:
            return
        state, terms = node.session.current, node.workshop.score_terms(result.model)
        node.records[node.round] = record_of(state, node.begun_with, node.identity.spec, signatures, terms)
        found = ((name, node.blobs.get(name)) for name in evidence_of(state))
        node.evidence |= {name: data for name, data in found if data is not None}

    def _exchange(self) -> None:
        """Every member hands every other what that one lacks."""
        alive = [node for node in self.nodes if node.session is not None]
        held = {node.index: {e.signature: e for e in node.session.envelopes()} for node in alive if node.session}
        for node in (node for node in alive if node.index not in self.scenario.keep_to_themselves):
            for other in alive:
                for signature in sorted(held[node.index].keys() - held[other.index].keys()):
                    envelope = held[node.index][signature]
                    if self._sender(envelope) is node:  # a liar may have announced something else, or nothing
                        self.trace.append((self.now, node.index, Tell(other.me, (envelope,))))
                    self._send(self._latency(), other, Heard(envelope))
        self._later(self.scenario.exchange_seconds, self._exchange)

    def _sender(self, envelope: Envelope) -> SimulatedNode:
        committee = committee_of(self.plan, decode_message(envelope.body).round)
        return self.nodes[committee.seats[envelope.sender]]

    def _note_said(self, envelope: Envelope) -> None:
        message = decode_message(envelope.body)
        key = (envelope.sender, message.round, *message.key)
        first = self.said.setdefault(key, envelope)
        if first.body != envelope.body:
            self.contradictions.append((first, envelope))


def _plan(spec: TaskSpec, signers: tuple[bytes, ...], turnover: Turnover) -> tuple[Committee, ...]:
    plan, size = [], 0
    for number, (first_round, members) in enumerate(turnover, 1):
        size = max(size, *(index + 1 for index in members))  # who is gone keeps its roster index
        known = tuple(signers[index] if index in members else NOBODY for index in range(size))
        plan.append(Committee(bytes(31) + bytes([number]), known, spec, first_round))
    return tuple(plan)
