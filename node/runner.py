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

import msgspec
import structlog
import trio

from gossip import events
from gossip import session as sessions
from gossip.errors import MalformedMessage
from gossip.events import (
    Announce,
    Blame,
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
)
from gossip.messages import RoundResult
from gossip.results import result_digest
from gossip.session import RoundStart, Session
from gossip.shamir import blob_size
from gossip.spec import blob_digest
from gossip.state import Timing
from gossip.transport import PeerAddress
from gossip.transport.host import Transport
from ledger.types import Roster
from node.chainqueue import ChainQueue
from node.errors import Interrupted, LeftBehind
from node.eventlog import decode_event, encode_event
from node.frames import Summary, decode_frame, encode_frame
from node.progress import Progress
from node.store import Store
from node.sync import Exchange, summarise
from node.transfers import IsWanted, Transfers, complaint_of, public_names
from node.workshop import MissingModel, Workshop

log = structlog.get_logger()

EXCHANGE_SECONDS = 1.0
"""Between two summaries to each peer."""
UNSEEN_SECONDS = 3.0
"""From the start until a member without a connection counts as down."""
ALONE_SECONDS = 10.0
"""Without any peer, before the ledger is asked whether everybody else has finished."""
PAUSE_SECONDS = 1.0
MAX_WAITING_EVENTS = 20_000
BATCH = 128

Signatures = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Habits:
    """What one node does in its own way.

    Attributes:
        listen: host and port.
        rest_seconds: between a round and the next.
        linger_seconds: that a node that has finished waits for members that have not.
        pause_at: round and phase in which it sleeps for a second, so that a test can end it there.
    """

    listen: tuple[str, int]
    rest_seconds: float = 0.0
    linger_seconds: float = 60.0
    pause_at: tuple[int, str] | None = None


