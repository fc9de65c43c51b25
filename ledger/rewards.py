"""Pay and the trees that commit to it, in integers: everyone computes the same wei and the same root."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger.types import EMPTY, PPM, SETTLED, TRAINING, VaultTerms, members_of

SCORE_BYTES: Final = 8
FLOOR_DIVISOR: Final = 10
"""A score below a tenth of the mean positive one earns nothing: noise would be paid for otherwise."""

REWARD_LEAF: Final = ("uint256", "uint256")
DEAL_LEAF: Final = ("uint256", "bytes32")


def pack_scores(scores: Sequence[int]) -> bytes:
    """The scores as the ledger's event carries them: int64 big-endian per roster index.

    Raises:
        ValueError: a score does not fit 64 bits.
    """
    try:
        return struct.pack(f">{len(scores)}q", *scores)
    except struct.error as error:
        raise ValueError(f"a score does not fit 64 bits: {error}") from error


def unpack_scores(data: bytes, n: int) -> tuple[int, ...] | None:
    """The scores of `n` members, parts per million of loss; None if `data` is empty (unscored).

    Raises:
        ValueError: neither empty nor 8 bytes a member.
    """
    if not data:
        return None
    if len(data) != SCORE_BYTES * n:
        raise ValueError(f"the scores of {n} members take {SCORE_BYTES * n} bytes, found {len(data)}")
    return struct.unpack(f">{n}q", data)


def scores_digest(scores: Sequence[int] | None) -> bytes:
    """What a result carries for these scores; `EMPTY` if there are none."""
    return EMPTY if scores is None else keccak(pack_scores(scores))


def pay(
    terms: VaultTerms, kind: int, outcome: int, dealers: int, scores: Sequence[int] | None, n: int
) -> tuple[int, ...]:
    """Wei that one result adds to each of `n` members; what does not divide stays in the pool.

    A settled training round shares the participation part equally among its `dealers` (bitmap).  A result
    that carries scores shares the rest in proportion to what each score has above the floor.

    Raises:
        ValueError: a dealer is outside the roster, or the scores are not those of n members.

    Source: DESIGN.md, 4.1.
    """
    if dealers >> n:
        raise ValueError(f"a dealer is outside the roster of {n}: {dealers:#x}")
    if scores is not None and len(scores) != n:
        raise ValueError(f"the scores of {n} members, found {len(scores)}")
    participation = terms.round_budget_wei * terms.participation_ppm // PPM
    added = [0] * n
    if kind == TRAINING and outcome == SETTLED and dealers:
        for index in members_of(dealers):
            added[index] += participation // dealers.bit_count()
    if scores is not None:
        for index, wei in enumerate(share_by_scores(terms.round_budget_wei - participation, scores)):
            added[index] += wei
    return tuple(added)


def share_by_scores(budget_wei: int, scores: Sequence[int]) -> tuple[int, ...]:
    """Wei of `budget_wei` for each score, rounded down; nothing to anyone if no score exceeds the floor."""
    positive = [score for score in scores if score > 0]
    if not positive:
        return (0,) * len(scores)
    floor = sum(positive) // len(positive) // FLOOR_DIVISOR
    excess = [max(0, score - floor) for score in scores]
    total = sum(excess)  # never 0: the largest positive score exceeds a tenth of the mean
    return tuple(budget_wei * part // total for part in excess)


def merkle_root(leaf_types: Sequence[str], leaves: Sequence[Sequence[object]]) -> bytes:
    """Root of OpenZeppelin's StandardMerkleTree over `leaves`; `EMPTY` if there are none."""
    return _tree(_hashes(leaf_types, leaves))[0] if leaves else EMPTY


def merkle_proof(leaf_types: Sequence[str], leaves: Sequence[Sequence[object]], place: int) -> tuple[bytes, ...]:
    """Sibling hashes from leaf number `place` of `leaves` to the root.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= place < len(leaves):
        raise ValueError(f"leaf {place} of {len(leaves)}")
    hashes = _hashes(leaf_types, leaves)
    tree = _tree(hashes)
    node = len(tree) - 1 - sorted(range(len(hashes)), key=hashes.__getitem__).index(place)
    proof = []
    while node > 0:
        proof.append(tree[node + 1 if node % 2 else node - 1])
        node = (node - 1) // 2
    return tuple(proof)


def is_proof(root: bytes, leaf_types: Sequence[str], leaf: Sequence[object], proof: Sequence[bytes]) -> bool:
    """Whether `proof` leads from `leaf` to `root`, as the vault judges it."""
    node = leaf_hash(leaf_types, leaf)
    for sibling in proof:
        node = _join(node, sibling)
    return node == root


def leaf_hash(leaf_types: Sequence[str], leaf: Sequence[object]) -> bytes:
    """Hashed twice, so that no leaf can pass for an inner node."""
    return keccak(keccak(encode(leaf_types, leaf)))


def rewards_root(cumulative: Sequence[int]) -> bytes:
    """Root over (roster index, cumulative reward in wei) of every member."""
    return _rewards_tree(tuple(cumulative))[0]


def rewards_proof(cumulative: Sequence[int], index: int) -> tuple[bytes, ...]:
    """Proof for the member with roster index `index`."""
    return merkle_proof(REWARD_LEAF, list(enumerate(cumulative)), index)


def deals_root(deals: Mapping[int, bytes]) -> bytes:
    """Root over (roster index, Deal digest) of the dealers; `EMPTY` if there are none."""
    return merkle_root(DEAL_LEAF, sorted(deals.items()))


@lru_cache(maxsize=256)
def _rewards_tree(cumulative: tuple[int, ...]) -> tuple[bytes, ...]:
    if not cumulative:
        return (EMPTY,)
    # Both words are static, so that their encoding needs no ABI library: this runs in every simulated round.
    words = [index.to_bytes(32, "big") + wei.to_bytes(32, "big") for index, wei in enumerate(cumulative)]
    return tuple(_tree([keccak(keccak(word)) for word in words]))


def _hashes(leaf_types: Sequence[str], leaves: Sequence[Sequence[object]]) -> list[bytes]:
    return [leaf_hash(leaf_types, leaf) for leaf in leaves]


def _tree(hashes: Sequence[bytes]) -> list[bytes]:
    """Complete binary tree as an array, root first, the sorted leaves from the end backwards.

    Source: @openzeppelin/merkle-tree, core.ts, makeMerkleTree.
    """
    size = 2 * len(hashes) - 1
    tree = [b""] * size
    for place, leaf in enumerate(sorted(hashes)):
        tree[size - 1 - place] = leaf
    for node in range(size - 1 - len(hashes), -1, -1):
        tree[node] = _join(tree[2 * node + 1], tree[2 * node + 2])
    return tree


def _join(left: bytes, right: bytes) -> bytes:
    return keccak(left + right if left < right else right + left)
