"""One JSON-RPC endpoint: calls, transactions and logs, every foreign error translated here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, cast

import requests
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from eth_typing import URI
from eth_utils.exceptions import ValidationError
from hexbytes import HexBytes
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as UrllibTimeout
from web3 import HTTPProvider, Web3
from web3.exceptions import (
    BadFunctionCallOutput,
    BlockNotFound,
    ContractLogicError,
    TimeExhausted,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import RPCEndpoint, TxParams

from ledger import artifacts
from ledger.errors import (
    AnswerTooLarge,
    ChainUnavailable,
    LedgerError,
    NoAnswer,
    NoContract,
    Reverted,
    TransactionFailed,
    WrongChain,
)
from ledger.finality import INSTANT, Finality
from ledger.hurried import hurry
from ledger.pages import Pages
from ledger.sending import Sender
from ledger.stack import guard_stack
from ledger.types import MAX_GAS_PRICE_WEI, checked_address
from ledger.words import one_line

guard_stack()

Key = bytes | str
"""A secp256k1 private key: 32 bytes, or their hex."""

REQUEST_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 8 << 20
"""Python's objects take some twenty times the room of the shortest JSON, so this bounds what a liar can fill."""

_HEADERS: Final = {"Content-Type": "application/json", "Accept-Encoding": "identity"}

_ERROR_TEXT: Final = bytes.fromhex("08c379a0")  # Error(string)
_PANIC: Final = bytes.fromhex("4e487b71")  # Panic(uint256)


@contextmanager
def translated() -> Iterator[None]:
    """Turns what web3, requests and the ABI decoder raise into `ledger.errors`.

    Raises:
        Reverted: a contract refused a call.
        TransactionFailed: the endpoint answered with another error.
        ChainUnavailable: no answer, too late an answer, or one that cannot be read.
    """
    try:
        yield
    except ContractLogicError as error:
        raise reverted(error.data) from error
    except TimeExhausted as error:
        raise TransactionFailed("the transaction was not included in time") from error
    except Web3RPCError as error:
        if (data := _revert_data(error)) is not None:
            raise reverted(data) from error
        raise TransactionFailed(f"the endpoint refused: {one_line(_rpc_message(error))}") from error
    except BlockNotFound as error:
        raise TransactionFailed("the chain has no such block, or no longer knows its state") from error
    except (requests.exceptions.Timeout, TimeoutError, UrllibTimeout) as error:
        raise NoAnswer(f"the endpoint was silent for {REQUEST_SECONDS:.0f} seconds") from error
    except requests.exceptions.ConnectionError as error:
        raise NoAnswer("nothing answers at the RPC URL: is the chain running, and the URL right?") from error
    except (
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidURL,
    ) as error:
        raise ChainUnavailable("the RPC URL is none: it begins with http:// or https:// and names a host") from error
    except requests.exceptions.HTTPError as error:
        status = "an error" if error.response is None else f"HTTP status {error.response.status_code}"
        raise NoAnswer(f"the RPC URL answers with {status}: is it a chain's endpoint?") from error
    except BadFunctionCallOutput as error:
        raise ChainUnavailable("the contracts do not answer: is it another chain, or one begun anew?") from error
    except (Web3Exception, requests.RequestException, HTTPError, DecodingError, ValidationError) as error:
        raise ChainUnavailable(f"the endpoint does not answer as a chain does: {type(error).__name__}") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, OSError) as error:
        # web3 takes every answer for a well-formed one.
        raise ChainUnavailable(f"the endpoint's answer cannot be read: {one_line(str(error))}") from error


def reverted(data: object) -> Reverted:
    """The refusal that the returned `data`, bytes or hex, stands for, with a custom error's name and values."""
    found = _data_bytes(data)
    abi = artifacts.errors().get(found[:4])
    try:
        if abi is not None:
            values = decode([part["type"] for part in abi["inputs"]], found[4:])
            named = {part["name"]: value for part, value in zip(abi["inputs"], values, strict=True)}
            return Reverted(abi["name"], named, found)
        if found[:4] == _ERROR_TEXT:
            return Reverted("Error", {"reason": decode(["string"], found[4:])[0]}, found)
        if found[:4] == _PANIC:
            return Reverted("Panic", {"code": decode(["uint256"], found[4:])[0]}, found)
    except (DecodingError, UnicodeDecodeError):
        return Reverted("", data=found)
    return Reverted("", data=found)


def account_of(key: Key) -> LocalAccount:
    """The account that signs with `key`.

    Raises:
        ValueError: not a private key; the message does not show it.
    """
    try:
        account: LocalAccount = Account.from_key(key)
    except (ValueError, TypeError, ValidationError):
        raise ValueError("not a private key: 32 bytes, or 64 hex digits") from None
    return account