class _Stored(msgspec.Struct, array_like=True):
    """What the store keeps of a round's beginning.

    The timing is kept as well: replayed with another one, a node might say something else than it said.
    """

    now: float
    start: RoundStart
    timing: Timing


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
    last_round: int
    on_settled: Callable[[RoundResult], dict[str, object]]
    transport: Transport = field(init=False)

    def __post_init__(self) -> None:
        self.me = self.workshop.identity.me
        self._peer_ids = {member.index: member.peer_id for member in self.roster.members}
        self._members = {member.peer_id: member.index for member in self.roster.members}
        self._send, self._receive = trio.open_memory_channel[_Item](MAX_WAITING_EVENTS)
        self._work_in, self._work_out = trio.open_memory_channel[tuple[int, Work]](MAX_WAITING_EVENTS)
        self._next_start: RoundStart | None = None
        self._first: list[Event] = []
        self._vectors = trio.CapacityLimiter(1)
        self._exchange = Exchange(self.workshop.identity)
        self._session: Session | None = None
        self._round = 0
        self._finishing = -1
        self._is_finished = False
        self._base = 0.0
        self._round_began = time.monotonic()

    @property
    def session(self) -> Session:
        if self._session is None:
            raise RuntimeError("no round has begun")
        return self._session

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self, first: RoundStart) -> None:
        """Take part until the last round is over, starting from the store, or from `first` if that is empty.

        Raises:
            Interrupted: by a signal; nothing is lost.
            LeftBehind: everybody else finished and left.
            PortTaken, CannotListen: the address to listen on cannot be used.
        """
        listen = self.habits.listen
        self.transport = Transport(self.node_key, *listen, self, push_digest=blob_digest, blob_digest=blob_digest)
        self._transfers = Transfers(self.transport, self._peer_ids, self.me)
        others = [m for m in self.roster.members if m.index != self.me]
        self.transport.admit([PeerAddress(m.peer_id, m.host, m.port) for m in others])
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(_raise_on_signal)
            await nursery.start(self.transport.run)
            for task in (self._do_work, self._exchange_summaries, self._note_absent, self._notice_the_end):
                nursery.start_soon(task)
            nursery.start_soon(self.chain.run, self._on_recorded)
            await self._restore(first)
            await self._decide()
            await self._linger()
            nursery.cancel_scope.cancel()

    async def _restore(self, first: RoundStart) -> None:
        """Begin, or replay the log of the round that was under way."""
        stored = self.store.current_round()
        if stored is None:
            return await self._begin(first)
        saved = msgspec.msgpack.decode(stored[1], type=_Stored)
        self._round = saved.start.round
        self._finishing = saved.start.round - 1
        if saved.start.round > self.last_round:
            self._is_finished = True
            return
        logged = self.store.events(saved.start.round)
        self._base = max((at for at, _ in logged), default=saved.now) - time.monotonic()
        self.workshop.begin(saved.start)
        identity = replace(self.workshop.identity, timing=saved.timing)
        session, _ = sessions.start(identity, saved.start, saved.now)
        for at, body in logged:
            session, _ = sessions.step(session, decode_event(body), at)
        self._session, effects = sessions.resume(session, self._now())
        self._exchange.begin(self.session)
        log.info("node.replayed", round=saved.start.round, events=len(logged))
        self.progress.note("replayed", round=saved.start.round, events=len(logged))
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
                batch = [event for round_id, event in await self._next_batch() if round_id in (None, self._round)]
            if not batch:
                continue
            now = self._now()
            self.store.append_events(self._round, [(now, encode_event(event)) for event in batch])
            for event in batch:
                self._session, effects = sessions.step(self.session, event, now)
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

    async def _begin(self, start: RoundStart) -> None:
        async with self._vectors:
            self.workshop.begin(start)
        now = self._now()
        self._store_beginning(start, now)
        self._session, effects = sessions.start(self.workshop.identity, start, now)
        await self._after_begin(effects)

    async def _advance(self, start: RoundStart) -> None:
        """Go on to a later round, whose model is here."""
        if start.round <= self._round:
            return
        now = self._now()
        self.store.put(start.model, start.round, self._model(start.model))
        self._store_beginning(start, now)
        if start.round > self.last_round:
            self._is_finished = True
            return
        async with self._vectors:
            self.workshop.begin(start)
        # What the session hands back is older than anything in the queue, and goes before it.
        session = replace(self.session, identity=self.workshop.identity)
        self._session, effects, self._first = sessions.advance(session, start, now)
        await self._after_begin(effects)

    def _store_beginning(self, start: RoundStart, now: float) -> None:
        saved = _Stored(now, start, self.workshop.identity.timing)
        self.store.begin_round(start.round, msgspec.msgpack.encode(saved))

    async def _after_begin(self, effects: list[Effect]) -> None:
        self._round = self.session.current.context.round
        self._round_began = time.monotonic()
        self._exchange.begin(self.session)
        await self._enter("OPEN", 0)
        await self._perform(effects)

    async def _linger(self) -> None:
        """Stay until the results are on the ledger and every member has finished, or had time to."""
        self.progress.update(phase="FINISHED")
        told, began = False, time.monotonic()
        while self.chain.has_pending or not self._others_have_finished():
            if not self.chain.has_pending and time.monotonic() - began > self.habits.linger_seconds:
                break
            if not told and not self.chain.has_pending:
                told = True
                self._send_summary()
            await trio.sleep(0.1)
        self._send_summary()
        await self.transport.flush(2.0)

    def _others_have_finished(self) -> bool:
        return self._exchange.finished >= self._members.keys() - {self._peer_ids[self.me]}

    async def _notice_the_end(self) -> None:
        """End a node that came back too late: nobody is left who could give it the last model."""
        alone = 0.0
        while True:
            await trio.sleep(EXCHANGE_SECONDS)
            alone = 0.0 if self.transport.connected or self._is_finished else alone + EXCHANGE_SECONDS
            if alone >= ALONE_SECONDS:
                alone = 0.0
                if await self.chain.recorded_rounds() > self.last_round:
                    raise LeftBehind(self._round)

    def _now(self) -> float:
        return time.monotonic() + self._base

    def _model(self, name: bytes) -> bytes:
        data = self.store.get(name)
        if data is None:
            raise MissingModel(name)
        return data

    def _enqueue(self, item: Event | RoundStart, round_id: int | None = None) -> None:
        """Have something handled, after what waits already; `round_id` if it means nothing in any other round."""
        try:
            self._send.send_nowait(item if isinstance(item, RoundStart) else (round_id, item))
        except trio.WouldBlock:
            log.warning("event.dropped", kind=type(item).__name__)

    def _name(self, member: int) -> str:
        return self.roster.members[member].name

    def _until(self, round_id: int) -> IsWanted:
        return lambda: self._round == round_id and not self._is_finished

    # --- effects ----------------------------------------------------------------------------------------------------

    async def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Announce(envelope):
                    self._exchange.said(envelope)
                    self.transport.announce(encode_frame(envelope))
                case Tell(member, envelopes):
                    for envelope in envelopes:
                        self.transport.announce(encode_frame(envelope), to=self._peer_ids[member])
                case PushShares():
                    self._nursery.start_soon(self._push_shares)
                case FetchShare(dealer, name):
                    size = blob_size(self.workshop.layout, dealer, self.me)
                    accept = partial(self.workshop.accept_share, self._round, dealer)
                    self._nursery.start_soon(self._fetch, name, size, [dealer], accept)
                case FetchPayload(holder, name):
                    self._fetch_payload(holder, name)
                case Settled(result, signatures, attempt):
                    self._finish_soon(
                        result, signatures, attempt, partial(self.workshop.next_start, result, signatures)
                    )
                case LaggedBehind(opened) if opened.previous is not None:
                    start = partial(self.workshop.start_from, opened)
                    self._finish_soon(opened.previous, opened.signatures, None, start)
                case Entered(phase, attempt):
                    await self._enter(phase, attempt)
                case Blame() | Missed():
                    self._report(effect)
                case LaggedBehind():
                    pass  # nothing was signed before round 0
                case _:
                    self._work_in.send_nowait((self._round, effect))

    async def _enter(self, phase: str, attempt: int) -> None:
        log.debug("round.entered", round=self._round, phase=phase, attempt=attempt)
        self.progress.note("entered", round=self._round, phase=phase, attempt=attempt)
        self._update_status(phase=phase, attempt=attempt)
        if self.habits.pause_at == (self._round, phase):
            await trio.sleep(PAUSE_SECONDS)

    def _report(self, finding: Blame | Missed) -> None:
        if isinstance(finding, Blame):
            name = self._name(finding.member)
            log.warning("member.blamed", round=self._round, member=name, reason=finding.reason)
            self.progress.note("blamed", round=self._round, member=name, reason=finding.reason)
            return
        names = [self._name(member) for member in finding.members]
        log.warning("member.missed", round=self._round, phase=finding.phase, members=names)
        self.progress.note("missed", round=self._round, phase=finding.phase, members=names)
        missing = {"round": self._round, "phase": finding.phase, "members": names, "since": round(time.time(), 1)}
        self._update_status(missing=missing)

    def _update_status(self, **values: object) -> None:
        connected = sorted(self._name(self._members[peer]) for peer in self.transport.connected)
        self.progress.update(name=self._name(self.me), round=self._round, connected=connected, **values)

    async def _do_work(self) -> None:
        async for round_id, work in self._work_out:
            if round_id == self._round:
                call = partial(self._perform_work, round_id, work)
                # What is done is in the store or can be done again: a node that has to stop waits for no training.
                event = await trio.to_thread.run_sync(call, limiter=self._vectors, abandon_on_cancel=True)  # type: ignore[call-arg]
                if event is not None:
                    self._enqueue(event, round_id)

    def _perform_work(self, round_id: int, work: Work) -> Event | None:
        """In the worker thread, which may have been waited for while the next round began."""
        return self.workshop.perform(work) if self.workshop.start.round == round_id else None

    # --- the end of a round -----------------------------------------------------------------------------------------

    def _finish_soon(
        self, result: RoundResult, signatures: Signatures, attempt: int | None, make_start: Callable[[], RoundStart]
    ) -> None:
        if result.round > self._finishing:
            self._finishing = result.round
            self._nursery.start_soon(self._finish, result, signatures, attempt, make_start)

    async def _finish(
        self, result: RoundResult, signatures: Signatures, attempt: int | None, make_start: Callable[[], RoundStart]
    ) -> None:
        """A round ended: have its model, queue its result for the ledger, and let the next one begin.

        `attempt` is None where others ended it while this node was away.
        """
        try:
            if not await self._has_model(result):
                return
            start = make_start()
        except MalformedMessage as error:
            log.warning("open.refused", round=result.round + 1, reason=str(error))
            self._finishing = self._round - 1
            return
        self.store.save_checkpoint(result.round, result.model, self._model(result.model))
        self.store.queue_result(result.round, msgspec.msgpack.encode((result, signatures)))
        extra = await trio.to_thread.run_sync(self.on_settled, result, limiter=self._vectors)
        self._tell_settled(result, attempt, extra)
        if attempt is not None and result.round < self.last_round:
            await trio.sleep(self.habits.rest_seconds)
        self._enqueue(start)

    async def _has_model(self, result: RoundResult) -> bool:
        """Whether the result's model is here, fetched if need be; False once a later round's is wanted instead."""
        name = result.model
        if self.store.get(name) is None:
            size = len(self.workshop.model)  # a task's model files all have the same size
            data = await self._transfers.fetch(name, size, self._peer_ids, lambda: self._finishing == result.round)
            if data is None:
                return False
            self.store.put(name, result.round, data)
        return True

    def _tell_settled(self, result: RoundResult, attempt: int | None, extra: dict[str, object]) -> None:
        summary = {
            "round": result.round,
            "attempt": attempt,
            "dealers": [self._name(i) for i in sorted(result.dealer_set)],
            "seconds": None if attempt is None else round(time.monotonic() - self._round_began, 3),
            "model_digest": result.model.hex(),
            "result_digest": result_digest(result).hex(),
        }
        log.info("round.settled" if attempt is not None else "round.caught_up", outcome=result.outcome, **summary)
        self.progress.note("settled", outcome=result.outcome, scores=result.scores, **summary, **extra)
        self._update_status(last=summary, **extra)

    async def _on_recorded(self, round_id: int, tx: str) -> None:
        log.info("result.recorded", round=round_id, tx=tx)
        self.progress.note("recorded", round=round_id, tx=tx)

    # --- transfers --------------------------------------------------------------------------------------------------

    async def _push_shares(self) -> None:
        round_id = self._round

        def make() -> list[tuple[int, bytes, bytes]]:
            return list(self.workshop.shares()) if self.workshop.start.round == round_id else []

        shares = await trio.to_thread.run_sync(make, limiter=self._vectors)
        await self._transfers.push_shares(round_id, shares, self._until(round_id))

    def _fetch_payload(self, holder: int, name: bytes) -> None:
        """A partial sum, or a share that its holder complained about; from the holder first, then from anyone."""
        members = sorted(self._peer_ids, key=lambda index: (index != holder, index))
        complaint = complaint_of(self.session, name)
        size = self.workshop.partial_sum_bytes()
        if complaint is not None:
            size = blob_size(self.workshop.layout, *complaint)
        self._nursery.start_soon(self._fetch, name, size, members, self.workshop.accept_payload)

    async def _fetch(self, name: bytes, size: int, members: list[int], accept: Callable[[bytes], Event | None]) -> None:
        round_id = self._round
        data = await self._transfers.fetch(name, size, members, self._until(round_id))
        event = accept(data) if data is not None and round_id == self._round else None
        if event is not None:
            self._enqueue(event, round_id)

    # --- exchange ---------------------------------------------------------------------------------------------------

    async def _exchange_summaries(self) -> None:
        while True:
            await trio.sleep(EXCHANGE_SECONDS)
            self._send_summary()

    def _send_summary(self, to: str | None = None) -> None:
        """Tell peers what this node has heard."""
        is_finished = self._is_finished and not self.chain.has_pending
        if self._session is not None:
            self.transport.announce(encode_frame(summarise(self._session, is_finished)), to=to)
        elif self._is_finished:
            self.transport.announce(encode_frame(Summary(self._round, "FINISHED", is_finished, b"")), to=to)

    async def _note_absent(self) -> None:
        await trio.sleep(UNSEEN_SECONDS)
        for member, peer in self._peer_ids.items():
            if member != self.me and peer not in self.transport.connected:
                self._enqueue(PeerDown(member))

    # --- the transport's handlers -----------------------------------------------------------------------------------

    def on_connected(self, peer_id: str) -> None:
        log.info("peer.connected", peer=self._name(self._members[peer_id]))
        self._enqueue(PeerUp(self._members[peer_id]))
        self._update_status()
        self._send_summary(peer_id)

    def on_lost(self, peer_id: str) -> None:
        log.info("peer.lost", peer=self._name(self._members[peer_id]))
        self._enqueue(PeerDown(self._members[peer_id]))
        self._update_status()

    def on_gap(self, peer_id: str) -> None:
        self._send_summary(peer_id)

    def on_announcement(self, peer_id: str, message: bytes) -> None:
        frame = decode_frame(message)
        if isinstance(frame, Summary):
            for envelope in self._exchange.lacking(peer_id, frame, self._session):
                self.transport.announce(encode_frame(envelope), to=peer_id)
        elif self._session is not None and self._exchange.is_news(frame, self._session):
            self._enqueue(Heard(frame))

    def judge_offer(self, peer_id: str, header: bytes, size: int, digest: bytes) -> str | None:
        try:
            round_id, dealer = msgspec.msgpack.decode(header, type=tuple[int, int])
        except msgspec.MsgspecError:
            return "the header of an offer is (round, dealer)"
        if self._members.get(peer_id) != dealer:
            return "a member offers its own dealing only"
        if self._session is None or round_id != self._round:
            return "another round is under way here"
        if digest in self._session.current.shares.get(dealer, frozenset()):
            return "it is here already"
        expected = blob_size(self.workshop.layout, dealer, self.me)
        return None if size == expected else f"a share has {expected} bytes here, and the offer {size}"

    def on_payload(self, peer_id: str, header: bytes, payload: bytes) -> None:
        round_id, dealer = msgspec.msgpack.decode(header, type=tuple[int, int])
        if round_id == self._round:
            event: events.ShareArrived | None = self.workshop.accept_share(round_id, dealer, payload)
            if event is not None:
                self._enqueue(event, round_id)

    def find_blob(self, peer_id: str, digest: bytes) -> bytes | None:
        """A member's own share, or what is public: models, revealed sums, shares complained about."""
        latest = self.store.latest_checkpoint()
        if latest is not None and latest[1] == digest:
            return latest[2]
        if self._session is None:
            return None
        own, holder = self._session.current.own_shares, self._members[peer_id]
        if own is not None and own[holder] == digest:
            return self.workshop.share_of(holder, digest)
        is_public = digest == self.workshop.start.model or digest in public_names(self._session)
        return self.store.get(digest) if is_public else None


async def _raise_on_signal() -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            raise Interrupted(signal.Signals(number).name)
