"""What a member knows of a round, and the one place through which a turn changes it.

`RoundState` is replaced, never changed in place: `step` hands each event to a `Turn` that owns a copy.  Everything a
member has heard is kept, first version of each statement; rules read it and act at most once, so the order of arrival
never matters and a restarted node that replays its events is where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gossip.committee import Committee
from gossip.events import Announce, Blame, Effect, Entered, FetchPayload, FetchShare, Missed, Work
from gossip.messages import AnyMessage, Envelope, message_digest
from gossip.parameters import Parameters
from gossip.spec import RoundKind
from gossip.statements import Domain, Kind
from gossip.values import (
    ABANDONED,
    OUTCOME,
    SET,
    SETTLED,
    Certificate,
    RoundResult,
    Value,
    encode,
    value_digest,
)

PHASES = ("OPEN", "TRAIN", "DEAL", "PROVE", "AGREE", "REVEAL", "SCORE", "RECORD", "SETTLED")

MAX_ATTEMPTS_AHEAD = 16
"""Statements of attempts further ahead than this are not kept; who is there will say them again."""

Fetch = FetchShare | FetchPayload

_M = TypeVar("_M", bound=AnyMessage)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for what, in seconds; local choices that no check depends on.

    Attributes:
        open_seconds: for each silent proposer before it is one's own turn to open.
        train_seconds: from opening to freezing without those that have not dealt.
        prove_seconds: for Proofs and missing shares after a Freeze.
        receipt_seconds: for Receipts after that.
        agree_seconds: for a proposal to become final; grows by half with each attempt.
        reveal_seconds: for enough partial sums.
        score_seconds: for enough score answers.
        grace_seconds: for a proposer without a live connection.
        silence_seconds: since a member last gave a sign of work, until it is waited for no longer than others.
        shortest_seconds: the least that a wait shrinks to where rounds are quick (`pace`).
        longest_train_seconds: for members that still train, beyond `train_seconds`; None = no longer than that.
    """

    open_seconds: float = 5.0
    train_seconds: float = 60.0
    prove_seconds: float = 5.0
    receipt_seconds: float = 5.0
    agree_seconds: float = 10.0
    reveal_seconds: float = 20.0
    score_seconds: float = 10.0
    grace_seconds: float = 0.5
    silence_seconds: float = 5.0
    shortest_seconds: float = 3.0
    longest_train_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What does not change during a round.

    Attributes:
        me: own place in the committee.
        committee: who makes this round.
        before: who made the round before it.
        sign: the own signer's deterministic signature of 32 bytes.
        round, kind: which round, and what for.
        model: digest of the model to start from.
        previous: result of the previous round; None in round 0.
        previous_signatures: a quorum's, for the Open.
        cumulative: rewards that `previous` commits to, 16 bytes each.
        proof_bytes: size of a well-formed Proof.
        pieces: in how many pieces a sum is rebuilt.
        left_out: members whose dealings this one does not propose, because they were named again and again.
        history: results of the abandoned rounds before `previous`, as `messages.Open` has them.
        named: members that were named with evidence in earlier rounds.
        refused: the previous round's sum was opened here, and beyond the task's bounds.
    """

    me: int
    committee: Committee
    before: Committee
    sign: Callable[[bytes], bytes]
    domain: Domain
    round: int
    kind: RoundKind
    model: bytes
    previous: RoundResult | None
    previous_signatures: tuple[tuple[int, bytes], ...]
    cumulative: tuple[bytes, ...]
    proof_bytes: int
    pieces: int
    timing: Timing
    left_out: frozenset[int] = frozenset()
    history: tuple[RoundResult, ...] = ()
    named: frozenset[int] = frozenset()
    refused: bool = False

    @property
    def signers(self) -> tuple[bytes, ...]:
        """20-byte address of each member's signer."""
        return self.committee.keys

    @property
    def parameters(self) -> Parameters:
        return self.committee.parameters

    @property
    def config(self) -> bytes:
        """Digest of roster and spec."""
        return self.committee.config

    @property
    def members(self) -> range:
        return range(self.parameters.n)

    @property
    def scored(self) -> tuple[int, frozenset[int]] | None:
        """(round, dealers) scored in this round: those of the previous one, if it trained.

        Nobody is if another committee made it, whose members hold the shares by which it would be scored.
        """
        last = self.previous
        if last is None or last.outcome != SETTLED or last.kind != RoundKind.TRAINING or last.config != self.config:
            return None
        return last.round, self.committee.members_of(last.dealers)

    @property
    def seen(self) -> frozenset[frozenset[int]]:
        """Dealer sets over the same model whose sums somebody may have seen: of abandoned rounds."""
        results = () if self.previous is None else (self.previous, *self.history)
        abandoned = (result.dealers for result in results if result.outcome == ABANDONED and result.dealers)
        return frozenset(map(self.committee.members_of, abandoned))

    @property
    def last_seen(self) -> frozenset[int]:
        """The set that an abandoned previous round names; empty if not all of it are members now.

        A part of it would be a set that nobody has seen the sum of.
        """
        last = self.previous
        if last is None or last.outcome != ABANDONED:
            return frozenset()
        named = self.committee.members_of(last.dealers)
        return named if named <= frozenset(self.members) else frozenset()

    def rank(self, member: int) -> int:
        """How many proposers stay silent before it is this member's turn to open the round."""
        return (member - self.round) % self.parameters.n

    def proposer(self, attempt: int) -> int:
        return self.parameters.proposer(self.round, attempt)


