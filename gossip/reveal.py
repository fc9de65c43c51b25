"""REVEAL: from shares that were checked to the sum over the final set.

Promises: a partial sum is published once a round, and only after a quorum of Commits; a piece of the sum counts when
2t + k partial sums agree on it, or on what another member rebuilt; who made a false sum, piece or answer is named.

A small sum is one piece, which every member rebuilds for itself from no more partial sums than it needs.  Of a large
one each member rebuilds its own piece and publishes it (Piece), every holder answers the challenges that these pieces
set (Check), and who has checked a piece serves it on.  A piece that does not come, or is false, each member rebuilds
for itself.
"""

from __future__ import annotations

from gossip.events import AnswerChecks, Assemble, CheckPiece, FetchPayload, PieceChecked, Rebuild, Rebuilt, SumShares
from gossip.holding import check_complaints, checked_shares
from gossip.messages import Check, Piece, Reveal
from gossip.state import Turn
from gossip.statements import Kind
from gossip.values import SetValue, value_digest


def start_waits(turn: Turn) -> None:
    """Parts of the time for revealing: for the nearest holders, for rebuilt pieces, and for these to be checked."""
    seconds = turn.context.timing.reveal_seconds
    for name, part in (("sums", 0.25), ("pieces", 0.5), ("checks", 0.625), ("reveal", 1.0)):
        turn.wait(name, seconds * part)


def run(turn: Turn, dealers: SetValue) -> None:
    """Apply the rules that lead to the sum over a final set."""
    _reveal(turn, dealers)
    check_complaints(turn)
    name = value_digest(dealers)
    for index in _own_work(turn):
        _rebuild(turn, name, index)
    if turn.context.pieces > 1:
        _publish_own_piece(turn, name)
        _answer_checks(turn, name)
        _check_pieces(turn, name)
    rebuilt = turn.state.rebuilt
    if len(rebuilt) == turn.context.pieces:
        turn.work(Assemble(dealers.dealers, tuple(rebuilt[index] for index in range(turn.context.pieces))))


def revealed(turn: Turn, name: bytes) -> dict[int, tuple[bytes, ...]]:
    """Digests of the pieces of every holder's partial sum over the set with this digest; not of those proven false."""
    found = {}
    for holder, reveal in turn.all(Reveal).items():
        # [IGNORE] A partial sum that counts is over the final set
        if reveal.value != name:
            continue
        # [IGNORE] What a member proven false revealed counts for nothing
        if holder in turn.proven:
            continue
        found[holder] = reveal.pieces
    return found


# --- the own partial sum, and what is rebuilt from the others' -----------------------------------------------------


def _reveal(turn: Turn, dealers: SetValue) -> None:
    if turn.has_said(Kind.REVEAL):
        return
    context = turn.context
    if turn.state.own_sum is not None:
        turn.say(Reveal(context.config, context.round, value_digest(dealers), turn.state.own_sum))
        return
    shares = checked_shares(turn, dealers)
    if shares is not None:
        turn.work(SumShares(shares))


def _own_work(turn: Turn) -> list[int]:
    """Pieces that this member rebuilds itself: its own, and those that nobody else gives it."""
    context, state = turn.context, turn.state
    everything = context.pieces == 1 or turn.fired("checks")
    own = {context.me} | state.down | state.false_pieces | turn.proven
    return [i for i in range(context.pieces) if i not in state.rebuilt and (everything or i in own)]


def _rebuild(turn: Turn, name: bytes, index: int) -> None:
    context, state = turn.context, turn.state
    sums = {holder: pieces[index] for holder, pieces in revealed(turn, name).items()}
    wants_all = turn.fired("sums") or index in state.undecided
    for holder in sums if wants_all else _nearest(turn):
        if holder in sums:
            _fetch(turn, holder, sums[holder], "sum", index)
    here = tuple(sorted((holder, payload) for holder, payload in sums.items() if payload in state.payloads))
    excluded = len(turn.proven)
    if len(here) >= context.parameters.agreeing_sums - excluded:
        turn.work(Rebuild(index, here, excluded))


