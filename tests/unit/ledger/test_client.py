"""The client against a development chain and against anvil: four members, real transactions, real refusals."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from web3 import Web3

from ledger.client import LedgerClient
from ledger.connection import account_of
from ledger.deploy import deploy, send_wei
from ledger.devchain import DEV_KEYS, DevChain, DevServer, running
from ledger.errors import (
    ChainUnavailable,
    NoContract,
    PortTaken,
    ResultConflict,
    Reverted,
    TransactionFailed,
    WrongChain,
)
from ledger.rewards import deals_root, pay, rewards_proof, rewards_root, scores_digest
from ledger.types import EMPTY, SETTLED, STATISTICS, TRAINING, Member, Roster, RoundResult, VaultTerms, members_of
from tests.helpers.anvil import anvil
from tests.helpers.chain import address_of, compact_signature, key_of

N = 4
TERMS = VaultTerms(round_budget_wei=10**15, participation_ppm=500_000, dispute_window_seconds=600)
SPEC = b'{"task":"test"}'
FUND_WEI = 10**18
QUORUM = 0b0111
RELAYER = DEV_KEYS[1]


def member(index: int) -> Member:
    return Member(
        index=index,
        account=address_of(key_of(f"account {index}")),
        signer=address_of(key_of(f"signer {index}")),
        name=f"hospital-{index}",
        peer_id=f"12D3KooW{index:044d}",
        host="127.0.0.1",
        port=4000 + index,
    )


MEMBERS = tuple(member(index) for index in range(N))


@pytest.fixture(scope="module", params=["devchain", "anvil"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "devchain":
        with running() as server:
            yield server.url
        return
    with anvil() as chain:
        for key in DEV_KEYS[:3]:
            chain.request("anvil_setBalance", account_of(key).address, hex(10**24))
        yield chain.url


@dataclass(frozen=True)
class Deployed:
    client: LedgerClient
    roster: Roster

    def result(self, **changes: Any) -> RoundResult:
        """The next round's result, settled by everyone, that pays nothing yet."""
        number = self.client.next_round()
        valid = RoundResult(
            round=number,
            kind=TRAINING if number else STATISTICS,
            outcome=SETTLED,
            previous=next(self.client.records(number - 1)).result.struct_hash() if number else EMPTY,
            config=self.roster.config_digest,
            dealers=0b1111,
            model=bytes([number]) * 32,
            deals=deals_root({index: bytes([index]) * 32 for index in range(N)}),
            scores=EMPTY,
            rewards=rewards_root([0] * N),
            rewards_total=0,
        )
        return replace(valid, **changes)

    def signatures(self, result: RoundResult, signers: int = QUORUM) -> bytes:
        digest = result.signing_digest(self.roster.chain_id, self.roster.ledger)
        return b"".join(compact_signature(key_of(f"signer {index}"), digest) for index in members_of(signers))

    def submit(self, result: RoundResult, scores: tuple[int, ...] | None = None) -> str | None:
        return self.client.submit(RELAYER, result, scores, QUORUM, self.signatures(result))


@pytest.fixture
def deployed(url: str) -> Deployed:
    client = LedgerClient(url, deploy(url, DEV_KEYS[0], MEMBERS, SPEC, TERMS, FUND_WEI).registry)
    return Deployed(client, client.roster())


@pytest.fixture
def paid(deployed: Deployed) -> tuple[Deployed, RoundResult, tuple[int, ...]]:
    """A deployment whose round 1 pays its four dealers, not yet activated."""
    deployed.submit(deployed.result())
    cumulative = pay(TERMS, TRAINING, SETTLED, 0b1111, None, N)
    result = deployed.result(rewards=rewards_root(cumulative), rewards_total=sum(cumulative))
    deployed.submit(result)
    return deployed, result, cumulative


def test_a_deployment_is_found_from_its_registry_alone(deployed: Deployed) -> None:
    assert deployed.roster.members == MEMBERS
    assert deployed.roster.spec == SPEC
    assert deployed.roster.quorum == 3
    assert deployed.client.terms() == TERMS
    assert deployed.client.balance_wei(deployed.roster.vault) == deployed.client.funded_wei() == FUND_WEI


def test_a_recorded_round_comes_back_as_it_was_submitted(deployed: Deployed) -> None:
    scores = (5, -6, 0, 7)
    result = deployed.result(scores=scores_digest(scores))
    tx = deployed.submit(result, scores)

    [record] = deployed.client.records()

    assert (record.result, record.scores, record.signers, record.tx) == (result, scores, QUORUM, tx)
    assert record.signatures == deployed.signatures(result)
    assert deployed.client.result_digest(0) == result.stored_digest()


