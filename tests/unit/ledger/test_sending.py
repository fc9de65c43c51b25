"""Sending through endpoints that forget, lag, refuse or are shared: each transaction happens once, or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from ledger import sending
from ledger.audit import audit
from ledger.connection import Connection
from ledger.deploy import send_wei
from ledger.devchain import DEV_KEYS, running
from ledger.errors import ChainUnavailable, GasTooExpensive, TransactionFailed
from tests.helpers.chain import address_of, key_of
from tests.helpers.lying_proxy import Lie, LyingProxy, Refusal, honest, lying_proxy, on_answer
from tests.helpers.recorded import HISTORY, record_history

pytestmark = pytest.mark.network

TO = address_of(key_of("somebody"))
GAS = 21_000


@pytest.fixture(scope="module")
def proxy() -> Iterator[LyingProxy]:
    with running() as server, lying_proxy(server.url) as proxy:
        yield proxy


@contextmanager
def told(proxy: LyingProxy, lie: Lie) -> Iterator[None]:
    proxy.lie = lie
    try:
        yield
    finally:
        proxy.lie = honest


@pytest.fixture
def key(proxy: LyingProxy, request: pytest.FixtureRequest) -> PrivateKey:
    """A key of this test's own, with an ether."""
    own = key_of(request.node.name)
    send_wei(proxy.target, DEV_KEYS[0], address_of(own), 10**18)
    return own


def send(connection: Connection, key: PrivateKey, wei: int = 1) -> str:
    tx, receipt = connection.send(key.secret, {"to": TO, "value": wei}, GAS)
    assert receipt["status"] == 1
    return tx


def sent_type(proxy: LyingProxy, tx: str) -> int:
    return int(Connection(proxy.target).request("eth_getTransactionByHash", [tx])["type"], 16)


def with_base_fee(wei: int | None) -> Lie:
    """A chain whose blocks name this fee, or none."""

    def told(params: list[Any], block: Any) -> Any:
        del block["baseFeePerGas"]
        return block if wei is None else block | {"baseFeePerGas": hex(wei)}

    return on_answer("eth_getBlockByNumber", told)


def test_a_chain_without_base_fee_gets_the_older_kind_of_transaction(proxy: LyingProxy, key: PrivateKey) -> None:
    with told(proxy, with_base_fee(None)):
        assert sent_type(proxy, send(Connection(proxy.url), key)) == 0
    assert sent_type(proxy, send(Connection(proxy.url), key)) == 2


def test_a_whole_history_fits_the_audit_on_a_chain_without_base_fee(proxy: LyingProxy) -> None:
    first = Connection(proxy.target).block_number() + 1
    with told(proxy, with_base_fee(None)):
        recorded = record_history(proxy.url)
        assert audit(proxy.url, recorded.roster.registry).findings == ()
    chain = Connection(proxy.target)
    blocks = [chain.request("eth_getBlockByNumber", [hex(n), True]) for n in range(first, chain.block_number() + 1)]
    types = [tx["type"] for block in blocks for tx in block["transactions"]]
    assert len(types) > len(HISTORY)
    assert set(types) == {"0x0"}


