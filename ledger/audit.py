"""A consortium checked from outside: from an endpoint and the registry's address alone, trusting neither.

What members signed, and what follows from it, no endpoint can make up: rosters, results, scores, rewards, rulings.
What nobody signs, mostly money that came in and went out, is compared with storage, code and balance, and those come
from the same endpoint: one that lies about all of them alike is not found.  Two reports about one block, through
endpoints of different people, are equal unless one of them lies: docs/auditing.md, "What an endpoint can hide".
"""

from __future__ import annotations

from typing import Any, Final

from ledger.audit_deployment import audit_deployment
from ledger.audit_disputes import DisputesAudit
from ledger.audit_pauses import PausesAudit
from ledger.audit_registry import RegistryAudit
from ledger.audit_rounds import RoundsAudit
from ledger.audit_vault import VaultAudit
from ledger.connection import Connection
from ledger.echoes import Echoes
from ledger.finality import INSTANT, Finality
from ledger.findings import AuditReport, Checked, Curves, Finding, MemberSummary, Notebook
from ledger.rounds_seen import CheckedRound, Progress, Watcher, Work
from ledger.standing import Standing, newest_of
from ledger.trail import Trail
from ledger.types import checked_address

__all__ = ["AuditReport", "Checked", "CheckedRound", "Finding", "Progress", "Watcher", "audit"]

END: Final = (1 << 64, 0)
"""A place behind every block."""


def audit(
    rpc_url: str,
    registry: str,
    progress: Progress | None = None,
    *,
    expect_chain_id: int | None = None,
    first_block: int = 0,
    finality: Finality = INSTANT,
    watcher: Watcher | None = None,
    block: int | None = None,
) -> AuditReport:
    """What is wrong with the deployment behind `registry`, up to the newest final block or the one that is named.

    Rebuilds the roster, every round, pay and the tree of cumulative rewards from events, and compares them with the
    contracts' storage, code and balance.  Memory does not grow with the number of rounds.  The endpoint has to know
    the state at the block where the audit began until it ends.

    Args:
        rpc_url: JSON-RPC endpoint over HTTP; it may lie.
        registry: address of the MemberRegistry.
        progress: called with the rounds that were checked and those there are.
        expect_chain_id: chain id that the endpoint has to serve, if known.
        first_block: no event of the deployment is older.
        finality: which blocks count as final.
        watcher: called with each round, in their order, as it was checked.
        block: up to this one: two reports about one block can be compared.

    Raises:
        ValueError: `registry` is no address.
        ChainUnavailable: the endpoint does not answer, or answers what no chain would, or has no such final block.
        WrongChain: it serves another chain.
        NoContract: there is no code at the registry's address.
    """
    address = checked_address(registry)
    trail = Trail(Connection(rpc_url, expect_chain_id), first_block, finality, block)
    return audit_trail(trail, address, progress, watcher)


def audit_trail(
    trail: Trail, registry: str, progress: Progress | None = None, watcher: Watcher | None = None
) -> AuditReport:
    """What is wrong with the deployment behind `registry`, as `trail` shows it.

    Raises:
        ChainUnavailable: the endpoint does not answer, or answers what no chain would.
        NoContract: there is no code at the registry's address.
    """
    notebook = Notebook()
    seen: dict[str, Any] = {}
    deployment = audit_deployment(trail, registry, notebook)
    if deployment is not None:
        members = RegistryAudit(trail, deployment, notebook)
        echoes = Echoes()
        pauses = PausesAudit(trail, deployment, members, echoes, notebook)
        rounds = RoundsAudit(trail, deployment, members, pauses, echoes, notebook, progress, watcher)
        disputes = DisputesAudit(trail, deployment, members, echoes, notebook)
        vault = VaultAudit(trail, deployment, members, rounds, disputes, pauses, echoes, notebook)
        vault.advance()
        rounds.finish()
        disputes.finish(rounds.marked)
        for part in (vault, pauses, members):
            part.finish()
        for told in echoes.left():
            notebook.note("dispute.echo", told)
        seen = {"members": _summaries(members, rounds, vault), "config": members.newest_config(END)}
        seen |= {"funds": vault.funds, "standing": _standing(trail, members, pauses, disputes)}
        seen |= {"asset": deployment.asset, "fingerprint": members.fingerprint}
        seen["curves"] = Curves(rounds.scored.points, rounds.earned.points, vault.paid.points)
    trail.confirm()
    return notebook.report(
        trail.chain_id, registry, trail.block, block_hash=trail.block_hash, block_time=trail.block_time, **seen
    )


def _standing(trail: Trail, members: RegistryAudit, pauses: PausesAudit, disputes: DisputesAudit) -> Standing:
    return Standing(
        changes=newest_of(members.changes),
        void_rounds=newest_of(disputes.void_rounds()),
        disputed_rounds=newest_of(disputes.disputed_rounds(trail.block_time)),
        pauses=pauses.count,
        paused_until=pauses.until,
        successor=members.successor,
    )


def _summaries(members: RegistryAudit, rounds: RoundsAudit, vault: VaultAudit) -> tuple[MemberSummary, ...]:
    earned = rounds.rewards.cumulative
    done = [*rounds.work, *(Work() for _ in members.accounts[len(rounds.work) :])]
    return tuple(
        MemberSummary(
            name=name,
            account=account,
            signer=members.signers[index],
            rounds_dealt=work.rounds_dealt,
            results_signed=work.results_signed,
            score_ppm=work.score_ppm,
            earned_wei=None if earned is None else sum(earned[index : index + 1]),
            claimed_wei=vault.claimed_wei(index),
            revenue_wei=vault.revenue.received_wei(index),
            staked_wei=vault.stakes.of(index),
            slashed_wei=vault.stakes.slashed_of(index),
            is_active=members.is_active(index),
        )
        for index, (name, account, work) in enumerate(zip(members.names, members.accounts, done, strict=False))
    )