class _Provider(HTTPProvider):
    """Bounds the whole answer in time and size; requests bounds only the silence between two packets."""

    def _make_request(self, method: RPCEndpoint, request_data: bytes) -> bytes:
        deadline = time.monotonic() + REQUEST_SECONDS
        sessions = self._request_session_manager
        body = bytearray()
        uri = cast(URI, self.endpoint_uri)
        session = hurry(sessions.cache_and_return_session(uri, request_timeout=REQUEST_SECONDS), REQUEST_SECONDS)
        with session.post(uri, data=request_data, stream=True, **self.get_request_kwargs()) as response:
            response.raise_for_status()
            if response.headers.get("Content-Encoding", "identity") != "identity":
                # A few bytes could unpack to more than the memory holds.
                raise ChainUnavailable("the endpoint packs its answers, though it was asked not to")
            while part := response.raw.read1(1 << 16, decode_content=False):
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise AnswerTooLarge(MAX_ANSWER_BYTES)
                if time.monotonic() > deadline:
                    raise NoAnswer(f"the endpoint took more than {REQUEST_SECONDS:.0f} seconds to answer")
        return bytes(body)


class Connection:
    """An endpoint that was seen to serve the expected chain.

    Safe to use from several threads.

    Attributes:
        max_gas_price_wei: the most that a transaction may offer for a unit of gas, tip included.

    Raises:
        ChainUnavailable: the endpoint does not answer as a chain does.
        WrongChain: it serves another chain.
    """

    def __init__(
        self, rpc_url: str, expect_chain_id: int | None = None, max_gas_price_wei: int = MAX_GAS_PRICE_WEI
    ) -> None:
        self.max_gas_price_wei = max_gas_price_wei
        provider = _Provider(
            rpc_url,
            request_kwargs={"timeout": REQUEST_SECONDS, "allow_redirects": False, "headers": dict(_HEADERS)},
            exception_retry_configuration=None,  # retries would multiply the deadline
        )
        self.w3 = Web3(provider)
        # Blocks of QBFT and Clique carry signatures in extraData, which web3 refuses without this.
        self.w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        # Otherwise a contract's refusal (EIP-3668) could make this process fetch any URL.
        provider.global_ccip_read_enabled = False
        with translated():
            self.chain_id = int(self.w3.eth.chain_id)
        if expect_chain_id is not None and self.chain_id != expect_chain_id:
            raise WrongChain(expect_chain_id, self.chain_id)

    def contract(self, name: str, address: str) -> Any:
        """web3's object for the contract `name` at `address`.

        Raises:
            NoContract: its code is not there.
        """
        artifact = artifacts.load(name)
        wanted = self.w3.to_checksum_address(checked_address(address))
        with translated():
            code = bytes(self.w3.eth.get_code(wanted))
        if not artifact.is_code(code):
            raise NoContract(wanted, f"a {name} of this version")
        return self.w3.eth.contract(address=wanted, abi=artifact.abi)

    def call(self, function: Any, block: int | None = None) -> Any:
        """What a view of a web3 contract returns, at the newest block unless told otherwise."""
        with translated():
            return function.call(block_identifier="latest" if block is None else block)

    def send(self, key: Key, transaction: Mapping[str, Any], gas: int) -> tuple[str, Mapping[str, Any]]:
        """Hash and receipt of `transaction` (to, value, data), tried first so that a refusal costs nothing.

        Raises:
            Reverted: the contract refuses it.
            GasTooExpensive: gas costs more than may be offered.
            TransactionFailed: the endpoint does not take it, or nobody includes it in time.
        """
        account = account_of(key)
        draft: dict[str, Any] = {"from": account.address, "value": 0, "gas": gas} | dict(transaction)
        tx, receipt = Sender(self, account).send(draft)
        if receipt["status"] != 1:
            self.simulate(draft, int(receipt["blockNumber"]))
            raise TransactionFailed("the transaction was included and failed", tx)
        return tx, receipt

    def simulate(self, draft: Mapping[str, Any], block: int | str = "pending") -> None:
        """Runs a transaction without sending it; by default in the block that comes next, whose time may decide.

        Raises:
            Reverted: the contract refuses it.
        """
        with translated():
            self.w3.eth.call(_params(draft), block)  # type: ignore[arg-type]

    def broadcast(self, raw: bytes) -> None:
        """Gives a signed transaction to the endpoint; that it knows the transaction already is no error.

        Raises:
            TransactionFailed: the endpoint does not take it.
        """
        try:
            with translated():
                self.w3.eth.send_raw_transaction(raw)
        except LedgerError:
            if not self.knows(keccak(raw)):
                raise

    def knows(self, tx: bytes) -> bool:
        """Whether the endpoint knows a transaction, waiting or included."""
        with translated():
            try:
                self.w3.eth.get_transaction(HexBytes(tx))
            except TransactionNotFound:
                return False
        return True

    def receipt(self, tx: bytes) -> Mapping[str, Any] | None:
        """The transaction's receipt; None while it is not included."""
        with translated():
            try:
                found: Mapping[str, Any] = self.w3.eth.get_transaction_receipt(HexBytes(tx))
            except TransactionNotFound:
                return None
        return found

    def base_fee_wei(self) -> int | None:
        """What a unit of gas burns in the newest block; None on a chain that knows no such fee."""
        with translated():
            base = self.w3.eth.get_block("latest").get("baseFeePerGas")
            return None if base is None else int(base)

    def gas_price_wei(self) -> int:
        """What the endpoint suggests to pay for a unit of gas."""
        with translated():
            return int(self.w3.eth.gas_price)

    def block_number(self, finality: Finality = INSTANT) -> int:
        """Number of the newest block that is final; -1 while there is none.

        Raises:
            ChainUnavailable: the chain does not tell which block is `finality.tag`.
        """
        if finality.tag is None:
            with translated():
                return max(-1, int(self.w3.eth.block_number) - finality.confirmations)
        try:
            block = self.request("eth_getBlockByNumber", [finality.tag, False])
        except TransactionFailed as error:
            raise ChainUnavailable(
                f"the chain does not say which block is {finality.tag}: set finality to confirmations:k ({error})"
            ) from error
        with translated():
            return -1 if block is None else int(block["number"], 16)

    def block_hash(self, number: int) -> bytes | None:
        """Hash of the block with this number, None if there is none."""
        block = self.request("eth_getBlockByNumber", [hex(number), False])
        with translated():
            return None if block is None else bytes.fromhex(block["hash"].removeprefix("0x"))

    def logs(
        self, address: str, topic: bytes, first_block: int, last_block: int | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Logs of one event of one contract, oldest first, up to the newest block unless told otherwise."""
        pages = Pages(first_block, self.block_number() if last_block is None else last_block)
        while (span := pages.span()) is not None:
            try:
                found = self.page(address, topic, *span)
            except (TransactionFailed, AnswerTooLarge) as error:
                pages.refused(error)
                continue
            pages.answered(len(found))
            yield from found

    def page(self, address: str, topic: bytes, first_block: int, last_block: int) -> list[Mapping[str, Any]]:
        """Logs of one event of one contract in these blocks, oldest first, in one question.

        Raises:
            TransactionFailed: the endpoint answers no question about so many blocks.
            AnswerTooLarge: there is too much in them for one answer.
        """
        with translated():
            found = self.w3.eth.get_logs(
                {
                    "address": self.w3.to_checksum_address(address),
                    "topics": [self.w3.to_hex(topic)],
                    "fromBlock": first_block,
                    "toBlock": last_block,
                }
            )
            return sorted(found, key=lambda log: (log["blockNumber"], log["logIndex"]))

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """The result of a method that web3 does not know."""
        with translated():
            answer = self.w3.provider.make_request(RPCEndpoint(method), list(params))
            refusal = answer.get("error")
            if refusal is None:
                return answer["result"]
        raise TransactionFailed(f"the endpoint refused {method}: {one_line(str(refusal))}")

    def balance_wei(self, address: str) -> int:
        """Wei at `address` at the newest block."""
        with translated():
            return int(self.w3.eth.get_balance(self.w3.to_checksum_address(address)))

    def next_nonce(self, address: str, block: Literal["pending", "latest"] = "pending") -> int:
        """Nonce of the next transaction of `address`, those waiting counted unless told otherwise."""
        with translated():
            return int(self.w3.eth.get_transaction_count(self.w3.to_checksum_address(address), block))

    def genesis(self) -> bytes:
        """Hash of block 0, 32 bytes: a chain that began anew has another one."""
        with translated():
            return bytes(self.w3.eth.get_block(0)["hash"])

    def block_timestamp(self, number: int | None = None) -> int:
        """Time of a block, by default the newest one, seconds since 1970."""
        with translated():
            return int(self.w3.eth.get_block("latest" if number is None else number)["timestamp"])


def _params(draft: Mapping[str, Any]) -> TxParams:
    return {key: value for key, value in draft.items() if value is not None}  # type: ignore[return-value]


def _data_bytes(data: object) -> bytes:
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    if isinstance(data, Mapping):
        data = data.get("data")  # as some development chains nest it
    try:
        return bytes.fromhex(data.removeprefix("Reverted ").removeprefix("0x")) if isinstance(data, str) else b""
    except ValueError:
        return b""


def _revert_data(error: Web3RPCError) -> object:
    """What a contract returned with its refusal, where the endpoint tells it in words that web3 does not know."""
    detail = (error.rpc_response or {}).get("error")
    if not isinstance(detail, Mapping):
        return None
    data = detail.get("data", b"")
    is_refusal = "revert" in str(detail.get("message")).lower() or str(data).startswith("Reverted ")
    return data if is_refusal else None


def _rpc_message(error: Web3RPCError) -> str:
    response = error.rpc_response or {}
    detail = response.get("error")
    return str(detail.get("message") if isinstance(detail, Mapping) else error)
