"""The work on vectors that a round asks for: dealing, checking, adding up, decoding, scoring, composing results.

One workshop serves one member; a real node calls it from a worker thread, the simulator directly.  It promises that
what must not happen twice does not: a round's update is dealt once, from a payload and a seed that were stored before
any share left, and shares are made again from these, byte for byte, whenever they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from gossip import codeword, pieces, proofs, quantise, scores, shamir
from gossip.chunks import WORD_BYTES, decode_words, encode_words
from gossip.errors import MalformedMessage
from gossip.events import (
    AnswerChecks,
    Answered,
    AnswerScores,
    Assemble,
    CheckComplaint,
    CheckPiece,
    ChecksAnswered,
    CheckShare,
    ComplaintChecked,
    Compose,
    Composed,
    Deal,
    Dealt,
    Decoded,
    Event,
    OpenScores,
    PayloadArrived,
    PieceChecked,
    Prove,
    Proved,
    Rebuild,
    Rebuilt,
    ShareArrived,
    ShareChecked,
    Summed,
    SumShares,
    Work,
)
from gossip.layout import Layout
from gossip.messages import MAX_HISTORY, Open
from gossip.results import result_digest
from gossip.session import Identity, RoundStart
from gossip.spec import blob_digest
from gossip.values import ABANDONED, SETTLED, RoundResult
from ledger import rewards
from ledger.types import VaultTerms
from node.contribution import Learner, PublicSums
from node.scorer import Scorer

Words = NDArray[np.uint32]

_SEED_BYTES = 32
_OWN_DEALING = "own dealing"
_HELD_SHARES = "held shares"


class MissingModel(Exception):
    """The model file that a round starts from is not here; fetch it by its digest first."""

    def __init__(self, model: bytes) -> None:
        super().__init__(f"the model file {model.hex()} is not in the store")
        self.model = model


@dataclass(frozen=True, slots=True)
class Share:
    """A share on its way to its holder, made piece by piece whenever it is sent.

    Attributes:
        name: digest of its bytes.
        size: of all of it, in bytes.
        chunks: makes the pieces, the same each time; safe in any thread.
    """

    holder: int
    name: bytes
    size: int
    chunks: Callable[[], Iterator[bytes]]

    def data(self) -> bytes:
        """All of it at once."""
        return b"".join(self.chunks())


class Blobs(Protocol):
    """Bytes by their digest, and secrets that no digest leads to; both forgotten two rounds later."""

    def put(self, name: bytes, round_id: int, data: bytes) -> None:
        """Store durably."""

    def get(self, name: bytes) -> bytes | memoryview | None:
        """What is stored, if it is; of what is large a view."""

    def put_secret(self, what: str, round_id: int, data: bytes) -> None:
        """Store durably what never leaves this member."""

    def get_secret(self, what: str, round_id: int) -> bytes | None:
        """The secret, if it is stored."""


class Workshop:
    """Performs a round's work for one member; blocking, one call at a time."""

    def __init__(
        self,
        identity: Identity,
        learner: Learner,
        blobs: Blobs,
        terms: VaultTerms,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.identity = identity
        self.learner = learner
        self.blobs = blobs
        self.terms = terms
        self._random_bytes = random_bytes
        self._dealing: shamir.Dealing | None = None

    def begin(self, start: RoundStart) -> None:
        """Turn to a round.

        Raises:
            MissingModel: the model to start from is not stored.
        """
        model = self.blobs.get(start.model)
        if model is None:
            raise MissingModel(start.model)
        self.start = start
        self.model = bytes(model)
        self.kind = self.identity.spec.kind(start.round)
        self.layout = self._layout(start.round)
        self._dealing = None
        self._scorer = Scorer(self.identity.spec, start.previous)

    def perform(self, work: Work) -> Event | None:
        """The event that answers `work`; None where there is no answer yet."""
        match work:
            case Deal():
                return Dealt(self._own_dealing(deal_now=True).digests)
            case Prove(attempt, challenge):
                return Proved(attempt, proofs.prove(self._own_dealing(), challenge, attempt))
            case CheckShare(attempt, dealer, share, proof, challenge, polynomials):
                agrees = self._agrees(share, dealer, self.identity.me, challenge, polynomials, attempt)
                return ShareChecked(dealer, share, proof, agrees)
            case CheckComplaint(attempt, holder, dealer, name, challenge, polynomials):
                agrees = self._agrees(name, dealer, holder, challenge, polynomials, attempt)
                return ComplaintChecked(attempt, holder, dealer, not agrees)
            case SumShares(shares):
                return self._sum_shares(shares)
            case Rebuild():
                return self._rebuild(work)
            case AnswerChecks():
                return self._answer_checks(work)
            case CheckPiece():
                return self._check_piece(work)
            case Assemble():
                return self._assemble(work)
            case AnswerScores(scored, dealers):
                return self._answer(scored, dealers)
            case OpenScores():
                return self._scorer.open(work, self.layout.parameters)
            case Compose():
                return Composed(self._compose(work))

    # --- transfers ------------------------------------------------------------------------------------------------

    def accept_share(self, round_id: int, dealer: int, blob: bytes) -> ShareArrived | None:
        """Store a share that a dealer sent; None if it is none of this dealer's for this member."""
        if not shamir.is_blob(blob, self._layout(round_id), dealer, self.identity.me):
            return None
        name = blob_digest(blob)
        self.blobs.put(name, round_id, blob)
        return ShareArrived(dealer, name)

    def accept_payload(self, what: str, index: int, holder: int, data: bytes) -> PayloadArrived | None:
        """Store public bytes that were fetched by their digest, as `FetchPayload` asked for them.

        None if they are another dealing's share: a false dealer named it in its Deal, to have it made public.
        """
        if what == "share" and not shamir.is_blob(data, self.layout, index, holder):
            return None
        name = blob_digest(data)
        self.blobs.put(name, self.start.round, data)
        return PayloadArrived(name)

    def shares(self) -> Iterator[Share]:
        """Each other member's share of the own dealing."""
        dealing = self._own_dealing()
        for holder in range(self.layout.parameters.n):
            if holder != self.identity.me:
                size = shamir.blob_size(self.layout, self.identity.me, holder)
                yield Share(holder, dealing.digests[holder], size, partial(dealing.blob_chunks, holder))

    def share_of(self, holder: int, name: bytes) -> bytes | None:
        """The holder's own share if that is what `name` asks for; nobody else's is ever given."""
        if self._stored_dealing() is None or holder == self.identity.me:
            return None
        blob = self._own_dealing().blob(holder)
        return blob if blob_digest(blob) == name else None

    def payload_bytes(self, what: str, index: int, holder: int) -> int:
        """Size of what `FetchPayload` asks for."""
        if what == "share":
            return shamir.blob_size(self.layout, index, holder)
        piece = self.layout.piece(index)
        words_of_block = 1 if what == "sum" else self.layout.parameters.pack_size
        return WORD_BYTES * words_of_block * len(range(piece.start, piece.stop))

    # --- from round to round --------------------------------------------------------------------------------------

    def next_start(self, result: RoundResult, signatures: tuple[tuple[int, bytes], ...]) -> RoundStart:
        """What the next round starts from, after the current one ended with `result`.

        Raises:
            MissingModel: its model is not stored yet.
        """
        cumulative = self._cumulative_after(result)
        before, history = self.start.previous, self.start.history
        history = () if before is None or result.outcome == SETTLED else (before, *history)[:MAX_HISTORY]
        return self._start(result, signatures, tuple(wei.to_bytes(16, "big") for wei in cumulative), history)

    def start_from(self, opened: Open) -> RoundStart:
        """What the round starts from that others opened while this member was away.

        Raises:
            MissingModel: its model is not stored yet.
        """
        if opened.previous is None:
            raise ValueError("round 0 is opened on no result")
        return self._start(opened.previous, opened.signatures, opened.cumulative, opened.history)

    def _start(
        self,
        result: RoundResult,
        signatures: tuple[tuple[int, bytes], ...],
        cumulative: tuple[bytes, ...],
        history: tuple[RoundResult, ...],
    ) -> RoundStart:
        if self.blobs.get(result.model) is None:
            raise MissingModel(result.model)
        return RoundStart(result.round + 1, result.model, result, signatures, cumulative, history)

    def _cumulative_after(self, result: RoundResult) -> list[int]:
        size = len(self.identity.committee.signers)
        added = rewards.pay(self.terms, result.kind, result.outcome, result.dealers, result.scores, size)
        # Who was admitted since the round before has earned nothing yet.
        return [old + new for old, new in zip_longest(_amounts(self.start.cumulative), added, fillvalue=0)]

    # --- dealing and checking -------------------------------------------------------------------------------------

    def _layout(self, round_id: int) -> Layout:
        return Layout.for_round(self.identity.parameters, self.identity.spec, round_id)

    def _stored_dealing(self) -> bytes | None:
        return self.blobs.get_secret(_OWN_DEALING, self.start.round)

    def _own_dealing(self, deal_now: bool = False) -> shamir.Dealing:
        """The round's one dealing, from its stored seed and payload; made and stored first if `deal_now`."""
        if self._dealing is not None:
            return self._dealing
        stored = self._stored_dealing()
        if stored is None:
            if not deal_now:
                raise LookupError("nothing has been dealt in this round")
            stored = self._random_bytes(_SEED_BYTES) + encode_words(self._payload())
            self.blobs.put_secret(_OWN_DEALING, self.start.round, stored)
        seed, encoded = stored[:_SEED_BYTES], stored[_SEED_BYTES:]
        payload = decode_words(encoded, len(encoded) // 3)
        self._dealing = shamir.deal(payload, self.layout, self.identity.me, seed)
        own = self._dealing.blob(self.identity.me)
        self.blobs.put(blob_digest(own), self.start.round, own)
        return self._dealing

    def _payload(self) -> Words:
        spec, round_id = self.identity.spec, self.start.round
        part = self.learner.contribute(self.model, self.kind, round_id)
        return quantise.quantise_payload(
            part.update, part.weight, part.gradient, part.gradient_weight, spec, round_id, self.layout,
            self._random_bytes,
        )  # fmt: skip

    def _agrees(
        self, name: bytes, dealer: int, holder: int, challenge: bytes, polynomials: bytes, attempt: int
    ) -> bool:
        blob = self._stored(name)
        try:
            share = shamir.read_blob(blob, self.layout, dealer, holder)
            return proofs.check_share(share, polynomials, challenge, attempt, self.layout, holder)
        except MalformedMessage:
            return False  # its dealer signed the digest of these very bytes

    # --- sums -----------------------------------------------------------------------------------------------------

    def _sum_shares(self, shares: tuple[tuple[int, bytes], ...]) -> Summed:
        partial_sum = shamir.PartialSum(self.layout, self.identity.me)
        for dealer, name in shares:
            partial_sum.add(dealer, self._stored(name))
        words = partial_sum.words()
        parts = (words[self.layout.piece(index)] for index in range(self.layout.pieces))
        names = tuple(self._put_words(part) for part in parts)
        held = msgspec.msgpack.encode(shares)
        self.blobs.put_secret(_HELD_SHARES, self.start.round, held)
        return Summed(names)

    def _put_words(self, words: Words) -> bytes:
        data = encode_words(words)
        name = blob_digest(data)
        self.blobs.put(name, self.start.round, data)
        return name

    def _open_own(self, name: bytes, dealer: int, layout: Layout) -> Words:
        return shamir.open_blob(self._stored(name), layout, dealer, self.identity.me)

    def _stored(self, name: bytes) -> bytes | memoryview:
        blob = self.blobs.get(name)
        if blob is None:
            raise LookupError(f"the blob {name.hex()} is not in the store")
        return blob

    def _rebuild(self, work: Rebuild) -> Rebuilt:
        piece = self.layout.piece(work.index)
        blocks = len(range(piece.start, piece.stop))
        sums, malformed = self._partial_sums(work.sums, blocks)
        agreement = codeword.agree_on_sum(sums, self.layout, self._random_bytes(_SEED_BYTES), blocks, work.excluded)
        if agreement is None:
            return Rebuilt(work.index, None, ())
        good = agreement.good[: self.layout.parameters.threshold]
        words = shamir.recombine_blocks({holder: sums[holder] for holder in good}, self.layout, blocks)
        name = self._put_words(words)
        return Rebuilt(work.index, name, tuple(sorted((*agreement.wrong, *malformed))))

    def _partial_sums(self, sums: tuple[tuple[int, bytes], ...], blocks: int) -> tuple[dict[int, Words], list[int]]:
        decoded, malformed = {}, []
        for holder, name in sums:
            try:
                decoded[holder] = decode_words(self._stored(name), blocks)
            except MalformedMessage:
                malformed.append(holder)
        return decoded, malformed

    def _answer_checks(self, work: AnswerChecks) -> ChecksAnswered:
        answers = []
        for index, payload in work.pieces:
            piece = self.layout.piece(index)
            blocks = len(range(piece.start, piece.stop))
            own = decode_words(self._stored(work.own[index]), blocks)
            values = pieces.challenge(work.value, index, payload, blocks).of(own)
            answers.append((index, payload, encode_words(values.astype(np.uint32))))
        return ChecksAnswered(tuple(answers))

    def _check_piece(self, work: CheckPiece) -> PieceChecked | None:
        piece = self.layout.piece(work.index)
        blocks = len(range(piece.start, piece.stop))
        answers, malformed = pieces.decode_answers(work.answers)
        try:
            words = decode_words(self._stored(work.payload), blocks * self.layout.parameters.pack_size)
        except MalformedMessage:
            return PieceChecked(work.index, work.payload, False, ())
        combination = pieces.challenge(work.value, work.index, work.payload, blocks)
        found = pieces.judge(words, answers, combination, self.layout, work.excluded)
        if found is None:
            return None
        is_true, agreement = found
        return PieceChecked(work.index, work.payload, is_true, tuple(sorted((*agreement.wrong, *malformed))))

    def _assemble(self, work: Assemble) -> Decoded:
        k = self.layout.parameters.pack_size
        words = np.empty(self.layout.blocks * k, dtype=np.uint32)
        for index, name in enumerate(work.pieces):
            piece = self.layout.piece(index)
            words[piece.start * k : piece.stop * k] = decode_words(self._stored(name), (piece.stop - piece.start) * k)
        spec, round_id, dealers = self.identity.spec, self.start.round, len(work.dealers)
        total = quantise.unpack_sum(words[: self.layout.words], spec, round_id, dealers)
        reason = quantise.check_sum(total, spec, round_id, dealers)
        if reason is not None:
            return Decoded(None, reason)
        public = PublicSums(total.gradient, total.weight, total.gradient_weight)
        model = self.learner.apply(self.model, quantise.average(total, spec, round_id), self.kind, public)
        name = blob_digest(model)
        self.blobs.put(name, round_id, model)
        return Decoded(name, "", self._fix_direction(public, name))

    # --- scores ---------------------------------------------------------------------------------------------------

    def _fix_direction(self, public: PublicSums, model: bytes) -> bytes:
        """Fixes the direction for the previous round's updates; its digest, or nothing if there is none."""
        if not self._scorer.is_due:
            return b""
        return self._scorer.fix_direction(self.learner.public_sums(self.model), public, model)

    def _answer(self, scored: int, dealers: frozenset[int]) -> Answered:
        held = self.blobs.get_secret(_HELD_SHARES, scored)
        names = {} if held is None else dict(msgspec.msgpack.decode(held, type=tuple[tuple[int, bytes], ...]))
        if set(names) != dealers:
            return Answered(())
        layout = self._layout(scored)
        shares = ((dealer, self._open_own(names[dealer], dealer, layout)) for dealer in sorted(dealers))
        return self._scorer.answer(shares, layout, self.identity.me)

    def score_terms(self, model: bytes) -> scores.Terms | None:
        """What turned the round's opened values into scores, if it ended with this model; None if none were opened."""
        if self._scorer.terms is None:
            data = self.blobs.get(model)
            if data is not None:
                self._fix_direction(self.learner.public_sums(bytes(data)), model)
        return self._scorer.terms

    # --- results --------------------------------------------------------------------------------------------------

    def _compose(self, work: Compose) -> RoundResult:
        previous, is_settled = self.start.previous, work.model is not None
        committee = self.identity.committee
        deals = {committee.seats[member]: name for member, name in work.deals}
        draft = RoundResult(
            round=self.start.round,
            kind=int(self.kind),
            outcome=SETTLED if is_settled else ABANDONED,
            previous=bytes(32) if previous is None else result_digest(previous),
            config=self.identity.config,
            dealers=committee.bitmap(work.dealers),
            model=work.model or self.start.model,
            deals=rewards.deals_root(deals) if is_settled else bytes(32),
            scores=None if work.scores is None else committee.by_index(work.scores, 0),
            rewards=bytes(32),
            rewards_total=bytes(16),
        )
        cumulative = self._cumulative_after(draft)
        return msgspec.structs.replace(
            draft,
            rewards=rewards.rewards_root(cumulative),
            rewards_total=sum(cumulative).to_bytes(16, "big"),
        )


def committed_rewards(cumulative: tuple[bytes, ...]) -> bytes:
    """The Merkle root by which a result commits to cumulative rewards, 16 bytes of wei each."""
    return rewards.rewards_root(_amounts(cumulative))


def _amounts(cumulative: tuple[bytes, ...]) -> list[int]:
    return [int.from_bytes(wei, "big") for wei in cumulative]
