"""An endpoint can tell of any number of disputes, slashes and payments: an audit keeps no more than its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Any, Final

import pytest

from ledger import artifacts, audit_pauses, audit_registry, audit_rounds, findings, replay
from ledger.audit_disputes import DisputesAudit
from ledger.audit_pauses import PausesAudit
from ledger.audit_registry import RegistryAudit
from ledger.audit_rounds import RoundsAudit
from ledger.audit_vault import VaultAudit
from ledger.deployment import Deployment
from ledger.echoes import Echoes
from ledger.findings import Notebook
from ledger.model_registry import MAX_NAME_BYTES
from ledger.replay import Replay, TooMany
from ledger.stored import OF_VOID
from ledger.trail import Event, event_types
from ledger.types import VaultTerms

ROOM: Final = 40
ADDRESSES: Final = dict(zip(artifacts.NAMES, ("0x" + digit * 40 for digit in "1234"), strict=True))
TERMS: Final = VaultTerms(1, 1, 1)
MEMBER: Final = {"account": "0x" + "5" * 40, "signer": "0x" + "6" * 40, "name": "a", "peerId": b"b", "netAddress": "c"}

BOUNDED: Final = {
    "RoundDisputed": "dispute.bound",
    "RoundRuled": "dispute.bound",
    "Paused": "dispute.bound",
    "Slashed": "dispute.bound",
    "BondLocked": "dispute.bound",
    "BondReleased": "dispute.bound",
    "RevenuePaid": "revenue.bound",
    "RoundChallenged": "dispute.bound",
    "RoundRulingMade": "dispute.bound",
    "ChallengeLapsed": "dispute.bound",
    "EquivocationProven": "dispute.bound",
    "ResultEquivocationProven": "dispute.bound",
    "MemberRulingMade": "dispute.bound",
    "MemberAdmitted": "roster.size",
    "RosterChanged": "roster.size",
}
"""Of which events an audit keeps something each time, and the code that names the flood."""

KINDS: Final = [(contract, kind) for contract in artifacts.NAMES for kind in event_types(contract).values()]


def value(name: str, abi: str, number: int) -> Any:
    """Another value of this type for each number; all is about one member."""
    if abi.startswith("("):
        return tuple(value("", part, number) for part in abi[1:-1].split(","))
    if abi.startswith("bytes32"):
        return number.to_bytes(32, "big")
    others = {"address": f"0x{number:040x}", "bool": True, "bytes": b"", "string": str(number), "uint8": number % 256}
    return others.get(abi, 0 if name == "index" else number)


class Flood:
    """An endpoint that tells of a member, and then of one kind of event, `most` times or without end.

    Attributes:
        told: how many of them somebody has listened to.
    """

    def __init__(self, contract: str, name: str, most: int | None = None) -> None:
        self._contract = contract
        self._name = name
        kinds = event_types(contract).values()
        self._parts = next((*kind.indexed, *kind.plain) for kind in kinds if kind.name == name)
        self._most = most
        self.told = 0

    def events(self, contract: str, address: str, only: str = "") -> Iterator[Event]:
        if contract == "MemberRegistry":
            yield Event("MemberAdmitted", {"index": 0, **MEMBER}, 0, "0x", 0)
        if contract == self._contract and only in ("", self._name):
            for number in islice(count(1), self._most):
                self.told = number
                values = {name: value(name, abi, number) for name, abi in self._parts}
                if self._name == "MemberAdmitted":
                    values["index"] = number
                yield Event(self._name, values, number, f"0x{number:064x}", 0)

    def view(self, contract: str, address: str, name: str, *args: object) -> Any:
        return 2**64 if name == "nextRound" else True

    def mapped(self, contract: str, address: str, name: str, key: int) -> bytes:
        return bytes([OF_VOID]).ljust(32, b"\0")

    def transaction(self, tx: str) -> dict[str, Any]:
        return {"to": ADDRESSES["MemberRegistry"]}


def parts_of(trail: Any) -> dict[str, Replay]:
    """The parts of an audit that an endpoint can flood, beside each other, by their contract."""
    registry, ledger, vault, disputes = (
        ADDRESSES[name] for name in ("MemberRegistry", "RoundLedger", "RewardVault", "Disputes")
    )
    deployment = Deployment(1, registry, ledger, vault, disputes, TERMS, (1, 1), registry, 3, 1)
    notebook, echoes = Notebook(), Echoes()
    members = RegistryAudit(trail, deployment, notebook)
    pauses = PausesAudit(trail, deployment, members, echoes, notebook)
    rounds = RoundsAudit(trail, deployment, members, pauses, echoes, notebook)
    contested = DisputesAudit(trail, deployment, members, echoes, notebook)
    money = VaultAudit(trail, deployment, members, rounds, contested, pauses, echoes, notebook)
    return {"MemberRegistry": members, "RoundLedger": rounds, "Disputes": contested, "RewardVault": money}


def entries(found: object, seen: set[int]) -> int:
    """Everything that a part of an audit keeps, as far as it can be reached, counted once."""
    if id(found) in seen or isinstance(found, (Flood, type, str, bytes, int)) or callable(found):
        return 0
    seen.add(id(found))
    slots = (name for kind in type(found).__mro__ for name in getattr(kind, "__slots__", ()))
    held = [*getattr(found, "__dict__", {}).values(), *(getattr(found, name) for name in slots if hasattr(found, name))]
    if isinstance(found, dict):
        held += [*found, *found.values()]
    elif isinstance(found, (list, tuple, set)):
        held += found
    return len(held) + sum(entries(each, seen) for each in held)


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MAX_KEPT", ROOM)
    monkeypatch.setattr(findings, "MAX_FINDINGS", 5)
    monkeypatch.setattr(audit_pauses, "MAX_PAUSES", ROOM)
    monkeypatch.setattr(audit_rounds, "MAX_MARKED", ROOM)
    monkeypatch.setattr(audit_registry, "MAX_ROSTERS", ROOM)
    monkeypatch.setattr(audit_registry, "MAX_MEMBERS", ROOM)


def flooded(contract: str, name: str, most: int | None) -> tuple[Flood, Replay]:
    flood = Flood(contract, name, most)
    part = parts_of(flood)[contract]
    part.advance()
    return flood, part


@pytest.mark.parametrize(
    ("contract", "name"), [(contract, kind.name) for contract, kind in KINDS if kind.name in BOUNDED]
)
@pytest.mark.usefixtures("little_room")
def test_a_flood_without_end_is_left_alone_when_its_bound_is_reached(contract: str, name: str) -> None:
    flood, part = flooded(contract, name, None)
    assert BOUNDED[name] in {finding.code for finding in part.notebook.findings}
    # Some events are kept in two ways.
    assert ROOM // 2 <= flood.told <= ROOM + 1


@pytest.mark.parametrize(("contract", "name"), [(contract, kind.name) for contract, kind in KINDS])
@pytest.mark.usefixtures("little_room")
def test_no_kind_of_event_fills_the_memory(contract: str, name: str) -> None:
    few, many = (entries(flooded(contract, name, number)[1], set()) for number in (600, 3_000))
    # A curve over the rounds has up to 240 points, and sometimes half as many.
    assert many < few + 1_000, (few, many)


def test_a_flooded_book_has_room_for_what_cancels_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MAX_KEPT", 2)
    echoes = Echoes()
    echoes.cause("0x1", "ruling", 5)
    echoes.cause("0x2", "ruling", 6)
    with pytest.raises(TooMany):
        echoes.cause("0x3", "ruling", 7)
    echoes.effect("0x1", "ruling", 5)
    echoes.effect("0x2", "ruling", 6)
    assert list(echoes.left()) == []


def test_what_both_contracts_tell_of_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MAX_KEPT", 1)
    echoes = Echoes()
    for number in range(50):
        echoes.effect("0x", "slash", number)
        echoes.cause("0x", "slash", number)
    assert list(echoes.left()) == []


def test_an_entry_that_no_registry_holds_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEMBER, "name", "n" * (MAX_NAME_BYTES + 1))
    flood, part = flooded("MemberRegistry", "MemberAdmitted", None)
    assert [finding.code for finding in part.notebook.findings][-1] == "roster.member"
    assert flood.told == 0
