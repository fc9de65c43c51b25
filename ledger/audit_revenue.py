"""What others paid for the model, and whether it was shared by the contributions of its time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from eth_utils.address import to_checksum_address

from ledger.audit_registry import RegistryAudit
from ledger.deployment import Deployment
from ledger.findings import Notebook, shown
from ledger.replay import check_room
from ledger.rounds_seen import Rewards
from ledger.trail import Event, Trail
from ledger.types import EMPTY


@dataclass(slots=True)
class _Revenue:
    """What was paid while the rewards of one round were active, and who received how much of it."""

    rewards: Rewards
    paid_wei: int = 0
    claimed_wei: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class RevenueAudit:
    """The part of the vault's replay that is about revenue; it keeps the shares of each round that drew some."""

    trail: Trail
    deployment: Deployment
    registry: RegistryAudit
    notebook: Notebook
    _revenue: dict[int, _Revenue] = field(default_factory=dict)

    @property
    def paid_wei(self) -> int:
        """Everything that others paid."""
        return sum(part.paid_wei for part in self._revenue.values())

    @property
    def claimed_wei(self) -> int:
        """Everything that members received."""
        return sum(part.claimed_wei.total() for part in self._revenue.values())

    @property
    def held_wei(self) -> int:
        """What was paid and not received."""
        return self.paid_wei - self.claimed_wei

    def received_wei(self, index: int) -> int:
        """Everything that the member with this roster index received."""
        return sum(part.claimed_wei[index] for part in self._revenue.values())

    def on_paid(self, event: Event, active: Rewards) -> None:
        """Somebody paid for the model while the `active` rewards were."""
        round_id = event.values["round"]
        self.notebook.expect("revenue.round", "the round whose rewards share a payment", active.round_id, round_id)
        if not active.total_wei:
            self.notebook.note("revenue.round", "a payment is to be shared by rewards of nothing", round_id)
        if round_id not in self._revenue:
            check_room(self._revenue, "revenue.bound", "rounds that drew revenue")
            self._revenue[round_id] = _Revenue(active)
        self._revenue[round_id].paid_wei += event.values["amountWei"]

    def on_claimed(self, event: Event) -> None:
        """A member received its part."""
        round_id, index, amount = (event.values[name] for name in ("round", "index", "amountWei"))
        part, accounts = self._revenue.get(round_id), self.registry.accounts
        if part is None or index >= len(accounts):
            self.notebook.note("revenue.round", f"member {shown(index)} received revenue that nobody paid", round_id)
            return
        who = f"the revenue of member {index}"
        found = to_checksum_address(event.values["account"])
        self.notebook.expect("revenue.account", f"the account of {who}", accounts[index], found, round_id)
        cumulative = part.rewards.cumulative
        if cumulative is not None and part.rewards.total_wei:
            earned = cumulative[index] if index < len(cumulative) else 0
            share = part.paid_wei * earned // part.rewards.total_wei
            due = share - part.claimed_wei[index]
            self.notebook.expect("revenue.share", f"{who} in wei", due, amount, round_id)
        part.claimed_wei[index] += amount
        if (out := part.claimed_wei.total()) > part.paid_wei:
            self.notebook.note("revenue.share", f"{out} wei of revenue went out, {part.paid_wei} came in", round_id)

    def leave(self, active: Rewards) -> None:
        """Other rewards become active: for these nobody can pay any more, and who paid unseen is found now."""
        if active.total_wei and active.round_id not in self._revenue:
            found = self.trail.view("RewardVault", self.deployment.vault, "revenueOf", active.round_id)
            nothing = (EMPTY, 0, 0, 0)
            self.notebook.expect("revenue.storage", "the revenue in storage", nothing, found, active.round_id)

    def compare_with_storage(self) -> None:
        """Notes where the vault stores something else than its events tell."""
        vault, expect = self.deployment.vault, self.notebook.expect
        for round_id, part in self._revenue.items():
            expected = (part.rewards.root, part.rewards.total_wei, part.paid_wei, part.claimed_wei.total())
            found = self.trail.view("RewardVault", vault, "revenueOf", round_id)
            expect("revenue.storage", "the revenue in storage", expected, found, round_id)
            for index, claimed in part.claimed_wei.items():
                found = self.trail.view("RewardVault", vault, "claimedRevenueWei", round_id, index)
                what = f"the revenue of member {index} in storage"
                expect("revenue.storage", what, claimed, found, round_id)
