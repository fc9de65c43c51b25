"""`mycelia claim`: everything that is due to one member, its rewards and its part of the revenue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from ledger.errors import Reverted
from node.chain import client_of
from node.commands import opened
from node.keys import Keys, find_member

if TYPE_CHECKING:
    from ledger.books import Shared
    from ledger.client import LedgerClient
    from ledger.types import Roster

log = structlog.get_logger()


@dataclass
class Claimed:
    """What one claim brought to the member's account.

    Attributes:
        reward_wei: for its contributions.
        revenue_wei: of what others paid for the model, by the round whose rewards share it.
    """

    reward_wei: int = 0
    revenue_wei: dict[int, int] = field(default_factory=dict)

    @property
    def paid_wei(self) -> int:
        """All of it."""
        return self.reward_wei + sum(self.revenue_wei.values())


def claim(folder: Path, rpc: str | None, registry: str | None, above_wei: int, as_json: bool) -> None:
    """Claim what is due to the member in `folder`; print what was paid."""
    config, keys = opened(folder, rpc, registry)
    paid = claim_for(client_of(config.ledger), keys, above_wei)
    if as_json:
        sums = {"paid_wei": paid.paid_wei, "reward_wei": paid.reward_wei, "revenue_wei": paid.revenue_wei}
        print(json.dumps(sums))
    else:
        print(paid.paid_wei)


def claim_for(client: LedgerClient, keys: Keys, above_wei: int = 0) -> Claimed:
    """What was paid to the member with these keys: rewards that can be disputed no more, and all of its revenue.

    Args:
        above_wei: payments of no more than this are left for later; anybody may have paid dust as revenue.

    Raises:
        Reverted: a payment is refused; those before it are made.
        BooksMismatch: the rewards do not follow from the scores.
    """
    from ledger.books import compute_shared

    own = own_entries(client.roster(), keys)
    paid = Claimed()
    for me in own:
        _claim_reward(client, keys, me, above_wei, paid)
    shared = compute_shared(client)
    for me in own:
        _claim_revenue(client, keys, me, shared, above_wei, paid)
    return paid


def own_entries(roster: Roster, keys: Keys) -> tuple[int, ...]:
    """The roster indices of the member with these keys: who left and came back earned under two.

    Raises:
        ConfigError: the registry does not know them.
    """
    me = find_member(roster, keys)
    former = (member.index for member in roster.members if member.signer == keys.signer_address)
    return (me, *(index for index in former if index != me))


def _claim_reward(client: LedgerClient, keys: Keys, me: int, above_wei: int, paid: Claimed) -> None:
    from ledger.books import earned_after
    from ledger.rewards import rewards_proof

    already = client.claimed_wei(me)
    _activate(client, keys, me, already + above_wei)
    active = client.active_round()
    _, earned = earned_after(client, active) if active else (None, ())
    due = _part(earned, me) - already
    if due <= above_wei:
        return
    if tx := _unless_paid(partial(client.claim, keys.signer, me, earned[me], rewards_proof(earned, me))):
        paid.reward_wei += due
        log.info("reward.claimed", member=me, wei=due, tx=tx)


def _activate(client: LedgerClient, keys: Keys, me: int, above_wei: int) -> None:
    """Makes the newest final rewards active, if the member has earned more in them."""
    from ledger.books import earned_after

    if (payable := client.payable_round() or 0) <= client.active_round():
        return
    result, earned = earned_after(client, payable)
    if _part(earned, me) <= above_wei or result.rewards == client.active_root():
        return
    try:
        client.activate(keys.signer, result)
    except Reverted as refused:
        # A pause, or a vault without funds, stops what is new; what was active before is paid all the same.
        log.warning("rewards.not_activated", round=payable, reason=str(refused))


def _claim_revenue(
    client: LedgerClient, keys: Keys, me: int, shared: Iterable[Shared], above_wei: int, paid: Claimed
) -> None:
    from ledger.rewards import rewards_proof

    for part in shared:
        round_id, earned = part.revenue.round_id, part.earned
        due = part.part_wei(me) - part.claimed_wei(client, me)
        if due <= above_wei:
            continue
        proof = rewards_proof(earned, me)
        if tx := _unless_paid(partial(client.revenue.claim, keys.signer, round_id, me, earned[me], proof)):
            paid.revenue_wei[round_id] = paid.revenue_wei.get(round_id, 0) + due
            log.info("revenue.claimed", round=round_id, member=me, wei=due, tx=tx)


def _unless_paid(send: Callable[[], str]) -> str | None:
    """Hash of the transaction; None if somebody else has claimed the same for the member in the meantime."""
    try:
        return send()
    except Reverted as refused:
        if refused.name != "NothingToClaim":
            raise
        return None


def _part(earned: tuple[int, ...], index: int) -> int:
    return earned[index] if index < len(earned) else 0
