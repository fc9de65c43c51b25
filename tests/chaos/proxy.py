"""A network that can fail: TCP proxies in user space, between the nodes and before the chain.

Each member is registered at its proxy and listens behind it.  Who connects is found by the owner of the socket's other
end, so that a partition cuts both directions.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio

CHUNK_BYTES = 65_536
STALL_EVERY_SECONDS = 3.0
STALL_SECONDS = 0.6
"""A line with loss stands still now and then, until TCP has sent again what was lost."""


@dataclass
class Weather:
    """What the network does to whom; changed by the test while it runs.

    Attributes:
        isolated: members that reach each other and nobody else.
        slow: members on whose lines every byte takes `delay_seconds`, with stalls.
        without_chain: members whose chain endpoint does not answer.
        slowed: those of `slow` whose bytes have been late.
    """

    isolated: frozenset[int] = frozenset()
    slow: frozenset[int] = frozenset()
    without_chain: frozenset[int] = frozenset()
    slowed: frozenset[int] = frozenset()
    delay_seconds: float = 0.2

    def is_cut(self, source: int | None, target: int) -> bool:
        return source is not None and (source in self.isolated) != (target in self.isolated)

    def is_slow(self, source: int | None, target: int) -> bool:
        return source in self.slow or target in self.slow


@dataclass
class Route:
    """One proxy: where it listens, and where it leads."""

    listen: tuple[str, int]
    target: tuple[str, int]
    member: int
    is_chain: bool = False


@dataclass
class Proxies:
    """All proxies of one cluster, in a thread of their own.

    Args:
        pids: the running process of each member.
    """

    routes: list[Route]
    pids: Callable[[], Mapping[int, int]]
    weather: Weather = field(default_factory=Weather)

    def __enter__(self) -> Proxies:
        self._started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._serve,), daemon=True)
        self._thread.start()
        if not self._started.wait(10):
            raise TimeoutError("the proxies did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                for route in self.routes:
                    await nursery.start(self._listen, route)
                self._started.set()

    async def _listen(self, route: Route, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        async def carry(near: trio.SocketStream) -> None:
            await self._carry(near, route)

        host, port = route.listen
        await trio.serve_tcp(carry, port, host=host, task_status=task_status)

    async def _carry(self, near: trio.SocketStream, route: Route) -> None:
        source = None if route.is_chain else owner_of(near.socket.getpeername()[1], route.listen[1], self.pids())
        try:
            await self._wait_clear(source, route)
            async with near, await trio.open_tcp_stream(*route.target) as far, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, near, far, source, route, nursery.cancel_scope)
                nursery.start_soon(self._pump, far, near, source, route, nursery.cancel_scope)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # either side is gone, and the other learns it by the closed socket

    async def _pump(
        self, near: trio.SocketStream, far: trio.SocketStream, source: int | None, route: Route, both: trio.CancelScope
    ) -> None:
        sent, pieces = trio.open_memory_channel[tuple[float, bytes]](64)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, pieces, far, source, route)
            async with sent:
                while data := await near.receive_some(CHUNK_BYTES):
                    delay = 0.0
                    if self._is_slow(source, route):
                        delay = self.weather.delay_seconds
                        self.weather.slowed |= self.weather.slow & {source, route.member}
                    await sent.send((trio.current_time() + delay, data))
        both.cancel()

    async def _deliver(
        self,
        pieces: trio.MemoryReceiveChannel[tuple[float, bytes]],
        far: trio.SocketStream,
        source: int | None,
        route: Route,
    ) -> None:
        async for due, data in pieces:
            await trio.sleep_until(due)
            if self._is_slow(source, route) and trio.current_time() % STALL_EVERY_SECONDS < STALL_SECONDS:
                await trio.sleep(STALL_SECONDS)
            await self._wait_clear(source, route)
            await far.send_all(data)

    def _is_slow(self, source: int | None, route: Route) -> bool:
        return not route.is_chain and self.weather.is_slow(source, route.member)

    async def _wait_clear(self, source: int | None, route: Route) -> None:
        while self._is_cut(source, route):  # noqa: ASYNC110  (another thread changes the weather)
            await trio.sleep(0.05)

    def _is_cut(self, source: int | None, route: Route) -> bool:
        if route.is_chain:
            return route.member in self.weather.without_chain
        return self.weather.is_cut(source, route.member)


def owner_of(port: int, proxy_port: int, pids: Mapping[int, int]) -> int | None:
    """The member whose process holds the socket that connected from `port`."""
    inode = next((words[9] for words in _tcp_table() if (_port(words[1]), _port(words[2])) == (port, proxy_port)), None)
    if inode is None:
        return None
    for member, pid in pids.items():
        try:
            names = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue  # it ended meanwhile
        if f"socket:[{inode}]" in names:
            return member
    return None


def _tcp_table() -> list[list[str]]:
    return [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
