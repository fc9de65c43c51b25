"""A model checker over the production step: n = 4, from the first Freeze on, one Byzantine member, every interleaving.

The three honest members run `gossip.round.step` on their real states.  What a member does follows from what it handled
and in which order, so each member's states are found once, by running `step` and keeping its answer; a state of the
whole is three of them.  What was said stays to be heard: which of it a member hears, when, and when its waits end, is
explored.  A message that is never heard was lost; a member that does nothing more has crashed.  A restart is compared
in every state of a member: its log, replayed, gives that very state, and it says again what it said and nothing else;
so a member may restart anywhere, any number of times, and the whole has no other states for it.

The Byzantine member proposes in one of the attempts.  It says whatever helps it: two proposals or more, votes for all,
Statuses that hide or show any certificate; each member hears any of these first, or none.

Three things are batched, since they cannot matter for what becomes final; `bundles` is compared with all orders by a
test.  (1) A member hears together what makes it act: a delivery that changes nothing but what was heard can wait until
it does.  (2) Proofs, Receipts and the Freeze of an honest proposer are heard at once, and the waits for those that are
missing end for all members together.  (3) Certificates of one value and attempt are interchangeable, whoever signed.
Waits end in any order, however long they are.
"""

from __future__ import annotations

import inspect
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from types import ModuleType

from gossip import round as one_round
from gossip.agreement import highest_prepared
from gossip.events import Announce, Blame, CheckShare, Effect, Event, Heard, Prove, Proved, ShareChecked, Ticked
from gossip.messages import (
    AnyMessage,
    Commit,
    Confirm,
    Envelope,
    Freeze,
    Proof,
    Propose,
    Receipt,
    Status,
    decode_message,
    message_digest,
)
from gossip.state import RoundState
from gossip.statements import Kind
from gossip.values import (
    SET,
    Certificate,
    SetValue,
    Value,
    encode,
    value_digest,
)
from sim.node import SimulatedNode
from sim.scenario import Scenario
from sim.world import World
from tests.helpers.liars import signed
from tests.helpers.worlds import known_world, saved_after

N = 4
ROUND = 2
QUORUM = 3
AGREED = (Kind.PROPOSE, Kind.CONFIRM, Kind.COMMIT, Kind.STATUS)
NEVER = 1e9
Choice = int | str
"""What a member handles: a message by its number, or the end of a wait by its name."""


class Violation(AssertionError):
    """Something that must never happen did."""


@dataclass(frozen=True)
class Local:
    """A state of one member.

    Attributes:
        said, heard: numbers of messages, as bits.
        shown: what others can notice of it, or what it may act upon later: without what it merely heard.
        came_from: a state before it and what was handled there.
    """

    state: RoundState
    said: int
    heard: int
    shown: tuple[object, ...]
    is_final: bool
    came_from: tuple[int, Choice] | None


