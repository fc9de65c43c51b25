"""A member's part in one round after another, as a pure function over the round's.

It routes messages to the round they are for, keeps a bounded number of those for rounds that have not begun here, and
notices when the others have gone on without this member: an Open carries the quorum's signatures of the result that it
starts from, so whoever was away needs nobody's word for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec

from gossip import round as one_round
from gossip.committee import Committee, committee_of
from gossip.errors import BadSignature, MalformedMessage
from gossip.events import Effect, Event, Heard, LaggedBehind, PeerDown, PeerUp
from gossip.layout import Layout
from gossip.messages import (
    Envelope,
    Open,
    decode_message,
    verify_envelope,
)
from gossip.pace import Pace, adapt, after_round
from gossip.parameters import Parameters
from gossip.proofs import proof_size
from gossip.results import is_history, is_signed
from gossip.spec import TaskSpec
from gossip.state import Context, RoundState, Timing
from gossip.statements import Domain
from gossip.values import RoundResult

MAX_KEPT_AHEAD = 64
"""Envelopes of later rounds that are kept for each sender."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a member is, and the consortium that it takes part in; see `Context` for the other fields.

    Attributes:
        rewards_root: Merkle root of cumulative rewards, 16 bytes of wei each, as a result commits to them.
        plan: the committees of all rounds as far as they are known, in the order of their first rounds, from round 0
            on; empty where there is but one.
    """

    me: int
    committee: Committee
    sign: Callable[[bytes], bytes]
    domain: Domain
    timing: Timing
    rewards_root: Callable[[tuple[bytes, ...]], bytes]
    plan: tuple[Committee, ...] = ()

    @property
    def signers(self) -> tuple[bytes, ...]:
        return self.committee.keys

    @property
    def config(self) -> bytes:
        return self.committee.config

    @property
    def spec(self) -> TaskSpec:
        return self.committee.spec

    @property
    def parameters(self) -> Parameters:
        return self.committee.parameters

    def committee_of(self, round_id: int) -> Committee:
        """Who makes a round, as far as is known."""
        return committee_of(self.plan, round_id) if self.plan else self.committee


class RoundStart(msgspec.Struct, frozen=True, array_like=True):
    """What a round starts from; everything else about it follows from the spec.

    Attributes:
        round: number of the round.
        model: digest of the model to start from.
        previous: the previous round's result; None in round 0.
        signatures: a quorum's, of that result.
        cumulative: rewards that it commits to, 16 bytes of wei each.
        history: results of the abandoned rounds before `previous`, as `messages.Open` has them.
    """

    round: int
    model: bytes
    previous: RoundResult | None
    signatures: tuple[tuple[int, bytes], ...]
    cumulative: tuple[bytes, ...]
    history: tuple[RoundResult, ...] = ()


class Conduct(msgspec.Struct, frozen=True, array_like=True):
    """What a member remembers of the others' faults in earlier rounds.

    Attributes:
        once: members named with evidence in at least one round.
        again: those named in at least two; they are left out of this member's proposals.
        refused: the last round's sum was beyond the task's bounds: this member proposes another set over that model.
    """

    once: frozenset[int] = frozenset()
    again: frozenset[int] = frozenset()
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Where one member stands.

    Attributes:
        identity: who it is.
        current: the round under way.
        last: the round before it, for members that still ask.
        down: members without a live connection.
        ahead: envelopes for rounds that have not begun here.
        behind: the Open of the latest round that others have gone on to, on a signed result; None if there is none.
        conduct: the others' faults before the round under way.
        pace: how long the rounds before it took.
    """

    identity: Identity
    current: RoundState
    last: RoundState | None = None
    down: frozenset[int] = frozenset()
    ahead: tuple[tuple[int, Envelope], ...] = ()
    behind: Open | None = None
    conduct: Conduct = field(default_factory=Conduct)
    pace: Pace = field(default_factory=Pace)

    @property
    def deadline(self) -> float | None:
        return self.current.deadline

    def envelopes(self) -> list[Envelope]:
        """What a member that was away may lack: everything said in this round and the one before."""
        rounds = [state for state in (self.last, self.current) if state is not None]
        return [envelope for state in rounds for envelope in state.envelopes()]


def start(
    identity: Identity, begin: RoundStart, now: float, conduct: Conduct | None = None, pace: Pace | None = None
) -> tuple[Session, list[Effect]]:
    """A session at the beginning of a round; `conduct` and `pace` as `memory_after` the round before it gave."""
    conduct, pace = conduct or Conduct(), pace or Pace()
    state, effects = one_round.begin(context_of(identity, begin, conduct, pace), now)
    return Session(identity, state, conduct=conduct, pace=pace), effects


def memory_after(session: Session, committee: Committee) -> tuple[Conduct, Pace]:
    """What the members of a committee remember once the round under way is left."""
    conduct, before = _conduct_after(session), session.current.context.committee
    once, again = before.moved(conduct.once, committee), before.moved(conduct.again, committee)
    return Conduct(once, again, conduct.refused), after_round(session.pace, session.current)


def _conduct_after(session: Session) -> Conduct:
    conduct, current = session.conduct, session.current
    named = frozenset(member for member, _ in current.blamed)
    refused = current.decoded is not None and current.decoded[0] is None
    return Conduct(conduct.once | named, conduct.again | (conduct.once & named), refused)


