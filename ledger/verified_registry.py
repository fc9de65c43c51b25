"""The registry as its own signatures prove it, for a node that believes its endpoint no more than an auditor does.

What it promises: an endpoint that lies can keep a node waiting or behind, and can show it no member whom the consortium
did not take in: the founders are those of the fingerprint, and every later change carries the signatures of those whom
it needed.  Seen in tests/unit/ledger/test_verified_registry.py, where an endpoint tells every lie that the auditor's
tests know, and shows a registry of strangers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.audit_deployment import audit_deployment
from ledger.audit_registry import RegistryAudit
from ledger.connection import Connection
from ledger.errors import InvalidRoster, UnprovenRegistry
from ledger.findings import Notebook
from ledger.model_state import Entry
from ledger.trail import Trail
from ledger.types import Member, Roster, VaultTerms

NOWHERE: Final = ("unreachable.invalid", 1)
"""Source: RFC 2606, no name under .invalid is ever given to anybody."""

MISTAKE: Final = "spec.unreadable"
"""The one finding that is no lie: members may sign a specification that nobody can use, and then another one."""


@dataclass(frozen=True, slots=True)
class VerifiedRegistry:
    """What the registry held at one block.

    Attributes:
        fingerprint: of the consortium.
        roster: the newest one.
        configs: config digest of every roster, oldest first.
        terms: what the vault pays.
        successor: the registry at which a quorum wants to go on; None if it named none.
    """

    fingerprint: bytes
    roster: Roster
    configs: tuple[bytes, ...]
    terms: VaultTerms
    successor: str | None


def verify_registry(connection: Connection, registry: str, first_block: int = 0) -> VerifiedRegistry:
    """Replays every change of the registry up to the newest block, with its signatures.

    Raises:
        UnprovenRegistry: something does not hold; an auditor would name it.
        InvalidRoster: the registry holds what cannot be a roster.
        ChainUnavailable: the endpoint does not answer as a chain does, or the chain was reorganised meanwhile.
    """
    return verified(Trail(connection, first_block), registry)


def verified(trail: Trail, registry: str) -> VerifiedRegistry:
    """The registry as `trail` shows it; raises as `verify_registry` does."""
    notebook = Notebook()
    deployment = audit_deployment(trail, registry, notebook)
    if deployment is None:
        raise UnprovenRegistry(notebook.findings[0].text, trail.first_block)
    replayed = RegistryAudit(trail, deployment, notebook)
    replayed.finish()
    trail.confirm()  # first: what was read from two histories proves nothing against the endpoint
    for finding in notebook.findings:
        if finding.code != MISTAKE:
            raise UnprovenRegistry(finding.text, trail.first_block)
    config, newest = next(reversed(replayed.rosters.items()))
    try:
        roster = Roster(
            version=newest.version,
            config_digest=config,
            quorum=newest.quorum,
            members=tuple(member_of(index, entry) for index, entry in enumerate(replayed.members)),
            spec=replayed.spec,
            registry=registry,
            ledger=deployment.ledger,
            vault=deployment.vault,
            chain_id=trail.chain_id,
            active=newest.active,
        )
    except ValueError as error:
        raise InvalidRoster(f"the registry's roster cannot be used: {error}") from error
    configs = tuple(replayed.rosters)
    return VerifiedRegistry(replayed.fingerprint, roster, configs, deployment.terms, replayed.successor)


def member_of(index: int, entry: Entry) -> Member:
    """The registry's entry as a member; one that gives no address of a place is found nowhere.

    Raises:
        ValueError: it cannot be one.
    """
    try:
        host, port = Member.split_net_address(entry.net_address)
        return _member(index, entry, host, port)
    except ValueError:
        # Each member can write this alone, and it has to cost nobody else anything.
        return _member(index, entry, *NOWHERE)


def _member(index: int, entry: Entry, host: str, port: int) -> Member:
    return Member(index, entry.account, entry.signer, entry.name, entry.peer_id.decode("ascii"), host, port)
