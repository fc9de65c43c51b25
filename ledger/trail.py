"""A deployment as an untrusted endpoint tells of it: logs, views, code and balances, all at one block.

Nothing that the endpoint says is taken for granted: what cannot be read becomes `ChainUnavailable`, or, for a single
log, an event without a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger import artifacts
from ledger.connection import Connection
from ledger.errors import ChainUnavailable, Reverted, TransactionFailed

PAGE_BLOCKS: Final = 2_000
MAX_PAGE_LOGS: Final = 20_000
"""No block has the gas for more; an endpoint that sends more is not believed."""

MAX_CHAIN_ID: Final = 2**63
"""Source: EIP-2294."""


@dataclass(frozen=True, slots=True)
class Event:
    """One log of the deployment.

    Attributes:
        name: the event's name; "" if the log is none that the contract can have written.
        values: its parameters by name.
        block: number of its block.
        tx: hash of its transaction, 0x and 64 hex digits.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    block: int = 0
    tx: str = ""


@dataclass(frozen=True)
class EventType:
    """How to read the logs of one event.

    Attributes:
        name: the event's name.
        indexed: names and types of the parameters in the topics.
        plain: names and types of the others.
    """

    name: str
    indexed: tuple[tuple[str, str], ...]
    plain: tuple[tuple[str, str], ...]


def abi_type(part: Mapping[str, Any]) -> str:
    """The parameter's type as signatures spell it, tuples written out."""
    if not part["type"].startswith("tuple"):
        return str(part["type"])
    return f"({','.join(abi_type(inner) for inner in part['components'])}){part['type'][len('tuple') :]}"


@cache
def event_types(contract: str) -> dict[bytes, EventType]:
    """The contract's events by their topic."""
    found = {}
    for entry in artifacts.load(contract).abi:
        if entry["type"] == "event":
            signature = f"{entry['name']}({','.join(map(abi_type, entry['inputs']))})"
            parts = [(part["indexed"], (part["name"], abi_type(part))) for part in entry["inputs"]]
            found[keccak(signature.encode())] = EventType(
                name=entry["name"],
                indexed=tuple(named for indexed, named in parts if indexed),
                plain=tuple(named for indexed, named in parts if not indexed),
            )
    return found


@cache
def _view(contract: str, name: str) -> tuple[bytes, tuple[str, ...], tuple[str, ...]]:
    for entry in artifacts.load(contract).abi:
        if entry["type"] == "function" and entry["name"] == name:
            takes = tuple(map(abi_type, entry["inputs"]))
            gives = tuple(map(abi_type, entry["outputs"]))
            return keccak(f"{name}({','.join(takes)})".encode())[:4], takes, gives
    raise KeyError(f"{contract} has no function {name}")


