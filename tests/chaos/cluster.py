"""A consortium of real processes on this machine whose network, disks and chain can be made to fail."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gossip.chunks import decode_words
from gossip.quantise import average, unpack_sum
from gossip.spec import TaskSpec, blob_digest
from gossip.state import PHASES
from gossip.values import SETTLED
from ledger.audit import audit
from ledger.client import LedgerClient
from ledger.devchain import DEV_KEYS
from ledger.types import VaultTerms
from node.builtin import builtin_task, make_spec
from node.commands import PAUSE_VARIABLE, prepare
from node.config import GossipConfig, NodeConfig, set_registry
from node.contribution import PublicSums
from node.data import breast_cancer_hospitals
from node.founding import deploy_for
from node.members import read_member
from node.model import apply_average, decode, encode
from node.processes import Processes
from node.store import STORE_FILE
from tests.chaos.nodes import NodeProcess, warm_up
from tests.chaos.proxy import Proxies, Route, Weather

FIELD = 2**24 - 3
SEED_BYTES = 32
ROUNDS = 100_000
POLL_SECONDS = 0.05
RETURN_SECONDS = 120.0
"""For what is left to the nodes; on a quiet machine some seconds do."""
TIMING = GossipConfig(
    open_seconds=1.5,
    train_seconds=5.0,
    prove_seconds=12.0,
    receipt_seconds=12.0,
    agree_seconds=5.0,
    reveal_seconds=5.0,
    score_seconds=3.0,
    grace_seconds=0.3,
)
CHAIN_TOO_BUSY = (
    "mycelia: the endpoint was silent for 10 seconds",
    "mycelia: the endpoint took more than 10 seconds to answer",
)
"""With which a node ends that cannot read the registry when it starts; the chain here has one thread for all."""
TRAINING_SECONDS = 0.4
SLOWNESS = 20
TASK = f'''
import time
from pathlib import Path
from node.builtin import breast_cancer

class Slowable:
    """The built-in task, whose training takes {SLOWNESS} times as long while there is a file `slow`."""

    def __init__(self, path):
        self._task, self._home = breast_cancer(path), Path(path).parent

    def __getattr__(self, name):
        return getattr(self._task, name)

    def build_model(self):
        return self._task.build_model()

    def load_data(self):
        return self._task.load_data()

    def probabilities(self, outputs):
        return self._task.probabilities(outputs)

    def loss(self, outputs, targets):
        steps = 20
        time.sleep({TRAINING_SECONDS} / steps * ({SLOWNESS} if (self._home / "slow").exists() else 1))
        return self._task.loss(outputs, targets)
'''


class ChaosError(Exception):
    """Something else happened than what must."""


@dataclass
class Cluster:
    """n nodes, a chain, and the proxies between them; a context that ends them all.

    Attributes:
        running: the members whose processes have not been killed, nor found to have ended.
        recorded: the last round that one of them saw on the ledger.
        missed: (round, name of a member that somebody waited for in vain).
    """

    n: int
    folder: Path
    processes: Processes = field(init=False)
    running: dict[int, NodeProcess] = field(default_factory=dict)
    recorded: int = -1
    missed: set[tuple[int, str]] = field(default_factory=set)
    _offsets: Counter[int] = field(default_factory=Counter)
    _settled: dict[int, dict[int, dict[str, Any]]] = field(default_factory=dict)
    _places: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __enter__(self) -> Cluster:
        self.folder.mkdir(parents=True)
        self.processes = Processes().__enter__()
        try:
            self._set_up()
        except BaseException:
            self._end_processes()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end_processes()
        self.proxies.__exit__()
        assert self.chain.stdout is not None
        self.chain.stdout.close()

    def _end_processes(self) -> None:
        for node in self.running.values():
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGTERM)
        for node in self.running.values():
            node.stop()
        self.processes.__exit__()

    # --- setting up -------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        warm_up()
        self.chain = self.processes.start(
            ["devchain", "--port", "0"], self.folder / "devchain.log", stdout=subprocess.PIPE
        )
        ports, rpc_ports = _free_ports(self.n), _free_ports(self.n)
        for member, hospital in enumerate(breast_cancer_hospitals(self.n, 1)):
            home = self.home(member)
            home.mkdir()
            hospital.write(home / "rows.csv")
            (home / "chaos_task.py").write_text(TASK)
            options = {"path": str(home / "rows.csv")}
            # On the loopback network each node listens at another address than its proxy, on the same port.
            node = NodeConfig(
                name=f"m{member}", host="127.0.0.1", port=ports[member], bind="127.0.0.2",
                task="chaos_task:Slowable", options=options, seed=1, rest_seconds=0.2,
            )  # fmt: skip
            prepare(home, node, TIMING)
        assert self.chain.stdout is not None
        self.rpc = str(json.loads(self.chain.stdout.readline())["rpc"])
        rpc_place = ("127.0.0.1", int(self.rpc.rpartition(":")[2].rstrip("/")))
        members = [read_member(self.home(member) / "member.json", member) for member in range(self.n)]
        self.spec: TaskSpec = make_spec(builtin_task("breast-cancer", self.home(0)), ROUNDS)
        terms = VaultTerms(10**12, 500_000, 1)
        founding = deploy_for(members, self.rpc, DEV_KEYS[0], self.spec, terms, 10**19)
        self.registry = founding.registry
        self.proxies = Proxies(
            [Route(("127.0.0.1", port), ("127.0.0.2", port), member) for member, port in enumerate(ports)]
            + [Route(("127.0.0.1", port), rpc_place, member, is_chain=True) for member, port in enumerate(rpc_ports)],
            lambda: {member: process.pid for member, process in dict(self.running).items()},
        ).__enter__()
        for member in range(self.n):
            rpc = f"http://127.0.0.1:{rpc_ports[member]}"
            set_registry(self.home(member), rpc, self.registry, founding.fingerprint)
            self._settled[member] = {}
            self.start(member)

    def home(self, member: int) -> Path:
        return self.folder / f"m{member}"

    @property
    def weather(self) -> Weather:
        return self.proxies.weather

    # --- processes --------------------------------------------------------------------------------------------------

    def start(self, member: int) -> None:
        home = self.home(member)
        self.running[member] = NodeProcess(home, {PAUSE_VARIABLE: f"@{home / 'pause'}"})

    def _start_again(self) -> None:
        """Start whoever could not begin because the chain was too busy to answer, as a service manager does."""
        for member, node in list(self.running.items()):
            if node.exit_code is not None and node.said() in CHAIN_TOO_BUSY:
                self.start(member)

    def signal(self, member: int, number: signal.Signals) -> None:
        self.running[member].signal(number)

    def kill(self, member: int) -> None:
        self.running.pop(member).kill()

    def fill_disk(self, member: int) -> None:
        """No file of this process can grow any more; its writes fail, as on a full disk, wherever that is.

        Its log begins anew, so that there is room for the sentence with which it has to end.
        """
        log = self.home(member) / "node.log"
        with (self.home(member) / "node.old.log").open("ab") as old:
            old.write(log.read_bytes())
        os.truncate(log, 0)
        resource.prlimit(self.running[member].pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def wait_ended(self, member: int) -> str:
        """The last line that a node wrote which could not go on."""
        process = self.running[member]
        self.until(lambda: process.exit_code is not None, RETURN_SECONDS, f"m{member} to end for want of disk")
        del self.running[member]
        return (self.home(member) / "node.log").read_text(errors="replace").strip().rpartition("\n")[2]

    # --- following --------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Read what the nodes have said since."""
        for member in range(self.n):
            path = self.home(member) / "progress.jsonl"
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._offsets.get(member, 0))
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[member] = self._offsets.get(member, 0) + len(whole)
            for line in whole.splitlines():
                try:
                    self._note(member, json.loads(line))
                except ValueError:
                    continue  # half a line of a killed process, and the next one's first

    def _note(self, member: int, line: dict[str, Any]) -> None:
        match line["event"]:
            case "entered":
                self._places[member] = (line["round"], PHASES.index(line["phase"]))
            case "settled":
                self._settled[member][line["round"]] = line
            case "missed":
                self.missed |= {(line["round"], name) for name in line["members"]}
            case "recorded":
                self.recorded = max(self.recorded, line["round"])

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Follow the nodes until the condition holds.

        Raises:
            ChaosError: it did not, or a node ended by itself.
        """
        end = time.monotonic() + seconds
        while True:
            self.look()
            self._start_again()
            if condition():
                return
            if time.monotonic() > end:
                raise ChaosError(f"waited {seconds:.0f} s for {what}")
            time.sleep(POLL_SECONDS)

    def check_alive(self, members: Iterable[int]) -> None:
        for member in members:
            if member in self.running and self.running[member].exit_code is not None:
                raise ChaosError(f"m{member} ended with {self.running[member].exit_code}; see {self.home(member)}")

    def settled(self, member: int) -> dict[int, dict[str, Any]]:
        """The rounds that ended for a member, by number."""
        return self._settled[member]

    def last_settled(self, member: int) -> int:
        return max(self._settled[member], default=-1)

    def place(self, member: int) -> tuple[int, int]:
        """(round, phase) that a member has come to."""
        return self._places.get(member, (-1, 0))

    def pause(self, member: int, round_id: int, phase: str) -> None:
        """Have a node stay in a phase for a second, so that something can happen to it there."""
        (self.home(member) / "pause").write_text(f"{round_id}:{phase}")

    # --- judging ----------------------------------------------------------------------------------------------------

    def is_exact(self, round_id: int, witness: int) -> bool | None:
        """Whether the model that a round ended with is that of the plain sum of its dealers' own payloads.

        None if it was abandoned.
        """
        line = self.settled(witness)[round_id]
        if line["outcome"] != SETTLED:
            return None
        dealers = [int(name[1:]) for name in line["dealers"]]
        total = np.zeros(0, dtype=np.uint32)
        for dealer in dealers:
            stored = self._read(dealer, "SELECT data FROM secrets WHERE what = 'own dealing' AND round = ?", round_id)
            words = decode_words(stored[SEED_BYTES:], (len(stored) - SEED_BYTES) // 3).astype(np.int64)
            total = words if not len(total) else (total + words) % FIELD
        start = self._read(witness, "SELECT data FROM models WHERE round = ?", round_id - 1)
        found = unpack_sum(total.astype(np.uint32), self.spec, round_id, len(dealers))
        public = PublicSums(found.gradient, found.weight, found.gradient_weight)
        kind = self.spec.kind(round_id)
        model = encode(apply_average(decode(start, self.spec), average(found, self.spec, round_id), kind, public))
        return blob_digest(model).hex() == line["model_digest"]

    def _read(self, member: int, query: str, value: int) -> bytes:
        path = self.home(member) / STORE_FILE
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
        try:
            row = database.execute(query, (value,)).fetchone()
        finally:
            database.close()
        if row is None:
            raise ChaosError(f"m{member} has forgotten what belongs to round {value}")
        return bytes(row[0])

    def recorded_model(self, round_id: int) -> str:
        """Digest of the model that the ledger shows for a round."""
        record = next(LedgerClient(self.rpc, self.registry).records(round_id))
        return record.result.model.hex() if record.result.round == round_id else ""

    def audit(self) -> str:
        """Empty if the auditor finds nothing, else what it finds."""
        return "; ".join(f"{finding.code}: {finding.text}" for finding in audit(self.rpc, self.registry).findings)


def _free_ports(count: int) -> list[int]:
    """Ports that are free at both loopback addresses."""
    sockets = []
    for _ in range(count):
        one = socket.socket()
        one.bind(("0.0.0.0", 0))
        sockets.append(one)
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def new_folder(parent: Path, n: int) -> Path:
    """A folder that does not exist yet."""
    return parent / f"n{n}-{os.getpid()}-{time.monotonic_ns()}"
