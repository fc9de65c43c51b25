"""Sharing, holding, reconstructing and checking, side by side with the plain version and with Flower's SecAgg+.

CPU-milliseconds on one thread per million parameters, medians of interleaved runs in one process per system: every
system takes its turn in every repetition, so that a noisy machine is noisy for all.  Run by `make bench-secagg`.

    share        clip by the L2 norm, round, pack, and make every holder's share (nothing is hashed or sent)
    hold         one holder's n shares, seeds expanded, added up
    reconstruct  the sum's words from t + k partial sums
    check        the challenge's coefficients, the own Proof, the check of n received shares as they came over the wire,
                 BLAKE3 of all shares sent and received

Not counted, for nobody: network, encryption of the transport, key agreement, signatures, training, disk.

`torch_total_ms` is the plain path that serves where numba has no wheel.  It is the prototype's algorithm, matrix
products in float64, written in numpy: torch is kept out of `gossip`.  The key's name is the one agreed for the file.

Memory and first use are measured in processes of their own: how far the resident set rises at its highest above what it
is when the input is there (native buffers and all), and what the first call of every compiled loop takes.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gossip import chunks, quantise, shamir
from gossip.layout import Layout
from gossip.parameters import Parameters
from gossip.prg import SEED_BYTES
from gossip.proofs import challenge_words, check_share, prove
from gossip.spec import TaskSpec, blob_digest

MILLION = 1_000_000
SIZES = (4, 8, 16, 32, 64)
REPETITIONS = 9
RESULTS = Path(__file__).parent / "results" / "secure_aggregation.json"
CHALLENGE = bytes(32)
AIMS: dict[str, dict[int, float]] = {
    "share_gbps": {4: 1.0, 8: 1.0, 16: 1.0, 32: 0.6},
    "total_ms": {4: 9.0, 8: 9.0, 16: 9.0, 32: 12.0},
    "check_ms": {4: 9.0, 8: 9.0, 16: 9.0, 32: 9.0},
    "flower_ratio": {16: 16.0, 32: 22.0},
}
"""Of `flower_ratio` and `share_gbps` at least so much, of the others at most."""
AT_LEAST = ("share_gbps", "flower_ratio")
WORKSPACE_AIM_MB = 1.0
FIRST_USE_AIM_SECONDS = 5.0


@dataclass
class Member:
    """One member's work in a round of `n`, with `size` parameters."""

    n: int
    size: int

    def __post_init__(self) -> None:
        self.layout = Layout(Parameters.of_size(self.n), self.size)
        self.spec = TaskSpec(
            task="bench", dimension=self.size, features=0, rounds=3, clip_norm_micro=MILLION, max_weight=1_000,
            gradient_clip_micro=MILLION, max_gradient_weight=1_000, initial_model="00" * 32,
        )  # fmt: skip
        self.update = np.random.default_rng(0).standard_normal(self.size)
        self.holders = shamir.unseeded_holders(self.layout, 0)
        self.holder = self.holders[0]
        dealing = self.dealing()
        self.blobs = [self.received(dealing, dealer) for dealer in range(self.n)]
        fixing = self.holders if len(self.holders) >= self.layout.parameters.threshold else range(self.n)
        chosen = tuple(fixing)[: self.layout.parameters.threshold]
        self.sums = {j: shamir.open_blob(dealing.blob(j), self.layout, 0, j)[: self.layout.blocks] for j in chosen}
        self.dealt = dealing
        self.proof = prove(dealing, CHALLENGE, 0)

    def dealing(self) -> shamir.Dealing:
        payload = np.empty(self.size, dtype=np.uint32)
        quantise.quantise_update(self.update, 500, self.spec, 1, os.urandom, payload)
        return shamir.deal(payload, self.layout, 0, os.urandom(32))

    def received(self, dealing: shamir.Dealing, dealer: int) -> bytes:
        """What `dealer` would send to the holder: a seed of its own, or a share as long as this dealing's."""
        body = os.urandom(SEED_BYTES) if self.is_seeded_by(dealer) else dealing.blob(self.holder)[shamir.PREFIX_BYTES :]
        return bytes([shamir.FORMAT, dealer, self.holder]) + os.urandom(shamir.NONCE_BYTES) + body

    def is_seeded_by(self, dealer: int) -> bool:
        return self.holder in self.layout.parameters.seeded_holders(dealer)

    def share(self) -> None:
        for _ in self.dealing().share_chunks(self.holders):
            pass

    def hold(self) -> None:
        partial_sum = shamir.PartialSum(self.layout, self.holder)
        for dealer, blob in enumerate(self.blobs):
            partial_sum.add(dealer, blob)
        partial_sum.words()

    def reconstruct(self) -> None:
        shamir.recombine(self.sums, self.layout)

    def check(self) -> None:
        challenge_words.cache_clear()
        prove(self.dealt, CHALLENGE, 0)
        for dealer, blob in enumerate(self.blobs):
            share = shamir.read_blob(blob, self.layout, dealer, self.holder)
            agrees = check_share(share, self.proof, CHALLENGE, 0, self.layout, self.holder)
            assert agrees != self.is_seeded_by(dealer)
        for blob in [self.blobs[0]] * len(self.holders) + self.blobs:
            blob_digest(blob)

    PHASES = ("share", "hold", "reconstruct", "check")