@dataclass(frozen=True, slots=True)
class Record:
    """A statement that was heard and verified."""

    message: AnyMessage
    envelope: Envelope
    digest: bytes


@dataclass(frozen=True, slots=True)
class Agreement:
    """Where one of the round's two agreements stands.

    Attributes:
        attempt: the attempt this member is in.
        prepared: the highest certificate that it holds.
        final: what a quorum committed to, and in which attempt.
    """

    attempt: int = 0
    prepared: Certificate | None = None
    final: tuple[int, Value] | None = None


@dataclass(slots=True)
class RoundState:
    """One member's view of one round; see the module's docstring.

    Attributes:
        heard: first version of each statement, by (kind, attempt, subject), then by sender.
        by_digest: Deals, Proofs and Receipts by (sender, digest), with the second versions that others rely on.
        evidence: by member, what proves it false to anybody: two versions, or a statement that breaks a rule.
        blamed: by member and reason, the statements that show it.
        missed: by phase, the members that were waited for in vain.
        working: by member, when it last gave a sign that it still trains.
        entered: by phase, when this member's round came to it.
        last_heard: by kind, when another member's first statement was last heard.
        second_votes: second versions of Confirms and Commits for a value that t + 1 members vote for.
        values: by digest, what may be voted for.
        timers: when each wait ends; fired: waits that have.
        begun: work asked for; asked: what was to be fetched; done: what is done once.
        shares: digests of what each dealer sent.
        payloads: digests of public bytes that are here.
        checked: by (dealer, digest of its share, digest of its Proof), whether these agree.
        proved: own polynomials by attempt.
        own_sum: digests of the own partial sum's pieces.
        rebuilt: digests of the pieces of the sum that are known to be true, by index.
        undecided: pieces of which the first partial sums did not agree.
        false_pieces: pieces that their members rebuilt falsely.
        own_checks: own answers to the challenges of rebuilt pieces.
        decoded: (model, why there is none, score direction).
        result: how the round ended; None until then.
    """

    context: Context
    phase: str = "OPEN"
    heard: dict[tuple[Kind, int, int], dict[int, Record]] = field(default_factory=dict)
    by_digest: dict[tuple[int, bytes], Record] = field(default_factory=dict)
    evidence: dict[int, tuple[Envelope, ...]] = field(default_factory=dict)
    second_votes: tuple[Record, ...] = ()
    values: dict[bytes, Value] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)
    fired: frozenset[str] = frozenset()
    begun: frozenset[Work] = frozenset()
    asked: dict[Fetch, None] = field(default_factory=dict)
    done: frozenset[str] = frozenset()
    down: frozenset[int] = frozenset()
    blamed: dict[tuple[int, str], tuple[Envelope, ...]] = field(default_factory=dict)
    missed: dict[str, frozenset[int]] = field(default_factory=dict)
    working: dict[int, float] = field(default_factory=dict)
    entered: dict[str, float] = field(default_factory=dict)
    last_heard: dict[Kind, float] = field(default_factory=dict)
    false_dealers: frozenset[int] = frozenset()
    shares: dict[int, frozenset[bytes]] = field(default_factory=dict)
    payloads: frozenset[bytes] = frozenset()
    checked: dict[tuple[int, bytes, bytes], bool] = field(default_factory=dict)
    own_shares: tuple[bytes, ...] | None = None
    proved: dict[int, bytes] = field(default_factory=dict)
    own_sum: tuple[bytes, ...] | None = None
    rebuilt: dict[int, bytes] = field(default_factory=dict)
    undecided: frozenset[int] = frozenset()
    false_pieces: frozenset[int] = frozenset()
    own_checks: tuple[tuple[int, bytes, bytes], ...] | None = None
    decoded: tuple[bytes | None, str, bytes] | None = None
    own_answers: tuple[tuple[int, int], ...] | None = None
    scores: tuple[int, ...] | None = None
    composed: tuple[RoundResult, ...] = ()
    agreements: tuple[Agreement, Agreement] = (Agreement(), Agreement())
    result: RoundResult | None = None

    def copy(self) -> RoundState:
        """A state that can be changed without changing this one (one level deep; inner dicts are replaced)."""
        return replace(
            self,
            heard=dict(self.heard),
            by_digest=dict(self.by_digest),
            evidence=dict(self.evidence),
            blamed=dict(self.blamed),
            missed=dict(self.missed),
            working=dict(self.working),
            entered=dict(self.entered),
            last_heard=dict(self.last_heard),
            values=dict(self.values),
            timers=dict(self.timers),
            asked=dict(self.asked),
            shares=dict(self.shares),
            checked=dict(self.checked),
            proved=dict(self.proved),
            rebuilt=dict(self.rebuilt),
        )

    @property
    def deadline(self) -> float | None:
        """When `Ticked` is due; None if nothing is waited for."""
        return min(self.timers.values(), default=None)

    @property
    def is_training(self) -> bool:
        """Whether Deals are still waited for: no Freeze has been heard."""
        return all(kind is not Kind.FREEZE for kind, _, _ in self.heard)

    @property
    def is_settled(self) -> bool:
        return self.result is not None

    def records(self, kind: Kind, attempt: int = 0, subject: int = 0) -> Mapping[int, Record]:
        """Statements heard of this key, by sender."""
        return self.heard.get((kind, attempt, subject), {})

    def envelopes(self) -> Iterator[Envelope]:
        """Everything heard, for members that lack it."""
        for records in self.heard.values():
            for record in records.values():
                yield record.envelope
        for (sender, _), record in self.by_digest.items():
            if self.heard[record.message.key][sender] is not record:
                yield record.envelope
        for record in self.second_votes:
            yield record.envelope
        for shown in self.evidence.values():
            yield shown[-1]  # the other of two versions is among those above

    def lacks(self, fetch: Fetch) -> bool:
        """Whether what was asked for is not here yet."""
        here = self.shares.get(fetch.dealer, frozenset()) if isinstance(fetch, FetchShare) else self.payloads
        return fetch.digest not in here

    def votes(self, kind: Kind, attempt: int, subject: int) -> list[Record]:
        """Every Confirm or Commit of this key, second versions among them: who votes twice counts for both values.

        Any two quorums share a member that votes once, so that no second value gains by it.
        """
        second = (record for record in self.second_votes if record.message.key == (kind, attempt, subject))
        return [*self.records(kind, attempt, subject).values(), *second]


