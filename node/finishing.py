"""What happens at the end of a round: its record is published, its result queued, and the next round may begin."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec
import trio

from gossip.events import Settled
from gossip.messages import Open
from gossip.record import evidence_of, record_of
from gossip.session import RoundStart
from gossip.state import RoundState
from gossip.values import RoundResult
from node.chainqueue import Signatures
from node.inbox import Inbox
from node.modelfiles import ModelFiles
from node.recorder import Recorder
from node.reporter import Reporter
from node.seating import Seating
from node.store import Store
from node.threads import Threads
from node.workshop import Workshop


@dataclass(frozen=True)
class Ended:
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
    def here(cls, settled: Settled, state: RoundState, workshop: Workshop) -> Ended:
        """A round that this node has ended with the others."""
        start = partial(workshop.next_start, settled.result, settled.signatures)
        return cls(settled.result, settled.signatures, start, settled.attempt, state)

    @classmethod
    def elsewhere(cls, result: RoundResult, opened: Open, workshop: Workshop) -> Ended:
        """A round that others have ended with `result`, on which they opened the next one."""
        return cls(result, opened.signatures, partial(workshop.start_from, opened))


@dataclass
class Finishing:
    """Finishes one node's rounds, each once, and has the next one begun.

    Attributes:
        on_settled: called with each result, once it is queued; returns what else there is to tell of it.
        rest_seconds: between a round and the next.
    """

    workshop: Workshop
    store: Store
    models: ModelFiles
    seating: Seating
    inbox: Inbox
    threads: Threads
    reporter: Reporter
    recorder: Recorder
    on_settled: Callable[[RoundResult], dict[str, object]]
    rest_seconds: float

    def __post_init__(self) -> None:
        self._newest = -1
        self._round_began = time.monotonic()

    def goes_on_with(self, round_id: int) -> None:
        """The node has a round to take part in: whatever came before needs no more finishing."""
        self._newest = round_id - 1

    def round_begins(self) -> None:
        """Reckon the round's length from now on."""
        self._round_began = time.monotonic()

    def finish_soon(self, nursery: trio.Nursery, ended: Ended) -> None:
        """Finish a round in the background, unless it or a later one is being finished already."""
        if ended.result.round > self._newest:
            self._newest = ended.result.round
            nursery.start_soon(self._finish, ended)

    async def _finish(self, ended: Ended) -> None:
        """Have the round's model, publish its record, queue its result, and let the next one begin."""
        result = ended.result
        if not await self._has_model(result):
            return
        start = ended.make_start()
        keep = partial(self.store.save_checkpoint, result.round, result.model)
        await self.threads.at_the_disk(lambda: keep(self.models.get(result.model)))
        if ended.state is not None:
            await self.threads.at_the_vectors(partial(self._publish, ended, ended.state))
        signatures = self.seating.by_index(result, ended.signatures)
        self.store.queue_result(result.round, msgspec.msgpack.encode((result, signatures)))
        extra = await self.threads.at_the_vectors(partial(self.on_settled, result))
        seconds = None if ended.attempt is None else time.monotonic() - self._round_began
        self.reporter.settled(result, ended.attempt, seconds, extra)
        if ended.attempt is not None and result.round < self.seating.last_round(result.round):
            await trio.sleep(self.rest_seconds)
        await self.seating.until_it_may_begin(start.round, self.reporter.waiting)
        await self.inbox.put_start(start)

    def _publish(self, ended: Ended, state: RoundState) -> None:
        workshop = self.workshop
        if workshop.start.round != ended.result.round:
            return  # the others are far ahead: this node has gone on with them meanwhile
        terms = workshop.score_terms(ended.result.model)
        record = record_of(state, workshop.start, workshop.identity.spec, ended.signatures, terms)
        self.recorder.write(record, evidence_of(state))

    async def _has_model(self, result: RoundResult) -> bool:
        """Whether the result's model is here, fetched if need be; False once a later round's is wanted instead."""
        if self.models.has(result.model):
            return True
        size = len(self.workshop.model)  # a task's model files all have the same size
        return await self.models.fetch(result.model, size, result.round, lambda: self._newest == result.round)
