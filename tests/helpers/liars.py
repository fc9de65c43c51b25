"""Members that lie: workshops that work falsely, and proposers with two faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from msgspec import structs

from gossip.chunks import decode_words, encode_words
from gossip.events import (
    Announce,
    Answered,
    AnswerScores,
    ChecksAnswered,
    CheckShare,
    Dealt,
    Effect,
    Event,
    Prove,
    Proved,
    Rebuild,
    Rebuilt,
    ShareChecked,
    Summed,
    SumShares,
    Tell,
    Work,
)
from gossip.events import Deal as DealWork
from gossip.messages import (
    Check,
    Commit,
    Complaint,
    Confirm,
    Deal,
    Envelope,
    Freeze,
    Message,
    Open,
    Piece,
    Proof,
    Propose,
    Receipt,
    Reveal,
    Score,
    Sign,
    Status,
    decode_message,
)
from gossip.parameters import MODULUS
from gossip.shamir import PREFIX_BYTES, Dealing
from gossip.spec import blob_digest
from gossip.statements import Kind, typed_data_digest
from gossip.values import (
    SET,
    OutcomeValue,
    SetValue,
    encode,
    value_digest,
)
from node.workshop import Workshop
from sim.node import SimulatedNode
from sim.scenario import Lie
from sim.world import World


def lie_at_work(world: World, member: int, lie: Callable[[Workshop, Work, Event | None], Event | None]) -> None:
    """Have one member's workshop answer as `lie` says."""
    workshop = world.nodes[member].workshop
    honest = workshop.perform
    workshop.perform = lambda work: lie(workshop, work, honest(work))  # type: ignore[method-assign]


def false_sum(workshop: Workshop, work: Work, event: Event | None) -> Event | None:
    """A partial sum that is off in one word."""
    if not isinstance(work, SumShares) or not isinstance(event, Summed):
        return event
    return Summed(tuple(_changed(workshop, name) for name in event.pieces))


