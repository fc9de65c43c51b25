"""`mycelia audit` and `mycelia verify`: what somebody outside checks, shows, and answers for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node.commands import read_hex_key
from node.errors import EXIT_AUDIT, ConfigError

if TYPE_CHECKING:
    from ledger.finality import Finality
    from ledger.findings import AuditReport

MAX_REPORT_BYTES: Final = 16 << 20


def audit(
    rpc: str,
    registry: str,
    as_json: bool,
    html: Path | None = None,
    sign: Path | None = None,
    chain_id: int | None = None,
    from_block: int = 0,
    finality: str = "instant",
) -> None:
    """Print what was checked; exit 3 with every finding named if something does not fit."""
    from ledger.attest import sign_report
    from ledger.audit import audit as check

    wanted, key = parse_finality(finality), None if sign is None else read_hex_key(sign)
    with _progress() as on_round:
        report = check(rpc, registry, on_round, expect_chain_id=chain_id, first_block=from_block, finality=wanted)
    shown: dict[str, Any] = report.as_json()
    signed = {} if key is None else sign_report(shown, key)
    if html is not None:
        _write_page(html, shown, signed)
    if as_json or signed:
        print(json.dumps(signed or shown))
    else:
        _print_summary(report)
    if not report.ok:
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


def _print_summary(report: AuditReport) -> None:
    from ledger.findings import CODES, advice

    print(f"registry {report.registry} on chain {report.chain_id}, up to block {report.block}")
    for name, count in report.as_json()["checked"].items():
        print(f"{name:<12}{count:>24}")
    for finding in report.findings:
        where = "" if finding.round_id is None else f", round {finding.round_id}"
        print(f"FINDING {finding.code}{where}: {finding.text}")
    for code in dict.fromkeys(finding.code for finding in report.findings):
        print(f"{code}: {CODES[code]}. {advice(code)}")
    count = len(report.findings)
    print("everything fits" if report.ok else f"{count} finding" if count == 1 else f"{count} findings")


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
