"""Processes that all announce at the same instant hear each other, whatever was dropped on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.network

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("processes", "songs"),
    [
        pytest.param(5, 1, id="5"),
        pytest.param(4, 40, id="4 that drop most and pull it"),
        pytest.param(20, 1, id="20", marks=pytest.mark.slow),
    ],
)
def test_all_hear_all_that_announce_at_the_same_instant(processes: int, songs: int) -> None:
    command = [sys.executable, "-m", "tests.helpers.choir", str(processes), str(songs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(json.loads(done.stdout)) == processes
