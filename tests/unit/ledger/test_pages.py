from __future__ import annotations

from itertools import pairwise

import pytest

from ledger.errors import TransactionFailed
from ledger.pages import FIRST_BLOCKS, FULL_LOGS, MOST_BLOCKS, Pages

REFUSAL = TransactionFailed("too many blocks")


def spans(pages: Pages, logs: int = 0, most: int = MOST_BLOCKS) -> list[tuple[int, int]]:
    """The spans that an endpoint answers which takes at most `most` blocks at once."""
    answered = []
    while (span := pages.span()) is not None:
        if span[1] - span[0] >= most:
            pages.refused(REFUSAL)
        else:
            answered.append(span)
            pages.answered(logs)
    return answered


@pytest.mark.parametrize(("logs", "most"), [(0, MOST_BLOCKS), (FULL_LOGS, MOST_BLOCKS), (0, 1), (3, 100), (0, 2500)])
def test_every_block_is_asked_about_once(logs: int, most: int) -> None:
    found = spans(Pages(7, 12_345), logs, most)
    assert (found[0][0], found[-1][1]) == (7, 12_345)
    assert all(after[0] == before[1] + 1 for before, after in pairwise(found))
    assert all(last - first < most for first, last in found)


def test_a_long_quiet_chain_takes_few_questions() -> None:
    assert len(spans(Pages(0, 15_000_000))) < 130


def test_full_answers_do_not_grow() -> None:
    assert {last - first for first, last in spans(Pages(0, 10 * FIRST_BLOCKS - 1), FULL_LOGS)} == {FIRST_BLOCKS - 1}


def test_crowded_blocks_are_asked_about_in_shorter_spans() -> None:
    found = spans(Pages(0, 10 * FIRST_BLOCKS), 2 * FULL_LOGS)
    assert [last - first + 1 for first, last in found[:3]] == [FIRST_BLOCKS, FIRST_BLOCKS // 2, FIRST_BLOCKS // 4]
    assert {last - first + 1 for first, last in found[-9:]} == {1}


def test_after_a_refusal_no_question_is_as_long_again() -> None:
    pages = Pages(0, 10**6)
    pages.refused(REFUSAL)
    assert max(last - first + 1 for first, last in spans(pages)) == FIRST_BLOCKS // 2


def test_a_refusal_about_one_block_is_raised() -> None:
    pages = Pages(5, 5)
    with pytest.raises(TransactionFailed, match="too many"):
        pages.refused(REFUSAL)


def test_no_blocks_are_no_questions() -> None:
    assert Pages(5, 4).span() is None
