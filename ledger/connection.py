"""One JSON-RPC endpoint: calls, transactions and logs, every foreign error translated here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import requests
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import URI
from eth_utils.exceptions import ValidationError
from urllib3.exceptions import HTTPError
from web3 import HTTPProvider, Web3
from web3.exceptions import BadFunctionCallOutput, ContractLogicError, TimeExhausted, Web3Exception, Web3RPCError
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import RPCEndpoint, TxParams

from ledger import artifacts
from ledger.errors import ChainUnavailable, NoContract, Reverted, TransactionFailed, WrongChain
from ledger.stack import guard_stack
from ledger.types import checked_address

guard_stack()

Key = bytes | str
"""A secp256k1 private key: 32 bytes, or their hex."""

REQUEST_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 << 20
RECEIPT_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.2
LOG_BLOCKS: Final = 10_000
"""Blocks asked for at once; public endpoints refuse larger ranges."""

MAX_TIP_WEI: Final = 10**9
MAX_FOREIGN_TEXT: Final = 200
"""Characters of an endpoint's own words in an error of ours."""

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
        raise TransactionFailed(f"the endpoint refused: {printable(_rpc_message(error))}") from error
    except requests.exceptions.ConnectionError as error:
        raise ChainUnavailable("nothing answers at the RPC URL: is the chain running, and the URL right?") from error
    except (
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidURL,
    ) as error:
        raise ChainUnavailable("the RPC URL is none: it begins with http:// or https:// and names a host") from error
    except requests.exceptions.HTTPError as error:
        status = "an error" if error.response is None else f"HTTP status {error.response.status_code}"
        raise ChainUnavailable(f"the RPC URL answers with {status}: is it a chain's endpoint?") from error
    except BadFunctionCallOutput as error:
        raise ChainUnavailable("the contracts do not answer: is it another chain, or one begun anew?") from error
    except (Web3Exception, requests.RequestException, HTTPError, DecodingError, ValidationError) as error:
        raise ChainUnavailable(f"the endpoint does not answer as a chain does: {type(error).__name__}") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, OSError) as error:
        # web3 takes every answer for a well-formed one.
        raise ChainUnavailable(f"the endpoint's answer cannot be read: {printable(str(error))}") from error


