"""Settled results on their way to the ledger: in order, by one member at a time, however long the chain is away."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec
import structlog
import trio

from gossip.messages import MAX_HISTORY
from gossip.values import RoundResult as AgreedResult
from ledger.books import Newest, newest
from ledger.client import LedgerClient
from ledger.errors import LedgerError, UnprovenRegistry, WrongFingerprint
from ledger.periods import Period
from ledger.types import Roster, bitmap_of
from node.conversions import ledger_result
from node.store import Store

log = structlog.get_logger()

POLL_SECONDS = 0.3
MAX_PAUSE_SECONDS = 10.0
TURN_SECONDS = 4.0
"""That each member waits for the one whose turn it is, before it submits a result itself."""
_CLIENT_THREADS = 1
_T = TypeVar("_T")

Signatures = tuple[tuple[int, bytes], ...]


class ChainQueue:
    """Submits the store's queued results; the store keeps them until their record is final.

    A record that a reorganisation undoes is submitted again.
    """

    def __init__(self, client: LedgerClient, store: Store, key: bytes, me: int, n: int) -> None:
        self._client = client
        self._store = store
        self._key = key
        self._me = me
        self._n = n
        self._waiting_since: dict[int, float] = {}
        self._sent: dict[int, str] = {}  # transactions of this process by round, until they are final
        self._limiter = trio.CapacityLimiter(_CLIENT_THREADS)
        self._doubted = ""

    @property
    def has_pending(self) -> bool:
        return bool(self._store.pending_results())

    async def run(
        self, on_recorded: Callable[[int, str], Awaitable[None]], on_state: Callable[[int, str | None], None]
    ) -> None:
        """Submit what is queued, for ever; `on_state` is told how much waits, and why, whenever that changes."""
        pause = POLL_SECONDS
        told: tuple[int, str | None] = (-1, None)
        while True:
            await trio.sleep(pause)
            trouble = None
            try:
                await self._submit_next(on_recorded)
                pause = POLL_SECONDS
            except LedgerError as error:
                trouble = str(error)
                log.warning("ledger.unavailable", reason=trouble)
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
            state = (len(self._store.pending_results()), trouble)
            if state != told:
                told = state
                on_state(*state)

    async def recorded_rounds(self) -> int:
        """How many rounds the ledger shows; 0 if it does not answer."""
        try:
            return await self._call(self._client.next_round)
        except LedgerError:
            return 0

    async def newer_roster(self, version: int) -> Roster | None:
        """The registry's roster if it is another one than that of `version`; None too if it does not answer, or shows
        what the members' signatures do not prove.
        """
        try:
            if await self._call(self._client.roster_version) == version:
                return None
            roster = (await self._call(self._client.verified)).roster
            if roster.version < version:
                self._doubt(f"the endpoint shows roster {roster.version}, and this node knows roster {version} already")
                return None
            return roster
        except (UnprovenRegistry, WrongFingerprint) as error:
            self._doubt(str(error))
            return None
        except LedgerError as error:
            log.debug("registry.unavailable", reason=str(error))
            return None

    async def rosters(self) -> tuple[int, tuple[Period, ...]] | None:
        """How many rounds are recorded for good, and every roster that came before the last of them or later; None if
        the ledger does not answer, or shows less than it did.
        """
        try:
            rounds = await self._call(self._client.final_round)
            periods = await self._call(self._client.periods)
        except (UnprovenRegistry, WrongFingerprint) as error:
            self._doubt(str(error))
            return None
        except LedgerError as error:
            log.debug("ledger.silent", reason=str(error))
            return None

        configs = tuple(period.config for period in periods)
        known = self._store.rosters()
        if configs[: len(known)] != known:
            self._doubt(f"the endpoint shows {len(configs)} rosters, without some of the {len(known)} that were final")
            return None
        self._store.keep_rosters(configs)
        return rounds, periods

    def _doubt(self, reason: str) -> None:
        if reason != self._doubted:
            self._doubted = reason
            log.warning("registry.unproven", reason=reason)

    async def newest_result(self) -> Newest | None:
        """The last round that is recorded for good, and what follows from all of them; None while there is none.

        Raises:
            LedgerError: the ledger does not answer, or what it shows does not fit together.
        """
        return await self._call(partial(newest, self._client, MAX_HISTORY))

    async def _submit_next(self, on_recorded: Callable[[int, str], Awaitable[None]]) -> None:
        pending = self._store.pending_results()
        if not pending:
            return
        for round_id, _ in pending:  # turns pass while earlier results wait, or one absent member would hold up all
            self._waiting_since.setdefault(round_id, time.monotonic())
        following = await self._call(self._client.next_round)
        for round_id, data in pending:
            if round_id == following and self._is_due(round_id):
                agreed, signatures = _decoded(data)
                self._sent[round_id] = await self._call(partial(self._submit, agreed, signatures))
                following += 1
        final = await self._call(self._client.final_round)
        for round_id, data in pending:
            result = ledger_result(_decoded(data)[0])
            if round_id < final and await self._call(partial(self._client.is_recorded, result)):
                tx = self._sent.pop(round_id, "")
                self._waiting_since.pop(round_id, None)
                self._store.mark_recorded(round_id, tx)
                if tx:
                    await on_recorded(round_id, tx)

    def _is_due(self, round_id: int) -> bool:
        """Whether it is this member's turn, or those before it have let theirs pass."""
        turns = (self._me - round_id) % self._n
        return time.monotonic() - self._waiting_since[round_id] >= turns * TURN_SECONDS

    def _submit(self, agreed: AgreedResult, signatures: Signatures) -> str:
        members = bitmap_of(index for index, _ in signatures)  # by roster index, as they were queued
        joined = b"".join(signature for _, signature in signatures)
        return self._client.submit(self._key, ledger_result(agreed), agreed.scores, members, joined) or ""

    async def _call(self, call: Callable[[], _T]) -> _T:
        # libp2p brings trio-typing, whose outdated stubs hide the argument.
        return await trio.to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)  # type: ignore[call-arg]


def _decoded(data: bytes) -> tuple[AgreedResult, Signatures]:
    return msgspec.msgpack.decode(data, type=tuple[AgreedResult, Signatures])
