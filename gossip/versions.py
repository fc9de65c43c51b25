"""Second versions: what a member with two faces said to others, where these go by it.

A member acts on the first version of each statement that it hears, and shows both as evidence.  Others may have heard
the versions in another order, and go on: promises that whoever was shown the wrong version can follow them.  Bounded:
a second version is kept only if a Freeze, a set, or the votes of t + 1 members name it, and these are bounded.

A second version of a Reveal, Check or Score is not kept: its sender is proven false and left out, and as fewer of the
others may then be false, fewer have to agree.
"""

from __future__ import annotations

from collections.abc import Iterator

from gossip.messages import (
    Commit,
    Confirm,
    Deal,
    Freeze,
    Proof,
    Propose,
    Receipt,
)
from gossip.state import Record, RoundState, Turn
from gossip.statements import Kind
from gossip.values import SetValue, value_digest


def is_relied_upon(state: RoundState, record: Record) -> bool:
    """Whether others go by this statement, of which this member may have heard another version first."""
    name = (record.envelope.sender, record.digest)
    match record.message:
        case Propose(attempt=attempt, subject=subject, value=value):
            name_of_value = value_digest(value)
            return name_of_value not in state.values and _is_voted_for(state, attempt, subject, name_of_value)
        case (
            Confirm(attempt=attempt, subject=subject, value=value)
            | Commit(attempt=attempt, subject=subject, value=value)
        ):
            is_new = all((other.envelope.sender, other.digest) != name for other in state.second_votes)
            return is_new and _is_voted_for(state, attempt, subject, value)
        case Deal():
            # [RULE] Others go by a second Deal that a Freeze or a set names
            return name not in state.by_digest and any(name in deals for deals in _named_deals(state))
        case Proof():
            # [RULE] Others go by a second Proof that a set names
            return name not in state.by_digest and any(name in value.proofs for value in _sets(state))
        case Receipt():
            # [RULE] Others go by a second Receipt that a set names
            return name not in state.by_digest and any(name in value.receipts for value in _sets(state))
    return False


def keep(turn: Turn, record: Record) -> None:
    """Keep what a second version says beside the first."""
    if isinstance(record.message, Propose):
        turn.learn_value(record.message.value)
    else:
        turn.keep_version(record)


def _is_voted_for(state: RoundState, attempt: int, subject: int, value: bytes) -> bool:
    """Whether others go by a value."""
    for kind in (Kind.CONFIRM, Kind.COMMIT):
        votes = ((r.envelope.sender, r.message) for r in state.votes(kind, attempt, subject))
        agree = {sender for sender, vote in votes if isinstance(vote, Confirm | Commit) and vote.value == value}
        # [RULE] Others go by a value once t + 1 members, so an honest one among them, vote for it
        if len(agree) <= state.context.parameters.privacy_threshold:
            continue
        return True
    return False


def _named_deals(state: RoundState) -> Iterator[tuple[tuple[int, bytes], ...]]:
    for (kind, _, _), records in state.heard.items():
        if kind is Kind.FREEZE:
            for record in records.values():
                if isinstance(record.message, Freeze):
                    yield record.message.deals
    for value in _sets(state):
        yield value.deals


def _sets(state: RoundState) -> Iterator[SetValue]:
    return (value for value in state.values.values() if isinstance(value, SetValue))
