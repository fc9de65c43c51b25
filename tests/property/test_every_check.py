"""Every check of the protocol is needed: taken out, the test that PROTOCOL.md names for it fails.

By default this holds the table to the sources: one row for each check, one check for each row, and each named test
exists.  `make test-long` takes the checks out, one at a time, in a copy of the sources.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"\s*# \[(RULE|REJECT|IGNORE)\] (.*)")
ROW = re.compile(r"\| (.+) \| `(\w+\.\w+)` \| `([\w/]+\.py)::(\w+)` \|")
HONEST = (
    "tests/unit/gossip/test_review.py::test_what_is_true_fits",
    "tests/property/test_pieces.py::test_the_pieces_make_the_same_model_as_whole_sums",
)
"""Rounds in which nobody does anything false: what takes out only a check leaves these as they are."""

NEEDED_BY_ALL = {
    "A round ends with the result that a quorum signed",
    "A value is prepared, and final, by the votes of a quorum",
    "A member itself says one thing for each key: one Deal a round, one Proof an attempt",
}
"""Without these even an honest round goes wrong, or does not end."""


@dataclass(frozen=True)
class Check:
    """The condition that follows a comment [RULE], [REJECT] or [IGNORE].

    Attributes:
        path: its file.
        line: index of the condition's line.
        text: what the comment says.
        where: module and function.
    """

    path: str
    line: int
    text: str
    where: str


@dataclass(frozen=True)
class Row:
    """What PROTOCOL.md says of a check: the test that fails without it."""

    text: str
    where: str
    file: str
    test: str


def find_checks() -> list[Check]:
    """All of them, in the order of the sources."""
    found = []
    for path in sorted([*(ROOT / "gossip").glob("*.py"), *(ROOT / "node").glob("*.py")]):
        lines = path.read_text().splitlines()
        function = ""
        for index, line in enumerate(lines):
            if start := re.match(r"(?:    )?def (\w+)", line):
                function = start[1]
            if mark := MARK.match(line):
                assert re.match(r"\s*(if|return)\b", lines[index + 1]), f"no condition follows {line.strip()!r}"
                found.append(Check(str(path.relative_to(ROOT)), index + 1, mark[2], f"{path.stem}.{function}"))
    return found


def read_rows() -> list[Row]:
    """The table of checks, in its order."""
    _, section = (ROOT / "PROTOCOL.md").read_text().split("\n## Checks\n")
    table = section.split("\n## ")[0].split("| --- | --- | --- |\n")[1].strip()
    rows = [(line, ROW.fullmatch(line)) for line in table.splitlines()]
    assert all(row for _, row in rows), [line for line, row in rows if not row]
    return [Row(*row.groups()) for _, row in rows if row]


@cache
def names_in(file: str) -> frozenset[str]:
    """Names of the tests that a file has."""
    nodes = ast.parse((ROOT / file).read_text()).body
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))


def without(source: str, check: Check) -> str:
    """The source with the condition never met: nothing is refused there."""
    lines = source.splitlines(keepends=True)
    line = lines[check.line]
    indent = line[: len(line) - len(line.lstrip())]
    if line.lstrip().startswith("if "):
        end = next(i for i in range(check.line, len(lines)) if lines[i].rstrip().endswith(":"))
        lines[check.line : end + 1] = [f"{indent}if False:\n"]
    else:
        answer = "None" if line.lstrip().startswith('return "') else "True"
        lines[check.line] = f"{indent}return {answer}\n{indent}" + line.lstrip()
    return "".join(lines)


def test_checks_are_found_and_can_be_taken_out() -> None:
    checks = find_checks()
    assert len(checks) > 90
    for check in checks:
        source = (ROOT / check.path).read_text()
        assert without(source, check) != source
        compile(without(source, check), check.path, "exec")


def test_the_table_has_one_row_for_each_check() -> None:
    rows = [(row.where, row.text) for row in read_rows()]
    assert sorted(rows) == sorted((check.where, check.text) for check in find_checks())
    assert len({text for _, text in rows}) == len(rows), "two checks say the same"


def test_the_tests_that_the_table_names_exist() -> None:
    assert not [row for row in read_rows() if row.test not in names_in(row.file)]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that checks are taken out of; compiled kernels stay in it from one to the next."""
    copied = tmp_path_factory.mktemp("sources")
    for name in ("gossip", "node", "ledger", "sim", "tests"):
        shutil.copytree(ROOT / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "PROTOCOL.md"):
        shutil.copy(ROOT / name, copied)
    return copied


def failures(folder: Path, *tests: str) -> set[str]:
    """Which of these tests fail there."""
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", *tests]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, 1), done.stdout[-1500:] + done.stderr[-1500:]
    return set(re.findall(r"^FAILED ([\w/.]+::\w+)", done.stdout, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("check", find_checks(), ids=lambda check: f"{check.where}: {check.text}")
def test_the_named_test_fails_without(check: Check, sources: Path) -> None:
    [row] = [row for row in read_rows() if (row.where, row.text) == (check.where, check.text)]
    named, path = f"{row.file}::{row.test}", sources / check.path
    source = (ROOT / check.path).read_text()
    path.write_text(without(source, check))
    others = () if check.text in NEEDED_BY_ALL else HONEST
    try:
        failed = failures(sources, named, *others)
    finally:
        path.write_text(source)
    assert named in failed, f"{named} does not miss: {check.text}"
    assert failed == {named}, f"more is gone than: {check.text}"
