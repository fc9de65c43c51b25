"""The model file that a round starts from and ends with: canonical bytes, the same at every member.

It holds what is public: the shared parameters, the standardisation statistics, and the sums that the next round needs
to score this one.  Private parameters never enter it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from gossip.errors import MalformedMessage
from gossip.spec import RoundKind, TaskSpec
from node.contribution import PublicSums

Vector = NDArray[np.float64]

SMALLEST_VARIANCE = 1e-9
"""Of a feature scaled to [-1, 1]; a constant feature is standardised to zero, not divided by it."""


@dataclass(frozen=True)
class ModelState:
    """What a model file says.

    Attributes:
        shared: (d,) shared parameters, in the order of `named_parameters`.
        mean: (F,) of each feature, scaled to [-1, 1].
        variance: (F,) of each feature, scaled to [-1, 1].
        gradient: (d,) sum of the quantised validation gradients of the round that made it; zeros in round 0.
        weights: (3,) whether there are gradients, sum of the updates' weights, sum of the gradients' weights.
    """

    shared: Vector
    mean: Vector
    variance: Vector
    gradient: NDArray[np.int64]
    weights: NDArray[np.int64]

    @property
    def public_sums(self) -> PublicSums:
        has_gradient, weight, gradient_weight = (int(number) for number in self.weights)
        return PublicSums(self.gradient if has_gradient else None, weight, gradient_weight)


def first_state(shared: Vector, features: int) -> ModelState:
    """The state before round 0: unscaled features, nothing summed."""
    return ModelState(
        shared.astype(np.float64),
        np.zeros(features),
        np.ones(features),
        np.zeros(len(shared), dtype=np.int64),
        np.zeros(3, dtype=np.int64),
    )


def encode(state: ModelState) -> bytes:
    """Canonical safetensors bytes."""
    data: bytes = safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in vars(state).items()})
    return data


def decode(data: bytes, spec: TaskSpec) -> ModelState:
    """The state in a model file.

    Raises:
        MalformedMessage: not the canonical model file of a task with these dimensions.
    """
    d, f = spec.dimension, spec.features
    shapes = {"shared": (d,), "mean": (f,), "variance": (f,), "gradient": (d,), "weights": (3,)}
    longest = 16 * (d + f) + 4096
    if len(data) > longest:
        raise MalformedMessage(f"a model file of this task has at most {longest} bytes, found {len(data)}")
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise MalformedMessage(f"not a model file: {error}") from error
    if {name: value.shape for name, value in tensors.items()} != shapes:
        raise MalformedMessage("the model file is of another task: its shapes differ")
    state = ModelState(**{name: tensors[name] for name in shapes})
    is_finite = all(np.isfinite(value).all() for value in (state.shared, state.mean, state.variance))
    if not is_finite or encode(state) != data:
        raise MalformedMessage("the model file is not in its canonical form")
    return state


def apply_average(state: ModelState, average: Vector, kind: RoundKind, public: PublicSums) -> ModelState:
    """The state after a round, elementwise in float64, so that every member has the same bits."""
    gradient = np.zeros_like(state.gradient) if public.gradient is None else public.gradient
    weights = np.array([public.gradient is not None, public.weight, public.gradient_weight], dtype=np.int64)
    after = replace(state, gradient=gradient.astype(np.int64), weights=weights)
    if kind is RoundKind.STATISTICS and len(state.mean):
        mean, mean_square = average[: len(state.mean)], average[len(state.mean) :]
        variance = np.maximum(mean_square - mean * mean, SMALLEST_VARIANCE)
        return replace(after, mean=mean, variance=variance)
    if kind is RoundKind.TRAINING:
        return replace(after, shared=state.shared + average)
    return after