def _changed(workshop: Workshop, name: bytes) -> bytes:
    """Digest of stored words of which the first is another one, stored as well."""
    stored = workshop.blobs.get(name)
    assert stored is not None
    words = decode_words(stored, len(stored) // 3)
    data = encode_words(np.concatenate([(words[:1] + 1) % MODULUS, words[1:]]).astype(np.uint32))
    workshop.blobs.put(blob_digest(data), workshop.start.round, data)
    return blob_digest(data)


def false_piece(workshop: Workshop, work: Work, event: Event | None) -> Event | None:
    """A rebuilt piece of the sum that is off in one word."""
    is_own = isinstance(work, Rebuild) and work.index == workshop.identity.me
    if not is_own or not isinstance(event, Rebuilt) or event.payload is None:
        return event
    return Rebuilt(event.index, _changed(workshop, event.payload), event.wrong)


def false_checks(workshop: Workshop, work: Work, event: Event | None) -> Event | None:
    """Answers to the challenges of rebuilt pieces that are those of another sum."""
    if not isinstance(event, ChecksAnswered):
        return event
    words = [(decode_words(answer, len(answer) // 3) + 1) % MODULUS for _, _, answer in event.answers]
    changed = [encode_words(answer.astype(np.uint32)) for answer in words]
    return ChecksAnswered(tuple((i, name, new) for (i, name, _), new in zip(event.answers, changed, strict=True)))


def false_proof(workshop: Workshop, work: Work, event: Event | None) -> Event | None:
    """A Proof of other polynomials."""
    if not isinstance(work, Prove) or not isinstance(event, Proved):
        return event
    count = len(event.polynomials) // 3
    words = (decode_words(event.polynomials, count) + 1) % MODULUS
    return Proved(event.attempt, encode_words(words.astype(np.uint32)))


def false_answers(workshop: Workshop, work: Work, event: Event | None) -> Event | None:
    """Score answers that would raise the first dealer's score."""
    if not isinstance(work, AnswerScores) or not isinstance(event, Answered) or not event.answers:
        return event
    (dealer, answer), *rest = event.answers
    return Answered(((dealer, (answer + 1000) % MODULUS), *rest))


class UnequalDealing:
    """A dealing whose share for one holder is another polynomial's, announced in the Deal as it is."""

    def __init__(self, honest: Dealing, victim: int, blob: bytes) -> None:
        self._honest, self._victim, self._blob = honest, victim, blob
        digests = list(honest.digests)
        digests[victim] = blob_digest(blob)
        self.digests = tuple(digests)

    def blob(self, holder: int) -> bytes:
        return self._blob if holder == self._victim else self._honest.blob(holder)

    def blob_chunks(self, holder: int) -> Iterator[bytes]:
        yield self.blob(holder)

    def __getattr__(self, name: str) -> object:
        return getattr(self._honest, name)


def deal_unequally(world: World, dealer: int, victim: int, *, is_canonical: bool = True) -> None:
    """Have `dealer` give `victim` a share that contradicts the others, or that is not even one."""
    workshop = world.nodes[dealer].workshop
    honest = workshop._own_dealing

    def unequal(deal_now: bool = False) -> UnequalDealing:
        dealing = honest(deal_now)
        blob = dealing.blob(victim)
        nonce, rest = blob[:PREFIX_BYTES], blob[PREFIX_BYTES:]
        if len(rest) == 16:
            changed = bytes([rest[0] ^ 1]) + rest[1:]
        elif not is_canonical:
            changed = b"\xff" * len(rest)
        else:
            words = decode_words(rest, len(rest) // 3)
            changed = encode_words(np.concatenate([(words[:1] + 1) % MODULUS, words[1:]]).astype(np.uint32))
        return UnequalDealing(dealing, victim, nonce + changed)

    workshop._own_dealing = unequal  # type: ignore[method-assign, assignment]


def deal_beyond_bounds(world: World, dealer: int) -> None:
    """Have `dealer` deal a number that is larger than the sum of what all may deal."""
    workshop = world.nodes[dealer].workshop
    honest = workshop._payload

    def payload() -> np.ndarray:
        words = honest().copy()
        words[0] = MODULUS // 2
        return words

    workshop._payload = payload  # type: ignore[method-assign]


def pass_for_own(world: World, liar: int, dealer: int, victim: int) -> None:
    """Have `liar` name the victim's share from `dealer` in its own Deal, as its own share, and complain about it."""
    node = world.nodes[liar]
    honest, at_once = node.workshop.perform, world._work

    def work_late(worker: SimulatedNode, work: Work) -> None:
        seconds = 2.0 if worker is node and isinstance(work, DealWork) else 0.0
        world._later(seconds, lambda: at_once(worker, work))

    def perform(work: Work) -> Event | None:
        if isinstance(work, CheckShare) and work.dealer == liar:
            return ShareChecked(work.dealer, work.share, work.proof, agrees=False)
        event = honest(work)
        if isinstance(event, Dealt) and node.session is not None:
            deal = node.session.current.records(Kind.DEAL)[dealer].message
            assert isinstance(deal, Deal)
            return Dealt(tuple(deal.shares[victim] if i == liar else name for i, name in enumerate(event.shares)))
        return event

    world._work = work_late  # type: ignore[method-assign]
    node.workshop.perform = perform  # type: ignore[method-assign]


def deal_late(world: World, dealer: int, victim: int, *, never_in_round: int | None = None) -> None:
    """Have `dealer` give `victim` its share only when that one has said its Receipt; in one round not even then."""
    workshop, receiver = world.nodes[dealer].workshop, world.nodes[victim]
    shares, share_of = workshop.shares, workshop.share_of

    def is_held_back(holder: int) -> bool:
        return holder == victim and (never_in_round is None or workshop.start.round == never_in_round)

    workshop.shares = lambda: (share for share in shares() if not is_held_back(share.holder))  # type: ignore[method-assign]

    def late_share_of(holder: int, name: bytes) -> bytes | None:
        heard = {} if receiver.session is None else receiver.session.current.records(Kind.RECEIPT)
        has_receipt = victim in heard and never_in_round is None
        return share_of(holder, name) if not is_held_back(holder) or has_receipt else None

    workshop.share_of = late_share_of  # type: ignore[method-assign]


def signed(node: SimulatedNode, message: Message) -> Envelope:
    """A message as the member itself would send it."""
    identity, body = node.identity, encode(message)
    return Envelope(identity.me, body, identity.sign(message.statement(body).signing_digest(identity.domain)))


# --- what is said ---------------------------------------------------------------------------------------------------

Instead = Callable[[SimulatedNode, Message, Envelope], list[Effect] | None]
"""What a liar does instead of making this statement; None = it makes it."""


def in_place_of(tell: Instead, stops_after: Callable[[Message], bool] = lambda message: False) -> Lie:
    """Do what `tell` gives in place of making a statement, and make it where that is None; stop for good after one."""
    has_stopped = False

    def lie(node: SimulatedNode, effects: list[Effect]) -> list[Effect]:
        nonlocal has_stopped
        told: list[Effect] = []
        for effect in effects:
            if has_stopped:
                break
            instead = None
            if isinstance(effect, Announce):
                message = decode_message(effect.envelope.body)
                instead = tell(node, message, effect.envelope)
                has_stopped = stops_after(message)
            told += [effect] if instead is None else instead
        return told

    return lie


def tell_each(node: SimulatedNode, envelopes_for: Callable[[int], tuple[Envelope, ...]]) -> list[Effect]:
    """Tell every other member what it is to hear."""
    return [Tell(member, envelopes_for(member)) for member in range(len(node.identity.signers)) if member != node.me]


def show_versions(shows_other: Callable[[SimulatedNode, Message, int], bool]) -> Instead:
    """Show some members another version of a statement, where there is one; `shows_other(node, message, member)`."""

    def tell(node: SimulatedNode, message: Message, first: Envelope) -> list[Effect] | None:
        other = other_version(node, message)
        if other is None or not any(shows_other(node, message, member) for member in range(len(node.identity.signers))):
            return None
        second = signed(node, other)
        return tell_each(node, lambda member: (second if shows_other(node, message, member) else first,))

    return tell


def commits_to(subject: int) -> Callable[[Message], bool]:
    """Whether a statement is a Commit in one of the agreements."""
    return lambda message: isinstance(message, Commit) and message.subject == subject


def two_faced(proposer: SimulatedNode, effects: list[Effect]) -> list[Effect]:
    """Propose one set to the lower half of the members and a smaller one to the others; vote for both."""

    def tell(node: SimulatedNode, message: Message, first: Envelope) -> list[Effect] | None:
        if not isinstance(message, Propose) or not isinstance(message.value, SetValue) or len(message.value.deals) <= 3:
            return None
        smaller = other_version(node, message)
        assert isinstance(smaller, Propose)
        key = (message.config, message.round, message.attempt, message.subject, value_digest(smaller.value))
        second = (signed(node, smaller), signed(node, Confirm(*key)), signed(node, Commit(*key)))
        n = len(node.identity.signers)
        return tell_each(node, lambda member: (first,) if member < n // 2 else second)

    return in_place_of(tell)(proposer, effects)


def complain_of(dealer: int, is_its_share: bool) -> Lie:
    """Complain of a true dealer, showing the share that it gave, or one that it never dealt."""

    def tell(node: SimulatedNode, message: Message, receipt: Envelope) -> list[Effect] | None:
        if not isinstance(message, Receipt) or node.session is None:
            return None
        deal = node.session.current.records(Kind.DEAL)[dealer].message
        assert isinstance(deal, Deal)
        share = deal.shares[node.me if is_its_share else dealer]
        proof = dict(message.proofs)[dealer]
        where = (message.config, message.round, message.attempt, dealer)
        return [Announce(receipt), Announce(signed(node, Complaint(*where, message.freeze, proof, share)))]

    return in_place_of(tell)


def equivocate(kind: Kind) -> Lie:
    """Say one thing to the lower half of the members and another to the rest, in every statement of a kind."""
    return in_place_of(
        show_versions(lambda node, message, member: message.kind is kind and member >= len(node.identity.signers) // 2)
    )


def withhold(kind: Kind) -> Lie:
    """Never make one kind of statement."""
    return in_place_of(lambda node, message, envelope: [] if message.kind is kind else None)


def tell_apart(kind: Kind, victim: int, stops_at: int = SET) -> Lie:
    """Show one member another version of a statement than the others, and stop after one's Commit."""
    versions = show_versions(lambda node, message, member: message.kind is kind and member == victim)
    return in_place_of(versions, stops_after=commits_to(stops_at))


def tell_friend(kind: Kind, friend: int, last_round: int) -> Lie:
    """In one round, make one kind of statement truly to one member and falsely to the others, and stop."""

    def is_last(message: Message) -> bool:
        return message.kind is kind and message.round == last_round

    versions = show_versions(lambda node, message, member: is_last(message) and member != friend)
    return in_place_of(versions, stops_after=is_last)


def show_fault_to(friend: int, *, breaks_rule: bool) -> Lie:
    """After its Commit to a set, say something false to one member alone, and stop."""

    def tell(node: SimulatedNode, message: Message, commit: Envelope) -> list[Effect] | None:
        if not isinstance(message, Commit) or message.subject != SET:
            return None
        false = structs.replace(message, value=blob_digest(b"another"))
        status = Status(message.config, message.round, 0, SET, None)
        return [Announce(commit), Tell(friend, (signed(node, status if breaks_rule else false),))]

    return in_place_of(tell, stops_after=commits_to(SET))


def vote_apart(subject: int) -> Lie:
    """Show the last member another proposal and vote for it there; commit to the first one for member 0 alone; stop."""
    others: dict[bytes, bytes] = {}

    def tell(node: SimulatedNode, message: Message, first: Envelope) -> list[Effect] | None:
        if not isinstance(message, Propose | Confirm | Commit) or message.subject != subject:
            return None
        if isinstance(message, Propose):
            other = other_version(node, message)
            assert isinstance(other, Propose)
            others[value_digest(message.value)] = value_digest(other.value)
        else:
            other = structs.replace(message, value=others[message.value])
        second, last = signed(node, other), len(node.identity.signers) - 1
        is_for_one = isinstance(message, Commit)
        return tell_each(node, lambda member: (first if (member == 0 if is_for_one else member != last) else second,))

    return in_place_of(tell, stops_after=commits_to(subject))


def other_version(node: SimulatedNode, message: Message) -> Message | None:
    """Another statement of the same key that breaks no other rule; None if there is none."""
    match message:
        case Open():
            return structs.replace(message, cumulative=(bytes(15) + b"\1", *message.cumulative[1:]))
        case Deal():
            return structs.replace(message, shares=(blob_digest(b"another"), *message.shares[1:]))
        case Freeze() if len(message.deals) > node.identity.parameters.min_dealers:
            return structs.replace(message, deals=message.deals[1:])
        case Proof():
            words = decode_words(message.polynomials, len(message.polynomials) // 3)
            return structs.replace(message, polynomials=encode_words(((words + 1) % MODULUS).astype(np.uint32)))
        case Receipt() if message.proofs:
            return structs.replace(message, proofs=message.proofs[1:])
        case Propose() if isinstance(message.value, SetValue):
            value = structs.replace(message.value, deals=message.value.deals[:-1], proofs=message.value.proofs[:-1])
            return structs.replace(message, value=value)
        case Propose() if isinstance(message.value, OutcomeValue):
            result = structs.replace(message.value.result, model=blob_digest(b"another"))
            return structs.replace(message, value=OutcomeValue(result))
        case Confirm() | Commit():
            return structs.replace(message, value=blob_digest(b"another"))
        case Reveal():
            return structs.replace(message, pieces=(blob_digest(b"another"), *message.pieces[1:]))
        case Piece():
            return structs.replace(message, payload=blob_digest(b"another"))
        case Check() if message.answers:
            return structs.replace(message, answers=message.answers[1:])
        case Score():
            (dealer, answer), *rest = message.answers
            return structs.replace(message, answers=((dealer, (answer + 1) % MODULUS), *rest))
        case Sign():
            result = blob_digest(b"another")
            signature = node.identity.sign(typed_data_digest(node.identity.domain, result))
            return structs.replace(message, result=result, signature=signature)
    return None
