"""A chain for development: eth-tester behind JSON-RPC on loopback, in memory, gone when the process ends."""

from __future__ import annotations

import ast
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, Final

from eth.exceptions import PyEVMError
from eth_abi.abi import encode
from eth_hash.auto import keccak
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.backends.pyevm.main import get_default_account_keys
from eth_tester.exceptions import BlockNotFound, FilterNotFound, SnapshotNotFound, TransactionFailed
from eth_tester.exceptions import ValidationError as TesterValidationError
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]
from web3 import EthereumTesterProvider, Web3
from web3.exceptions import ContractPanicError, Web3Exception
from web3.types import RPCEndpoint

from ledger.devlogs import LogIndex
from ledger.errors import PortTaken
from ledger.stack import guard_stack

guard_stack()

DEV_KEYS: Final[tuple[str, ...]] = tuple("0x" + key.to_bytes().hex() for key in get_default_account_keys())
"""Private keys, in hex, of the accounts that hold a million ether each; known to everyone, worthless elsewhere."""

REQUEST_BYTES: Final = 1 << 20
IDLE_SECONDS: Final = 300
BLOCK_SECONDS: Final = 2
"""Who asks for the newest block of a chain at rest gets one at most this old."""

_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
_UNKNOWN_METHOD: Final = -32601
_REFUSED: Final = -32000
_REVERTED: Final = 3

_REFUSALS: Final = (
    TesterValidationError, ValidationError, BlockNotFound, FilterNotFound, SnapshotNotFound, PyEVMError,
    RLPException, Web3Exception, TypeError, ValueError, KeyError, IndexError, AttributeError,
)  # fmt: skip
"""What eth-tester raises for parameters that it cannot use; it knows no type of its own for them."""

_TIMED: Final = frozenset({"eth_sendRawTransaction", "eth_sendTransaction", "eth_call", "eth_estimateGas", "evm_mine"})
"""Methods that run code in the pending block, or close it."""


class RpcError(Exception):
    """A JSON-RPC error object.

    Attributes:
        body: `code`, `message` and perhaps `data`.
    """

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.body: dict[str, Any] = {"code": code, "message": message} | ({"data": data} if data is not None else {})


class DevChain:
    """eth-tester with the wall clock's time; one request at a time.

    Two blocks are at least a second apart, so after a burst of transactions the chain's time runs ahead of the
    clock until the clock has caught up.

    Args:
        tester: what to serve; a fresh chain by default.
    """

    def __init__(self, clock: Callable[[], float] = time.time, tester: EthereumTester | None = None) -> None:
        genesis = PyEVMBackend.generate_genesis_params({"timestamp": int(clock())})
        self._tester = tester or EthereumTester(PyEVMBackend(genesis_parameters=genesis))
        self._backend = self._tester.backend
        self._provider = EthereumTesterProvider(self._tester)
        web3 = Web3(self._provider, middleware=[])
        self._request = self._provider.request_func(web3, web3.middleware_onion)
        self._clock = clock
        self._ahead_seconds = 0
        self._lock = threading.Lock()
        self._logs = LogIndex(lambda method, params: _to_json(self._request(RPCEndpoint(method), params)["result"]))
        self.chain_id = int(web3.eth.chain_id)

    def perform(self, method: str, params: list[Any]) -> Any:
        """The JSON value that answers one call.

        Raises:
            RpcError: the call is refused, or a contract reverted.
        """
        with self._lock:
            try:
                return _to_json(self._dispatch(method, params))
            except TransactionFailed as error:
                data = _revert_data(str(error.args[0]) if error.args else "")
                raise RpcError(_REVERTED, "execution reverted", "0x" + data.hex()) from error
            except ContractPanicError as error:
                raise RpcError(_REVERTED, "execution reverted", str(error.data)) from error
            except NotImplementedError as error:
                raise RpcError(_UNKNOWN_METHOD, f"the method {method} is not available") from error
            except _REFUSALS as error:
                raise RpcError(_REFUSED, f"{type(error).__name__}: {error}") from error

    def _dispatch(self, method: str, params: list[Any]) -> Any:
        if method == "evm_increaseTime":
            # From the chain's time, which a burst of blocks may have brought ahead of the clock.
            pending = self._backend.chain.header.timestamp
            self._ahead_seconds += max(0, pending - self._now()) + _seconds(params)
            return self._ahead_seconds
        if method == "eth_getLogs":
            return self._logs.find(params[0])
        if method == "eth_getStorageAt":
            params = _storage_place(params)
        if method in _TIMED or self._is_stale(method, params):
            self._set_time()
        if self._is_stale(method, params):
            self._tester.mine_block()
        if method == "evm_mine":
            self._tester.mine_block()
            return "0x0"
        answer = self._request(RPCEndpoint(method), params)
        if "error" in answer:
            raise RpcError(_UNKNOWN_METHOD, f"the method {method} is not available")
        return answer["result"]

    def _now(self) -> int:
        return int(self._clock()) + self._ahead_seconds

    def _is_stale(self, method: str, params: list[Any]) -> bool:
        # Other chains go on by themselves; here a vault's dispute window would never end while nobody sends.
        if method != "eth_getBlockByNumber" or params[:1] != ["latest"]:
            return False
        return bool(self._tester.get_block_by_number("latest")["timestamp"] + BLOCK_SECONDS < self._now())

    def _set_time(self) -> None:
        # EthereumTester.time_travel does the same and mines an empty block, one for each transaction.
        chain = self._backend.chain
        if chain.header.timestamp < self._now():
            chain.header = chain.header.copy(timestamp=self._now())


