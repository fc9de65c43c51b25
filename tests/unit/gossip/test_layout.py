from __future__ import annotations

import pytest

from gossip.errors import LocalError
from gossip.layout import Layout
from gossip.parameters import Parameters
from gossip.spec import TaskSpec

SPEC = TaskSpec(
    task="test", dimension=31, features=30, rounds=5, clip_norm_micro=1_000_000, max_weight=1000,
    gradient_clip_micro=1_000_000, max_gradient_weight=1000, initial_model="0" * 64,
)  # fmt: skip


@pytest.mark.parametrize(("round_id", "words"), [(0, 61), (1, 64), (5, 64), (6, 64)])
def test_a_payload_carries_a_gradient_except_in_round_0(round_id: int, words: int) -> None:
    assert Layout.for_round(Parameters.of_size(4), SPEC, round_id).words == words


def test_blocks_hold_all_words_and_masks_follow() -> None:
    layout = Layout(Parameters.of_size(16), 65)  # k = 4, 10 attempts
    assert (layout.blocks, layout.mask_blocks, layout.total_blocks) == (17, 60, 77)
    assert layout.masks(0) == slice(17, 23)
    assert layout.masks(9) == slice(71, 77)


@pytest.mark.parametrize("words", [0, -1])
def test_an_impossible_layout_cannot_be_built(words: int) -> None:
    with pytest.raises(LocalError):
        Layout(Parameters.of_size(4), words)


@pytest.mark.parametrize("attempt", [-1, 4])
def test_no_mask_exists_beyond_the_last_attempt(attempt: int) -> None:
    with pytest.raises(LocalError):
        Layout(Parameters.of_size(4), 10).masks(attempt)
