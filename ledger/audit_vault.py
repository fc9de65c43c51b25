"""Fifth part of an audit: every coin that came in, every root that became active, every coin that went out."""

from __future__ import annotations

from collections import Counter

from eth_utils.address import to_checksum_address

from ledger.audit_disputes import DisputesAudit
from ledger.audit_pauses import PausesAudit
from ledger.audit_registry import RegistryAudit
from ledger.audit_revenue import RevenueAudit
from ledger.audit_rounds import RoundsAudit
from ledger.audit_stakes import StakesAudit
from ledger.deployment import Deployment
from ledger.echoes import Echoes
from ledger.findings import Notebook, shown
from ledger.replay import Check, Replay
from ledger.rounds_seen import Rewards
from ledger.standing import Funds
from ledger.thinned import Thinned
from ledger.trail import Event, Trail
from ledger.types import EMPTY, ZERO_ADDRESS


class VaultAudit(Replay):
    """Replays the vault's events beside the rounds that they refer to, and compares what is left with the vault.

    Attributes:
        paid: sums of the payments over the rounds whose rewards were active.
        stakes, revenue: what is known of them so far.
        surplus_wei: what the vault holds beyond what its events explain, once everything is known.
    """

    def __init__(
        self,
        trail: Trail,
        deployment: Deployment,
        registry: RegistryAudit,
        rounds: RoundsAudit,
        disputes: DisputesAudit,
        pauses: PausesAudit,
        echoes: Echoes,
        notebook: Notebook,
    ) -> None:
        self.stakes = StakesAudit(trail, deployment, registry, echoes, notebook)
        self.revenue = RevenueAudit(trail, deployment, registry, notebook)
        checks: dict[str, Check] = {
            "TermsAdopted": self._on_terms,
            "StakeTermsAdopted": self._on_stake_terms,
            "Funded": self._on_funded,
            "RootActivated": self._on_activated,
            "RewardClaimed": self._on_claimed,
            "RevenuePaid": lambda event: self.revenue.on_paid(event, self._active),
            "RevenueClaimed": self.revenue.on_claimed,
            **self.stakes.checks,
        }
        super().__init__(trail, "RewardVault", deployment.vault, notebook, checks)
        self._deployment = deployment
        self._registry = registry
        self._rounds = rounds
        self._disputes = disputes
        self._pauses = pauses
        self._terms_seen: Counter[str] = Counter()
        self._funded_wei = 0
        self._claimed_wei: Counter[int] = Counter()
        self._active = Rewards(0, EMPTY, 0, None, 0)
        self.paid = Thinned()
        self.surplus_wei = 0

    @property
    def funds(self) -> Funds:
        """What came in, what it is for, and what went out, once everything is known."""
        cumulative = self._rounds.rewards.cumulative
        return Funds(
            funded_wei=self._funded_wei,
            slashed_wei=self.stakes.slashed_wei,
            earned_wei=None if cumulative is None else sum(cumulative),
            active_wei=self._active.total_wei,
            claimed_wei=self._claimed_wei.total(),
            revenue_paid_wei=self.revenue.paid_wei,
            revenue_claimed_wei=self.revenue.claimed_wei,
            surplus_wei=self.surplus_wei,
        )

    def claimed_wei(self, index: int) -> int:
        """Everything that was paid to the member with this roster index."""
        return self._claimed_wei[index]

    def step(self) -> None:
        """Checks the next event, once everything is known that held before it."""
        if (event := self.peek()) is not None:
            self._registry.advance(event.place)
            self._disputes.advance(event.place)
        super().step()

    def finish(self) -> None:
        """Goes through all events, then compares what comes of them with storage and balance."""
        self.advance()
        self._registry.advance()
        for name in ("TermsAdopted", "StakeTermsAdopted"):
            self.notebook.expect("vault.terms", f"the number of {name} events", 1, self._terms_seen[name])
        self._compare_with_storage()

    def _on_terms(self, event: Event) -> None:
        self._terms_seen[event.name] += 1
        terms = self._deployment.terms
        expected = (terms.round_budget_wei, terms.participation_ppm, terms.dispute_window_seconds)
        found = tuple(event.values[name] for name in ("roundBudget", "participationPpm", "disputeWindowSeconds"))
        self.notebook.expect("vault.terms", "what the event says of budget, part and window", expected, found)

    def _on_stake_terms(self, event: Event) -> None:
        self._terms_seen[event.name] += 1
        found = (to_checksum_address(event.values["asset"]), event.values["unbondingSeconds"])
        self.notebook.expect("vault.terms", "what the event says of stakes", self._deployment.stake_terms, found)

    def _on_funded(self, event: Event) -> None:
        self._funded_wei += event.values["amountWei"]

    def _on_activated(self, event: Event) -> None:
        round_id, root, total = (event.values[name] for name in ("round", "root", "totalWei"))
        if round_id <= self._active.round_id:
            self.notebook.note("root.order", "these rewards became active after newer ones", round_id)
            return
        self._rounds.advance_through(round_id)
        recorded = self._rounds.rewards
        if recorded.round_id != round_id:
            self.notebook.note("root.unknown", "rewards of a round that no event records became active", round_id)
            recorded = Rewards(round_id, root, total, None, event.block)
        if recorded.block > event.block:
            self.notebook.note("root.order", "these rewards became active before they were recorded", round_id)
        self.notebook.expect("root.mismatch", "the root that became active", recorded.root, root, round_id)
        self.notebook.expect("root.total", "the total that became active", recorded.total_wei, total, round_id)
        if total > (pool := self._funded_wei + self.stakes.slashed_wei):
            self.notebook.note("root.unfunded", f"{total} wei became active, {pool} were paid in", round_id)
        if total < self._active.total_wei:
            self.notebook.note("root.order", "these rewards are less than those that were active before", round_id)
        self._check_is_final(event, recorded)
        self.revenue.leave(self._active)
        self._active = Rewards(round_id, root, total, recorded.cumulative, event.block)

    def _check_is_final(self, event: Event, recorded: Rewards) -> None:
        round_id = recorded.round_id
        if self._pauses.is_paused(event):
            self.notebook.note("root.early", "these rewards became active while rounds were paused", round_id)
        if self._disputes.is_void(round_id):
            self.notebook.note("root.void", "rewards became active that a quorum had found wrong", round_id)
        final_at = self._disputes.final_at(round_id, recorded.recorded_at)
        if event.time < final_at:
            self.notebook.note("root.early", f"these rewards became active before {final_at}", round_id)

    def _on_claimed(self, event: Event) -> None:
        index, amount, cumulative = (event.values[name] for name in ("index", "amountWei", "cumulativeWei"))
        round_id = self._active.round_id
        accounts = self._registry.accounts
        if index >= len(accounts):
            self.notebook.note("claim.member", f"member {shown(index)} was paid and is not on the roster", round_id)
            return
        who = f"the payment to member {index}"
        found = to_checksum_address(event.values["account"])
        self.notebook.expect("claim.account", f"the account of {who}", accounts[index], found, round_id)
        due = cumulative - self._claimed_wei[index]
        self.notebook.expect("claim.amount", f"{who} in wei", due, amount, round_id)
        if self._active.cumulative is not None:
            earned = self._active.cumulative[index] if index < len(self._active.cumulative) else 0
            self.notebook.expect("claim.leaf", f"what {who} sums up to", earned, cumulative, round_id)
        elif self._active.root == EMPTY:
            self.notebook.note("claim.inactive", f"{who} came before any rewards were active", round_id)
        self._claimed_wei[index] = cumulative
        self.paid.add(round_id, [self._claimed_wei[member] for member in range(len(accounts))])

    def _compare_with_storage(self) -> None:
        stored = self.stored
        claimed = self._claimed_wei.total()
        for index in range(len(self._registry.accounts)):
            what = f"what storage says was paid to member {index}"
            self.notebook.expect("claim.storage", what, self._claimed_wei[index], stored("claimedWei", index))
        expected = {
            "totalFunded": self._funded_wei,
            "totalSlashed": self.stakes.slashed_wei,
            "totalClaimed": claimed,
            "activeRound": self._active.round_id,
            "activeRoot": self._active.root,
            "activeTotal": self._active.total_wei,
        }
        for name, value in expected.items():
            self.notebook.expect("vault.storage", f"{name} in the vault's storage", value, stored(name))
        self.stakes.compare_with_storage()
        self.revenue.leave(self._active)
        self.revenue.compare_with_storage()
        if claimed > self._active.total_wei:
            self.notebook.note("claim.sum", f"{claimed} wei were paid, {self._active.total_wei} are active")
        pool = self._funded_wei + self.stakes.slashed_wei - claimed
        owed = pool + self.stakes.held_wei + self.revenue.held_wei
        # Anybody can force coins on an address, so there may be more.
        self.surplus_wei = (balance := self._balance()) - owed
        if balance < owed:
            self.notebook.note("vault.balance", f"the vault holds {balance} wei, {owed} were paid in and not out")

    def _balance(self) -> int:
        vault, asset = self._deployment.vault, self._deployment.asset
        return self.trail.balance_wei(vault) if asset == ZERO_ADDRESS else self.trail.token_balance(asset, vault)
