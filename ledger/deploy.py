"""The four transactions that found a consortium on a chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from rlp import encode as rlp_encode  # type: ignore[import-untyped]

from ledger import artifacts, model_state
from ledger.asset import require_token
from ledger.connection import Connection, Key, account_of, translated
from ledger.deployment import Deployment
from ledger.errors import BalanceTooLow, ChainTooOld, DeploymentUnfinished, LedgerError, Reverted, TransactionFailed
from ledger.fingerprint import compute_fingerprint
from ledger.sending import current_price_wei
from ledger.types import MAX_GAS_PRICE_WEI, ZERO_ADDRESS, DisputeTerms, Member, VaultTerms, checked_address

CANCUN_PROBE: Final = "0x5f5f5f5e5f5c5000"
"""MCOPY of no bytes, TLOAD of slot 0, STOP: a chain older than Cancun knows neither."""

REGISTRY_GAS: Final = 3_400_000
MEMBER_GAS: Final = 138_000
ENTRY_BYTE_GAS: Final = 900
SPEC_BYTE_GAS: Final = 60
"""A deployment for 64 members was measured at 16.2 million; these give 16.6, below the 16.8 that EIP-7825 allows."""

LEDGER_GAS: Final = 3_000_000
VAULT_GAS: Final = 3_000_000
DISPUTES_GAS: Final = 3_000_000
FUND_GAS: Final = 200_000
TRANSFER_GAS: Final = 100_000

_FUND: Final = keccak(b"fund(uint256)")[:4]


@dataclass(frozen=True, slots=True)
class Founding:
    """What members need to find their consortium.

    Attributes:
        registry: address of its MemberRegistry.
        fingerprint: 32 bytes, computed from what was sent, and not from what the endpoint shows of it.
        block: the registry's, as the endpoint says; no event of the deployment is older.
    """

    registry: str
    fingerprint: bytes
    block: int


def deploy(
    rpc_url: str,
    deployer_key: Key,
    members: Sequence[Member],
    spec: bytes,
    terms: VaultTerms,
    fund_wei: int,
    disputes: DisputeTerms | None = None,
    expect_chain_id: int | None = None,
    max_gas_price_wei: int = MAX_GAS_PRICE_WEI,
    signer_wei: int = 0,
) -> Founding:
    """A new deployment whose vault holds `fund_wei`, and each of whose signers got `signer_wei`.

    The deployer has no power over it afterwards.  A vault that pays in a token is not funded here: its owner has to
    allow the vault to take it first.

    Raises:
        ChainTooOld: the chain cannot run the contracts.
        NoContract: there is no such token.
        BalanceTooLow: the deployer cannot pay for all of it.
        Reverted: the registry refuses its arguments.
        TransactionFailed: the registry is not taken, or ends up elsewhere than predicted.
        DeploymentUnfinished: something fails after that.
    """
    connection = Connection(rpc_url, expect_chain_id, max_gas_price_wei)
    _require_cancun(connection)
    guard = disputes or DisputeTerms()
    if guard.asset is not None:
        if fund_wei:
            raise ValueError("a vault that pays in a token is funded with that token, after its deployment")
        require_token(connection, guard.asset)

    deployer = account_of(deployer_key).address
    nonce = connection.next_nonce(deployer)
    addresses = [create_address(deployer, nonce + ahead) for ahead in range(4)]
    registry, ledger, vault, judge = addresses
    entries = _entries(members)
    window = terms.dispute_window_seconds
    first = (entries, spec, ledger, vault, judge)
    numbers = (terms.round_budget_wei, terms.participation_ppm, guard.unbonding_after(window))
    steps: Steps = (
        (_registry_gas(entries, spec), first),
        (LEDGER_GAS, (registry, window, guard.ruling_seconds)),
        (VAULT_GAS, (registry, ledger, guard.asset or ZERO_ADDRESS, *numbers)),
        (DISPUTES_GAS, (registry, guard.bond_wei)),
    )
    gas = sum(step[0] for step in steps) + FUND_GAS * bool(fund_wei) + TRANSFER_GAS * bool(signer_wei) * len(members)
    _require_balance(connection, deployer, fund_wei, signer_wei * len(members), gas)

    block = _create_all(connection, deployer_key, addresses, steps)
    deployment = Deployment(
        chain_id=connection.chain_id,
        registry=registry,
        ledger=ledger,
        vault=vault,
        disputes=judge,
        terms=terms,
        windows=(window, guard.ruling_seconds),
        asset=guard.asset or ZERO_ADDRESS,
        unbonding_seconds=guard.unbonding_after(window),
        bond_wei=guard.bond_wei,
    )
    founders = [model_state.Entry(*entry) for entry in entries]
    founding = Founding(registry, compute_fingerprint(deployment, founders, keccak(spec)), block)
    _pay(connection, deployer_key, founding, vault, fund_wei, [(member.signer, signer_wei) for member in members])
    return founding


def send_wei(rpc_url: str, key: Key, to: str, wei: int, max_gas_price_wei: int = MAX_GAS_PRICE_WEI) -> str:
    """Hash of the transaction that pays `wei` from the key's account to `to`.

    Raises:
        TransactionFailed: the account has not enough.
    """
    connection = Connection(rpc_url, max_gas_price_wei=max_gas_price_wei)
    tx, _ = connection.send(key, {"to": checked_address(to), "value": wei}, TRANSFER_GAS)
    return tx


def create_address(sender: str, nonce: int) -> str:
    """Where the contract lies that `sender` creates with this nonce."""
    return to_checksum_address(keccak(rlp_encode([bytes.fromhex(sender[2:]), nonce]))[-20:])


Entry = tuple[str, str, str, bytes, str]
Steps = Sequence[tuple[int, tuple[Any, ...]]]
"""Of each contract, in the order of their deployment: its gas, and what its constructor takes."""


def _registry_gas(entries: Sequence[Entry], spec: bytes) -> int:
    size = sum(len(name.encode()) + len(peer_id) + len(net.encode()) for _, _, name, peer_id, net in entries)
    return REGISTRY_GAS + MEMBER_GAS * len(entries) + ENTRY_BYTE_GAS * size + SPEC_BYTE_GAS * len(spec)


def _entries(members: Sequence[Member]) -> list[Entry]:
    if [member.index for member in members] != list(range(len(members))):
        raise ValueError("the members are not in the order of their roster indices")
    return [(m.account, m.signer, m.name, m.peer_id.encode("ascii"), m.net_address) for m in members]


def _require_balance(connection: Connection, deployer: str, vault_wei: int, signers_wei: int, gas: int) -> None:
    gas_wei = gas * current_price_wei(connection)
    found = connection.balance_wei(deployer)
    if found < vault_wei + signers_wei + gas_wei:
        raise BalanceTooLow(deployer, found, vault_wei, signers_wei, gas_wei)


def _create_all(connection: Connection, key: Key, addresses: Sequence[str], steps: Steps) -> int:
    """Number of the block that holds the registry, once all contracts are there."""
    blocks: list[int] = []
    for name, address, (gas, args) in zip(artifacts.NAMES, addresses, steps, strict=True):
        try:
            blocks.append(_create(connection, key, gas, address, name, *args))
        except LedgerError as error:
            if not blocks:
                raise
            todo = "it is of no use without the other contracts, deploy anew"
            raise DeploymentUnfinished(addresses[0], f"the contract {name} was not deployed", error, todo) from error
    for name, address in zip(artifacts.NAMES, addresses, strict=True):
        try:
            connection.contract(name, address)
        except LedgerError as error:
            todo = "deploy anew, or look at it through another endpoint"
            failed = "the endpoint does not show what was deployed"
            raise DeploymentUnfinished(addresses[0], failed, error, todo) from error
    return blocks[0]


def _pay(
    connection: Connection,
    key: Key,
    founding: Founding,
    vault: str,
    fund_wei: int,
    signers: Sequence[tuple[str, int]],
) -> None:
    """Funds the vault, and gives each of the signers that much."""
    fund = {"to": vault, "value": fund_wei, "data": "0x" + (_FUND + fund_wei.to_bytes(32, "big")).hex()}
    gifts = [({"to": signer, "value": wei}, TRANSFER_GAS) for signer, wei in signers]
    due = [draft for draft in ((fund, FUND_GAS), *gifts) if draft[0]["value"]]
    for done, (draft, gas) in enumerate(due):
        try:
            connection.send(key, draft, gas)
        except LedgerError as error:
            missing = ", ".join(f"{left['value']} wei for {left['to']}" for left, _ in due[done:])
            failed = f"not everybody was paid, missing are {missing}"
            how = f", to the vault at {vault} by its function fund" if draft is fund else ""
            todo = f"if they did not arrive, send them from any account{how}, and do not deploy again"
            raise DeploymentUnfinished(founding.registry, failed, error, todo, founding) from error


def _create(connection: Connection, key: Key, gas: int, expected: str, name: str, *args: Any) -> int:
    """Number of the block that holds the new contract."""
    artifact = artifacts.load(name)
    constructor = connection.w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode).constructor(*args)
    tx, receipt = connection.send(key, {"data": constructor.data_in_transaction}, gas)
    if receipt["contractAddress"] != expected:
        # Another transaction of the same key came between: the addresses in the registry are wrong.
        raise TransactionFailed(f"{name} is at {receipt['contractAddress']}, predicted was {expected}", tx)
    return int(receipt["blockNumber"])


def _require_cancun(connection: Connection) -> None:
    try:
        with translated():
            connection.w3.eth.call({"data": connection.w3.to_hex(hexstr=CANCUN_PROBE)})  # type: ignore[arg-type]
    except (Reverted, TransactionFailed) as error:
        raise ChainTooOld("the chain is older than Cancun, the contracts cannot run there") from error