def test_where_a_fee_of_nothing_is_refused_the_suggested_price_is_paid(
    proxy: LyingProxy, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers: list[bytes] = []
    connection = Connection(proxy.url)
    pass_on = connection.broadcast

    def broadcast(raw: bytes) -> None:
        offers.append(raw)
        pass_on(raw)

    monkeypatch.setattr(connection, "broadcast", broadcast)
    with told(proxy, with_base_fee(0)):
        tx = send(connection, key)
    fees = TypedTransaction.from_bytes(HexBytes(offers[0])).as_dict()
    assert (fees["type"], fees["maxFeePerGas"], fees["maxPriorityFeePerGas"]) == (2, 0, 0)
    assert (len(offers), sent_type(proxy, tx)) == (2, 0)
    mined = Connection(proxy.target).request("eth_getTransactionByHash", [tx])
    assert int(mined["gasPrice"], 16) > 0


def test_an_endpoint_that_refuses_newer_transactions_gets_an_older_one(
    proxy: LyingProxy, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(proxy.url)
    passed_on = connection.broadcast

    def refuse(raw: bytes) -> None:
        if raw[0] == 2:
            raise TransactionFailed("transaction type not supported")
        passed_on(raw)

    monkeypatch.setattr(connection, "broadcast", refuse)
    assert sent_type(proxy, send(connection, key)) == 0


def test_of_two_refusals_the_first_is_told(proxy: LyingProxy, key: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(proxy.url)

    def refuse(raw: bytes) -> None:
        raise TransactionFailed("the account is frozen" if raw[0] == 2 else "too old a transaction")

    monkeypatch.setattr(connection, "broadcast", refuse)
    with pytest.raises(TransactionFailed, match="frozen"):
        send(connection, key)


@pytest.mark.parametrize("answer", [Refusal(-32000, "already known"), {}, "0x"])
def test_a_lost_answer_to_a_transaction_that_arrived_is_not_sent_twice(
    proxy: LyingProxy, key: PrivateKey, answer: object
) -> None:
    with told(proxy, on_answer("eth_sendRawTransaction", lambda params, tx: answer)):
        send(Connection(proxy.url), key, 5)
    connection = Connection(proxy.url)
    assert connection.next_nonce(address_of(key)) == 1


def test_an_endpoint_that_counts_late_is_not_given_the_same_nonce_twice(proxy: LyingProxy, key: PrivateKey) -> None:
    connection = Connection(proxy.url)
    send(connection, key)
    mine = address_of(key)

    def late(params: list[Any], count: str) -> str:
        return hex(int(count, 16) - 1) if params[0] == mine and params[1] == "pending" else count

    with told(proxy, on_answer("eth_getTransactionCount", late)):
        send(connection, key)
    assert connection.next_nonce(mine) == 2


def test_a_chain_begun_anew_is_not_left_with_a_gap(proxy: LyingProxy, key: PrivateKey) -> None:
    send(Connection(proxy.url), key)
    with running() as fresh:
        send_wei(fresh.url, DEV_KEYS[0], address_of(key), 10**18)
        connection = Connection(fresh.url)
        send(connection, key)
        assert connection.next_nonce(address_of(key)) == 1


def test_a_nonce_that_another_process_took_is_not_used_again(proxy: LyingProxy, key: PrivateKey) -> None:
    mine, connection, asked = address_of(key), Connection(proxy.url), [0]

    def meanwhile(params: list[Any], count: str) -> str:
        asked[0] += 1
        if asked[0] == 1:
            # Told before the other process's transaction, which is then first.
            sending._lanes.clear()
            send(Connection(proxy.target), key)
            sending._lanes.clear()
        return count

    with told(proxy, on_answer("eth_getTransactionCount", meanwhile)):
        send(connection, key)
    assert connection.next_nonce(mine) == 2


def test_a_contract_is_asked_again_before_a_second_try(proxy: LyingProxy, key: PrivateKey) -> None:
    connection, asked, simulated = Connection(proxy.url), [0], [0]

    def lie(method: str, params: list[Any], result: Any) -> Any:
        simulated[0] += method == "eth_call"
        if method == "eth_getTransactionCount":
            asked[0] += 1
            if asked[0] == 1:
                sending._lanes.clear()
                send(Connection(proxy.target), key)
                sending._lanes.clear()
        return result

    with told(proxy, lie):
        send(connection, key)
    assert simulated == [2]


def test_a_transaction_that_nobody_includes_ends_after_its_time(
    proxy: LyingProxy, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "RECEIPT_SECONDS", 0.3)
    monkeypatch.setattr(sending, "POLL_SECONDS", 0.05)
    with (
        told(proxy, on_answer("eth_getTransactionReceipt", lambda params, receipt: None)),
        pytest.raises(TransactionFailed, match="not included within") as caught,
    ):
        send(Connection(proxy.url), key)
    assert caught.value.tx.startswith("0x")


def test_an_endpoint_that_goes_away_while_one_waits_is_named(proxy: LyingProxy, key: PrivateKey) -> None:
    with (
        told(proxy, on_answer("eth_getTransactionReceipt", lambda params, receipt: [7])),
        pytest.raises(ChainUnavailable),
    ):
        send(Connection(proxy.url), key)


# --- what gas may cost ------------------------------------------------------------------------------------------------

GWEI = 10**9
DEAR = 10**6 * GWEI


def offers_of(monkeypatch: pytest.MonkeyPatch, refuse: str = "") -> list[bytes]:
    """Every transaction that is signed and offered from now on; those with a tip are refused in these words, if any."""
    offers: list[bytes] = []
    pass_on = Connection.broadcast

    def broadcast(connection: Connection, raw: bytes) -> None:
        offers.append(raw)
        if refuse and raw[0] == 2:
            raise TransactionFailed(refuse)
        pass_on(connection, raw)

    monkeypatch.setattr(Connection, "broadcast", broadcast)
    return offers


def lies(*parts: Lie) -> Lie:
    """All of these lies."""

    def lie(method: str, params: list[Any], result: Any) -> Any:
        for part in parts:
            result = part(method, params, result)
        return result

    return lie


DEAR_PRICE = on_answer("eth_gasPrice", lambda params, price: hex(DEAR))


@pytest.mark.parametrize(
    ("lie", "refuse"),
    [
        (lies(with_base_fee(None), DEAR_PRICE), ""),
        (lies(with_base_fee(0), DEAR_PRICE), "below the node's minimum"),
        (DEAR_PRICE, "transaction type not supported"),
        (DEAR_PRICE, "transaction underpriced: tip needed 25000000000"),
        (with_base_fee(DEAR), ""),
    ],
    ids=["no base fee", "base fee 0 refused", "type refused", "tip refused", "base fee"],
)
def test_nothing_is_signed_for_more_than_gas_may_cost(
    proxy: LyingProxy, key: PrivateKey, lie: Lie, refuse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers = offers_of(monkeypatch, refuse)
    with told(proxy, lie), pytest.raises(GasTooExpensive) as caught:
        send(Connection(proxy.url), key)
    assert (caught.value.asked_wei, caught.value.allowed_wei) == (DEAR, 500 * GWEI)
    assert "asks 1000000 gwei for a unit of gas, and at most 500 are allowed" in str(caught.value)
    assert "ledger.max_gas_price_gwei" in str(caught.value)
    assert len(offers) == bool(refuse)
    assert Connection(proxy.target).balance_wei(address_of(key)) == 10**18


@pytest.mark.parametrize("base", [0, 5, 3 * GWEI, 400 * GWEI, 500 * GWEI])
def test_what_is_offered_with_a_tip_stays_below_what_gas_may_cost(
    proxy: LyingProxy, key: PrivateKey, base: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tip is the one part that a block's maker keeps."""
    offers = offers_of(monkeypatch)
    with told(proxy, lies(with_base_fee(base), DEAR_PRICE)):
        try:
            send(Connection(proxy.url), key)
        except (TransactionFailed, GasTooExpensive):
            assert base in (0, 5)  # less than the chain really wants
    fees = TypedTransaction.from_bytes(HexBytes(offers[0])).as_dict()
    assert base <= fees["maxFeePerGas"] <= 500 * GWEI
    assert fees["maxPriorityFeePerGas"] <= min(base, GWEI, 500 * GWEI - base)
    assert len(offers) == 1


def test_a_ceiling_of_its_own_holds_for_every_sender(proxy: LyingProxy, key: PrivateKey) -> None:
    connection = Connection(proxy.url, max_gas_price_wei=GWEI // 10)
    with told(proxy, with_base_fee(GWEI // 5)), pytest.raises(GasTooExpensive, match=r"asks 0\.2 .* at most 0\.1 are"):
        send(connection, key)
    with pytest.raises(GasTooExpensive), told(proxy, with_base_fee(GWEI // 5)):
        send_wei(proxy.url, key.secret, TO, 1, GWEI // 10)
    assert send(Connection(proxy.url), key)


def test_what_is_offered_again_never_costs_more_than_allowed(
    proxy: LyingProxy, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "RECEIPT_SECONDS", 1.0)
    monkeypatch.setattr(sending, "REPLACE_SECONDS", 0.05)
    monkeypatch.setattr(sending, "POLL_SECONDS", 0.01)
    offers: list[bytes] = []
    monkeypatch.setattr(Connection, "broadcast", lambda connection, raw: offers.append(raw))
    with told(proxy, with_base_fee(450 * GWEI)), pytest.raises(TransactionFailed, match="not included"):
        send(Connection(proxy.url), key)
    fees = [TypedTransaction.from_bytes(HexBytes(raw)).as_dict() for raw in offers]
    assert len(fees) > 2
    assert {fee["maxFeePerGas"] for fee in fees} == {500 * GWEI}
    assert max(fee["maxPriorityFeePerGas"] for fee in fees) <= 500 * GWEI


def test_a_refusal_that_another_kind_of_transaction_would_meet_too_ends_it(
    proxy: LyingProxy, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers = offers_of(monkeypatch, "the account is frozen")
    with pytest.raises(TransactionFailed, match="frozen"):
        send(Connection(proxy.url), key)
    assert len(offers) == 1


@pytest.mark.parametrize(
    "words",
    ["Insufficient funds for gas * price + value", "Upfront cost exceeds account balance", "cannot afford txn gas"],
)
def test_an_account_that_has_what_gas_costs_need_not_have_twice_as_much(
    proxy: LyingProxy, key: PrivateKey, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers_of(monkeypatch, words)
    assert sent_type(proxy, send(Connection(proxy.url), key)) == 0


@pytest.mark.parametrize("base", [None, 0])
def test_a_refusal_is_told_where_the_suggested_price_is_not_allowed(
    proxy: LyingProxy, key: PrivateKey, base: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a chain without fees every refusal would be called too dear, also that of a nonce that is taken."""
    offers_of(monkeypatch, "nonce too low")
    connection = Connection(proxy.url, max_gas_price_wei=0)
    expected = GasTooExpensive if base is None else TransactionFailed
    with told(proxy, with_base_fee(base)), pytest.raises(expected):
        send(connection, key)
