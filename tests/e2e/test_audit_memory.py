"""The audit of thousands of rounds takes no more memory than that of hundreds."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger.audit import audit_trail
from ledger.connection import Connection
from ledger.devchain import running
from ledger.findings import AuditReport
from ledger.recorded import RECORDED_TOPIC, RESULT_ABI
from ledger.rewards import deals_root, pack_scores, pay, rewards_root, scores_digest
from ledger.trail import Trail
from ledger.types import EMPTY, SETTLED, STATISTICS, STORED_BYTES, TRAINING, RoundResult
from tests.helpers.recorded import QUORUM, TERMS, N, Recorded, begin

pytestmark = pytest.mark.network

FEW: Final = 300
MANY: Final = 2_400
ALLOWED_BYTES: Final = 200_000
"""A hundred bytes a round would be more."""

BLOCKS_A_ROUND: Final = 40
SCORES: Final = (300, -20, 5, 100)
DEALERS: Final = 0b1111


def write_rounds(recorded: Recorded, folder: Path) -> None:
    """The logs of `MANY` rounds, one file a log, so that they take no memory; digests beside them."""
    previous, cumulative = EMPTY, (0,) * N
    digests = bytearray()
    for number in range(MANY):
        kind = TRAINING if number else STATISTICS
        scores = SCORES if number > 1 else None
        added = pay(TERMS, kind, SETTLED, DEALERS, scores, N)
        cumulative = tuple(old + new for old, new in zip(cumulative, added, strict=True))
        result = RoundResult(
            round=number,
            kind=kind,
            outcome=SETTLED,
            previous=previous,
            config=recorded.roster.config_digest,
            dealers=DEALERS,
            model=keccak(b"%d" % number),
            deals=deals_root({index: bytes([index]) * 32 for index in range(N)}),
            scores=scores_digest(scores),
            rewards=rewards_root(cumulative),
            rewards_total=sum(cumulative),
        )
        previous = result.struct_hash()
        digests += previous
        packed = b"" if scores is None else pack_scores(scores)
        values = [previous, result.as_tuple(), packed, QUORUM, recorded.signatures(result)]
        data = encode(["bytes32", RESULT_ABI, "bytes", "uint256", "bytes"], values)
        (folder / str(number)).write_bytes(data)
    (folder / "digests").write_bytes(digests)


class LongChain:
    """A deployment's endpoint with so many rounds, whose logs it reads from disk when it is asked."""

    def __init__(self, true: Connection, recorded: Recorded, folder: Path, rounds: int) -> None:
        self.chain_id = true.chain_id
        self._true = true
        self._recorded = recorded
        self._folder = folder
        self._rounds = rounds
        self._first = true.block_number() + 1
        self._asked = 0

    def request(self, method: str, params: list[Any]) -> Any:
        ledger = self._recorded.roster.ledger
        if method == "eth_getLogs":
            gc.collect()  # what only waits for the collector is not kept
        if method == "eth_blockNumber":
            return hex(self._first + self._rounds * BLOCKS_A_ROUND)
        if method == "eth_getBlockByNumber" and int(params[0], 16) >= self._first:
            return {"number": params[0], "hash": "0x" + "11" * 32, "timestamp": "0x1"}
        if method == "eth_getStorageAt":
            return self._record(params[1])
        if method == "eth_getLogs" and "topics" in params[0]:
            return []
        if method == "eth_getLogs" and params[0]["address"] == ledger:
            span = (int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16))
            return self._deployed(params[0]) + self._logs(*span)
        if method == "eth_call" and params[0]["to"] == ledger:
            return self._view(bytes.fromhex(params[0]["data"][2:]))
        if method == "eth_getLogs":
            return self._deployed(params[0])
        if method in ("eth_getBlockByNumber", "eth_getTransactionByHash"):
            return self._true.request(method, params)
        return self._true.request(method, [*params[:-1], "latest"])

    def _deployed(self, wanted: dict[str, Any]) -> Any:
        """What the contracts told when they were made."""
        begins = wanted["fromBlock"] == "0x0"
        return self._true.request("eth_getLogs", [wanted | {"toBlock": "latest"}]) if begins else []

    def _logs(self, first: int, last: int) -> list[dict[str, Any]]:
        numbers = range(self._rounds)
        inside = [number for number in numbers if first <= self._first + number * BLOCKS_A_ROUND <= last]
        return [self._log(number) for number in inside]

    def _log(self, number: int) -> dict[str, Any]:
        return {
            "address": self._recorded.roster.ledger,
            "blockNumber": hex(self._first + number * BLOCKS_A_ROUND),
            "logIndex": "0x0",
            "transactionHash": "0x" + "22" * 32,
            "blockHash": "0x" + "11" * 32,
            "topics": ["0x" + RECORDED_TOPIC.hex(), "0x" + number.to_bytes(32, "big").hex()],
            "data": "0x" + (self._folder / str(number)).read_bytes().hex(),
        }

    def _view(self, data: bytes) -> str:
        if data[:4] == keccak(b"nextRound()")[:4]:
            return "0x" + self._rounds.to_bytes(32, "big").hex()
        if data[:4] == keccak(b"recordingVersion()")[:4]:
            return "0x" + bytes([1]).rjust(32, b"\0").hex()
        return "0x" + bytes(32).hex()

    def _record(self, slot: str) -> str:
        """What the ledger keeps of the round that is asked about: its digest, and the time of its block."""
        # Rounds are asked about in their order.
        while slot != "0x" + keccak(encode(["uint256", "uint256"], [self._asked, 2])).hex():
            self._asked = (self._asked + 1) % self._rounds
        with (self._folder / "digests").open("rb") as file:
            file.seek(32 * self._asked)
            return "0x" + (bytes([0, 0, 0, 0, 1]) + file.read(STORED_BYTES)).hex()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Recorded, Path, str]]:
    with running() as server:
        recorded = begin(server.url)
        folder = tmp_path_factory.mktemp("rounds")
        write_rounds(recorded, folder)
        yield recorded, folder, server.url


def measured(long: tuple[Recorded, Path, str], rounds: int) -> tuple[AuditReport, int]:
    """The report, and the most memory that Python's objects took for it."""
    recorded, folder, url = long
    chain: Any = LongChain(Connection(url), recorded, folder, rounds)
    tracemalloc.start()
    try:
        report = audit_trail(Trail(chain), recorded.roster.registry)
        return report, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.lengthy
def test_memory_does_not_grow_with_the_number_of_rounds(long: tuple[Recorded, Path, str]) -> None:
    measured(long, 20)
    few, few_bytes = measured(long, FEW)
    many, many_bytes = measured(long, MANY)
    for report, rounds in ((few, FEW), (many, MANY)):
        # The spec has three rounds and the vault no coins; nothing else is wrong.
        assert {finding.code for finding in report.findings} <= {"round.kind", "findings.more"}
        assert (report.checked.rounds, report.checked.signatures) == (rounds, 3 * rounds)
    assert many_bytes < few_bytes + ALLOWED_BYTES, (few_bytes, many_bytes)
    assert many.members[0].rounds_dealt == MANY - 1
    assert len(many.curves.earned_wei) < 250
