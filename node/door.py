"""What the peers bring to a node: the transport's handlers, which judge quickly and leave the rest to the loop."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from gossip.errors import BadSignature
from gossip.events import Heard, PeerDown, PeerUp
from gossip.messages import UNREADABLE, Envelope
from gossip.round import MAX_SHARES_KEPT, announced_shares
from gossip.session import Session
from gossip.shamir import blob_size
from gossip.transport.payloads import Sink, Source, Stored
from node.allowance import BYTES_PER_CREDIT, FORGED_COST, PLAIN_COST, SEEN_COST, SUMMARY_COST, Allowance
from node.frames import Summary, decode_frame, encode_frame
from node.transfers import public_names

if TYPE_CHECKING:
    from node.runner import Node

SHUN_SECONDS = 15.0
"""That a peer is dropped for which announced more than an honest one has to."""


class Door:
    """The handlers of one node; see `gossip.transport.Handlers`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._allowances: dict[str, Allowance] = {}
        self._offered_in = -1
        self._offered: dict[int, set[bytes]] = {}

    def on_connected(self, peer_id: str) -> None:
        self._node.reporter.connected(peer_id)
        member = self._node.admission.index_of(peer_id)
        if member is not None:
            self._node.inbox.offer(PeerUp(member))
        self._node.send_summary(peer_id)

    def on_lost(self, peer_id: str) -> None:
        self._node.reporter.lost(peer_id)
        member = self._node.admission.index_of(peer_id)
        if member is not None:
            self._node.inbox.offer(PeerDown(member))

    def on_gap(self, peer_id: str) -> None:
        self._node.send_summary(peer_id)

    def on_announcement(self, peer_id: str, message: bytes) -> None:
        node, frame = self._node, decode_frame(message)
        node.reporter.heard(peer_id)
        if isinstance(frame, Summary):
            member = node.admission.index_of(peer_id)
            if member is not None:
                node.note_work(member, frame.round, frame.work)
            if not self._may_cause(peer_id, SUMMARY_COST):
                return
            lacking = node.exchange.lacking(peer_id, frame, node.current)
            if self._may_cause(peer_id, len(lacking) * SEEN_COST):
                for envelope in lacking:
                    node.transport.announce(encode_frame(envelope), to=peer_id)
        elif node.current is not None and self._is_news(peer_id, frame, node.current):
            has_room = node.inbox.offer(Heard(frame))
            if not has_room:
                node.exchange.forget(frame)

    def _is_news(self, peer_id: str, envelope: Envelope, session: Session) -> bool:
        """Whether to log it.  Bounds what a peer can have this node do, with news of its own as with forged ones."""
        exchange = self._node.exchange
        cost = SEEN_COST if exchange.has_seen(envelope) else PLAIN_COST
        if not self._may_cause(peer_id, cost + len(envelope.body) / BYTES_PER_CREDIT):
            return False
        try:
            return exchange.is_news(envelope, session)
        except BadSignature:
            self._node.transport.blame(peer_id, "forged")
            self._may_cause(peer_id, FORGED_COST)
            return False

    def _may_cause(self, peer_id: str, cost: float) -> bool:
        """Whether a peer has that much credit left; who has not is dropped for a while."""
        now = time.monotonic()
        allowance = self._allowances.get(peer_id)
        if allowance is None:
            allowance = self._allowances[peer_id] = Allowance(len(self._node.workshop.identity.signers), now)
        if allowance.spend(cost, now):
            return True
        self._node.transport.blame(peer_id, "flooding")
        self._node.transport.shun(peer_id, SHUN_SECONDS)
        return False

    def judge_offer(self, peer_id: str, header: bytes, size: int, digest: bytes) -> str | None:
        node = self._node
        try:
            round_id, dealer = msgspec.msgpack.decode(header, type=tuple[int, int])
        except UNREADABLE:
            return "the header of an offer is (round, dealer)"
        if node.admission.index_of(peer_id) != dealer:
            return "a member offers its own dealing only"
        if node.current is None or round_id != node.round:
            return "another round is under way here"
        if digest in node.current.current.shares.get(dealer, frozenset()):
            return "it is here already"
        if not self._is_expected(round_id, dealer, digest):
            return "another share of this dealing was announced, or is here"
        expected = blob_size(node.workshop.layout, dealer, node.me)
        return None if size == expected else f"a share has {expected} bytes here, and the offer {size}"

    def _is_expected(self, round_id: int, dealer: int, digest: bytes) -> bool:
        """Whether to take a share: the one that its dealer announced, or, before that is heard, one or two others."""
        if round_id != self._offered_in:
            self._offered_in, self._offered = round_id, {}
        offered = self._offered.setdefault(dealer, set())
        current = self._node.session.current
        announced = announced_shares(current, dealer)
        if digest not in offered and digest not in announced and (announced or len(offered) >= MAX_SHARES_KEPT):
            return False
        offered.add(digest)
        return True

    def open_sink(self, size: int) -> Sink:
        return self._node.spool.open()

    async def on_payload(self, peer_id: str, header: bytes, payload: Sink) -> None:
        node = self._node
        round_id, dealer = msgspec.msgpack.decode(header, type=tuple[int, int])
        if round_id != node.round:
            return payload.discard()
        event = await node.threads.at_the_disk(lambda: node.workshop.accept_share(round_id, dealer, payload.take()))
        if event is not None:
            node.inbox.offer(event, round_id)

    async def find_blob(self, peer_id: str, digest: bytes) -> Source | None:
        """A member's own share, or what is public: models, revealed sums, shares complained about."""
        node = self._node
        own = None if node.current is None else node.current.current.own_shares
        holder = node.admission.index_of(peer_id)
        found: bytes | memoryview | None
        if own is not None and holder is not None and own[holder] == digest:
            found = await node.threads.at_the_vectors(partial(node.workshop.share_of, holder, digest))
        else:
            found = await node.threads.at_the_disk(partial(self._find_public, digest))
        return None if found is None else Stored(found)

    def _find_public(self, digest: bytes) -> bytes | memoryview | None:
        node = self._node
        model = node.store.checkpoint(digest)
        if model is not None or node.current is None:
            return model
        is_public = digest == node.workshop.start.model or digest in public_names(node.current)
        return node.store.get(digest) if is_public else None
