from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from ledger.artifacts import NAMES, load
from ledger.findings import CODES, MAX_FINDINGS, Notebook, advice, shown

SOURCES = Path(__file__).parents[3] / "ledger"
NODE = Path(__file__).parents[3] / "node"
NODE_SOURCES = (NODE / "audit_records.py", NODE / "audit_commands.py")


def test_every_code_that_the_audit_writes_is_listed_and_the_other_way_round() -> None:
    text = "".join(
        file.read_text()
        for file in [
            *SOURCES.glob("audit_*.py"),
            SOURCES / "audit.py",
            SOURCES / "replay.py",
            SOURCES / "echoes.py",
            *NODE_SOURCES,
        ]
    )
    kinds = "|".join(sorted({code.split(".")[0] for code in CODES}))
    assert set(re.findall(rf'"((?:{kinds})\.[a-z]+)"', text)) == set(CODES) - {"findings.more"}


def test_a_flood_of_one_kind_hides_no_other() -> None:
    notebook = Notebook()
    for _ in range(MAX_FINDINGS + 7):
        notebook.note("log.unreadable", "again")
    notebook.note("vault.balance", "less than nothing")
    assert "vault.balance" in {finding.code for finding in notebook.findings}


def test_findings_beyond_the_bound_are_counted() -> None:
    notebook = Notebook()
    for number in range(MAX_FINDINGS + 7):
        notebook.note("round.extra", "again", number)
    report = notebook.report(1, "0x", 9)
    assert len(report.findings) == MAX_FINDINGS + 1
    assert report.findings[-1].code == "findings.more"
    assert "7 more" in report.findings[-1].text


def test_a_report_without_findings_is_ok_and_json() -> None:
    report = Notebook().report(1, "0x", 9)
    assert report.ok
    assert json.loads(json.dumps(report.as_json()))["findings"] == []


def test_a_report_says_which_artifacts_it_compared_with() -> None:
    told = Notebook().report(1, "0x", 9).as_json()["artifacts"]
    assert told == {name: "0x" + keccak(load(name).deployed_bytecode).hex() for name in NAMES}


def test_only_a_difference_becomes_a_finding() -> None:
    notebook = Notebook()
    assert notebook.expect("round.kind", "the kind", 1, 1)
    assert not notebook.expect("round.kind", "the kind", 1, 2, 5)
    (finding,) = notebook.findings
    assert (finding.code, finding.round_id, finding.text) == ("round.kind", 5, "the kind is 2, expected 1")


def test_what_an_endpoint_says_cannot_write_to_the_terminal() -> None:
    assert shown("\x1b[31mred\n") == "\\x1b[31mred\\n"
    assert shown(b"\x1b") == "0x1b"
    assert len(shown("x" * 10_000)) < 200


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_finding_comes_with_what_to_do(code: str) -> None:
    notebook = Notebook()
    notebook.note(code, "something")
    (found,) = notebook.report(1, "0x", 9).as_json()["findings"]
    assert (found["says"], found["advice"]) == (CODES[code], advice(code))
    assert found["advice"].endswith(".")