def test_records_begin_at_the_round_asked_for(deployed: Deployed) -> None:
    for _ in range(3):
        deployed.submit(deployed.result())

    numbers = [[record.result.round for record in deployed.client.records(first)] for first in (2, 0, 1, 3)]

    assert numbers == [[2], [0, 1, 2], [1, 2], []]


def test_a_second_submission_of_the_same_result_is_quiet(deployed: Deployed) -> None:
    result = deployed.result()
    assert deployed.submit(result) is not None
    assert deployed.submit(result) is None
    assert deployed.client.next_round() == 1


def test_another_result_of_a_recorded_round_is_a_conflict(deployed: Deployed) -> None:
    result = deployed.result()
    deployed.submit(result)
    with pytest.raises(ResultConflict) as caught:
        deployed.submit(replace(result, model=b"\x77" * 32))
    assert caught.value.recorded == result.stored_digest()


def test_a_wrong_signature_is_refused_by_name_and_index(deployed: Deployed) -> None:
    result = deployed.result()
    forged = bytearray(deployed.signatures(result))
    forged[70] ^= 1
    with pytest.raises(Reverted) as caught:
        deployed.client.submit(RELAYER, result, None, QUORUM, bytes(forged))
    assert (caught.value.name, caught.value.values) == ("InvalidSignature", {"index": 1})


def test_fewer_signatures_than_the_quorum_are_refused(deployed: Deployed) -> None:
    result = deployed.result()
    with pytest.raises(Reverted, match="QuorumNotReached"):
        deployed.client.submit(RELAYER, result, None, 0b11, deployed.signatures(result, 0b11))


def test_rewards_wait_for_the_end_of_the_dispute_window(paid: tuple[Deployed, RoundResult, tuple[int, ...]]) -> None:
    deployed, result, _ = paid
    with pytest.raises(Reverted, match="DisputeWindowOpen"):
        deployed.client.activate(RELAYER, result)


def test_a_claim_pays_the_registered_account_once(paid: tuple[Deployed, RoundResult, tuple[int, ...]]) -> None:
    deployed, result, cumulative = paid
    client, proof = deployed.client, rewards_proof(cumulative, 2)
    client.increase_time(TERMS.dispute_window_seconds + 1)
    client.activate(RELAYER, result)
    before = client.balance_wei(MEMBERS[2].account)

    client.claim(RELAYER, 2, cumulative[2], proof)

    assert client.balance_wei(MEMBERS[2].account) - before == client.claimed_wei(2) == cumulative[2] > 0
    with pytest.raises(Reverted, match="NothingToClaim"):
        client.claim(RELAYER, 2, cumulative[2], proof)


def test_a_development_chain_ages_while_nobody_sends() -> None:
    with running() as server:
        client = LedgerClient(server.url, deploy(server.url, DEV_KEYS[0], MEMBERS, SPEC, TERMS, 0).registry)
        before = client.block_timestamp()
        Web3(Web3.HTTPProvider(server.url)).provider.make_request("evm_increaseTime", [hex(100)])
        assert client.block_timestamp() >= before + 100


def test_a_little_ether_reaches_a_new_account_that_can_then_send(url: str, deployed: Deployed) -> None:
    key = key_of("a member without ether")
    send_wei(url, DEV_KEYS[2], address_of(key), 10**17)
    deployed.client.fund(key.secret, 5)
    assert deployed.client.funded_wei() == FUND_WEI + 5


def test_an_account_without_ether_cannot_send(deployed: Deployed) -> None:
    with pytest.raises(TransactionFailed):
        deployed.client.fund(key_of("nobody").secret, 1)


def test_another_chain_id_is_refused(url: str, deployed: Deployed) -> None:
    with pytest.raises(WrongChain) as caught:
        LedgerClient(url, deployed.roster.registry, expect_chain_id=1)
    assert caught.value.expected == 1


def test_an_address_without_the_registry_is_refused(url: str, deployed: Deployed) -> None:
    for address in (MEMBERS[0].account, deployed.roster.ledger):
        with pytest.raises(NoContract):
            LedgerClient(url, address)


def test_a_port_where_nobody_listens_is_no_chain() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(ChainUnavailable):
            LedgerClient(f"http://127.0.0.1:{held.getsockname()[1]}", MEMBERS[0].account)


def test_a_taken_port_and_an_open_interface_are_refused(url: str) -> None:
    with pytest.raises(PortTaken):
        DevServer(DevChain(), port=int(url.rpartition(":")[2]))
    with pytest.raises(ValueError, match=r"0\.0\.0\.0"):
        DevServer(DevChain(), "0.0.0.0")


def test_a_key_that_is_none_is_not_shown(deployed: Deployed) -> None:
    with pytest.raises(ValueError) as caught:
        deployed.client.fund("0xsecret", 1)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
