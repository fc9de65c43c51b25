"""What others pay for the model: payments into the vault, and each member's part of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from ledger.asset import fetch_asset
from ledger.connection import Connection, Key
from ledger.errors import ChainUnavailable

PAID_TOPIC: Final = keccak(b"RevenuePaid(uint64,address,uint256)")

REVENUE_GAS: Final = 250_000
"""More than twice what `payRevenue`, and `claimRevenue` with a proof for 64 members, were measured to take."""


@dataclass(frozen=True, slots=True)
class Revenue:
    """What was paid for the model while the rewards after one round were active.

    Attributes:
        round_id: that round.
        root: of the rewards that share it.
        total_wei: of those rewards; never 0 where something was paid.
        paid_wei: what was paid.
        claimed_wei: what members have received of it.
    """

    round_id: int
    root: bytes
    total_wei: int
    paid_wei: int
    claimed_wei: int

    def part_wei(self, earned_wei: int) -> int:
        """What a member that had earned so much gets of it in all, rounded down as the vault does."""
        return self.paid_wei * earned_wei // self.total_wei if self.total_wei else 0


class VaultRevenue:
    """The revenue of one vault, read and written; blocking.

    Args:
        vault: web3's object for the RewardVault.
        first_block: no event of the deployment is older.
    """

    def __init__(self, connection: Connection, vault: Any, first_block: int) -> None:
        self._connection = connection
        self._vault = vault
        self._first_block = first_block

    def rounds(self) -> frozenset[int]:
        """Each round whose rewards share a payment.

        Raises:
            ChainUnavailable: an event cannot be read.
        """
        logs = self._connection.logs(self._vault.address, PAID_TOPIC, self._first_block)
        return frozenset(map(_round_of, logs))

    def of_round(self, round_id: int) -> Revenue:
        """What was paid while the rewards after this round were active."""
        root, total, paid, claimed = self._connection.call(self._vault.functions.revenueOf(round_id))
        return Revenue(round_id, bytes(root), int(total), int(paid), int(claimed))

    def claimed_wei(self, round_id: int, index: int) -> int:
        """What the member `index` has received of the revenue of that round."""
        return int(self._connection.call(self._vault.functions.claimedRevenueWei(round_id, index)))

    def pay(self, key: Key, wei: int) -> str:
        """Hash of the transaction that pays `wei` for the model, to be shared by the rewards that are active.

        Nothing is given back.  While no rewards are active it goes to the pool.  A token's owner has to allow the
        vault to take it first.

        Raises:
            Reverted: among others `NothingFunded`, or what the token says.
        """
        coins = fetch_asset(self._connection, self._vault).coins_wei(wei)
        return self._send(key, self._vault.functions.payRevenue(wei), coins)

    def claim(self, key: Key, round_id: int, index: int, earned_wei: int, proof: Sequence[bytes]) -> str:
        """Hash of the transaction that pays the member `index` its part of that round's revenue.

        Args:
            key: of whoever sends it; the registry's account is paid.
            earned_wei: the member's cumulative reward after that round.

        Raises:
            Reverted: among others `InvalidProof`, `NothingToClaim`.
        """
        return self._send(key, self._vault.functions.claimRevenue(round_id, index, earned_wei, list(proof)))

    def _send(self, key: Key, call: Any, coins_wei: int = 0) -> str:
        draft = {"to": call.address, "value": coins_wei, "data": str(call._encode_transaction_data())}
        tx, _ = self._connection.send(key, draft, REVENUE_GAS)
        return tx


def _round_of(log: Mapping[str, Any]) -> int:
    try:
        return int.from_bytes(log["topics"][1], "big")
    except (LookupError, TypeError) as error:
        raise ChainUnavailable(f"an event of the vault cannot be read: {error}") from error
