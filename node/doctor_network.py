"""The part of `mycelia doctor` that speaks to the other members, under the node's own identity."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import trio

from gossip.errors import PeerUnreachable
from gossip.transport import PeerAddress
from gossip.transport.host import Transport
from gossip.transport.payloads import Memory, Sink, Source
from gossip.transport.reach import View
from ledger.types import Roster
from node.admission import Admission

CONTACT_SECONDS = 8.0
"""For a dial, a handshake, a probe and the dial back, with every member at once."""
FAILED_SECONDS = 2.0
"""With a member that could not be dialled, which may still dial this node."""


@dataclass
class Contact:
    """What came of contacting the other members.

    Attributes:
        views: of each member that answered, by PeerID.
        failures: why each other one was not reached, by PeerID.
        clock_offsets: seconds by which the others' clocks are ahead of this one's.
    """

    views: dict[str, View] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    clock_offsets: list[float] = field(default_factory=list)


class Visitor:
    """Handlers of a transport that is there to ask, not to take part."""

    def on_connected(self, peer_id: str) -> None: ...

    def on_lost(self, peer_id: str) -> None: ...

    def on_announcement(self, peer_id: str, message: bytes) -> None: ...

    def on_gap(self, peer_id: str) -> None: ...

    def judge_offer(self, peer_id: str, header: bytes, size: int, digest: bytes) -> str | None:
        return "the node is being examined"

    def open_sink(self, size: int) -> Sink:
        return Memory()

    async def on_payload(self, peer_id: str, header: bytes, payload: Sink) -> None: ...

    async def find_blob(self, peer_id: str, digest: bytes) -> Source | None:
        return None


def contact(node_key: bytes, listen: tuple[str, int], roster: Roster) -> Contact:
    """Dial every other member, and ask each to dial back.

    Raises:
        PortTaken, CannotListen: nothing can be dialled back.
    """
    return trio.run(_contact, Transport(node_key, *listen, Visitor()), Admission(roster))


async def _contact(transport: Transport, admission: Admission) -> Contact:
    found = Contact()
    others = [there for there in admission.addresses() if there.peer_id != transport.peer_id]
    transport.admit(others)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        with trio.move_on_after(CONTACT_SECONDS):
            async with trio.open_nursery() as asking:
                for there in others:
                    asking.start_soon(_ask, transport, there, found)
        why = transport.statistics().dial_failures
        for there in others:
            if there.peer_id not in found.views:
                found.failures[there.peer_id] = why.get(there.peer_id, f"no answer within {CONTACT_SECONDS:.0f} s")
        nursery.cancel_scope.cancel()
    return found


async def _ask(transport: Transport, there: PeerAddress, found: Contact) -> None:
    started = trio.current_time()
    while there.peer_id not in found.views:
        has_failed = there.peer_id in transport.statistics().dial_failures
        if has_failed and trio.current_time() > started + FAILED_SECONDS:
            return
        began = time.time()
        try:
            view = await transport.ask_back(there.peer_id)
        except PeerUnreachable:
            await trio.sleep(0.05)
            continue
        found.views[there.peer_id] = view
        found.clock_offsets.append(view.clock - (began + time.time()) / 2)
