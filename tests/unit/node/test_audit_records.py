"""What an auditor is told of the round records in a folder, beside a ledger that holds the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import structs

from gossip.record import RoundRecord, encode_record, evidence_of
from gossip.results import result_digest
from gossip.spec import blob_digest
from gossip.values import RoundResult
from ledger.findings import Finding, Notebook
from ledger.periods import Period
from ledger.types import STORED_BYTES, Member, Roster
from node.audit_records import RecordsReport, audit_model, audit_records
from node.errors import ConfigError, StoreError
from node.recorder import Recorder
from sim.world import World
from tests.helpers import liars
from tests.helpers.nodes import peer_id
from tests.helpers.worlds import known_world, saved_after

LIAR = 1


@dataclass
class Recorded:
    result: RoundResult


class LedgerOf:
    """A ledger that holds what a world's members settled."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._results = world.nodes[0].results

    def roster(self) -> Roster:
        identity = self._world.nodes[0].identity
        members = tuple(
            Member(i, "0x" + signer.hex(), "0x" + signer.hex(), f"m{i}", peer_id(i), "127.0.0.1", 1 + i)
            for i, signer in enumerate(identity.signers)
        )
        zero = "0x" + bytes(20).hex()
        spec = identity.spec.encode()
        return Roster(1, identity.config, identity.parameters.quorum, members, spec, zero, zero, zero, 1)

    def periods(self) -> tuple[Period, ...]:
        roster = self.roster()
        return (Period(1, roster.config_digest, roster.signers, roster.spec, 0, 0),)

    def result_digest(self, round_id: int) -> bytes:
        digest = result_digest(self._results[round_id]) if round_id in self._results else bytes(32)
        return digest[:STORED_BYTES]

    def records(self) -> list[Recorded]:
        return [Recorded(result) for result in self._results.values()]


@pytest.fixture
def world() -> World:
    """One whose member 1 deals falsely in round 2."""
    world = known_world(4, saved=saved_after(4, 1))
    liars.deal_unequally(world, LIAR, 3)
    return world.run(300)


def publish(world: World, member: int, folder: Path, record: RoundRecord | None = None) -> Path:
    node = world.nodes[member]
    assert node.session is not None
    Recorder(folder, node.blobs.get).write(record or node.records[2], evidence_of(node.session.current))
    return next(folder.rglob("*.record"))


def audited(folder: Path, world: World) -> tuple[RecordsReport, list[Finding]]:
    notebook = Notebook()
    return audit_records(folder, LedgerOf(world), notebook), notebook.findings  # type: ignore[arg-type]


def test_a_fault_is_named_with_the_member_and_is_no_finding(world: World, tmp_path: Path) -> None:
    publish(world, 0, tmp_path)
    report, findings = audited(tmp_path, world)
    assert not findings
    assert report.faults == [(2, "m1", "share contradicts its proof")]
    assert (report.rounds, report.scores) == (1, 4)


def test_records_of_several_members_are_judged_together(world: World, tmp_path: Path) -> None:
    for member in (0, 2, 3):
        publish(world, member, tmp_path / str(member))
    report, findings = audited(tmp_path, world)
    assert not findings
    assert report.rounds == 1


def test_nothing_of_a_record_is_secret(world: World, tmp_path: Path) -> None:
    """The one share in it is the false one, which its holder published."""
    path = publish(world, 0, tmp_path)
    shown = {blob_digest(file.read_bytes()) for file in tmp_path.rglob("evidence/*")} | {path.read_bytes()}
    node = world.nodes[0]
    held = {name for shares in node.session.current.shares.values() for name in shares}  # type: ignore[union-attr]
    assert len(shown) == 2
    assert not held & shown


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"result": "other"}, "record.result"),
        ({"spec": b"{}"}, "record.spec"),
        ({"blamed": ((2, "\x1b[31mequivocation"),)}, "record.statement"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_forged_record_is_a_finding(change: dict[str, object], code: str, world: World, tmp_path: Path) -> None:
    record = world.nodes[0].records[2]
    if "result" in change:
        change = {"result": structs.replace(record.result, model=bytes(32))}
    publish(world, 0, tmp_path, structs.replace(record, **change))
    _, findings = audited(tmp_path, world)
    assert [finding.code for finding in findings] == [code]
    assert "\x1b" not in findings[0].text


@pytest.mark.parametrize("damage", ["garbage", "half", "renamed"])
def test_a_file_that_is_no_record_is_named(damage: str, world: World, tmp_path: Path) -> None:
    path = publish(world, 0, tmp_path)
    data = encode_record(world.nodes[0].records[2])
    path.write_bytes({"garbage": b"\xff" * 100, "half": data[: len(data) // 2], "renamed": data}[damage])
    if damage == "renamed":
        path = path.rename(path.with_name("00000007.record"))
    _, (finding,) = audited(tmp_path, world)
    assert finding.code == "record.unreadable"
    assert path.name in finding.text


def test_a_folder_without_records_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no round records"):
        audited(tmp_path, world)


def test_a_record_that_cannot_be_written_is_one_sentence(world: World, tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot write the round's record"):
        publish(world, 0, tmp_path)


def test_a_model_is_of_the_rounds_that_ended_with_it(world: World, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(world.nodes[0].models[2])
    assert 2 in audit_model(path, LedgerOf(world))  # type: ignore[arg-type]
    path.write_bytes(b"another one")
    assert audit_model(path, LedgerOf(world)) == ()  # type: ignore[arg-type]


def test_a_round_that_came_to_nothing_says_why(tmp_path: Path) -> None:
    world = known_world(4, saved=saved_after(4, 0), last_round=1)
    liars.deal_beyond_bounds(world, LIAR)
    world.run(300)
    node = world.nodes[0]
    assert node.session is not None
    Recorder(tmp_path, node.blobs.get).write(node.records[1], evidence_of(node.session.current))
    ((round_id, reason),) = audited(tmp_path, world)[0].abandoned
    assert (round_id, reason) == (1, node.records[1].reason)
    assert "longer than" in reason
