"""`mycelia deploy`: the contracts of a new consortium, and what its members need to know of them."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ledger.errors import BalanceTooLow, DeploymentUnfinished, LedgerError, NoContract
from ledger.types import MAX_GAS_PRICE_WEI
from ledger.words import exact
from node.commands import read_hex_key
from node.config import load_config
from node.errors import ConfigError
from node.members import read_roster

if TYPE_CHECKING:
    from gossip.spec import TaskSpec
    from ledger.asset import Asset
    from ledger.deploy import Founding
    from ledger.types import DisputeTerms, Member, VaultTerms

REORGANISED_BLOCKS: Final = 64
"""By so many a reorganisation may still move the deployment, which nobody must miss."""

_UINT64, _UINT128 = 2**64, 2**128


def terms(budget_ether: float, participation_ppm: int, dispute_seconds: int) -> VaultTerms:
    """The vault's terms in its own units.

    Raises:
        ConfigError: a number that the vault cannot hold.
    """
    from ledger.types import VaultTerms

    if not 0 <= dispute_seconds < _UINT64:
        raise ConfigError(f"--dispute-seconds is 0 to {_UINT64 - 1}, found {dispute_seconds}")
    return VaultTerms(_wei(budget_ether, "--budget-ether"), participation_ppm, dispute_seconds)


def dispute_terms(
    dispute_seconds: int, token: str | None, bond_ether: float, ruling_seconds: int, unbonding_seconds: int | None
) -> DisputeTerms:
    """The terms of disputes after a window of `dispute_seconds`, and in what the vault pays.

    Raises:
        ConfigError: numbers that the contracts would refuse, two transactions later.
        MalformedAddress: the token's is none.
    """
    from ledger.types import ZERO_ADDRESS, DisputeTerms

    if not 0 <= ruling_seconds < _UINT64:
        raise ConfigError(f"--ruling-seconds is 0 to {_UINT64 - 1}, found {ruling_seconds}")
    if unbonding_seconds is not None and not 0 <= unbonding_seconds < _UINT64:
        raise ConfigError(f"--unbonding-seconds is 0 to {_UINT64 - 1}, found {unbonding_seconds}")
    found = DisputeTerms(ruling_seconds, unbonding_seconds, _wei(bond_ether, "--bond-ether"), token)
    if found.asset == ZERO_ADDRESS:
        raise ConfigError("--token is the address of a token, found that of nobody; leave it out for the chain's coin")
    unbonding, longest = found.unbonding_after(dispute_seconds), dispute_seconds + ruling_seconds
    if unbonding <= longest:
        raise ConfigError(
            f"--unbonding-seconds is more than --dispute-seconds and --ruling-seconds together, {longest}, or a stake "
            f"would be gone before a dispute is decided; found {unbonding}"
        )
    return found


def deploy(
    members: list[Path],
    rpc: str,
    task_from: Path,
    key: Path | None,
    rounds: int,
    vault: VaultTerms,
    gas_ether: float | None,
    disputes: DisputeTerms | None = None,
) -> None:
    """Deploy the contracts, fund the vault for every round, print the registry."""
    from ledger.devchain import DEV_KEYS
    from node.builtin import make_spec
    from node.tasks import load_task

    gas_wei = _wei(gas_ether if gas_ether is not None else float(key is None), "--gas-ether")
    if rounds >= _UINT64 - 1 or rounds * vault.round_budget_wei >= _UINT128:
        raise ConfigError(f"--rounds {rounds} is too many: a vault holds less than 2^128 wei, a ledger 2^64 rounds")
    roster = read_roster(members)
    config = load_config(task_from)
    task = load_task(config.node.task, dict(config.node.options), task_from)
    deployer = DEV_KEYS[0] if key is None else read_hex_key(key)
    chain = config.ledger
    try:
        founding = deploy_for(
            roster,
            rpc,
            deployer,
            make_spec(task, rounds),
            vault,
            gas_wei,
            chain.chain_id,
            chain.max_gas_price_wei,
            disputes,
        )
        asset, vault_address = _look_at(rpc, founding)
    except BalanceTooLow as error:
        todo = "pay it the rest, name another with --key, or choose a smaller --budget-ether, --rounds or --gas-ether"
        raise ConfigError(f"{error}; {todo}") from error
    except NoContract as error:
        raise ConfigError(f"{error}: give --token the address of an ERC-20 token on this chain") from error
    except DeploymentUnfinished as error:
        if error.founding is not None:
            _tell_members(error.founding)
        raise
    _tell_members(founding)
    if asset.token is not None and vault.round_budget_wei:
        _tell_how_to_fund(asset, vault_address, rounds * vault.round_budget_wei)
    print(founding.registry)


def deploy_for(
    members: list[Member],
    rpc: str,
    deployer: str | bytes,
    spec: TaskSpec,
    vault: VaultTerms,
    gas_wei: int,
    chain_id: int | None = None,
    max_gas_price_wei: int = MAX_GAS_PRICE_WEI,
    disputes: DisputeTerms | None = None,
) -> Founding:
    """Deploy with these members, a vault that can pay every round, and gas for the signers.

    A vault that pays in a token is left empty.
    """
    from ledger.deploy import deploy as deploy_contracts

    return deploy_contracts(
        rpc,
        deployer,
        members,
        spec.encode(),
        vault,
        fund_wei=0 if disputes and disputes.asset else vault.round_budget_wei * spec.rounds,
        disputes=disputes,
        expect_chain_id=chain_id,
        max_gas_price_wei=max_gas_price_wei,
        signer_wei=gas_wei,
    )


def _look_at(rpc: str, founding: Founding) -> tuple[Asset, str]:
    """What the vault pays in, and its address, once the endpoint has shown that all of it is there."""
    from ledger.client import LedgerClient

    try:
        client = LedgerClient(rpc, founding.registry, fingerprint=founding.fingerprint, first_block=founding.block)
        client.verified()
        return client.asset(), client.addresses[2]
    except LedgerError as error:
        failed = "what was deployed cannot be read back"
        todo = "run `mycelia audit` before anybody uses it, and do not deploy again"
        raise DeploymentUnfinished(founding.registry, failed, error, todo, founding) from error


def _tell_members(founding: Founding) -> None:
    print("every member writes into mycelia.toml, under [ledger]:", file=sys.stderr)
    first_block = max(0, founding.block - REORGANISED_BLOCKS)
    print(f'fingerprint = "0x{founding.fingerprint.hex()}"\nfirst_block = {first_block}', file=sys.stderr)


def _tell_how_to_fund(asset: Asset, vault: str, amount: int) -> None:
    """Deploying cannot: whoever holds the token has to allow the vault to take it."""
    whole = f" ({exact(amount, asset.decimals)} tokens)" if asset.decimals else ""
    print(f"the vault is empty; whoever holds the token funds all rounds with {amount}{whole}:", file=sys.stderr)
    print(f"{asset.token}: approve({vault}, {amount})\n{vault}: fund({amount})", file=sys.stderr)


def _wei(ether: float, option: str) -> int:
    most = Decimal(_UINT128 - 1) / 10**18
    if not 0 <= ether <= most:
        raise ConfigError(f"{option} is 0 to {most:.3e} ether, found {ether}")
    return int(Decimal(str(ether)) * 10**18)
