"""The development chain as any JSON-RPC client meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from eth_account import Account
from eth_hash.auto import keccak
from web3 import HTTPProvider, Web3

from ledger.client import LedgerClient
from ledger.devchain import DEV_KEYS, REQUEST_BYTES, DevChain, RpcError, answer, running
from tests.helpers.recorded import Recorded, record_history

pytestmark = pytest.mark.network

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as server:
        yield server.url


@pytest.fixture(scope="module")
def recorded(url: str) -> Recorded:
    return record_history(url)


def sent(url: str, body: bytes, headers: dict[str, str], method: str = "POST") -> tuple[int, bytes]:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request(method, "/", body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def asked(url: str, method: str, *params: object) -> dict[str, Any]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    status, reply = sent(url, body, JSON)
    assert status == 200
    return dict(json.loads(reply))


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ({"Content-Type": "text/plain"}, "POST", 415),
        (JSON | {"Content-Length": str(REQUEST_BYTES + 1)}, "POST", 413),
        (JSON | {"Content-Length": "-1"}, "POST", 411),
        (JSON | {"Content-Length": "many"}, "POST", 411),
        (JSON, "GET", 501),
        (JSON, "PUT", 501),
    ],
)
def test_what_is_no_request_of_bounded_size_is_not_read(
    url: str, headers: dict[str, str], method: str, status: int
) -> None:
    assert sent(url, b"{}", headers, method)[0] == status


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"[" * 100_000, -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (b"null", -32600),
        (b'{"method":7}', -32600),
        (b'{"method":"eth_chainId","params":{"a":1}}', -32600),
        (b'{"method":"eth_nonsense"}', -32601),
        (b'{"method":"debug_traceTransaction","params":["0x"]}', -32601),
        (b'{"method":"nonsense"}', -32601),
        (b'{"method":"eth_getBalance","params":["0x12","latest"]}', -32000),
        (b'{"method":"eth_getBalance","params":[]}', -32000),
        (b'{"method":"eth_getLogs","params":[7]}', -32000),
        (b'{"method":"eth_getLogs","params":[{"fromBlock":"x"}]}', -32000),
        (b'{"method":"eth_getLogs","params":[{"address":[7]}]}', -32000),
        (b'{"method":"eth_call","params":[{"to":"x"},"latest"]}', -32000),
        (b'{"method":"eth_sendRawTransaction","params":["0x02"]}', -32000),
        (b'{"method":"eth_sendRawTransaction","params":[7]}', -32000),
        (b'{"method":"evm_increaseTime","params":[-1]}', -32000),
        (b'{"method":"eth_getTransactionReceipt","params":[null]}', -32000),
    ],
)
def test_a_bad_request_is_answered_with_its_error_code(body: bytes, code: int) -> None:
    reply = json.loads(answer(DevChain(), body))
    assert reply["error"]["code"] == code
    assert reply["error"]["message"]


def test_a_revert_comes_with_code_3_and_the_bytes_of_the_custom_error(url: str, recorded: Recorded) -> None:
    data = keccak(b"member(uint256)")[:4] + (9).to_bytes(32, "big")
    reply = asked(url, "eth_call", {"to": recorded.roster.registry, "data": "0x" + data.hex()}, "latest")
    assert reply["error"]["code"] == 3
    assert reply["error"]["data"] == "0x" + (keccak(b"UnknownMember(uint256)")[:4] + (9).to_bytes(32, "big")).hex()


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_chainId", []),
        ("net_version", []),
        ("web3_clientVersion", []),
        ("eth_blockNumber", []),
        ("eth_getBlockByNumber", ["latest", False]),
        ("eth_getBlockByNumber", ["0x1", True]),
        ("eth_getBalance", ["0x" + "11" * 20, "latest"]),
        ("eth_getBalance", ["0x" + "11" * 20, "0x1"]),
        ("eth_getCode", ["0x" + "11" * 20, "0x1"]),
        ("eth_getStorageAt", ["0x" + "11" * 20, "0x0", "latest"]),
        ("eth_getTransactionCount", ["0x" + "11" * 20, "pending"]),
        ("eth_gasPrice", []),
        ("eth_maxPriorityFeePerGas", []),
        ("eth_feeHistory", ["0x1", "latest", []]),
        ("eth_estimateGas", [{"from": Account.from_key(DEV_KEYS[0]).address, "to": "0x" + "11" * 20, "value": "0x1"}]),
        ("eth_call", [{"to": "0x" + "11" * 20, "data": "0x"}, "pending"]),
        ("evm_mine", []),
    ],
)
def test_a_client_that_signs_locally_finds_what_it_needs(
    url: str, recorded: Recorded, method: str, params: list[Any]
) -> None:
    assert asked(url, method, *params).get("result") is not None


def test_blocks_transactions_and_receipts_name_each_other(url: str, recorded: Recorded) -> None:
    record = next(iter(recorded.client.records()))
    receipt = asked(url, "eth_getTransactionReceipt", record.tx)["result"]
    block = asked(url, "eth_getBlockByHash", receipt["blockHash"], False)["result"]
    assert block["number"] == receipt["blockNumber"] == hex(record.block)
    assert block["transactions"] == [record.tx]
    assert asked(url, "eth_getTransactionByHash", record.tx)["result"]["blockHash"] == block["hash"]


def test_logs_are_those_that_eth_tester_finds() -> None:
    chain = DevChain()
    with running() as server:
        recorded = record_history(server.url)
        chain = server.chain
        vault = recorded.roster.vault
        for wanted in (
            {"fromBlock": "0x0"},
            {"fromBlock": "0x4", "toBlock": "0x8"},
            {"fromBlock": "0x0", "address": vault},
            {"fromBlock": "0x0", "address": [vault.lower(), recorded.roster.ledger]},
            {"fromBlock": "0x0", "topics": [None, "0x" + (1).to_bytes(32, "big").hex()]},
            {"fromBlock": "0x0", "topics": [["0x" + keccak(b"Funded(address,uint256)").hex(), "0x" + "11" * 32]]},
            {},
        ):
            expected = chain._request("eth_getLogs", [dict(wanted)])["result"]  # type: ignore[arg-type]
            found = chain.perform("eth_getLogs", [wanted])
            assert [log["data"] for log in found] == [log["data"] for log in expected]
            assert [int(log["logIndex"], 16) for log in found] == [log["logIndex"] for log in expected]


def test_web3_sends_a_transaction_that_it_signed_and_filled_in_by_itself(url: str) -> None:
    w3 = Web3(HTTPProvider(url))
    account = Account.from_key(DEV_KEYS[2])
    draft = {"from": account.address, "to": "0x" + "22" * 20, "value": 5, "nonce": 0, "chainId": w3.eth.chain_id}
    draft |= {"gas": w3.eth.estimate_gas(draft), "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 1}
    tx = w3.eth.send_raw_transaction(account.sign_transaction(draft).raw_transaction)
    assert w3.eth.wait_for_transaction_receipt(tx)["status"] == 1
    assert w3.eth.get_balance(w3.to_checksum_address("0x" + "22" * 20)) == 5


def test_time_moves_when_told_and_with_the_clock() -> None:
    now = [1_800_000_000.0]
    chain = DevChain(clock=lambda: now[0])

    def newest() -> int:
        return int(chain.perform("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)

    chain.perform("evm_increaseTime", ["0x64"])
    chain.perform("evm_mine", [])
    told = newest()
    assert 100 <= told - now[0] <= 101
    now[0] += 50
    assert newest() == told + 50


def test_an_unknown_method_raises_with_its_code() -> None:
    with pytest.raises(RpcError, match="not available"):
        DevChain().perform("eth_nothing", [])


def test_many_readers_and_a_writer_are_served_at_once(url: str, recorded: Recorded) -> None:
    failures: list[BaseException] = []

    def read() -> None:
        try:
            client = LedgerClient(url, recorded.roster.registry)
            for _ in range(5):
                assert client.next_round() == len(recorded.results)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    recorded.client.fund(DEV_KEYS[3], 1)
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_a_trace(ending: signal.Signals) -> None:
    program = "from ledger.devchain import serve; serve(on_ready=lambda url, chain_id: print(url, flush=True))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
        process.send_signal(ending)
        try:
            _, complaints = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, complaints) == (0, b"")