def advance(
    session: Session, identity: Identity, begin: RoundStart, now: float
) -> tuple[Session, list[Effect], list[Event]]:
    """Go on to a later round as whom the member is in it: the session, what to do, and the events to handle next.

    Those events (who is away, what was already said in the round) are handed back and not handled here, so that they
    go through the log like any other and a replay sees what this member saw.
    """
    conduct, pace = memory_after(session, identity.committee)
    state, effects = one_round.begin(context_of(identity, begin, conduct, pace), now)
    down = session.current.context.committee.moved(session.down, identity.committee)
    waiting: list[Event] = [PeerDown(member) for member in sorted(down)]
    waiting += [Heard(envelope) for number, envelope in session.ahead if number == begin.round]
    session = replace(
        session,
        identity=identity,
        current=state,
        last=session.current,
        down=down,
        ahead=tuple((number, envelope) for number, envelope in session.ahead if number > begin.round),
        behind=session.behind if session.behind is not None and session.behind.round > begin.round else None,
        conduct=conduct,
        pace=pace,
    )
    return session, effects, waiting


def step(session: Session, event: Event, now: float) -> tuple[Session, list[Effect]]:
    """The session after `event`, and what should happen."""
    match event:
        case Heard(envelope):
            return _hear(session, envelope, now)
        case PeerUp(member):
            session = replace(session, down=session.down - {member})
        case PeerDown(member):
            session = replace(session, down=session.down | {member})
        case _:
            pass
    return _step_current(session, event, now)


def resume(session: Session) -> list[Effect]:
    """What to do after a restart, once the round's events have been replayed; the session stays as it is."""
    behind: list[Effect] = [] if session.behind is None else [LaggedBehind(session.behind)]
    return one_round.resume(session.current) + behind


def _step_current(session: Session, event: Event, now: float) -> tuple[Session, list[Effect]]:
    state, effects = one_round.step(session.current, event, now)
    return replace(session, current=state), effects


def _hear(session: Session, envelope: Envelope, now: float) -> tuple[Session, list[Effect]]:
    try:
        message = decode_message(envelope.body)
    except MalformedMessage:
        return session, []
    current = session.current.context.round
    if message.round == current:
        return _step_current(session, Heard(envelope), now)
    committee = session.identity.committee_of(message.round)
    is_ours = message.config == committee.config
    if message.round < current or not is_ours or not _is_genuine(session, committee, envelope, message):
        return session, []
    kept = [number for number, other in session.ahead if other.sender == envelope.sender]
    if len(kept) < MAX_KEPT_AHEAD and (message.round, envelope) not in session.ahead:
        session = replace(session, ahead=(*session.ahead, (message.round, envelope)))
    is_later = isinstance(message, Open) and (session.behind is None or message.round > session.behind.round)
    if isinstance(message, Open) and is_later and is_certified(session.identity, message):
        return replace(session, behind=message), [LaggedBehind(message)]
    return session, []


def is_certified(identity: Identity, opened: Open) -> bool:
    """Whether a quorum signed the result that the round is opened on."""
    result = opened.previous
    if result is None:
        return False
    # [REJECT] Who was away goes on with the result of the round before the one that opens
    if result.round != opened.round - 1:
        return False
    # [REJECT] Who was away goes on with the model of that result
    if result.model != opened.model:
        return False
    committee = identity.committee_of(result.round)
    # [REJECT] Who was away goes on with a result of the roster and task that its round belongs to
    if result.config != committee.config:
        return False
    # [REJECT] Who was away is told the rewards that the result commits to
    if identity.rewards_root(opened.cumulative) != result.rewards:
        return False
    # [REJECT] Who was away is told the abandoned rounds before the result, as it names them
    if not is_history(result, opened.history):
        return False
    # [REJECT] Who was away goes on with a result that a quorum signed
    return is_signed(committee, identity.domain, result, opened.signatures)


def _is_genuine(session: Session, committee: Committee, envelope: Envelope, message: Open | msgspec.Struct) -> bool:
    try:
        return verify_envelope(envelope, message, session.identity.domain, committee.keys)  # type: ignore[arg-type]
    except BadSignature:
        return False


def context_of(identity: Identity, begin: RoundStart, conduct: Conduct, pace: Pace) -> Context:
    """What does not change during the round that begins so."""
    parameters = identity.parameters
    layout = Layout.for_round(parameters, identity.spec, begin.round)
    return Context(
        me=identity.me,
        committee=identity.committee,
        before=identity.committee if begin.round == 0 else identity.committee_of(begin.round - 1),
        sign=identity.sign,
        domain=identity.domain,
        round=begin.round,
        kind=identity.spec.kind(begin.round),
        model=begin.model,
        previous=begin.previous,
        previous_signatures=begin.signatures,
        cumulative=begin.cumulative,
        proof_bytes=proof_size(layout),
        pieces=layout.pieces,
        timing=adapt(identity.timing, pace),
        left_out=conduct.again - {identity.me},
        history=begin.history,
        named=(conduct.once | conduct.again) - {identity.me},
        refused=conduct.refused,
    )
