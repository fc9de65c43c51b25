"""Third part of an audit: every coin that came in, every root that became active, every coin that went out."""

from __future__ import annotations

from collections import Counter
from typing import Any

from eth_utils.address import to_checksum_address

from ledger.audit_deployment import Deployment
from ledger.audit_rounds import Rewards, RoundsAudit
from ledger.findings import Notebook, shown
from ledger.trail import Event, Trail
from ledger.types import EMPTY


class VaultAudit:
    """Replays the vault's events beside the rounds that they refer to, and compares what is left with the vault."""

    def __init__(self, trail: Trail, deployment: Deployment, rounds: RoundsAudit, notebook: Notebook) -> None:
        self._trail = trail
        self._deployment = deployment
        self._rounds = rounds
        self._notebook = notebook
        self._terms_seen = 0
        self._funded_wei = 0
        self._claimed_wei: Counter[int] = Counter()
        self._active = Rewards(0, EMPTY, 0, None, 0)

    def run(self) -> None:
        """Goes through all events, then through the storage."""
        on_event = {
            "TermsAdopted": self._on_terms,
            "StakeTermsAdopted": self._on_stake_terms,
            "Funded": self._on_funded,
            "RootActivated": self._on_activated,
            "RewardClaimed": self._on_claimed,
        }
        for event in self._trail.events("RewardVault", self._deployment.vault):
            if event.name in on_event:
                on_event[event.name](event)
            elif not event.name:
                self._notebook.note("log.unreadable", f"a log of the vault: {shown(event.values.get('reason'))}")
        self._notebook.expect("vault.terms", "the number of TermsAdopted events", 1, self._terms_seen)
        self._compare_with_storage()

    def _on_terms(self, event: Event) -> None:
        self._terms_seen += 1
        terms = self._deployment.terms
        expected = (terms.round_budget_wei, terms.participation_ppm, terms.dispute_window_seconds)
        found = tuple(event.values[name] for name in ("roundBudget", "participationPpm", "disputeWindowSeconds"))
        self._notebook.expect("vault.terms", "what the event says of budget, part and window", expected, found)

    def _on_stake_terms(self, event: Event) -> None:
        found = (to_checksum_address(event.values["asset"]), event.values["unbondingSeconds"])
        self._notebook.expect("vault.terms", "what the event says of stakes", self._deployment.stake_terms, found)

    def _on_funded(self, event: Event) -> None:
        self._funded_wei += event.values["amountWei"]

    def _on_activated(self, event: Event) -> None:
        round_id, root, total = (event.values[name] for name in ("round", "root", "totalWei"))
        if round_id <= self._active.round_id:
            self._notebook.note("root.order", "these rewards became active after newer ones", round_id)
            return
        self._rounds.advance(round_id)
        recorded = self._rounds.rewards
        if recorded.round_id != round_id:
            self._notebook.note("root.unknown", "rewards of a round that no event records became active", round_id)
            recorded = Rewards(round_id, root, total, None, event.block)
        if recorded.block > event.block:
            self._notebook.note("root.order", "these rewards became active before they were recorded", round_id)
        self._notebook.expect("root.mismatch", "the root that became active", recorded.root, root, round_id)
        self._notebook.expect("root.total", "the total that became active", recorded.total_wei, total, round_id)
        if total > self._funded_wei:
            self._notebook.note(
                "root.unfunded", f"{total} wei became active, {self._funded_wei} were paid in", round_id
            )
        self._active = Rewards(round_id, root, total, recorded.cumulative, event.block)

    def _on_claimed(self, event: Event) -> None:
        index, amount, cumulative = (event.values[name] for name in ("index", "amountWei", "cumulativeWei"))
        round_id = self._active.round_id
        accounts = self._deployment.accounts
        if index >= len(accounts):
            self._notebook.note("claim.member", f"member {shown(index)} was paid and is not on the roster", round_id)
            return
        who = f"the payment to member {index}"
        found = to_checksum_address(event.values["account"])
        self._notebook.expect("claim.account", f"the account of {who}", accounts[index], found, round_id)
        due = cumulative - self._claimed_wei[index]
        self._notebook.expect("claim.amount", f"{who} in wei", due, amount, round_id)
        if self._active.cumulative is not None:
            earned = self._active.cumulative[index]
            self._notebook.expect("claim.leaf", f"what {who} sums up to", earned, cumulative, round_id)
        elif self._active.root == EMPTY:
            self._notebook.note("claim.inactive", f"{who} came before any rewards were active", round_id)
        self._claimed_wei[index] = cumulative

    def _compare_with_storage(self) -> None:
        stored = self._stored
        claimed = sum(self._claimed_wei.values())
        for index in range(len(self._deployment.accounts)):
            what = f"what storage says was paid to member {index}"
            self._notebook.expect("claim.storage", what, self._claimed_wei[index], stored("claimedWei", index))
        expected = {
            "totalFunded": self._funded_wei,
            "totalClaimed": claimed,
            "activeRound": self._active.round_id,
            "activeRoot": self._active.root,
            "activeTotal": self._active.total_wei,
        }
        for name, value in expected.items():
            self._notebook.expect("vault.storage", f"{name} in the vault's storage", value, stored(name))
        if claimed > self._active.total_wei:
            self._notebook.note("claim.sum", f"{claimed} wei were paid, {self._active.total_wei} are active")
        # Anybody can force coins on an address, so there may be more.
        balance = self._trail.balance_wei(self._deployment.vault)
        if balance < self._funded_wei - claimed:
            left = self._funded_wei - claimed
            self._notebook.note("vault.balance", f"the vault holds {balance} wei, {left} were paid in and not out")

    def _stored(self, name: str, *args: object) -> Any:
        return self._trail.view("RewardVault", self._deployment.vault, name, *args)
