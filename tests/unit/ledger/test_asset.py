"""In what a vault pays, as far as the token says it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ledger.asset import Asset, fetch_asset
from ledger.connection import Connection
from ledger.errors import ChainUnavailable, TransactionFailed
from ledger.types import ZERO_ADDRESS
from tests.helpers.chain import address_of, key_of

TOKEN = address_of(key_of("token"))


class Vault:
    """web3's object for a vault, of which only `asset` is asked."""

    functions = property(lambda self: self)

    def asset(self) -> None:
        return None


class Endpoint:
    """Names the asset, and answers what the token returns for its decimals."""

    def __init__(self, asset: str, decimals: object) -> None:
        self.asset = asset
        self.decimals = decimals

    def call(self, function: object) -> str:
        return self.asset

    def request(self, method: str, params: list[Any]) -> object:
        assert (method, params) == ("eth_call", [{"to": TOKEN, "data": "0x313ce567"}, "latest"])
        if isinstance(self.decimals, Exception):
            raise self.decimals
        return self.decimals


def fetched(asset: str, decimals: object = None) -> Asset:
    return fetch_asset(cast(Connection, Endpoint(asset, decimals)), Vault())


def test_the_chains_own_coin_is_sent_along() -> None:
    assert fetched(ZERO_ADDRESS) == Asset(None, 18)
    assert fetched(ZERO_ADDRESS).coins_wei(5) == 5


def test_a_token_is_taken_by_the_vault_and_no_coin_is_sent() -> None:
    assert fetched(TOKEN, "0x6").coins_wei(5) == 0


@pytest.mark.parametrize(
    ("answer", "decimals"),
    [("0x" + "00" * 31 + "12", 18), ("0x6", 6), ("0x", 0), (hex(78), 0), (TransactionFailed("reverted"), 0)],
)
def test_a_tokens_decimals_are_what_it_says_within_reason(answer: object, decimals: int) -> None:
    assert fetched(TOKEN, answer) == Asset(TOKEN, decimals)


@pytest.mark.parametrize("answer", [None, "0xzz", [7]])
def test_an_answer_that_is_no_number_is_the_endpoints_fault(answer: object) -> None:
    with pytest.raises(ChainUnavailable, match="cannot be read"):
        fetched(TOKEN, answer)
