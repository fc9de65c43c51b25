"""The compiled contracts, as `contracts/build.py` wrote them; no compiler is needed to run them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

NAMES: Final = ("MemberRegistry", "RoundLedger", "RewardVault", "Disputes")
"""Contracts in the order of their deployment."""


@dataclass(frozen=True)
class Artifact:
    """One compiled contract.

    Attributes:
        name: the contract's name.
        abi: its interface, as web3 and solc write it.
        bytecode: what a deployment sends, before the encoded constructor arguments.
        deployed_bytecode: what then lies at the address, with zeros in place of every immutable.
        immutables: (start, length) in bytes of every place of each immutable, by its name.
        errors: ABI entry of each custom error, by its four-byte selector.
        storage: variables with `name`, `slot`, `offset` and `type`.
        source_digests: hex SHA-256 of every Solidity file that went into the build, by its path.
    """

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    deployed_bytecode: bytes
    immutables: Mapping[str, tuple[tuple[int, int], ...]]
    errors: Mapping[bytes, dict[str, Any]]
    storage: tuple[dict[str, Any], ...]
    source_digests: Mapping[str, str]

    def is_code(self, code: bytes) -> bool:
        """Whether `code`, read from a chain, is this contract with whatever values of its immutables."""
        if len(code) != len(self.deployed_bytecode):
            return False
        masked = bytearray(code)
        for places in self.immutables.values():
            for start, length in places:
                masked[start : start + length] = bytes(length)
        return bytes(masked) == self.deployed_bytecode

    def immutable_values(self, code: bytes) -> dict[str, frozenset[bytes]]:
        """The words that `code` holds for each immutable; a genuine contract has one for each name."""
        return {
            name: frozenset(code[start : start + length] for start, length in places)
            for name, places in self.immutables.items()
        }


def parse(text: str) -> Artifact:
    """The artifact in the JSON `text`, which `contracts/build.py` wrote."""
    raw = json.loads(text)
    errors = {error_signature(entry): entry for entry in raw["abi"] if entry["type"] == "error"}
    return Artifact(
        name=raw["name"],
        abi=tuple(raw["abi"]),
        bytecode=bytes.fromhex(raw["bytecode"][2:]),
        deployed_bytecode=bytes.fromhex(raw["deployed_bytecode"][2:]),
        immutables={
            name: tuple((place["start"], place["length"]) for place in places)
            for name, places in raw["immutables"].items()
        },
        errors={bytes.fromhex(selector[2:]): errors[text] for selector, text in raw["errors"].items()},
        storage=tuple(raw["storage"]),
        source_digests=raw["sources"],
    )


def error_signature(entry: Mapping[str, Any]) -> str:
    """Canonical signature of a custom error's ABI entry, e.g. `UnknownKind(uint8)`."""
    return f"{entry['name']}({','.join(part['type'] for part in entry['inputs'])})"


@cache
def load(name: str) -> Artifact:
    """The artifact of the contract `name`, one of `NAMES`.

    Raises:
        FileNotFoundError: no contract of that name is part of this package.
    """
    return parse(files("ledger").joinpath("artifacts_data", f"{name}.json").read_text(encoding="utf-8"))


def errors() -> dict[bytes, dict[str, Any]]:
    """ABI entry of every custom error that a call of the contracts may end with, by selector."""
    return {selector: entry for name in NAMES for selector, entry in load(name).errors.items()}
