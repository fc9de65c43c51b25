"""A round's result in the two forms it has: as members agree on it, and as the ledger takes it.

Members tell each other the scores themselves and write wei as 16 bytes; the ledger's form has the scores' digest, and
wei as a number.
"""

from __future__ import annotations

from gossip.results import scores_digest
from gossip.values import RoundResult as AgreedResult
from ledger.types import RoundRecord, RoundResult


def ledger_result(agreed: AgreedResult) -> RoundResult:
    """The agreed result in the ledger's form."""
    return RoundResult(
        round=agreed.round,
        kind=agreed.kind,
        outcome=agreed.outcome,
        previous=agreed.previous,
        config=agreed.config,
        dealers=agreed.dealers,
        model=agreed.model,
        deals=agreed.deals,
        scores=scores_digest(agreed.scores),
        rewards=agreed.rewards,
        rewards_total=int.from_bytes(agreed.rewards_total, "big"),
    )


def agreed_result(record: RoundRecord) -> AgreedResult:
    """A recorded result in the form in which members agree on it."""
    result = record.result
    return AgreedResult(
        round=result.round,
        kind=result.kind,
        outcome=result.outcome,
        previous=result.previous,
        config=result.config,
        dealers=result.dealers,
        model=result.model,
        deals=result.deals,
        scores=record.scores,
        rewards=result.rewards,
        rewards_total=result.rewards_total.to_bytes(16, "big"),
    )
