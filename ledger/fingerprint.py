"""One number for a whole consortium: its contracts, who founded it, and for which task.

What it promises: two people who read the same fingerprint have the same founders, with the same keys and PeerIDs, and
so, as every later change is signed by those before it, the same members ever after.  It is what an endpoint cannot
prove, and people compare by another way, once.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger.model_state import Entry


def compute_fingerprint(chain_id: int, contracts: Sequence[str], founders: Sequence[Entry], spec: bytes) -> bytes:
    """keccak256(abi.encode(chainid, contracts, members, specDigest)), 32 bytes.

    Args:
        contracts: addresses of registry, ledger, vault and disputes.
        founders: what the registry was deployed with, by roster index.
        spec: digest of the first specification.
    """
    entries = [(one.account, one.signer, one.name, one.peer_id, one.net_address) for one in founders]
    types = ("uint256", "address[]", "(address,address,string,bytes,string)[]", "bytes32")
    return keccak(encode(types, (chain_id, list(contracts), entries, spec)))
