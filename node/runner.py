"""One node: receives, lets the session decide, and does what it decided; the only place with a clock and tasks.

What it promises: an event is in the store before anything that follows from it leaves the machine, so that a node that
is killed at any instant comes back, replays its log, goes on, and never says two different things; training and the
chain have threads of their own, and neither ever holds up the network.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import msgspec
import structlog
import trio

from gossip import session as sessions
from gossip.events import (
    Announce,
    Blame,
    Effect,
    Entered,
    Event,
    FetchPayload,
    FetchShare,
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
from gossip.pace import Pace
from gossip.record import evidence_of, record_of
from gossip.session import Conduct, Identity, RoundStart, Session
from gossip.shamir import blob_size
from gossip.spec import blob_hasher
from gossip.state import RoundState, Timing
from gossip.transport.host import Transport
from gossip.values import RoundResult
from ledger.errors import LedgerError
from ledger.types import Roster
from node.admission import Admission
from node.chainqueue import ChainQueue
from node.door import Door
from node.errors import Interrupted, LeftBehind, NoLongerAdmitted, StoreError
from node.eventlog import decode_event, encode_event
from node.frames import encode_frame
from node.progress import Progress
from node.recorder import Recorder
from node.reporter import Reporter
from node.seating import LOOK_SECONDS, Seating
from node.spool import Spool
from node.store import Store
from node.sync import Exchange, summarise
from node.transfers import IsWanted, Transfers
from node.watch import TrainingStopped, Watch
from node.workshop import MissingModel, Share, Workshop

log = structlog.get_logger()

EXCHANGE_SECONDS = 1.0
"""Between two summaries to each peer."""
UNSEEN_SECONDS = 3.0
"""From the start until a member without a connection counts as down."""
ALONE_SECONDS = 10.0
"""Without any peer, before the ledger is asked whether everybody else has finished."""
PAUSE_SECONDS = 1.0
MODEL_SECONDS = 10.0
"""For the newest model, before the ledger is asked for a newer one."""
NETWORK_SECONDS = 2.0
"""Between two looks at what the transport counted."""
ROSTER_SECONDS = 2.0
"""Between two looks at the registry."""
MAX_WAITING_EVENTS = 20_000
BATCH = 128
DISK_THREADS = 2
_T = TypeVar("_T")

Signatures = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Habits:
    """What one node does in its own way.

    Attributes:
        listen: host and port.
        rest_seconds: between a round and the next.
        linger_seconds: that a node that has finished waits for members that have not.
        relay: joins members that cannot reach each other.
        pauses: whether to sleep for a second in a phase of a round, so that a test can end it there.
    """

    listen: tuple[str, int]
    rest_seconds: float = 0.0
    linger_seconds: float = 60.0
    relay: bool = False
    pauses: Callable[[int, str], bool] | None = None


class _Stored(msgspec.Struct, array_like=True):
    """What the store keeps of a round's beginning.

    Timing and roster are kept as well: replayed with others, a node might say something else than it said.
    """

    now: float
    start: RoundStart
    timing: Timing
    conduct: Conduct = Conduct()
    pace: Pace = Pace()
    config: bytes = b""


@dataclass(frozen=True)
class _Ended:
    """A round that is over.

    Attributes:
        make_start: what the next round starts from, once the model is here.
        attempt: in which the set became final; None where others ended the round while this node was away.
        state: the round as this node saw it end; None likewise.
    """

    result: RoundResult
    signatures: Signatures
    make_start: Callable[[], RoundStart]
    attempt: int | None = None
    state: RoundState | None = None

    @classmethod
    def here(cls, settled: Settled, state: RoundState, workshop: Workshop) -> _Ended:
        """A round that this node has ended with the others."""
        start = partial(workshop.next_start, settled.result, settled.signatures)
        return cls(settled.result, settled.signatures, start, settled.attempt, state)


_Item = tuple[int | None, Event] | RoundStart
"""An event and the round that it belongs to, if it is one's alone; or what the next round starts from."""


