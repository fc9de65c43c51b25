"""Wall time of a whole secure round between node processes, and of the same updates in the clear on the same transport.

The nodes are `mycelia run` with a chain, as an operator starts them; only training is replaced by a constant.  What is
measured is what they write themselves: `progress.jsonl` (phases), `metrics.prom` (bytes, loop lag) and /proc.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import Pipe
from multiprocessing.connection import Connection as Line
from pathlib import Path
from typing import Any, Final

import numpy as np
import trio

from gossip.spec import digest
from gossip.state import PHASES
from gossip.transport import Limits, PeerAddress, peer_id_of
from gossip.transport.host import Transport
from gossip.transport.lag import quantile
from gossip.transport.payloads import Memory
from ledger.devchain import DEV_KEYS
from ledger.types import VaultTerms
from node.builtin import make_spec
from node.commands import prepare
from node.config import GossipConfig, NodeConfig, set_registry
from node.founding import deploy_for
from node.members import read_member
from node.meters import METERS_FILE
from node.processes import Processes
from node.progress import PROGRESS_FILE
from node.tasks import load_task
from tests.chaos.cluster import _free_ports as free_ports

ROUNDS: Final = 2
"""Training rounds; the second is measured: everything is compiled and in memory by then."""
POLL_SECONDS: Final = 0.05
CLEAR_BYTES: Final = 8
"""Of a parameter in the clear: its update and its validation gradient, which a secure round sums both, as float32."""
PATIENT: Final = GossipConfig(
    open_seconds=20.0,
    train_seconds=120.0,
    prove_seconds=60.0,
    receipt_seconds=60.0,
    agree_seconds=60.0,
    reveal_seconds=120.0,
    score_seconds=60.0,
    grace_seconds=0.3,
)
TRAINING: Final = {"local_steps": 1, "batch_size": 4, "learning_rate_micro": 100_000, "l2_micro": 0}
TASK: Final = '''
import numpy as np
import torch
from node.tasks import LocalData

class Model(torch.nn.Module):
    def __init__(self, dimension):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(dimension))

    def forward(self, x):
        return self.weights.mean() + 0 * x[:, 0]

class Constant:
    """One step whose gradient is the same everywhere."""

    name, feature_ranges, private = "constant", None, ()

    def __init__(self, dimension):
        self._dimension = int(dimension)

    def build_model(self):
        return Model(self._dimension)

    def load_data(self):
        return LocalData(np.zeros((8, 1)), np.zeros(8, dtype=np.int64), np.zeros((0, 1)), np.zeros(0, dtype=np.int64))

    def probabilities(self, outputs):
        return outputs

    def loss(self, outputs, targets):
        return outputs.mean()
'''


class TooSlow(Exception):
    """A round did not end in time, or a node ended by itself."""


@dataclass
class Consortium:
    """n node processes and a chain; a context that ends them all."""

    n: int
    dimension: int
    folder: Path
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Consortium:
        self._processes = Processes().__enter__()
        try:
            self._set_up()
        except BaseException:
            self._processes.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.__exit__()
        assert self._chain.stdout is not None
        self._chain.stdout.close()

    def _set_up(self) -> None:
        self._chain = self._processes.start(
            ["devchain", "--port", "0"], self.folder / "devchain.log", stdout=subprocess.PIPE
        )
        options = {"dimension": str(self.dimension)}
        for member, port in enumerate(free_ports(self.n)):
            home = self.home(member)
            home.mkdir()
            (home / "constant_task.py").write_text(TASK)
            node = NodeConfig(
                name=f"m{member}", port=port, task="constant_task:Constant", options=options, linger_seconds=60.0
            )
            prepare(home, node, PATIENT)
        assert self._chain.stdout is not None
        rpc = str(json.loads(self._chain.stdout.readline())["rpc"])
        spec = make_spec(load_task("constant_task:Constant", options, self.home(0)), ROUNDS, TRAINING)
        members = [read_member(self.home(member) / "member.json", member) for member in range(self.n)]
        registry = deploy_for(members, rpc, DEV_KEYS[0], spec, VaultTerms(10**12, 500_000, 1), 10**19).registry
        for member in range(self.n):
            home = self.home(member)
            set_registry(home, rpc, registry)
            self.nodes.append(self._processes.start(["run", str(home)], home / "node.log"))

    def home(self, member: int) -> Path:
        return self.folder / f"m{member}"

    def lines(self, member: int) -> list[dict[str, Any]]:
        path = self.home(member) / PROGRESS_FILE
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def wait(self, event: str, round_id: int, *, by_all: bool, until: float) -> None:
        """Until one or all have said so of a round."""
        while True:
            told = [
                any(line["event"] == event and line["round"] == round_id for line in self.lines(member))
                for member in range(self.n)
            ]
            if all(told) if by_all else any(told):
                return
            if time.monotonic() > until or any(node.poll() not in (None, 0) for node in self.nodes):
                logs = [(self.home(member) / "node.log").read_text()[-300:] for member in range(self.n)]
                raise TooSlow(f"{event} of round {round_id}: {told}; {logs}")
            time.sleep(POLL_SECONDS)

    def cpu_seconds(self) -> float:
        """Of all nodes since their start."""
        fields = [Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split() for node in self.nodes]
        return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")

    def peak_megabytes(self) -> int:
        """Of the node that needed most."""
        found = [re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{node.pid}/status").read_text()) for node in self.nodes]
        return max(int(one[1]) for one in found if one) // 1000

    def metric(self, name: str) -> list[dict[str, float]]:
        """Value by label text, at each node."""
        pattern = re.compile(rf"^{name}(?:\{{(.*)\}})? (\S+)$", re.MULTILINE)
        texts = [(self.home(member) / METERS_FILE).read_text() for member in range(self.n)]
        return [{label: float(value) for label, value in pattern.findall(text)} for text in texts]

    def loop_lag(self) -> Counter[float]:
        """How often the loops of all nodes together were late, by bound, since their start."""
        total: Counter[float] = Counter()
        for found in self.metric("mycelia_loop_lag_seconds_bucket"):
            before = 0.0
            for label, value in found.items():
                total[float(label.removeprefix('le="').rstrip('"'))] += int(value - before)
                before = value
        return total


def secure_round(n: int, dimension: int, seconds: float) -> dict[str, Any]:
    """What the second training round took.

    Raises:
        TooSlow: longer than `seconds`, the start and the rounds before it included.
    """
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder, Consortium(n, dimension, Path(folder)) as nodes:
        nodes.wait("entered", ROUNDS, by_all=False, until=until)
        cpu, sent, lag = nodes.cpu_seconds(), nodes.metric("mycelia_bytes_sent_total"), nodes.loop_lag()
        nodes.wait("settled", ROUNDS, by_all=True, until=until)
        cpu = nodes.cpu_seconds() - cpu
        peak = nodes.peak_megabytes()
        time.sleep(2.5)  # the counters are written every two seconds
        after = nodes.metric("mycelia_bytes_sent_total")
        lines = [
            [line for line in nodes.lines(member) if line.get("round") == ROUNDS and line["event"] in NAMED]
            for member in range(n)
        ]
        lag = nodes.loop_lag() - lag
    wall = max(one[-1]["time"] for one in lines) - min(one[0]["time"] for one in lines)
    return {
        "seconds": round(wall, 2),
        "outcome": sorted({one[-1]["outcome"] for one in lines}),
        "dealers": len(lines[0][-1]["dealers"]),
        "phases": _phases(lines),
        "cpu_seconds_all": round(cpu, 2),
        "cores_busy": round(cpu / wall, 2),
        "megabytes_sent_each": round(statistics.mean(b[""] - a[""] for a, b in zip(sent, after, strict=True)) / 1e6, 1),
        "peak_megabytes": peak,
        "loop_lag_p95_ms": 1000 * quantile(lag, 0.95),
    }


NAMED: Final = ("entered", "settled")


def _phases(lines: list[list[dict[str, Any]]]) -> dict[str, float]:
    """Seconds in each phase, the median over the members."""
    spent: dict[str, list[float]] = {}
    for one in lines:
        for this, after in pairwise(one):
            spent.setdefault(this["phase"], []).append(after["time"] - this["time"])
    return {phase: round(statistics.median(spent[phase]), 3) for phase in PHASES if phase in spent}


# --- in the clear -----------------------------------------------------------------------------------------------------


class Adder:
    """Takes updates in the clear and adds them up."""

    def __init__(self, dimension: int) -> None:
        self.total = np.zeros(CLEAR_BYTES // 4 * dimension, dtype=np.float32)
        self.count = 0

    def on_connected(self, peer_id: str) -> None: ...

    def on_lost(self, peer_id: str) -> None: ...

    def on_gap(self, peer_id: str) -> None: ...

    def on_announcement(self, peer_id: str, message: bytes) -> None: ...

    def judge_offer(self, peer_id: str, header: bytes, size: int, digest: bytes) -> str | None:
        return None if size == self.total.nbytes else "another size"

    def open_sink(self, size: int) -> Memory:
        return Memory()

    async def on_payload(self, peer_id: str, header: bytes, payload: Any) -> None:
        await trio.to_thread.run_sync(self._add, payload, limiter=ONE_AT_A_TIME)

    def _add(self, payload: Any) -> None:
        self.total += np.frombuffer(payload.take(), dtype=np.float32)
        self.count += 1

    async def find_blob(self, peer_id: str, digest: bytes) -> None: ...


ONE_AT_A_TIME: Final = trio.CapacityLimiter(1)


async def _exchange(me: int, n: int, dimension: int, line: Line) -> None:
    adder = Adder(dimension)
    transport = Transport(bytes([me + 1]) * 32, "127.0.0.1", 0, adder, Limits())
    payload = np.full(CLEAR_BYTES // 4 * dimension, me, dtype=np.float32).tobytes()
    async with trio.open_nursery() as nursery:
        line.send(await nursery.start(transport.run))
        ports = await trio.to_thread.run_sync(line.recv)
        others = {i: peer_id_of(bytes([i + 1]) * 32) for i in range(n) if i != me}
        transport.admit([PeerAddress(peer_id, "127.0.0.1", ports[i]) for i, peer_id in others.items()])
        with trio.fail_after(60):
            while len(transport.connected) < n - 1:  # noqa: ASYNC110  (nothing tells)
                await trio.sleep(0.01)
        line.send("connected")
        await trio.to_thread.run_sync(line.recv)
        async with trio.open_nursery() as pushes:
            name = digest("share", payload)
            for peer_id in others.values():
                pushes.start_soon(transport.push, peer_id, b"", payload, name)
        while adder.count < n - 1:  # noqa: ASYNC110  (nothing tells)
            await trio.sleep(0.005)
        line.send(float(adder.total[0]) + me)
        await trio.to_thread.run_sync(line.recv)
        nursery.cancel_scope.cancel()


def clear_round(n: int, dimension: int) -> float:
    """Seconds until every process has what all the others sent, and has added it up."""
    lines: list[Line] = []
    for me in range(n):
        here, there = Pipe()
        if os.fork() == 0:
            for other in (here, *lines):
                other.close()
            trio.run(_exchange, me, n, dimension, there)
            os._exit(0)
        there.close()
        lines.append(here)
    ports = [line.recv() for line in lines]
    for line in lines:
        line.send(ports)
    for line in lines:
        line.recv()
    began = time.monotonic()
    for line in lines:
        line.send("go")
    sums = [line.recv() for line in lines]
    seconds = time.monotonic() - began
    assert sums == [sum(range(n))] * n, sums
    for line in lines:
        line.send("enough")
    for _ in lines:
        os.wait()
    return seconds