class Member:
    """The states of one member that were met, and what `step` makes of each."""

    def __init__(self, me: int, start: RoundState, now: float, lore: Lore) -> None:
        self.me, self.now, self.lore = me, now, lore
        self.locals: list[Local] = []
        self.steps = 0
        self._ids: dict[tuple[object, ...], int] = {}
        self._after: dict[tuple[int, Choice], int] = {}
        self._bundles: dict[tuple[int, int], tuple[int, ...]] = {}
        self._interest: dict[int, tuple[int, int]] = {}
        self._keep(start, None)

    def after(self, local: int, choice: Choice) -> int:
        """The state after something is handled."""
        known = self._after.get((local, choice))
        if known is None:
            state = self._run(self.locals[local].state, choice)
            known = self._after[local, choice] = self._keep(state, (local, choice))
        return known

    def waits(self, local: int, prefix: str) -> list[str]:
        """Names of the waits under way that begin so."""
        return [name for name in self.locals[local].state.timers if name.startswith(prefix)]

    def check_restart(self, local: int) -> None:
        """Raise Violation if a restart would change anything."""
        found, log = self.locals[local], []
        at = found.came_from
        while at is not None:
            log.append(at[1])
            at = self.locals[at[0]].came_from
        state = self.locals[0].state
        for choice in reversed(log):
            state = self._run(state, choice)
        if self._key(state) != self._key(found.state):
            raise Violation(f"member {self.me} is not where it was after a restart")
        again = [effect.envelope for effect in one_round.resume(found.state) if isinstance(effect, Announce)]
        said = {records[self.me].envelope for records in found.state.heard.values() if self.me in records}
        if set(again) != said:
            raise Violation(f"member {self.me} says something else after a restart")

    def _run(self, state: RoundState, choice: Choice) -> RoundState:
        event: Event = Ticked()
        if isinstance(choice, str):
            state = replace(state, timers={**state.timers, choice: self.now})
        else:
            event = Heard(self.lore.envelopes[choice])
        events = deque([event])
        while events:
            before = state
            state, effects = one_round.step(before, events.popleft(), self.now)
            self.steps += 1
            for effect in effects:
                self._check(before, effect)
                if isinstance(effect, Prove | CheckShare):
                    events.append(self.lore.perform(self.me, effect))
        prepared = state.agreements[SET].prepared
        if prepared is not None:
            first = replace(state.agreements[SET], prepared=self.lore.certificate(prepared))
            state = replace(state, agreements=(first, state.agreements[1]))
        return self._without_spent(replace(state, timers=dict.fromkeys(state.timers, self.now + NEVER)))

    def _check(self, before: RoundState, effect: Effect) -> None:
        if isinstance(effect, Blame) and effect.member != self.lore.liar:
            raise Violation(f"honest member {effect.member} was blamed: {effect.reason}")
        if isinstance(effect, Announce):
            message = decode_message(effect.envelope.body)
            said = before.records(*message.key).get(self.me)
            if said is not None and said.envelope != effect.envelope:
                raise Violation(f"member {self.me} said two things: {said.message} and {message}")

    def _keep(self, state: RoundState, came_from: tuple[int, Choice] | None) -> int:
        key = self._key(state)
        if key not in self._ids:
            self._ids[key] = len(self.locals)
            said, heard, shown = key[0]  # type: ignore[misc]
            final = state.agreements[SET].final
            if final is not None:
                commits = state.votes(Kind.COMMIT, final[0], SET)
                votes = {r.envelope.sender for r in commits if _voted(r.message) == value_digest(final[1])}
                if len(votes) < state.context.parameters.quorum:
                    raise Violation(f"member {self.me} took a set as final with {len(votes)} Commits")
            self.locals.append(Local(state, said, heard, shown, final is not None, came_from))  # type: ignore[has-type]
        return self._ids[key]

    def _key(self, state: RoundState) -> tuple[object, ...]:
        """All of a state that the agreement may depend on, until a set is final for the member."""
        said = heard = 0
        for (kind, _, subject), records in state.heard.items():
            for sender, record in records.items():
                if kind in (Kind.FREEZE, Kind.PROOF, Kind.RECEIPT) or (kind in AGREED and subject == SET):
                    bit = 1 << self.lore.number(record.envelope)
                    heard |= bit
                    said |= bit if sender == self.me else 0
        second = frozenset(self.lore.number(record.envelope) for record in state.second_votes)
        heard |= sum(1 << number for number in second)
        shown = (said, state.agreements[SET], state.false_dealers)
        fired, timers = _current(state, state.fired), _current(state, state.timers)
        rest = (
            (second, frozenset(state.values), frozenset(state.by_digest), fired, timers, state.done, state.begun),
            (state.down, state.payloads, frozenset(state.asked), frozenset(state.checked.items())),
            (frozenset(state.shares.items()), frozenset(state.proved)),
        )
        return (said, heard, shown), rest

    def _without_spent(self, state: RoundState) -> RoundState:
        heard = {}
        for key, records in state.heard.items():
            kept = {i: r for i, r in records.items() if i == self.me or not self._is_spent(state, r.message)}
            if kept:
                heard[key] = kept
        second = tuple(record for record in state.second_votes if not self._is_spent(state, record.message))
        return replace(state, heard=heard, second_votes=second)

    def _is_spent(self, state: RoundState, message: AnyMessage) -> bool:
        """Whether it makes no difference any more that a statement was heard, or would be.

        Confirms of an attempt for which a certificate is held, unless a value is still to be learnt by them; Statuses
        of an attempt that the member has come to, unless it is to propose there.
        """
        agreement, context = state.agreements[SET], state.context
        if isinstance(message, Confirm):
            is_certified = agreement.prepared is not None and agreement.prepared.attempt >= message.attempt
            has_moved = agreement.attempt > message.attempt
            has_committed = self.me in state.records(Kind.COMMIT, message.attempt, SET)
            return is_certified and (has_moved or has_committed) and message.value in state.values
        if isinstance(message, Status):
            is_known = message.prepared is None or value_digest(message.prepared.value) in state.values
            has_proposed = self.me in state.records(Kind.PROPOSE, message.attempt, SET)
            is_for_it = context.proposer(message.attempt) == self.me and not has_proposed
            return is_known and not is_for_it and message.attempt <= agreement.attempt
        return False

    # --- what makes a member act --------------------------------------------------------------------------------

    def bundles(self, local: int, pool: int) -> tuple[int, ...]:
        """States that it may show after hearing no more of the pool than it takes to get there."""
        found = self.locals[local]
        fresh = pool & self._of_interest(local) & ~found.heard
        known = self._bundles.get((local, fresh))
        if known is None:
            known = self._bundles[local, fresh] = tuple(sorted(self._find_bundles(local, fresh)))
        return known

    def _of_interest(self, local: int) -> int:
        """Statements of the agreement that may still make a difference, as bits."""
        count, mask = self._interest.get(local, (0, 0))
        state = self.locals[local].state
        for number in range(count, len(self.lore.messages)):
            if self.lore.agreed >> number & 1 and not self._is_spent(state, self.lore.messages[number]):
                mask |= 1 << number
        self._interest[local] = len(self.lore.messages), mask
        return mask

    def _find_bundles(self, local: int, fresh: int) -> set[int]:
        votes: dict[tuple[Kind, int, bytes], list[int]] = {}
        tells: dict[bytes, list[int]] = {}
        statuses, singles, known = [], [], self.locals[local].state.values
        for number in bits(fresh):
            message = self.lore.messages[number]
            if isinstance(message, Confirm | Commit):
                votes.setdefault((message.kind, message.attempt, message.value), []).append(number)
            elif isinstance(message, Propose):
                tells.setdefault(value_digest(message.value), []).append(number)
                singles.append(number)
            elif isinstance(message, Status):
                statuses.append(number)
                if message.prepared is not None:
                    tells.setdefault(value_digest(message.prepared.value), []).append(number)
        found = self._least(local, 1, statuses, ()) | self._least(local, 0, [], singles)
        for (kind, attempt, value), group in votes.items():
            heard = self.locals[local].state.votes(kind, attempt, SET)
            missing = QUORUM - sum(_voted(record.message) == value for record in heard)
            honest_first = sorted(group, key=lambda number: self.lore.envelopes[number].sender == self.lore.liar)
            found |= self._least(local, missing, honest_first, () if value in known else tells.get(value, ()))
        return found - {local}

    def _least(self, local: int, least: int, group: Sequence[int], last: Sequence[int]) -> set[int]:
        """States shown after at least so many of a group, and then possibly one of `last`; no more than it takes."""
        shown, found = self.locals[local].shown, set()
        enough: list[frozenset[int]] = []
        for size in range(least, min(len(group), N - 1) + 1):
            for some in combinations(group, size):
                senders = {self.lore.envelopes[n].sender for n in some}
                if len(senders) < size or any(less <= set(some) for less in enough):
                    continue
                at = local
                for number in some:
                    at = self.after(at, number)
                if self.locals[at].shown != shown:
                    enough.append(frozenset(some))
                    found.add(at)
                    continue
                for number in last:
                    end = self.after(at, number)
                    if self.locals[end].shown != shown:
                        found.add(end)
                        if group:
                            break
        return found

    def all_shown(self, local: int, pool: int, limit: int) -> set[int]:
        """States shown first after hearing anything of the pool, one by one, in whatever order."""
        seen, queue, found = {local}, deque([local]), set()
        while queue and len(seen) < limit:
            at = queue.popleft()
            for number in bits(pool & self.lore.agreed & ~self.locals[at].heard):
                end = self.after(at, number)
                if self.locals[end].shown != self.locals[local].shown:
                    found.add(end)
                elif end not in seen:
                    seen.add(end)
                    queue.append(end)
        return found


