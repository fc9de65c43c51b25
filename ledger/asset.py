"""In what a vault pays: the chain's own coin, or one ERC-20 token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ledger.connection import Connection
from ledger.errors import ChainUnavailable, TransactionFailed
from ledger.types import ZERO_ADDRESS

COIN_DECIMALS: Final = 18
MAX_DECIMALS: Final = 77
"""Of 2^256, in decimal digits: a token that names more says nothing."""

_DECIMALS_CALL: Final = "0x313ce567"  # decimals(), which ERC-20 leaves optional


@dataclass(frozen=True, slots=True)
class Asset:
    """What the vault takes in and pays out; amounts of either are counted in its smallest unit, here called wei.

    Attributes:
        token: its address; None for the chain's own coin.
        decimals: digits after the point of one whole of it; 0 for a token that names none.
    """

    token: str | None = None
    decimals: int = COIN_DECIMALS

    def coins_wei(self, amount_wei: int) -> int:
        """Coins that go along with a payment of this amount: a token is taken by the vault itself."""
        return amount_wei if self.token is None else 0


def fetch_asset(connection: Connection, vault: Any) -> Asset:
    """What the vault pays in.

    Raises:
        ChainUnavailable: the endpoint does not answer as a chain does.
    """
    token = str(connection.call(vault.functions.asset()))
    return Asset() if token == ZERO_ADDRESS else Asset(token, _decimals(connection, token))


def _decimals(connection: Connection, token: str) -> int:
    try:
        answer = connection.request("eth_call", [{"to": token, "data": _DECIMALS_CALL}, "latest"])
    except TransactionFailed:
        return 0
    try:
        found = int(answer, 16) if answer != "0x" else 0
    except (TypeError, ValueError) as error:
        raise ChainUnavailable(f"the endpoint's answer to a view cannot be read: {error}") from error
    return found if 0 <= found <= MAX_DECIMALS else 0
