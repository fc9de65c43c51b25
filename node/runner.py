"""One node: receives, lets the session decide, and does what it decided; the only place with a clock and tasks.

What it promises: an event is in the store before anything that follows from it leaves the machine, so that a node that
is killed at any instant comes back, replays its log, goes on, and never says two different things; training and the
chain have threads of their own, and neither ever holds up the network.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec
import structlog
import trio

from gossip import session as sessions
from gossip.errors import BadSignature, MalformedMessage, PeerUnreachable, TransferRefused
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
from gossip.messages import Envelope, RoundResult, decode_message, verify_envelope
from gossip.results import result_digest
from gossip.session import RoundStart, Session
from gossip.shamir import blob_size
from gossip.spec import blob_digest
from gossip.transport import PeerAddress
from gossip.transport.host import Transport
from ledger.types import Roster
from node.chainqueue import ChainQueue
from node.eventlog import decode_event, encode_event
from node.frames import Summary, decode_frame, encode_frame, short_id
from node.progress import Progress
from node.store import Store
from node.workshop import MissingModel, Workshop

log = structlog.get_logger()

EXCHANGE_SECONDS = 1.0
"""Between two summaries to each peer."""
RETRY_SECONDS = 0.5
"""Before asking another peer for the same bytes."""
UNSEEN_SECONDS = 3.0
"""From the start until a member without a connection counts as down."""
LINGER_SECONDS = 15.0
"""That a finished node waits for connected peers to finish."""
MAX_WAITING_EVENTS = 20_000
BATCH = 128


@dataclass(frozen=True, slots=True)
class _Advance:
    """Not an event of the round, but its end: the next one can begin."""

    start: RoundStart


class _Stored(msgspec.Struct, array_like=True):
    now: float
    start: RoundStart


@dataclass
class Node:
    """One member's node; `run` returns when the last round is settled and recorded."""

    roster: Roster
    workshop: Workshop
    store: Store
    progress: Progress
    chain: ChainQueue
    node_key: bytes
    listen: tuple[str, int]
    last_round: int
    on_settled: Callable[[RoundResult], dict[str, object]]
    pause_at: tuple[int, str] | None = None
    session: Session = field(init=False)

    def __post_init__(self) -> None:
        self.me = self.workshop.identity.me
        self._peer_ids = {member.index: member.peer_id for member in self.roster.members}
        self._members = {member.peer_id: member.index for member in self.roster.members}
        self._send, self._receive = trio.open_memory_channel[Event | _Advance](MAX_WAITING_EVENTS)
        self._work_in, self._work_out = trio.open_memory_channel[tuple[int, Work]](MAX_WAITING_EVENTS)
        self._vectors = trio.CapacityLimiter(1)
        self._seen: set[bytes] = set()
        self._peers: dict[str, Summary] = {}
        self._is_finished = False
        self._base = 0.0
        self._round_began = time.monotonic()
        self._attempt = 0

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self, first: RoundStart) -> None:
        """Take part until the last round is over, starting from the store, or from `first` if that is empty."""
        transport = Transport(self.node_key, *self.listen, self, push_digest=blob_digest, blob_digest=blob_digest)
        self.transport = transport
        transport.admit([PeerAddress(m.peer_id, m.host, m.port) for m in self.roster.members if m.index != self.me])
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(transport.run)
            nursery.start_soon(self._do_work)
            nursery.start_soon(self._exchange)
            nursery.start_soon(self._note_absent)
            nursery.start_soon(self.chain.run, self._on_recorded)
            if not await self._restore(first):
                await self._decide()
            await self._linger()
            nursery.cancel_scope.cancel()

    async def _restore(self, first: RoundStart) -> bool:
        """Begin, or replay the log of the round that was under way; True if the last round is over already."""
        stored = self.store.current_round()
        if stored is None:
            await self._begin(first)
            return False
        saved = msgspec.msgpack.decode(stored[1], type=_Stored)
        if saved.start.round > self.last_round:
            self._is_finished = True
            return True
        events = self.store.events(saved.start.round)
        self._base = max((at for at, _ in events), default=saved.now) - time.monotonic()
        self.workshop.begin(saved.start)
        session, _ = sessions.start(self.workshop.identity, saved.start, saved.now)
        for at, body in events:
            session, _ = sessions.step(session, decode_event(body), at)
        self.session, effects = sessions.resume(session, self._now())
        log.info("node.replayed", round=saved.start.round, events=len(events))
        await self._perform(effects)
        return False

    async def _decide(self) -> None:
        """The node's loop: take what has arrived, log it, step, do what follows."""
        while not self._is_finished:
            batch = await self._next_batch()
            if isinstance(batch, _Advance):
                await self._advance(batch.start)
                continue
            now, round_id = self._now(), self.session.current.context.round
            self.store.append_events(round_id, [(now, encode_event(event)) for event in batch])
            for event in batch:
                self.session, effects = sessions.step(self.session, event, now)
                await self._perform(effects)

    async def _next_batch(self) -> list[Event] | _Advance:
        deadline = self.session.deadline
        wait = 3600.0 if deadline is None else max(0.0, deadline - self._now())
        with trio.move_on_after(wait):
            item = await self._receive.receive()
            if isinstance(item, _Advance):
                return item
            return [item, *self._more()]
        return [Ticked()]

    def _more(self) -> list[Event]:
        """Further events that wait; stops before the end of a round, which has to be handled by itself."""
        events: list[Event] = []
        while len(events) < BATCH:
            try:
                item = self._receive.receive_nowait()
            except trio.WouldBlock:
                break
            if isinstance(item, _Advance):
                self._nursery.start_soon(self._send.send, item)
                break
            events.append(item)
        return events

    async def _begin(self, start: RoundStart) -> None:
        async with self._vectors:
            self.workshop.begin(start)
        now = self._now()
        self.store.begin_round(start.round, msgspec.msgpack.encode(_Stored(now, start)))
        self._round_began = time.monotonic()
        self.session, effects = sessions.start(self.workshop.identity, start, now)
        await self._perform(effects)

    async def _advance(self, start: RoundStart) -> None:
        """Go on to a later round, once its model is here."""
        if start.round <= self.session.current.context.round:
            return
        now = self._now()
        self.store.put(start.model, start.round, self._model(start.model))
        self.store.begin_round(start.round, msgspec.msgpack.encode(_Stored(now, start)))
        if start.round > self.last_round:
            self._is_finished = True
            return
        async with self._vectors:
            self.workshop.begin(start)
        self._round_began = time.monotonic()
        self.session, effects, waiting = sessions.advance(self.session, start, now)
        self._seen = {short_id(envelope) for envelope in self.session.envelopes()}
        await self._perform(effects)
        for event in waiting:
            self._enqueue(event)

    async def _linger(self) -> None:
        """Stay until the result is on the ledger and connected peers have finished too, within limits."""
        self._is_finished = True
        self.progress.update(phase="FINISHED")
        with trio.move_on_after(LINGER_SECONDS):
            while self.chain.has_pending or not self._peers_are_finished():
                await trio.sleep(0.1)
        self.transport_summary()
        await self.transport.flush(2.0)

    def _peers_are_finished(self) -> bool:
        here = self.transport.connected
        return all(peer in self._peers and self._peers[peer].is_finished for peer in here)

    def _now(self) -> float:
        return time.monotonic() + self._base

    def _model(self, name: bytes) -> bytes:
        data = self.store.get(name)
        if data is None:
            raise MissingModel(name)
        return data

    def _enqueue(self, event: Event | _Advance) -> None:
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            log.warning("event.dropped", kind=type(event).__name__)

    # --- effects ----------------------------------------------------------------------------------------------------

    async def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Announce(envelope):
                    self._seen.add(short_id(envelope))
                    self.transport.announce(encode_frame(envelope))
                case Tell(member, envelopes):
                    for envelope in envelopes:
                        self.transport.announce(encode_frame(envelope), to=self._peer_ids[member])
                case PushShares():
                    self._nursery.start_soon(self._push_shares, self._round)
                case FetchShare(dealer, name):
                    size = blob_size(self.workshop.layout, dealer, self.me)
                    accept = partial(self.workshop.accept_share, self._round, dealer)
                    self._fetch(name, size, [dealer], accept)
                case FetchPayload(holder, name):
                    self._fetch_payload(holder, name)
                case Entered(phase, attempt):
                    await self._enter(phase, attempt)
                case Blame(member, reason, _):
                    log.warning("member.blamed", member=self._name(member), reason=reason)
                    self.progress.note("blamed", member=self._name(member), reason=reason)
                case Missed(phase, members):
                    names = [self._name(member) for member in members]
                    log.warning("member.missed", phase=phase, members=names)
                    self.progress.note("missed", phase=phase, members=names)
                    self.progress.update(missing={"phase": phase, "members": names, "since": round(time.time(), 1)})
                case Settled(result, signatures, attempt):
                    self._attempt = attempt
                    start = partial(self.workshop.next_start, result, signatures)
                    self._nursery.start_soon(self._finish, result, signatures, start)
                case LaggedBehind(opened):
                    if opened.previous is not None:
                        start = partial(self.workshop.start_from, opened)
                        self._nursery.start_soon(self._finish, opened.previous, opened.signatures, start)
                case _:
                    self._work_in.send_nowait((self._round, effect))

    @property
    def _round(self) -> int:
        return self.workshop.start.round

    def _name(self, member: int) -> str:
        return self.roster.members[member].name

    async def _enter(self, phase: str, attempt: int) -> None:
        log.debug("round.entered", round=self._round, phase=phase, attempt=attempt)
        self.progress.note("entered", round=self._round, phase=phase, attempt=attempt)
        connected = sorted(self._name(self._members[peer]) for peer in self.transport.connected)
        self.progress.update(round=self._round, phase=phase, attempt=attempt, connected=connected)
        if self.pause_at == (self._round, phase):
            await trio.sleep(1.0)  # a test wants to kill this node inside the phase

    async def _do_work(self) -> None:
        async for round_id, work in self._work_out:
            if round_id != self._round:
                continue
            event = await self._in_thread(partial(self.workshop.perform, work))
            if event is not None and round_id == self._round:
                await self._send.send(event)

    async def _in_thread(self, call: Callable[[], Event | None]) -> Event | None:
        return await trio.to_thread.run_sync(call, limiter=self._vectors)

    async def _finish(
        self,
        result: RoundResult,
        signatures: tuple[tuple[int, bytes], ...],
        make_start: Callable[[], RoundStart],
    ) -> None:
        """A round ended: have its model, queue its result for the ledger, and let the next one begin."""
        while True:
            try:
                start = make_start()
                break
            except MissingModel as missing:
                await self._obtain(missing.model, len(self.workshop.model), list(self._members.values()), lambda: True)
            except MalformedMessage as error:
                log.warning("open.refused", reason=str(error))
                return
        self.store.save_checkpoint(result.round, result.model, self._model(result.model))
        self.store.queue_result(result.round, msgspec.msgpack.encode((result, signatures)))
        extra = await trio.to_thread.run_sync(self.on_settled, result, limiter=self._vectors)
        seconds = time.monotonic() - self._round_began
        summary = {
            "round": result.round,
            "attempt": self._attempt,
            "dealers": [self._name(i) for i in sorted(result.dealer_set)],
            "seconds": round(seconds, 3),
            "model_digest": result.model.hex(),
            "result_digest": result_digest(result).hex(),
        }
        log.info("round.settled", outcome=result.outcome, **summary)
        self.progress.note("settled", outcome=result.outcome, scores=result.scores, **summary, **extra)
        self.progress.update(last=summary, **extra)
        await self._send.send(_Advance(start))

    async def _on_recorded(self, round_id: int, tx: str) -> None:
        log.info("result.recorded", round=round_id, tx=tx)
        self.progress.note("recorded", round=round_id, tx=tx)

    # --- transfers --------------------------------------------------------------------------------------------------

    async def _push_shares(self, round_id: int) -> None:
        async with self._vectors:
            shares = list(self.workshop.shares())
        header = msgspec.msgpack.encode((round_id, self.me))
        async with trio.open_nursery() as nursery:
            for holder, name, blob in shares:
                push = partial(self.transport.push, self._peer_ids[holder], header, blob, name)
                nursery.start_soon(self._retry, push, round_id)

    async def _retry(self, push: Callable[[], Awaitable[None]], round_id: int) -> None:
        """Push until it arrives, is refused, or the round is over."""
        while round_id == self._round and not self._is_finished:
            try:
                await push()
                return
            except TransferRefused:
                return  # it has the share, or is in another round and will ask
            except PeerUnreachable:
                await trio.sleep(RETRY_SECONDS)

    def _fetch_payload(self, holder: int, name: bytes) -> None:
        """A partial sum, or a share that its holder complained about; the holder first, then anyone."""
        others = [index for index in self._peer_ids if index not in (holder, self.me)]
        sizes = {self.workshop.partial_sum_bytes()}
        for complaint_size in self._complaint_sizes(name):
            sizes = {complaint_size}
        self._fetch(name, sizes.pop(), [holder, *others], self.workshop.accept_payload)

    def _complaint_sizes(self, name: bytes) -> list[int]:
        from gossip.messages import Complaint

        layout = self.workshop.layout
        return [
            blob_size(layout, record.message.subject, sender)
            for records in self.session.current.heard.values()
            for sender, record in records.items()
            if isinstance(record.message, Complaint) and record.message.share == name
        ]

    def _fetch(self, name: bytes, size: int, members: list[int], accept: Callable[[bytes], Event | None]) -> None:
        round_id = self._round

        async def fetch() -> None:
            data = await self._obtain(name, size, members, lambda: round_id == self._round)
            event = None if data is None else accept(data)
            if event is not None and round_id == self._round:
                await self._send.send(event)

        self._nursery.start_soon(fetch)

    async def _obtain(self, name: bytes, size: int, members: list[int], is_wanted: Callable[[], bool]) -> bytes | None:
        """Bytes by digest from the first member that has them, asked in turn as long as they are wanted."""
        while is_wanted() and not self._is_finished:
            for member in members:
                if member == self.me:
                    continue
                try:
                    data = await self.transport.fetch(self._peer_ids[member], name, size)
                except (PeerUnreachable, TransferRefused):
                    continue
                self.store.put(name, self._round, data)
                return data
            await trio.sleep(RETRY_SECONDS)
        return None

    # --- exchange ---------------------------------------------------------------------------------------------------

    async def _exchange(self) -> None:
        while True:
            await trio.sleep(EXCHANGE_SECONDS)
            self.transport_summary()

    def transport_summary(self, to: str | None = None) -> None:
        """Tell peers what this node has."""
        if not hasattr(self, "session"):
            return
        ids = b"".join(short_id(envelope) for envelope in self.session.envelopes())
        state = self.session.current
        finished = self._is_finished and not self.chain.has_pending
        summary = Summary(state.context.round, state.phase, finished, ids)
        self.transport.announce(encode_frame(summary), to=to)

    async def _note_absent(self) -> None:
        await trio.sleep(UNSEEN_SECONDS)
        for member, peer in self._peer_ids.items():
            if member != self.me and peer not in self.transport.connected:
                self._enqueue(PeerDown(member))

    # --- the transport's handlers -----------------------------------------------------------------------------------

    def on_connected(self, peer_id: str) -> None:
        log.info("peer.connected", peer=self._name(self._members[peer_id]))
        self._enqueue(PeerUp(self._members[peer_id]))
        self.transport_summary(peer_id)

    def on_lost(self, peer_id: str) -> None:
        log.info("peer.lost", peer=self._name(self._members[peer_id]))
        self._peers.pop(peer_id, None)
        self._enqueue(PeerDown(self._members[peer_id]))

    def on_gap(self, peer_id: str) -> None:
        self.transport_summary(peer_id)

    def on_announcement(self, peer_id: str, message: bytes) -> None:
        frame = decode_frame(message)
        if isinstance(frame, Summary):
            self._peers[peer_id] = frame
            self._supply(peer_id, frame)
        elif short_id(frame) not in self._seen and self._is_genuine(frame):
            self._seen.add(short_id(frame))
            self._enqueue(Heard(frame))

    def _supply(self, peer_id: str, summary: Summary) -> None:
        """Send a peer what it lacks."""
        if not hasattr(self, "session"):
            return
        has = summary.has()
        for envelope in self.session.envelopes():
            if short_id(envelope) not in has:
                self.transport.announce(encode_frame(envelope), to=peer_id)

    def _is_genuine(self, envelope: Envelope) -> bool:
        """Whether a member said this, for a round that is not over: nothing else is worth a place in the log."""
        identity = self.workshop.identity
        message = decode_message(envelope.body)
        if not hasattr(self, "session") or message.round < self.session.current.context.round:
            return False
        try:
            return verify_envelope(envelope, message, identity.domain, identity.signers)
        except BadSignature:
            return False

    def judge_offer(self, peer_id: str, header: bytes, size: int, digest: bytes) -> str | None:
        try:
            round_id, dealer = msgspec.msgpack.decode(header, type=tuple[int, int])
        except msgspec.MsgspecError:
            return "the header of an offer is (round, dealer)"
        if self._members.get(peer_id) != dealer:
            return "a member offers its own dealing only"
        if not hasattr(self, "session") or round_id != self._round:
            return "another round is under way here"
        expected = blob_size(self.workshop.layout, dealer, self.me)
        return None if size == expected else f"a share has {expected} bytes here, and the offer {size}"

    def on_payload(self, peer_id: str, header: bytes, payload: bytes) -> None:
        round_id, dealer = msgspec.msgpack.decode(header, type=tuple[int, int])
        if round_id == self._round:
            event = self.workshop.accept_share(round_id, dealer, payload)
            if event is not None:
                self._enqueue(event)

    def find_blob(self, peer_id: str, digest: bytes) -> bytes | None:
        if not hasattr(self, "session"):
            return None
        share = self.workshop.share_of(self._members[peer_id], digest)
        if share is not None:
            return share
        return self.store.get(digest) if digest in self._public_names() else None

    def _public_names(self) -> set[bytes]:
        """What anybody may fetch: models, revealed sums, and shares that a complaint made public."""
        from gossip.messages import Complaint, Reveal

        names = {self.workshop.start.model}
        latest = self.store.latest_checkpoint()
        if latest is not None:
            names.add(latest[1])
        for state in (self.session.current, self.session.last):
            for records in state.heard.values() if state is not None else ():
                for record in records.values():
                    if isinstance(record.message, Reveal):
                        names.add(record.message.payload)
                    elif isinstance(record.message, Complaint):
                        names.add(record.message.share)
        return names
