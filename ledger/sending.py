"""One key's transactions: a nonce each, fees that the chain accepts, and a second look before anything is sent again.

A transaction that two processes sign with one key, that an endpoint forgets, or that lies too long because fees rose,
is nobody's fault and must not be lost, doubled, or block those after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from ledger.errors import TransactionFailed

if TYPE_CHECKING:
    from ledger.connection import Connection

RECEIPT_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.2
REPLACE_SECONDS: Final = 24.0
"""That a transaction may wait before it is offered again for more: two slots of Ethereum."""

NONCE_TRIES: Final = 4
MAX_TIP_WEI: Final = 10**9

Fees = Mapping[str, int]


@dataclass
class _Lane:
    """What this process knows of one key's nonces on one chain."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    last: tuple[int, bytes] | None = None  # nonce and hash of what was sent last


_lanes: dict[tuple[int, str], _Lane] = {}
_lanes_lock = threading.Lock()


def _lane(chain_id: int, address: str) -> _Lane:
    with _lanes_lock:
        return _lanes.setdefault((chain_id, address), _Lane())


class _NonceTaken(Exception):
    """Another process has used the nonce in the meantime."""


@dataclass
class _Sent:
    nonce: int
    fees: Fees
    hashes: list[bytes]


class Sender:
    """Sends what one account signs; all senders of a process share the account's nonces."""

    def __init__(self, connection: Connection, account: LocalAccount) -> None:
        self._connection = connection
        self._account = account
        self._lane = _lane(connection.chain_id, account.address)

    def send(self, draft: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Hash and receipt of the transaction, whatever its status.

        Raises:
            Reverted: the contract refuses it, which cost nothing.
            TransactionFailed: the endpoint does not take it, or nobody includes it in time.
        """
        for _ in range(NONCE_TRIES):
            # Each time: whoever took the nonce may have done what this transaction was to do.
            self._connection.simulate(draft)
            try:
                with self._lane.lock:
                    sent = self._offer(draft)
            except _NonceTaken:
                continue
            return self._included(draft, sent)
        raise TransactionFailed("other processes with the same key were faster each time: give each its own key")

    def _offer(self, draft: Mapping[str, Any]) -> _Sent:
        nonce = self._next_nonce()
        refusal: TransactionFailed | None = None
        for fees in self._fee_plans():
            raw = self._signed(draft, nonce, fees)
            try:
                self._connection.broadcast(raw)
            except TransactionFailed as error:
                refusal = refusal or error
                continue
            self._lane.last = (nonce, keccak(raw))
            return _Sent(nonce, fees, [keccak(raw)])
        if self._connection.next_nonce(self._account.address) > nonce:
            raise _NonceTaken
        raise refusal or TransactionFailed("the endpoint takes no transaction")

    def _next_nonce(self) -> int:
        told = self._connection.next_nonce(self._account.address)
        if self._lane.last is None or self._lane.last[0] < told:
            return told
        # Behind a load balancer, another endpoint may not have heard of the last one yet.
        nonce, tx = self._lane.last
        return nonce + 1 if self._connection.knows(tx) else told

    def _fee_plans(self) -> Iterator[Fees]:
        """Fees to offer, one after the other until the endpoint takes one."""
        base = self._connection.base_fee_wei()
        if base is not None:
            # A chain without fees gets none: web3 would offer a tip that an empty account cannot pay.
            tip = min(base, MAX_TIP_WEI)
            yield {"maxFeePerGas": 2 * base + tip, "maxPriorityFeePerGas": tip}
        yield {"gasPrice": self._connection.gas_price_wei()}

    def _signed(self, draft: Mapping[str, Any], nonce: int, fees: Fees) -> bytes:
        whole = {**draft, **fees, "nonce": nonce, "chainId": self._connection.chain_id}
        return bytes(self._account.sign_transaction(whole).raw_transaction)

    def _included(self, draft: Mapping[str, Any], sent: _Sent) -> tuple[str, Mapping[str, Any]]:
        end = time.monotonic() + RECEIPT_SECONDS
        offer_again = time.monotonic() + REPLACE_SECONDS
        while True:
            if (found := self._receipt(sent)) is not None:
                return found
            now = time.monotonic()
            if now >= end:
                raise TransactionFailed(
                    f"the transaction was not included within {RECEIPT_SECONDS:.0f} seconds", _hex(sent.hashes[-1])
                )
            if now >= offer_again:
                self._offer_again(draft, sent)
                offer_again = now + REPLACE_SECONDS
            time.sleep(POLL_SECONDS)

    def _receipt(self, sent: _Sent) -> tuple[str, Mapping[str, Any]] | None:
        for tx in sent.hashes:
            receipt = self._connection.receipt(tx)
            if receipt is not None:
                return _hex(tx), receipt
        return None

    def _offer_again(self, draft: Mapping[str, Any], sent: _Sent) -> None:
        """Offers the same nonce for a quarter more; of all that were offered, one can be included."""
        if self._connection.next_nonce(self._account.address, "latest") > sent.nonce:
            if self._receipt(sent) is None:
                raise TransactionFailed("another transaction of the same key took its place", _hex(sent.hashes[-1]))
            return
        fees = {name: wei + -(-wei // 4) for name, wei in sent.fees.items()}
        raw = self._signed(draft, sent.nonce, fees)
        try:
            self._connection.broadcast(raw)
        except TransactionFailed:
            return  # what was offered first is still there
        with self._lane.lock:
            if self._lane.last == (sent.nonce, sent.hashes[-1]):
                self._lane.last = (sent.nonce, keccak(raw))
        sent.fees = fees
        if keccak(raw) not in sent.hashes:
            sent.hashes.append(keccak(raw))


def _hex(tx: bytes) -> str:
    return "0x" + tx.hex()
