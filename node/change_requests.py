"""Requests to change a roster, as they travel from member to member: files that strangers may have written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from ledger.words import one_line
from node.errors import ConfigError

ADMIT, REMOVE = "admit", "remove"
ENTRY_KEYS: Final = ("name", "account", "signer", "peer_id", "address")
MAX_REQUEST_BYTES: Final = 1 << 18
"""An approval takes some 150 bytes, an entry and its signatures a thousand."""

MAX_ENTRY_CHARACTERS: Final = 300
"""Of each value of an entry, of which an address may be the longest."""

_DIGEST: Final = "[0-9a-f]{64}"
_SIGNATURE: Final = "[0-9a-f]{128}"
_INDEX: Final = "0|[1-9][0-9]{0,2}"
"""One way to write each: an approval that is there twice must not count twice."""


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """A change that a quorum has to approve, as it travels from member to member.

    Attributes:
        action: "admit" or "remove".
        registry, chain_id, config: for which consortium and roster it is, addresses and digests in hex.
        entry: of whoever wants to be admitted, as in its member.json.
        consents: signatures over the admission by the newcomer's own account and signer, in hex.
        index: roster index of whoever is to be removed.
        evidence: digest, in hex, of what speaks for the removal.
        approvals: signatures in hex, by roster index.
    """

    action: str
    registry: str
    chain_id: int
    config: str
    entry: dict[str, str] | None = None
    consents: dict[str, str] = {}
    index: int | None = None
    evidence: str = "00" * 32
    approvals: dict[str, str] = {}

    @property
    def removed(self) -> int:
        """Roster index of whoever is to be removed."""
        if self.index is None:
            raise ValueError("only a removal names an index")
        return self.index


def read_request(path: Path) -> Request:
    """What a file asks for, each part of it in the one form in which it is written.

    Raises:
        ConfigError: it cannot be read, or is no request.
    """
    data = read_bytes(path, MAX_REQUEST_BYTES + 1)
    try:
        request = msgspec.json.decode(data[:MAX_REQUEST_BYTES], type=Request)
        flaw = next(_flaws(request), "")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        flaw = str(error)
    if len(data) > MAX_REQUEST_BYTES:
        flaw = f"it is larger than {MAX_REQUEST_BYTES} bytes"
    if flaw:
        raise ConfigError(
            f"{path} is no request as `mycelia join` or `remove` writes it: {one_line(flaw)}; ask for a new copy"
        )
    return request


def _flaws(request: Request) -> Iterator[str]:
    """What is wrong with a request whatever the registry says, in words; they may quote it."""
    if request.action not in (ADMIT, REMOVE):
        yield f"action: found {_shown(request.action)}, expected {ADMIT} or {REMOVE}"
    if not re.fullmatch("0x[0-9a-fA-F]{40}", request.registry):
        yield f"registry: found {_shown(request.registry)}, expected 0x and 40 hex digits"
    if not 0 <= request.chain_id < 1 << 64:
        yield f"chain_id: found {_shown(request.chain_id)}, expected a number below 2^64"
    for name, digest in (("config", request.config), ("evidence", request.evidence)):
        if not re.fullmatch(_DIGEST, digest):
            yield f"{name}: found {_shown(digest)}, expected 64 hex digits"
    yield from _admission_flaws(request) if request.action == ADMIT else _removal_flaws(request)
    for index, signature in request.approvals.items():
        if not re.fullmatch(_INDEX, index):
            yield f"approvals: found an approval of {_shown(index)}, expected a roster index"
        if not re.fullmatch(_SIGNATURE, signature):
            yield f"approvals: found {_shown(signature)} of member {_shown(index)}, expected 128 hex digits"


def _admission_flaws(request: Request) -> Iterator[str]:
    if request.index is not None:
        yield "index: only a removal has one"
    if request.entry is None:
        yield "entry: missing"
    for name, value in (request.entry or {}).items():
        if name not in ENTRY_KEYS or len(value) > MAX_ENTRY_CHARACTERS:
            yield f"entry: found {_shown(name)} with {_shown(value)}, expected what a member.json holds"
    for name in ("account", "signer"):
        found = request.consents.get(name, "")
        if not re.fullmatch(_SIGNATURE, found):
            yield f"consents: found {_shown(found)} of the newcomer's {name}, expected 128 hex digits"
    if len(request.consents) > 2:
        yield "consents: found more than those of account and signer"


def _removal_flaws(request: Request) -> Iterator[str]:
    if request.index is None:
        yield "index: missing"
    elif not re.fullmatch(_INDEX, str(request.index)):
        yield f"index: found {_shown(request.index)}, expected a roster index"
    if request.entry is not None or request.consents:
        yield "entry, consents: only a request to join has them"


def _shown(value: str | int) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."


def read_bytes(path: Path, limit: int = -1) -> bytes:
    """What a file holds, no more than `limit` of it unless that is negative."""
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def write_request(path: Path, request: Request) -> None:
    """Write a request in the place of what is there."""
    text = json.dumps(msgspec.to_builtins(request), indent=1) + "\n"
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_text(text)
        os.replace(beside, path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
