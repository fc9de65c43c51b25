"""Every check of the protocol is needed: taken out, some test fails.  In a copy of the sources, one check at a time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"\s*# \[(RULE|REJECT|IGNORE)\] (.*)")
TESTS = (
    "tests/unit/gossip",
    "tests/property/test_liars.py",
    "tests/property/test_sharing.py",
    "tests/property/test_pieces.py",
)


@dataclass(frozen=True)
class Check:
    """The condition that follows a comment [RULE], [REJECT] or [IGNORE].

    Attributes:
        path: its file.
        line: index of the condition's line.
        text: what the comment says.
    """

    path: str
    line: int
    text: str


def find_checks() -> list[Check]:
    """All of them, in the order of the sources."""
    found = []
    for path in sorted([*(ROOT / "gossip").glob("*.py"), *(ROOT / "node").glob("*.py")]):
        lines = path.read_text().splitlines()
        for index, line in enumerate(lines):
            if mark := MARK.match(line):
                after = range(index + 1, len(lines))
                where = next(i for i in after if re.match(r"\s*(if|return|turn\.blame)\b", lines[i]))
                found.append(Check(str(path.relative_to(ROOT)), where, mark[2]))
    return found


def without(source: str, check: Check) -> str:
    """The source with the condition never met: nothing is refused there."""
    lines = source.splitlines(keepends=True)
    line = lines[check.line]
    indent = line[: len(line) - len(line.lstrip())]
    if line.lstrip().startswith("if "):
        end = next(i for i in range(check.line, len(lines)) if lines[i].rstrip().endswith(":"))
        lines[check.line : end + 1] = [f"{indent}if False:\n"]
    elif line.lstrip().startswith("turn.blame"):
        lines[check.line] = f"{indent}pass\n"
    else:
        answer = "None" if line.lstrip().startswith('return "') else "True"
        lines[check.line] = f"{indent}return {answer}\n{indent}" + line.lstrip()
    return "".join(lines)


def test_checks_are_found() -> None:
    checks = find_checks()
    assert len(checks) > 40
    for check in checks:
        source = (ROOT / check.path).read_text()
        assert without(source, check) != source
        compile(without(source, check), check.path, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("check", find_checks(), ids=lambda check: f"{check.path}: {check.text}")
def test_a_test_fails_without(check: Check, tmp_path: Path) -> None:
    for name in ("gossip", "node", "ledger", "sim", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / check.path
    path.write_text(without(path.read_text(), check))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:randomly", *TESTS]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for name in [name for name in environment if name.startswith("PYTEST_XDIST")]:
        del environment[name]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, f"nothing fails without: {check.text}\n{done.stdout[-1500:]}"
    assert "failed" in done.stdout
