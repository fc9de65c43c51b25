"""An endpoint that is no chain: whatever it answers, one typed error comes out, in bounded time and memory."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger import connection
from ledger.connection import Connection, account_of, reverted
from ledger.devchain import running
from ledger.errors import ChainUnavailable, LedgerError, Reverted, TransactionFailed
from tests.helpers.lying_proxy import Refusal, lying_proxy, on_answer

pytestmark = pytest.mark.network

ANSWER = b'{"jsonrpc":"2.0","id":0,"result":"0x5"}'


def head(body: bytes, status: int = 200, length: int | None = None) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body) if length is None else length) + body


@contextmanager
def answering(*parts: bytes, pause_seconds: float = 0.0) -> Iterator[str]:
    """URL of an endpoint that answers its first request with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def run() -> None:
            try:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(1 << 16)
                    for part in parts:
                        peer.sendall(part)
                        time.sleep(pause_seconds)
            except OSError:
                return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


def test_the_right_answer_is_understood() -> None:
    with answering(head(ANSWER)) as url:
        assert Connection(url).chain_id == 5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"7",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"jsonrpc":"2.0","id":0}',
        b'{"jsonrpc":"2.0","id":0,"error":null}',
        b'{"error":7}',
        b'{"jsonrpc":"2.0","id":0,"result":{}}',
        b'{"jsonrpc":"2.0","id":0,"result":null}',
        ANSWER.replace(b"0x5", b"0xzz"),
        ANSWER.replace(b'"0x5"', b"[[[]]]"),
        pytest.param(b"[" * 200_000, id="nested"),
    ],
)
def test_no_answer_of_a_chain_is_a_typed_error(body: bytes) -> None:
    with answering(head(body)) as url, pytest.raises(ChainUnavailable):
        Connection(url)


@pytest.mark.parametrize(
    "answer",
    [
        head(ANSWER, status=500),
        head(ANSWER, status=404),
        head(ANSWER, status=302).replace(b"\r\n\r\n", b"\r\nLocation: http://127.0.0.1:1/\r\n\r\n"),
        head(ANSWER[:10], length=len(ANSWER)),
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"",
    ],
    ids=["500", "404", "redirect", "truncated", "another protocol", "closed"],
)
def test_no_http_answer_is_a_typed_error(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(ChainUnavailable):
        Connection(url)


def test_an_endpoint_that_drips_bytes_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.3)
    begun = time.monotonic()
    with (
        answering(head(b"", length=1000), *[b" "] * 30, pause_seconds=0.05) as url,
        pytest.raises(ChainUnavailable, match="seconds"),
    ):
        Connection(url)
    assert time.monotonic() - begun < 5


def test_headers_that_never_end_run_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.3)
    with (
        answering(b"HTTP/1.1 200 OK\r\nX: ", *[b"x"] * 40, pause_seconds=0.05) as url,
        pytest.raises(ChainUnavailable, match="was silent for"),
    ):
        Connection(url)


def test_an_answer_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_ANSWER_BYTES", 1 << 16)
    with (
        answering(head(b"", length=1 << 40), *[b" " * (1 << 14)] * 64) as url,
        pytest.raises(ChainUnavailable, match="larger"),
    ):
        Connection(url)


def test_an_error_object_tells_what_the_endpoint_said() -> None:
    refusal = b'{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"no such luck"}}'
    with answering(head(refusal)) as url, pytest.raises(TransactionFailed, match="no such luck"):
        Connection(url)


@pytest.mark.parametrize(
    ("data", "name", "values"),
    [
        (keccak(b"InvalidSignature(uint256)")[:4] + encode(["uint256"], [2]), "InvalidSignature", {"index": 2}),
        (keccak(b"Error(string)")[:4] + encode(["string"], ["why"]), "Error", {"reason": "why"}),
        (keccak(b"Panic(uint256)")[:4] + encode(["uint256"], [17]), "Panic", {"code": 17}),
        (keccak(b"InvalidSignature(uint256)")[:4], "", {}),
        (keccak(b"Error(string)")[:4] + b"\xff" * 64, "", {}),
        (b"\x01\x02", "", {}),
        (b"", "", {}),
    ],
)
@pytest.mark.parametrize("as_hex", [False, True])
def test_a_refusal_comes_with_its_name_and_values(data: bytes, name: str, values: dict[str, Any], as_hex: bool) -> None:
    error = reverted("0x" + data.hex() if as_hex else data)
    assert (error.name, error.values, error.data) == (name, values, data)


@pytest.mark.parametrize("data", [None, 7, "0xz", {}, []])
def test_a_refusal_without_bytes_has_no_name(data: object) -> None:
    assert reverted(data).name == ""


@pytest.mark.parametrize("key", ["", "0x12", b"\0" * 32, b"1" * 31, "secret", 7])
def test_no_key_is_refused_without_being_shown(key: Any) -> None:
    with pytest.raises(ValueError, match="not a private key") as caught:
        account_of(key)
    assert "secret" not in str(caught.value)


def test_nobody_listening_is_a_typed_error() -> None:
    with pytest.raises(LedgerError):
        Connection("http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8545", "http://", "ftp://127.0.0.1", "http://[::1", "\0"])
def test_no_url_is_a_typed_error(url: str) -> None:
    with pytest.raises(ChainUnavailable):
        Connection(url)


def test_a_packed_answer_is_refused_before_it_is_unpacked() -> None:
    packed = head(gzip.compress(b" " * (1 << 20) + ANSWER)).replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1)
    with answering(packed) as url, pytest.raises(ChainUnavailable, match="packs its answers"):
        Connection(url)


REVERTED = encode(["uint64"], [7])


@pytest.mark.parametrize(
    ("message", "data"),
    [
        ("execution reverted", "0x{}"),
        ("Execution reverted", "0x{}"),
        ("VM execution error.", "Reverted 0x{}"),
        ("execution reverted", {"data": "0x{}"}),
    ],
    ids=["anvil, geth", "besu", "nethermind", "nested"],
)
def test_a_refusal_is_named_in_every_dialect(message: str, data: Any) -> None:
    revert = (keccak(b"RoundNotRecorded(uint64)")[:4] + REVERTED).hex()
    told = json.loads(json.dumps(data).replace("{}", revert))
    error = {"code": -32000, "message": message, "data": told}
    answer = head(json.dumps({"jsonrpc": "2.0", "id": 0, "error": error}).encode())
    with answering(answer) as url, pytest.raises(Reverted) as caught:
        Connection(url)
    assert (caught.value.name, caught.value.values) == ("RoundNotRecorded", {"round": 7})


def test_a_refusal_cannot_make_this_process_fetch_a_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as victim, running() as server, lying_proxy(server.url) as proxy:
        victim.settimeout(0.3)
        url = f"http://127.0.0.1:{victim.getsockname()[1]}/{{sender}}/{{data}}"
        sender = "0x" + "11" * 20
        lookup = encode(["address", "string[]", "bytes", "bytes4", "bytes"], [sender, [url], b"", bytes(4), b""])
        data = "0x556f1830" + lookup.hex()
        proxy.lie = on_answer("eth_call", lambda params, result: Refusal(3, "execution reverted", data))
        with pytest.raises(Reverted):
            Connection(proxy.url).simulate({"to": sender, "data": "0x"})
        with pytest.raises(TimeoutError):
            victim.accept()