class Flower:
    """The peer's worker, in its own environment."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).with_name("flower_worker.py")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [python, str(script), str(MILLION)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        self._answer()

    def milliseconds(self, *request: object) -> float:
        assert self._process.stdin is not None
        print(*request, file=self._process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the peer's worker ended; is its environment complete? run `make bench-secagg` again")
        return line

    def close(self) -> None:
        self._process.communicate()


def cpu_ms(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)


def copy_ms(source: np.ndarray, target: np.ndarray) -> float:
    return cpu_ms(lambda: np.copyto(target, source))


def measure(n: int, flower: Flower) -> dict[str, float]:
    """One row of the table: medians over the interleaved repetitions."""
    member = Member(n, MILLION)
    source = np.random.default_rng(1).standard_normal(16 * MILLION)  # zeros would all be read from one page
    target = np.ones_like(source)
    seen: dict[str, list[float]] = {}
    for repetition in range(REPETITIONS + 1):
        taken: dict[str, float] = {}
        for threshold, prefix in ((chunks.COMPILED_FROM, ""), (1 << 62, "plain_")):
            with compiled_from(threshold):
                taken |= {f"{prefix}{phase}_ms": cpu_ms(getattr(member, phase)) for phase in Member.PHASES}
        taken["flower_client_ms"] = flower.milliseconds("client", n)
        taken["flower_server_ms"] = flower.milliseconds("server", n, 0)
        taken["flower_server_quarter_dropped_ms"] = flower.milliseconds("server", n, n // 4)
        taken["copy_gbps"] = source.nbytes / 1e6 / copy_ms(source, target)
        if repetition:  # the first warms caches and compiles
            for name, value in taken.items():
                seen.setdefault(name, []).append(value)
    row = {"n": n, **{name: round(median(values), 2) for name, values in seen.items()}}
    row["total_ms"] = round(sum(row[f"{phase}_ms"] for phase in Member.PHASES[:3]), 2)
    row["torch_total_ms"] = round(sum(row[f"plain_{phase}_ms"] for phase in Member.PHASES[:3]), 2)
    row["share_gbps"] = round(4.0 / row["share_ms"], 2)
    row["flower_ratio"] = round((row["flower_client_ms"] + row["flower_server_ms"]) / row["total_ms"], 1)
    quarter = row["flower_client_ms"] + row["flower_server_quarter_dropped_ms"]
    row["flower_ratio_quarter_dropped"] = round(quarter / row["total_ms"], 1)
    return row


@contextmanager
def compiled_from(threshold: int) -> Iterator[None]:
    """Use the compiled loops for chunks of so many words and more."""
    usual = chunks.COMPILED_FROM
    chunks.COMPILED_FROM = threshold  # type: ignore[misc]
    try:
        yield
    finally:
        chunks.COMPILED_FROM = usual  # type: ignore[misc]


# --- in processes of their own --------------------------------------------------------------------------------------


def output_megabytes(member: Member, phase: str) -> float:
    """What a phase hands on, and so must hold: the payload and a chunk of shares, a partial sum, the sum, nothing."""
    words = {"share": member.layout.words, "hold": member.layout.blocks, "reconstruct": member.layout.words}
    size = 4 * words.get(phase, 0)
    if phase == "share":
        size += len(member.holders) * min(chunks.WIRE_CHUNK, member.layout.total_blocks) * chunks.WORD_BYTES
    return size / 1e6


def status_megabytes(name: str) -> float:
    """A line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))


def peak_memory(n: int, size: int = 10 * MILLION) -> dict[str, dict[str, float]]:
    """Per phase the megabytes by which the resident set rises at most, what of it is output, and the rest."""
    small, found = Member(n, 400_000), {}
    for phase in Member.PHASES:
        getattr(small, phase)()
    member = Member(n, size)
    for phase in Member.PHASES:
        ctypes.CDLL(None).malloc_trim(0)  # what making the input has freed would hide what the phase takes
        before = status_megabytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
        getattr(member, phase)()
        rise, output = status_megabytes("VmHWM") - before, output_megabytes(member, phase)
        found[phase] = {"rise": rise, "output": output, "workspace": max(0.0, rise - output)}
    return {phase: {name: round(value, 2) for name, value in row.items()} for phase, row in found.items()}