class Turn:
    """One event's worth of changes to a state that this turn owns, and the effects they have."""

    def __init__(self, state: RoundState, now: float) -> None:
        self.state = state.copy()
        self.context = state.context
        self.now = now
        self.effects: list[Effect] = []

    # what was heard

    def get(self, kind: type[_M], member: int, attempt: int = 0, subject: int = 0) -> tuple[_M, bytes] | None:
        """The member's statement of this key and its digest, if heard."""
        record = self.state.records(kind.kind, attempt, subject).get(member)
        if record is None or not isinstance(record.message, kind):
            return None
        return record.message, record.digest

    def find(self, kind: type[_M], member: int, name: bytes) -> _M | None:
        """The member's Deal, Proof or Receipt with this digest, in whichever version and attempt; None if not heard."""
        record = self.state.by_digest.get((member, name))
        return record.message if record is not None and isinstance(record.message, kind) else None

    def all(self, kind: type[_M], attempt: int = 0, subject: int = 0) -> dict[int, _M]:
        """Every statement of this key, by sender."""
        records = self.state.records(kind.kind, attempt, subject)
        return {i: record.message for i, record in records.items() if isinstance(record.message, kind)}

    def has_said(self, kind: Kind, attempt: int = 0, subject: int = 0) -> bool:
        return self.context.me in self.state.records(kind, attempt, subject)

    def keep(self, sender: int, record: Record) -> None:
        key = record.message.key
        self.state.heard[key] = {**self.state.heard.get(key, {}), sender: record}
        self.state.last_heard[key[0]] = self.now
        if key[0] in (Kind.DEAL, Kind.PROOF, Kind.RECEIPT):
            self.state.by_digest[sender, record.digest] = record

    def keep_version(self, record: Record) -> None:
        """Keep a second version of a statement, beside the one that was heard first."""
        if record.message.key[0] in (Kind.CONFIRM, Kind.COMMIT):
            self.state.second_votes += (record,)
        else:
            self.state.by_digest[record.envelope.sender, record.digest] = record

    # what is said and done

    def say(self, message: AnyMessage) -> None:
        """Sign and announce a statement; the rules never make two of one key."""
        # [RULE] A member itself says one thing for each key: one Deal a round, one Proof an attempt
        if self.has_said(*message.key):
            return
        body = encode(message)
        signed = message.statement(body).signing_digest(self.context.domain)
        envelope = Envelope(self.context.me, body, self.context.sign(signed))
        self.keep(self.context.me, Record(message, envelope, message_digest(body)))
        self.effects.append(Announce(envelope))

    def work(self, work: Work) -> None:
        """Have work done, once."""
        if work not in self.state.begun:
            self.state.begun |= {work}
            self.effects.append(work)

    def fetch(self, fetch: Fetch) -> None:
        """Have something fetched, once; whatever happens then, it is wanted until it is here or the round ends."""
        if fetch not in self.state.asked:
            self.state.asked[fetch] = None
            self.effects.append(fetch)

    def once(self, name: str) -> bool:
        """Whether this is the first time that `name` is asked for."""
        if name in self.state.done:
            return False
        self.state.done |= {name}
        return True

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def blame(self, member: int, reason: str, *evidence: Envelope) -> None:
        if (member, reason) not in self.state.blamed:
            self.state.blamed[member, reason] = evidence
            self.emit(Blame(member, reason, evidence))

    def prove(self, member: int, reason: str, *evidence: Envelope) -> None:
        """Blame a member by what its own signatures show to anybody, and keep that for the others."""
        self.blame(member, reason, *evidence)
        self.state.evidence.setdefault(member, evidence)

    def enter(self, phase: str, attempt: int = 0) -> None:
        """Note that the round has come to `phase`; it never goes back."""
        if PHASES.index(phase) > PHASES.index(self.state.phase):
            self.state.phase = phase
            self.state.entered[phase] = self.now
            self.emit(Entered(phase, attempt))

    def miss(self, phase: str, members: frozenset[int]) -> None:
        if members:
            self.state.missed[phase] = self.state.missed.get(phase, frozenset()) | members
            self.emit(Missed(phase, tuple(sorted(members))))

    # time

    def wait(self, name: str, seconds: float) -> None:
        """Have `fired(name)` become true in so many seconds, unless it is already under way."""
        if name not in self.state.timers and name not in self.state.fired:
            self.state.timers[name] = self.now + seconds

    def wait_anew(self, name: str, seconds: float) -> None:
        """Start the wait again, from now."""
        self.state.fired -= {name}
        self.state.timers[name] = self.now + seconds

    def wait_longer(self, name: str, until: float) -> None:
        """Have a wait that began not end before this time, although it may have ended already."""
        if name in self.state.timers or name in self.state.fired:
            self.state.fired -= {name}
            self.state.timers[name] = max(until, self.state.timers.get(name, until))

    def fired(self, name: str) -> bool:
        return name in self.state.fired

    def drop_timers(self, prefix: str) -> None:
        for name in [name for name in self.state.timers if name.startswith(prefix)]:
            del self.state.timers[name]

    # agreements

    def agreement(self, subject: int) -> Agreement:
        return self.state.agreements[subject]

    def set_agreement(self, subject: int, agreement: Agreement) -> None:
        first, second = self.state.agreements
        self.state.agreements = (agreement, second) if subject == SET else (first, agreement)

    def learn_value(self, value: Value) -> bytes:
        """Remember a value by its digest, which is returned."""
        name = value_digest(value)
        self.state.values[name] = value
        return name

    @property
    def proven(self) -> frozenset[int]:
        """Members proven false in this round: what they reveal is left out, and so many fewer may be false.

        Only by evidence that everybody comes to have: whoever opens a sum by it must not be alone with it.
        """
        return frozenset(self.state.evidence)

    @property
    def expected(self) -> frozenset[int]:
        """Members worth waiting for."""
        return frozenset(self.context.members) - self.state.down


__all__ = ["OUTCOME", "PHASES", "SET", "Agreement", "Context", "Record", "RoundState", "Timing", "Turn"]
