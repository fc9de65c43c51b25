"""What a member with data and a model puts into a round, and what comes back to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gossip.spec import RoundKind, TaskSpec

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one member puts into a round, in floats, before clipping and rounding.

    Attributes:
        update: (D,) statistics or update of the shared parameters.
        weight: rows that it counts for.
        gradient: (d,) validation gradient at the round's starting model; None in round 0.
        gradient_weight: validation rows that it counts for.
    """

    update: Vector
    weight: int
    gradient: Vector | None = None
    gradient_weight: int = 0


@dataclass(frozen=True, slots=True)
class PublicSums:
    """What everybody learns of a round beside its average, and needs to score it in the next one.

    Attributes:
        gradient: (d,) sum of the quantised validation gradients; None in round 0.
        weight: sum of the dealers' weights.
        gradient_weight: sum of their gradients' weights.
    """

    gradient: NDArray[np.int64] | None
    weight: int
    gradient_weight: int


class Learner(Protocol):
    """The part of a member that has data and a model."""

    def follow(self, spec: TaskSpec) -> None:
        """Go by another version of the task from the next round on."""

    def contribute(self, model: bytes, kind: RoundKind, round_id: int) -> Contribution:
        """What this member deals, starting from a model file."""

    def apply(self, model: bytes, average: Vector, kind: RoundKind, public: PublicSums) -> bytes:
        """The model file after the round; the same bytes at every member."""

    def public_sums(self, model: bytes) -> PublicSums:
        """Those of the round that made a model file."""
