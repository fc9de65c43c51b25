"""Rounds as the ledger's events tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eth_hash.auto import keccak

from ledger.connection import Connection
from ledger.errors import ChainUnavailable
from ledger.logs import decoded
from ledger.rewards import unpack_scores
from ledger.types import RoundRecord, RoundResult

RESULT_ABI: Final = "(uint64,uint8,uint8,bytes32,bytes32,uint256,bytes32,bytes32,bytes32,bytes32,uint128)"
RECORDED_TOPIC: Final = keccak(f"RoundRecorded(uint64,bytes32,{RESULT_ABI},bytes,uint256,bytes)".encode())


class RecordSource:
    """Blocks and rounds, as a cursor reads them."""

    def __init__(self, connection: Connection, ledger: str, first_block: int) -> None:
        self._connection = connection
        self._ledger = ledger
        self.first_block = first_block

    def block_hash(self, number: int) -> bytes | None:
        return self._connection.block_hash(number)

    def events(self, first_block: int, last_block: int) -> list[tuple[int, bytes, RoundRecord]]:
        logs = self._connection.logs(self._ledger, RECORDED_TOPIC, first_block, last_block)
        return [(int(log["blockNumber"]), bytes(log["blockHash"]), read_record(log)) for log in logs]


def read_record(log: Mapping[str, Any]) -> RoundRecord:
    """The round that a RoundRecorded log tells of.

    Raises:
        ChainUnavailable: it cannot be read, or its digest is not that of the result in it.
    """
    types = ["bytes32", RESULT_ABI, "bytes", "uint256", "bytes"]
    digest, fields, scores, signers, signatures = decoded(types, bytes(log["data"]))
    try:
        result = RoundResult(*fields)
        record = RoundRecord(
            result=result,
            scores=unpack_scores(scores, len(scores) // 8),
            signers=signers,
            signatures=signatures,
            tx="0x" + bytes(log["transactionHash"]).hex(),
            block=int(log["blockNumber"]),
        )
    except ValueError as error:
        raise ChainUnavailable(f"an event of the ledger cannot be read: {error}") from error
    if digest != result.struct_hash() or int.from_bytes(log["topics"][1], "big") != result.round:
        raise ChainUnavailable(f"the event of round {result.round} contradicts its digest")
    return record
