"""How good predictions are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def accuracy(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float | Any:
    """Share of rows whose class is the more probable one; None where there are no rows.

    Not `float | None`, so that those who know that there are rows need not ask again.
    """
    if not len(labels):
        return None
    return float(((probabilities >= 0.5) == (labels == 1)).mean())


def auc(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve; None where there is one class only.

    Source: Mann and Whitney 1947; ties count half.
    """
    positive = labels == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return None
    _, inverse, sizes = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[inverse]
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))