def first_use() -> dict[str, float]:
    """Seconds that the first use of all compiled loops takes beyond the second: CPU time and wall."""
    chunks.COMPILED_FROM = 0  # type: ignore[misc]
    member, taken = Member.__new__(Member), []
    for _ in range(2):
        cpu, wall = time.process_time(), time.perf_counter()
        member.__init__(16, 20_000)  # type: ignore[misc]
        for phase in Member.PHASES:
            getattr(member, phase)()
        taken.append((time.process_time() - cpu, time.perf_counter() - wall))
    return {name: round(taken[0][i] - taken[1][i], 2) for i, name in enumerate(("cpu_seconds", "wall_seconds"))}


def in_own_process(what: str, *arguments: object, **environment: str) -> Any:
    """What `main` prints for a request, in a process that has done nothing else."""
    command = [sys.executable, "-m", "tests.bench.secure_aggregation", what, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | environment)
    return json.loads(done.stdout)


# --- the report -----------------------------------------------------------------------------------------------------


def missed(report: dict[str, Any]) -> list[str]:
    """The aims that this run did not reach."""
    found = []
    for row in report["rows"]:
        for name, aims in AIMS.items():
            aim = aims.get(row["n"])
            if aim is not None and (row[name] < aim if name in AT_LEAST else row[name] > aim):
                found.append(f"n = {row['n']}: {name} {row[name]}, aimed at {aim}")
    for n, phases in report["peak_memory_mb"].items():
        over = {phase: row["workspace"] for phase, row in phases.items() if row["workspace"] > WORKSPACE_AIM_MB}
        found += [
            f"n = {n}: workspace of {phase} {size} MB, aimed at {WORKSPACE_AIM_MB}" for phase, size in over.items()
        ]
    compiling = report["first_use"]["compiling"]["cpu_seconds"]
    if compiling > FIRST_USE_AIM_SECONDS:
        found.append(f"first use {compiling} CPU-seconds, aimed at {FIRST_USE_AIM_SECONDS}")
    return found


def with_aim(row: dict[str, float], name: str, digits: int) -> str:
    aim = AIMS[name].get(int(row["n"]))
    value = f"{row[name]:.{digits}f}"
    return value if aim is None else f"{value} ({'≥' if name in AT_LEAST else '≤'} {aim:g})"


def table(rows: list[dict[str, float]]) -> str:
    heads = ("n", "share", "hold", "reconstruct", "total", "check", "plain total", "Flower", "ratio",
             "ratio, 25 % dropped", "share GB/s", "copy GB/s")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        flower = row["flower_client_ms"] + row["flower_server_ms"]
        lines.append(
            f"| {row['n']} | {row['share_ms']:.1f} | {row['hold_ms']:.1f} | {row['reconstruct_ms']:.1f} "
            f"| {with_aim(row, 'total_ms', 1)} | {with_aim(row, 'check_ms', 1)} | {row['torch_total_ms']:.1f} "
            f"| {flower:.0f} | {with_aim(row, 'flower_ratio', 1)} | {row['flower_ratio_quarter_dropped']:.0f} "
            f"| {with_aim(row, 'share_gbps', 2)} | {row['copy_gbps']:.1f} |"
        )
    return "\n".join(lines)


def memory_table(report: dict[str, Any]) -> str:
    lines = ["| n | " + " | ".join(Member.PHASES) + " |", "|---" * 5 + "|"]
    for n, phases in report["peak_memory_mb"].items():
        cells = [f"{phases[p]['rise']:.1f} = {phases[p]['output']:.1f} + {phases[p]['workspace']:.1f}" for p in phases]
        lines.append(f"| {n} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def compare(python: str) -> dict[str, Any]:
    """The whole report, beside Flower's functions in the environment of `python`."""
    load_before, flower, rows = os.getloadavg(), Flower(python), []
    for n in SIZES:
        rows.append(measure(n, flower))
        print(f"n = {n} measured", file=sys.stderr)
    flower.close()
    with tempfile.TemporaryDirectory() as folder:
        compiling = in_own_process("first-use", NUMBA_CACHE_DIR=folder)
        cached = in_own_process("first-use", NUMBA_CACHE_DIR=folder)
    report = {
        "unit": "CPU-ms per million parameters, one thread, median of interleaved runs",
        "torch_total_ms_is": "the plain path, float64 products in numpy; torch is kept out of gossip",
        "repetitions": REPETITIONS,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": processor(),
        "load_before_and_after": [load_before, os.getloadavg()],
        "rows": rows,
        "aims": AIMS,
        "first_use": {"compiling": compiling, "cached": cached},
        "peak_memory_mb": {n: in_own_process("memory", n) for n in SIZES},
    }
    return report | {"missed": missed(report)}


def main() -> None:
    match sys.argv[1:]:
        case ["first-use"]:
            print(json.dumps(first_use()))
        case ["memory", n]:
            print(json.dumps(peak_memory(int(n))))
        case [python]:
            report = compare(python)
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(report, indent=1) + "\n")
            print(table(report["rows"]), memory_table(report), *report["missed"], sep="\n")
        case _:
            raise SystemExit("usage: python -m tests.bench.secure_aggregation PYTHON_WITH_FLOWER")


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    main()
