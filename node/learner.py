"""A member's task as the round's workshop sees it."""

from __future__ import annotations

import numpy as np
import torch

from gossip.spec import RoundKind, TaskSpec, digest
from node import train
from node.contribution import Contribution, PublicSums, Vector
from node.errors import TaskError
from node.model import ModelState, apply_average, decode, encode, first_state
from node.tasks import Task
from node.training import Training
from node.watch import Watch


class TaskLearner:
    """Trains one member's task; private parameters stay here.

    Attributes:
        private: private parameters by name, as local training left them.
    """

    def __init__(self, task: Task, spec: TaskSpec, seed: int, watch: Watch | None = None) -> None:
        torch.set_num_threads(1)
        self.task = task
        self.spec = spec
        self.seed = seed
        self.watch = watch or Watch()
        self.rows = train.Rows.of(task, task.load_data())
        self.training = Training.of(spec.training)
        shared, self.private = train.split_parameters(task, task.build_model())
        self._validate(train.flatten(shared))

    def follow(self, spec: TaskSpec) -> None:
        """Go by another version of the task from the next round on.

        Raises:
            TaskError: this member's task does not fit it.
        """
        self.training = Training.of(spec.training)
        self.spec = spec
        shared, _ = train.split_parameters(self.task, self.task.build_model())
        self._validate(train.flatten(shared))

    def contribute(self, model: bytes, kind: RoundKind, round_id: int) -> Contribution:
        """Statistics, an update, or nothing but a validation gradient.

        Raises:
            TrainingStopped: the others have ended the round meanwhile.
        """
        spec, state = self.spec, decode(model, self.spec)
        self.watch.begin(round_id)
        if kind is RoundKind.STATISTICS:
            if not spec.features:
                return Contribution(np.zeros(spec.update_size(round_id)), 1)
            statistics, rows = train.compute_statistics(self.rows)
            return Contribution(statistics, min(rows, spec.max_weight))
        gradient, checked = train.compute_validation_gradient(self.task, self.rows, state, self.private)
        update, rows = np.zeros(spec.dimension), 1
        if kind is RoundKind.TRAINING:
            seed = int.from_bytes(digest("training", self.seed.to_bytes(8, "big"), round_id.to_bytes(8, "big"))[:7])
            update, rows, self.private = train.compute_update(
                self.task, self.rows, state, self.private, self.training, seed, self.watch.step
            )
        return Contribution(update, min(rows, spec.max_weight), gradient, min(checked, spec.max_gradient_weight))

    def apply(self, model: bytes, average: Vector, kind: RoundKind, public: PublicSums) -> bytes:
        """The model file after the round."""
        return encode(apply_average(decode(model, self.spec), average, kind, public))

    def public_sums(self, model: bytes) -> PublicSums:
        """What the round that made this file left for scoring it."""
        return decode(model, self.spec).public_sums

    def predict(self, model: bytes, x: Vector) -> Vector:
        """(m,) probability of class 1 for scaled rows, with this member's private parameters."""
        return train.predict(self.task, decode(model, self.spec), self.private, x)

    def _validate(self, shared: Vector) -> None:
        spec, ranges = self.spec, self.task.feature_ranges
        if len(shared) != spec.dimension:
            raise TaskError(f"the task's model shares {len(shared)} numbers, and the consortium's {spec.dimension}")
        features = 0 if ranges is None else len(ranges)
        if features != spec.features:
            raise TaskError(f"the task standardises {features} features, and the consortium {spec.features}")


def initial_model(task: Task) -> bytes:
    """The model file before round 0, the same at every member."""
    shared, _ = train.split_parameters(task, task.build_model())
    features = 0 if task.feature_ranges is None else len(task.feature_ranges)
    return encode(first_state(train.flatten(shared), features))


__all__ = ["ModelState", "TaskLearner", "initial_model"]
