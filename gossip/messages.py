"""The messages of a round: frozen, validated when they are made, with one canonical form in bytes.

A message travels in an `Envelope`: its sender's place in the committee, its bytes, and the sender's signature of the
statement that the message makes (`gossip.statements`).  Sizes are checked before anything is decoded; bytes that
are not the canonical form of a message are refused, so that one statement has one digest.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, TypeVar

import msgspec

from gossip.errors import MalformedMessage
from gossip.parameters import CHECK_REPETITIONS, MAX_INDICES, MAX_MEMBERS, MODULUS
from gossip.spec import digest
from gossip.statements import SIGNATURE_BYTES, Domain, Kind, Statement, recover
from gossip.values import (
    DIGEST_BYTES,
    Certificate,
    Entries,
    RoundResult,
    Value,
    encode,
    require,
    require_digest,
    require_entries,
    require_uint,
)

MAX_MESSAGE_BYTES = 600 << 10
"""Bound on an encoded envelope; the longest is a Propose of 64 members with 48 Statuses, of 556,012 bytes."""


def longest_message(n: int) -> int:
    """Bound on what a committee of `n` says at once, an Open with its history aside: its Proposes grow with n^2."""
    return 4096 + 150 * n * n


MAX_HISTORY = 512
"""Abandoned rounds in a row that are remembered; after so many, only the last set is allowed again."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)
"""What msgspec raises over a stranger's bytes."""

SHORT_MESSAGE_BYTES = 1 << 14


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What every message says of itself: the round and roster it is for, and which of its kind it is."""

    kind: ClassVar[Kind]

    config: bytes
    round: int

    def __post_init__(self) -> None:
        require_digest("config", self.config)
        require_uint("round", self.round, 64)
        require_uint("attempt", self.key[1], 32)
        require_uint("subject", self.key[2], 32)
        self.validate()

    def validate(self) -> None:
        """Raise MalformedMessage where a field is out of its bounds."""

    @property
    def key(self) -> tuple[Kind, int, int]:
        """(kind, attempt, subject): what a member says at most once a round."""
        return self.kind, getattr(self, "attempt", 0), getattr(self, "subject", 0)

    def statement(self, body: bytes) -> Statement:
        """What is signed when this message, encoded as `body`, is sent."""
        kind, attempt, subject = self.key
        return Statement(self.config, self.round, kind, attempt, subject, self.signed_digest(body))

    def signed_digest(self, body: bytes) -> bytes:
        return digest("message", body)


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A message as it travels.

    Attributes:
        sender: its place in the committee.
        body: the message's canonical bytes.
        signature: EIP-2098 signature of the statement that the message makes.
    """

    sender: int
    body: bytes
    signature: bytes

    def __post_init__(self) -> None:
        require(0 <= self.sender < MAX_MEMBERS, f"the sender is a member, found {self.sender}")
        require(len(self.signature) == SIGNATURE_BYTES, f"a signature has {SIGNATURE_BYTES} bytes")

    @property
    def id(self) -> bytes:
        """32 bytes that name what its sender says, however often it signs that."""
        return digest("envelope", self.sender.to_bytes(1, "big"), self.body)


class Open(Message, frozen=True, tag=int(Kind.OPEN)):
    """The round begins: what it starts from, with the signatures that made it.

    Attributes:
        attempt: how many proposers stayed silent before this one opened.
        model: digest of the model to start from.
        previous: the previous round's result; None for round 0.
        signatures: (member, its signature of that result); a quorum.
        cumulative: rewards that `previous.rewards` commits to, 16 bytes of wei for each roster index.
        history: if `previous` was abandoned, the results before it, newest first, back to one that settled: each is the
            one that its successor names.
    """

    kind = Kind.OPEN

    attempt: int
    model: bytes
    previous: RoundResult | None
    signatures: Entries
    cumulative: tuple[bytes, ...]
    history: tuple[RoundResult, ...]

    def validate(self) -> None:
        require_digest("model", self.model)
        require(len(self.history) <= MAX_HISTORY, f"a history has at most {MAX_HISTORY} results")
        require_entries("signatures", self.signatures, SIGNATURE_BYTES)
        require(all(len(wei) == 16 for wei in self.cumulative), "a cumulative reward has 16 bytes")
        require(len(self.cumulative) <= MAX_INDICES, f"at most {MAX_INDICES} cumulative rewards")
        require((self.previous is None) == (self.round == 0), "round 0 alone has no previous result")


class Deal(Message, frozen=True, tag=int(Kind.DEAL)):
    """A member has dealt.

    Attributes:
        model: digest of the model that the update starts from.
        shares: digest of each holder's share, in roster order.
    """

    kind = Kind.DEAL

    model: bytes
    shares: tuple[bytes, ...]

    def validate(self) -> None:
        require_digest("model", self.model)
        require(len(self.shares) <= MAX_MEMBERS, f"at most {MAX_MEMBERS} shares")
        for share in self.shares:
            require_digest("share", share)


