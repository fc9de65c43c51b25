"""Which committee makes which round, from what the ledger shows: everybody reckons it alike, whoever was away too.

Promises: a round's committee is known before the round begins, and never changes afterwards.  A roster that came when
R rounds were recorded makes the rounds from R + LEAD_ROUNDS on, or from the first that the task before it has not; and
nobody begins a round before the ledger shows the one LEAD_ROUNDS earlier, after which no roster can come that makes it.
A version whose task nobody can read, or whose model has another shape, makes no rounds: the one before it goes on, so
that a mistake in a spec can be mended by another spec and stops nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from gossip.committee import Committee
from gossip.spec import TaskSpec
from ledger.periods import Period
from node.errors import ConfigError, TaskError
from node.training import Training

log = structlog.get_logger()

LEAD_ROUNDS: Final = 8
"""So far may the rounds be ahead of the ledger: it may be away for that long before they wait for it."""


def plan_of(periods: Sequence[Period]) -> tuple[Committee, ...]:
    """The committees in the order of their first rounds.

    Raises:
        ConfigError: the first version's spec cannot be used.
    """
    plan: list[Committee] = []
    for period in periods:
        try:
            spec = _spec_after(plan[-1].spec if plan else None, period.spec)
        except (ValueError, TaskError) as error:
            if not plan:
                raise ConfigError(f"the registry's task spec cannot be used: {error}") from error
            log.warning("roster.unusable", version=period.version, reason=str(error))
            continue
        signers = tuple(bytes.fromhex(address[2:]) for address in period.signers)
        first = 0
        if plan:
            before = plan[-1]
            first = max(before.first_round, min(period.recorded + LEAD_ROUNDS, before.spec.closing_round + 1))
        plan.append(Committee(period.config, signers, spec, first))
    return tuple(plan)


def _spec_after(before: TaskSpec | None, data: bytes) -> TaskSpec:
    """The spec in `data`, which can follow another one only if the model keeps its shape.

    Raises:
        ValueError: it cannot.
        TaskError: its training table means nothing here.
    """
    spec = TaskSpec.decode(data)
    Training.of(spec.training)
    if before is not None and spec.initial_model != before.initial_model:
        raise ValueError("it begins with another model, and the consortium goes on with the one it has")
    if before is not None and (spec.dimension, spec.features) != (before.dimension, before.features):
        raise ValueError(
            f"its model has {spec.dimension} parameters and {spec.features} features, and the consortium's "
            f"{before.dimension} and {before.features}: another shape needs a new deployment"
        )
    return spec


def rounds_to_wait_for(round_id: int) -> int:
    """How many rounds the ledger has to show before this one may begin."""
    return max(0, round_id - LEAD_ROUNDS + 1)
