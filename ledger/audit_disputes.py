"""Last part of an audit: what disputes there were."""

from __future__ import annotations

from ledger.audit_deployment import Deployment
from ledger.findings import Notebook
from ledger.replay import Replay
from ledger.trail import Event, Trail


class DisputesAudit(Replay):
    """Replays the events of Disputes.  Of challenges, rulings and proofs it only says that there were some."""

    def __init__(self, trail: Trail, deployment: Deployment, notebook: Notebook) -> None:
        unjudged = {
            "ChallengeLapsed", "EquivocationProven", "MemberRulingMade", "ResultEquivocationProven", "RoundChallenged",
            "RoundRulingMade",
        }  # fmt: skip
        checks = {"BondAdopted": self._on_bond}
        super().__init__(trail, "Disputes", deployment.disputes, notebook, checks, unjudged)
        self._bond_wei = deployment.bond_wei

    def finish(self) -> None:
        """Goes through all events."""
        self.advance()
        self.expect_once("vault.terms", "BondAdopted")

    def _on_bond(self, event: Event) -> None:
        found = event.values["bondWei"]
        self.notebook.expect("vault.terms", "the bond that the event names", self._bond_wei, found)
