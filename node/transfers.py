"""What is large or secret on its way between members: pushed or fetched, tried again until it is of no more use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import msgspec
import trio

from gossip.errors import PeerUnreachable, TransferRefused
from gossip.messages import Complaint
from gossip.session import Session
from gossip.transport.host import Transport
from gossip.transport.payloads import Made
from node.workshop import Share

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
