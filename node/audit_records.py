"""An auditor's look at the round records that members publish: is what they tell what was signed, and on the ledger?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from gossip.chunks import WORD_BYTES
from gossip.committee import Committee, committee_of
from gossip.errors import MalformedMessage
from gossip.layout import Layout
from gossip.record import MAX_RECORD_BYTES, RoundRecord, decode_record
from gossip.results import result_digest
from gossip.review import review
from gossip.session import Identity
from gossip.shamir import PREFIX_BYTES
from gossip.spec import blob_digest
from gossip.state import Timing
from gossip.statements import Domain
from gossip.values import ABANDONED
from ledger import rewards
from ledger.client import LedgerClient
from ledger.findings import Notebook, shown
from ledger.types import STORED_BYTES, Roster
from node.errors import ConfigError
from node.plan import plan_of
from node.recorder import EVIDENCE, SUFFIX
from node.workshop import committed_rewards

_RANDOM_BYTES = 32


@dataclass(slots=True)
class RecordsReport:
    """What an audit of records found.

    Attributes:
        faults: (round, member's name, reason) that statements show: not the records' fault, but the members'.
        missed: (round, phase, names) that were waited for in vain.
        abandoned: (round, why) as the records say: what no signature shows.
        rounds, statements, scores: how many were judged.
    """

    faults: list[tuple[int, str, str]] = field(default_factory=list)
    missed: list[tuple[int, str, tuple[str, ...]]] = field(default_factory=list)
    abandoned: list[tuple[int, str]] = field(default_factory=list)
    rounds: int = 0
    statements: int = 0
    scores: int = 0


@dataclass(frozen=True, slots=True)
class _Consortium:
    """Who made which rounds, and what they are called."""

    roster: Roster
    plan: tuple[Committee, ...]

    def committee_of(self, round_id: int) -> Committee:
        return committee_of(self.plan, round_id)

    def identity_in(self, round_id: int) -> Identity:
        """As whom an auditor judges a round: as any member, who signs nothing."""
        return Identity(
            me=0,
            committee=self.committee_of(round_id),
            sign=_refuse,
            domain=Domain(self.roster.chain_id, bytes.fromhex(self.roster.ledger[2:])),
            timing=Timing(),
            rewards_root=committed_rewards,
            plan=self.plan,
        )


def audit_records(folder: Path, client: LedgerClient, notebook: Notebook) -> RecordsReport:
    """Judge every round of which `folder` holds records, at any depth: of one member, or of several.

    What does not fit goes into the notebook.

    Raises:
        ConfigError: the folder holds no record.
        LedgerError: the chain cannot be asked, or is none of this consortium.
    """
    files: dict[int, list[Path]] = {}
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        files.setdefault(int(path.stem) if path.stem.isdecimal() else -1, []).append(path)
    if not files:
        raise ConfigError(f"{folder} holds no round records: a node keeps its own in its folder's records/")
    consortium, report = _Consortium(client.roster(), plan_of(client.periods())), RecordsReport()
    for round_id in sorted(files):
        records = [
            record
            for record in _readable(files[round_id], round_id, notebook)
            if _is_recorded(record, client, consortium, notebook)
        ]
        if records:
            _judge(records, consortium, {path.parent / EVIDENCE for path in files[round_id]}, report, notebook)
    return report


def audit_model(path: Path, client: LedgerClient) -> tuple[int, ...]:
    """The rounds whose outcome a model file is; none if it is no round's."""
    try:
        name = blob_digest(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the model {path}: {error.strerror}") from error
    return tuple(record.result.round for record in client.records() if record.result.model == name)


def _readable(paths: list[Path], round_id: int, notebook: Notebook) -> Iterator[RoundRecord]:
    for path in paths:
        try:
            if path.stat().st_size > MAX_RECORD_BYTES:
                raise MalformedMessage(f"a round's record has at most {MAX_RECORD_BYTES} bytes")
            record = decode_record(path.read_bytes())
            if record.result.round != round_id:
                raise MalformedMessage(f"it is of round {record.result.round}, and its name says {path.stem}")
            yield record
        except (MalformedMessage, OSError) as error:
            notebook.note("record.unreadable", f"{path}: {shown(error)}")


def _is_recorded(record: RoundRecord, client: LedgerClient, consortium: _Consortium, notebook: Notebook) -> bool:
    """Whether the record is of this consortium, and tells of the very result that the ledger holds."""
    round_id = record.result.round
    if client.result_digest(round_id) != result_digest(record.result)[:STORED_BYTES]:
        notebook.note("record.result", "a record tells of a result that the ledger does not hold", round_id)
    elif record.result.config != consortium.committee_of(round_id).config:
        notebook.note("record.roster", "a record is of another roster than the one whose round it is", round_id)
    elif record.spec != consortium.committee_of(round_id).spec.encode():
        notebook.note("record.spec", "a record is of another task than the registry's", round_id)
    else:
        return True
    return False


def _judge(
    records: list[RoundRecord],
    consortium: _Consortium,
    folders: set[Path],
    report: RecordsReport,
    notebook: Notebook,
) -> None:
    identity = consortium.identity_in(records[0].result.round)
    committee = identity.committee
    layout = Layout.for_round(identity.parameters, identity.spec, records[0].result.round)
    most = PREFIX_BYTES + WORD_BYTES * layout.total_blocks * layout.parameters.pack_size

    def find_blob(name: bytes) -> bytes | None:
        path = next((path for folder in folders if (path := folder / name.hex()).is_file()), None)
        return None if path is None or path.stat().st_size > most else path.read_bytes()

    found = review(records, identity, find_blob, os.urandom(_RANDOM_BYTES))
    result, names = records[0].result, [consortium.roster.members[index].name for index in committee.seats]
    for text in found.findings:
        notebook.note("record.statement", shown(text), result.round)
    deals = {committee.seats[member]: name for member, name in found.deals or ()}
    if deals and result.deals not in (bytes(32), rewards.deals_root(deals)):
        notebook.note("record.deals", "the result's root is not that of the dealers' Deals", result.round)
    report.faults += [(result.round, names[member], reason) for member, reason in sorted(found.faults)]
    for phase, members in sorted(found.missed):
        missing = tuple(names[member] for member in members if member < len(names))
        report.missed.append((result.round, shown(phase), missing))
    if result.outcome == ABANDONED:
        reasons = sorted({record.reason for record in records if record.reason})
        report.abandoned.append((result.round, shown("; ".join(reasons) or "its sum could not be opened in time")))
    report.rounds += 1
    report.statements += found.statements
    report.scores += found.scores


def _refuse(_: bytes) -> NoReturn:
    raise AssertionError("an auditor signs nothing")
