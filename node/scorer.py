"""Scores of one round's dealers, which the members work out in the round after it.

What it promises: whoever ends the round with the same model has the same direction and the same terms, also after a
restart.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gossip import scores
from gossip.events import Answered, OpenScores, ScoresOpened
from gossip.layout import Layout
from gossip.parameters import Parameters
from gossip.spec import RoundKind, TaskSpec, digest
from gossip.values import SETTLED, RoundResult
from node.contribution import PublicSums

Words = NDArray[np.uint32]


class Scorer:
    """Scores the updates of one result.

    Args:
        scored: the result of the round before; None in round 0.

    Attributes:
        terms: what turns opened values into scores; None while no direction is fixed.
    """

    def __init__(self, spec: TaskSpec, scored: RoundResult | None) -> None:
        self._spec = spec
        self._scored = scored
        self._direction: scores.Direction | None = None
        self.terms: scores.Terms | None = None

    @property
    def is_due(self) -> bool:
        """Whether there are updates to score."""
        return self._scored is not None and (self._scored.kind, self._scored.outcome) == (RoundKind.TRAINING, SETTLED)

    def fix_direction(self, before: PublicSums, after: PublicSums, model: bytes) -> bytes:
        """The direction along which updates are scored; its digest, or nothing if there is none.

        Args:
            before, after: the public sums of the model that the scored round made, and of that of the round under way.
            model: the latter's digest, from which the direction's rounding is drawn.
        """
        if self._scored is None or before.gradient is None or after.gradient is None:
            return b""
        bound = scores.direction_bound(self._spec, self._scored.round)
        weights = (before.gradient_weight, after.gradient_weight)
        found = scores.compute_direction(before.gradient, after.gradient, *weights, bound, digest("beacon", model))
        self._direction = found
        self.terms = scores.Terms(found.numerator, found.shift, before.weight, weights)
        return digest("direction", found.values.astype("<i8").tobytes())

    def answer(self, shares: Iterable[tuple[int, Words]], layout: Layout, holder: int) -> Answered:
        """This holder's value for each dealer's share; nothing while no direction is fixed."""
        if self._direction is None:
            return Answered(())
        along = self._direction
        return Answered(tuple((dealer, scores.answer(along, share, layout, holder)) for dealer, share in shares))

    def open(self, work: OpenScores, parameters: Parameters) -> ScoresOpened | None:
        """The scores that enough answers agree on; None while they do not."""
        answers = {holder: dict(given) for holder, given in work.answers}
        opened, wrong = scores.open_scores(answers, work.dealers, parameters, work.excluded)
        if opened is None or self.terms is None:
            return None
        return ScoresOpened(scores.scores_of(opened, self.terms, self._spec, work.scored, parameters.n), wrong)
