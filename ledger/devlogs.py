"""The development chain's logs, each block looked at once: eth-tester reads every block again for every question."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from typing import Any

Request = Callable[[str, list[Any]], Any]
"""The JSON value that answers a JSON-RPC call."""


class LogIndex:
    """Answers `eth_getLogs` from what it has seen of the chain behind `request`, which never reorganises."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._logs: list[dict[str, Any]] = []
        self._blocks: list[int] = []  # number of the block of each log, ascending
        self._next_block = 0

    def find(self, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The logs that match the filter `wanted`, oldest first.

        Raises:
            ValueError: a part of the filter cannot be used.
        """
        head = int(self._request("eth_blockNumber", []), 16)
        self._catch_up(head)
        if "blockHash" in wanted:
            raise ValueError("logs are found by block numbers")
        first = _number(wanted.get("fromBlock", "latest"), head)
        last = _number(wanted.get("toBlock", "latest"), head)
        addresses = _choices(wanted.get("address"))
        topics = [_choices(choice) for choice in wanted.get("topics") or []]
        span = self._logs[bisect_left(self._blocks, first) : bisect_right(self._blocks, last)]
        return [log for log in span if _matches(log, addresses, topics)]

    def _catch_up(self, head: int) -> None:
        for number in range(self._next_block, head + 1):
            block = self._request("eth_getBlockByNumber", [hex(number), False])
            for tx in block["transactions"]:
                logs = self._request("eth_getTransactionReceipt", [tx])["logs"]
                self._logs.extend(logs)
                self._blocks.extend(number for _ in logs)
            self._next_block = number + 1


def _matches(log: Mapping[str, Any], addresses: frozenset[str] | None, topics: list[frozenset[str] | None]) -> bool:
    if addresses is not None and log["address"].lower() not in addresses:
        return False
    return len(topics) <= len(log["topics"]) and all(
        choice is None or topic.lower() in choice for choice, topic in zip(topics, log["topics"], strict=False)
    )


def _choices(value: object) -> frozenset[str] | None:
    """What may stand in one place of a filter, lower case; None for anything."""
    if value is None or value == []:
        return None
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(part, str) for part in values):
        raise ValueError("a filter names text, or lists of text")
    return frozenset(part.lower() for part in values)


def _number(tag: object, head: int) -> int:
    if tag in ("latest", "pending", "safe", "finalized"):
        return head
    if tag == "earliest":
        return 0
    if not isinstance(tag, str):
        raise ValueError("a block is a number in hex, or a tag")
    return int(tag, 16)
