from __future__ import annotations

import json
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from ledger.attest import sign_report, verify_report
from ledger.errors import ForgedReport
from ledger.findings import Notebook
from tests.helpers.chain import address_of, key_of

KEY = key_of("auditor")


@pytest.fixture
def signed() -> dict[str, Any]:
    notebook = Notebook()
    notebook.note("round.missing", "no event tells of round 1 – \u202e", 1)
    document = sign_report(notebook.report(1, "0x" + "11" * 20, 9).as_json(), KEY.secret)
    copy: dict[str, Any] = json.loads(json.dumps(document))
    return copy


def test_a_signed_report_names_its_signer(signed: dict[str, Any]) -> None:
    assert verify_report(signed) == (address_of(KEY), signed["report"])


def test_any_wallet_can_check_the_signature(signed: dict[str, Any]) -> None:
    text = json.dumps(signed["report"], sort_keys=True, separators=(",", ":"))
    assert Account.recover_message(encode_defunct(text=text), signature=signed["signature"]) == signed["signer"]


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["report"].update(ok=True),
        lambda document: document["report"].update(block=10),
        lambda document: document["report"]["findings"].clear(),
        lambda document: document["report"].update(more=1),
        lambda document: document.update(signer=address_of(key_of("another"))),
        lambda document: document.update(signer="0x" + "00" * 20, signature="0x" + "ff" * 64 + "1b"),
        lambda document: document.update(signature=document["signature"][:-2] + "1b"[::-1]),
        lambda document: document.update(signature=document["signature"][:-2] + "1d"),
        lambda document: document.update(signature="0x" + "00" * 64 + "1b"),
        lambda document: document.update(signature=None),
        lambda document: document.update(signer=7),
        lambda document: document.pop("signer"),
        lambda document: document.pop("report"),
    ],
)
def test_whatever_was_changed_is_refused(signed: dict[str, Any], change: Any) -> None:
    change(signed)
    with pytest.raises(ForgedReport):
        verify_report(signed)


@pytest.mark.parametrize("document", [None, 7, [], {}, "x", {"report": []}])
def test_what_is_no_signed_report_is_refused(document: object) -> None:
    with pytest.raises(ForgedReport, match="no signed report"):
        verify_report(document)
