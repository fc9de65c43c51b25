"""`mycelia demo` as a process of its own, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

MYCELIA = [sys.executable, "-P", "-m", "node.cli"]
LONGEST_SECONDS = 240.0


def run_demo(folder: Path, *options: str) -> dict[str, Any]:
    """The report of a demo that keeps its files in `folder`; it has to end well and print nothing else."""
    command = [*MYCELIA, "demo", "--json", "--keep", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert processes_with(str(folder)) == []
    return dict(json.loads(done.stdout))


@contextmanager
def demo_under_way(folder: Path, nodes: int) -> Iterator[subprocess.Popen[bytes]]:
    """A demo whose chain and nodes have been started; killed at the end."""
    command = [*MYCELIA, "demo", "--keep", str(folder), "--nodes", str(nodes), "--rounds", "500"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as demo:
        try:
            wait_until(lambda: len(children_of(demo.pid)) == 1 + nodes)
            yield demo
        finally:
            demo.send_signal(signal.SIGKILL)


def processes_with(text: str) -> list[int]:
    """Processes with `text` in their command line or environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue  # it ended meanwhile, or is not ours
        if text.encode() in said and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def children_of(pid: int) -> list[int]:
    """Processes that `pid` started and that still run."""
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in tasks.read_text().split()]


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    """Poll until it holds.

    Raises:
        TimeoutError: it never did.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the condition never held")
        time.sleep(0.05)


def progress(folder: Path, name: str) -> list[dict[str, Any]]:
    """What the node said of itself, in order."""
    return [json.loads(line) for line in (folder / name / "progress.jsonl").read_text().splitlines()]


def deaths(folder: Path, name: str) -> list[tuple[int, str]]:
    """(round, phase) that the node was in each time before it came back."""
    lines = [line for line in progress(folder, name) if line["event"] in ("entered", "replayed")]
    return [(before["round"], before["phase"]) for before, after in pairwise(lines) if after["event"] == "replayed"]
