"""The committed artifacts are what the committed sources give, and what is vendored is what was published."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from contracts import build
from ledger import artifacts
from tests.helpers.chain import Consortium

VENDOR = build.ROOT / build.VENDOR


@pytest.mark.parametrize("name", build.TARGETS)
def test_no_source_changed_since_the_artifact_was_built(name: str) -> None:
    artifact = artifacts.parse(build.artifact_path(name).read_text(encoding="utf-8"))
    assert artifact.source_digests == build.source_digests(), "run `python contracts/build.py`"


@pytest.mark.skipif(os.name == "nt", reason="the shim for the npm compiler is a shell script")
def test_the_sources_give_the_committed_artifacts_byte_for_byte() -> None:
    try:
        wrong = build.differences()
    except build.NoCompiler as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    assert wrong == []


def test_a_compiler_of_another_version_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "solc"
    fake.write_text("#!/bin/sh\necho 'Version: 0.8.36+commit.00000000.Linux.g++'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("SOLC_BINARY", str(fake))
    with pytest.raises(build.NoCompiler, match=r"is solc 0\.8\.36, the contracts need 0\.8\.37"), build.compiler():
        pass


def test_a_compiler_that_does_not_run_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SOLC_BINARY", str(tmp_path / "missing"))
    with pytest.raises(build.NoCompiler, match="does not run as a Solidity compiler"), build.compiler():
        pass


def test_every_own_source_pins_the_compiler_that_builds_it() -> None:
    own = [text for path, text in build.read_sources().items() if not path.startswith(build.VENDOR)]
    assert len(own) == 17
    for text in own:
        assert re.findall(r"^pragma solidity (.*);$", text, re.MULTILINE) == [build.SOLC_VERSION]


def test_the_vendored_files_are_the_published_ones() -> None:
    listed = dict(
        reversed(line.split("  ")) for line in (VENDOR / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    found = {file.relative_to(VENDOR).as_posix(): file.read_bytes() for file in VENDOR.glob("**/*.sol")}
    assert {path: hashlib.sha256(data).hexdigest() for path, data in found.items()} == listed


def test_the_deployed_code_is_the_artifacts_and_its_immutables_are_what_the_views_say(
    consortium: Consortium,
) -> None:
    w3 = consortium.chain.w3
    for name, contract in zip(artifacts.NAMES, consortium.contracts, strict=True):
        artifact, code = artifacts.load(name), bytes(w3.eth.get_code(contract.address))
        assert artifact.is_code(code)
        views = {entry["name"] for entry in artifact.abi if entry["type"] == "function" and not entry["inputs"]}
        values = artifact.immutable_values(code)
        assert values
        for immutable in values.keys() & views:
            value = contract.functions[immutable]().call()
            number = int(value, 16) if isinstance(value, str) else value
            assert values[immutable] == {number.to_bytes(32, "big")}


def test_one_changed_byte_of_code_is_noticed(consortium: Consortium) -> None:
    artifact = artifacts.load("RewardVault")
    code = bytearray(consortium.chain.w3.eth.get_code(consortium.vault.address))
    code[100] ^= 1
    assert not artifact.is_code(bytes(code))
    assert not artifact.is_code(bytes(code[:-1]))


def test_no_contract_has_an_owner_or_can_be_replaced() -> None:
    for name in artifacts.NAMES:
        artifact = artifacts.load(name)
        names = {entry.get("name", "") for entry in artifact.abi}
        assert not {found for found in names if re.search("owner|admin|upgrade|initialize", found, re.I)}
        assert b"\xff" not in opcodes(artifact.deployed_bytecode)  # SELFDESTRUCT
        assert b"\xf4" not in opcodes(artifact.deployed_bytecode)  # DELEGATECALL


def opcodes(code: bytes) -> set[bytes]:
    """The instructions in `code`, without the data of PUSH1 to PUSH32."""
    found, place = set(), 0
    while place < len(code):
        found.add(code[place : place + 1])
        place += 1 + max(0, code[place] - 0x5F if code[place] <= 0x7F else 0)
    return found
