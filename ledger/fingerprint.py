"""One number for a whole consortium: its contracts and their terms, who founded it, and for which task.

What it promises: two people who read the same fingerprint have the same founders, with the same keys and PeerIDs, and
so, as every later change is signed by those before it, the same members ever after; and the same pay.  It is what an
endpoint cannot prove, and people compare by another way, once.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger.deployment import Deployment
from ledger.model_state import Entry


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
