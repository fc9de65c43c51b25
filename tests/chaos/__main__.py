"""Runs the fault matrix: python -m tests.chaos [--fresh] [--only FAULT/PHASE/N/VICTIMS ...] [--minutes M]

Results go to tests/bench/results/chaos.json and chaos.md after every audit; cells that are there and good are not run
again, unless `--fresh`.  Exits 1 if a cell failed, or there was no time for one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tests.chaos.cluster import Cluster, new_folder
from tests.chaos.matrix import FAULTS, INJECTED, Cell, cells, judged, run

RESULTS = Path(__file__).parents[1] / "bench" / "results"
GOOD = ("settled", "settled later")
CELLS_OF_A_CLUSTER = 30
CELLS_OF_AN_AUDIT = 5
"""The auditor starts from the first block each time, so that one audit speaks for every cell before it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="run every wanted cell again")
    parser.add_argument("--only", nargs="*", default=["*"], help="patterns of cells")
    parser.add_argument("--minutes", type=float, default=60.0, help="most that the whole may take")
    options = parser.parse_args()
    wanted = [cell for cell in cells() if any(fnmatch(cell.key, pattern) for pattern in options.only)]
    found = load()
    for cell in wanted if options.fresh else ():
        found.pop(cell.key, None)
    todo = [cell for cell in wanted if found.get(cell.key, {}).get("outcome") not in GOOD]
    end = time.monotonic() + options.minutes * 60
    about = {"commit": _commit(), "date": time.strftime("%Y-%m-%d")}
    folder = Path(tempfile.mkdtemp(prefix="mycelia-chaos-"))
    try:
        for n in sorted({cell.n for cell in todo}):
            run_size(Run(folder, found, end, about), [cell for cell in todo if cell.n == n])
    finally:
        save(found)
    bad = [cell.key for cell in wanted if found.get(cell.key, {}).get("outcome") not in GOOD]
    for key in bad:
        print(f"{key}: {found.get(key, {}).get('outcome', 'no time left')}")
    if bad:
        print(f"{len(bad)} of {len(wanted)} cells are not as they must be; the nodes' folders are in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print(f"all {len(wanted)} cells are as they must be")
    return 0


@dataclass(frozen=True)
class Run:
    """One run of the program.

    Attributes:
        found: what came of each cell, by its key.
        end: when no more cell is begun.
        about: what each entry says of the run that it is from.
    """

    folder: Path
    found: dict[str, Any]
    end: float
    about: dict[str, str]


def run_size(this: Run, todo: list[Cell]) -> None:
    """The cells of one size, on one cluster for as long as it stays well and its ledger short enough to audit often."""
    while todo and time.monotonic() < this.end:
        with Cluster(todo[0].n, new_folder(this.folder, todo[0].n)) as cluster:
            for _ in range(CELLS_OF_A_CLUSTER // CELLS_OF_AN_AUDIT):
                entries = run_some(this, todo, cluster)
                if not entries or any(entry["outcome"] not in GOOD for entry in entries):
                    break  # nothing is left, or the next cell deserves a cluster that is well


def run_some(this: Run, todo: list[Cell], cluster: Cluster) -> list[dict[str, Any]]:
    """The next cells, and then one audit of all that has happened."""
    entries: list[dict[str, Any]] = []
    while todo and len(entries) < CELLS_OF_AN_AUDIT and time.monotonic() < this.end:
        load = round(os.getloadavg()[0], 1)
        entries.append({**run(todo.pop(0), cluster), **this.about, "load": load})
        print(f"{key_of(entries[-1]):<28}{entries[-1]['seconds']:>7.1f} s  {entries[-1]['outcome']}", flush=True)
        if entries[-1]["outcome"] not in GOOD:
            break
    entries = judged(entries, cluster) if entries else []
    this.found.update({key_of(entry): entry for entry in entries})
    save(this.found)
    return entries


def key_of(entry: dict[str, Any]) -> str:
    return f"{entry['fault']}/{entry['phase']}/{entry['n']}/{entry['victims']}"


def load() -> dict[str, Any]:
    try:
        entries = json.loads((RESULTS / "chaos.json").read_text())["cells"]
    except (OSError, ValueError, KeyError):
        return {}
    return {key_of(entry): entry for entry in entries}


def save(found: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    order = [cell.key for cell in cells()]
    entries = [found[key] for key in order if key in found]
    about = {"machine": platform.machine(), "cores": os.cpu_count(), "seconds": _seconds(entries)}
    (RESULTS / "chaos.json").write_text(json.dumps({**about, "cells": entries}, indent=1) + "\n")
    (RESULTS / "chaos.md").write_text(table(found))


def table(found: dict[str, Any]) -> str:
    """Faults by phases; each entry has n and victims, what came of it, and how long it took."""
    lines = ["| fault | " + " | ".join(INJECTED) + " |", "|---" * (len(INJECTED) + 1) + "|"]
    for fault in FAULTS:
        row = []
        for phase in INJECTED:
            parts = [
                f"{entry['n']}/{entry['victims']} {entry['outcome']} {entry['seconds']:.0f} s"
                for entry in found.values()
                if (entry["fault"], entry["phase"]) == (fault, phase)
            ]
            row.append("<br>".join(parts) or "-")
        lines.append(f"| {fault} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _seconds(entries: list[dict[str, Any]]) -> dict[str, float]:
    """How long the cells of each size took together."""
    total: Counter[str] = Counter()
    for entry in entries:
        total[f"n{entry['n']}"] += entry["seconds"]
    return {size: round(seconds, 1) for size, seconds in total.items()}


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