class Lore:
    """Messages by number, results of work, and what the Byzantine member says where others have said something."""

    def __init__(self, world: World, liar: int, attempts: int, shows_statuses: bool) -> None:
        self.world, self.liar, self.attempts, self.shows_statuses = world, liar, attempts, shows_statuses
        self.honest = [member for member in range(N) if member != liar]
        self.envelopes: list[Envelope] = []
        self.messages: list[AnyMessage] = []
        self.agreed = self.at_once = self._telling = 0
        self._numbers: dict[Envelope, int] = {}
        self._results: dict[tuple[int, object], Event] = {}
        self._certificates: dict[tuple[int, bytes], Certificate] = {}
        self._lies: dict[int, int] = {}
        self._envelopes: dict[tuple[int, AnyMessage], Envelope] = {}
        self.deals: dict[int, bytes] = {}

    def number(self, envelope: Envelope) -> int:
        known = self._numbers.get(envelope)
        if known is None:
            known = self._numbers[envelope] = len(self.envelopes)
            self.envelopes.append(envelope)
            message = decode_message(envelope.body)
            self.messages.append(message)
            if not isinstance(message, Commit) and (message.kind, message.key[1]) != (Kind.CONFIRM, self.attempts - 1):
                self._telling |= 1 << known
            if message.kind in AGREED:
                self.agreed |= 1 << known
            else:
                self.at_once |= 1 << known
        return known

    def perform(self, member: int, work: Prove | CheckShare) -> Event:
        if (member, work) not in self._results:
            event = self.world.nodes[member].workshop.perform(work)
            assert isinstance(event, Proved | ShareChecked)
            self._results[member, work] = event
        return self._results[member, work]

    def certificate(self, certificate: Certificate) -> Certificate:
        """The first that was met for its value and attempt."""
        return self._certificates.setdefault((certificate.attempt, value_digest(certificate.value)), certificate)

    # --- what the Byzantine member says -------------------------------------------------------------------------

    def lies(self, said: int) -> int:
        """Everything that it may say beside what the others have said, as bits."""
        said &= self._telling
        known = self._lies.get(said)
        if known is None:
            known = 0
            while (more := known | self._more_lies(said | known)) != known:
                known = more
            self._lies[said] = known
        return known

    def _more_lies(self, pool: int) -> int:
        records = [(self.envelopes[number].sender, self.messages[number]) for number in bits(pool)]
        return sum({1 << self.number(self._signed(self.liar, message)) for message in self._lies_beside(records)})

    def _signed(self, sender: int, message: AnyMessage) -> Envelope:
        known = self._envelopes.get((sender, message))
        if known is None:
            known = self._envelopes[sender, message] = signed(self.world.nodes[sender], message)
        return known

    @property
    def _node(self) -> SimulatedNode:
        return self.world.nodes[self.liar]

    def _lies_beside(self, records: list[tuple[int, AnyMessage]]) -> Iterator[AnyMessage]:
        config, turn = self._node.identity.config, (self.liar - ROUND) % N
        if turn < self.attempts:
            yield Freeze(config, ROUND, turn, tuple(sorted(self.deals.items())))
        for _, message in records:
            if isinstance(message, Freeze):
                yield from self._answers(message, records)
            elif isinstance(message, Propose):
                where = (config, ROUND, message.attempt, SET, value_digest(message.value))
                yield from (Confirm(*where), Commit(*where))
        prepared = list(self._prepared(records))
        for attempt in range(1, self.attempts):
            for certificate in [None, *(found for found in prepared if found.attempt < attempt)]:
                yield Status(config, ROUND, attempt, SET, certificate)
        proposed = set()
        for value in self._values(turn, records):
            for statuses in self._justifications(turn, records):
                bound = highest_prepared([message for _, message in statuses])
                chosen: Value = value if bound is None else bound.value
                # Which of its own Statuses binds it to a value makes no difference.
                what = value_digest(chosen), tuple(sender for sender, _ in statuses)
                if what not in proposed:
                    proposed.add(what)
                    envelopes = tuple(self._signed(sender, message) for sender, message in statuses)
                    yield Propose(config, ROUND, turn, SET, chosen, envelopes)

    def _answers(self, freeze: Freeze, records: list[tuple[int, AnyMessage]]) -> Iterator[AnyMessage]:
        """Its Proof, and Receipts for itself and any two honest dealers: as many as a set needs."""
        config, challenge, attempt = freeze.config, _digest_of(freeze), freeze.attempt
        work = self.perform(self.liar, Prove(attempt, challenge))
        assert isinstance(work, Proved)
        own = Proof(config, ROUND, attempt, challenge, work.polynomials)
        yield own
        proofs = {sender: _digest_of(m) for sender, m in records if isinstance(m, Proof) and m.freeze == challenge}
        proofs[self.liar] = _digest_of(own)
        for pair in combinations(sorted(proofs.keys() - {self.liar}), 2):
            named = tuple((dealer, proofs[dealer]) for dealer in sorted({*pair, self.liar}))
            yield Receipt(config, ROUND, attempt, challenge, named)

    def _prepared(self, records: list[tuple[int, AnyMessage]]) -> Iterator[Certificate]:
        values = {value_digest(message.value): message.value for _, message in records if isinstance(message, Propose)}
        votes: dict[tuple[int, bytes], dict[int, bytes]] = {}
        for sender, message in records:
            if isinstance(message, Confirm):
                signature = self._signed(sender, message).signature
                votes.setdefault((message.attempt, message.value), {})[sender] = signature
        for (attempt, name), signatures in sorted(votes.items()):
            if len(signatures) >= self._node.identity.parameters.quorum and name in values:
                yield self.certificate(Certificate(attempt, values[name], tuple(sorted(signatures.items()))))

    def _values(self, attempt: int, records: list[tuple[int, AnyMessage]]) -> Iterator[SetValue]:
        """Sets that it may propose: all dealers and one less where every honest member has answered for all; else
        those of two honest members and its own.
        """
        freezes = [m for sender, m in records if isinstance(m, Freeze) and (sender, m.attempt) == (self.liar, attempt)]
        for freeze in freezes:
            challenge = _digest_of(freeze)
            proofs = {s: _digest_of(m) for s, m in records if isinstance(m, Proof) and m.freeze == challenge}
            receipts = [(s, m) for s, m in records if isinstance(m, Receipt) and m.freeze == challenge]
            honest = [(s, m) for s, m in receipts if s != self.liar]
            own = [m for s, m in receipts if s == self.liar]
            covering = [(s, m) for s, m in honest if len(m.proofs) == N]
            if attempt == 0:
                if len(covering) == N - 1 and self.liar in proofs:
                    yield _set_of(freeze, proofs, covering, range(N))
                    yield _set_of(freeze, proofs, covering, range(N - 1))
                continue
            for pair in combinations(honest, 2):
                dealers = sorted({self.liar, *(sender for sender, _ in pair)})
                mine = [m for m in own if [dealer for dealer, _ in m.proofs] == dealers]
                if mine and self.liar in proofs and all(set(mine[0].proofs) <= set(m.proofs) for _, m in pair):
                    yield _set_of(freeze, proofs, [*pair, (self.liar, mine[0])], dealers)

    def _justifications(
        self, attempt: int, records: list[tuple[int, AnyMessage]]
    ) -> Iterator[tuple[tuple[int, Status], ...]]:
        """n - t Statuses that it may carry, its own among them; none in the first attempt."""
        if attempt == 0 or not self.shows_statuses:
            yield ()
            return
        statuses = [(s, m) for s, m in records if isinstance(m, Status) and m.attempt == attempt]
        for some in combinations(statuses, N - 1):
            senders = [sender for sender, _ in some]
            if len(set(senders)) == N - 1 and self.liar in senders:
                yield tuple(sorted(some, key=lambda status: status[0]))


