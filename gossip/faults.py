"""What no honest member says, as far as one signed message itself shows: by this anybody can judge it."""

from __future__ import annotations

from gossip import agreement
from gossip.messages import (
    AnyMessage,
    Check,
    Complaint,
    Deal,
    Freeze,
    Open,
    Piece,
    Proof,
    Propose,
    Receipt,
    Reveal,
    Sign,
    Status,
)
from gossip.results import is_signed
from gossip.state import Context
from gossip.statements import recovers, typed_data_digest


def fault_of(context: Context, sender: int, message: AnyMessage) -> str | None:
    """Why no honest member says this, as far as the message itself shows; None if one might."""
    n = context.parameters.n
    match message:
        case Open():
            return _open_fault(context, sender, message)
        case Deal() if len(message.shares) != n:
            # [REJECT] A Deal has a share for every holder
            return "dealt to another committee"
        case Deal() if message.model != context.model:
            # [REJECT] An update starts from the round's model
            return "dealt from another model"
        case Freeze():
            return _freeze_fault(context, sender, message)
        case Proof() | Receipt() | Complaint() if message.attempt >= context.parameters.max_attempts:
            # [REJECT] Nobody answers a challenge that no proposer may draw
            return "answered a challenge after the last attempt"
        case Complaint() if message.subject >= n:
            # [REJECT] A complaint is about a member
            return "complained of nobody"
        case Proof() if len(message.polynomials) != context.proof_bytes:
            # [REJECT] A Proof has a polynomial for each repetition
            return "proof of a wrong size"
        case Propose():
            return agreement.validate_propose(context, sender, message)
        case Status():
            return agreement.validate_status(context, message)
        case Reveal() if len(message.pieces) != context.pieces:
            # [REJECT] A partial sum has the pieces that this round's sums have
            return "revealed in other pieces"
        case Piece() if context.pieces == 1:
            # [REJECT] A sum of one piece is rebuilt by nobody for others
            return "rebuilt a piece of a sum that has none"
        case Check() if any(index >= n for index, _, _ in message.answers):
            # [REJECT] A Check answers for members' pieces
            return "answered for nobody's piece"
        case Sign():
            signed = typed_data_digest(context.domain, message.result)
            # [REJECT] A result's signature is its sender's
            if not recovers(signed, message.signature, context.signers[sender]):
                return "false signature of a result"
        case _:
            pass
    return None


def _open_fault(context: Context, sender: int, opened: Open) -> str | None:
    # [REJECT] A round opens on the model of the round before it
    if opened.model != context.model:
        return "opened on another model"
    # [REJECT] A round opens on the result of the round before it
    if opened.previous != context.previous:
        return "opened on another result"
    # [REJECT] An Open tells the rewards that this result commits to
    if opened.cumulative != context.cumulative:
        return "opened with other rewards"
    # [REJECT] An Open tells the abandoned rounds before this result
    if opened.history != context.history:
        return "opened with another history"
    # [REJECT] Each member opens in its own turn
    if opened.attempt != context.rank(sender):
        return "opened out of turn"
    # [REJECT] An Open shows the quorum's signatures, so that whoever was away can believe it
    if opened.previous is not None and not is_signed(
        context.before, context.domain, opened.previous, opened.signatures
    ):
        return "opened without the signatures of a quorum"
    return None


def _freeze_fault(context: Context, sender: int, freeze: Freeze) -> str | None:
    # [REJECT] Only the attempt's proposer freezes
    if sender != context.proposer(freeze.attempt):
        return "froze out of turn"
    # [REJECT] A challenge is drawn only while there are masks
    if freeze.attempt >= context.parameters.max_attempts:
        return "froze after the last attempt"
    # [REJECT] A Freeze names A_min dealers
    if len(freeze.deals) < context.parameters.min_dealers:
        return "froze too few deals"
    # [REJECT] A Freeze names dealers of the committee
    if any(dealer >= context.parameters.n for dealer, _ in freeze.deals):
        return "froze the deal of nobody"
    return None
