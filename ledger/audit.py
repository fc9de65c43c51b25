"""A consortium checked from outside: from an endpoint and the registry's address alone, trusting neither."""

from __future__ import annotations

from ledger.audit_deployment import audit_deployment
from ledger.audit_rounds import Progress, RoundsAudit
from ledger.audit_vault import VaultAudit
from ledger.connection import Connection
from ledger.findings import AuditReport, Checked, Finding, Notebook
from ledger.trail import Trail
from ledger.types import checked_address

__all__ = ["AuditReport", "Checked", "Finding", "Progress", "audit"]


def audit(
    rpc_url: str,
    registry: str,
    progress: Progress | None = None,
    *,
    expect_chain_id: int | None = None,
    first_block: int = 0,
) -> AuditReport:
    """What is wrong with the deployment behind `registry`, up to the newest block.

    Rebuilds the roster, every round, pay and the tree of cumulative rewards from events, and compares them with the
    contracts' storage, code and balance.  Memory does not grow with the number of rounds.  The endpoint has to know
    the state at the block where the audit began until it ends.

    Args:
        rpc_url: JSON-RPC endpoint over HTTP; it may lie.
        registry: address of the MemberRegistry.
        progress: called with the rounds that were checked and those there are.
        expect_chain_id: chain id that the endpoint has to serve, if known.
        first_block: no event of the deployment is older.

    Raises:
        ValueError: `registry` is no address.
        ChainUnavailable: the endpoint does not answer, or answers what no chain would.
        WrongChain: it serves another chain.
        NoContract: there is no code at the registry's address.
    """
    address = checked_address(registry)
    trail = Trail(Connection(rpc_url, expect_chain_id), first_block)
    notebook = Notebook()
    deployment = audit_deployment(trail, address, notebook)
    if deployment is not None:
        rounds = RoundsAudit(trail, deployment, notebook, progress)
        VaultAudit(trail, deployment, rounds, notebook).run()
        rounds.advance()
        notebook.checked.wei = sum(rounds.rewards.cumulative or ())
    return notebook.report(trail.chain_id, address, trail.block)
