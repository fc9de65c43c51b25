"""Numbers that do not exist are said to be none, so that a report stays JSON."""

from __future__ import annotations

import numpy as np
import pytest

from node import metrics


@pytest.mark.parametrize(
    ("labels", "accuracy", "auc"), [([], None, None), ([1], 1.0, None), ([0, 0], 0.5, None), ([1, 0], 0.5, 0.5)]
)
def test_a_share_of_no_rows_is_none(labels: list[int], accuracy: float | None, auc: float | None) -> None:
    probabilities = np.array([0.7, 0.7 if auc else 0.2][: len(labels)])
    y = np.array(labels, dtype=np.int64)
    assert metrics.accuracy(probabilities, y) == accuracy
    assert metrics.auc(probabilities, y) == auc
