"""How late a node's event loop is while a worker thread trains and payloads go out and come in at once."""

from __future__ import annotations

import os
from collections import Counter
from multiprocessing import Pipe
from multiprocessing.connection import Connection as Line
from typing import Any, Final

import trio

from gossip.spec import digest
from gossip.transport import Limits, PeerAddress, peer_id_of
from gossip.transport.host import Transport
from gossip.transport.lag import quantile
from tests.helpers.transports import Node

SECONDS: Final = 8.0
IDLE_SECONDS: Final = 4.0
"""For comparison: what the machine alone makes a loop wait that has nothing to do."""
PAYLOAD_BYTES: Final = 16 << 20
KEYS: Final = (b"x" * 32, b"y" * 32)


class Taker(Node):
    """Takes payloads and keeps none of them."""

    async def on_payload(self, peer_id: str, header: bytes, payload: Any) -> None:
        payload.discard()


def _train(stop: trio.Event) -> int:
    """As a node trains: torch on one thread, until it is stopped."""
    import torch

    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1)).double()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    rows, steps = torch.randn(64, 256, dtype=torch.float64), 0
    while not stop.is_set():
        optimiser.zero_grad()
        model(rows).square().mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        steps += 1
    return steps


async def _work(me: int, line: Line) -> None:
    taker = Taker(KEYS[me], Limits())
    transport: Transport = taker.transport
    other, payload, sent = peer_id_of(KEYS[1 - me]), os.urandom(PAYLOAD_BYTES), 0
    name, stop = digest("share", payload), trio.Event()
    async with trio.open_nursery() as nursery:
        line.send(await nursery.start(transport.run))
        transport.admit([PeerAddress(other, "127.0.0.1", await trio.to_thread.run_sync(line.recv))])
        with trio.fail_after(30):
            while not transport.connected:  # noqa: ASYNC110  (nothing tells)
                await trio.sleep(0.01)
        before = Counter(transport.statistics().loop_lag)
        await trio.sleep(IDLE_SECONDS)
        idle = Counter(transport.statistics().loop_lag) - before
        nursery.start_soon(trio.to_thread.run_sync, _train, stop)
        await trio.sleep(2.0)  # torch is imported
        before = Counter(transport.statistics().loop_lag)
        end = trio.current_time() + SECONDS
        while trio.current_time() < end:
            await transport.push(other, b"", payload, name)
            sent += 1
        counts = Counter(transport.statistics().loop_lag) - before
        stop.set()
        line.send({
            "idle_p95_ms": 1000 * quantile(idle, 0.95),
            "p50_ms": 1000 * quantile(counts, 0.5),
            "p95_ms": 1000 * quantile(counts, 0.95),
            "p99_ms": 1000 * quantile(counts, 0.99),
            "megabytes_per_second_each_way": round(sent * PAYLOAD_BYTES / 1e6 / SECONDS, 1),
        })  # fmt: skip
        await trio.to_thread.run_sync(line.recv)
        nursery.cancel_scope.cancel()


def lag_while_training() -> dict[str, float]:
    """Upper bounds of the loop's lag, in milliseconds, at the worse of two processes that do both at once."""
    lines: list[Line] = []
    for me in range(2):
        here, there = Pipe()
        if os.fork() == 0:
            for other in (here, *lines):
                other.close()
            trio.run(_work, me, there)
            os._exit(0)
        there.close()
        lines.append(here)
    first, second = (line.recv() for line in lines)
    lines[0].send(second)
    lines[1].send(first)
    found: list[dict[str, float]] = [line.recv() for line in lines]
    for line in lines:
        line.send("enough")
    for _ in lines:
        os.wait()
    return max(found, key=lambda one: one["p95_ms"])
