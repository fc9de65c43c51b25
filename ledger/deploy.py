"""The four transactions that found a consortium on a chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from rlp import encode as rlp_encode  # type: ignore[import-untyped]

from ledger import artifacts, model_state
from ledger.connection import Connection, Key, account_of, translated
from ledger.deployment import Deployment
from ledger.errors import ChainTooOld, Reverted, TransactionFailed
from ledger.fingerprint import compute_fingerprint
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
) -> Founding:
    """A new deployment whose vault holds `fund_wei`.

    The deployer has no power over it afterwards.  A vault that pays in a token is not funded here: its owner has to
    allow the vault to take it first.

    Raises:
        ChainTooOld: the chain cannot run the contracts.
        Reverted: a constructor refuses its arguments.
        TransactionFailed: a transaction is not taken, or a contract ends up elsewhere than predicted.
    """
    connection = Connection(rpc_url, expect_chain_id, max_gas_price_wei)
    _require_cancun(connection)
    deployer = account_of(deployer_key).address
    nonce = connection.next_nonce(deployer)
    addresses = [create_address(deployer, nonce + ahead) for ahead in range(4)]
    registry, ledger, vault, judge = addresses
    guard = disputes or DisputeTerms()
    if fund_wei and guard.asset is not None:
        raise ValueError("a vault that pays in a token is funded with that token, after its deployment")

    entries = _entries(members)
    window = terms.dispute_window_seconds
    first = (entries, spec, ledger, vault, judge)
    numbers = (terms.round_budget_wei, terms.participation_ppm, guard.unbonding_after(window))
    steps: tuple[tuple[int, tuple[Any, ...]], ...] = (
        (_registry_gas(entries, spec), first),
        (LEDGER_GAS, (registry, window, guard.ruling_seconds)),
        (VAULT_GAS, (registry, ledger, guard.asset or ZERO_ADDRESS, *numbers)),
        (DISPUTES_GAS, (registry, guard.bond_wei)),
    )
    blocks = [
        _create(connection, deployer_key, gas, address, name, *args)
        for name, address, (gas, args) in zip(artifacts.NAMES, addresses, steps, strict=True)
    ]
    for name, address in zip(artifacts.NAMES, addresses, strict=True):
        connection.contract(name, address)
    if fund_wei:
        data = keccak(b"fund(uint256)")[:4] + fund_wei.to_bytes(32, "big")
        connection.send(deployer_key, {"to": vault, "value": fund_wei, "data": "0x" + data.hex()}, FUND_GAS)
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
    return Founding(registry, compute_fingerprint(deployment, founders, keccak(spec)), blocks[0])


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


def _registry_gas(entries: Sequence[Entry], spec: bytes) -> int:
    size = sum(len(name.encode()) + len(peer_id) + len(net.encode()) for _, _, name, peer_id, net in entries)
    return REGISTRY_GAS + MEMBER_GAS * len(entries) + ENTRY_BYTE_GAS * size + SPEC_BYTE_GAS * len(spec)


def _entries(members: Sequence[Member]) -> list[Entry]:
    if [member.index for member in members] != list(range(len(members))):
        raise ValueError("the members are not in the order of their roster indices")
    return [(m.account, m.signer, m.name, m.peer_id.encode("ascii"), m.net_address) for m in members]


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
