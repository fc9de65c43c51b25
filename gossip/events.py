"""What a round is told, and what it wants done: the whole border between the rules and the world.

Vectors never cross it: shares, payloads and partial sums stay with whoever performs the work (the node's workshop or
the simulator's) and are named here by member or digest.
"""

from __future__ import annotations

from dataclasses import dataclass

from gossip.messages import Envelope, Open
from gossip.values import RoundResult

# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """An envelope arrived, from its sender or from whoever passed it on."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Ticked:
    """The deadline passed."""


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A live connection to the member exists."""

    member: int


@dataclass(frozen=True, slots=True)
class PeerDown:
    """No live connection to the member exists: a hint that only shortens waits."""

    member: int


@dataclass(frozen=True, slots=True)
class Working:
    """The member shows, over its own connection, that it still trains and is further than before."""

    member: int


@dataclass(frozen=True, slots=True)
class ShareArrived:
    """A dealer's share was stored; `digest` is of its bytes."""

    dealer: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class PayloadArrived:
    """The bytes of a partial sum, or of a share complained about, were stored."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Dealt:
    """Training ended and its update was dealt; seed and payload are stored."""

    shares: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Proved:
    attempt: int
    polynomials: bytes


@dataclass(frozen=True, slots=True)
class ShareChecked:
    """Whether the held share of `dealer` with this digest agrees with the Proof with that one."""

    dealer: int
    share: bytes
    proof: bytes
    agrees: bool


@dataclass(frozen=True, slots=True)
class ComplaintChecked:
    """Whether a published share matches its Deal and contradicts its Proof."""

    attempt: int
    holder: int
    dealer: int
    justified: bool


@dataclass(frozen=True, slots=True)
class Summed:
    """The partial sum over the final set is stored; digests of its pieces."""

    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A piece of the sum was rebuilt from partial sums and is stored.

    Attributes:
        index: of the piece.
        payload: digest of its bytes; None if too few of the partial sums agree.
        wrong: holders whose partial sums are false.
    """

    index: int
    payload: bytes | None
    wrong: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChecksAnswered:
    """This holder's combinations of its partial sum, as `messages.Check` has them."""

    answers: tuple[tuple[int, bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class PieceChecked:
    """Whether a piece that another member rebuilt is the sum's, and holders whose answers are false."""

    index: int
    payload: bytes
    is_true: bool
    wrong: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """The sum is known.

    Attributes:
        model: digest of the model after the round; None where the sum breaks the task's bounds.
        reason: why `model` is None.
        direction: digest of the score direction for the round scored now; empty where there is none.
    """

    model: bytes | None
    reason: str = ""
    direction: bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """This holder's answers along the score direction, (dealer, field element)."""

    answers: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ScoresOpened:
    """Every dealer of the scored round has its score; `wrong` holders answered falsely."""

    scores: tuple[int, ...]
    wrong: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Composed:
    """The result that follows from an outcome; `scores` inside as asked for."""

    result: RoundResult


Event = (
    Heard | Ticked | PeerUp | PeerDown | Working | ShareArrived | PayloadArrived | Dealt | Proved | ShareChecked
    | ComplaintChecked | Summed | Rebuilt | ChecksAnswered | PieceChecked | Decoded | Answered | ScoresOpened | Composed
)  # fmt: skip


# --- effects: words -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announce:
    """Say it to every member.  The event that caused it is on disk before a byte is sent."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Tell:
    """Pass envelopes on to one member that seems to lack them."""

    member: int
    envelopes: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class PushShares:
    """Send each holder its share of this member's dealing, over the encrypted stream, to it alone."""


@dataclass(frozen=True, slots=True)
class FetchShare:
    """Ask the dealer again for this member's share; the bytes have this digest."""

    dealer: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class FetchPayload:
    """Fetch public bytes by digest, from `holder` or whoever has them, until the round ends.

    Attributes:
        what: "share" of the dealing of member `index`, "sum" for piece `index` of the holder's partial sum, or "piece"
            `index` of the sum itself.
    """

    holder: int
    digest: bytes
    what: str
    index: int


# --- effects: work, each answered by one event ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deal:
    """Train from the round's model and deal the update -> Dealt."""


@dataclass(frozen=True, slots=True)
class Prove:
    """Combine the dealing's blocks under the challenge -> Proved."""

    attempt: int
    challenge: bytes


@dataclass(frozen=True, slots=True)
class CheckShare:
    """Compare the held share with digest `share` with its dealer's Proof, which has digest `proof` -> ShareChecked."""

    attempt: int
    dealer: int
    share: bytes
    proof: bytes
    challenge: bytes
    polynomials: bytes


@dataclass(frozen=True, slots=True)
class CheckComplaint:
    """Compare a published share with its dealer's Deal and Proof -> ComplaintChecked."""

    attempt: int
    holder: int
    dealer: int
    digest: bytes
    challenge: bytes
    polynomials: bytes


@dataclass(frozen=True, slots=True)
class SumShares:
    """Add up the held shares of these dealers, (dealer, share digest) -> Summed."""

    shares: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Rebuild a piece of the sum from partial sums, (holder, digest of its piece) -> Rebuilt.

    Attributes:
        excluded: members proven false, whose sums are not among these.
    """

    index: int
    sums: tuple[tuple[int, bytes], ...]
    excluded: int = 0


@dataclass(frozen=True, slots=True)
class AnswerChecks:
    """Combine the own partial sum under the challenges of rebuilt pieces, (index, digest) -> ChecksAnswered.

    Attributes:
        value: digest of the final set.
        own: digests of the own partial sum's pieces.
    """

    value: bytes
    own: tuple[bytes, ...]
    pieces: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class CheckPiece:
    """Compare a rebuilt piece with holders' answers, (holder, words) -> PieceChecked, or nothing yet."""

    value: bytes
    index: int
    payload: bytes
    answers: tuple[tuple[int, bytes], ...]
    excluded: int = 0


@dataclass(frozen=True, slots=True)
class Assemble:
    """Put the sum over these dealers together from its pieces' digests, and take the round's step -> Decoded."""

    dealers: frozenset[int]
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Answer along the score direction for the dealers of the scored round -> Answered."""

    scored: int
    dealers: frozenset[int]


@dataclass(frozen=True, slots=True)
class OpenScores:
    """Open the scores from answers, (holder, ((dealer, element), ...)) -> ScoresOpened, or nothing yet."""

    scored: int
    dealers: frozenset[int]
    answers: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
    excluded: int = 0


@dataclass(frozen=True, slots=True)
class Compose:
    """Work out the result of an outcome: roots and rewards -> Composed.

    Attributes:
        deals: (dealer, digest of its Deal) of the final set.
        dealers: members whose sum the result answers for: the set's, or where it is empty those of an earlier sum over
            the same model that somebody may have seen.
        model: digest of the model after the round; None if abandoned.
        scores: those opened; None if unscored.
    """

    deals: tuple[tuple[int, bytes], ...]
    dealers: frozenset[int]
    model: bytes | None
    scores: tuple[int, ...] | None


Work = (
    Deal | Prove | CheckShare | CheckComplaint | SumShares | Rebuild | AnswerChecks | CheckPiece | Assemble
    | AnswerScores | OpenScores | Compose
)  # fmt: skip


# --- effects: findings ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Blame:
    """A member did what no honest member does; `evidence` shows it to a third party."""

    member: int
    reason: str
    evidence: tuple[Envelope, ...] = ()


@dataclass(frozen=True, slots=True)
class Missed:
    """A deadline passed; these members were waited for.  Never a fault."""

    phase: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entered:
    """The round entered a phase."""

    phase: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The round ended.

    Attributes:
        result: the agreed result.
        signatures: (member, signature) of a quorum, for the ledger.
        attempt: attempt in which the set became final, as far as this member knows.
    """

    result: RoundResult
    signatures: tuple[tuple[int, bytes], ...]
    attempt: int


@dataclass(frozen=True, slots=True)
class LaggedBehind:
    """A later round was opened on a result that a quorum signed: fetch its model, then start that round."""

    opened: Open


Effect = (
    Announce | Tell | PushShares | FetchShare | FetchPayload | Work | Blame | Missed | Entered | Settled | LaggedBehind
)  # fmt: skip
