"""What members staked, in whatever state it is, and what they lost of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from eth_utils.address import to_checksum_address

from ledger.audit_registry import RegistryAudit
from ledger.deployment import Deployment
from ledger.echoes import Echoes
from ledger.findings import Notebook
from ledger.replay import Check
from ledger.trail import Event, Trail


@dataclass(slots=True)
class _Stake:
    """One member's stake in wei, what it lost of it, and from when on what is unbonding can be withdrawn."""

    staked: int = 0
    unbonding: int = 0
    bonded: int = 0
    slashed: int = 0
    release_at: int = 0


@dataclass(slots=True)
class StakesAudit:
    """The part of the vault's replay that is about stakes.

    Attributes:
        slashed_wei: what went from members to the pool.
    """

    trail: Trail
    deployment: Deployment
    registry: RegistryAudit
    echoes: Echoes
    notebook: Notebook
    slashed_wei: int = 0
    _stakes: dict[int, _Stake] = field(default_factory=dict)

    @property
    def checks(self) -> dict[str, Check]:
        """What to do with an event, by its name."""
        return {
            "Staked": self._on_staked,
            "UnstakeRequested": self._on_requested,
            "StakeWithdrawn": self._on_withdrawn,
            "Slashed": self._on_slashed,
            "BondLocked": self._on_locked,
            "BondReleased": self._on_released,
        }

    @property
    def held_wei(self) -> int:
        """Everything that belongs to members as stake."""
        return sum(stake.staked + stake.unbonding + stake.bonded for stake in self._stakes.values())

    def of(self, index: int) -> int:
        """The member's stake in wei, in whatever state."""
        stake = self._of(index)
        return stake.staked + stake.unbonding + stake.bonded

    def slashed_of(self, index: int) -> int:
        """What the member lost of its stake, in wei."""
        return self._of(index).slashed

    def compare_with_storage(self) -> None:
        """Notes where the vault stores something else than its events tell."""
        for index in range(len(self.registry.accounts)):
            stake = self._of(index)
            expected = (stake.staked, stake.unbonding, stake.bonded, stake.release_at)
            found = self.trail.view("RewardVault", self.deployment.vault, "stakeOf", index)
            self.notebook.expect("stake.storage", f"the stake of member {index} in storage", expected, found)

    def _of(self, index: int) -> _Stake:
        return self._stakes.setdefault(index, _Stake())

    def _known(self, event: Event) -> int | None:
        index: int = event.values["index"]
        if index < len(self.registry.accounts):
            return index
        self.notebook.note("stake.member", "an event tells of the stake of somebody who never was a member")
        return None

    def _taken(self, what: str, index: int, have: int, amount: int) -> int:
        if amount > have:
            self.notebook.note("stake.amount", f"{amount} wei of member {index} were {what}, there were {have}")
        return max(0, have - amount)

    def _on_staked(self, event: Event) -> None:
        if (index := self._known(event)) is None:
            return
        if not self.registry.is_active(index):
            self.notebook.note("stake.member", f"member {index} had left when its stake grew")
        self._of(index).staked += event.values["amountWei"]

    def _on_requested(self, event: Event) -> None:
        if (index := self._known(event)) is None:
            return
        amount, stake = event.values["amountWei"], self._of(index)
        stake.staked = self._taken("asked for", index, stake.staked, amount)
        stake.unbonding += amount
        stake.release_at = event.values["releaseAt"]
        earliest = event.time + self.deployment.unbonding_seconds
        what = f"when the stake of member {index} is free"
        self.notebook.expect("stake.early", what, earliest, stake.release_at)

    def _on_withdrawn(self, event: Event) -> None:
        if (index := self._known(event)) is None:
            return
        amount, stake = event.values["amountWei"], self._of(index)
        expect = self.notebook.expect
        found = to_checksum_address(event.values["account"])
        what = f"the account that the stake of member {index} went to"
        expect("stake.account", what, self.registry.accounts[index], found)
        expect("stake.amount", f"the stake that member {index} received", stake.unbonding, amount)
        if event.time < stake.release_at:
            self.notebook.note("stake.early", f"member {index} received its stake before its time was over")
        stake.unbonding = 0

    def _on_slashed(self, event: Event) -> None:
        if (index := self._known(event)) is None:
            return
        staked, unbonding = event.values["stakedWei"], event.values["unbondingWei"]
        stake = self._of(index)
        stake.staked = self._taken("slashed", index, stake.staked, staked)
        stake.unbonding = self._taken("slashed while unbonding", index, stake.unbonding, unbonding)
        stake.slashed += staked + unbonding
        self.slashed_wei += staked + unbonding
        self.echoes.effect(event.tx, "slash", index, staked + unbonding)

    def _on_locked(self, event: Event) -> None:
        if (index := self._known(event)) is None:
            return
        amount, stake = event.values["amountWei"], self._of(index)
        stake.staked = self._taken("locked", index, stake.staked, amount)
        stake.bonded += amount
        self.echoes.effect(event.tx, "bond", index, amount)

    def _on_released(self, event: Event) -> None:
        if (index := self._known(event)) is None:
            return
        amount, is_forfeited = event.values["amountWei"], event.values["isForfeited"]
        stake = self._of(index)
        stake.bonded = self._taken("released", index, stake.bonded, amount)
        if is_forfeited:
            stake.slashed += amount
            self.slashed_wei += amount
        else:
            stake.staked += amount
        self.echoes.effect(event.tx, "release", index, amount, is_forfeited)
