"""One machine of a small network: python -m tests.helpers.host KEY RELAY KEY=HOST...; tells what it sees as JSON lines.

KEY is a number; HOST:4001 is where the registry would say that a member listens.
"""

from __future__ import annotations

import json
import sys

import trio

from gossip.errors import PeerUnreachable
from gossip.transport import Limits, PeerAddress, peer_id_of
from gossip.transport.host import Transport
from gossip.transport.payloads import Memory

PORT = 4001
LIMITS = Limits(dial_seconds=1.0, redial_min_seconds=0.2, redial_max_seconds=1.0)


def key(number: int) -> bytes:
    return bytes([number]) * 32


class Host:
    """Greets everybody, and asks everybody whether it can be reached."""

    def __init__(self, me: int, relay: bool, places: dict[int, str]) -> None:
        self.names = {peer_id_of(key(number)): number for number in places}
        self.me = me
        self.heard: set[int] = set()
        self.views: dict[int, bool] = {}
        self.transport = Transport(key(me), "0.0.0.0", PORT, self, LIMITS, relay=relay)
        self.transport.admit([PeerAddress(peer_id_of(key(n)), host, PORT) for n, host in places.items()])

    def on_connected(self, peer_id: str) -> None:
        self.transport.announce(b"hello", to=peer_id)

    def on_announcement(self, peer_id: str, message: bytes) -> None:
        self.heard.add(self.names[peer_id])

    def on_lost(self, peer_id: str) -> None: ...

    def on_gap(self, peer_id: str) -> None: ...

    def judge_offer(self, *_: object) -> str:
        return "greetings only"

    def open_sink(self, size: int) -> Memory:
        return Memory()

    async def on_payload(self, *_: object) -> None: ...

    async def find_blob(self, *_: object) -> None: ...

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.transport.run)
            while True:
                for peer_id in self.transport.connected - {peer_id_of(key(n)) for n in self.views}:
                    nursery.start_soon(self._ask, peer_id)
                relayed = self.transport.statistics().relayed
                connected = {
                    self.names[peer]: self.names.get(relayed.get(peer, "")) for peer in self.transport.connected
                }
                line = {"me": self.me, "connected": connected, "heard": sorted(self.heard), "reachable": self.views}
                print(json.dumps(line), flush=True)
                await trio.sleep(0.2)

    async def _ask(self, peer_id: str) -> None:
        try:
            self.views[self.names[peer_id]] = not (await self.transport.ask_back(peer_id)).reason
        except PeerUnreachable:
            return


def main(me: str, relay: str, *places: str) -> None:
    pairs = (place.partition("=") for place in places)
    trio.run(Host(int(me), relay == "relay", {int(number): host for number, _, host in pairs}).run)


if __name__ == "__main__":
    main(*sys.argv[1:])
