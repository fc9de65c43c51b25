from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey

from ledger import artifacts
from ledger.client import LedgerClient
from ledger.connection import Connection, account_of
from ledger.deploy import CANCUN_PROBE, _registry_gas, create_address, deploy, send_wei
from ledger.devchain import DEV_KEYS, running
from ledger.errors import (
    BalanceTooLow,
    ChainTooOld,
    DeploymentUnfinished,
    Reverted,
    TransactionFailed,
    UnprovenRegistry,
)
from tests.helpers.chain import SPEC as CHAIN_SPEC
from tests.helpers.chain import address_of, entries, key_of
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

    with told(proxy, lie), pytest.raises(DeploymentUnfinished, match="there is no RewardVault"):
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


# --- what a deployment costs ------------------------------------------------------------------------------------------


@pytest.fixture
def key(proxy: LyingProxy, request: pytest.FixtureRequest) -> PrivateKey:
    """A key of this test's own, with two ether."""
    own = key_of(request.node.name)
    send_wei(proxy.target, DEV_KEYS[0], address_of(own), 2 * 10**18)
    return own


@pytest.mark.parametrize(("fund", "signers"), [(10**19, 0), (0, 10**18), (10**18, 25 * 10**16), (2 * 10**18, 0)])
def test_whoever_cannot_pay_for_the_whole_deployment_sends_nothing(
    proxy: LyingProxy, key: PrivateKey, fund: int, signers: int
) -> None:
    with pytest.raises(BalanceTooLow) as caught:
        deploy(proxy.url, key.secret, MEMBERS, SPEC, TERMS, fund, signer_wei=signers)
    found = caught.value
    assert (found.found_wei, found.vault_wei, found.signers_wei) == (2 * 10**18, fund, N * signers)
    assert 0 < found.gas_wei < 10**17
    connection = Connection(proxy.url)
    assert (connection.next_nonce(address_of(key)), connection.balance_wei(address_of(key))) == (0, 2 * 10**18)


def test_whoever_has_just_enough_can_deploy(proxy: LyingProxy, key: PrivateKey) -> None:
    """What was asked for gas suffices, though blocks get dearer meanwhile."""
    with pytest.raises(BalanceTooLow) as caught:
        deploy(proxy.url, key.secret, MEMBERS, SPEC, TERMS, 10**19, signer_wei=10**17)
    fund = 2 * 10**18 - N * 10**17 - caught.value.gas_wei
    founding = deploy(proxy.url, key.secret, MEMBERS, SPEC, TERMS, fund * 99 // 100, signer_wei=10**17)
    client = LedgerClient(proxy.url, founding.registry)
    assert client.funded_wei() == fund * 99 // 100
    assert {client.balance_wei(member.signer) for member in MEMBERS} == {10**17}


def test_where_gas_costs_nothing_nothing_is_asked_for_it(proxy: LyingProxy) -> None:
    def free(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and result:
            return result | {"baseFeePerGas": "0x0"}
        return result

    penniless = key_of("penniless")
    with told(proxy, free), pytest.raises(BalanceTooLow) as caught:
        deploy(proxy.url, penniless.secret, MEMBERS, SPEC, TERMS, 1)
    assert (caught.value.found_wei, caught.value.gas_wei) == (0, 0)
    assert "has 0 ether, and needs 0.000000000000000001: 0.000000000000000001 for the vault" in str(caught.value)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "the contract RoundLedger was not deployed: .*frozen; .* it is of no use without the other contracts"),
        (3, "the contract Disputes was not deployed: .*frozen; "),
        (4, "missing are 7 wei for VAULT, 5 wei for .*, 5 wei for .* by its function fund, and do not deploy again"),
        (6, "missing are (5 wei for 0x[^ ]*, ){2}5 wei for 0x[^ ]*: .* send them from any account, and do not deploy"),
    ],
)
def test_what_fails_after_the_registry_is_told_with_its_address(
    proxy: LyingProxy, key: PrivateKey, number: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, sent = Connection.broadcast, [0]

    def broadcast(connection: Connection, raw: bytes) -> None:
        sent[0] += 1
        if sent[0] > number:
            raise TransactionFailed("the account is frozen")
        send(connection, raw)

    monkeypatch.setattr(Connection, "broadcast", broadcast)
    registry, vault = create_address(address_of(key), 0), create_address(address_of(key), 2)
    with pytest.raises(DeploymentUnfinished, match=said.replace("VAULT", vault)) as caught:
        deploy(proxy.url, key.secret, MEMBERS, SPEC, TERMS, 7, signer_wei=5)
    assert (caught.value.registry, registry in str(caught.value)) == (registry, True)
    Connection(proxy.url).contract("MemberRegistry", registry)
    assert (caught.value.founding is not None) == (number >= 4)


def test_what_fails_before_there_is_a_registry_names_none(
    proxy: LyingProxy, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broadcast(connection: Connection, raw: bytes) -> None:
        raise TransactionFailed("the account is frozen")

    monkeypatch.setattr(Connection, "broadcast", broadcast)
    with pytest.raises(TransactionFailed, match=r"^the account is frozen$"):
        deploy(proxy.url, key.secret, MEMBERS, SPEC, TERMS, 0)
