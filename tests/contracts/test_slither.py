"""Slither reads every contract; what it finds in ours is answered line by line in contracts/slither.json."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLITHER = ROOT / ".venv-slither" / "bin" / "slither"


@pytest.mark.slow
@pytest.mark.skipif(not SLITHER.exists(), reason="`make slither` installs it, in an environment of its own")
def test_every_finding_of_slither_is_answered() -> None:
    command = [sys.executable, ROOT / "contracts" / "slither.py", SLITHER]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    counted = re.search(r"(\d+) contracts analysed, (\d+) findings", run.stdout)
    assert counted is not None
    assert int(counted[1]) > 20  # four contracts, their parts and interfaces, and what they use of OpenZeppelin
