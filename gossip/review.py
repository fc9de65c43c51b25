"""One round judged from the records that members publish of it, with the roster and the ledger's word for the rest.

Promises: what is found true here follows from signatures alone: the set was agreed by a quorum, each of its dealers
dealt and proved, enough holders could answer for it, the scores are those that the holders' answers open, and every
fault that a member is blamed for is shown.  What the records do not hold is said to be missing, and never assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gossip import scores
from gossip.evidence import Evidence, Fault, FindBlob
from gossip.layout import Layout
from gossip.messages import (
    Commit,
    Deal,
    Proof,
    Receipt,
)
from gossip.pace import Pace
from gossip.record import RoundRecord
from gossip.results import is_history, is_signed, result_digest
from gossip.session import Conduct, Identity, context_of
from gossip.values import (
    SET,
    SETTLED,
    SetValue,
    value_digest,
)

_WEI_BYTES = 16
_UNBOUND = "it does not begin where the round before it ended"


@dataclass(frozen=True, slots=True)
class Review:
    """What the records of one round show.

    Attributes:
        findings: one sentence each; none if everything fits.
        faults: (member, reason) that the statements show, whether somebody blamed the member or not.
        missed: (phase, members) that somebody waited for in vain: what they withheld is no fault.
        deals: (dealer, digest of its Deal) of the final set; None where the records hold no certificate of it.
        statements: how many signed statements were judged.
        scores: how many scores were opened again.
    """

    findings: tuple[str, ...]
    faults: frozenset[Fault]
    missed: frozenset[tuple[str, tuple[int, ...]]]
    deals: tuple[tuple[int, bytes], ...] | None
    statements: int
    scores: int


def review(records: Sequence[RoundRecord], identity: Identity, find_blob: FindBlob, random: bytes) -> Review:
    """Judge the records that members published of one round, all of which ended with one result.

    `identity` says who the members are; it is asked to sign nothing.  `random` is 32 bytes drawn now.
    """
    bound = [record for record in records if _is_bound(record, identity)]
    if not bound:
        # By another beginning, what honest members said in this round would look like a fault.
        missed = frozenset(miss for each in records for miss in each.missed)
        return Review((_UNBOUND,), frozenset(), missed, None, 0, 0)
    record = bound[0]
    context = context_of(identity, record.start, Conduct(), Pace())
    layout = Layout.for_round(identity.parameters, identity.spec, record.start.round)
    envelopes = dict.fromkeys(envelope for each in records for envelope in each.statements)
    evidence = Evidence.of(context, layout, envelopes, find_blob)
    value = _final_set(evidence, records)
    faults = evidence.faults(None if value is None else value_digest(value), random)
    blamed = {blame for each in records for blame in each.blamed}
    findings = [
        *_of_beginning(records, bound, identity),
        *_of_statements(len(envelopes), len(evidence.statements)),
        *_of_set(evidence, value, record),
        *_of_scores(evidence, records, identity),
        *(
            f"member {member} is blamed for what no statement shows: {reason}"
            for member, reason in sorted(blamed - faults)
        ),
    ]
    opened = 0 if record.result.scores is None else len(record.result.scores)
    missed = frozenset(miss for each in records for miss in each.missed)
    deals = None if value is None else value.deals
    return Review(tuple(findings), faults, missed, deals, len(evidence.statements), opened)


def _is_bound(record: RoundRecord, identity: Identity) -> bool:
    """Whether everything in the record's beginning follows from its result, which the ledger holds."""
    start, result, size = record.start, record.result, len(identity.committee.signers)
    if start.previous is None:
        before, model, told = (
            bytes(32),
            bytes.fromhex(identity.spec.initial_model),
            start.cumulative == (bytes(_WEI_BYTES),) * size,
        )
    else:
        before, model = result_digest(start.previous), start.previous.model
        # Another encoding of the same number would make every honest Open look false.
        is_exact = all(len(wei) == _WEI_BYTES for wei in start.cumulative)
        told = is_exact and identity.rewards_root(start.cumulative) == start.previous.rewards
    is_next = (start.round, before, start.model) == (result.round, result.previous, model)
    return is_next and told and is_history(start.previous, start.history)


def _of_beginning(records: Sequence[RoundRecord], bound: Sequence[RoundRecord], identity: Identity) -> Iterator[str]:
    if len(bound) < len(records):
        yield _UNBOUND
    committee = identity.committee
    for record in records:
        members = [member for member, _ in record.signatures]
        if members != sorted(set(members)) or not is_signed(
            committee, identity.domain, record.result, record.signatures
        ):
            yield "its result lacks the signatures of a quorum"
            return


def _of_statements(count: int, genuine: int) -> Iterator[str]:
    if genuine < count:
        yield f"{count - genuine} of {count} statements are not of this round and signed by their senders"


def _final_set(evidence: Evidence, records: Sequence[RoundRecord]) -> SetValue | None:
    """The dealer set that a quorum committed to, as far as the records hold it."""
    values = {value_digest(record.dealers): record.dealers for record in records if record.dealers is not None}
    votes: dict[tuple[int, bytes], set[int]] = {}
    for member, commit, _ in evidence.all(Commit):
        if commit.subject == SET:
            votes.setdefault((commit.attempt, commit.value), set()).add(member)
    quorum = evidence.context.parameters.quorum
    final = (values.get(name) for (_, name), members in sorted(votes.items()) if len(members) >= quorum)
    return next(final, None)


def _of_set(evidence: Evidence, value: SetValue | None, record: RoundRecord) -> Iterator[str]:
    if value is None:
        if record.result.outcome == SETTLED:
            yield "it does not hold the Commits of a quorum for the dealer set; another member's record may"
        return
    if record.result.outcome == SETTLED and evidence.context.committee.bitmap(value.dealers) != record.result.dealers:
        yield "its result names other dealers than the set that a quorum committed to"
    deals = {(dealer, name) for dealer, _, name in evidence.all(Deal)}
    proved = {(dealer, name) for dealer, _, name in evidence.all(Proof)}
    receipts = {(holder, name): receipt for holder, receipt, name in evidence.all(Receipt)}
    for dealer, name in value.deals:
        if (dealer, name) not in deals:
            yield f"it does not hold the Deal of member {dealer}"
    for dealer, name in value.proofs:
        if (dealer, name) not in proved:
            yield f"it does not hold the Proof of member {dealer}"
    covering = [r for r in (receipts.get(named) for named in value.receipts) if r is not None]
    covering = [receipt for receipt in covering if set(value.proofs) <= set(receipt.proofs)]
    needed = 0 if value.is_empty else evidence.context.parameters.min_holders
    if len(covering) < needed:
        yield f"it holds {len(covering)} Receipts that cover the dealer set, and {needed} are needed"


def _of_scores(evidence: Evidence, records: Sequence[RoundRecord], identity: Identity) -> Iterator[str]:
    claimed, scored = records[0].result.scores, evidence.context.scored
    if claimed is None:
        return
    terms = {each.terms for each in records if each.terms is not None}
    if scored is None or len(terms) != 1:
        yield f"its result has scores, and the records give {len(terms)} versions of what these follow from, not one"
        return
    opened = evidence.of_others().opened_scores()
    if opened is None:
        yield "it does not hold the answers of enough holders to open its scores again"
        return
    found = scores.scores_of(opened, terms.pop(), identity.spec, scored[0], evidence.context.parameters.n)
    if identity.committee.by_index(found, 0) != claimed:
        yield f"its scores are not those that the holders' answers open: it says {claimed}, and these give {found}"