class Trail:
    """Reads one deployment as it was after block `block`.

    Attributes:
        block: the newest block when the trail was opened.
        chain_id: EIP-155 id that the endpoint gives.

    Raises:
        ChainUnavailable: the endpoint does not answer as a chain does.
    """

    def __init__(self, connection: Connection, first_block: int = 0) -> None:
        self._connection = connection
        self._first_block = first_block
        self.chain_id = connection.chain_id
        if not 1 <= self.chain_id < MAX_CHAIN_ID:
            raise ChainUnavailable(f"no chain has the id {self.chain_id}")
        self.block = quantity(self._ask("eth_blockNumber"))

    def code(self, address: str) -> bytes:
        """The code at `address`."""
        return data(self._ask("eth_getCode", address, hex(self.block)))

    def balance_wei(self, address: str) -> int:
        """Wei at `address`."""
        return quantity(self._ask("eth_getBalance", address, hex(self.block)))

    def view(self, contract: str, address: str, name: str, *args: object) -> Any:
        """What the contract's function returns; several values come as a tuple.

        Raises:
            ChainUnavailable: the endpoint's answer is none that this contract gives.
        """
        selector, takes, gives = _view(contract, name)
        call = {"to": address, "data": "0x" + (selector + encode(takes, args)).hex()}
        found = data(self._ask("eth_call", call, hex(self.block)))
        try:
            values = decode(gives, found)
            genuine = encode(gives, values) == found
        except (DecodingError, ValueError, OverflowError):
            genuine = False
        if not genuine:
            raise ChainUnavailable(f"the endpoint's answer to {contract}.{name} is none that the contract gives")
        return values[0] if len(values) == 1 else values

    def events(self, contract: str, address: str, names: Sequence[str] | None = None) -> Iterator[Event]:
        """The contract's events, oldest first, page by page; all of them unless `names` are given.

        A log that the contract cannot have written comes as an event without a name.
        """
        topics = [topic for topic, kind in event_types(contract).items() if names is None or kind.name in names]
        wanted = {"address": address} | ({} if names is None else {"topics": [["0x" + t.hex() for t in topics]]})
        last = (-1, -1)
        for start in range(self._first_block, self.block + 1, PAGE_BLOCKS):
            end = min(start + PAGE_BLOCKS - 1, self.block)
            page = self._ask("eth_getLogs", wanted | {"fromBlock": hex(start), "toBlock": hex(end)})
            if not isinstance(page, list) or len(page) > MAX_PAGE_LOGS:
                raise ChainUnavailable("the endpoint's answer to eth_getLogs is no list of logs")
            for log in page:
                event, place = _read_log(contract, address, log)
                if not (start <= place[0] <= end and place > last):
                    yield Event("", {"reason": f"a log of block {place[0]} is out of order, or outside its page"})
                    continue
                last = place
                yield event

    def _ask(self, method: str, *params: object) -> Any:
        try:
            return self._connection.request(method, params)
        except (Reverted, TransactionFailed) as error:
            raise ChainUnavailable(f"the endpoint refuses {method}: {error}") from error


def _read_log(contract: str, address: str, log: object) -> tuple[Event, tuple[int, int]]:
    """The event in `log`, and its place in the chain: block number and index; (-1, -1) if it has none."""
    place = (-1, -1)
    try:
        if not isinstance(log, dict):
            raise ValueError("not an object")
        place = (quantity(log.get("blockNumber")), quantity(log.get("logIndex")))
        if log.get("removed", False) is not False:
            raise ValueError("it was removed from the chain")
        if to_checksum_address(data(log.get("address"), 20)) != address:
            raise ValueError("it is another contract's")
        tx = data(log.get("transactionHash"), 32)
        return Event(*_decoded(contract, log), block=place[0], tx="0x" + tx.hex()), place
    except (DecodingError, ValueError, OverflowError, ChainUnavailable) as error:
        return Event("", {"reason": str(error)}, block=place[0]), place


def _decoded(contract: str, log: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    topics = log.get("topics")
    if not isinstance(topics, list) or not 1 <= len(topics) <= 4:
        raise ValueError("it has no topics")
    words = [data(topic, 32) for topic in topics]
    kind = event_types(contract).get(words[0])
    if kind is None or len(words) != 1 + len(kind.indexed):
        raise ValueError("it is no event of this contract")
    types = [abi for _, abi in kind.plain]
    body = data(log.get("data"))
    plain = decode(types, body)
    if encode(types, plain) != body:
        raise ValueError("it is not in the form that a contract writes")
    indexed = [decode([abi], word)[0] for (_, abi), word in zip(kind.indexed, words[1:], strict=True)]
    names = [name for name, _ in (*kind.indexed, *kind.plain)]
    return kind.name, dict(zip(names, (*indexed, *plain), strict=True))


def quantity(value: object) -> int:
    """The integer in a JSON-RPC quantity.

    Raises:
        ChainUnavailable: it is none.
    """
    if isinstance(value, str) and value.startswith("0x") and 3 <= len(value) <= 66 and "_" not in value:
        try:
            return int(value, 16)
        except ValueError:
            pass
    raise ChainUnavailable(f"the endpoint gives no number: {str(value)[:40]!r}")


def data(value: object, size: int | None = None) -> bytes:
    """The bytes in JSON-RPC data, `size` of them if given.

    Raises:
        ChainUnavailable: it is none.
    """
    if isinstance(value, str) and value.startswith("0x"):
        try:
            found = bytes.fromhex(value[2:])
        except ValueError:
            found = None
        if found is not None and (size is None or len(found) == size):
            return found
    raise ChainUnavailable(f"the endpoint gives no bytes: {str(value)[:40]!r}")
