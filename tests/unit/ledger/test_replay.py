from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger import artifacts
from ledger.audit_disputes import DisputesAudit
from ledger.audit_pauses import PausesAudit
from ledger.audit_registry import RegistryAudit
from ledger.audit_rounds import RoundsAudit
from ledger.audit_vault import VaultAudit
from ledger.deployment import Deployment
from ledger.echoes import Echoes
from ledger.findings import Notebook
from ledger.replay import Replay
from ledger.trail import Event, event_types
from ledger.types import VaultTerms

ADDRESS = "0x" + "11" * 20
DEPLOYMENT = Deployment(1, ADDRESS, ADDRESS, ADDRESS, ADDRESS, VaultTerms(1, 1, 1), (1, 1), ADDRESS, 3, 1)


class Told:
    """A trail of these events, without a chain."""

    def __init__(self, *events: Event) -> None:
        self._events = events

    def events(self, contract: str, address: str, only: str = "") -> Any:
        return iter(self._events)

    def view(self, contract: str, address: str, name: str, *args: object) -> int:
        return 0


def members(trail: Any) -> RegistryAudit:
    return RegistryAudit(trail, DEPLOYMENT, Notebook())


def rounds(trail: Any) -> RoundsAudit:
    return RoundsAudit(trail, DEPLOYMENT, members(trail), pauses(trail), Echoes(), Notebook())


def pauses(trail: Any) -> PausesAudit:
    return PausesAudit(trail, DEPLOYMENT, members(trail), Echoes(), Notebook())


def disputes(trail: Any) -> DisputesAudit:
    return DisputesAudit(trail, DEPLOYMENT, members(trail), Echoes(), Notebook())


def vault(trail: Any) -> VaultAudit:
    parts = (members(trail), rounds(trail), disputes(trail), pauses(trail))
    return VaultAudit(trail, DEPLOYMENT, *parts, Echoes(), Notebook())


AUDITS = {"MemberRegistry": members, "RoundLedger": rounds, "RewardVault": vault, "Disputes": disputes}


@pytest.mark.parametrize(("contract", "audit"), AUDITS.items())
def test_every_event_that_a_contract_can_write_has_a_check(contract: str, audit: Callable[[Any], Replay]) -> None:
    # OpenZeppelin declares EIP712DomainChanged and never writes it: it would be a finding.
    written = {kind.name for kind in event_types(contract).values()} - {"EIP712DomainChanged"}
    assert set(audit(Told()).checks) == written


def test_every_contract_is_audited() -> None:
    assert set(artifacts.NAMES) == set(AUDITS)


def replay(*places: tuple[int, int], checks: tuple[str, ...] = ("Funded",)) -> tuple[Replay, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    trail: Any = Told(*(Event("Funded", {}, block, "0x", index) for block, index in places))
    check = {name: lambda event: seen.append(event.place) for name in checks}
    found = Replay(trail, "RewardVault", ADDRESS, Notebook(), check, only="Funded")
    return found, seen


def test_events_are_checked_up_to_a_place_of_the_chain() -> None:
    audit, seen = replay((1, 0), (1, 5), (2, 0))
    audit.advance((1, 5))
    assert seen == [(1, 0)]
    audit.advance((1, 6))
    assert seen == [(1, 0), (1, 5)]
    audit.advance()
    assert seen == [(1, 0), (1, 5), (2, 0)]


def test_an_event_without_a_check_is_a_finding() -> None:
    audit, _ = replay((1, 0), checks=())
    audit.advance()
    assert [(finding.code, finding.text) for finding in audit.notebook.findings] == [
        ("log.unreadable", "a log of the RewardVault: Funded")
    ]


def test_what_is_stopped_looks_at_nothing_more() -> None:
    audit, seen = replay((1, 0), (2, 0))
    audit.step()
    audit.stop()
    audit.advance()
    assert (seen, audit.peek()) == ([(1, 0)], None)
