"""The EIP-712 hash of a round's result, as the RoundLedger computes it."""

from __future__ import annotations

from functools import lru_cache

from eth_hash.auto import keccak

from gossip.committee import Committee
from gossip.messages import MAX_HISTORY
from gossip.statements import Domain, recovers, typed_data_digest
from gossip.values import SETTLED, RoundResult

_RESULT_TYPE = keccak(
    b"RoundResult(uint64 round,uint8 kind,uint8 outcome,bytes32 previous,bytes32 config,uint256 dealers,"
    b"bytes32 model,bytes32 deals,bytes32 scores,bytes32 rewards,uint128 rewardsTotal)"
)


def pack_scores(scores: tuple[int, ...]) -> bytes:
    """Eight big-endian bytes for each roster index."""
    return b"".join(score.to_bytes(8, "big", signed=True) for score in scores)


def scores_digest(scores: tuple[int, ...] | None) -> bytes:
    """keccak256 of the packed scores; zero where nothing was scored."""
    return bytes(32) if scores is None else keccak(pack_scores(scores))


@lru_cache(maxsize=256)
def result_digest(result: RoundResult) -> bytes:
    """hashStruct of the result: what the next result names, and what the ledger stores; 32 bytes."""
    numbers = (result.round, result.kind, result.outcome)
    return keccak(
        _RESULT_TYPE
        + b"".join(number.to_bytes(32, "big") for number in numbers)
        + result.previous
        + result.config
        + result.dealers.to_bytes(32, "big")
        + result.model
        + result.deals
        + scores_digest(result.scores)
        + result.rewards
        + result.rewards_total.rjust(32, b"\0")
    )


def result_signing_digest(result: RoundResult, domain: Domain) -> bytes:
    """The 32 bytes that a member signs for the ledger."""
    return typed_data_digest(domain, result_digest(result))


def is_history(previous: RoundResult | None, history: tuple[RoundResult, ...]) -> bool:
    """Whether these are the results before `previous`, newest first: back to one that settled, if it did not."""
    last = previous
    for result in history:
        if last is None or last.outcome == SETTLED or result_digest(result) != last.previous:
            return False
        last = result
    return len(history) == MAX_HISTORY or is_whole(previous, history)


def is_whole(previous: RoundResult | None, history: tuple[RoundResult, ...]) -> bool:
    """Whether a history reaches back to a result that settled, or to the first round."""
    last = history[-1] if history else previous
    return last is None or last.outcome == SETTLED or last.previous == bytes(32)


def is_signed(
    committee: Committee, domain: Domain, result: RoundResult, signatures: tuple[tuple[int, bytes], ...]
) -> bool:
    """Whether a quorum of the committee signed its result; `signatures` in ascending order of members."""
    signed = result_signing_digest(result, domain)
    for member, signature in signatures:
        # [REJECT] A result is signed by members
        if member >= len(committee.keys):
            return False
        # [REJECT] Each signature of a result is that member's
        if not recovers(signed, signature, committee.keys[member]):
            return False
    # [REJECT] A quorum of distinct members signs a result
    return len(signatures) >= committee.parameters.quorum
