"""Learners whose contributions are known in advance, so that sums can be checked against plain arithmetic."""

from __future__ import annotations

import msgspec
import numpy as np

from gossip.spec import MICRO, RoundKind, TaskSpec, blob_digest
from node.contribution import Contribution, PublicSums


class PlainModel(msgspec.Struct, array_like=True):
    """A model file of nothing but numbers."""

    shared: list[float]
    gradient: list[int] | None
    weight: int
    gradient_weight: int


def first_model(dimension: int) -> bytes:
    return msgspec.msgpack.encode(PlainModel([0.0] * dimension, None, 0, 0))


def small_spec(dimension: int = 5, rounds: int = 1, features: int = 2) -> TaskSpec:
    """A spec that `KnownLearner`s can take part in."""
    return TaskSpec(
        task="known numbers",
        dimension=dimension,
        features=features,
        rounds=rounds,
        clip_norm_micro=4 * MICRO,
        max_weight=100,
        gradient_clip_micro=2 * MICRO,
        max_gradient_weight=50,
        initial_model=blob_digest(first_model(dimension)).hex(),
    )


class KnownLearner:
    """Contributes a vector that follows from its index and the round."""

    def __init__(self, spec: TaskSpec, index: int) -> None:
        self.spec = spec
        self.index = index
        self.weight = 3 + index
        self.contributed: dict[int, Contribution] = {}

    def follow(self, spec: TaskSpec) -> None:
        """The task never changes here."""

    def contribute(self, model: bytes, kind: RoundKind, round_id: int) -> Contribution:
        rng = np.random.default_rng([self.index, round_id])
        update = rng.uniform(-0.5, 0.5, self.spec.update_size(round_id))
        if kind is RoundKind.STATISTICS:
            part = Contribution(update, self.weight)
        else:
            update *= kind is RoundKind.TRAINING
            part = Contribution(update, self.weight, rng.uniform(-0.3, 0.3, self.spec.dimension), 1 + self.index)
        self.contributed[round_id] = part
        return part

    def apply(self, model: bytes, average: np.ndarray, kind: RoundKind, public: PublicSums) -> bytes:
        old = msgspec.msgpack.decode(model, type=PlainModel)
        shared = np.asarray(old.shared) + (average if kind is RoundKind.TRAINING else 0.0)
        gradient = None if public.gradient is None else public.gradient.tolist()
        return msgspec.msgpack.encode(PlainModel(shared.tolist(), gradient, public.weight, public.gradient_weight))

    def public_sums(self, model: bytes) -> PublicSums:
        state = msgspec.msgpack.decode(model, type=PlainModel)
        gradient = None if state.gradient is None else np.asarray(state.gradient, dtype=np.int64)
        return PublicSums(gradient, state.weight, state.gradient_weight)