@dataclass
class Checker:
    """Explores; the liar proposes in the attempt of this number.

    Attributes:
        shows_statuses: whether the liar's proposals carry the Statuses that they must.
        visited: states of the whole; steps: calls of `step`; depth: the longest of the shortest paths to a state.
        is_complete: nothing was left out for want of time.
        ends: how many states were met in which so many members hold a final set.
    """

    attempts: int = 2
    liar_proposes_in: int = 0
    shows_statuses: bool = True
    lore: Lore = field(init=False)
    members: list[Member] = field(init=False)
    visited: int = 0
    depth: int = 0
    is_complete: bool = False
    ends: list[int] = field(default_factory=lambda: [0] * N)

    def __post_init__(self) -> None:
        liar = (ROUND + self.liar_proposes_in) % N
        world = known_world(N, saved=saved_after(N, 1), scenario=Scenario(lies=dict.fromkeys(range(N), _until_deals)))
        self.lore = Lore(world, liar, self.attempts, self.shows_statuses)
        world.run_on(1.0)
        states = [_state_with_deals(world.nodes[member]) for member in self.lore.honest]
        self.lore.deals = {sender: record.digest for sender, record in states[0].records(Kind.DEAL).items()}
        self.members = [Member(state.context.me, state, world.now, self.lore) for state in states]

    @property
    def steps(self) -> int:
        return sum(member.steps for member in self.members)

    @property
    def locals(self) -> int:
        """States of single members that were met."""
        return sum(len(member.locals) for member in self.members)

    def explore(self, limit: int | None = None) -> None:
        """Visit every state, nearest first, or so many."""
        start = self._settle((0, 0, 0))
        seen, queue = {start}, deque([(start, 0)])
        while queue:
            if limit is not None and self.visited >= limit:
                return
            place, depth = queue.popleft()
            self.visited += 1
            self.depth = max(self.depth, depth)
            self._judge(place)
            for following in self.following(place):
                if following not in seen:
                    seen.add(following)
                    queue.append((following, depth + 1))
        self.is_complete = True

    def check_restarts(self, of: Callable[[int], Sequence[int]] = range) -> None:
        """Restart every member in every state of it that was met."""
        for member in self.members:
            for local in of(len(member.locals)):
                member.check_restart(local)

    def walk(self, seed: int, length: int = 200) -> list[tuple[Member, int, int]]:
        """Follow one random path; (member, state, pool) wherever it came by."""
        chance, place, met = random.Random(seed), self._settle((0, 0, 0)), []
        for _ in range(length):
            self._judge(place)
            pool = self._pool(place)
            met += [(member, at, pool) for member, at in zip(self.members, place, strict=True)]
            ways = list(self.following(place))
            if not ways:
                break
            place = chance.choice(ways)
        return met

    def following(self, place: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """What may happen next."""
        pool = self._pool(place)
        for index, (member, local) in enumerate(zip(self.members, place, strict=True)):
            if member.locals[local].is_final:
                continue
            ends = list(member.bundles(local, pool))
            if member.locals[local].state.agreements[SET].attempt + 1 < self.attempts:
                ends += [member.after(local, name) for name in member.waits(local, f"attempt:{SET}:")]
            for end in ends:
                yield self._settle((*place[:index], end, *place[index + 1 :]))
        for prefix in ("receipt:", "propose:"):
            after = tuple(self._end_waits(member, at, prefix) for member, at in zip(self.members, place, strict=True))
            if after != place:
                yield self._settle(after)

    def _end_waits(self, member: Member, local: int, prefix: str) -> int:
        attempt = member.locals[local].state.agreements[SET].attempt
        for name in member.waits(local, f"{prefix}{attempt}") if not member.locals[local].is_final else ():
            local = member.after(local, name)
        return local

    def _pool(self, place: tuple[int, ...]) -> int:
        said = 0
        for member, local in zip(self.members, place, strict=True):
            said |= member.locals[local].said
        return said | self.lore.lies(said)

    def _settle(self, place: tuple[int, ...]) -> tuple[int, ...]:
        """Have everybody hear what is heard at once."""
        while True:
            pool = self._pool(place) & self.lore.at_once
            after = tuple(self._hear(member, at, pool) for member, at in zip(self.members, place, strict=True))
            if after == place:
                return place
            place = after

    def _hear(self, member: Member, local: int, pool: int) -> int:
        if member.locals[local].is_final:
            return local
        for number in bits(pool & ~member.locals[local].heard):
            sender, message = self.lore.envelopes[number].sender, self.lore.messages[number]
            if sender not in member.locals[local].state.records(*message.key):
                local = member.after(local, number)
        return local

    def _judge(self, place: tuple[int, ...]) -> None:
        finals = {}
        for member, local in zip(self.members, place, strict=True):
            final = member.locals[local].state.agreements[SET].final
            if final is not None:
                finals[member.me] = value_digest(final[1])
        self.ends[len(finals)] += 1
        if len(set(finals.values())) > 1:
            raise Violation(f"two sets became final, for members {sorted(finals)}")


def bits(mask: int) -> Iterator[int]:
    """Numbers of the bits that are set."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _current(state: RoundState, names: Iterable[str]) -> frozenset[str]:
    """Without waits of attempts that the member has left."""
    attempt = state.agreements[SET].attempt
    return frozenset(name for name in names if not name[-1].isdigit() or int(name.rsplit(":")[-1]) >= attempt)


def _until_deals(node: SimulatedNode, effects: list[Effect]) -> list[Effect]:
    """Say nothing that comes after the Deals."""
    early = (Kind.OPEN, Kind.DEAL)
    return [e for e in effects if not isinstance(e, Announce) or decode_message(e.envelope.body).kind in early]


def _state_with_deals(node: SimulatedNode) -> RoundState:
    assert node.session is not None
    state = node.session.current
    assert len(state.records(Kind.DEAL)) == len(state.shares) == N
    return state


def _set_of(
    freeze: Freeze, proofs: dict[int, bytes], receipts: Sequence[tuple[int, Receipt]], dealers: Sequence[int]
) -> SetValue:
    return SetValue(
        _digest_of(freeze),
        tuple((dealer, name) for dealer, name in freeze.deals if dealer in dealers),
        tuple((dealer, proofs[dealer]) for dealer in dealers),
        tuple(sorted((holder, _digest_of(receipt)) for holder, receipt in receipts)),
    )


def _digest_of(message: AnyMessage) -> bytes:
    return message_digest(encode(message))


def _voted(message: AnyMessage) -> bytes:
    return message.value if isinstance(message, Confirm | Commit) else b""


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
