"""A network that can fail: TCP proxies in user space, between the nodes and before the chain.

Each member is registered at its proxy and listens behind it.  Who connects is found by the owner of the socket's other
end, so that a partition cuts both directions.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
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
        source = Caller(near.socket.getpeername()[1], route.listen[1], self.pids)
        try:
            await self._wait_clear(source, route)
            async with near, await trio.open_tcp_stream(*route.target) as far, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, near, far, source, route, nursery.cancel_scope)
                nursery.start_soon(self._pump, far, near, source, route, nursery.cancel_scope)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # either side is gone, and the other learns it by the closed socket

    async def _pump(
        self, near: trio.SocketStream, far: trio.SocketStream, source: Caller, route: Route, both: trio.CancelScope
    ) -> None:
        sent, pieces = trio.open_memory_channel[tuple[float, bytes]](64)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, pieces, far, source, route)
            async with sent:
                while data := await near.receive_some(CHUNK_BYTES):
                    delay = 0.0
                    if self._is_slow(source, route):
                        delay = self.weather.delay_seconds
                        self.weather.slowed |= self.weather.slow & {source.member, route.member}
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

    def _is_slow(self, source: Caller, route: Route) -> bool:
        return not route.is_chain and bool(self.weather.slow) and self.weather.is_slow(source.member, route.member)

    async def _wait_clear(self, source: Caller, route: Route) -> None:
        while self._is_cut(source, route):  # noqa: ASYNC110  (another thread changes the weather)
            await trio.sleep(0.05)

    def _is_cut(self, source: Caller, route: Route) -> bool:
        if route.is_chain:
            return route.member in self.weather.without_chain
        return bool(self.weather.isolated) and self.weather.is_cut(source.member, route.member)


class Caller:
    """Who connected to a proxy; looked up when the weather first makes a difference to it, since it takes long."""

    def __init__(self, port: int, proxy_port: int, pids: Callable[[], Mapping[int, int]]) -> None:
        self._ports = (port, proxy_port)
        self._pids = pids

    @cached_property
    def member(self) -> int | None:
        """The member whose process holds the socket that connected; None once it is gone."""
        inode = _inode_of(*self._ports)
        if inode is None:
            return None
        return next((member for member, pid in self._pids().items() if f"socket:[{inode}]" in _open_files(pid)), None)


def _open_files(pid: int) -> set[str]:
    names = set()
    with suppress(OSError):  # the process has ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # the file was closed meanwhile
                names.add(os.readlink(entry))
    return names


def _inode_of(port: int, proxy_port: int) -> str | None:
    near, far = f":{port:04X}", f":{proxy_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines():
        if near in line and far in line:
            words = line.split()
            if words[1].endswith(near) and words[2].endswith(far):
                return words[9]
    return None
