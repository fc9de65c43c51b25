"""Where a consortium's contracts are, and what their constructors fixed."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.types import VaultTerms


@dataclass(frozen=True, slots=True)
class Deployment:
    """The contracts of one consortium, and what their constructors fixed.

    Attributes:
        chain_id, registry, ledger, vault, disputes: where it is.
        terms: what the vault pays.
        windows: seconds in which a round can be challenged, and then ruled on.
        asset: the token that the vault pays in; the zero address for the chain's own coin.
        unbonding_seconds: how long a stake unbonds.
        bond_wei: what a challenge locks.
    """

    chain_id: int
    registry: str
    ledger: str
    vault: str
    disputes: str
    terms: VaultTerms
    windows: tuple[int, int]
    asset: str
    unbonding_seconds: int
    bond_wei: int

    @property
    def stake_terms(self) -> tuple[str, int]:
        """What the vault's code says of stakes."""
        return self.asset, self.unbonding_seconds
