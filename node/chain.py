"""The deployment that a configuration names, as its client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.finality import INSTANT, Finality

if TYPE_CHECKING:
    from ledger.client import LedgerClient
    from node.config import LedgerConfig


def client_of(chain: LedgerConfig, finality: Finality = INSTANT) -> LedgerClient:
    """A client that asks the configured endpoint.

    Raises:
        LedgerError: the endpoint does not answer, serves another chain, or shows no deployment at the address.
    """
    from ledger.client import LedgerClient  # web3, which takes a second to import

    return LedgerClient(
        chain.rpc,
        chain.registry,
        expect_chain_id=chain.chain_id,
        first_block=chain.first_block,
        finality=finality,
        fingerprint=bytes.fromhex(chain.fingerprint.removeprefix("0x")),
        max_gas_price_wei=chain.max_gas_price_wei,
    )
