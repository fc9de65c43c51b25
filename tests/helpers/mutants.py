"""Contracts whose checks can be taken out one at a time: a test has to notice every one of them.

    python -m tests.helpers.mutants            all of them, a quarter of an hour
    python -m tests.helpers.mutants Disputes   those in files whose name contains this

A check is an `if (...) revert`, each part of its condition, each part of a named condition, a call of a function that
does nothing but check, and `nonReentrant`.  The contracts are compiled once, with every check behind a switch: number
k is off on a chain where one address, which nobody uses, holds k wei.  For each k the tests of the contracts run in a
process of their own until the first one fails, those first that name the check's error.  A guard cannot have a switch;
its mutants are compiled one by one.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import solcx

from ledger import artifacts
from tests.helpers.chain import Chain

ROOT: Final = Path(__file__).parents[2]
TESTS: Final = ROOT / "tests" / "contracts"
LEFT_OUT: Final = ("test_build.py", "test_gas.py", "test_mutants.py", "test_invariants.py", "test_slither.py")

_REVERT: Final = r"revert [\w.]+\([^;]*\);"
REVERTING: Final = re.compile(
    r"if \((?P<condition>[^;{]*?)\) (?:\{\s*" + _REVERT + r"\s*\}|" + _REVERT + ")", re.DOTALL
)
NAMED: Final = re.compile(r"bool \w+ =\s(?P<condition>[^;]*);", re.DOTALL)
CHECKING: Final = re.compile(
    r"(?:^ +|\) )(?:_check\w+|_requireQuorum|_punishOnce|Rosters\.requireQuorum)\([^;]*\);", re.M
)
GUARD: Final = re.compile(r"\bnonReentrant\b")

FIRST: Final = {
    "MemberRegistry": ["test_admit", "test_rotate", "test_leave_and_remove", "test_spec_and_successor", "test_deploy"],
    "RoundLedger": ["test_submit_round", "test_roster_changes_and_rounds", "test_pause", "test_disputes"],
    "Rosters": ["test_submit_round", "test_admit", "test_leave_and_remove"],
    "RewardVault": ["test_activate", "test_claim", "test_revenue", "test_pause"],
    "Stakes": ["test_stake", "test_disputes", "test_deploy"],
    "Treasury": ["test_tokens", "test_stake", "test_claim"],
    "Disputes": ["test_disputes"],
}
"""Where a file's mutants are most likely noticed; the other tests come after these."""

UNREACHABLE: Final[dict[str, str]] = {}
"""Checks that no call can miss, and why they stay."""

SWITCH: Final = "0x00000000000000000000000000000000005175c4"
LIBRARY: Final = f"""// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

library Switch {{
    function on(uint256 number) internal view returns (bool) {{
        return address({SWITCH}).balance != number;
    }}
}}
"""
LIBRARY_PATH: Final = "contracts/src/Switch.sol"


@dataclass(frozen=True)
class Mutant:
    """One check less.

    Attributes:
        number: of its switch; 0 if it has none and `without` is the source without it.
        stem: name of the file.
        shown: file, line and text of the check.
        error: the first error that stands behind it, which a test that notices most likely names.
    """

    number: int
    stem: str
    shown: str
    error: str
    without: str = ""


