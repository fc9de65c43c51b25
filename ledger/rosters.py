"""A roster as an auditor knows it, and what its members signed beside results, counted again."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.findings import Notebook
from ledger.model_state import is_signed_by
from ledger.types import SIGNATURE_BYTES, members_of


@dataclass(frozen=True, slots=True)
class KnownRoster:
    """What one roster version bound its members to.

    Attributes:
        signers: by roster index, the zero address where a member is gone.
        active: bitmap of the members that are not gone.
        training_rounds: how many the published spec has; None if it cannot be read.
        place: where in the chain it began.
        change: what made it, in words.
    """

    version: int
    signers: tuple[str, ...]
    quorum: int
    active: int
    spec_digest: bytes
    training_rounds: int | None
    place: tuple[int, int]
    change: str = ""


def count_signatures(
    notebook: Notebook, code: str, what: str, digest: bytes, signers: int, signatures: bytes, roster: KnownRoster
) -> None:
    """Notes under `code` whatever keeps these signatures of `digest` from being those of a quorum of `roster`."""
    if signers & ~roster.active:
        notebook.note(code, f"somebody outside roster {roster.version} signed {what}")
        return
    if signers.bit_count() < roster.quorum:
        notebook.note(code, f"{signers.bit_count()} members signed {what}, a quorum is {roster.quorum}")
    if len(signatures) != SIGNATURE_BYTES * signers.bit_count():
        notebook.note(code, f"there is not one signature for each signer of {what}")
        return
    for place, index in enumerate(members_of(signers)):
        signature = signatures[SIGNATURE_BYTES * place : SIGNATURE_BYTES * (place + 1)]
        if is_signed_by(roster.signers[index], digest, signature):
            notebook.checked.approvals += 1
        else:
            notebook.note(code, f"the signature of member {index} for {what} is not that member's")
