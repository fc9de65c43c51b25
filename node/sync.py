"""Who has heard what: summaries that peers exchange, so that each sends what the other lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from gossip import versions
from gossip.errors import BadSignature
from gossip.messages import Envelope, Open, decode_message, message_digest, verify_envelope
from gossip.round import is_within_reach
from gossip.session import Identity, Session
from gossip.state import Record, RoundState
from node.frames import MOST_IDS, Summary, short_id

FEWEST_TAKEN = 256
"""Envelopes of one sender that a round's log takes at least; an honest member says some tens."""


def most_taken(n: int) -> int:
    """Envelopes of one sender that a round's log takes, so that a summary can list those of liars and all others."""
    return max(FEWEST_TAKEN, MOST_IDS // (2 * n))


class Exchange:
    """What this node has heard and what its peers last said that they have.

    Attributes:
        finished: PeerIDs that have said that their last round is over and recorded.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._most = most_taken(len(identity.signers))
        self._seen: set[bytes] = set()
        self._taken: Counter[int] = Counter()
        self.finished: set[str] = set()

    def begin(self, session: Session) -> None:
        """A round begins: forget what was only of use before it."""
        self._seen = {short_id(envelope) for envelope in session.envelopes()}
        self._taken.clear()

    def said(self, envelope: Envelope) -> None:
        """This node itself said it."""
        self._seen.add(short_id(envelope))

    def is_news(self, envelope: Envelope, session: Session) -> bool:
        """Whether it deserves a place in the log: genuine, not heard before, of this round or the way to a later one.

        Raises:
            MalformedMessage: its bytes are no message.
        """
        name = short_id(envelope)
        if name in self._seen:
            return _is_missed(envelope, session)
        if self._taken[envelope.sender] >= self._most:
            return False
        message = decode_message(envelope.body)
        current = session.current.context.round
        # Of rounds further ahead, the Open alone says that this node has fallen behind.
        if message.round < current or (message.round > current + 1 and not isinstance(message, Open)):
            return False
        if message.round == current and not is_within_reach(session.current, message):
            return False
        identity = self._identity
        try:
            if not verify_envelope(envelope, message, identity.domain, identity.signers):
                return False
        except BadSignature:
            return False
        self._seen.add(name)
        self._taken[envelope.sender] += 1
        return True

    def forget(self, envelope: Envelope) -> None:
        """It was news, and there was no room for it: let it be news again."""
        self._seen.discard(short_id(envelope))

    def lacking(self, peer_id: str, summary: Summary, session: Session | None) -> list[Envelope]:
        """What a peer that sent this summary has not heard and can still use."""
        if summary.is_finished:
            self.finished.add(peer_id)
        if session is None or summary.round > session.current.context.round:
            return []
        has = summary.has()
        useful = [state for state in _rounds(session) if state.context.round >= summary.round]
        return [envelope for state in useful for envelope in state.envelopes() if short_id(envelope) not in has]


def summarise(session: Session, is_finished: bool) -> Summary:
    """What a session has heard of its round and the one before."""
    ids = b"".join(short_id(envelope) for envelope in islice(session.envelopes(), MOST_IDS))
    return Summary(session.current.context.round, session.current.phase, is_finished, ids)


def _is_missed(envelope: Envelope, session: Session) -> bool:
    """Whether it was heard, and put aside for another version, by which others turn out to go."""
    state = session.current
    if (envelope.sender, "equivocation") not in state.blamed:
        return False
    message = decode_message(envelope.body)
    if message.round != state.context.round:
        return False
    record = Record(message, envelope, message_digest(envelope.body))
    return versions.is_relied_upon(state, record)


def _rounds(session: Session) -> Iterator[RoundState]:
    return (state for state in (session.last, session.current) if state is not None)
