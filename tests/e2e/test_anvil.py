"""The ledger's client, queue and audit on anvil: reorganisations, restarts, free gas, slow blocks, load."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from gossip.values import RoundResult as AgreedResult
from ledger import sending
from ledger.audit import audit
from ledger.connection import Connection, account_of
from ledger.cursor import START, Position
from ledger.errors import ChainUnavailable, ResultConflict, Reverted
from ledger.finality import Finality
from ledger.types import RoundResult
from node import chainqueue
from node.chainqueue import ChainQueue
from node.store import Store
from tests.helpers import anvil as helper
from tests.helpers.anvil import KEYS, Anvil, anvil
from tests.helpers.chain import address_of, key_of
from tests.helpers.recorded import HISTORY, QUORUM, Recorded, begin, record_history

pytestmark = pytest.mark.network

SOMEBODY = address_of(key_of("somebody"))


@pytest.fixture
def chain() -> Iterator[Anvil]:
    with anvil() as found:
        yield found


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_without_anvil_tests_skip_and_fail_where_it_has_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(helper, "PACKAGES", tmp_path)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="npm ci --prefix contracts"):
        helper.binary()


def test_a_whole_history_passes_the_audit(chain: Anvil) -> None:
    recorded = record_history(chain.url, keys=KEYS)
    report = audit(chain.url, recorded.roster.registry)
    assert (report.findings, report.checked.rounds) == ((), len(HISTORY))


def test_a_refusal_has_the_name_that_it_has_on_the_development_chain(chain: Anvil) -> None:
    recorded = begin(chain.url, KEYS)
    result = recorded.next(HISTORY[0])
    forged = bytearray(recorded.signatures(result))
    forged[70] ^= 1
    with pytest.raises(Reverted) as caught:
        recorded.client.submit(KEYS[1], result, None, QUORUM, bytes(forged))
    assert (caught.value.name, caught.value.values) == ("InvalidSignature", {"index": 1})


def test_a_transaction_that_fails_only_when_it_is_included_is_named_as_well(
    chain: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = begin(chain.url, KEYS)
    result = recorded.next(HISTORY[0])
    chain.request("evm_setAutomine", False)
    # What is pending counts in a trial: one that came after the other was sent would already be refused.
    both_tried, tried = threading.Barrier(2, timeout=60), Connection.simulate

    def simulate(connection: Connection, draft: Any, block: int | str = "pending") -> None:
        tried(connection, draft, block)
        if block == "pending":
            both_tried.wait()

    monkeypatch.setattr(Connection, "simulate", simulate)
    with ThreadPoolExecutor(2) as pool:
        faster = pool.submit(recorded.client.submit, KEYS[1], result, None, QUORUM, recorded.signatures(result))
        slower = pool.submit(recorded.client.submit, KEYS[2], result, None, QUORUM, recorded.signatures(result))

        def are_both_sent() -> bool:
            for ended in (sent for sent in (faster, slower) if sent.done()):
                raise AssertionError("it ended before any block was made") from ended.exception()
            return int(chain.request("txpool_status")["pending"], 16) == 2

        wait_for(are_both_sent)
        chain.request("evm_mine")
        assert sorted([faster.result(60) is None, slower.result(60) is None]) == [False, True]


def test_a_follower_takes_back_what_a_reorganisation_undid(chain: Anvil) -> None:
    recorded = begin(chain.url, KEYS)
    recorded.record(HISTORY[0])
    first = recorded.client.follow(START)
    assert [record.result.round for record in first.events] == [0]
    recorded.record(HISTORY[1])
    second = recorded.client.follow(Position.from_json(first.position.as_json()))
    assert ([record.result.round for record in second.events], second.undone_from) == ([1], None)

    undone_block = second.events[0].block
    chain.reorganise(1)

    third = recorded.client.follow(second.position)
    assert (third.undone_from, third.events) == (undone_block, ())
    recorded.submit(recorded.results[1])
    fourth = recorded.client.follow(third.position)
    assert ([record.result.round for record in fourth.events], fourth.undone_from) == ([1], None)


def test_a_round_is_final_when_the_configuration_says_so(chain: Anvil) -> None:
    recorded = begin(chain.url, KEYS, Finality.parse("confirmations:3"))
    recorded.record(HISTORY[0])
    seen = []
    for _ in range(4):
        seen.append(recorded.client.final_round())
        chain.request("evm_mine")
    assert (seen, recorded.client.next_round()) == ([0, 0, 0, 1], 1)


def test_a_round_is_final_when_the_chain_says_so(chain: Anvil) -> None:
    recorded = begin(chain.url, KEYS, Finality.parse("finalized"))
    recorded.record(HISTORY[0])
    assert recorded.client.final_round() == 0
    chain.request("anvil_mine", hex(70))
    assert recorded.client.final_round() == 1


def test_gas_that_costs_nothing_needs_no_coins() -> None:
    with anvil("--base-fee", "0", "--gas-price", "0") as chain:
        poor = "0x" + key_of("penniless").secret.hex()
        recorded = begin(chain.url, (KEYS[0], poor))
        recorded.record(HISTORY[0])
        assert Connection(chain.url).balance_wei(address_of(key_of("penniless"))) == 0
        assert recorded.client.next_round() == 1


# --- before EIP-1559 --------------------------------------------------------------------------------------------------


def sent(chain: Anvil, key: bytes | str, wei: int = 0) -> dict[str, Any]:
    """The transaction that pays so much to somebody, as the chain has it once it is mined."""
    tx, receipt = Connection(chain.url).send(key, {"to": SOMEBODY, "value": wei}, 21_000)
    found = chain.request("eth_getTransactionByHash", tx)
    assert (receipt["status"], int(found["blockNumber"], 16)) == (1, receipt["blockNumber"])
    return dict(found)


def test_a_chain_older_than_fee_markets_gets_transactions_that_it_mines() -> None:
    with anvil(hardfork="berlin") as chain:
        assert "baseFeePerGas" not in chain.request("eth_getBlockByNumber", "latest", False)
        found = sent(chain, KEYS[0], 5)
        assert (found["type"], found["gasPrice"]) == ("0x0", chain.request("eth_gasPrice"))
        assert int(found["gasPrice"], 16) > 0
        assert Connection(chain.url).balance_wei(SOMEBODY) == 5


def test_free_gas_needs_no_coins_on_a_chain_without_base_fee_either() -> None:
    with anvil("--gas-price", "0", hardfork="berlin") as chain:
        assert Connection(chain.url).base_fee_wei() is None
        found = sent(chain, key_of("penniless").secret)
        assert (found["type"], found["gasPrice"]) == ("0x0", "0x0")


def test_a_base_fee_of_nothing_is_offered_nothing() -> None:
    with anvil("--base-fee", "0", "--gas-price", "0") as chain:
        assert Connection(chain.url).base_fee_wei() == 0
        found = sent(chain, key_of("penniless").secret)
        assert (found["type"], found["maxFeePerGas"], found["maxPriorityFeePerGas"]) == ("0x2", "0x0", "0x0")


@pytest.mark.parametrize(
    ("options", "hardfork"),
    [(("--gas-price", "0"), "berlin"), (("--base-fee", "0", "--gas-price", "0"), "cancun")],
    ids=["no base fee", "base fee 0"],
)
def test_a_free_transaction_that_waits_is_not_lost_by_offering_it_again(
    options: tuple[str, ...], hardfork: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "REPLACE_SECONDS", 0.2)
    broadcast, offered = Connection.broadcast, list[bytes]()

    def noting(connection: Connection, raw: bytes) -> None:
        offered.append(raw)
        broadcast(connection, raw)

    monkeypatch.setattr(Connection, "broadcast", noting)
    key = key_of("penniless")
    with anvil(*options, hardfork=hardfork) as chain, ThreadPoolExecutor(1) as pool:
        chain.request("evm_setAutomine", False)
        waiting = pool.submit(sent, chain, key.secret)
        wait_for(lambda: int(chain.request("txpool_status")["pending"], 16) == 1)
        wait_for(lambda: len(offered) >= 3)
        assert int(chain.request("txpool_status")["pending"], 16) == 1
        chain.request("evm_mine")
        assert int(waiting.result(60)["nonce"], 16) == 0
        assert Connection(chain.url).next_nonce(address_of(key), "latest") == 1


def test_an_underpaid_older_transaction_is_offered_again_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "REPLACE_SECONDS", 0.4)
    with anvil(hardfork="berlin") as chain, ThreadPoolExecutor(1) as pool:
        chain.request("evm_setAutomine", False)
        waiting = pool.submit(sent, chain, KEYS[0], 1)
        wait_for(lambda: offered(chain) > 0)
        first = offered(chain)
        wait_for(lambda: offered(chain) > first)
        chain.request("evm_mine")
        found = waiting.result(60)
        assert (found["type"], int(found["gasPrice"], 16) > first) == ("0x0", True)


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_an_underpaid_transaction_is_offered_again_for_more(chain: Anvil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "REPLACE_SECONDS", 0.4)
    recorded = begin(chain.url, KEYS)
    result = recorded.next(HISTORY[0])
    chain.request("evm_setAutomine", False)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(recorded.submit, result)
        wait_for(lambda: offered(chain) > 0)
        first = offered(chain)
        wait_for(lambda: offered(chain) > first)
        chain.request("evm_mine")
        assert sent.result(60) is not None
    assert recorded.client.next_round() == 1
    assert Connection(chain.url).next_nonce(account_of(KEYS[1]).address, "latest") == 1


def offered(chain: Anvil) -> int:
    """The most that a waiting transaction pays for a unit of gas."""
    pending = chain.request("txpool_content")["pending"].values()
    return max((int(tx.get("maxFeePerGas", tx["gasPrice"]), 16) for lane in pending for tx in lane.values()), default=0)


def test_blocks_may_take_their_time() -> None:
    with anvil("--block-time", "1") as chain:
        recorded = begin(chain.url, KEYS)
        recorded.record(HISTORY[0])
        assert recorded.client.next_round() == 1


def test_many_threads_with_one_key_leave_no_gap_and_no_double(chain: Anvil) -> None:
    count, key = 60, key_of("busy")
    chain.request("anvil_setBalance", address_of(key), hex(10**18))
    chain.request("evm_setIntervalMining", 1)
    to = address_of(key_of("somebody"))

    def pay(_: int) -> str:
        return Connection(chain.url).send(key.secret, {"to": to, "value": 1}, 21_000)[0]

    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(pay, range(count)))) == count
    assert Connection(chain.url).balance_wei(to) == count
    assert Connection(chain.url).next_nonce(address_of(key), "latest") == count


def test_a_chain_that_was_killed_goes_on_from_its_saved_state(tmp_path: Path) -> None:
    state, port = str(tmp_path / "state.json"), free_port()
    with anvil("--state", state, port=port) as chain:
        recorded = begin(chain.url, KEYS)
        recorded.record(HISTORY[0])
        position = recorded.client.follow(START).position
        chain.stop()
    with pytest.raises(ChainUnavailable):
        recorded.client.next_round()
    with anvil("--state", state, port=port):
        recorded.record(HISTORY[1])
        step = recorded.client.follow(position)
        assert ([record.result.round for record in step.events], step.undone_from) == ([1], None)


# --- the queue --------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(chainqueue, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(chainqueue, "TURN_SECONDS", 0.1)
    monkeypatch.setattr(chainqueue, "MAX_PAUSE_SECONDS", 0.1)
    found = Store(tmp_path / "node.store")
    yield found
    found.close()


def queue(store: Store, recorded: Recorded, result: RoundResult) -> None:
    agreed = AgreedResult(
        result.round, result.kind, result.outcome, result.previous, result.config, result.dealers,
        result.model, result.deals, None, result.rewards, result.rewards_total.to_bytes(16, "big"),
    )  # fmt: skip
    joined = recorded.signatures(result)
    signatures = tuple((place, joined[64 * place : 64 * (place + 1)]) for place in range(QUORUM.bit_count()))
    store.queue_result(result.round, msgspec.msgpack.encode((agreed, signatures)))


class Queue:
    """A member's queue, run from a thread of its own while the block runs."""

    def __init__(self, recorded: Recorded, store: Store) -> None:
        self.states: list[tuple[int, str | None]] = []
        self.noted: list[int] = []
        self._chain = ChainQueue(recorded.client, store, bytes.fromhex(KEYS[1][2:]), 0, 4)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))

    def __enter__(self) -> Queue:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    async def _main(self) -> None:
        async def note(round_id: int, tx: str) -> None:
            self.noted.append(round_id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._chain.run, note, lambda waiting, trouble: self.states.append((waiting, trouble)))
            while not self._stop.is_set():  # noqa: ASYNC110 - it is set from another thread
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