def _nearest(turn: Turn) -> list[int]:
    """As many holders as a sum needs, this member first: each is asked by as many, so that all upload the same."""
    n = turn.context.parameters.n
    order = sorted(turn.expected - turn.proven, key=lambda holder: (holder - turn.context.me) % n)
    return order[: turn.context.parameters.agreeing_sums]


def _fetch(turn: Turn, holder: int, payload: bytes, what: str, index: int) -> None:
    if payload not in turn.state.payloads:
        turn.fetch(FetchPayload(holder, payload, what, index))


def note_rebuilt(turn: Turn, event: Rebuilt) -> None:
    """Remember a piece that this member rebuilt, and name those whose partial sums are false."""
    for holder in event.wrong:
        record = turn.state.records(Kind.REVEAL).get(holder)
        turn.blame(holder, "false partial sum", *([record.envelope] if record else []))
    if event.payload is None:
        turn.state.undecided |= {event.index}
    else:
        turn.state.rebuilt.setdefault(event.index, event.payload)
        turn.state.payloads |= {event.payload}


# --- what the members rebuild for each other ------------------------------------------------------------------------


def _publish_own_piece(turn: Turn, name: bytes) -> None:
    context = turn.context
    payload = turn.state.rebuilt.get(context.me)
    if payload is not None:
        turn.say(Piece(context.config, context.round, name, payload))


def _pieces(turn: Turn, name: bytes) -> dict[int, bytes]:
    found = {}
    for index, piece in turn.all(Piece).items():
        # [IGNORE] A rebuilt piece that counts is of the sum over the final set
        if piece.value != name:
            continue
        found[index] = piece.payload
    return found


def _answer_checks(turn: Turn, name: bytes) -> None:
    context, own = turn.context, turn.state.own_sum
    if own is None or turn.has_said(Kind.CHECK):
        return
    if turn.state.own_checks is not None:
        turn.say(Check(context.config, context.round, name, turn.state.own_checks))
        return
    pieces = _pieces(turn, name)
    if turn.expected <= frozenset(pieces) or turn.fired("pieces"):
        turn.work(AnswerChecks(name, own, tuple(sorted(pieces.items()))))


def _answers(turn: Turn, name: bytes) -> dict[tuple[int, bytes], list[tuple[int, bytes]]]:
    """By piece and its digest, what each holder answered."""
    answers: dict[tuple[int, bytes], list[tuple[int, bytes]]] = {}
    for holder, check in sorted(turn.all(Check).items()):
        # [IGNORE] An answer that counts is of a partial sum over the final set
        if check.value != name:
            continue
        # [IGNORE] What a member proven false answered counts for nothing
        if holder in turn.proven:
            continue
        for index, payload, words in check.answers:
            answers.setdefault((index, payload), []).append((holder, words))
    return answers


def _check_pieces(turn: Turn, name: bytes) -> None:
    answers, excluded = _answers(turn, name), len(turn.proven)
    for index, payload in _pieces(turn, name).items():
        if index in turn.state.rebuilt or index in turn.state.false_pieces:
            continue
        _fetch(turn, index, payload, "piece", index)
        given = answers.get((index, payload), [])
        if payload in turn.state.payloads and len(given) >= turn.context.parameters.agreeing_sums - excluded:
            turn.work(CheckPiece(name, index, payload, tuple(given), excluded))


def note_checked(turn: Turn, event: PieceChecked) -> None:
    """Take a piece that is true; name whoever rebuilt a false one or answered falsely."""
    for holder in event.wrong:
        record = turn.state.records(Kind.CHECK).get(holder)
        turn.blame(holder, "false check of a sum", *([record.envelope] if record else []))
    # [RULE] A piece that contradicts the holders' answers is not taken, and is its maker's fault
    if not event.is_true:
        record = turn.state.records(Kind.PIECE).get(event.index)
        turn.blame(event.index, "false piece of a sum", *([record.envelope] if record else []))
        turn.state.false_pieces |= {event.index}
        return
    turn.state.rebuilt.setdefault(event.index, event.payload)
