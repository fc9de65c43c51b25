"""`mycelia deploy` sends nothing where it could not finish, and says what exists when something fails later."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.asset import Asset
from ledger.audit import audit
from ledger.client import LedgerClient
from ledger.connection import Connection, account_of
from ledger.deploy import Founding, send_wei
from ledger.devchain import DEV_KEYS, running
from ledger.errors import DeploymentUnfinished, MalformedAddress, TransactionFailed
from ledger.types import DisputeTerms
from node import cli, founding
from node.errors import ConfigError, exit_code
from tests.helpers.chain import address_of, key_of
from tests.helpers.consortium import make_members
from tests.helpers.lying_proxy import lying_proxy
from tests.helpers.recorded import deploy_token, on_token, token_balance

ETHER = 10**18


@pytest.mark.parametrize("ether", [1e30, -1.0, float("nan"), float("inf")])
def test_a_budget_that_no_vault_holds_is_named(ether: float) -> None:
    with pytest.raises(ConfigError, match=r"--budget-ether is 0 to 3\.403e\+20 ether, found"):
        founding.terms(ether, 0, 0)


@pytest.mark.parametrize("seconds", [99999999999999999999999, -1])
def test_a_dispute_window_that_no_vault_holds_is_named(seconds: int) -> None:
    with pytest.raises(ConfigError, match=rf"--dispute-seconds is 0 to 18446744073709551615, found {seconds}"):
        founding.terms(1.0, 0, seconds)


def test_terms_are_in_wei() -> None:
    assert founding.terms(1.1, 5, 7).round_budget_wei == 1_100_000_000_000_000_000


@pytest.mark.parametrize(
    ("rounds", "ether", "gas", "said"),
    [
        (1 << 64, 0.0, 0.0, "--rounds 18446744073709551616 is too many"),
        (4, 1e20, 0.0, "--rounds 4 is too many: a vault holds less than 2"),
        (1, 1.0, 1e30, "--gas-ether is 0 to"),
        (1, 1.0, float("nan"), "--gas-ether is 0 to"),
    ],
)
def test_numbers_that_no_chain_holds_are_named_before_anything_is_read(
    tmp_path: Path, rounds: int, ether: float, gas: float, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        founding.deploy([], "http://127.0.0.1:1", tmp_path, None, rounds, founding.terms(ether, 0, 0), gas)


TOKEN = "0x" + "22" * 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"token": "0x12"}, "'0x12' is no address: that is 0x and 40 hex digits"),
        ({"token": "0x" + "00" * 20}, "--token is the address of a token, found that of nobody; leave it out for the"),
        ({"bond_ether": 1e30}, r"--bond-ether is 0 to 3\.403e\+20 ether, found 1e\+30"),
        ({"bond_ether": float("nan")}, "--bond-ether is 0 to .* ether, found nan"),
        ({"ruling_seconds": -1}, "--ruling-seconds is 0 to 18446744073709551615, found -1"),
        ({"ruling_seconds": 1 << 64}, "--ruling-seconds is 0 to 18446744073709551615, found 18446744073709551616"),
        (
            {"unbonding_seconds": 1 << 64},
            "--unbonding-seconds is 0 to 18446744073709551615, found 1844674407370955161",
        ),
        ({"unbonding_seconds": 0}, "--unbonding-seconds is more than --dispute-seconds and --ruling-seconds together"),
        ({"unbonding_seconds": 160, "ruling_seconds": 100}, "together, 160, or a stake .* found 160"),
        ({"dispute_seconds": (1 << 64) - 1}, "--unbonding-seconds is more than .* found 18446744073709551615"),
    ],
)
def test_dispute_terms_that_the_contracts_would_refuse_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigError, MalformedAddress), match=said) as refused:
        dispute_terms(**changes)
    assert exit_code(refused.value) == 2


def dispute_terms(**changes: Any) -> DisputeTerms:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(cli.deploy).parameters.items()
        if name in inspect.signature(founding.dispute_terms).parameters
    }
    return founding.dispute_terms(**defaults | {"dispute_seconds": 60} | changes)


def test_dispute_terms_are_those_of_the_contracts_unless_chosen() -> None:
    assert dispute_terms() == DisputeTerms()
    chosen = dispute_terms(token=TOKEN, bond_ether=0.5, ruling_seconds=100, unbonding_seconds=161)
    assert chosen == DisputeTerms(100, 161, 5 * 10**17, TOKEN)


# --- on a chain -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of four members."""
    folder = tmp_path_factory.mktemp("members")
    make_members(folder, 4)
    return folder


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as server:
        yield server.url


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The file of a deployer's key of this test's own."""
    path = tmp_path / "deployer.key"
    path.write_text(key_of(tmp_path.name).secret.hex())
    return path


def address(key: Path) -> str:
    return address_of(key_of(key.parent.name))


def deploy(home: Path, rpc: str, key: Path | None, ether: float = 1.0, disputes: DisputeTerms | None = None) -> None:
    members = sorted(home.glob("*/member.json"))
    founding.deploy(members, rpc, members[0].parent, key, 2, founding.terms(ether, 0, 60), 0.5, disputes)


@pytest.mark.network
def test_a_deployer_that_cannot_pay_for_everything_sends_nothing(home: Path, url: str, key: Path) -> None:
    send_wei(url, DEV_KEYS[0], address(key), 3 * ETHER)
    with pytest.raises(ConfigError) as refused:
        deploy(home, url, key)
    said = str(refused.value)
    assert f"the deployer {address(key)} has 3 ether, and needs 4.0" in said
    assert "2 for the vault, 2 for the signers' gas, and up to 0.0" in said
    assert "name another with --key, or choose a smaller --budget-ether, --rounds or --gas-ether" in said
    chain = Connection(url)
    assert (chain.balance_wei(address(key)), chain.next_nonce(address(key))) == (3 * ETHER, 0)
    send_wei(url, DEV_KEYS[0], address(key), ETHER // 10)
    deploy(home, url, key, 0.5)


@pytest.mark.network
def test_what_failed_late_is_told_with_the_registry_that_exists(
    home: Path, url: str, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    send_wei(url, DEV_KEYS[0], address(key), 10 * ETHER)
    fail_from(monkeypatch, 4)
    with pytest.raises(DeploymentUnfinished) as refused:
        deploy(home, url, key)
    told = capsys.readouterr()
    assert told.out == ""
    assert 'fingerprint = "0x' in told.err
    assert f"the registry is deployed at {refused.value.registry}" in str(refused.value)
    assert exit_code(refused.value) == 1
    Connection(url).contract("MemberRegistry", refused.value.registry)


@pytest.mark.network
def test_a_deployment_that_cannot_be_read_back_is_named(
    home: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with lying_proxy(url) as proxy:
        proxy.lie = lambda method, params, result: [] if method == "eth_getLogs" else result
        with pytest.raises(DeploymentUnfinished, match=r"what was deployed cannot be read back: .* is deployed at 0x"):
            deploy(home, proxy.url, None)
    assert 'fingerprint = "0x' in capsys.readouterr().err


@pytest.mark.network
def test_a_vault_may_pay_in_a_token_with_its_own_terms_of_disputes(
    home: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    token = deploy_token(url)
    chosen = founding.dispute_terms(60, token, 2e-18, 100, 161)
    deploy(home, url, None, 3e-18, disputes=chosen)
    told = capsys.readouterr()
    client = LedgerClient(url, told.out.strip())
    assert (client.asset().token, client.funded_wei()) == (token, 0)
    registry, ledger, vault = client.addresses
    chain = Connection(url)
    disputes = chain.call(chain.contract("MemberRegistry", registry).functions.disputes())
    terms = [
        chain.call(chain.contract(name, address).functions[term]())
        for name, address, term in (
            ("RoundLedger", ledger, "rulingSeconds"),
            ("RewardVault", vault, "unbondingSeconds"),
            ("Disputes", disputes, "bondWei"),
        )
    ]
    assert terms == [100, 161, 2]
    assert audit(url, registry).findings == ()
    assert told.err.splitlines()[-3:] == [
        "the vault is empty; whoever holds the token funds all rounds with 6:",
        f"{token}: approve({vault}, 6)",
        f"{vault}: fund(6)",
    ]
    on_token(url, DEV_KEYS[0], token, "approve(address,uint256)", vault, 6)
    client.fund(DEV_KEYS[0], 6)
    assert (client.funded_wei(), token_balance(url, token, vault)) == (6, 6)


def test_what_a_vault_needs_is_told_in_whole_tokens_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    founding._tell_how_to_fund(Asset(TOKEN, 6), "0xvault", 2_500_000)
    assert "funds all rounds with 2500000 (2.5 tokens):\n" in capsys.readouterr().err


@pytest.mark.network
@pytest.mark.parametrize("where", [TOKEN, "registry"])
def test_a_token_that_is_none_costs_nothing(
    home: Path, url: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if where == "registry":
        deploy(home, url, None)
        where = capsys.readouterr().out.strip()
    deployer = account_of(DEV_KEYS[0]).address
    before = Connection(url).next_nonce(deployer)
    with pytest.raises(ConfigError, match=f"there is no token at {where}: give --token the address of") as refused:
        deploy(home, url, None, disputes=DisputeTerms(asset=where))
    assert (exit_code(refused.value), Connection(url).next_nonce(deployer)) == (2, before)


def fail_from(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """From this transaction on, counted from 0, none is taken."""
    send, sent = Connection.broadcast, [0]

    def broadcast(connection: Connection, raw: bytes) -> None:
        sent[0] += 1
        if sent[0] > number:
            raise TransactionFailed("the endpoint refused: the account is frozen")
        send(connection, raw)

    monkeypatch.setattr(Connection, "broadcast", broadcast)


def test_a_reorganisation_may_move_the_deployment_a_little(capsys: pytest.CaptureFixture[str]) -> None:
    for block, first in ((100, 36), (5, 0)):
        founding._tell_members(Founding("0x", bytes(32), block))
        assert capsys.readouterr().err.endswith(f"first_block = {first}\n")
