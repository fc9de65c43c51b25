"""A deployment as an untrusted endpoint tells of it: logs, views, code and balances, all at one block.

Nothing that the endpoint says is taken for granted: what cannot be read becomes `ChainUnavailable`, or, for a single
log, an event without a name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger import artifacts
from ledger.connection import Connection
from ledger.errors import AnswerTooLarge, ChainUnavailable, LedgerError, NoAnswer, Reverted, TransactionFailed
from ledger.finality import INSTANT, Finality
from ledger.pages import FIRST_BLOCKS, MAX_BLOCK, Pages

MAX_PAGE_LOGS: Final = 20_000
"""No block has the gas for more; an endpoint that sends more is not believed."""

MAX_HEADERS: Final = 32
"""That are kept in mind: the contracts' events are read side by side, and one transaction makes several."""

TRIES: Final = 3
PAUSE_SECONDS: Final = 0.5
"""Public endpoints refuse for a moment who asks too fast."""

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
        index: its place among the logs of its block.
        block_hash: of its block.
        time: of its block, seconds since 1970.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    block: int = 0
    tx: str = ""
    index: int = 0
    block_hash: bytes = b""
    time: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Its place in the chain: what comes later is greater."""
        return self.block, self.index


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


@cache
def _slot(contract: str, name: str) -> int:
    return next(int(part["slot"]) for part in artifacts.load(contract).storage if part["name"] == name)


class Trail:
    """Reads one deployment as it was after block `block`.

    Attributes:
        first_block: no older one is looked at.
        block: the one that was asked for, or the newest final block when the trail was opened.
        block_hash: its hash.
        block_time: its time, seconds since 1970.
        chain_id: EIP-155 id that the endpoint gives.

    Raises:
        ChainUnavailable: the endpoint does not answer as a chain does, or has no such final block.
    """

    def __init__(
        self, connection: Connection, first_block: int = 0, finality: Finality = INSTANT, block: int | None = None
    ) -> None:
        self._connection = connection
        self.first_block = first_block
        self.chain_id = connection.chain_id
        if not 1 <= self.chain_id < MAX_CHAIN_ID:
            raise ChainUnavailable(f"no chain has the id {self.chain_id}")
        newest = self._newest(finality)
        if block is not None and block > newest:
            raise ChainUnavailable(f"block {block} is not final at the endpoint, whose newest final one is {newest}")
        self.block = newest if block is None else block
        header = self._header(self.block)
        self.block_hash = data(header.get("hash"), 32)
        self.block_time = quantity(header.get("timestamp"))
        self._headers = {self.block: (self.block_hash, self.block_time)}

    def confirm(self) -> None:
        """To be called at the end: was everything read from one and the same history?

        Raises:
            ChainUnavailable: the chain was reorganised in the meantime.
        """
        if data(self._header(self.block).get("hash"), 32) != self.block_hash:
            raise ChainUnavailable(
                f"block {self.block} was replaced while it was audited: audit again, up to a block that is final"
            )

    def code(self, address: str) -> bytes:
        """The code at `address`."""
        return data(self._ask("eth_getCode", address, hex(self.block)))

    def balance_wei(self, address: str) -> int:
        """Wei at `address`."""
        return quantity(self._ask("eth_getBalance", address, hex(self.block)))

    def token_balance(self, token: str, holder: str) -> int:
        """What the ERC-20 token says that `holder` has, in its smallest unit.

        Raises:
            ChainUnavailable: the endpoint's answer is no number.
        """
        call = {"to": token, "data": "0x" + (keccak(b"balanceOf(address)")[:4] + encode(["address"], [holder])).hex()}
        return int.from_bytes(data(self._ask("eth_call", call, hex(self.block)), 32), "big")

    def transaction(self, tx: str) -> dict[str, Any]:
        """The transaction with this hash, as JSON-RPC shows it.

        Raises:
            ChainUnavailable: the endpoint does not have it.
        """
        found = self._ask("eth_getTransactionByHash", tx)
        if not isinstance(found, dict) or found.get("hash") != tx:
            raise ChainUnavailable(f"the endpoint does not show transaction {tx}: name one that keeps them all")
        return found

    def mapped(self, contract: str, address: str, name: str, key: int) -> bytes:
        """The 32 bytes that the contract's storage holds in the mapping `name` for this number."""
        slot = keccak(encode(["uint256", "uint256"], [key, _slot(contract, name)]))
        return quantity(self._ask("eth_getStorageAt", address, "0x" + slot.hex(), hex(self.block))).to_bytes(32, "big")

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

    def events(self, contract: str, address: str, only: str = "") -> Iterator[Event]:
        """The contract's events, or those of one name, oldest first, page by page.

        A log that the contract cannot have written comes as an event without a name.
        """
        last = (-1, -1)
        pages = Pages(self.first_block, self.block)
        topics = ["0x" + topic.hex() for topic, kind in event_types(contract).items() if kind.name == only]
        while (span := pages.span()) is not None:
            try:
                page = self._page(address, topics, *span)
            except (TransactionFailed, AnswerTooLarge, NoAnswer) as error:
                pages.refused(_unavailable("eth_getLogs", error))
                continue
            pages.answered(len(page))
            for log in page:
                event, place = _read_log(contract, address, log)
                if not (span[0] <= place[0] <= span[1] and place > last):
                    yield Event("", {"reason": f"a log of block {place[0]} is out of order, or outside its page"})
                    continue
                last = place
                yield self._timed(event) if event.name else event

    def _timed(self, event: Event) -> Event:
        """The event with the time of its block; without its name if the block's header has another hash."""
        if event.block not in self._headers:
            header = self._header(event.block)
            self._headers[event.block] = data(header.get("hash"), 32), quantity(header.get("timestamp"))
        block_hash, time_seconds = self._headers[event.block]
        if len(self._headers) > MAX_HEADERS:
            del self._headers[next(iter(self._headers))]
        if block_hash != event.block_hash:
            return Event("", {"reason": f"block {event.block} has another hash in its header"}, block=event.block)
        return replace(event, time=time_seconds)

    def _page(self, address: str, topics: list[str], first_block: int, last_block: int) -> list[object]:
        wanted: dict[str, Any] = {"address": address, "fromBlock": hex(first_block), "toBlock": hex(last_block)}
        wanted |= {"topics": topics} if topics else {}
        # A long span is rather made shorter than asked about again.
        page = self._request("eth_getLogs", [wanted], tries=TRIES if last_block - first_block < FIRST_BLOCKS else 1)
        if not isinstance(page, list) or len(page) > MAX_PAGE_LOGS:
            raise ChainUnavailable("the endpoint's answer to eth_getLogs is no list of logs")
        return page

    def _newest(self, finality: Finality) -> int:
        if finality.tag is None:
            newest = quantity(self._ask("eth_blockNumber")) - finality.confirmations
        else:
            newest = self._connection.block_number(finality)
        if newest < 0:
            raise ChainUnavailable(f"the chain has no final block yet, where finality is {finality}")
        if newest > MAX_BLOCK:
            raise ChainUnavailable(f"no chain has {newest} blocks")
        return newest

    def _header(self, block: int) -> dict[str, Any]:
        header = self._ask("eth_getBlockByNumber", hex(block), False)
        if not isinstance(header, dict) or quantity(header.get("number")) != block:
            raise ChainUnavailable(f"the endpoint does not show block {block}")
        return header

    def _ask(self, method: str, *params: object) -> Any:
        try:
            return self._request(method, params, TRIES)
        except (Reverted, TransactionFailed) as error:
            raise _unavailable(method, error) from error

    def _request(self, method: str, params: Sequence[object], tries: int) -> Any:
        for number in range(1, tries):
            try:
                return self._connection.request(method, params)
            except NoAnswer:
                time.sleep(number * PAUSE_SECONDS)
        return self._connection.request(method, params)


def _unavailable(method: str, error: LedgerError) -> ChainUnavailable:
    return error if isinstance(error, ChainUnavailable) else ChainUnavailable(f"the endpoint refuses {method}: {error}")


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
        tx, block_hash = (data(log.get(name), 32) for name in ("transactionHash", "blockHash"))
        name, values = _decoded(contract, log)
        return Event(name, values, place[0], "0x" + tx.hex(), place[1], block_hash), place
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
