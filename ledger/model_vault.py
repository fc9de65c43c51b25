"""RewardVault in plain Python; see model.py.  Here the money is the chain's own coin: what is sent arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ledger.errors import Reverted
from ledger.model_state import (
    DISPUTED,
    NOTHING,
    OPEN,
    VOID,
    Call,
    Event,
    Outcome,
    Revenue,
    Stake,
    State,
    Vault,
)
from ledger.rewards import REWARD_LEAF, is_proof
from ledger.types import DisputeTerms, RoundResult, VaultTerms

CONTRACT: Final = "vault"


def found_vault(terms: VaultTerms, disputes: DisputeTerms) -> tuple[Vault, tuple[Event, ...]]:
    """The vault that its constructor makes, with terms that their own classes have checked.

    Raises:
        Reverted: as the constructor, if a stake unbonds too fast.
    """
    unbonding = disputes.unbonding_after(terms.dispute_window_seconds)
    longest = terms.dispute_window_seconds + disputes.ruling_seconds
    if unbonding <= longest:
        raise Reverted("UnbondingTooShort", {"least": longest + 1, "found": unbonding})
    values = {
        "roundBudget": terms.round_budget_wei,
        "participationPpm": terms.participation_ppm,
        "disputeWindowSeconds": terms.dispute_window_seconds,
    }
    return Vault(terms, unbonding), (Event(CONTRACT, "TermsAdopted", values),)


def fund(state: State, call: Call, amount_wei: int, value_wei: int) -> Outcome:
    """After `fund` with coins of `value_wei`.

    Raises:
        Reverted: as the contract, here and below.
    """
    _check_taken(amount_wei, value_wei)
    following = replace(state.vault, total_funded=state.vault.total_funded + amount_wei)
    return _done(state, following, "Funded", {"from": call.sender, "amountWei": amount_wei})


def pay_revenue(state: State, call: Call, amount_wei: int, value_wei: int) -> Outcome:
    """After `payRevenue` with coins of `value_wei`."""
    vault = state.vault
    if vault.active_total == 0:
        return fund(state, call, amount_wei, value_wei)
    _check_taken(amount_wei, value_wei)
    revenue = vault.revenue.get(vault.active_round, Revenue(vault.active_root, vault.active_total))
    paid = replace(revenue, paid_wei=revenue.paid_wei + amount_wei)
    following = replace(vault, revenue={**vault.revenue, vault.active_round: paid})
    values = {"round": vault.active_round, "from": call.sender, "amountWei": amount_wei}
    return _done(state, following, "RevenuePaid", values)


def activate(state: State, call: Call, result: RoundResult) -> Outcome:
    """After `activate`."""
    vault = state.vault
    _check_final(state, call, result)
    if result.rewards_total < vault.active_total:
        raise Reverted("TotalDecreased", {"active": vault.active_total, "found": result.rewards_total})
    pool = vault.total_funded + vault.total_slashed
    if result.rewards_total > pool:
        raise Reverted("TotalExceedsFunds", {"funded": pool, "found": result.rewards_total})
    values = {"round": result.round, "root": result.rewards, "totalWei": result.rewards_total}
    following = replace(vault, active_round=result.round, active_root=result.rewards, active_total=result.rewards_total)
    return _done(state, following, "RootActivated", values)


def claim(state: State, call: Call, index: int, cumulative_wei: int, proof: Sequence[bytes]) -> Outcome:
    """After `claim`; its event names the account that was paid, and the payment."""
    vault = state.vault
    account = state.registry.account_at(index)
    _check_proof(vault.active_root, index, cumulative_wei, proof)
    left = vault.active_total - vault.total_claimed
    amount = _due(index, vault.claimed_wei.get(index, 0), cumulative_wei, left)
    following = replace(
        vault,
        total_claimed=vault.total_claimed + amount,
        claimed_wei={**vault.claimed_wei, index: cumulative_wei},
    )
    values = {"index": index, "account": account, "amountWei": amount, "cumulativeWei": cumulative_wei}
    return _done(state, following, "RewardClaimed", values)


def claim_revenue(
    state: State, call: Call, round_id: int, index: int, cumulative_wei: int, proof: Sequence[bytes]
) -> Outcome:
    """After `claimRevenue`; its event names the account that was paid, and the payment."""
    vault = state.vault
    account = state.registry.account_at(index)
    revenue = vault.revenue.get(round_id, Revenue(bytes(32), 0))
    _check_proof(revenue.root, index, cumulative_wei, proof)
    if cumulative_wei > revenue.total_wei:
        raise Reverted("ClaimsExceedTotal", {"unclaimedWei": revenue.total_wei, "foundWei": cumulative_wei})
    share = revenue.paid_wei * cumulative_wei // revenue.total_wei
    amount = _due(index, revenue.claimed.get(index, 0), share, revenue.paid_wei - revenue.claimed_wei)
    paid = replace(revenue, claimed={**revenue.claimed, index: share})
    following = replace(vault, revenue={**vault.revenue, round_id: paid})
    values = {"round": round_id, "index": index, "account": account, "amountWei": amount}
    return _done(state, following, "RevenueClaimed", values)


def stake(state: State, call: Call, index: int, amount_wei: int, value_wei: int) -> Outcome:
    """After `stake` with coins of `value_wei`."""
    if not state.registry.is_active(index):
        raise Reverted("MemberNotActive", {"index": index})
    _check_taken(amount_wei, value_wei)
    own = state.vault.stake_of(index)
    following = with_stake(state.vault, index, replace(own, staked=own.staked + amount_wei))
    return _done(state, following, "Staked", {"index": index, "from": call.sender, "amountWei": amount_wei})


def request_unstake(state: State, call: Call, index: int, amount_wei: int) -> Outcome:
    """After `requestUnstake`."""
    account = state.registry.account_at(index)
    if call.sender != account:
        raise Reverted("NotTheAccount", {"index": index, "account": account})
    own = state.vault.stake_of(index)
    if amount_wei == 0 or amount_wei > own.staked:
        raise Reverted("StakeTooSmall", {"index": index, "stakedWei": own.staked, "foundWei": amount_wei})
    at = call.now + state.vault.unbonding_seconds
    asked = replace(own, staked=own.staked - amount_wei, unbonding=own.unbonding + amount_wei, release_at=at)
    values = {"index": index, "amountWei": amount_wei, "releaseAt": at}
    return _done(state, with_stake(state.vault, index, asked), "UnstakeRequested", values)


def withdraw_stake(state: State, call: Call, index: int) -> Outcome:
    """After `withdrawStake`; its event names the account that was paid, and the payment."""
    own = state.vault.stake_of(index)
    if own.unbonding == 0:
        raise Reverted("NothingUnbonding", {"index": index})
    if call.now < own.release_at:
        raise Reverted("UnbondingNotOver", {"index": index, "releaseAt": own.release_at})
    values = {"index": index, "account": state.registry.account_at(index), "amountWei": own.unbonding}
    return _done(state, with_stake(state.vault, index, replace(own, unbonding=0)), "StakeWithdrawn", values)


def slash(state: State, index: int, amount_wei: int) -> tuple[State, Event, int]:
    """State, event and what was taken after `slash`, which only the disputes can call."""
    vault, own = state.vault, state.vault.stake_of(index)
    staked = min(own.staked, amount_wei)
    unbonding = min(own.unbonding, amount_wei - staked)
    left = replace(own, staked=own.staked - staked, unbonding=own.unbonding - unbonding)
    following = replace(with_stake(vault, index, left), total_slashed=vault.total_slashed + staked + unbonding)
    event = Event(CONTRACT, "Slashed", {"index": index, "stakedWei": staked, "unbondingWei": unbonding})
    return replace(state, vault=following), event, staked + unbonding


def lock_bond(state: State, index: int, amount_wei: int) -> Outcome:
    """After `lockBond`, which only the disputes can call."""
    own = state.vault.stake_of(index)
    if amount_wei > own.staked:
        raise Reverted("StakeTooSmall", {"index": index, "stakedWei": own.staked, "foundWei": amount_wei})
    locked = replace(own, staked=own.staked - amount_wei, bonded=own.bonded + amount_wei)
    following = with_stake(state.vault, index, locked)
    return _done(state, following, "BondLocked", {"index": index, "amountWei": amount_wei})


def release_bond(state: State, index: int, amount_wei: int, is_forfeited: bool) -> Outcome:
    """After `releaseBond`, which only the disputes can call."""
    vault, own = state.vault, state.vault.stake_of(index)
    kept = 0 if is_forfeited else amount_wei
    freed = replace(own, bonded=own.bonded - amount_wei, staked=own.staked + kept)
    total = vault.total_slashed + amount_wei - kept
    following = replace(with_stake(vault, index, freed), total_slashed=total)
    values = {"index": index, "amountWei": amount_wei, "isForfeited": is_forfeited}
    return _done(state, following, "BondReleased", values)


def with_stake(vault: Vault, index: int, stake: Stake) -> Vault:
    """The vault in which this member has that stake."""
    return replace(vault, stakes={**vault.stakes, index: stake})


def _done(state: State, vault: Vault, name: str, values: Mapping[str, object]) -> Outcome:
    return replace(state, vault=vault), (Event(CONTRACT, name, values),)


def _check_taken(amount_wei: int, value_wei: int) -> None:
    if amount_wei != value_wei:
        raise Reverted("ValueMismatch", {"expected": amount_wei, "found": value_wei})
    if amount_wei == 0:
        raise Reverted("NothingFunded")


def _check_final(state: State, call: Call, result: RoundResult) -> None:
    ledger = state.ledger
    recorded = ledger.digest(result.round)
    if recorded == NOTHING:
        raise Reverted("RoundNotRecorded", {"round": result.round})
    if result.stored_digest() != recorded:
        values = {"round": result.round, "recorded": recorded, "found": result.struct_hash()}
        raise Reverted("ResultMismatch", values)
    if result.round <= state.vault.active_round:
        raise Reverted("RoundNotNewer", {"active": state.vault.active_round, "found": result.round})
    if call.now < ledger.paused_until:
        raise Reverted("RoundsPaused", {"until": ledger.paused_until})
    found = ledger.state_of(result.round, call.now)
    if found == VOID:
        raise Reverted("RoundIsVoid", {"round": result.round})
    if found in (OPEN, DISPUTED):
        raise Reverted("DisputeWindowOpen", {"round": result.round, "endsAt": ledger.final_at(result.round, call.now)})


def _check_proof(root: bytes, index: int, cumulative_wei: int, proof: Sequence[bytes]) -> None:
    if not is_proof(root, REWARD_LEAF, (index, cumulative_wei), proof):
        raise Reverted("InvalidProof", {"index": index, "cumulativeWei": cumulative_wei})


def _due(index: int, received: int, earned: int, left: int) -> int:
    if earned <= received:
        raise Reverted("NothingToClaim", {"index": index, "claimedWei": received})
    if earned - received > left:
        raise Reverted("ClaimsExceedTotal", {"unclaimedWei": left, "foundWei": earned - received})
    return earned - received
