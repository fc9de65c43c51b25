"""Who has heard what: summaries that peers exchange, so that each sends what the other lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from gossip import versions
from gossip.errors import BadSignature
from gossip.messages import (
    AnyMessage,
    Envelope,
    Open,
    decode_message,
    longest_message,
    message_digest,
    verify_envelope,
)
from gossip.round import is_within_reach, proves_false
from gossip.session import Session
from gossip.state import Record, RoundState
from node.frames import MOST_IDS, Summary, short_id

FEWEST_TAKEN = 256
"""Envelopes of one sender that a round's log takes at least; an honest member says some tens."""

SHORT_BYTES = 2048
LONG_MESSAGES = 8


def most_taken(n: int) -> int:
    """Envelopes of one sender that a round's log takes, so that a summary can list those of liars and all others."""
    return max(FEWEST_TAKEN, MOST_IDS // (2 * n))


def most_bytes(n: int) -> int:
    """Bytes of them: an honest member's are short but for a few Proposes."""
    return most_taken(n) * SHORT_BYTES + LONG_MESSAGES * longest_message(n)


class Exchange:
    """What this node has heard and what its peers last said that they have.

    Attributes:
        finished: PeerIDs that have said that their last round is over and recorded.
    """

    def __init__(self) -> None:
        self._bytes: Counter[int] = Counter()
        self._let_in_after_all: set[bytes] = set()
        self._proven: dict[int, bytes] = {}
        self._seen: set[bytes] = set()
        self._taken: Counter[int] = Counter()
        self.finished: set[str] = set()

    def begin(self, session: Session) -> None:
        """A round begins: forget what was only of use before it."""
        self._seen = {short_id(envelope) for envelope in session.envelopes()}
        self._taken.clear()
        self._bytes.clear()
        self._let_in_after_all.clear()
        self._proven.clear()

    def said(self, envelope: Envelope) -> None:
        """This node itself said it."""
        self._seen.add(short_id(envelope))

    def is_news(self, envelope: Envelope, session: Session) -> bool:
        """Whether it deserves a place in the log: genuine, not heard before, of this round or the way to a later one.

        Raises:
            MalformedMessage: its bytes are no message.
            BadSignature: whoever it names did not sign it, although it is of this roster.
        """
        name = short_id(envelope)
        if name in self._seen or self._says_too_much(envelope, session):
            return self._is_missed(name, envelope, session)
        message = decode_message(envelope.body)
        if len(envelope.body) > longest_message(session.current.context.parameters.n) and not isinstance(message, Open):
            return False
        current = session.current.context.round
        # Of rounds further ahead, the Open alone says that this node has fallen behind.
        if message.round < current or (message.round > current + 1 and not isinstance(message, Open)):
            return False
        if message.round == current and not is_within_reach(session.current, message):
            return False
        if not self._is_genuine(envelope, message, session):
            return False
        self._seen.add(name)
        self._taken[envelope.sender] += 1
        self._bytes[envelope.sender] += len(envelope.body)
        return True

    def has_seen(self, envelope: Envelope) -> bool:
        """Whether it was heard, or said, before."""
        return short_id(envelope) in self._seen

    def _is_genuine(self, envelope: Envelope, message: AnyMessage, session: Session) -> bool:
        identity, committee = session.identity, session.identity.committee_of(message.round)
        try:
            if verify_envelope(envelope, message, identity.domain, committee.keys):
                return True
        except BadSignature:
            pass  # nobody's
        if message.config == committee.config:
            raise BadSignature(f"member {envelope.sender} did not sign this", peer=envelope.sender)
        return False  # another roster may have another signer there: no fault of whoever passes it on

    def _says_too_much(self, envelope: Envelope, session: Session) -> bool:
        sender, size, n = envelope.sender, len(envelope.body), session.current.context.parameters.n
        return self._taken[sender] >= most_taken(n) or self._bytes[sender] + size > most_bytes(n)

    def _is_missed(self, name: bytes, envelope: Envelope, session: Session) -> bool:
        """Whether others go by what was put aside here, for another version or because its sender says too much; or
        whether it is the first evidence against its sender.

        Each is let in once: what breaks a rule is not kept, and would come again and again.
        """
        state, sender = session.current, envelope.sender
        is_suspect = (sender, "equivocation") in state.blamed or self._says_too_much(envelope, session)
        if name in self._let_in_after_all or not is_suspect:
            return False
        message = decode_message(envelope.body)
        if (message.config, message.round) != (state.context.config, state.context.round):
            return False
        record = Record(message, envelope, message_digest(envelope.body))
        is_known = state.records(*message.key).get(sender)
        if is_known is not None and is_known.digest == record.digest:
            return False
        is_proof = sender not in self._proven and proves_false(state, sender, message)
        if not versions.is_relied_upon(state, record) and not is_proof:
            return False
        if not self._is_genuine(envelope, message, session):
            return False
        self._let_in_after_all.add(name)
        if is_proof:
            self._proven[sender] = name
        return True

    def forget(self, envelope: Envelope) -> None:
        """It was news, and there was no room for it: let it be news again."""
        name = short_id(envelope)
        if name in self._seen:
            self._seen.discard(name)
            self._taken[envelope.sender] -= 1
            self._bytes[envelope.sender] -= len(envelope.body)
        self._let_in_after_all.discard(name)
        if self._proven.get(envelope.sender) == name:
            del self._proven[envelope.sender]

    def lacking(self, peer_id: str, summary: Summary, session: Session | None) -> list[Envelope]:
        """What a peer that sent this summary has not heard and can still use."""
        if summary.is_finished:
            self.finished.add(peer_id)
        if session is None or summary.round > session.current.context.round:
            return []
        has = summary.has()
        useful = [state for state in _rounds(session) if state.context.round >= summary.round]
        return [envelope for state in useful for envelope in state.envelopes() if short_id(envelope) not in has]


def summarise(session: Session, is_finished: bool, work: int = 0) -> Summary:
    """What a session has heard of its round and the one before."""
    ids = b"".join(short_id(envelope) for envelope in islice(session.envelopes(), MOST_IDS))
    return Summary(session.current.context.round, session.current.phase, is_finished, work, ids)


def _rounds(session: Session) -> Iterator[RoundState]:
    return (state for state in (session.last, session.current) if state is not None)
