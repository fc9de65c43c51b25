"""Sharing, holding, reconstructing and checking, side by side with the plain version and with Flower's SecAgg+.

CPU-milliseconds on one thread per million parameters, medians of interleaved runs in one process per system: every
system takes its turn in every repetition, so that a noisy machine is noisy for all.  Run by `make bench-secagg`.

    share        clip by the L2 norm, round, pack, and make every holder's share (nothing is hashed or sent)
    hold         one holder's n shares, seeds expanded, added up
    reconstruct  the sum's words from t + k partial sums
    check        the own Proof, the check of n received shares, BLAKE3 of all shares sent and received

Not counted, for nobody: network, encryption of the transport, key agreement, signatures, training, disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from blake3 import blake3

from gossip import chunks, quantise, shamir
from gossip.layout import Layout
from gossip.parameters import Parameters
from gossip.prg import SEED_BYTES
from gossip.proofs import check_share, prove
from gossip.spec import TaskSpec

MILLION = 1_000_000
SIZES = (4, 8, 16, 32, 64)
REPETITIONS = 7
RESULTS = Path(__file__).parent / "results" / "secure_aggregation.json"
CHALLENGE = bytes(32)


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
        self.share_of_first = shamir.open_blob(dealing.blob(self.holder), self.layout, 0, self.holder)
        self.proof = prove(dealing, CHALLENGE, 0)
        assert check_share(self.share_of_first, self.proof, CHALLENGE, 0, self.layout, self.holder)

    def dealing(self) -> shamir.Dealing:
        integers = quantise.quantise_update(self.update, 500, self.spec, 1, os.urandom)
        payload = np.empty(self.size, dtype=np.uint32)
        chunks.to_words(integers, payload)
        return shamir.deal(payload, self.layout, 0, os.urandom(32))

    def received(self, dealing: shamir.Dealing, dealer: int) -> bytes:
        """What `dealer` would send to the holder: a seed of its own, or a share as long as this dealing's."""
        is_seeded = self.holder in self.layout.parameters.seeded_holders(dealer)
        body = os.urandom(SEED_BYTES) if is_seeded else dealing.blob(self.holder)[shamir.PREFIX_BYTES :]
        return bytes([shamir.FORMAT, dealer, self.holder]) + os.urandom(shamir.NONCE_BYTES) + body

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
        prove(self.dealt, CHALLENGE, 0)
        for _ in range(self.n):
            check_share(self.share_of_first, self.proof, CHALLENGE, 0, self.layout, self.holder)
        own = self.blobs[0]
        for blob in [own] * len(self.holders) + self.blobs:
            blake3(blob).digest()

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
    source = np.zeros(16 * MILLION)
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


def workspace_megabytes(n: int) -> float:
    """Peak of what sharing ten million words allocates beside its input and the chunk of shares that it yields."""
    member = Member(n, 100_000)
    layout = Layout(Parameters.of_size(n), 10 * MILLION)
    payload = np.zeros(layout.words, dtype=np.uint32)
    dealing = shamir.deal(payload, layout, 0, bytes(32))
    tracemalloc.start()
    for _ in dealing.share_chunks(member.holders):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    chunk_bytes = len(member.holders) * chunks.WIRE_CHUNK * chunks.WORD_BYTES
    return (peak - chunk_bytes) / 1e6


def table(rows: list[dict[str, float]]) -> str:
    heads = ("n", "share", "hold", "reconstruct", "total", "check", "plain total", "Flower", "ratio",
             "ratio, 25 % dropped", "share GB/s")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        flower = row["flower_client_ms"] + row["flower_server_ms"]
        dropped = row["flower_client_ms"] + row["flower_server_quarter_dropped_ms"]
        lines.append(
            f"| {row['n']} | {row['share_ms']:.1f} | {row['hold_ms']:.1f} | {row['reconstruct_ms']:.1f} "
            f"| {row['total_ms']:.1f} | {row['check_ms']:.1f} | {row['torch_total_ms']:.1f} | {flower:.0f} "
            f"| {flower / row['total_ms']:.0f}x | {dropped / row['total_ms']:.0f}x | {4.0 / row['share_ms']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    flower = Flower(sys.argv[1])
    rows = []
    for n in SIZES:
        rows.append(measure(n, flower))
        print(f"n = {n} measured", file=sys.stderr)
    flower.close()
    report = {
        "unit": "CPU-ms per million parameters, one thread, median of interleaved runs",
        "repetitions": REPETITIONS,
        "load": os.getloadavg(),
        "rows": rows,
        "workspace_mb": {n: round(workspace_megabytes(n), 2) for n in SIZES},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    main()
