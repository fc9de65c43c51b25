"""`mycelia audit` and `mycelia verify`: what somebody outside checks, shows, and answers for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node.commands import read_hex_key
from node.errors import EXIT_AUDIT, ConfigError

if TYPE_CHECKING:
    from ledger.finality import Finality
    from ledger.rounds_seen import CheckedRound

MAX_REPORT_BYTES: Final = 16 << 20
SHOWN_CHANGES: Final = 20
"""Of the roster, on a terminal; the JSON and the page have more of them."""


@dataclass(frozen=True, slots=True)
class Files:
    """What members hand an auditor beside the ledger.

    Attributes:
        records: folder of round records.
        model: a model file.
    """

    records: Path | None = None
    model: Path | None = None


NO_FILES: Final = Files()


def audit(
    rpc: str,
    registry: str,
    as_json: bool,
    html: Path | None = None,
    sign: Path | None = None,
    chain_id: int | None = None,
    from_block: int = 0,
    finality: str = "instant",
    given: Files = NO_FILES,
    block: int | None = None,
) -> None:
    """Print what was checked; exit 3 with every finding named if something does not fit."""
    from ledger.attest import sign_report
    from ledger.audit import audit as check

    wanted, key = parse_finality(finality), None if sign is None else read_hex_key(sign)
    files = _FilesAudit(given)
    with _progress() as on_round:
        report = check(
            rpc,
            registry,
            on_round,
            expect_chain_id=chain_id,
            first_block=from_block,
            finality=wanted,
            watcher=files.on_round,
            block=block,
        )
    shown: dict[str, Any] = report.as_json()
    files.add_to(shown)
    signed = {} if key is None else sign_report(shown, key)
    if html is not None:
        _write_page(html, shown, signed)
    if as_json or signed:
        print(json.dumps(signed or shown))
    else:
        _print_summary(shown)
    if not shown["ok"]:
        sys.exit(EXIT_AUDIT)


def verify(path: Path, by: str | None) -> None:
    """Print who signed a report and what it says; exit 3 if it is not what its signer, or `by`, signed."""
    from ledger.attest import verify_report
    from ledger.errors import ForgedReport
    from ledger.types import checked_address

    document = _read_json(path)
    wanted = None if by is None else checked_address(by)
    try:
        signer, report = verify_report(document)
        if wanted is not None and signer != wanted:
            raise ForgedReport(f"the report is signed by {signer}, expected {wanted}")
    except ForgedReport as error:
        print(f"mycelia: {error}", file=sys.stderr)
        sys.exit(EXIT_AUDIT)
    verdict = "everything fits" if report.get("ok") is True else f"findings: {len(report.get('findings') or [])}"
    summary = {name: report.get(name) for name in ("registry", "chain_id", "block", "block_hash")}
    print(json.dumps({"signer": signer, "verdict": verdict, **summary}))


def parse_finality(text: str) -> Finality:
    """The finality that an option names."""
    from ledger.finality import Finality

    try:
        return Finality.parse(text)
    except ValueError as error:
        raise ConfigError(f"--finality: {error}") from error


class _FilesAudit:
    """Examines what members hand out, round by round while the ledger is audited.

    It asks the endpoint nothing of its own: which result and which roster a round has, the audit has checked.
    """

    def __init__(self, given: Files) -> None:
        from ledger.findings import Notebook
        from node.audit_records import ModelAudit, RecordsAudit

        self._notebook = Notebook()
        self._path = given.model
        self._records = None if given.records is None else RecordsAudit(given.records, self._notebook)
        self._model = None if given.model is None else ModelAudit(given.model)

    def on_round(self, checked: CheckedRound) -> None:
        """One more round of the ledger was checked."""
        for part in (self._records, self._model):
            if part is not None:
                part.on_round(checked)

    def add_to(self, shown: dict[str, Any]) -> None:
        """Add what was found to the report."""
        if self._records is not None:
            found = self._records.finish()
            shown["checked"] |= {"records": found.rounds, "statements": found.statements, "scores": found.scores}
            shown |= {"faults": found.faults, "missed": found.missed, "abandoned": found.abandoned}
            shown["rounds_without_records"] = found.without.pairs
            shown["further_rounds_without_records"] = found.without.left_out
            shown["rounds_not_yet_recorded"] = found.ahead.pairs
        if self._model is not None:
            shown["model_of_rounds"] = self._model.rounds
            if not self._model.rounds:
                self._notebook.note("model.unknown", f"{self._path} is the outcome of no recorded round")
        shown["findings"] += [finding.as_json() for finding in self._notebook.all_findings()]
        shown["ok"] = not shown["findings"]


def _print_summary(report: dict[str, Any]) -> None:
    from ledger.words import printable
    from node.audit_facts import facts

    print(f"registry {report['registry']} on chain {report['chain_id']}, up to block {report['block']}")
    print(f"fingerprint {report['fingerprint']}")
    for name, count in report["checked"].items():
        print(f"{name:<12}{count:>24}")
    for about, fact in facts(report):
        print(f"{about.lower()}: {printable(fact)}")
    _print_changes(report["changes"])
    for round_id, member, reason in report.get("faults", ()):
        print(f"FAULT round {round_id}: {member}: {reason}")
    for round_id, phase, names in report.get("missed", ()):
        print(f"MISSED round {round_id}, {phase}: {', '.join(names)}")
    for round_id, reason in report.get("abandoned", ()):
        print(f"ABANDONED round {round_id}: {reason}")
    for first, last in report.get("rounds_without_records", ()):
        print(f"NO RECORD of round {first}" if first == last else f"NO RECORD of rounds {first} to {last}")
    if more := report.get("further_rounds_without_records"):
        print(f"NO RECORD of {more} further rounds")
    for first, last in report.get("rounds_not_yet_recorded", ()):
        rounds = f"round {first}" if first == last else f"rounds {first} to {last}"
        print(f"NOT YET on the ledger, and so not judged: {rounds}")
    findings = report["findings"]
    for finding in findings:
        where = "" if finding["round"] is None else f", round {finding['round']}"
        print(f"FINDING {finding['code']}{where}: {finding['text']}")
    for code, says, advice in dict.fromkeys((f["code"], f["says"], f["advice"]) for f in findings):
        print(f"{code}: {says}. {advice}")
    if report.get("model_of_rounds"):
        first, *last = report["model_of_rounds"]
        print(f"the model is the outcome of round {first}" + "".join(f", and still that of round {n}" for n in last))
    for notice in report["notices"]:
        print(f"NOTICE {notice}")
    count = len(findings)
    print("everything fits" if report["ok"] else f"{count} finding" if count == 1 else f"{count} findings")


def _print_changes(changes: dict[str, Any]) -> None:
    from ledger.words import printable
    from node.audit_facts import change_in_words

    shown = changes["newest"][-SHOWN_CHANGES:]
    if older := changes["left_out"] + len(changes["newest"]) - len(shown):
        print(f"{older} older rosters")
    for change in shown:
        print(printable(change_in_words(change)))


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Shows on a terminal how many rounds are checked."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("rounds"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("rounds", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _write_page(path: Path, report: dict[str, Any], signed: dict[str, Any]) -> None:
    from node.audit_page import render

    page = render(report, signed.get("signer", ""), signed.get("signature", ""))
    try:
        path.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _read_json(path: Path) -> object:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_REPORT_BYTES:
        raise ConfigError(f"{path} is no report: it has more than {MAX_REPORT_BYTES} bytes")
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: expected what `mycelia audit --sign` printed") from error
    return found
