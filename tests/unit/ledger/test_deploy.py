from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from ledger import artifacts
from ledger.client import LedgerClient
from ledger.connection import Connection, account_of
from ledger.deploy import CANCUN_PROBE, _registry_gas, create_address, deploy
from ledger.devchain import DEV_KEYS, running
from ledger.errors import ChainTooOld, NoContract, Reverted, UnprovenRegistry
from tests.helpers.chain import SPEC as CHAIN_SPEC
from tests.helpers.chain import entries
from tests.helpers.gas import TABLE
from tests.helpers.lying_proxy import Lie, LyingProxy, Refusal, honest, lying_proxy
from tests.helpers.recorded import FUND_WEI, SPEC, TERMS, N, member

pytestmark = pytest.mark.network

MEMBERS = tuple(member(index) for index in range(N))


@pytest.fixture(scope="module")
def proxy() -> Iterator[LyingProxy]:
    with running() as server, lying_proxy(server.url) as proxy:
        yield proxy


@contextmanager
def told(proxy: LyingProxy, lie: Lie) -> Iterator[None]:
    proxy.lie = lie
    yield
    proxy.lie = honest


def test_everything_is_where_the_nonce_predicts_and_the_vault_is_funded(proxy: LyingProxy) -> None:
    deployer = account_of(DEV_KEYS[0]).address
    nonce = Connection(proxy.url).next_nonce(deployer)
    founding = deploy(proxy.url, DEV_KEYS[0], MEMBERS, SPEC, TERMS, FUND_WEI)
    client = LedgerClient(proxy.url, founding.registry, fingerprint=founding.fingerprint)
    roster = client.verified().roster
    assert roster == client.roster()
    assert [roster.registry, roster.ledger, roster.vault] == [create_address(deployer, nonce + i) for i in range(3)]
    assert (roster.members, roster.spec, roster.quorum) == (MEMBERS, SPEC, 3)
    assert client.terms() == client.verified().terms == TERMS
    assert client.balance_wei(roster.vault) == client.funded_wei() == FUND_WEI


def test_nothing_of_a_deployment_is_older_than_its_block(proxy: LyingProxy) -> None:
    founding = deploy(proxy.url, DEV_KEYS[0], MEMBERS, SPEC, TERMS, FUND_WEI)
    first = LedgerClient(proxy.url, founding.registry, first_block=founding.block)
    assert first.verified().fingerprint == founding.fingerprint
    assert first.periods()[0].block == founding.block
    later = LedgerClient(proxy.url, founding.registry, first_block=founding.block + 1)
    with pytest.raises(UnprovenRegistry, match=rf"blocks from {founding.block + 1} on .*ledger\.first_block"):
        later.verified()


def test_an_address_is_the_known_one_for_sender_and_nonce() -> None:
    # Source: go-ethereum, crypto_test.go, TestNewContractAddress.
    sender = "0x970E8128AB834E8EAC17Ab8E3812F010678CF791"
    assert create_address(sender, 0).lower() == "0x333c3310824b7c685133f2bedb2ca4b8b4df633d"
    assert create_address(sender, 1).lower() == "0x8bda78331c916a08481428e4b07c96d3e916d165"
    assert create_address(sender, 2).lower() == "0xc9ddedf451bc62ce88bf9292afb13df35b670699"


def test_a_chain_without_mcopy_is_too_old_and_nothing_is_sent(proxy: LyingProxy) -> None:
    def older(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_call" and params[0].get("data") == CANCUN_PROBE:
            return Refusal(-32015, "invalid opcode: opcode 0x5e not defined")
        return result

    deployer = account_of(DEV_KEYS[2]).address
    with told(proxy, older), pytest.raises(ChainTooOld):
        deploy(proxy.url, DEV_KEYS[2], MEMBERS, SPEC, TERMS, 0)
    assert Connection(proxy.url).next_nonce(deployer) == 0


def test_a_roster_that_the_registry_refuses_costs_nothing(proxy: LyingProxy) -> None:
    twice = (*MEMBERS[:3], replace(MEMBERS[0], index=3))
    before = Connection(proxy.url).balance_wei(account_of(DEV_KEYS[1]).address)
    with pytest.raises(Reverted) as caught:
        deploy(proxy.url, DEV_KEYS[1], twice, SPEC, TERMS, 0)
    assert caught.value.name == "DuplicateAccount"
    assert Connection(proxy.url).balance_wei(account_of(DEV_KEYS[1]).address) == before


def test_members_out_of_order_are_refused(proxy: LyingProxy) -> None:
    with pytest.raises(ValueError, match="order"):
        deploy(proxy.url, DEV_KEYS[1], MEMBERS[::-1], SPEC, TERMS, 0)


def test_other_code_at_the_address_is_noticed(proxy: LyingProxy) -> None:
    vault = artifacts.load("RewardVault")

    def lie(method: str, params: list[Any], result: Any) -> Any:
        is_vault = method == "eth_getCode" and len(result) == 2 + 2 * len(vault.deployed_bytecode)
        return "0x00" + result[4:] if is_vault else result

    with told(proxy, lie), pytest.raises(NoContract, match="RewardVault"):
        deploy(proxy.url, DEV_KEYS[1], MEMBERS, SPEC, TERMS, 0)


@pytest.mark.parametrize("n", [4, 16, 64])
def test_the_gas_for_a_registry_suffices_and_is_not_more_than_a_transaction_may_have(n: int) -> None:
    measured = json.loads(TABLE.read_text())["deploy MemberRegistry"][str(n)]
    assert 1.02 * measured <= _registry_gas([tuple(one) for one in entries(n)], CHAIN_SPEC) <= 2**24  # EIP-7825


def test_the_gas_suffices_for_the_longest_entries(proxy: LyingProxy) -> None:
    longest = [
        replace(member, name=chr(97 + member.index) * 64, peer_id=chr(97 + member.index) * 128, host="h" * 250)
        for member in MEMBERS
    ]
    assert {len(member.net_address) for member in longest} == {255}
    founding = deploy(proxy.url, DEV_KEYS[0], longest, SPEC, TERMS, 0)
    assert LedgerClient(proxy.url, founding.registry).verified().fingerprint == founding.fingerprint