class Freeze(Message, frozen=True, tag=int(Kind.FREEZE)):
    """The Deals that an attempt is about; its digest is the challenge.

    Attributes:
        deals: (dealer, digest of its Deal).
    """

    kind = Kind.FREEZE

    attempt: int
    deals: Entries

    def validate(self) -> None:
        require_entries("deals", self.deals, DIGEST_BYTES)


class Proof(Message, frozen=True, tag=int(Kind.PROOF)):
    """A dealer's random combinations of its blocks under an attempt's challenge, masked.

    Attributes:
        freeze: digest of the Freeze that it answers.
        polynomials: canonical words of rho polynomials.
    """

    kind = Kind.PROOF

    attempt: int
    freeze: bytes
    polynomials: bytes

    def validate(self) -> None:
        require_digest("freeze", self.freeze)
        longest = 3 * CHECK_REPETITIONS * MAX_MEMBERS * MAX_MEMBERS
        require(len(self.polynomials) <= longest, f"a proof has at most {longest} bytes")


class Receipt(Message, frozen=True, tag=int(Kind.RECEIPT)):
    """For which dealers a holder can answer.

    Attributes:
        freeze: digest of the Freeze that it is about.
        proofs: (dealer, digest of the Proof that its share agrees with).
    """

    kind = Kind.RECEIPT

    attempt: int
    freeze: bytes
    proofs: Entries

    def validate(self) -> None:
        require_digest("freeze", self.freeze)
        require_entries("proofs", self.proofs, DIGEST_BYTES)


class Complaint(Message, frozen=True, tag=int(Kind.COMPLAINT)):
    """A share that matches its dealer's Deal and contradicts its Proof; the share is served by its digest.

    Attributes:
        subject: the dealer.
        freeze: digest of the Freeze.
        proof: digest of the Proof.
        share: digest of the share.
    """

    kind = Kind.COMPLAINT

    attempt: int
    subject: int
    freeze: bytes
    proof: bytes
    share: bytes

    def validate(self) -> None:
        for name in ("freeze", "proof", "share"):
            require_digest(name, getattr(self, name))


class Propose(Message, frozen=True, tag=int(Kind.PROPOSE)):
    """What an attempt's proposer wants agreed.

    Attributes:
        subject: SET or OUTCOME.
        value: the dealer set or the outcome.
        statuses: for attempts after the first, Statuses of n - t members for this attempt.
    """

    kind = Kind.PROPOSE

    attempt: int
    subject: int
    value: Value
    statuses: tuple[Envelope, ...]

    def validate(self) -> None:
        senders = [envelope.sender for envelope in self.statuses]
        require(senders == sorted(set(senders)), "statuses are in ascending order without repetition")


class _Vote(Message, frozen=True):
    """A member's word for a value; the value's digest itself is signed, so that certificates stay short."""

    attempt: int
    subject: int
    value: bytes

    def validate(self) -> None:
        require_digest("value", self.value)

    def signed_digest(self, body: bytes) -> bytes:
        return self.value


class Confirm(_Vote, frozen=True, tag=int(Kind.CONFIRM)):
    """The member would have this value; at most one for each attempt."""

    kind = Kind.CONFIRM


class Commit(_Vote, frozen=True, tag=int(Kind.COMMIT)):
    """The member holds a prepared certificate for this value."""

    kind = Kind.COMMIT


class Status(Message, frozen=True, tag=int(Kind.STATUS)):
    """The member has moved to `attempt` and signs nothing of an earlier one.

    Attributes:
        prepared: the highest certificate that it holds.
    """

    kind = Kind.STATUS

    attempt: int
    subject: int
    prepared: Certificate | None


class Reveal(Message, frozen=True, tag=int(Kind.REVEAL)):
    """A holder's partial sum over the final set, served piece by piece.

    Attributes:
        value: digest of the final SetValue.
        pieces: digest of each piece's bytes, in order.
    """

    kind = Kind.REVEAL

    value: bytes
    pieces: tuple[bytes, ...]

    def validate(self) -> None:
        require_digest("value", self.value)
        require(1 <= len(self.pieces) <= MAX_MEMBERS, f"a sum has 1 to {MAX_MEMBERS} pieces, found {len(self.pieces)}")
        for piece in self.pieces:
            require_digest("piece", piece)


