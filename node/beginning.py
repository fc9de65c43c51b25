"""How a node begins: with the round that its store holds, or with round 0, or with where the ledger is by now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec
import structlog
import trio

from gossip import session as sessions
from gossip.events import Effect
from gossip.pace import Pace
from gossip.session import Conduct, Identity, RoundStart, Session
from gossip.state import Timing
from ledger.errors import LedgerError
from node.errors import LeftBehind, StoreError
from node.eventlog import decode_event
from node.modelfiles import ModelFiles
from node.reporter import Reporter
from node.seating import LOOK_SECONDS, Seating
from node.store import Store

log = structlog.get_logger()

MODEL_SECONDS = 10.0
"""For the newest model, before the ledger is asked for a newer one."""


class StoredStart(msgspec.Struct, array_like=True):
    """What the store keeps of a round's beginning.

    Timing and roster are kept as well: replayed with others, a node might say something else than it said.
    """

    now: float
    start: RoundStart
    timing: Timing
    conduct: Conduct = Conduct()
    pace: Pace = Pace()
    config: bytes = b""

    def replay(self, identity: Identity, logged: Iterable[tuple[float, bytes]]) -> tuple[Session, list[Effect]]:
        """The session as it was after the events that were logged since, and what has to be done again."""
        identity = replace(identity, timing=self.timing)
        session, _ = sessions.start(identity, self.start, self.now, self.conduct, self.pace)
        for at, body in logged:
            session, _ = sessions.step(session, decode_event(body), at)
        return session, sessions.resume(session)


def save_start(store: Store, identity: Identity, start: RoundStart, now: float, conduct: Conduct, pace: Pace) -> None:
    """Turn the store to a round that begins."""
    saved = StoredStart(now, start, identity.timing, conduct, pace, identity.config)
    store.begin_round(start.round, msgspec.msgpack.encode(saved))


def round_under_way(store: Store, seating: Seating) -> tuple[StoredStart, Identity] | None:
    """The round that the store holds, and as whom this member takes part in it.

    None if nothing was begun here, or as a signer that this member has replaced since.

    Raises:
        StoreError: what is stored is damaged, or of another roster than the ledger's.
    """
    stored = store.current_round()
    if stored is None:
        return None
    saved = store.decoded(stored[1], StoredStart)
    identity = seating.identity_in(saved.start.round)
    if identity is None:
        return None
    if saved.config not in (b"", identity.config):
        raise StoreError(
            f"round {saved.start.round} began here with another roster than the ledger now gives it: the chain was "
            "reorganised beyond what the configuration takes for final"
        )
    return saved, identity


@dataclass
class Newcomer:
    """A node without a past.

    Attributes:
        sit: takes a place in a committee, as the identity says.
    """

    store: Store
    models: ModelFiles
    seating: Seating
    reporter: Reporter
    sit: Callable[[Identity], None]

    async def first_start(self, first: RoundStart) -> RoundStart:
        """What to begin with: `first`, of round 0, or what the ledger shows, once this member has a place there.

        Raises:
            LeftBehind: the last round is over.
        """
        told = ""
        while True:
            following = self.seating.recorded
            if following > self.seating.last_round(following):
                raise LeftBehind(following)
            identity = self.seating.identity_in(following)
            if identity is not None:
                self.sit(identity)
                start = first if following == 0 else await self._start_from_ledger(len(self.models.get(first.model)))
                if start is not None:
                    return start
            elif told != (reason := self._reason_to_wait(following)):
                told = reason
                self.reporter.waiting(reason)
            await trio.sleep(LOOK_SECONDS)
            await self.seating.look()

    def _reason_to_wait(self, following: int) -> str:
        begins = self.seating.first_round_from(following)
        if begins is None:
            return "the roster that this member is in to be final on the ledger"
        return f"round {begins}, the first one that this member takes part in"

    async def _start_from_ledger(self, model_bytes: int) -> RoundStart | None:
        """What follows the newest recorded round, its model fetched; None if the ledger has moved on meanwhile."""
        try:
            start = await self.seating.start_from_ledger()
        except LedgerError as error:
            log.warning("ledger.unavailable", reason=str(error))
            return None
        if start is None or start.round != self.seating.recorded:
            return None
        if not self.models.has(start.model):
            self.reporter.waiting("a member that has the newest model")
            with trio.move_on_after(MODEL_SECONDS):
                await self.models.fetch(start.model, model_bytes, start.round, lambda: True)
        return start if self.models.has(start.model) else None
