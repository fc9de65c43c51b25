"""In what a vault pays: the chain's own coin, or one ERC-20 token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ledger.connection import Connection
from ledger.errors import ChainUnavailable, NoContract, Reverted, TransactionFailed
from ledger.types import ZERO_ADDRESS

COIN_DECIMALS: Final = 18
MAX_DECIMALS: Final = 77
"""Of 2^256, in decimal digits: a token that names more says nothing."""

_BALANCE_CALL: Final = "0x70a08231"  # balanceOf(address)
_WORD_CHARACTERS: Final = 2 + 64
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


def require_token(connection: Connection, address: str) -> None:
    """Refuses what is no token, before a vault is bound to it.

    Raises:
        NoContract: nothing there says what an account holds of it.
    """
    holder = connection.w3.to_checksum_address(address)
    query = {"to": holder, "data": _BALANCE_CALL + holder.removeprefix("0x").lower().rjust(64, "0")}
    try:
        answer = connection.request("eth_call", [query, "latest"])
    except (Reverted, TransactionFailed) as error:
        raise NoContract(holder, "a token") from error
    if not (isinstance(answer, str) and len(answer) == _WORD_CHARACTERS):
        raise NoContract(holder, "a token")


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