def test_results_wait_on_disk_while_the_chain_is_away(tmp_path: Path, store: Store) -> None:
    state, port = str(tmp_path / "state.json"), free_port()
    with anvil("--state", state, port=port) as chain:
        recorded = begin(chain.url, KEYS)
        chain.stop()
    for step in HISTORY[:3]:
        queue(store, recorded, recorded.next(step))
    with Queue(recorded, store) as running:
        wait_for(lambda: running.states[-1:] != [])
        waiting, trouble = running.states[-1]
        assert (waiting, trouble is None) == (3, False)
        with anvil("--state", state, port=port):
            wait_for(lambda: not store.pending_results())
            assert recorded.client.next_round() == 3
            wait_for(lambda: running.states[-1] == (0, None))


def test_a_result_that_a_reorganisation_undid_is_submitted_again(chain: Anvil, store: Store) -> None:
    recorded = begin(chain.url, KEYS, Finality.parse("confirmations:2"))
    queue(store, recorded, recorded.next(HISTORY[0]))
    with Queue(recorded, store) as running:
        wait_for(lambda: recorded.client.next_round() == 1)
        assert store.pending_results()
        first = next(recorded.client.records())
        chain.reorganise(1)
        wait_for(lambda: recorded.client.next_round() == 1)
        assert next(recorded.client.records()).block >= first.block
        chain.request("anvil_mine", hex(2))
        wait_for(lambda: not store.pending_results())
        wait_for(lambda: running.noted == [0])


def test_a_result_that_contradicts_the_ledger_is_kept_and_named(chain: Anvil, store: Store) -> None:
    recorded = begin(chain.url, KEYS)
    recorded.record(HISTORY[0])
    other = replace(recorded.results[0], model=b"\7" * 32)
    with pytest.raises(ResultConflict):
        recorded.client.is_recorded(other)
    queue(store, recorded, other)
    with Queue(recorded, store) as running:
        wait_for(lambda: bool(running.states))
    assert "round 0 is recorded with result" in str(running.states[-1][1])
    assert store.pending_results()


def wait_for(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Returns once it is so; fails the test when it takes too long."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
