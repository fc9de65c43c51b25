"""`mycelia demo`: a chain, a node for each hospital and an auditor, each a process of its own, on this machine.

A node gets its folder, its own rows, the RPC URL and the registry's address; peers' addresses come from the chain.  The
auditor gets URL and registry.  Only this process, which made the hospitals, ever looks at all of their test rows.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gossip.state import PHASES
from ledger.errors import LedgerError
from node.builtin import builtin_task, make_spec
from node.claiming import claim_for
from node.commands import BUILTIN_TASKS, PAUSE_VARIABLE, prepare
from node.config import ROWS_FILE, GossipConfig, NodeConfig, set_registry
from node.demo_plan import Kill, Plan
from node.errors import NodeError
from node.founding import deploy_for
from node.keys import Keys
from node.members import MEMBER_FILE, read_member
from node.processes import Processes
from node.progress import PROGRESS_FILE

WEI = 10**18
DISPUTE_SECONDS = 1
START_SECONDS = 60.0
ROUND_SECONDS = 90.0
GAS_WEI = WEI
POLL_SECONDS = 0.05
REST_SECONDS = 1.5
"""Between rounds when a node is to come back: starting one takes longer than several rounds do."""
LINGER_SECONDS = 30.0
"""That the others wait for it at the end."""
SHORT_LINGER_SECONDS = 5.0

TIMING = GossipConfig(
    open_seconds=1.5,
    train_seconds=15.0,
    prove_seconds=4.0,
    receipt_seconds=4.0,
    agree_seconds=6.0,
    reveal_seconds=8.0,
    score_seconds=4.0,
    grace_seconds=0.3,
)


@dataclass
class Stage:
    """A consortium on this machine, while it runs."""

    plan: Plan
    folder: Path
    processes: Processes
    keys: list[Keys]
    rpc: str = ""
    registry: str = ""
    fingerprint: bytes = b""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    restarts: list[tuple[str, int]] = field(default_factory=list)
    reached: int = 0

    @property
    def names(self) -> list[str]:
        return [hospital.name for hospital in self.plan.hospitals]

    def home(self, name: str) -> Path:
        return self.folder / name


def demo(plan: Plan, as_json: bool) -> None:
    """Run the plan and print what came of it."""
    from node import demo_view

    started = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # to be ended is to be interrupted: children end, files go
    with _folder(plan.keep) as folder, Processes() as processes, _free_ports(len(plan.hospitals)) as places:
        view = demo_view.View(plan, quiet=as_json or not sys.stderr.isatty())
        with view:
            stage = _set_up(plan, folder, processes, places)
            view.say(f"chain {stage.rpc}, registry {stage.registry}, dispute window {DISPUTE_SECONDS} s")
            _run_rounds(stage, view)
            rewards = _claim(stage)
            audit = _audit(stage, "audit")
            audit["records"] = _audit(stage, "records", "--records", str(folder))
        report = _report(stage, rewards, audit, time.monotonic() - started)
        (folder / "report.json").write_text(json.dumps(report, indent=1))
    if as_json:
        print(json.dumps(report))
    else:
        demo_view.print_report(report, DISPUTE_SECONDS)
    if not (audit["ok"] and audit["records"]["ok"]):
        sys.exit(3)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """The run's folder; one that nobody asked to keep goes, unless its logs are needed to see what went wrong."""
    folder = keep or Path(tempfile.mkdtemp(prefix="mycelia-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except (NodeError, LedgerError):
        raise
    except BaseException:
        _remove(folder, keep)
        raise
    _remove(folder, keep)


def _remove(folder: Path, keep: Path | None) -> None:
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)


# --- setting up -----------------------------------------------------------------------------------------------------


def _set_up(plan: Plan, folder: Path, processes: Processes, places: list[socket.socket]) -> Stage:
    stage = Stage(plan, folder, processes, [], kills=list(plan.kills), restarts=list(plan.restarts))
    chain = processes.start(["devchain", "--port", "0"], folder / "devchain.log", stdout=subprocess.PIPE)
    for hospital, place in zip(plan.hospitals, places, strict=True):
        port = place.getsockname()[1]
        home = stage.home(hospital.name)
        home.mkdir()
        hospital.write(home / ROWS_FILE)
        stage.keys.append(prepare(home, _node_config(plan, hospital.name, home, port), TIMING))
    stage.rpc = _read_rpc(chain, folder)
    _deploy(stage)
    for name in stage.names:
        set_registry(stage.home(name), stage.rpc, stage.registry, stage.fingerprint)
        stage.lines[name] = []
        _start_node(stage, name)
    return stage


def _node_config(plan: Plan, name: str, home: Path, port: int) -> NodeConfig:
    task = BUILTIN_TASKS[plan.data]
    options = {"path": str(home / ROWS_FILE)}
    returning = bool(plan.restarts)
    return NodeConfig(
        name=name,
        host="127.0.0.1",
        port=port,
        task=task,
        options=options,
        seed=plan.seed,
        rest_seconds=REST_SECONDS if returning else 0.0,
        linger_seconds=LINGER_SECONDS if returning else SHORT_LINGER_SECONDS,
    )


@contextmanager
def _free_ports(count: int) -> Iterator[list[socket.socket]]:
    """Sockets that hold a port each and do not listen: a node may take its port, nobody else is given it."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        yield sockets
    finally:
        for one in sockets:
            one.close()


def _read_rpc(chain: subprocess.Popen[bytes], folder: Path) -> str:
    line = chain.stdout.readline() if chain.stdout is not None else b""
    if not line:
        raise NodeError(f"the chain did not start; its log is {folder / 'devchain.log'}")
    return str(json.loads(line)["rpc"])


def _deploy(stage: Stage) -> None:
    from ledger.devchain import DEV_KEYS
    from ledger.types import VaultTerms

    plan = stage.plan
    task = builtin_task(plan.data, stage.home(stage.names[0]))
    members = [read_member(stage.home(name) / MEMBER_FILE, index) for index, name in enumerate(stage.names)]
    terms = VaultTerms(WEI, 500_000, DISPUTE_SECONDS)
    founding = deploy_for(members, stage.rpc, DEV_KEYS[0], make_spec(task, plan.rounds), terms, GAS_WEI)
    stage.registry, stage.fingerprint = founding.registry, founding.fingerprint


def _start_node(stage: Stage, name: str) -> None:
    pauses = [f"{kill.round}:{kill.phase}" for kill in stage.kills if kill.name == name]
    environment = {PAUSE_VARIABLE: pauses[0]} if pauses else {}
    home = stage.home(name)
    stage.running[name] = stage.processes.start(["run", str(home)], home / "node.log", environment=environment)


# --- running --------------------------------------------------------------------------------------------------------


def _run_rounds(stage: Stage, view: Any) -> None:
    """Follow the nodes until each has ended, killing and restarting as planned."""
    last_news = time.monotonic()
    limit = START_SECONDS
    while stage.running:
        time.sleep(POLL_SECONDS)
        for name, line in _new_lines(stage):
            last_news, limit = time.monotonic(), ROUND_SECONDS
            stage.lines[name].append(line)
            stage.reached = max(stage.reached, line.get("round", 0))
            view.show(name, line)
            _kill_if_planned(stage, name, line, view)
        _restart_as_planned(stage, view)
        for name, process in list(stage.running.items()):
            if process.poll() is not None:
                del stage.running[name]
                if process.returncode != 0:
                    log = stage.home(name) / "node.log"
                    raise NodeError(f"the node {name} ended with {process.returncode}; {_last_line(log)} ({log})")
        if time.monotonic() - last_news > limit:
            raise NodeError(f"nothing happened for {limit:.0f} s; the logs are in {stage.folder}")


def _new_lines(stage: Stage) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name in stage.names:
        path = stage.home(name) / PROGRESS_FILE
        if not path.exists():
            continue
        with path.open("rb") as file:
            file.seek(stage.offsets.get(name, 0))
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        stage.offsets[name] = stage.offsets.get(name, 0) + len(whole)
        found += [(name, json.loads(line)) for line in whole.splitlines()]
    return found


def _kill_if_planned(stage: Stage, name: str, line: dict[str, Any], view: Any) -> None:
    due = [kill for kill in stage.kills if kill.name == name][:1]
    if due and name in stage.running and line["event"] == "entered" and _has_reached(line, due[0]):
        process = stage.running.pop(name)
        process.kill()
        process.wait()
        stage.kills.remove(due[0])
        view.say(f"killed {name} in round {line['round']}, phase {line['phase']}")
        stage.lines[name].append({"event": "killed", "round": line["round"], "phase": line["phase"]})


def _has_reached(line: dict[str, Any], kill: Kill) -> bool:
    """Whether the node has come to that point; it may skip a phase that the others went through without it."""
    here = (line["round"], PHASES.index(line["phase"]))
    return here >= (kill.round, PHASES.index(kill.phase))


def _restart_as_planned(stage: Stage, view: Any) -> None:
    for name, round_id in list(stage.restarts):
        is_down = name not in stage.running and _has_done(stage, name, "killed")
        if is_down and stage.reached >= round_id:
            stage.restarts.remove((name, round_id))
            _start_node(stage, name)
            view.say(f"restarted {name} in round {stage.reached}")


def _has_done(stage: Stage, name: str, event: str) -> bool:
    return any(line["event"] == event for line in stage.lines[name])


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][-300:] if lines else "it left no log"


# --- rewards, audit, report -----------------------------------------------------------------------------------------


def _claim(stage: Stage) -> list[int]:
    """Move the chain's clock past the dispute window, then claim for every member; anyone may, for the dead too."""
    from ledger.client import LedgerClient

    client = LedgerClient(stage.rpc, stage.registry)
    client.increase_time(DISPUTE_SECONDS + 1)
    return [claim_for(client, keys).reward_wei for keys in stage.keys]


def _audit(stage: Stage, name: str, *options: str) -> dict[str, Any]:
    out, log = stage.folder / f"{name}.json", stage.folder / f"{name}.log"
    with out.open("wb") as file:
        arguments = ["audit", "--rpc", stage.rpc, "--registry", stage.registry, "--json", *options]
        process = stage.processes.start(arguments, log, stdout=file)
    if process.wait(timeout=120) not in (0, 3):
        raise NodeError(f"the auditor ended with {process.returncode}; its log is {log}")
    return dict(json.loads(out.read_text()))


def _report(stage: Stage, rewards: list[int], audit: dict[str, Any], seconds: float) -> dict[str, Any]:
    from node.demo_quality import member_qualities

    settled = _settled(stage)
    scores = _summed_scores(settled, len(stage.names))
    qualities = member_qualities(stage)
    members = [
        {"name": name, **qualities[name], "score_ppm": scores[index], "reward_wei": rewards[index]}
        for index, name in enumerate(stage.names)
    ]
    keys = ("round", "attempt", "dealers", "seconds", "model_digest", "result_digest", "tx")
    rounds = [{key: entry.get(key) for key in keys} for entry in settled]
    return {"members": members, "rounds": rounds, "audit": audit, "seconds": round(seconds, 1)}


def _settled(stage: Stage) -> list[dict[str, Any]]:
    """Each round as the first member that took part to its end saw it, with the transaction that recorded it."""
    from ledger.client import LedgerClient

    transactions = {record.result.round: record.tx for record in LedgerClient(stage.rpc, stage.registry).records()}
    seen = [line for lines in stage.lines.values() for line in lines if line["event"] == "settled"]
    rounds: dict[int, dict[str, Any]] = {}
    for line in sorted(seen, key=lambda line: (line["attempt"] is None, line["time"])):
        rounds.setdefault(line["round"], line)
    return [{**rounds[number], "tx": transactions.get(number)} for number in sorted(rounds)]


def _summed_scores(settled: list[dict[str, Any]], n: int) -> list[int]:
    scored = [entry["scores"] for entry in settled if entry["scores"] is not None]
    return [sum(scores[index] for scores in scored) for index in range(n)]
