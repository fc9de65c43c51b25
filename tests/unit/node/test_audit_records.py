"""What an auditor is told of the round records in a folder, beside a ledger that holds the results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from msgspec import structs

from gossip.record import RoundRecord, encode_record, evidence_of
from gossip.spec import blob_digest
from ledger.findings import Finding, Notebook
from ledger.rosters import KnownRoster
from ledger.rounds_seen import CheckedRound
from node import audit_records
from node.audit_records import ModelAudit, RecordsAudit, RecordsReport, Spans
from node.conversions import ledger_result
from node.errors import ConfigError, StoreError
from node.recorder import Recorder
from sim.world import World
from tests.helpers import liars
from tests.helpers.worlds import known_world, saved_after

LIAR = 1


def checked_rounds(world: World, **changes: Any) -> Iterator[CheckedRound]:
    """The rounds of a ledger that holds what a world's members settled."""
    node = world.nodes[0]
    identity = node.identity
    signers = tuple(to_checksum_address(signer) for signer in identity.signers)
    n = len(signers)
    spec_digest = keccak(identity.spec.encode())
    roster = KnownRoster(1, signers, identity.parameters.quorum, (1 << n) - 1, spec_digest, 9, (0, 0))
    names = tuple(f"m{index}" for index in range(n))
    place = identity.domain.chain_id, to_checksum_address(identity.domain.ledger)
    for _, result in sorted(node.results.items()):
        yield replace(CheckedRound(ledger_result(result), True, roster, names, *place), **changes)


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


def audited(folder: Path, world: World, **changes: Any) -> tuple[RecordsReport, list[Finding]]:
    notebook = Notebook()
    records = RecordsAudit(folder, notebook)
    for checked in checked_rounds(world, **changes):
        records.on_round(checked)
    return records.finish(), notebook.findings


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


def test_a_record_of_another_consortiums_member_is_named_by_what_it_lacks(world: World, tmp_path: Path) -> None:
    """As for members of an older roster, whose keys are not those of the newest one."""
    publish(world, 0, tmp_path)
    other = "0x" + "77" * 20
    roster = next(checked_rounds(world)).roster
    assert roster is not None
    _, findings = audited(tmp_path, world, roster=replace(roster, signers=(other,) * 4))
    assert "record.statement" in {finding.code for finding in findings}


@pytest.mark.parametrize("changes", [{"is_stored": False}, {"roster": None}], ids=["not held", "of no roster"])
def test_records_of_a_round_that_does_not_fit_itself_prove_nothing(
    changes: dict[str, Any], world: World, tmp_path: Path
) -> None:
    publish(world, 0, tmp_path)
    report, findings = audited(tmp_path, world, **changes)
    assert (report.rounds, report.faults) == (0, [])
    assert findings


def test_a_committee_that_no_round_can_have_is_named(world: World, tmp_path: Path) -> None:
    publish(world, 0, tmp_path)
    roster = next(checked_rounds(world)).roster
    assert roster is not None
    _, (finding,) = audited(tmp_path, world, roster=replace(roster, signers=roster.signers * 17))
    assert (finding.code, "3 to 64 members" in finding.text) == ("record.spec", True)


def test_records_that_are_ahead_of_the_ledger_are_told_and_no_finding(world: World, tmp_path: Path) -> None:
    publish(world, 0, tmp_path)
    world.nodes[0].results.pop(2)
    report, findings = audited(tmp_path, world)
    assert (report.ahead.pairs, report.rounds, findings) == ([[2, 2]], 0, [])


def test_rounds_without_a_record_are_told(world: World, tmp_path: Path) -> None:
    publish(world, 0, tmp_path)
    world.nodes[0].results |= {4: structs.replace(world.nodes[0].results[2], round=4)}
    told = audited(tmp_path, world)[0].without.pairs
    assert all(not first <= 2 <= last for first, last in told)
    assert told[-1][1] == 4


def test_a_ledger_of_every_second_round_takes_no_more_than_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_records, "MAX_SPANS", 3)
    spans = Spans()
    for number in (0, 2, 3, 5, 6, 8, 10):
        spans.append(number)
    assert (spans.pairs, spans.left_out) == ([[0, 0], [2, 3], [5, 6]], 2)


def test_a_pipe_among_the_records_is_not_waited_for(world: World, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "00000002.record")
    _, (finding,) = audited(tmp_path, world)
    assert (finding.code, "it is no file" in finding.text) == ("record.unreadable", True)


def test_a_folder_without_records_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no round records"):
        audited(tmp_path, world)


def test_a_record_that_cannot_be_written_is_one_sentence(world: World, tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot write the round's record"):
        publish(world, 0, tmp_path)


def test_a_model_is_of_the_rounds_that_ended_with_it(world: World, tmp_path: Path) -> None:
    path = tmp_path / "model"
    for model, rounds in ((world.nodes[0].models[2], (2,)), (b"another one", ())):
        path.write_bytes(model)
        found = ModelAudit(path)
        for checked in checked_rounds(world):
            found.on_round(checked)
        assert found.rounds == rounds


def test_a_model_of_a_result_that_the_ledger_does_not_hold_is_of_no_round(world: World, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(world.nodes[0].models[2])
    found = ModelAudit(tmp_path / "model")
    for checked in checked_rounds(world, is_stored=False):
        found.on_round(checked)
    assert found.rounds == ()


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
