"""Run slither over the contracts, with the project's own compiler and settings.

    python contracts/slither.py SLITHER     the path of slither's executable; `make slither` installs it

Exits 0 if every finding in contracts/src is answered in contracts/slither.json and every answer there still has its
finding, else 1 with those that are not.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
ANSWERS: Final = HERE / "slither.json"
"""Detector, then where it found something, then why that stays."""

OURS: Final = "contracts/src/"
OUTPUTS: Final = ["abi", "metadata", "userdoc", "devdoc", "evm.bytecode", "evm.deployedBytecode"]
COUNTED: Final = re.compile(r"analyzed \((\d+) contracts with (\d+) detectors\)")


def build_module() -> ModuleType:
    """contracts/build.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("contracts_build", HERE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def analyse(slither: Path) -> tuple[int, dict[tuple[str, str], str]]:
    """How many contracts slither looked at, and what it says about ours, by detector and place."""
    build = build_module()
    sources = {path: {"content": text} for path, text in build.read_sources().items() if "/test/" not in path}
    selection = {"*": {"": ["ast"], "*": OUTPUTS}}
    request = {
        "language": "Solidity",
        "sources": sources,
        "settings": build.SETTINGS | {"outputSelection": selection},
    }
    with build.compiler() as solc, tempfile.TemporaryDirectory() as folder:
        asked, report = Path(folder) / "input.json", Path(folder) / "report.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = [slither, asked, "--compile-force-framework", "solc-json", "--solc", solc, "--json", report]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if not report.exists():
            raise SystemExit(f"slither wrote no report:\n{run.stderr[-4000:]}")
        answer = json.loads(report.read_text(encoding="utf-8"))
    if not answer["success"]:
        raise SystemExit(f"slither failed: {answer['error']}")
    counted = COUNTED.search(run.stderr + run.stdout)
    return int(counted[1]) if counted else 0, found_in(answer["results"].get("detectors", []), sources)


def found_in(findings: list[dict[str, Any]], sources: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], str]:
    """The findings in our own sources, by detector and place: the file and the text of each line that is meant."""
    found = {}
    for finding in findings:
        ours = [
            part["source_mapping"]
            for part in finding["elements"]
            if part["source_mapping"]["filename_relative"].startswith(OURS)
        ]
        # A finding about a function names it first, and then the lines in it that are meant.
        meant = [part["source_mapping"] for part in finding["elements"] if part["type"] == "node"]
        if ours:
            places = [place for place in meant if place in ours] or ours[:1]
            found[finding["check"], "; ".join(dict.fromkeys(_line(place, sources) for place in places))] = finding[
                "description"
            ]
    return found


def _line(mapping: Mapping[str, Any], sources: Mapping[str, Mapping[str, str]]) -> str:
    path = mapping["filename_relative"]
    text = sources[path]["content"].splitlines()[mapping["lines"][0] - 1]
    return f"{path.removeprefix(OURS)}: {text.strip()}"


def main() -> int:
    count, found = analyse(Path(sys.argv[1]))
    answers = {
        (detector, place): why
        for detector, places in json.loads(ANSWERS.read_text(encoding="utf-8")).items()
        for place, why in places.items()
    }
    for key in found.keys() - answers.keys():
        print(f"not answered: {key[0]}: {key[1]}\n{found[key]}")
    for detector, place in answers.keys() - found.keys():
        print(f"answered, and not found any more: {detector}: {place}")
    print(f"{count} contracts analysed, {len(found)} findings")
    return int(count == 0 or found.keys() != answers.keys())


if __name__ == "__main__":
    sys.exit(main())
