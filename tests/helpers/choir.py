"""Many transports, a process each, that all announce at the same instant: python -m tests.helpers.choir PROCESSES SONGS

Prints how long each took to hear every song of every other, in seconds, as JSON.  They are forked when everything is
imported, so that twenty cost no more imports than one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection as Line
from typing import Any

import trio

from gossip.transport import Limits, PeerAddress, peer_id_of
from gossip.transport.host import Transport
from gossip.transport.payloads import Memory

ASK = b"?"
LONGEST_SECONDS = 60.0


class Singer:
    """Knows its own songs, hears those of others, and asks whoever it missed something of."""

    def __init__(self, me: int, songs: int) -> None:
        self.songs = songs
        self.heard: dict[str, set[int]] = {}
        self.has_begun = False
        # Fewer places than songs: most are dropped at first, and have to be asked for.
        limits = Limits(max_queued_announcements=max(4, songs // 4), ping_seconds=0.5, silence_seconds=60.0)
        self.transport = Transport(key(me), "127.0.0.1", 0, self, limits)

    def sing(self) -> None:
        self.has_begun = True
        for song in range(self.songs):
            self.transport.announce(b"%d" % song)

    def on_connected(self, peer_id: str) -> None:
        self.on_gap(peer_id)

    def on_gap(self, peer_id: str) -> None:
        """Says what it has, so that the other sends what it lacks."""
        self.transport.announce(ASK + json.dumps(sorted(self.heard.get(peer_id, ()))).encode(), to=peer_id)

    async def keep_asking(self) -> None:
        """As a node does: what asks may itself be dropped."""
        while True:
            await trio.sleep(1.0)
            for peer_id in self.transport.connected:
                if len(self.heard.get(peer_id, ())) < self.songs:
                    self.on_gap(peer_id)

    def on_announcement(self, peer_id: str, message: bytes) -> None:
        if not message.startswith(ASK):
            self.heard.setdefault(peer_id, set()).add(int(message))
        elif self.has_begun:
            for song in sorted(set(range(self.songs)) - set(json.loads(message[1:]))):
                self.transport.announce(b"%d" % song, to=peer_id)

    def on_lost(self, peer_id: str) -> None: ...

    def judge_offer(self, *_: object) -> str:
        return "nothing but songs"

    def open_sink(self, size: int) -> Memory:
        return Memory()

    async def on_payload(self, *_: object) -> None: ...

    async def find_blob(self, *_: object) -> None: ...


def key(me: int) -> bytes:
    return bytes([1 + me]) * 32


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(LONGEST_SECONDS):
        while not condition():  # noqa: ASYNC110  (nothing tells when a counter changes)
            await trio.sleep(0.01)


async def sing(me: int, count: int, songs: int, line: Line) -> None:
    one = Singer(me, songs)

    async def said() -> Any:
        return await trio.to_thread.run_sync(line.recv, abandon_on_cancel=True)

    async with trio.open_nursery() as nursery:
        line.send(await nursery.start(one.transport.run))
        ports = await said()
        others = [PeerAddress(peer_id_of(key(i)), "127.0.0.1", port) for i, port in enumerate(ports) if i != me]
        one.transport.admit(others)
        await until(lambda: len(one.transport.connected) == count - 1)
        line.send("connected")
        await said()
        began = time.monotonic()
        one.sing()
        nursery.start_soon(one.keep_asking)
        await until(lambda: sum(map(len, one.heard.values())) == (count - 1) * songs)
        line.send(round(time.monotonic() - began, 3))
        await said()
        nursery.cancel_scope.cancel()


def main(count: int, songs: int) -> None:
    lines: list[Line] = []
    for me in range(count):
        here, there = Pipe()
        if os.fork() == 0:
            for other in (here, *lines):
                other.close()  # so that the end of the parent is the end of the line
            trio.run(sing, me, count, songs, there)
            os._exit(0)
        lines.append(here)
    ports = [line.recv() for line in lines]
    for line in lines:
        line.send(ports)
    for line in lines:
        assert line.recv() == "connected"
    for line in lines:
        line.send("now")
    print(json.dumps([line.recv() for line in lines]))
    for line in lines:
        line.send("enough")
    for _ in lines:
        os.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
