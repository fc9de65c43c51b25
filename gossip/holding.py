"""The shares that a holder was given: whether each agrees with its dealer's Proof, and what follows if not.

Promises: a share is used only if it agrees with the Proof in question; a dealer whose share contradicts its Proof is
named with that share as evidence, and nobody else ever is.
"""

from __future__ import annotations

from gossip.events import CheckComplaint, CheckShare, FetchPayload, FetchShare
from gossip.messages import (
    Complaint,
    Deal,
    Envelope,
    Freeze,
    Proof,
)
from gossip.state import Record, Turn
from gossip.statements import Kind
from gossip.values import SetValue


def freeze_of(turn: Turn, attempt: int) -> tuple[Freeze, bytes] | None:
    """The attempt's Freeze and its digest, if heard."""
    return turn.get(Freeze, turn.context.proposer(attempt), attempt)


def proof_answering(turn: Turn, dealer: int, attempt: int, challenge: bytes) -> tuple[Proof, bytes] | None:
    """The dealer's Proof of an attempt and its digest, if it was heard and answers this Freeze."""
    found = turn.get(Proof, dealer, attempt)
    # [IGNORE] A Proof that answers another Freeze than was heard is not judged
    if found is not None and found[0].freeze != challenge:
        return None
    return found


def check_share(turn: Turn, dealer: int, deal_digest: bytes, proof: tuple[Proof, bytes] | None) -> bool:
    """Have this member's share of a dealing compared with a Proof; whether they are known to agree."""
    share = own_share_digest(turn, dealer, deal_digest)
    if share is None:
        return False
    # [RULE] A share that does not match the Deal has not arrived: it is asked for again and never shown
    if share not in turn.state.shares.get(dealer, frozenset()):
        turn.fetch(FetchShare(dealer, share))
        return False
    if proof is None:
        return False
    message, name = proof
    agrees = turn.state.checked.get((dealer, share, name))
    if agrees is None:
        turn.work(CheckShare(message.attempt, dealer, share, name, message.freeze, message.polynomials))
    # [RULE] A member adds up, and answers scores from, only shares that agree with the Proofs that the set names
    return agrees is True


def checked_shares(turn: Turn, dealers: SetValue) -> tuple[tuple[int, bytes], ...] | None:
    """(dealer, digest of this member's share) over a set, once each agrees with the Proof that the set names."""
    agree = []
    for (dealer, deal_digest), (_, name) in zip(dealers.deals, dealers.proofs, strict=True):
        proof = turn.find(Proof, dealer, name)
        agree.append(check_share(turn, dealer, deal_digest, None if proof is None else (proof, name)))
    if not all(agree):
        return None
    shares = ((dealer, own_share_digest(turn, dealer, deal_digest)) for dealer, deal_digest in dealers.deals)
    return tuple((dealer, share) for dealer, share in shares if share is not None)


def own_share_digest(turn: Turn, dealer: int, deal_digest: bytes) -> bytes | None:
    """Digest of this member's share of a dealing, if the Deal with that digest is known."""
    deal = turn.find(Deal, dealer, deal_digest)
    return None if deal is None else deal.shares[turn.context.me]


def note_check(turn: Turn, dealer: int, share: bytes, name: bytes, agrees: bool) -> None:
    """Remember whether a share agrees with a Proof; publish it if it contradicts it."""
    turn.state.checked[dealer, share, name] = agrees
    context, proof = turn.context, turn.find(Proof, dealer, name)
    if agrees or proof is None:
        return
    turn.say(Complaint(context.config, context.round, proof.attempt, dealer, proof.freeze, name, share))
    judge_complaint(turn, proof.attempt, context.me, dealer, justified=True)


def check_complaints(turn: Turn) -> None:
    """Have every complaint judged whose Freeze, Deal and Proof are known, in whichever attempt it was made."""
    for _, attempt, dealer in sorted(key for key in turn.state.heard if key[0] is Kind.COMPLAINT):
        found = freeze_of(turn, attempt)
        deal_digest = None if found is None else dict(found[0].deals).get(dealer)
        deal = None if deal_digest is None else turn.find(Deal, dealer, deal_digest)
        if found is None or deal is None:
            continue
        for holder, complaint in turn.all(Complaint, attempt, dealer).items():
            if holder == turn.context.me:
                continue
            # [IGNORE] A complaint under another Freeze than was heard is not judged: it may be about another Deal
            if complaint.freeze != found[1]:
                continue
            _check_complaint(turn, holder, complaint, deal)


def _check_complaint(turn: Turn, holder: int, complaint: Complaint, deal: Deal) -> None:
    attempt, dealer, share = complaint.attempt, complaint.subject, complaint.share
    proof = turn.find(Proof, dealer, complaint.proof)
    if proof is None:
        return
    # [IGNORE] A complaint is about a Proof that answers its Freeze: under another challenge no true share agrees
    if proof.freeze != complaint.freeze:
        return
    # [IGNORE] A complaint is about a Proof of its attempt: under another one's mask no true share agrees
    if proof.attempt != attempt:
        return
    # [REJECT] A complaint shows the very share that its dealer announced
    if share != deal.shares[holder]:
        record = turn.state.records(Kind.COMPLAINT, attempt, dealer)[holder]
        turn.blame(holder, "complaint about a share that was never dealt", record.envelope)
    elif share not in turn.state.payloads:
        turn.fetch(FetchPayload(holder, share, "share", dealer))
    else:
        turn.work(CheckComplaint(attempt, holder, dealer, share, complaint.freeze, proof.polynomials))


def judge_complaint(turn: Turn, attempt: int, holder: int, dealer: int, justified: bool) -> None:
    """Name the dealer, or whoever complained falsely."""
    complaint = turn.state.records(Kind.COMPLAINT, attempt, dealer).get(holder)
    if complaint is None:
        return
    if not justified:
        turn.blame(holder, "false complaint", complaint.envelope)
        return
    turn.state.false_dealers |= {dealer}
    turn.blame(dealer, "share contradicts its proof", *_versions_of(turn, complaint), complaint.envelope)


def _versions_of(turn: Turn, complaint: Record) -> list[Envelope]:
    """The Deal and the Proof that a complaint is about."""
    about = complaint.message
    if not isinstance(about, Complaint):
        return []
    records = [record for (sender, _), record in turn.state.by_digest.items() if sender == about.subject]
    holder = complaint.envelope.sender
    return [
        record.envelope
        for record in records
        if record.digest == about.proof
        or (isinstance(record.message, Deal) and record.message.shares[holder] == about.share)
    ]