@dataclass
class Node:
    """One member's node; `run` returns when the last round is settled and recorded."""

    roster: Roster
    workshop: Workshop
    store: Store
    progress: Progress
    chain: ChainQueue
    node_key: bytes
    habits: Habits
    on_settled: Callable[[RoundResult], dict[str, object]]
    recorder: Recorder
    watch: Watch
    transport: Transport = field(init=False)

    def __post_init__(self) -> None:
        self._index = self._own.committee.seats[self._own.me]
        self.seating = Seating(self.chain, self._own)
        self.admission = Admission(self.roster)
        self._send, self._receive = trio.open_memory_channel[_Item](MAX_WAITING_EVENTS)
        self._work_in, self._work_out = trio.open_memory_channel[tuple[int, Work]](MAX_WAITING_EVENTS)
        self._next_start: RoundStart | None = None
        self._first: list[Event] = []
        self._vectors = trio.CapacityLimiter(1)
        self._disk = trio.CapacityLimiter(DISK_THREADS)
        self.spool = Spool(self.progress.folder)
        self.exchange = Exchange()
        self.current: Session | None = None
        self.round = 0
        self._finishing = -1
        self._is_finished = False
        self._steps: dict[int, int] = {}
        self._base = 0.0
        self._round_began = time.monotonic()
        name = self.roster.members[self._index].name
        self.reporter = Reporter(self.progress, name, self.admission, lambda: self.transport.connected)

    @property
    def _own(self) -> Identity:
        """As whom this node takes part."""
        return self.workshop.identity

    @property
    def me(self) -> int:
        """Own place in the committee."""
        return self._own.me

    @property
    def session(self) -> Session:
        if self.current is None:
            raise RuntimeError("no round has begun")
        return self.current

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self, first: RoundStart) -> None:
        """Take part until the last round is over, starting from the store, or from `first` if that is empty.

        Raises:
            Interrupted: by a signal; nothing is lost.
            LeftBehind: everybody else finished and left.
            PortTaken, CannotListen: the address to listen on cannot be used.
        """
        listen = self.habits.listen
        self.transport = Transport(
            self.node_key,
            *listen,
            Door(self),
            push_hasher=blob_hasher,
            blob_hasher=blob_hasher,
            relay=self.habits.relay,
        )
        self._transfers = Transfers(self.transport, self.admission.peer_id_of)
        self._admit()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(_raise_on_signal)
            await nursery.start(self.transport.run)
            for task in (
                self._do_work,
                self._exchange_summaries,
                self._note_absent,
                self._notice_the_end,
                self._follow_registry,
                self._tell_network,
            ):
                nursery.start_soon(task)
            nursery.start_soon(self.chain.run, self.reporter.recorded, self.reporter.ledger)
            await self._restore(first)
            await self._decide()
            await self._linger()
            nursery.cancel_scope.cancel()

    async def _restore(self, first: RoundStart) -> None:
        """Begin, or replay the log of the round that was under way."""
        await self.seating.first_look(self.reporter.waiting)
        stored = self.store.current_round()
        saved = None if stored is None else self.store.decoded(stored[1], _Stored)
        identity = None if saved is None else self.seating.identity_in(saved.start.round)
        if saved is None or identity is None:
            # Nothing was begun here, or as a signer that this member has replaced since.
            return await self._begin(await self._first_start(first))
        if saved.config not in (b"", identity.config):
            raise StoreError(
                f"round {saved.start.round} began here with another roster than the ledger now gives it: the chain was "
                "reorganised beyond what the configuration takes for final"
            )
        self._sit(identity)
        self.round = saved.start.round
        self._finishing = saved.start.round - 1
        logged = self.store.events(saved.start.round)
        self._base = max((at for at, _ in logged), default=saved.now) - time.monotonic()
        self.workshop.begin(saved.start)
        session, _ = sessions.start(
            replace(identity, timing=saved.timing), saved.start, saved.now, saved.conduct, saved.pace
        )
        for at, body in logged:
            session, _ = sessions.step(session, decode_event(body), at)
        self.current, effects = session, sessions.resume(session)
        self.exchange.begin(self.session)
        self.reporter.replayed(saved.start.round, len(logged))
        await self._perform(effects)

    async def _decide(self) -> None:
        """The node's loop: take what has arrived, log it, step, do what follows."""
        while not self._is_finished:
            if self._next_start is not None:
                start, self._next_start = self._next_start, None
                await self._advance(start)
                continue
            batch, self._first = self._first, []
            if not batch:
                batch = [event for round_id, event in await self._next_batch() if round_id in (None, self.round)]
            if not batch:
                continue
            now = self._now()
            self.store.append_events(self.round, [(now, encode_event(event)) for event in batch])
            for event in batch:
                self.current, effects = sessions.step(self.session, event, now)
                await self._perform(effects)

    async def _next_batch(self) -> list[tuple[int | None, Event]]:
        """What has arrived; stops at the end of a round, which has to be handled by itself."""
        deadline = self.session.deadline
        wait = math.inf if deadline is None else max(0.0, deadline - self._now())
        batch: list[tuple[int | None, Event]] = []
        with trio.move_on_after(wait) as patience:
            item = await self._receive.receive()
            while True:
                if isinstance(item, RoundStart):
                    self._next_start = item
                    return batch
                batch.append(item)
                if len(batch) == BATCH:
                    return batch
                try:
                    item = self._receive.receive_nowait()
                except trio.WouldBlock:
                    return batch
        return [(None, Ticked())] if patience.cancelled_caught else batch

    async def _first_start(self, first: RoundStart) -> RoundStart:
        """What a node without a past begins with: round 0, or what the ledger shows, once it has a place there."""
        told = False
        while True:
            following = self.seating.recorded
            if following > self.seating.last_round(following):
                raise LeftBehind(following)
            identity = self.seating.identity_in(following)
            if identity is not None:
                self._sit(identity)
                start = first if following == 0 else await self._start_from_ledger(len(self._model(first.model)))
                if start is not None:
                    return start
            elif not told:
                told = True
                begins = min(c.first_round for c in self.seating.plan if self._own.signers[self.me] in c.keys)
                self.reporter.waiting(f"round {begins}, the first one that this member takes part in")
            await trio.sleep(LOOK_SECONDS)
            await self.seating.look()

    async def _start_from_ledger(self, model_bytes: int) -> RoundStart | None:
        """What follows the newest recorded round, its model fetched; None if the ledger has moved on meanwhile."""
        try:
            start = await self.seating.start_from_ledger()
        except LedgerError as error:
            log.warning("ledger.unavailable", reason=str(error))
            return None
        if start is None or start.round != self.seating.recorded:
            return None
        if self.store.get(start.model) is None:
            self.reporter.waiting("a member that has the newest model")
            with trio.move_on_after(MODEL_SECONDS):
                data = await self._transfers.fetch(start.model, model_bytes, self._others, lambda: True)
                if data is not None:
                    self.store.put(start.model, start.round, data)
        return None if self.store.get(start.model) is None else start

    def _sit(self, identity: Identity) -> None:
        """Take a place in a committee, for the round that begins next."""
        before = self._own.committee
        self.workshop.identity = identity
        self.admission.seat(identity.committee)
        if identity.config != before.config:
            self.workshop.learner.follow(identity.spec)
            self._steps.clear()
            self._admit()
            self.reporter.seated(identity.committee.first_round, len(identity.signers))

    @property
    def _others(self) -> list[int]:
        return [member for member in self.admission.peer_ids() if member != self.me]

    async def _begin(self, start: RoundStart) -> None:
        async with self._vectors:
            self.workshop.begin(start)
        now = self._now()
        self._finishing = start.round - 1
        self._store_beginning(start, now, Conduct(), Pace())
        self.current, effects = sessions.start(self._own, start, now)
        await self._after_begin(effects)

    async def _advance(self, start: RoundStart) -> None:
        """Go on to a later round, whose model is here."""
        if start.round <= self.round:
            return
        if start.round > self.seating.last_round(start.round):
            # The log of the last round stays: others may still lack what this node said in it, also after a restart.
            self._is_finished = True
            return
        identity = self.seating.identity_in(start.round)
        if identity is None:
            raise NoLongerAdmitted(self.roster.members[self._index].name, self.roster.registry)
        now = self._now()
        await self.at_the_disk(lambda: self.store.put(start.model, start.round, self._model(start.model)))
        async with self._vectors:
            self._sit(identity)
            self._store_beginning(start, now, *sessions.memory_after(self.session, identity.committee))
            self.workshop.begin(start)
        # What the session hands back is older than anything in the queue, and goes before it.
        has_moved = identity.config != self.session.identity.config
        self.current, effects, self._first = sessions.advance(self.session, identity, start, now)
        if has_moved:
            for member in self._others:
                is_up = self.admission.peer_id_of(member) in self.transport.connected
                self.enqueue(PeerUp(member) if is_up else PeerDown(member))
        await self._after_begin(effects)

    def _store_beginning(self, start: RoundStart, now: float, conduct: Conduct, pace: Pace) -> None:
        saved = _Stored(now, start, self._own.timing, conduct, pace, self._own.config)
        self.store.begin_round(start.round, msgspec.msgpack.encode(saved))

    async def _after_begin(self, effects: list[Effect]) -> None:
        self.round = self.session.current.context.round
        self._round_began = time.monotonic()
        self.exchange.begin(self.session)
        await self._enter("OPEN", 0)
        await self._perform(effects)

    async def _linger(self) -> None:
        """Stay until the results are on the ledger and every member has finished, or had time to."""
        self.reporter.status(phase="FINISHED")
        told, began = False, time.monotonic()
        while self.chain.has_pending or not self._others_have_finished():
            if not self.chain.has_pending and time.monotonic() - began > self.habits.linger_seconds:
                break
            if not told and not self.chain.has_pending:
                told = True
                self.send_summary()
            await trio.sleep(0.1)
        self.send_summary()
        await self.transport.flush(2.0)

    def _others_have_finished(self) -> bool:
        peer_ids = self.admission.peer_ids()
        return self.exchange.finished >= {peer_ids[member] for member in self._others}

    async def _notice_the_end(self) -> None:
        """End a node that came back too late: nobody is left who could give it the last model."""
        alone = 0.0
        while True:
            await trio.sleep(EXCHANGE_SECONDS)
            alone = 0.0 if self.transport.connected or self._is_finished else alone + EXCHANGE_SECONDS
            if alone >= ALONE_SECONDS:
                alone = 0.0
                if await self.chain.recorded_rounds() > self.seating.last_round(self.round):
                    raise LeftBehind(self.round)

    # --- members ----------------------------------------------------------------------------------------------------

    @property
    def _own_peer_id(self) -> str:
        return self.roster.members[self._index].peer_id

    async def _follow_registry(self) -> None:
        """Admit whom the registry shows, from one poll after it shows them; cut off whom it shows no longer."""
        while True:
            await trio.sleep(ROSTER_SECONDS)
            roster = await self.chain.newer_roster(self.admission.version)
            await self.seating.look()
            if self.current is not None:
                identity = replace(self.session.identity, plan=self.seating.plan)
                self.current = replace(self.session, identity=identity)
            if roster is not None:
                self.admission.renew(roster)
                self._admit()
                self.reporter.admitted(roster.version, sum(map(roster.is_active, range(len(roster.members)))))

    async def _tell_network(self) -> None:
        while True:
            self.reporter.network(self.transport.statistics())
            await trio.sleep(NETWORK_SECONDS)

    def _admit(self) -> None:
        if not self.admission.has(self._own_peer_id):
            raise NoLongerAdmitted(self.roster.members[self._index].name, self.roster.registry)
        self.transport.admit([there for there in self.admission.addresses() if there.peer_id != self._own_peer_id])

    def _now(self) -> float:
        return time.monotonic() + self._base

    def _model(self, name: bytes) -> bytes:
        data = self.store.get(name)
        if data is None:
            raise MissingModel(name)
        return bytes(data)

    def enqueue(self, event: Event, round_id: int | None = None) -> bool:
        """Have something handled, after what waits already; `round_id` if it means nothing in any other round.

        False if there is no room: for what peers bring, and will bring again.
        """
        try:
            self._send.send_nowait((round_id, event))
        except trio.WouldBlock:
            log.warning("event.dropped", kind=type(event).__name__)
            return False
        return True

    async def at_the_disk(self, call: Callable[[], _T]) -> _T:
        """What `call` returns, in a thread that training and dealing never hold up."""
        return await trio.to_thread.run_sync(call, limiter=self._disk)

    async def at_the_vectors(self, call: Callable[[], _T]) -> _T:
        """What `call` returns, in the one thread that may use the workshop's dealing."""
        return await trio.to_thread.run_sync(call, limiter=self._vectors)

    def _until(self, round_id: int) -> IsWanted:
        return lambda: self.round == round_id and not self._is_finished

    # --- effects ----------------------------------------------------------------------------------------------------

    async def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Announce(envelope):
                    self.exchange.said(envelope)
                    self.transport.announce(encode_frame(envelope))
                case Tell(member, envelopes):
                    for envelope in envelopes:
                        self.transport.announce(encode_frame(envelope), to=self.admission.peer_id_of(member))
                case PushShares():
                    self._nursery.start_soon(self._push_shares)
                case FetchShare(dealer, name):
                    size = blob_size(self.workshop.layout, dealer, self.me)
                    accept = partial(self.workshop.accept_share, self.round, dealer)
                    self._nursery.start_soon(self._fetch, name, size, [dealer], accept)
                case FetchPayload(holder, name, what, index):
                    size = self.workshop.payload_bytes(what, index, holder)
                    take = partial(self.workshop.accept_payload, what, index, holder)
                    self._nursery.start_soon(self._fetch, name, size, self._who_has(what, holder), take)
                case Settled():
                    self._finish_soon(_Ended.here(effect, self.session.current, self.workshop))
                case LaggedBehind(opened) if opened.previous is not None:
                    self.watch.stop_before(opened.round)
                    start = partial(self.workshop.start_from, opened)
                    self._finish_soon(_Ended(opened.previous, opened.signatures, start))
                case Entered(phase, attempt):
                    await self._enter(phase, attempt)
                case Blame() | Missed():
                    self.reporter.found(self.round, effect)
                case LaggedBehind():
                    pass  # nothing was signed before round 0
                case _:
                    self._work_in.send_nowait((self.round, effect))

    async def _enter(self, phase: str, attempt: int) -> None:
        self.reporter.entered(self.round, phase, attempt)
        if self.habits.pauses is not None and self.habits.pauses(self.round, phase):
            await trio.sleep(PAUSE_SECONDS)

    async def _do_work(self) -> None:
        async for round_id, work in self._work_out:
            if round_id == self.round:
                call = partial(self._perform_work, round_id, work)
                # What is done is in the store or can be done again: a node that has to stop waits for no training.
                event = await trio.to_thread.run_sync(call, limiter=self._vectors, abandon_on_cancel=True)  # type: ignore[call-arg]
                if event is not None:
                    await self._send.send((round_id, event))

    def _perform_work(self, round_id: int, work: Work) -> Event | None:
        """In the worker thread, which may have been waited for while the next round began."""
        try:
            return self.workshop.perform(work) if self.workshop.start.round == round_id else None
        except TrainingStopped:
            log.info("training.stopped", round=round_id)
            return None

    # --- the end of a round -----------------------------------------------------------------------------------------

    def _finish_soon(self, ended: _Ended) -> None:
        if ended.result.round > self._finishing:
            self._finishing = ended.result.round
            self._nursery.start_soon(self._finish, ended)

    async def _finish(self, ended: _Ended) -> None:
        """A round ended: have its model, publish its record, queue its result, and let the next one begin."""
        result = ended.result
        if not await self._has_model(result):
            return
        start = ended.make_start()
        keep = partial(self.store.save_checkpoint, result.round, result.model)
        await self.at_the_disk(lambda: keep(self._model(result.model)))
        if ended.state is not None:
            await trio.to_thread.run_sync(self._publish, ended, ended.state, limiter=self._vectors)
        signatures = self.seating.by_index(result, ended.signatures)
        self.store.queue_result(result.round, msgspec.msgpack.encode((result, signatures)))
        extra = await trio.to_thread.run_sync(self.on_settled, result, limiter=self._vectors)
        seconds = None if ended.attempt is None else time.monotonic() - self._round_began
        self.reporter.settled(result, ended.attempt, seconds, extra)
        if ended.attempt is not None and result.round < self.seating.last_round(result.round):
            await trio.sleep(self.habits.rest_seconds)
        await self.seating.until_it_may_begin(start.round, self.reporter.waiting)
        await self._send.send(start)

    def _publish(self, ended: _Ended, state: RoundState) -> None:
        workshop = self.workshop
        if workshop.start.round != ended.result.round:
            return  # the others are far ahead: this node has gone on with them meanwhile
        terms = workshop.score_terms(ended.result.model)
        record = record_of(state, workshop.start, workshop.identity.spec, ended.signatures, terms)
        self.recorder.write(record, evidence_of(state))

    async def _has_model(self, result: RoundResult) -> bool:
        """Whether the result's model is here, fetched if need be; False once a later round's is wanted instead."""
        name = result.model
        if self.store.get(name) is None:
            size = len(self.workshop.model)  # a task's model files all have the same size
            data = await self._transfers.fetch(name, size, self._others, lambda: self._finishing == result.round)
            if data is None:
                return False
            self.store.put(name, result.round, data)
        return True

    # --- transfers --------------------------------------------------------------------------------------------------

    async def _push_shares(self) -> None:
        round_id, me = self.round, self.me

        def make() -> list[Share]:
            return list(self.workshop.shares()) if self.workshop.start.round == round_id else []

        shares = await trio.to_thread.run_sync(make, limiter=self._vectors)
        await self._transfers.push_shares(round_id, me, shares, self._until(round_id))

    def _who_has(self, what: str, holder: int) -> list[int]:
        """Whom to ask for public bytes: the holder first, then anybody; for a share only who complained about it."""
        others = [] if what == "share" else [member for member in self._others if member != holder]
        return [holder, *others]

    async def _fetch(self, name: bytes, size: int, members: list[int], accept: Callable[[bytes], Event | None]) -> None:
        round_id = self.round
        data = await self._transfers.fetch(name, size, members, self._until(round_id))
        event = accept(data) if data is not None and round_id == self.round else None
        if event is not None:
            await self._send.send((round_id, event))

    # --- exchange ---------------------------------------------------------------------------------------------------

    async def _exchange_summaries(self) -> None:
        while True:
            await trio.sleep(EXCHANGE_SECONDS)
            self.send_summary()
            self.note_work(self.me, self.round, self.watch.steps)

    def note_work(self, member: int, round_id: int, steps: int) -> None:
        """A member is in a round and has begun so many steps of training, ever: it works if these are more than before.

        Of use only while it may still deal, so that nothing else is logged.
        """
        if self.current is None or round_id != self.round:
            return
        is_new = steps > self._steps.get(member, 0)
        self._steps[member] = steps
        if is_new and self.session.current.is_training:
            self.enqueue(Working(member), round_id)

    def send_summary(self, to: str | None = None) -> None:
        """Tell peers what this node has heard."""
        is_finished = self._is_finished and not self.chain.has_pending
        if self.current is not None:
            summary = summarise(self.current, is_finished, self.watch.steps)
            self.transport.announce(encode_frame(summary), to=to)

    async def _note_absent(self) -> None:
        await trio.sleep(UNSEEN_SECONDS)
        for member, peer in self.admission.peer_ids().items():
            if member in self._others and peer not in self.transport.connected:
                self.enqueue(PeerDown(member))


async def _raise_on_signal() -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            raise Interrupted(signal.Signals(number).name)
