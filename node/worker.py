"""The work on vectors that rounds ask for: one piece after another, in the thread that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from gossip.events import Event, Work
from node.inbox import Inbox
from node.threads import Threads
from node.watch import TrainingStopped
from node.workshop import Workshop

log = structlog.get_logger()

MAX_WAITING_WORK = 20_000


@dataclass
class Worker:
    """Has one node's workshop do what the round under way asks for; what comes out becomes an event.

    Attributes:
        current_round: the round under way; work for any other is left undone.
    """

    workshop: Workshop
    threads: Threads
    inbox: Inbox
    current_round: Callable[[], int]

    def __post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[tuple[int, Work]](MAX_WAITING_WORK)

    def give(self, round_id: int, work: Work) -> None:
        """Have something done, after what waits already."""
        self._send.send_nowait((round_id, work))

    async def run(self) -> None:
        """Do what is given, for ever."""
        async for round_id, work in self._receive:
            if round_id == self.current_round():
                call = partial(self._perform, round_id, work)
                # What is done is in the store or can be done again: a node that has to stop waits for no training.
                event = await self.threads.at_the_vectors(call, abandon_on_cancel=True)
                if event is not None:
                    await self.inbox.put(event, round_id)

    def _perform(self, round_id: int, work: Work) -> Event | None:
        """In the worker thread, which may have been waited for while the next round began."""
        try:
            return self.workshop.perform(work) if self.workshop.start.round == round_id else None
        except TrainingStopped:
            log.info("training.stopped", round=round_id)
            return None
