"""The faults that a round's public statements show to anybody, judged again from nothing but what was signed.

Promises: no member is held to have done what its own signed statements, or the true sum and scores that 2t + k (and
2t + 2k - 1) members' statements fix, do not show; so that an auditor need not believe whoever blames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from gossip import pieces, proofs, scores, shamir
from gossip.chunks import decode_words
from gossip.codeword import agree_on_sum
from gossip.errors import BadSignature, MalformedMessage
from gossip.faults import fault_of
from gossip.field import Words
from gossip.layout import Layout
from gossip.messages import (
    AnyMessage,
    Check,
    Complaint,
    Deal,
    Envelope,
    Freeze,
    Piece,
    Proof,
    Reveal,
    Score,
    decode_message,
    message_digest,
    verify_envelope,
)
from gossip.pieces import decode_answers
from gossip.spec import blob_digest
from gossip.state import Context, Record

Fault = tuple[int, str]
"""(member, reason), with the reasons that `Blame` has."""

FindBlob = Callable[[bytes], bytes | memoryview | None]
"""Public bytes by their digest, if they are at hand; they are compared with it here."""

_M = TypeVar("_M", bound=AnyMessage)


@dataclass(frozen=True)
class Evidence:
    """Verified statements of one round, and what can be judged by them.

    Attributes:
        excluded: members proven false whose statements are not among these: so many fewer have to agree, or may be
            wrong.
    """

    context: Context
    layout: Layout
    statements: tuple[Record, ...]
    find_blob: FindBlob
    excluded: int = 0

    @classmethod
    def of(cls, context: Context, layout: Layout, envelopes: Iterable[Envelope], find_blob: FindBlob) -> Evidence:
        """By those envelopes that are genuine statements of this round."""
        found = (verified(context, envelope) for envelope in envelopes)
        return cls(context, layout, tuple(record for record in found if record is not None), find_blob)

    def all(self, kind: type[_M]) -> Iterator[tuple[int, _M, bytes]]:
        """(sender, message, digest) of every statement of a kind."""
        for record in self.statements:
            if isinstance(record.message, kind):
                yield record.envelope.sender, record.message, record.digest

    def faults(self, value: bytes | None, random: bytes) -> frozenset[Fault]:
        """Everything that is shown; `value` is the digest of the final set, `random` 32 fresh bytes of the judge's."""
        shown = self._signed | frozenset(self._by_complaints())
        if value is None:
            return shown
        for part in (self.of_others(), *self._one_by_one()):
            shown = shown.union(part._by_sums(value, random), part._by_pieces(value), part._by_answers())
        return shown

    def of_others(self, extra: tuple[Record, ...] = ()) -> Evidence:
        """What members say that are not proven false, who are as many fewer to be false; and `extra` beside it."""
        others = tuple(record for record in self.statements if record.envelope.sender not in self.proven)
        # A piece is judged by what the others answer, and is no answer itself.
        answers = [record for record in extra if not isinstance(record.message, Piece)]
        return replace(self, statements=(*others, *extra), excluded=len(self.proven) - len(answers))

    def _one_by_one(self) -> Iterator[Evidence]:
        """Each thing that a member proven false revealed, among what the others say: it may have several versions."""
        for record in self.statements:
            if record.envelope.sender in self.proven and isinstance(record.message, Reveal | Piece | Check | Score):
                yield self.of_others((record,))

    @property
    def proven(self) -> frozenset[int]:
        """Members that their own signatures prove false: what they reveal does not count."""
        return frozenset(member for member, _ in self._signed)

    @cached_property
    def _signed(self) -> frozenset[Fault]:
        return frozenset(self._by_signature())

    def _by_signature(self) -> Iterator[Fault]:
        """Two versions of one statement, or one that no honest member makes."""
        first: dict[tuple[object, ...], bytes] = {}
        for record in self.statements:
            sender = record.envelope.sender
            if first.setdefault((sender, *record.message.key), record.digest) != record.digest:
                yield sender, "equivocation"
            reason = fault_of(self.context, sender, record.message)
            if reason is not None:
                yield sender, reason

    # --- complaints -------------------------------------------------------------------------------------------------

    def _by_complaints(self) -> Iterator[Fault]:
        freezes = {name: freeze for _, freeze, name in self.all(Freeze)}
        deals = {(dealer, name): deal for dealer, deal, name in self.all(Deal)}
        answers = {(dealer, name): proof for dealer, proof, name in self.all(Proof)}
        for holder, complaint, _ in self.all(Complaint):
            freeze = freezes.get(complaint.freeze)
            deal_digest = None if freeze is None else dict(freeze.deals).get(complaint.subject)
            deal = None if deal_digest is None else deals.get((complaint.subject, deal_digest))
            proof = answers.get((complaint.subject, complaint.proof))
            if deal is None or proof is None or (proof.attempt, proof.freeze) != (complaint.attempt, complaint.freeze):
                continue
            if complaint.share != deal.shares[holder]:
                yield holder, "complaint about a share that was never dealt"
                continue
            blob = self._blob(complaint.share)
            if blob is not None:
                agrees = self._agrees(blob, complaint.subject, holder, proof)
                yield (holder, "false complaint") if agrees else (complaint.subject, "share contradicts its proof")

    def _agrees(self, blob: bytes | memoryview, dealer: int, holder: int, proof: Proof) -> bool:
        try:
            share = shamir.read_blob(blob, self.layout, dealer, holder)
            return proofs.check_share(share, proof.polynomials, proof.freeze, proof.attempt, self.layout, holder)
        except MalformedMessage:
            return False

    # --- sums and scores --------------------------------------------------------------------------------------------

    def _by_sums(self, value: bytes, random: bytes) -> Iterator[Fault]:
        revealed = {i: r.pieces for i, r, _ in self.all(Reveal) if r.value == value}
        for index in range(self.layout.pieces):
            blocks = _length(self.layout.piece(index))
            sums: dict[int, Words] = {}
            for holder, names in revealed.items():
                blob = self._blob(names[index])
                if blob is None:
                    continue
                try:
                    sums[holder] = decode_words(blob, blocks)
                except MalformedMessage:
                    yield holder, "false partial sum"
            agreement = agree_on_sum(sums, self.layout, random, blocks, self.excluded)
            for holder in () if agreement is None else agreement.wrong:
                yield holder, "false partial sum"

    def _by_pieces(self, value: bytes) -> Iterator[Fault]:
        given: dict[tuple[int, bytes], list[tuple[int, bytes]]] = {}
        for holder, check, _ in self.all(Check):
            for index, payload, words in check.answers if check.value == value else ():
                given.setdefault((index, payload), []).append((holder, words))
        for index, piece, _ in self.all(Piece):
            if piece.value == value and index < self.layout.pieces:
                yield from self._by_piece(value, index, piece.payload, given.get((index, piece.payload), []))

    def _by_piece(
        self, value: bytes, index: int, payload: bytes, given: Sequence[tuple[int, bytes]]
    ) -> Iterator[Fault]:
        answers, malformed = decode_answers(given)
        yield from ((holder, "false check of a sum") for holder in malformed)
        blocks = _length(self.layout.piece(index))
        blob = self._blob(payload)
        words = np.zeros(blocks * self.layout.parameters.pack_size, dtype=np.uint32)
        is_readable = True
        try:
            words = words if blob is None else decode_words(blob, len(words))
        except MalformedMessage:
            is_readable = False
        combination = pieces.challenge(value, index, payload, blocks)
        found = pieces.judge(words, answers, combination, self.layout, self.excluded)
        if found is None:
            return
        is_true, agreement = found
        yield from ((holder, "false check of a sum") for holder in agreement.wrong)
        if blob is not None and not (is_true and is_readable):
            yield index, "false piece of a sum"

    def _by_answers(self) -> Iterator[Fault]:
        if self.context.scored is None:
            return
        _, dealers = self.context.scored
        for answers in self._score_answers().values():
            _, wrong = scores.open_scores(answers, dealers, self.context.parameters, self.excluded)
            yield from ((holder, "false score answer") for holder in wrong)

    def opened_scores(self) -> dict[int, int] | None:
        """<v, x_i> of every scored dealer, along the one direction that enough holders answered along."""
        dealers = frozenset[int]() if self.context.scored is None else self.context.scored[1]
        for answers in self._score_answers().values():
            opened, _ = scores.open_scores(answers, dealers, self.context.parameters, self.excluded)
            if opened is not None:
                return opened
        return None

    def _score_answers(self) -> dict[bytes, dict[int, Mapping[int, int]]]:
        """By direction, what each holder answered along it."""
        answers: dict[bytes, dict[int, Mapping[int, int]]] = {}
        for holder, score, _ in self.all(Score):
            if self.context.scored is not None and score.scored == self.context.scored[0]:
                answers.setdefault(score.direction, {})[holder] = dict(score.answers)
        return answers

    def _blob(self, name: bytes) -> bytes | memoryview | None:
        blob = self.find_blob(name)
        return blob if blob is not None and blob_digest(blob) == name else None


def verified(context: Context, envelope: Envelope) -> Record | None:
    """The statement in an envelope, if its alleged sender made it in this round and roster."""
    try:
        message = decode_message(envelope.body)
        genuine = verify_envelope(envelope, message, context.domain, context.signers)
    except (MalformedMessage, BadSignature):
        return None
    is_of_round = (message.config, message.round) == (context.config, context.round)
    return Record(message, envelope, message_digest(envelope.body)) if genuine and is_of_round else None


def _length(part: slice) -> int:
    return int(part.stop - part.start)
