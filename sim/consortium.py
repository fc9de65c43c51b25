"""Simulated hospitals that learn a built-in task: where a researcher begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from node import metrics
from node.baseline import train_alone
from node.builtin import TASKS, make_spec
from node.data import Hospital, breast_cancer_hospitals
from node.learner import TaskLearner, initial_model
from node.train import Rows, predict
from sim.scenario import Scenario
from sim.world import World


@dataclass(frozen=True)
class Quality:
    """Accuracy on the union of all hospitals' test rows.

    Attributes:
        federated: of the model that the consortium agreed on.
        pooled: of one trained on everybody's rows, which nobody could.
        local: of each hospital's own, trained alone.
    """

    federated: float
    pooled: float
    local: tuple[float, ...]


class Consortium:
    """Hospitals in one simulated world, each with its rows and its learner."""

    def __init__(
        self,
        hospitals: list[Hospital],
        rounds: int,
        seed: int,
        task: str = "breast-cancer",
        scenario: Scenario | None = None,
    ) -> None:
        self.rounds = rounds
        self.seed = seed
        with TemporaryDirectory() as folder:
            tasks = []
            for hospital in hospitals:
                path = Path(folder) / f"{hospital.name}.csv"
                hospital.write(path)
                tasks.append(TASKS[task](str(path)))
            self.spec = make_spec(tasks[0], rounds)
            self.learners = [TaskLearner(own, self.spec, seed * 100 + i) for i, own in enumerate(tasks)]
        self.world = World(self.spec, self.learners, initial_model(tasks[0]), seed=seed, scenario=scenario)

    @classmethod
    def of_breast_cancer(
        cls, members: int = 4, rounds: int = 5, seed: int = 1, scenario: Scenario | None = None
    ) -> Consortium:
        """569 real patients over hospitals with skewed labels and sizes."""
        return cls(breast_cancer_hospitals(members, seed), rounds, seed, scenario=scenario)

    def run(self) -> Quality:
        """Run every round, and compare what came of it with learning alone and with pooled rows."""
        self.world.run()
        learners, last = self.learners, self.spec.closing_round
        model = next(node.models[last] for node in self.world.nodes if last in node.models)
        labels = np.concatenate([learner.rows.test_y for learner in learners])
        federated = np.concatenate([learner.predict(model, learner.rows.test_x) for learner in learners])
        everything = _pool([learner.rows for learner in learners])
        return Quality(
            metrics.accuracy(federated, labels),
            self._alone(everything, everything),
            tuple(self._alone(learner.rows, everything) for learner in learners),
        )

    def _alone(self, rows: Rows, tested: Rows) -> float:
        first = self.learners[0]
        state, private = train_alone(first.task, rows, first.training, self.rounds, self.seed)
        return metrics.accuracy(predict(first.task, state, private, tested.test_x), tested.test_y)


def _pool(parts: list[Rows]) -> Rows:
    names = ("train_x", "train_y", "validation_x", "validation_y", "test_x", "test_y")
    return Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
