"""An audit report that its auditor answers for: the JSON, the address of whoever signed it, and the signature."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from eth_account.messages import encode_defunct
from eth_hash.auto import keccak

from ledger.connection import Key, account_of
from ledger.errors import ForgedReport, MalformedAddress
from ledger.model import ZERO_ADDRESS, recover_signer
from ledger.types import checked_address


def sign_report(report: Mapping[str, Any], key: Key) -> dict[str, Any]:
    """The signed document around a report's JSON.

    Raises:
        ValueError: not a private key.
    """
    account = account_of(key)
    signed = account.sign_message(encode_defunct(_text(report)))
    return {"report": dict(report), "signer": account.address, "signature": "0x" + bytes(signed.signature).hex()}


def verify_report(document: object) -> tuple[str, dict[str, Any]]:
    """Who signed the document, and the report in it.

    Raises:
        ForgedReport: it is no signed report, or was changed after it was signed.
    """
    if not isinstance(document, dict) or not isinstance(document.get("report"), dict):
        raise ForgedReport("this is no signed report: expected an object with report, signer and signature")
    report, signature = document["report"], str(document.get("signature"))
    if re.fullmatch(r"0x[0-9a-f]{128}(1b|1c)", signature, re.ASCII) is None:
        raise ForgedReport("the signature is none: expected 0x and 65 bytes in hex, as EIP-191 has them")
    r, s, parity = signature[2:66], int(signature[66:130], 16), int(signature[130:], 16) - 27
    try:
        signer = checked_address(document.get("signer", ""))
        found = recover_signer(_digest(report), bytes.fromhex(r) + (s | parity << 255).to_bytes(32, "big"))
    except (MalformedAddress, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ForgedReport(f"the signed report cannot be read: {error}") from error
    if found != signer or found == ZERO_ADDRESS:
        raise ForgedReport(f"the report was changed, or {signer} did not sign it")
    return signer, report


def _text(report: Mapping[str, Any]) -> bytes:
    """What is signed (EIP-191): the JSON with sorted keys, without spaces, in ASCII."""
    return json.dumps(report, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _digest(report: Mapping[str, Any]) -> bytes:
    text = _text(report)
    return keccak(b"\x19Ethereum Signed Message:\n%d" % len(text) + text)
