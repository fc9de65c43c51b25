"""One key's transactions: a nonce each, fees that the chain accepts, and a second look before anything is sent again.

A transaction that two processes sign with one key, that an endpoint forgets, or that lies too long because fees rose,
is nobody's fault and must not be lost, doubled, or block those after it.  What gas costs is the endpoint's word, which
may be a lie: nothing is signed that offers more than the connection allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from ledger.errors import GasTooExpensive, TransactionFailed

if TYPE_CHECKING:
    from ledger.connection import Connection

RECEIPT_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.2
REPLACE_SECONDS: Final = 24.0
"""That a transaction may wait before it is offered again for more: two slots of Ethereum."""

NONCE_TRIES: Final = 4
MAX_TIP_WEI: Final = 10**9

_OTHER_KIND_HELPS: Final = ("type", "1559", "rlp", "not supported", "unsupported")
"""What endpoints say that take no transactions with a tip: most name the type, older ones the RLP."""

_OTHER_PRICE_HELPS: Final = ("underpriced", "gas price", "tip cap", "priority fee", "minimum")
"""What they say that want a larger tip than the base fee would suggest."""

_LESS_HELPS: Final = ("insufficient", "upfront cost", "afford")
"""What they say of an account that has not twice the base fee, and may have what the gas costs."""

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
            GasTooExpensive: gas costs more than the connection allows to offer.
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
        base = self._connection.base_fee_wei()
        try:
            if base is None:
                return self._offered(draft, nonce, self._plain_fees())
            try:
                return self._offered(draft, nonce, self._market_fees(base))
            except TransactionFailed as refusal:
                if base and not _helps_to_offer_otherwise(refusal):
                    raise
                return self._offered_instead(draft, nonce, refusal)
        except TransactionFailed:
            if self._connection.next_nonce(self._account.address) > nonce:
                raise _NonceTaken from None
            raise

    def _offered_instead(self, draft: Mapping[str, Any], nonce: int, refusal: TransactionFailed) -> _Sent:
        try:
            return self._offered(draft, nonce, self._plain_fees())
        except TransactionFailed as error:
            raise refusal from error
        except GasTooExpensive as error:
            if _helps_to_offer_otherwise(refusal):
                raise
            raise refusal from error  # which is not about what was offered

    def _offered(self, draft: Mapping[str, Any], nonce: int, fees: Fees) -> _Sent:
        raw = self._signed(draft, nonce, fees)
        self._connection.broadcast(raw)
        self._lane.last = (nonce, keccak(raw))
        return _Sent(nonce, fees, [keccak(raw)])

    def _next_nonce(self) -> int:
        told = self._connection.next_nonce(self._account.address)
        if self._lane.last is None or self._lane.last[0] < told:
            return told
        # Behind a load balancer, another endpoint may not have heard of the last one yet.
        nonce, tx = self._lane.last
        return nonce + 1 if self._connection.knows(tx) else told

    def _market_fees(self, base: int) -> Fees:
        """What is offered where blocks name a base fee: twice as much, if that is allowed."""
        most = _allowed(self._connection, base)
        tip = min(_tip_wei(base), most - base)
        return {"maxFeePerGas": min(2 * base + tip, most), "maxPriorityFeePerGas": tip}

    def _plain_fees(self) -> Fees:
        """What is offered to a chain that is older than fee markets, or refuses them."""
        price = self._connection.gas_price_wei()
        _allowed(self._connection, price)
        return {"gasPrice": price}

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
        most = self._connection.max_gas_price_wei
        fees = {name: min(wei + -(-wei // 4), most) for name, wei in sent.fees.items()}
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


def current_price_wei(connection: Connection) -> int:
    """What a unit of gas costs now.

    Raises:
        GasTooExpensive: more than the connection allows to offer.
    """
    base = connection.base_fee_wei()
    price = connection.gas_price_wei() if base is None else base
    most = _allowed(connection, price)
    return price if base is None else min(base + _tip_wei(base), most)


def _allowed(connection: Connection, asked_wei: int) -> int:
    """The most that may be offered, if that is as much as is asked."""
    if asked_wei > connection.max_gas_price_wei:
        raise GasTooExpensive(asked_wei, connection.max_gas_price_wei)
    return connection.max_gas_price_wei


def _tip_wei(base: int) -> int:
    # A chain without fees gets none: web3 would offer a tip that an empty account cannot pay.
    return min(base, MAX_TIP_WEI)


def _helps_to_offer_otherwise(refusal: TransactionFailed) -> bool:
    said = str(refusal).lower()
    return any(word in said for word in (*_OTHER_KIND_HELPS, *_OTHER_PRICE_HELPS, *_LESS_HELPS))


def _hex(tx: bytes) -> str:
    return "0x" + tx.hex()
