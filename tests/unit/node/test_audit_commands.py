from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ledger.audit
from ledger.attest import verify_report
from ledger.findings import AuditReport, Notebook
from ledger.standing import Change, Funds, Standing, newest_of
from node import audit_commands
from node.errors import ConfigError
from tests.helpers.chain import address_of, key_of

KEY = key_of("auditor")
ANYWHERE = ("http://127.0.0.1:1", "0x" + "11" * 20)


def report(*codes: str) -> AuditReport:
    notebook = Notebook()
    for code in codes:
        notebook.note(code, "somewhere", 7)
    return notebook.report(1, ANYWHERE[1], 9)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the next audit finds."""

    def put(*codes: str) -> None:
        monkeypatch.setattr(ledger.audit, "audit", lambda *args, **kwargs: report(*codes))

    return put


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "auditor.key"
    path.write_text(KEY.secret.hex())
    return path


@pytest.mark.parametrize(
    ("codes", "said"), [(["round.missing"], "1 finding"), (["round.missing", "vault.balance"], "2 findings")]
)
def test_findings_are_named_explained_and_counted(
    found: Callable[..., None], codes: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found(*codes)
    with pytest.raises(SystemExit) as ended:
        audit_commands.audit(*ANYWHERE, False)
    assert ended.value.code == 3
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == said
    assert "FINDING round.missing, round 7: somewhere" in out
    assert "Audit again through another endpoint" in out


def test_an_audit_that_finds_nothing_ends_well(found: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    found()
    audit_commands.audit(*ANYWHERE, False)
    assert capsys.readouterr().out.splitlines()[-1] == "everything fits"


def test_missing_funds_are_no_finding_and_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = Notebook().report(1, ANYWHERE[1], 9, funds=Funds(earned_wei=5 * 10**17))
    monkeypatch.setattr(ledger.audit, "audit", lambda *args, **kwargs: poor)
    audit_commands.audit(*ANYWHERE, False)
    *_, notice, verdict = capsys.readouterr().out.splitlines()
    assert notice.startswith("NOTICE recorded rounds earned 0.5 ether, the vault has funds for 0 ether")
    assert verdict == "everything fits"


def test_a_terminal_shows_the_newest_changes_and_no_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = newest_of([Change(number, number, "admitted \x1b[31mwest", 3, 4) for number in range(1, 31)])
    found = Notebook().report(1, ANYWHERE[1], 9, standing=Standing(changes=changes))
    monkeypatch.setattr(ledger.audit, "audit", lambda *args, **kwargs: found)
    audit_commands.audit(*ANYWHERE, False)
    out = capsys.readouterr().out
    assert "10 older rosters" in out
    assert "roster 30, block 30: admitted ?[31mwest (quorum 3 of 4)" in out
    assert "roster 10," not in out


def test_a_signed_report_can_be_verified(
    found: Callable[..., None], key_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found("round.missing")
    with pytest.raises(SystemExit):
        audit_commands.audit(*ANYWHERE, False, sign=key_file)
    text = capsys.readouterr().out
    signer, inside = verify_report(json.loads(text))
    assert (signer, inside) == (address_of(KEY), json.loads(json.dumps(report("round.missing").as_json())))
    path = tmp_path / "report.json"
    path.write_text(text)
    audit_commands.verify(path, signer)
    assert json.loads(capsys.readouterr().out)["verdict"] == "findings: 1"


@pytest.mark.parametrize("by", [None, address_of(key_of("another"))])
def test_a_report_that_its_signer_did_not_sign_ends_with_3(
    found: Callable[..., None], key_file: Path, tmp_path: Path, by: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    found()
    audit_commands.audit(*ANYWHERE, False, sign=key_file)
    text = capsys.readouterr().out
    path = tmp_path / "report.json"
    path.write_text(text if by else text.replace('"block": 9', '"block": 8'))
    with pytest.raises(SystemExit) as ended:
        audit_commands.verify(path, by)
    assert ended.value.code == 3
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.startswith("mycelia: the report ")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot read"), (b"{", "not JSON"), (b"[" * 10**6, "not JSON"), (b"\xff", "not JSON")]
)
def test_a_file_that_is_no_report_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        audit_commands.verify(path, None)


def test_a_report_of_any_length_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_commands, "MAX_REPORT_BYTES", 10)
    (tmp_path / "report.json").write_bytes(b" " * 11)
    with pytest.raises(ConfigError, match="more than 10 bytes"):
        audit_commands.verify(tmp_path / "report.json", None)


def test_a_page_is_written_whatever_was_found(found: Callable[..., None], tmp_path: Path) -> None:
    found("vault.balance")
    with pytest.raises(SystemExit):
        audit_commands.audit(*ANYWHERE, True, html=tmp_path / "page.html")
    assert "vault.balance" in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_is_named(found: Callable[..., None], tmp_path: Path) -> None:
    found()
    with pytest.raises(ConfigError, match="cannot write"):
        audit_commands.audit(*ANYWHERE, True, html=tmp_path / "none" / "page.html")


@pytest.mark.parametrize("options", [{"finality": "soon"}, {"sign": Path("/nonexistent/key")}])
def test_options_are_checked_before_anything_is_asked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"finality is|cannot read the key file"):
        audit_commands.audit(*ANYWHERE, False, **options)