class Piece(Message, frozen=True, tag=int(Kind.PIECE)):
    """The sender's piece of the sum itself, rebuilt from partial sums and served by its digest.

    Attributes:
        value: digest of the final SetValue.
        payload: digest of the piece's bytes.
    """

    kind = Kind.PIECE

    value: bytes
    payload: bytes

    def validate(self) -> None:
        require_digest("value", self.value)
        require_digest("payload", self.payload)


class Check(Message, frozen=True, tag=int(Kind.CHECK)):
    """Random combinations of a holder's partial sum, by which rebuilt pieces are checked.

    Attributes:
        value: digest of the final SetValue.
        answers: (index of a piece, digest of the rebuilt piece that sets the challenge, rho canonical words).
    """

    kind = Kind.CHECK

    value: bytes
    answers: tuple[tuple[int, bytes, bytes], ...]

    def validate(self) -> None:
        require_digest("value", self.value)
        require_entries("answers", tuple((index, payload) for index, payload, _ in self.answers), DIGEST_BYTES)
        for _, _, words in self.answers:
            require(len(words) == 3 * CHECK_REPETITIONS, f"an answer has {3 * CHECK_REPETITIONS} bytes")


class Score(Message, frozen=True, tag=int(Kind.SCORE)):
    """A holder's answers along the score direction, one field element for each dealer of the scored round.

    Attributes:
        scored: the round whose updates are scored.
        direction: digest of the direction.
        answers: (dealer, field element).
    """

    kind = Kind.SCORE

    scored: int
    direction: bytes
    answers: tuple[tuple[int, int], ...]

    def validate(self) -> None:
        require_uint("scored", self.scored, 64)
        require_digest("direction", self.direction)
        dealers = [dealer for dealer, _ in self.answers]
        require(len(dealers) <= MAX_MEMBERS, f"at most {MAX_MEMBERS} answers")
        require(dealers == sorted(set(dealers)), "answers are in ascending order without repetition")
        for dealer, answer in self.answers:
            require(0 <= dealer < MAX_MEMBERS, f"answers name members, found {dealer}")
            require(0 <= answer < MODULUS, f"an answer is a field element, found {answer}")


class Sign(Message, frozen=True, tag=int(Kind.SIGN)):
    """A member's signature of the round's agreed result, for the ledger.

    Attributes:
        result: struct hash of the RoundResult.
        signature: EIP-2098 signature of its typed data.
    """

    kind = Kind.SIGN

    result: bytes
    signature: bytes

    def validate(self) -> None:
        require_digest("result", self.result)
        require(len(self.signature) == SIGNATURE_BYTES, f"a signature has {SIGNATURE_BYTES} bytes")


AnyMessage = (
    Open | Deal | Freeze | Proof | Receipt | Complaint | Propose | Confirm | Commit | Status | Reveal | Piece | Check
    | Score | Sign
)  # fmt: skip

_T = TypeVar("_T", bound=msgspec.Struct)

_MESSAGE_DECODER: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)
_ENVELOPE_DECODER: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Envelope)


def decode_message(data: bytes) -> AnyMessage:
    """The message whose canonical bytes are `data`.

    Raises:
        MalformedMessage: anything else.
    """
    return _decode_short(data) if len(data) <= SHORT_MESSAGE_BYTES else _decode(_MESSAGE_DECODER, data)


@lru_cache(maxsize=1024)
def _decode_short(data: bytes) -> AnyMessage:
    """A message is looked at when it arrives, when it is routed and when it is heard: decoded once, if it is short."""
    return _decode(_MESSAGE_DECODER, data)


def decode_envelope(data: bytes) -> Envelope:
    """The envelope whose canonical bytes are `data`.

    Raises:
        MalformedMessage: anything else.
    """
    return _decode(_ENVELOPE_DECODER, data)


def message_digest(body: bytes) -> bytes:
    """What other messages name a message by; 32 bytes."""
    return _digest_short(body) if len(body) <= SHORT_MESSAGE_BYTES else digest("message", body)


@lru_cache(maxsize=1024)
def _digest_short(body: bytes) -> bytes:
    return digest("message", body)


def verify_envelope(envelope: Envelope, message: Message, domain: Domain, signers: tuple[bytes, ...]) -> bool:
    """Whether the alleged sender signed the message."""
    if envelope.sender >= len(signers):
        return False
    signed = message.statement(envelope.body).signing_digest(domain)
    return recover(signed, envelope.signature) == signers[envelope.sender]


def _decode(decoder: msgspec.msgpack.Decoder[_T], data: bytes) -> _T:
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"a message has at most {MAX_MESSAGE_BYTES} bytes, found {len(data)}")
    try:
        item = decoder.decode(data)
        canonical = encode(item)
    except UNREADABLE as error:
        raise MalformedMessage(f"not a message: {error}") from error
    if canonical != data:
        raise MalformedMessage("the bytes are not the canonical form of their message")
    return item
