"""Forge calls the contracts at random, more than 100,000 times; what holds afterwards is in contracts/forge/test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FORGE = Path(__file__).parents[2] / "contracts" / "forge"
INVARIANTS = re.findall(r"function (invariant_\w+)", (FORGE / "test" / "Invariants.t.sol").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.skipif(not (FORGE / "node_modules").exists(), reason="npm ci --prefix contracts/forge installs forge")
def test_the_invariants_hold_after_a_hundred_thousand_calls() -> None:
    run = subprocess.run([sys.executable, FORGE / "run.py"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    passed = dict(re.findall(r"\[PASS\] (\w+)\(\) \(runs: \d+, calls: (\d+), reverts: 0\)", run.stdout))
    assert set(passed) == set(INVARIANTS)
    assert sum(map(int, passed.values())) >= 100_000