class DevServer(ThreadingHTTPServer):
    """JSON-RPC over HTTP for one DevChain, on loopback.

    Raises:
        PortTaken: nobody can listen there.
        ValueError: `host` is not a loopback address.
    """

    daemon_threads = True
    request_queue_size = 64
    # A second devchain on the same port would otherwise take its requests on some systems.
    allow_reuse_port = False

    def __init__(self, chain: DevChain, host: str = "127.0.0.1", port: int = 0) -> None:
        address = "127.0.0.1" if host == "localhost" else host
        if not ip_address(address).is_loopback or ":" in address:
            raise ValueError(f"the devchain's keys are public, so it listens on 127.0.0.1 alone, found {host}")
        try:
            super().__init__((address, port), _Handler)
        except (OSError, OverflowError) as error:
            raise PortTaken(host, port, str(error)) from error
        self.chain = chain

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: DevServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    # Headers and body leave in one segment; two would wait for each other's acknowledgement, 40 ms a call.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 12):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > REQUEST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self.headers.get_content_type() != "application/json":
            # A web page may send plain text to any address, but not this type.
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        else:
            self._reply(HTTPStatus.OK, answer(self.server.chain, self.rfile.read(int(length))))

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # the body is not read
        self._reply(status, b"")

    def _reply(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: standard output belongs to results, and the members log what they do."""


def answer(chain: DevChain, body: bytes) -> bytes:
    """The response object for one request object, both JSON; batches are not served."""
    number = None
    try:
        request = _parsed(body)
        number = request.get("id")
        reply = {"result": chain.perform(request["method"], request.get("params") or [])}
    except RpcError as error:
        reply = {"error": error.body}
    return json.dumps({"jsonrpc": "2.0", "id": number} | reply).encode()


def serve(host: str = "127.0.0.1", port: int = 0, on_ready: Callable[[str, int], None] | None = None) -> None:
    """Serves a fresh chain until SIGINT or SIGTERM; `on_ready` gets its URL and its chain id once it listens.

    Raises:
        PortTaken: nobody can listen there.
        ValueError: `host` is not a loopback address.
    """
    with DevServer(DevChain(), host, port) as server, _stopped_by_sigterm():
        try:
            # Whoever reads that it is ready may stop it at once.
            if on_ready is not None:
                on_ready(server.url, server.chain.chain_id)
            server.serve_forever()
        except KeyboardInterrupt:
            return


@contextmanager
def running(port: int = 0) -> Iterator[DevServer]:
    """A fresh chain, served from a thread while the block runs."""
    with DevServer(DevChain(), port=port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    # Only the main thread may set handlers; elsewhere whoever started the thread ends it.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RpcError(_PARSE_ERROR, "not JSON") from error
    valid = isinstance(request, dict) and isinstance(request.get("method"), str)
    if not valid or not isinstance(request.get("params") or [], list):
        raise RpcError(_INVALID_REQUEST, "not one request with a method and a list of parameters")
    return dict(request)


def _seconds(params: list[Any]) -> int:
    found = params[0]
    seconds = int(found, 16) if isinstance(found, str) else int(found)
    if not 0 <= seconds < 2**32:
        raise ValueError(f"time goes forward by less than 2^32 seconds, found {seconds}")
    return seconds


def _storage_place(params: list[Any]) -> list[Any]:
    """Address, slot and block as eth-tester wants them: a slot without leading zeros, a block that is no hex."""
    address, slot, block = params
    return [address, hex(int(slot, 16)), int(block, 16) if str(block).startswith("0x") else block]


def _revert_data(reason: str) -> bytes:
    """The bytes with which the contract ended; eth-tester gives their repr, or the text of an Error(string)."""
    found = reason.removeprefix("execution reverted: ")
    if found.startswith(("b'", 'b"')):
        return bytes(ast.literal_eval(found))
    return keccak(b"Error(string)")[:4] + encode(["string"], [found]) if found else b""


def _to_json(value: Any) -> Any:
    """`value` with every integer as a quantity and every byte string as hex, as JSON-RPC has them."""
    if value is None or isinstance(value, bool | str | float):
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, bytes | bytearray):
        return "0x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return {key: _to_json(part) for key, part in value.items()}
    return [_to_json(part) for part in value]
