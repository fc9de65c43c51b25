"""One number for a whole consortium: its contracts and their terms, who founded it, and for which task.

What it promises: two people who read the same fingerprint have the same founders, with the same keys and PeerIDs, and
so, as every later change is signed by those before it, the same members ever after; and the same pay.  It is what an
endpoint cannot prove, and people compare by another way, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger.model_state import Entry
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


def compute_fingerprint(deployment: Deployment, founders: Sequence[Entry], spec: bytes) -> bytes:
    """keccak256(abi.encode(chainid, contracts, terms, members, specDigest)), 32 bytes.

    The contracts are registry, ledger, vault and disputes; the terms the round budget, the part for participation, both
    windows, the asset, the unbonding and the bond.

    Args:
        founders: what the registry was deployed with, by roster index.
        spec: digest of the first specification.
    """
    contracts = [deployment.registry, deployment.ledger, deployment.vault, deployment.disputes]
    pay = deployment.terms
    terms = (
        pay.round_budget_wei,
        pay.participation_ppm,
        *deployment.windows,
        int(deployment.asset, 16),
        deployment.unbonding_seconds,
        deployment.bond_wei,
    )
    entries = [(one.account, one.signer, one.name, one.peer_id, one.net_address) for one in founders]
    types = ("uint256", "address[]", "uint256[]", "(address,address,string,bytes,string)[]", "bytes32")
    return keccak(encode(types, (deployment.chain_id, contracts, terms, entries, spec)))
