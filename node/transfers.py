"""What is large or secret on its way between members: pushed or fetched, tried again until it is of no more use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

import msgspec
import trio

from gossip.errors import PeerUnreachable, TransferRefused
from gossip.events import Event, FetchPayload, FetchShare
from gossip.messages import Complaint
from gossip.session import Session
from gossip.shamir import blob_size
from gossip.transport.host import Transport
from gossip.transport.payloads import Made
from node.inbox import Inbox
from node.threads import Threads
from node.workshop import Share, Workshop

RETRY_SECONDS = 0.5
"""Before the same bytes are asked for, or offered, again."""

IsWanted = Callable[[], bool]


class Transfers:
    """Pushes and fetches over one transport, addressed by place in the committee."""

    def __init__(self, transport: Transport, peer_id_of: Callable[[int], str]) -> None:
        self._transport = transport
        self._peer_id_of = peer_id_of

    async def push_shares(self, round_id: int, me: int, shares: Iterable[Share], is_wanted: IsWanted) -> None:
        """Give each holder its share, made while it is on its way."""
        header = msgspec.msgpack.encode((round_id, me))
        async with trio.open_nursery() as nursery:
            for share in shares:
                source = Made(share.size, share.chunks)
                push = partial(self._transport.push, self._peer_id_of(share.holder), header, source, share.name)
                nursery.start_soon(_push, push, is_wanted)

    async def fetch(self, name: bytes, size: int, members: Iterable[int], is_wanted: IsWanted) -> bytes | None:
        """Bytes by digest from the first of these members that has them; None once they are not wanted any more."""
        asked = list(members)
        download = self._transport.new_download(size)
        while is_wanted():
            for member in asked:
                try:
                    return await self._transport.fetch(self._peer_id_of(member), name, size, download)
                except (PeerUnreachable, TransferRefused):
                    continue
            await trio.sleep(RETRY_SECONDS)
        return None


@dataclass
class RoundTransfers:
    """Pushes and fetches what rounds ask for; what arrives becomes an event.

    Attributes:
        others: places in the committee of the other members.
        is_under_way: whether a round still is.
    """

    transfers: Transfers
    workshop: Workshop
    threads: Threads
    inbox: Inbox
    others: Callable[[], list[int]]
    is_under_way: Callable[[int], bool]

    async def push_shares(self, round_id: int) -> None:
        """Give the others their shares of the own dealing."""
        me = self.workshop.identity.me

        def make() -> list[Share]:
            return list(self.workshop.shares()) if self.workshop.start.round == round_id else []

        shares = await self.threads.at_the_vectors(make)
        await self.transfers.push_shares(round_id, me, shares, partial(self.is_under_way, round_id))

    async def fetch_share(self, round_id: int, wanted: FetchShare) -> None:
        """Have the own share of a dealing, from its dealer."""
        dealer = wanted.dealer
        size = blob_size(self.workshop.layout, dealer, self.workshop.identity.me)
        accept = partial(self.workshop.accept_share, round_id, dealer)
        await self._fetch(round_id, wanted.digest, size, [dealer], accept)

    async def fetch_payload(self, round_id: int, wanted: FetchPayload) -> None:
        """Have public bytes: from their holder, or from anybody; a share only from who complained about it."""
        holder, what, index = wanted.holder, wanted.what, wanted.index
        size = self.workshop.payload_bytes(what, index, holder)
        others = [] if what == "share" else [member for member in self.others() if member != holder]
        accept = partial(self.workshop.accept_payload, what, index, holder)
        await self._fetch(round_id, wanted.digest, size, [holder, *others], accept)

    async def _fetch(
        self, round_id: int, name: bytes, size: int, members: list[int], accept: Callable[[bytes], Event | None]
    ) -> None:
        is_wanted = partial(self.is_under_way, round_id)
        data = await self.transfers.fetch(name, size, members, is_wanted)
        event = accept(data) if data is not None and is_wanted() else None
        if event is not None:
            await self.inbox.put(event, round_id)


async def _push(push: Callable[[], Awaitable[None]], is_wanted: IsWanted) -> None:
    while is_wanted():
        try:
            return await push()
        except TransferRefused:
            return  # it has the share, or is in another round and will ask
        except PeerUnreachable:
            await trio.sleep(RETRY_SECONDS)


def public_names(session: Session) -> set[bytes]:
    """Digests that anybody may fetch here: what this member revealed or complained about, and what it fetched itself.

    What others say is public makes nothing public: a name in their Reveals and Complaints may be that of a secret.
    """
    names: set[bytes] = set()
    for state in (session.current, session.last):
        if state is None:
            continue
        names |= state.payloads  # of a final set, or fetched from whoever made it public
        for records in state.heard.values():
            own = records.get(state.context.me)
            if own is not None and isinstance(own.message, Complaint):
                names.add(own.message.share)
    return names