def build_module() -> ModuleType:
    """contracts/build.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("contracts_build", ROOT / "contracts" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class _Switches:
    """Rewrites sources so that every check has a switch, and keeps a list of them."""

    def __init__(self) -> None:
        self.mutants: list[Mutant] = []

    def rewrite(self, path: str, text: str) -> str:
        """The source in which every check has a switch."""
        stem = Path(path).stem
        changes: list[tuple[int, int, str]] = []

        def new(start: int, end: int, without: str = "") -> int:
            shown = f"{stem}.sol:{text.count(chr(10), 0, start) + 1}: {' '.join(text[start:end].split())}"
            number = 0 if without else 1 + sum(bool(mutant.number) for mutant in self.mutants)
            self.mutants.append(Mutant(number, stem, shown, _error_behind(text, start, end), without))
            return number

        def condition(found: re.Match[str], operators: str) -> str:
            start, end = found.span("condition")
            for operator in operators.split():
                places = [start, *_outside_brackets(text, start, end, operator), end]
                if len(places) > 2:
                    cuts = [place if place == start else place + len(operator) for place in places[:-1]]
                    pairs = list(zip(cuts, places[1:], strict=True))
                    join = "Switch.on({}) && ({})" if operator == "||" else "!Switch.on({}) || ({})"
                    parts = [f"({join.format(new(*pair), text[slice(*pair)])})" for pair in pairs]
                    return f" {operator} ".join(parts)
            return text[start:end]

        for found in REVERTING.finditer(text):
            number = new(*found.span())
            start, end = found.span("condition")
            changes.append((start, end, f"Switch.on({number}) && ({condition(found, '||')})"))
        for found in NAMED.finditer(text):
            changes.append((*found.span("condition"), condition(found, "&& ||")))
        for found in CHECKING.finditer(text):
            begin = found.start() + (1 if found[0].startswith(")") else 0)
            changes.append(
                (begin, found.end(), f" if (Switch.on({new(begin, found.end())})) {{{text[begin : found.end()]}}}")
            )
        for found in GUARD.finditer(text):
            new(*found.span(), text[: found.start()] + text[found.end() :])
        for start, end, replacement in sorted(changes, reverse=True):
            text = text[:start] + replacement + text[end:]
        text = re.sub(r"\b(internal|private) pure\b", r"\1 view", text)
        text = re.sub(r"(\n +)pure(\n +\{|\n +returns)", r"\1view\2", text)
        text = re.sub(r"(private|internal)(\s+)pure", r"\1\2view", text)
        return text.replace(
            "pragma solidity 0.8.37;", 'pragma solidity 0.8.37;\n\nimport {Switch} from "./Switch.sol";'
        )


def _error_behind(text: str, start: int, end: int) -> str:
    if called := re.search(r"_\w+(?=\()", text[start:end]):
        start = max(text.find(f"function {called[0]}("), 0)
    found = re.compile(r"revert (?:\w+\.)?(\w+)\(").search(text, start)
    return found[1] if found else "Reentrancy"


class _Likeliest:
    """Puts the tests first that name an error, and writes the name of the one that fails to a file descriptor."""

    def __init__(self, error: str, out: int) -> None:
        self.error, self.out = error, out

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.error not in inspect.getsource(item.function))  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(self.out, report.nodeid.rpartition("/")[2].encode())


def _outside_brackets(text: str, start: int, end: int, operator: str) -> Iterator[int]:
    depth = 0
    for place in range(start, end):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text[place], 0)
        if depth == 0 and text.startswith(operator, place):
            yield place


def all_mutants(sources: dict[str, str]) -> tuple[dict[str, str], list[Mutant]]:
    """The sources with switches, and what the switches are for."""
    switches = _Switches()
    own = [path for path in sources if re.fullmatch(r"contracts/src/\w+\.sol", path) and Path(path).stem in FIRST]
    changed = {path: switches.rewrite(path, sources[path]) for path in own}
    return sources | changed | {LIBRARY_PATH: LIBRARY}, switches.mutants


def compiled(build: ModuleType, compiler: Path, sources: dict[str, str], names: tuple[str, ...]) -> dict[str, Any]:
    """The artifacts of these contracts from changed sources."""
    outputs = ["evm.bytecode.object", "evm.deployedBytecode.object"]
    request = {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in sources.items()},
        "settings": build.SETTINGS | {"outputSelection": {build.TARGETS[name][0]: {name: outputs} for name in names}},
    }
    answer = solcx.compile_standard(request, solc_binary=compiler)
    found = {}
    for name in names:
        code = answer["contracts"][build.TARGETS[name][0]][name]["evm"]
        found[name] = replace(
            artifacts.load(name),
            bytecode=bytes.fromhex(code["bytecode"]["object"]),
            deployed_bytecode=bytes.fromhex(code["deployedBytecode"]["object"]),
        )
    return found


def noticed_by(mutated: dict[str, Any], mutant: Mutant) -> str:
    """The first test that fails with these artifacts and this switch off, empty if none does; in its own process."""
    told, out = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, 1)
            os.dup2(devnull, 2)
            genuine, begin = artifacts.load, Chain.__init__

            def begin_switched(chain: Chain) -> None:
                begin(chain)
                turned = {"from": chain.w3.eth.accounts[9], "to": SWITCH, "value": mutant.number, "gas": 50_000}
                chain.w3.eth.send_transaction(turned)  # type: ignore[arg-type]

            artifacts.load = lambda name: mutated.get(name) or genuine(name)  # type: ignore[assignment]
            Chain.__init__ = begin_switched  # type: ignore[method-assign]
            options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider"]
            code = int(pytest.main([*options, *_ordered(mutant.stem)], [_Likeliest(mutant.error, out)]))
        finally:
            os._exit(code)
    os.close(out)
    with os.fdopen(told, encoding="utf-8") as names:
        name = names.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), f"pytest ended with {code}"
    return name


def _ordered(stem: str) -> list[str]:
    files = sorted(file for file in TESTS.glob("test_*.py") if file.name not in LEFT_OUT)
    likely = FIRST.get(stem, [])
    places = {file: next((i for i, name in enumerate(likely) if file.name.startswith(name)), 99) for file in files}
    return [str(file) for file in sorted(files, key=lambda file: (places[file], file.name))]


def survivors(wanted: str = "", tell: Any = print) -> list[str]:
    """The mutants that no test notices, but for those that nothing can tell apart."""
    build = build_module()
    sources: dict[str, str] = build.read_sources()
    switched, mutants = all_mutants(sources)
    found = []
    with build.compiler() as compiler:
        contracts = compiled(build, compiler, switched, artifacts.NAMES)
        nothing = Mutant(0, "", "", "")
        if failing := noticed_by(contracts, nothing):
            raise AssertionError(f"{failing} fails with every check in place")
        for mutant in mutants:
            if wanted not in mutant.stem:
                continue
            used = contracts
            if mutant.without:
                path = f"contracts/src/{mutant.stem}.sol"
                used = compiled(build, compiler, sources | {path: mutant.without}, ("RewardVault",))
            test = noticed_by(used, mutant)
            tell(f"{f'noticed by {test}' if test else 'SURVIVED'}: {mutant.shown}", flush=True)
            if not test and mutant.shown.partition(": ")[2] not in UNREACHABLE:
                found.append(mutant.shown)
    return found


if __name__ == "__main__":
    left = survivors(*sys.argv[1:])
    print(f"{len(left)} unnoticed")
    sys.exit(bool(left))
