"""A part of an audit: when a quorum stopped rounds, which both the ledger and the vault have to respect."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from ledger.approvals import Pause
from ledger.audit_registry import RegistryAudit
from ledger.deployment import Deployment
from ledger.echoes import Echoes
from ledger.findings import Notebook
from ledger.model_rounds import MAX_PAUSE_SECONDS
from ledger.replay import Replay
from ledger.rosters import count_signatures
from ledger.trail import Event, Trail

MAX_PAUSES: Final = 10_000
"""A pause costs the signatures of a quorum; a hostile endpoint could tell of any number."""


class PausesAudit(Replay):
    """Replays the ledger's pauses alone, and remembers them: the vault asks about later times than the rounds do."""

    def __init__(
        self, trail: Trail, deployment: Deployment, registry: RegistryAudit, echoes: Echoes, notebook: Notebook
    ) -> None:
        checks = {"Paused": self._on_paused}
        super().__init__(trail, "RoundLedger", deployment.ledger, notebook, checks, only="Paused")
        self._deployment = deployment
        self._registry = registry
        self._echoes = echoes
        self._places: list[tuple[int, int]] = []
        self._untils: list[int] = []

    @property
    def count(self) -> int:
        """How many there were so far."""
        return len(self._untils)

    @property
    def until(self) -> int:
        """When the last one ends, in Unix seconds; 0 if there was none."""
        return self._untils[-1] if self._untils else 0

    def is_paused(self, event: Event) -> bool:
        """Whether rounds were paused when this happened."""
        self.advance(event.place)
        before = bisect_left(self._places, event.place)
        return before > 0 and event.time < self._untils[before - 1]

    def finish(self) -> None:
        """Replays the rest and compares what comes of it with the ledger's storage."""
        self.advance()
        for name, value in {"pauses": self.count, "pausedUntil": self.until}.items():
            self.notebook.expect("round.state", f"{name} in the ledger's storage", value, self.stored(name))

    def _on_paused(self, event: Event) -> None:
        if len(self._untils) == MAX_PAUSES:
            self.notebook.note("pause.terms", f"there are more than {MAX_PAUSES} pauses")
            self.stop()
            return
        number, until, config = (event.values[name] for name in ("number", "until", "config"))
        expect = self.notebook.expect
        expect("pause.terms", "the number of a pause", len(self._untils), number)
        latest = event.time + MAX_PAUSE_SECONDS
        if until > latest:
            self.notebook.note("pause.terms", f"a pause lasts until {until}, the latest is {latest}")
        newest = self._registry.newest_config(event.place)
        expect("pause.approval", "the config digest under which a pause was signed", newest, config)
        roster = self._registry.roster_of(newest, event.place)
        if roster is not None:
            digest = Pause(config, number, until).signing_digest(self._deployment.chain_id, self._deployment.ledger)
            signers, signatures = event.values["signers"], event.values["signatures"]
            count_signatures(self.notebook, "pause.approval", "a pause", digest, signers, signatures, roster)
        self._echoes.cause(event.tx, "pause", number, until)
        self._places.append(event.place)
        self._untils.append(until)
