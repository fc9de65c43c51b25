"""What the contracts do, in plain Python: the same checks in the same order, names and integers.

Pure: every action takes a state and who calls when, and returns the next state with the events in their order, or
raises `Reverted` and changes nothing.  Tests hold it against the EVM, call by call.  Left out are gas, accounts that
refuse a payment, and tokens: the vault's money is the chain's own coin.

One module a contract: model_registry.py, model_rounds.py, model_vault.py, model_disputes.py; states and the counting
of signatures are in model_state.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.model_disputes import (
    challenge,
    lapse,
    prove_equivocation,
    prove_result_equivocation,
    rule_on_member,
    rule_on_round,
)
from ledger.model_registry import (
    admit,
    adopt_spec,
    found_registry,
    leave_roster,
    name_successor,
    propose_spec,
    remove,
    rotate,
)
from ledger.model_rounds import pause, submit_round
from ledger.model_state import Call, Disputes, Entry, Event, Ledger, Outcome, State, recover_signer
from ledger.model_vault import (
    activate,
    claim,
    claim_revenue,
    found_vault,
    fund,
    pay_revenue,
    request_unstake,
    stake,
    withdraw_stake,
)
from ledger.types import ZERO_ADDRESS, DisputeTerms, VaultTerms

__all__ = [
    "ZERO_ADDRESS", "Call", "Entry", "Event", "Outcome", "State", "activate", "admit", "adopt_spec", "challenge",
    "claim", "claim_revenue", "found", "found_registry", "found_vault", "fund", "lapse", "leave_roster",
    "name_successor",
    "pause", "pay_revenue", "propose_spec", "prove_equivocation", "prove_result_equivocation", "recover_signer",
    "remove", "request_unstake", "rotate", "rule_on_member", "rule_on_round", "stake", "submit_round",
    "withdraw_stake",
]  # fmt: skip


def found(
    chain_id: int,
    addresses: Mapping[str, str],
    members: Sequence[Entry],
    spec: bytes,
    terms: VaultTerms,
    disputes: DisputeTerms,
) -> State:
    """The four contracts as their deployment leaves them.

    Args:
        addresses: of registry, ledger, vault and disputes, by those names.

    Raises:
        Reverted: as a constructor.
    """
    others = (addresses["ledger"], addresses["vault"], addresses["disputes"])
    registry, _ = found_registry(chain_id, addresses["registry"], members, spec, *others)
    vault, _ = found_vault(terms, disputes)
    ledger = Ledger(terms.dispute_window_seconds, disputes.ruling_seconds)
    return State(chain_id, addresses, registry, ledger, vault, Disputes(disputes.bond_wei))
