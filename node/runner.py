"""One node: receives, lets the session decide, and does what it decided.

What it promises: an event is in the store before anything that follows from it leaves the machine, so that a node that
is killed at any instant comes back, replays its log, goes on, and never says two different things; training and the
chain have threads of their own, and neither ever holds up the network.

Here are its loop and its tasks.  What peers bring comes through `node.door`, and all events through `node.inbox`; how a
node begins is in `node.beginning`, what happens at the end of a round in `node.finishing`.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import trio

from gossip import session as sessions
from gossip.events import (
    Announce,
    Blame,
    Effect,
    Entered,
    FetchPayload,
    FetchShare,
    LaggedBehind,
    Missed,
    PeerDown,
    PeerUp,
    PushShares,
    Settled,
    Tell,
    Working,
)
from gossip.pace import Pace
from gossip.session import Conduct, Identity, RoundStart, Session
from gossip.spec import blob_hasher
from gossip.transport.host import Transport
from gossip.values import RoundResult
from ledger.types import Roster
from node.admission import Admission
from node.beginning import Newcomer, round_under_way, save_start
from node.chainqueue import ChainQueue
from node.door import Door
from node.errors import Interrupted, LeftBehind
from node.eventlog import encode_event
from node.finishing import Ended, Finishing
from node.frames import encode_frame
from node.inbox import Inbox
from node.modelfiles import ModelFiles
from node.progress import Progress
from node.recorder import Recorder
from node.reporter import Reporter
from node.seating import Seating
from node.spool import Spool
from node.standing import Standing
from node.store import Store
from node.sync import Exchange, summarise
from node.threads import Threads
from node.transfers import RoundTransfers, Transfers
from node.watch import Watch
from node.worker import Worker
from node.workshop import Workshop

EXCHANGE_SECONDS = 1.0
"""Between two summaries to each peer."""
UNSEEN_SECONDS = 3.0
"""From the start until a member without a connection counts as down."""
ALONE_SECONDS = 10.0
"""Without any peer, before the ledger is asked whether everybody else has finished."""
PAUSE_SECONDS = 1.0
NETWORK_SECONDS = 2.0
"""Between two looks at what the transport counted."""


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
        self._member = self.roster.members[self._own.committee.seats[self._own.me]]
        self.seating = Seating(self.chain, self._own)
        self.admission = Admission(self.roster)
        self.inbox = Inbox()
        self.threads = Threads()
        self._worker = Worker(self.workshop, self.threads, self.inbox, lambda: self.round)
        self.spool = Spool(self.progress.folder)
        self.exchange = Exchange()
        self.current: Session | None = None
        self.round = 0
        self._is_finished = False
        self._steps: dict[int, int] = {}
        self._base = 0.0
        self.reporter = Reporter(self.progress, self._member.name, self.admission, lambda: self.transport.connected)

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

    def _now(self) -> float:
        return time.monotonic() + self._base

    def _is_under_way(self, round_id: int) -> bool:
        return self.round == round_id and not self._is_finished

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self, first: RoundStart) -> None:
        """Take part until the last round is over, starting from the store, or from `first` if that is empty.

        Raises:
            Interrupted: by a signal; nothing is lost.
            LeftBehind: everybody else finished and left.
            PortTaken, CannotListen: the address to listen on cannot be used.
        """
        self._connect()
        self._standing.admit()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(_raise_on_signal)
            await nursery.start(self.transport.run)
            for task in (
                self._worker.run,
                self._exchange_summaries,
                self._note_absent,
                self._notice_the_end,
                self._tell_network,
            ):
                nursery.start_soon(task)
            nursery.start_soon(self._standing.follow, self._take_plan)
            nursery.start_soon(self.chain.run, self.reporter.recorded, self.reporter.ledger)
            await self._restore(first)
            await self._decide()
            await self._linger()
            nursery.cancel_scope.cancel()

    def _connect(self) -> None:
        """Make the transport, and what a node has that works through it."""
        self.transport = Transport(
            self.node_key,
            *self.habits.listen,
            Door(self),
            push_hasher=blob_hasher,
            blob_hasher=blob_hasher,
            relay=self.habits.relay,
        )
        self._standing = Standing(
            member=self._member,
            registry=self.roster.registry,
            chain=self.chain,
            seating=self.seating,
            admission=self.admission,
            transport=self.transport,
            workshop=self.workshop,
            reporter=self.reporter,
        )
        transfers = Transfers(self.transport, self.admission.peer_id_of)
        self._transfers = RoundTransfers(
            transfers=transfers,
            workshop=self.workshop,
            threads=self.threads,
            inbox=self.inbox,
            others=self._standing.others,
            is_under_way=self._is_under_way,
        )
        self._models = ModelFiles(self.store, transfers, self._standing.others)
        self._finishing = Finishing(
            workshop=self.workshop,
            store=self.store,
            models=self._models,
            seating=self.seating,
            inbox=self.inbox,
            threads=self.threads,
            reporter=self.reporter,
            recorder=self.recorder,
            on_settled=self.on_settled,
            rest_seconds=self.habits.rest_seconds,
        )

    # --- rounds -----------------------------------------------------------------------------------------------------

    async def _restore(self, first: RoundStart) -> None:
        """Begin, or replay the log of the round that was under way."""
        await self.seating.first_look(self.reporter.waiting)
        under_way = round_under_way(self.store, self.seating)
        if under_way is None:
            newcomer = Newcomer(self.store, self._models, self.seating, self.reporter, self._standing.sit)
            return await self._begin(await newcomer.first_start(first))
        saved, identity = under_way
        self._standing.sit(identity)
        self.round = saved.start.round
        self._finishing.goes_on_with(self.round)
        logged = self.store.events(self.round)
        self._base = max((at for at, _ in logged), default=saved.now) - time.monotonic()
        self.workshop.begin(saved.start)
        self.current, effects = saved.replay(identity, logged)
        self.exchange.begin(self.session)
        self.reporter.replayed(self.round, len(logged))
        await self._perform(effects)

    async def _begin(self, start: RoundStart) -> None:
        async with self.threads.vectors:
            self.workshop.begin(start)
        now = self._now()
        self._finishing.goes_on_with(start.round)
        save_start(self.store, self._own, start, now, Conduct(), Pace())
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
        identity = self._standing.identity_in(start.round)
        now = self._now()
        await self.threads.at_the_disk(lambda: self.store.put(start.model, start.round, self._models.get(start.model)))
        async with self.threads.vectors:
            self._standing.sit(identity)
            memory = sessions.memory_after(self.session, identity.committee)
            save_start(self.store, self._own, start, now, *memory)
            self.workshop.begin(start)
        # What the session hands back is older than anything in the queue, and goes before it.
        has_moved = identity.config != self.session.identity.config
        self.current, effects, kept = sessions.advance(self.session, identity, start, now)
        self.inbox.put_first(kept)
        if has_moved:
            self._steps.clear()
            for member in self._standing.others():
                is_up = self.admission.peer_id_of(member) in self.transport.connected
                self.inbox.offer(PeerUp(member) if is_up else PeerDown(member))
        await self._after_begin(effects)

    def _take_plan(self) -> None:
        """Go by what the ledger now shows of later rounds' committees."""
        if self.current is not None:
            identity = replace(self.session.identity, plan=self.seating.plan)
            self.current = replace(self.session, identity=identity)

    async def _after_begin(self, effects: list[Effect]) -> None:
        self.round = self.session.current.context.round
        self._finishing.round_begins()
        self.exchange.begin(self.session)
        await self._enter("OPEN", 0)
        await self._perform(effects)

    async def _decide(self) -> None:
        """The node's loop: take what has arrived, log it, step, do what follows."""
        while not self._is_finished:
            deadline = self.session.deadline
            wait = math.inf if deadline is None else max(0.0, deadline - self._now())
            found = await self.inbox.take(self.round, wait)
            if isinstance(found, RoundStart):
                await self._advance(found)
            elif found:
                now = self._now()
                self.store.append_events(self.round, [(now, encode_event(event)) for event in found])
                for event in found:
                    self.current, effects = sessions.step(self.session, event, now)
                    await self._perform(effects)

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
                    self._nursery.start_soon(self._transfers.push_shares, self.round)
                case FetchShare():
                    self._nursery.start_soon(self._transfers.fetch_share, self.round, effect)
                case FetchPayload():
                    self._nursery.start_soon(self._transfers.fetch_payload, self.round, effect)
                case Settled():
                    self._finishing.finish_soon(self._nursery, Ended.here(effect, self.session.current, self.workshop))
                case LaggedBehind(opened) if opened.previous is not None:
                    self.watch.stop_before(opened.round)
                    self._finishing.finish_soon(self._nursery, Ended.elsewhere(opened.previous, opened, self.workshop))
                case Entered(phase, attempt):
                    await self._enter(phase, attempt)
                case Blame() | Missed():
                    self.reporter.found(self.round, effect)
                case LaggedBehind():
                    pass  # nothing was signed before round 0
                case _:
                    self._worker.give(self.round, effect)

    async def _enter(self, phase: str, attempt: int) -> None:
        self.reporter.entered(self.round, phase, attempt)
        if self.habits.pauses is not None and self.habits.pauses(self.round, phase):
            await trio.sleep(PAUSE_SECONDS)

    # --- the end ----------------------------------------------------------------------------------------------------

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
        return self.exchange.finished >= {peer_ids[member] for member in self._standing.others()}

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

    # --- what the nodes tell each other of themselves ---------------------------------------------------------------

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
            self.inbox.offer(Working(member), round_id)

    def send_summary(self, to: str | None = None) -> None:
        """Tell peers what this node has heard."""
        is_finished = self._is_finished and not self.chain.has_pending
        if self.current is not None:
            summary = summarise(self.current, is_finished, self.watch.steps)
            self.transport.announce(encode_frame(summary), to=to)

    async def _note_absent(self) -> None:
        await trio.sleep(UNSEEN_SECONDS)
        for member, peer in self.admission.peer_ids().items():
            if member in self._standing.others() and peer not in self.transport.connected:
                self.inbox.offer(PeerDown(member))

    async def _tell_network(self) -> None:
        while True:
            self.reporter.network(self.transport.statistics())
            await trio.sleep(NETWORK_SECONDS)


async def _raise_on_signal() -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            raise Interrupted(signal.Signals(number).name)
