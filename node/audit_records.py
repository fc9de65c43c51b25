"""An auditor's look at the round records that members publish: is what they tell what was signed, and on the ledger?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from eth_hash.auto import keccak

from gossip.chunks import WORD_BYTES
from gossip.committee import Committee
from gossip.errors import MalformedMessage
from gossip.layout import Layout
from gossip.parameters import Parameters
from gossip.record import MAX_RECORD_BYTES, RoundRecord, decode_record
from gossip.results import result_digest
from gossip.review import review
from gossip.session import Identity
from gossip.shamir import PREFIX_BYTES
from gossip.spec import TaskSpec, blob_hasher
from gossip.state import Timing
from gossip.statements import Domain
from gossip.values import ABANDONED
from ledger import rewards
from ledger.findings import Notebook, shown
from ledger.rounds_seen import CheckedRound
from node.errors import ConfigError
from node.recorder import EVIDENCE, SUFFIX
from node.workshop import committed_rewards

MAX_SPANS: Final = 10_000
"""An endpoint can tell of every second round of any number, for nothing."""

_RANDOM_BYTES = 32
_PART_BYTES = 1 << 20
_NOT_HELD = "a record tells of a result that the ledger does not hold"


class Spans:
    """Rounds in ascending order, kept as their first and last ones where they follow each other.

    Attributes:
        pairs: first and last ones.
        left_out: rounds behind them for which there was no room.
    """

    def __init__(self) -> None:
        self.pairs: list[list[int]] = []
        self.left_out = 0

    def append(self, round_id: int) -> None:
        """One more round, after all others."""
        if self.pairs and self.pairs[-1][1] == round_id - 1:
            self.pairs[-1][1] = round_id
        elif len(self.pairs) >= MAX_SPANS:
            self.left_out += 1
        else:
            self.pairs.append([round_id, round_id])


@dataclass(slots=True)
class RecordsReport:
    """What an audit of records found.

    Attributes:
        faults: (round, member's name, reason) that statements show: not the records' fault, but the members'.
        missed: (round, phase, names) that were waited for in vain.
        abandoned: (round, why) as the records say: what no signature shows.
        without: recorded rounds of which there is no record.
        ahead: rounds of which there are records, and which the ledger does not hold yet.
        rounds, statements, scores: how many were judged.
    """

    faults: list[tuple[int, str, str]] = field(default_factory=list)
    missed: list[tuple[int, str, tuple[str, ...]]] = field(default_factory=list)
    abandoned: list[tuple[int, str]] = field(default_factory=list)
    without: Spans = field(default_factory=Spans)
    ahead: Spans = field(default_factory=Spans)
    rounds: int = 0
    statements: int = 0
    scores: int = 0


class RecordsAudit:
    """Judges the records in a folder, at any depth, round by round while the ledger is audited.

    Args:
        folder: holds round records, of one member or of several.
        notebook: takes what does not fit.

    Raises:
        ConfigError: the folder holds no record.
    """

    def __init__(self, folder: Path, notebook: Notebook) -> None:
        self.report = RecordsReport()
        self._notebook = notebook
        self._following = 0
        self._before: CheckedRound | None = None
        self._files: dict[int, list[Path]] = {}
        for path in sorted(folder.rglob(f"*{SUFFIX}")):
            self._files.setdefault(int(path.stem) if path.stem.isdecimal() else -1, []).append(path)
        if not self._files:
            raise ConfigError(f"{folder} holds no round records: a node keeps its own in its folder's records/")

    def on_round(self, checked: CheckedRound) -> None:
        """The ledger holds this result: does what members published of the round show it?"""
        round_id = checked.result.round
        self._following = round_id + 1
        before, self._before = self._before, checked
        paths = self._files.pop(round_id, [])
        if not paths:
            self.report.without.append(round_id)
        records = [record for record in self._readable(paths, round_id) if self._is_of(record, checked)]
        if not records or checked.roster is None:
            return
        try:
            identity = _identity(checked, before, records[0].spec)
        except (ValueError, MalformedMessage) as error:
            self._notebook.note("record.spec", f"its roster and task cannot be used: {shown(error)}", round_id)
        else:
            folders = {path.parent / EVIDENCE for path in paths}
            _judge(records, identity, checked, folders, self.report, self._notebook)

    def finish(self) -> RecordsReport:
        """What was found; a record of a round that the ledger passed over is false as well."""
        for round_id, paths in sorted(self._files.items()):
            if list(self._readable(paths, round_id)) and round_id >= self._following:
                self.report.ahead.append(round_id)
        return self.report

    def _readable(self, paths: list[Path], round_id: int) -> Iterator[RoundRecord]:
        for path in paths:
            try:
                if not path.is_file():
                    raise MalformedMessage("it is no file")  # to read from a pipe could take for ever
                if path.stat().st_size > MAX_RECORD_BYTES:
                    raise MalformedMessage(f"a round's record has at most {MAX_RECORD_BYTES} bytes")
                record = decode_record(path.read_bytes())
                if record.result.round != round_id:
                    raise MalformedMessage(f"it is of round {record.result.round}, and its name says {path.stem}")
                yield record
            except (MalformedMessage, OSError) as error:
                self._notebook.note("record.unreadable", f"{shown(path)}: {shown(error)}")

    def _is_of(self, record: RoundRecord, checked: CheckedRound) -> bool:
        """Whether the record tells of the very result that the ledger holds, by the task of the roster that made it."""
        round_id, roster = checked.result.round, checked.roster
        if not checked.is_stored or result_digest(record.result) != checked.result.struct_hash():
            self._notebook.note("record.result", _NOT_HELD, round_id)
        elif roster is None or keccak(record.spec) != roster.spec_digest:
            self._notebook.note("record.spec", "a record is of another task than the registry's", round_id)
        else:
            return True
        return False


class ModelAudit:
    """Finds the rounds whose outcome a model file is.

    Raises:
        ConfigError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            hasher = blob_hasher(path.stat().st_size)
            with path.open("rb") as file:
                while part := file.read(_PART_BYTES):
                    hasher.update(part)
        except OSError as error:
            raise ConfigError(f"cannot read the model {path}: {error.strerror}") from error
        self._name = hasher.digest()
        self._first: int | None = None
        self._last: int | None = None

    def on_round(self, checked: CheckedRound) -> None:
        """Takes note of a round that ended with the model."""
        if checked.is_stored and checked.result.model == self._name:
            self._first = checked.result.round if self._first is None else self._first
            self._last = checked.result.round

    @property
    def rounds(self) -> tuple[int, ...]:
        """The round that made the model, and the last one that left it as it was; empty if it is no round's."""
        return tuple(dict.fromkeys(found for found in (self._first, self._last) if found is not None))


def _judge(
    records: list[RoundRecord],
    identity: Identity,
    checked: CheckedRound,
    folders: set[Path],
    report: RecordsReport,
    notebook: Notebook,
) -> None:
    result, committee = records[0].result, identity.committee
    names = [checked.names[index] for index in committee.seats]
    layout = Layout.for_round(identity.parameters, identity.spec, result.round)
    most = PREFIX_BYTES + WORD_BYTES * layout.total_blocks * layout.parameters.pack_size

    def find_blob(name: bytes) -> bytes | None:
        path = next((path for folder in folders if (path := folder / name.hex()).is_file()), None)
        return None if path is None or path.stat().st_size > most else path.read_bytes()

    found = review(records, identity, find_blob, os.urandom(_RANDOM_BYTES))
    for text in found.findings:
        notebook.note("record.statement", shown(text), result.round)
    deals = {committee.seats[member]: name for member, name in found.deals or ()}
    if deals and result.deals not in (bytes(32), rewards.deals_root(deals)):
        notebook.note("record.deals", "the result's root is not that of the dealers' Deals", result.round)
    report.faults += [(result.round, shown(names[member]), reason) for member, reason in sorted(found.faults)]
    for phase, members in sorted(found.missed):
        missing = tuple(shown(names[member]) for member in members if member < len(names))
        report.missed.append((result.round, shown(phase), missing))
    if result.outcome == ABANDONED:
        reasons = sorted({record.reason for record in records if record.reason})
        report.abandoned.append((result.round, shown("; ".join(reasons) or "its sum could not be opened in time")))
    report.rounds += 1
    report.statements += found.statements
    report.scores += found.scores


def _identity(checked: CheckedRound, before: CheckedRound | None, spec: bytes) -> Identity:
    """The committee, as a member of it knows it.

    Raises:
        ValueError: no committee has so many members.
        MalformedMessage: no task has this specification.
    """
    task = TaskSpec.decode(spec)
    earlier = () if before is None or before.roster is None else (_committee(before, task, 0),)
    committee = _committee(checked, task, checked.result.round if earlier else 0)
    Parameters.of_size(len(committee.seats))
    return Identity(
        me=0,
        committee=committee,
        sign=_refuse,
        domain=Domain(checked.chain_id, bytes.fromhex(checked.ledger[2:])),
        timing=Timing(),
        rewards_root=committed_rewards,
        plan=(*earlier, committee),
    )


def _committee(checked: CheckedRound, task: TaskSpec, first_round: int) -> Committee:
    signers = () if checked.roster is None else checked.roster.signers
    return Committee(checked.result.config, tuple(bytes.fromhex(address[2:]) for address in signers), task, first_round)


def _refuse(_: bytes) -> NoReturn:
    raise AssertionError("an auditor signs nothing")
