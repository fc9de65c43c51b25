from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from ledger.rewards import (
    DEAL_LEAF,
    REWARD_LEAF,
    deals_root,
    is_proof,
    merkle_proof,
    merkle_root,
    pack_scores,
    pay,
    rewards_proof,
    rewards_root,
    scores_digest,
    share_by_scores,
    unpack_scores,
)
from ledger.types import ABANDONED, CLOSING, EMPTY, SETTLED, STATISTICS, TRAINING, VaultTerms

TREES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "merkle.json").read_text())["trees"]
TERMS = VaultTerms(round_budget_wei=1000, participation_ppm=500_000, dispute_window_seconds=0)

SCORES = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=64)
BUDGETS = st.integers(0, 2**128 - 1)


def parsed(types: list[str], leaf: list[str]) -> list[object]:
    made = {"uint256": int, "address": str, "bytes32": lambda text: bytes.fromhex(text[2:])}
    return [made[kind](text) for kind, text in zip(types, leaf, strict=True)]


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: f"{len(tree['leaves'])} {tree['types'][1]}")
def test_trees_are_those_of_openzeppelin(tree: dict[str, Any]) -> None:
    leaves = [parsed(tree["types"], leaf) for leaf in tree["leaves"]]
    assert "0x" + merkle_root(tree["types"], leaves).hex() == tree["root"]
    for place, proof in enumerate(tree["proofs"]):
        assert ["0x" + part.hex() for part in merkle_proof(tree["types"], leaves, place)] == proof


@given(st.lists(st.integers(0, 2**200), min_size=1, max_size=40), st.data())
def test_a_proof_leads_to_the_root_for_its_own_leaf_alone(cumulative: list[int], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(cumulative) - 1))
    root, proof = rewards_root(cumulative), rewards_proof(cumulative, index)
    assert is_proof(root, REWARD_LEAF, (index, cumulative[index]), proof)
    assert not is_proof(root, REWARD_LEAF, (index, cumulative[index] + 1), proof)
    assert not is_proof(root, REWARD_LEAF, (index + 1, cumulative[index]), proof)


def test_there_is_no_proof_for_a_member_outside_the_roster() -> None:
    for index in (-1, 3):
        with pytest.raises(ValueError):
            rewards_proof([1, 2, 3], index)


def test_deals_are_leaves_of_the_dealers_alone() -> None:
    digests = {2: b"b" * 32, 0: b"a" * 32}
    assert deals_root(digests) == merkle_root(DEAL_LEAF, [(0, b"a" * 32), (2, b"b" * 32)])
    assert deals_root({}) == EMPTY


@given(SCORES)
def test_scores_come_back_as_they_were_packed(scores: list[int]) -> None:
    packed = pack_scores(scores)
    assert unpack_scores(packed, len(scores)) == tuple(scores)
    assert scores_digest(scores) == keccak(packed)


def test_no_scores_are_no_bytes_and_the_empty_digest() -> None:
    assert unpack_scores(b"", 4) is None
    assert scores_digest(None) == EMPTY


def test_scores_beyond_64_bits_or_of_another_roster_are_refused() -> None:
    for wrong in (2**63, -(2**63) - 1):
        with pytest.raises(ValueError):
            pack_scores([wrong])
    with pytest.raises(ValueError):
        unpack_scores(bytes(24), 4)


@pytest.mark.parametrize(
    ("scores", "budget", "expected"),
    [
        ([5, 5, 5], 100, (33, 33, 33)),
        ([0, -3, 0], 100, (0, 0, 0)),
        ([1, 1, 0], 1, (0, 0, 0)),
        # the floor: (100 + 100 + 5) // 3 // 10 = 6, so that 5 earns nothing and 100 counts as 94
        ([100, 100, 5], 188, (94, 94, 0)),
        ([-7, 1, 0], 9, (0, 9, 0)),
    ],
)
def test_scores_above_the_floor_share_the_budget(scores: list[int], budget: int, expected: tuple[int, ...]) -> None:
    assert share_by_scores(budget, scores) == expected


@given(BUDGETS, SCORES)
def test_shares_never_exceed_the_budget_and_lose_less_than_one_wei_each(budget: int, scores: list[int]) -> None:
    shares = share_by_scores(budget, scores)
    assert min(shares) >= 0
    lost = budget - sum(shares)
    assert lost == budget if max(scores) <= 0 else 0 <= lost < len(scores)


@given(BUDGETS, SCORES, st.randoms(use_true_random=False))
def test_pay_follows_the_score_and_not_the_place(budget: int, scores: list[int], random: Any) -> None:
    order = list(range(len(scores)))
    random.shuffle(order)
    shares = share_by_scores(budget, scores)
    assert share_by_scores(budget, [scores[place] for place in order]) == tuple(shares[place] for place in order)
    by_score = [share for _, share in sorted(zip(scores, shares, strict=True))]
    assert by_score == sorted(shares)


@given(BUDGETS, st.integers(0, 1_000_000), st.integers(3, 64), st.data())
def test_a_training_round_and_its_scores_cost_at_most_the_budget(
    budget: int, participation_ppm: int, n: int, data: st.DataObject
) -> None:
    terms = VaultTerms(budget, participation_ppm, 0)
    dealers = data.draw(st.integers(1, 2**n - 1))
    scores = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n))
    first = pay(terms, TRAINING, SETTLED, dealers, None, n)
    second = pay(terms, CLOSING, SETTLED, dealers, scores, n)
    assert sum(first) + sum(second) <= budget


def test_the_participation_part_is_shared_by_the_dealers_alone() -> None:
    assert pay(TERMS, TRAINING, SETTLED, 0b1011, None, 4) == (166, 166, 0, 166)


@pytest.mark.parametrize(
    ("kind", "outcome"), [(STATISTICS, SETTLED), (CLOSING, SETTLED), (TRAINING, ABANDONED), (STATISTICS, ABANDONED)]
)
def test_only_a_settled_training_round_pays_for_taking_part(kind: int, outcome: int) -> None:
    assert pay(TERMS, kind, outcome, 0b1111, None, 4) == (0, 0, 0, 0)


def test_scores_are_paid_whatever_became_of_the_round_that_carries_them() -> None:
    assert pay(TERMS, TRAINING, ABANDONED, 0, (1, 1, 0, 0), 4) == (250, 250, 0, 0)


def test_dealers_or_scores_of_another_roster_are_refused() -> None:
    with pytest.raises(ValueError):
        pay(TERMS, TRAINING, SETTLED, 0b10000, None, 4)
    with pytest.raises(ValueError):
        pay(TERMS, TRAINING, SETTLED, 0b1111, (1, 2, 3), 4)
