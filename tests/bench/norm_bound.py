"""An experiment, not a part of the product: could a bound on the L2 norm of every secret update be enforced?

The idea (PINE's wrap-around check): after all shares are fixed, draw R public rows with entries -1, 0, 1 of
probabilities 1/4, 1/2, 1/4; every holder applies them to its share, which is linear and keeps the degree; the dealer
proves, without showing them, that all R outputs are small.  A vector that is long modulo p would have to be lucky R
times.  This script measures the two halves that can be measured alone:

1. how often vectors pass, honest ones and cheating ones, when each output has to lie within five standard deviations of
   what the longest honest vector gives (the outputs themselves are looked at here; in a product they must stay secret);
2. what applying the rows costs a holder for each element of a share.

What it needs besides follows from the parameters and is printed: the proof that the outputs are small is a proof about
bits, b * (b - 1) = 0, whose polynomials have degree 2 * (t + k - 1).

    python -m tests.bench.norm_bound
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from statistics import median

import numpy as np

from gossip.parameters import MODULUS, Parameters
from gossip.quantise import MAX_MAGNITUDE
from gossip.spec import HALF

SLOT = 20_000
TRIALS = 60
ROWS = (64, 128, 256)
BOUND = MAX_MAGNITUDE
DEVIATIONS = 5.0
RESULTS = Path(__file__).parent / "results" / "norm_bound.json"


def vectors(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """(SLOT,) integers modulo p, centred: what a dealer might have shared."""
    direction = rng.standard_normal(SLOT)
    direction /= np.linalg.norm(direction)
    spike, two_spikes = np.zeros(SLOT), np.zeros(SLOT)
    spike[7] = HALF
    two_spikes[[7, 70]] = HALF
    return {
        "honest, at the bound": np.rint(direction * (BOUND - math.sqrt(SLOT) / 2)),
        "1.5 times the bound": np.rint(direction * 1.5 * BOUND),
        "2 times the bound": np.rint(direction * 2 * BOUND),
        "3 times the bound": np.rint(direction * 3 * BOUND),
        "30 times the bound": np.rint(direction * 30 * BOUND),
        "one number of p / 2": spike,
        "two numbers of p / 2": two_spikes,
        "every number of p / 2": np.full(SLOT, float(HALF)),
    }


def draw_rows(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, SLOT) of -1, 0, 1 with probabilities 1/4, 1/2, 1/4."""
    bits = rng.integers(0, 4, (count, SLOT), dtype=np.int8)
    return (bits == 0).astype(np.float64) - (bits == 3)


def pass_rates() -> dict[str, dict[int, float]]:
    """Share of trials in which every output of the first R rows is within the tolerance."""
    rng, tolerance = np.random.default_rng(1), DEVIATIONS * BOUND / math.sqrt(2)
    cases = vectors(rng)
    stacked = np.stack(list(cases.values()), axis=1)
    passed = np.zeros((len(cases), len(ROWS)))
    for _ in range(TRIALS):
        outputs = np.mod(draw_rows(rng, max(ROWS)) @ stacked, MODULUS)
        outputs[outputs > HALF] -= MODULUS
        within = np.abs(outputs) <= tolerance
        passed += [[within[:count, case].all() for count in ROWS] for case in range(len(cases))]
    rates = passed / TRIALS
    return {name: dict(zip(ROWS, rates[i].round(3).tolist(), strict=True)) for i, name in enumerate(cases)}


def nanoseconds_per_element(count: int) -> float:
    """CPU time to apply `count` rows that are already drawn, for one element of one share."""
    rng = np.random.default_rng(2)
    rows, share = draw_rows(rng, count), rng.integers(0, MODULUS, SLOT).astype(np.float64)
    taken = []
    for _ in range(15):
        start = time.process_time_ns()
        np.mod(rows @ share, MODULUS)
        taken.append(time.process_time_ns() - start)
    return median(taken) / SLOT


def proof_terms(n: int, rows: int, dimension: int) -> dict[str, float | int]:
    """What the proof of small outputs takes: elements to share, and answers to its zero tests."""
    parameters = Parameters.of_size(n)
    bits = math.ceil(math.log2(2 * DEVIATIONS * BOUND / math.sqrt(2)))
    degree = 2 * (parameters.privacy_threshold + parameters.pack_size - 1)
    elements = rows * bits
    return {
        "n": n,
        "degree": degree,
        "answers_to_open": degree + 1,
        "answers_to_correct_t_lies": degree + 1 + 2 * parameters.privacy_threshold,
        "members_that_may_be_missing": n - (degree + 1),
        "more_words_percent": round(100 * elements * parameters.pack_size / dimension, 2),
    }


def main() -> None:
    report = {
        "slot": SLOT,
        "trials": TRIALS,
        "pass_rates": pass_rates(),
        "ns_per_element": {rows: round(nanoseconds_per_element(rows), 2) for rows in ROWS},
        "proof": [proof_terms(n, 128, 1_000_000) for n in (4, 8, 16, 32, 64)],
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