def printable(text: str) -> str:
    """A stranger's words on one line of a terminal: bounded, and without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text[:MAX_FOREIGN_TEXT])
    return line + "..." if len(text) > MAX_FOREIGN_TEXT else line


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
        with sessions.get_response_from_post_request(
            cast(URI, self.endpoint_uri), data=request_data, stream=True, **self.get_request_kwargs()
        ) as response:
            response.raise_for_status()
            while part := response.raw.read1(1 << 16, decode_content=True):
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise ChainUnavailable(f"the endpoint's answer is larger than {MAX_ANSWER_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise ChainUnavailable(f"the endpoint took more than {REQUEST_SECONDS:.0f} seconds to answer")
        return bytes(body)


class Connection:
    """An endpoint that was seen to serve the expected chain.

    Safe to use from several threads; the transactions of one connection are sent one after the other.

    Raises:
        ChainUnavailable: the endpoint does not answer as a chain does.
        WrongChain: it serves another chain.
    """

    def __init__(self, rpc_url: str, expect_chain_id: int | None = None) -> None:
        provider = _Provider(
            rpc_url,
            request_kwargs={"timeout": REQUEST_SECONDS, "allow_redirects": False},
            exception_retry_configuration=None,  # retries would multiply the deadline
        )
        self.w3 = Web3(provider)
        # Blocks of QBFT and Clique carry signatures in extraData, which web3 refuses without this.
        self.w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        self._lock = threading.Lock()
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

    def call(self, function: Any) -> Any:
        """What a view of a web3 contract returns at the newest block."""
        with translated():
            return function.call()

    def send(self, key: Key, transaction: Mapping[str, Any], gas: int) -> tuple[str, Mapping[str, Any]]:
        """Hash and receipt of `transaction` (to, value, data), tried first so that a refusal costs nothing.

        Raises:
            Reverted: the contract refuses it.
            TransactionFailed: the endpoint does not take it, or nobody includes it in time.
        """
        account = account_of(key)
        draft: dict[str, Any] = {"from": account.address, "value": 0, "gas": gas} | dict(transaction)
        with translated():
            # In the block that comes next, whose time may decide.
            self.w3.eth.call(_params(draft), "pending")
        with self._lock, translated():
            signed = account.sign_transaction(self._complete(draft))
            tx = self.w3.eth.send_raw_transaction(signed.raw_transaction)
        with translated():
            receipt: Mapping[str, Any] = self.w3.eth.wait_for_transaction_receipt(tx, RECEIPT_SECONDS, POLL_SECONDS)
        if receipt["status"] != 1:
            self._explain(draft, "0x" + bytes(tx).hex(), int(receipt["blockNumber"]))
        return "0x" + bytes(tx).hex(), receipt

    def logs(
        self, address: str, topic: bytes, first_block: int, last_block: int | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Logs of one event of one contract, oldest first, up to the newest block unless told otherwise."""
        with translated():
            end = int(self.w3.eth.block_number) if last_block is None else last_block
        for start in range(first_block, end + 1, LOG_BLOCKS):
            with translated():
                found = self.w3.eth.get_logs(
                    {
                        "address": self.w3.to_checksum_address(address),
                        "topics": [self.w3.to_hex(topic)],
                        "fromBlock": start,
                        "toBlock": min(start + LOG_BLOCKS - 1, end),
                    }
                )
                found = sorted(found, key=lambda log: (log["blockNumber"], log["logIndex"]))
            yield from found

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """The result of a method that web3 does not know."""
        with translated():
            answer = self.w3.provider.make_request(RPCEndpoint(method), list(params))
            refusal = answer.get("error")
            if refusal is None:
                return answer["result"]
        raise TransactionFailed(f"the endpoint refused {method}: {printable(str(refusal))}")

    def balance_wei(self, address: str) -> int:
        """Wei at `address` at the newest block."""
        with translated():
            return int(self.w3.eth.get_balance(self.w3.to_checksum_address(address)))

    def next_nonce(self, address: str) -> int:
        """Nonce of the next transaction of `address`, those waiting counted."""
        with translated():
            return int(self.w3.eth.get_transaction_count(self.w3.to_checksum_address(address), "pending"))

    def genesis(self) -> bytes:
        """Hash of block 0, 32 bytes: a chain that began anew has another one."""
        with translated():
            return bytes(self.w3.eth.get_block(0)["hash"])

    def block_timestamp(self) -> int:
        """Time of the newest block, seconds since 1970."""
        with translated():
            return int(self.w3.eth.get_block("latest")["timestamp"])

    def _complete(self, draft: Mapping[str, Any]) -> dict[str, Any]:
        base = int(self.w3.eth.get_block("latest").get("baseFeePerGas", 0))
        # A chain without fees gets none: web3 would offer a tip that an empty account cannot pay.
        tip = min(base, MAX_TIP_WEI)
        return dict(draft) | {
            "chainId": self.chain_id,
            "nonce": self.w3.eth.get_transaction_count(draft["from"], "pending"),
            "maxFeePerGas": 2 * base + tip,
            "maxPriorityFeePerGas": tip,
        }

    def _explain(self, draft: Mapping[str, Any], tx: str, block: int) -> None:
        with translated():
            self.w3.eth.call(_params(draft), block)
        raise TransactionFailed("the transaction was included and failed", tx)


def _params(draft: Mapping[str, Any]) -> TxParams:
    return {key: value for key, value in draft.items() if value is not None}  # type: ignore[return-value]


def _data_bytes(data: object) -> bytes:
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    try:
        return bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else b""
    except ValueError:
        return b""


def _rpc_message(error: Web3RPCError) -> str:
    response = error.rpc_response or {}
    detail = response.get("error")
    return str(detail.get("message") if isinstance(detail, Mapping) else error)
