"""What a member publishes of a round that ended, for whoever wants to judge the round by itself.

Promises: a record holds nothing secret, only what its member heard from all or fetched as public; whoever has it, the
roster and the ledger needs no word of the record's maker, since everything in it is signed by whom it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from gossip.errors import MalformedMessage
from gossip.messages import (
    UNREADABLE,
    Complaint,
    Envelope,
    Piece,
    Reveal,
)
from gossip.parameters import MAX_MEMBERS
from gossip.scores import Terms
from gossip.session import RoundStart
from gossip.spec import TaskSpec
from gossip.state import RoundState
from gossip.values import SET, RoundResult, SetValue

VERSION = 1
MAX_RECORD_BYTES = 256 << 20
"""Far more than 64 members say in a round of many attempts."""

_Member = Annotated[int, msgspec.Meta(ge=0, lt=MAX_MEMBERS)]


class RoundRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One round as a member heard it.

    Attributes:
        version: of this format.
        spec: the task's, in its canonical form; its digest is on the ledger.
        start: what the round started from.
        result, signatures: how it ended, and the members that signed so.
        dealers: the set that became final, which its Commits name by digest; None if this member saw no quorum of them.
        statements: everything that was heard and verified, second versions among it.
        blamed: (member, reason) of every fault that this member found.
        missed: (phase, members) that it waited for in vain; never a fault.
        terms: what turned the opened values into scores; None where none were opened.
        reason: why a sum was refused; empty otherwise.
    """

    version: int
    spec: bytes
    start: RoundStart
    result: RoundResult
    signatures: tuple[tuple[int, bytes], ...]
    dealers: SetValue | None
    statements: tuple[Envelope, ...]
    blamed: tuple[tuple[_Member, str], ...]
    missed: tuple[tuple[str, tuple[_Member, ...]], ...]
    terms: Terms | None
    reason: str


def record_of(
    state: RoundState, start: RoundStart, spec: TaskSpec, signatures: tuple[tuple[int, bytes], ...], terms: Terms | None
) -> RoundRecord:
    """The record of a round that has settled.

    Raises:
        ValueError: it has not.
    """
    if state.result is None:
        raise ValueError(f"round {start.round} has not ended")
    final = state.agreements[SET].final
    shown = (envelope for evidence in state.blamed.values() for envelope in evidence)
    return RoundRecord(
        version=VERSION,
        spec=spec.encode(),
        start=start,
        result=state.result,
        signatures=signatures,
        dealers=None if final is None or not isinstance(final[1], SetValue) else final[1],
        statements=tuple(dict.fromkeys((*state.envelopes(), *shown))),
        blamed=tuple(sorted(state.blamed)),
        missed=tuple((phase, tuple(sorted(members))) for phase, members in state.missed.items()),
        terms=terms,
        reason="" if state.decoded is None else state.decoded[1],
    )


def evidence_of(state: RoundState) -> Iterator[bytes]:
    """Digests of the public bytes that somebody needs, beside the statements, to judge the faults that were found."""
    reasons = {reason for _, reason in state.blamed}
    for records in state.heard.values():
        for sender, heard in records.items():
            match heard.message:
                case Complaint(share=share) if share in state.payloads or sender == state.context.me:
                    yield share
                case Reveal(pieces=pieces) if "false partial sum" in reasons:
                    yield from (piece for piece in pieces if piece in state.payloads)
                case Piece(payload=payload) if "false piece of a sum" in reasons and payload in state.payloads:
                    yield payload


def encode_record(record: RoundRecord) -> bytes:
    """The record as a file holds it."""
    return msgspec.msgpack.encode(record)


def decode_record(data: bytes) -> RoundRecord:
    """The record in a file.

    Raises:
        MalformedMessage: anything else.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise MalformedMessage(f"a round's record has at most {MAX_RECORD_BYTES} bytes, found {len(data)}")
    try:
        record = msgspec.msgpack.decode(data, type=RoundRecord)
    except UNREADABLE as error:
        raise MalformedMessage(f"not a round's record: {error}") from error
    if record.version != VERSION:
        raise MalformedMessage(f"a record of version {record.version}, and this program reads {VERSION}")
    return record
