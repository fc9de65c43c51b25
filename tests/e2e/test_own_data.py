"""A consortium with a task and rows of its own, by the commands alone: what a member's first day looks like."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
import safetensors.numpy
from typer.testing import CliRunner

from node import cli
from tests.helpers.demo import MYCELIA

pytestmark = pytest.mark.network

NAMES = ("ann", "ben", "cat")
TASK = """
from node.tasks import CsvClassification

def task(path: str) -> CsvClassification:
    ranges = {"age": (0, 100), "dose": (0, 10), "marker": (0, 1)}
    return CsvClassification(path, "worked", ranges, name="does-it-work")
"""


def test_members_with_their_own_task_learn_claim_and_are_audited(tmp_path: Path, rpc: str) -> None:
    with ExitStack() as places:
        for number, name in enumerate(NAMES):
            write_member(tmp_path / name, number)
            init(tmp_path, name, places.enter_context(held_port()))
        members = [str(tmp_path / name / "member.json") for name in NAMES]
        deploy = ["--task-from", str(tmp_path / "ann"), "--rounds", "2", "--dispute-seconds", "0"]
        registry = mycelia("deploy", *members, "--rpc", rpc, *deploy).strip()
        where = ["--rpc", rpc, "--registry", registry]
        results = run_all([[*MYCELIA, "run", str(tmp_path / name), *where] for name in NAMES])
    assert {result["round"] for result in results} == {3}
    assert len({result["model_digest"] for result in results}) == 1
    written = ("node.store", "progress.jsonl", "status.json", "local.npz", "private.npz", "evaluation.json")
    assert {(tmp_path / "ann" / name).stat().st_mode & 0o777 for name in written} == {0o600}
    status = json.loads(mycelia("status", str(tmp_path / "ann"), "--json"))
    assert (status["round"], status["phase"]) == (3, "FINISHED")
    assert mycelia("claim", str(tmp_path / "ann"), *where).strip() != "0"
    assert mycelia("claim", str(tmp_path / "ann"), *where).strip() == "0"
    mycelia("export", str(tmp_path / "ann"), str(tmp_path / "model.safetensors"))
    tensors = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    assert tensors["weight"].shape == (1, 3)
    assert json.loads(mycelia("audit", *where, "--json"))["ok"] is True


def write_member(folder: Path, number: int) -> None:
    folder.mkdir()
    (folder / "dose_task.py").write_text(TASK)
    draw = random.Random(number)
    lines = ["age,dose,marker,worked"]
    for _ in range(60):
        age, dose, marker = draw.randint(20, 90), draw.uniform(0, 10), draw.random()
        worked = int(dose / 10 + marker - age / 200 + draw.gauss(0, 0.2) > 0.6)
        lines.append(f"{age},{dose:.3f},{marker:.3f},{worked}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")


def init(folder: Path, name: str, place: socket.socket) -> None:
    rows = folder / name / "rows.csv"
    port = str(place.getsockname()[1])
    said = mycelia("init", str(folder / name), "--name", name, "--task", "dose_task:task", "--port", port,
                   "--option", f"path={rows}")  # fmt: skip
    assert re.search(r"member\.json$", said.strip())


def held_port() -> socket.socket:
    """A socket that holds a port for a node and does not listen."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", 0))
    return place


def mycelia(*arguments: str) -> str:
    """What the command prints; it has to succeed."""
    done = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def run_all(commands: list[list[str]]) -> list[dict[str, object]]:
    """The JSON that each prints, all running at once."""
    results = []
    with ExitStack() as ending:
        running = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
        for process in running:
            ending.enter_context(process)
            ending.callback(process.kill)
        for process in running:
            said, log = process.communicate(timeout=90)
            assert process.returncode == 0, log[-2000:]
            results.append(json.loads(said))
    return results
