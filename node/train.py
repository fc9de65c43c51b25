"""Local training: what a member works out of its own rows, as functions of the model state and a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from node.errors import TaskError
from node.model import ModelState
from node.tasks import LocalData, Task, scale_features
from node.training import Training

Vector = NDArray[np.float64]
Parameters = dict[str, Tensor]

VALIDATION_EVERY = 4
"""Every fourth row for learning is kept for validation; the same rows in every round."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A member's rows, scaled to the task's public ranges, not yet standardised."""

    train_x: Vector
    train_y: NDArray[np.int64]
    validation_x: Vector
    validation_y: NDArray[np.int64]
    test_x: Vector
    test_y: NDArray[np.int64]

    @classmethod
    def of(cls, task: Task, data: LocalData) -> Rows:
        """Scaled rows, with a quarter of those for learning kept for validation."""
        x, y = scale_features(task, data.train_x), data.train_y
        kept = np.arange(len(x)) % VALIDATION_EVERY == VALIDATION_EVERY - 1
        return cls(x[~kept], y[~kept], x[kept], y[kept], scale_features(task, data.test_x), data.test_y)


def split_parameters(task: Task, model: nn.Module) -> tuple[Parameters, Parameters]:
    """(shared, private) parameters by name, in the model's order.

    Raises:
        TaskError: the task calls a parameter private that its model lacks.
    """
    named = {name: value.detach().to(torch.float64).clone() for name, value in model.named_parameters()}
    unknown = set(task.private) - set(named)
    if unknown:
        raise TaskError(f"the task keeps {sorted(unknown)} private, and its model has {sorted(named)}")
    shared = {name: value for name, value in named.items() if name not in task.private}
    return shared, {name: named[name] for name in named if name in task.private}


def flatten(parameters: Parameters) -> Vector:
    """(d,) all parameters after one another."""
    return torch.cat([value.reshape(-1) for value in parameters.values()]).numpy().copy()


def unflatten(vector: Vector, like: Parameters) -> Parameters:
    """Parameters of these shapes from a (d,) vector."""
    parts, start = {}, 0
    for name, value in like.items():
        part = vector[start : start + value.numel()]
        parts[name] = torch.from_numpy(np.array(part, dtype=np.float64)).reshape(value.shape)
        start += value.numel()
    return parts


def standardise(state: ModelState, x: Vector) -> Tensor:
    """(m, F) rows with the consortium's mean taken off, in units of its standard deviation."""
    if not len(state.mean):
        return torch.from_numpy(x)
    return torch.from_numpy((x - state.mean) / np.sqrt(state.variance))


def compute_statistics(rows: Rows) -> tuple[Vector, int]:
    """((2F,) means and mean squares of the scaled features for learning, rows)."""
    x = np.concatenate([rows.train_x, rows.validation_x])
    return np.concatenate([x.mean(axis=0), (x * x).mean(axis=0)]), len(x)


def compute_update(
    task: Task,
    rows: Rows,
    state: ModelState,
    private: Parameters,
    training: Training,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[Vector, int, Parameters]:
    """((d,) local minus start, rows, private parameters afterwards) of `local_steps` steps of SGD.

    Raises:
        TaskError: training ended in numbers that are not finite.
    """
    model = _double(task)
    shared, _ = split_parameters(task, model)
    start = unflatten(state.shared, shared)
    x, y = standardise(state, rows.train_x), torch.from_numpy(rows.train_y)
    after = sgd(task, model, {**start, **private}, x, y, training, seed, on_step)
    update = flatten({name: after[name] for name in start}) - state.shared
    if not np.isfinite(update).all():
        raise TaskError("local training ended in numbers that are not finite; lower the learning rate")
    return update, len(rows.train_x), {name: after[name] for name in private}


def compute_validation_gradient(task: Task, rows: Rows, state: ModelState, private: Parameters) -> tuple[Vector, int]:
    """((d,) gradient of the mean loss over the validation rows at the shared parameters, rows)."""
    model = _double(task)
    shared, _ = split_parameters(task, model)
    if not len(rows.validation_x):
        return np.zeros(len(state.shared)), 0
    start = {name: value.requires_grad_() for name, value in unflatten(state.shared, shared).items()}
    outputs = functional_call(model, {**start, **private}, (standardise(state, rows.validation_x),))
    loss = task.loss(outputs, torch.from_numpy(rows.validation_y))
    gradients = torch.autograd.grad(loss, list(start.values()))
    return torch.cat([g.reshape(-1) for g in gradients]).numpy().copy(), len(rows.validation_x)


def sgd(
    task: Task,
    model: nn.Module,
    start: Parameters,
    x: Tensor,
    y: Tensor,
    training: Training,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> Parameters:
    """Parameters after `local_steps` steps on batches drawn with a generator of their own; `on_step` before each."""
    generator = torch.Generator().manual_seed(seed)
    names = [name for name, _ in model.named_parameters()]
    values = [start[name].clone().requires_grad_() for name in names]
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(training.local_steps):
        on_step()
        if len(order) < min(training.batch_size, len(x)):
            order = torch.randperm(len(x), generator=generator)
        batch, order = order[: training.batch_size], order[training.batch_size :]
        outputs = functional_call(model, dict(zip(names, values, strict=True)), (x[batch],))
        gradients = torch.autograd.grad(task.loss(outputs, y[batch]), values)
        with torch.no_grad():
            for value, gradient in zip(values, gradients, strict=True):
                value -= training.learning_rate * (gradient + training.l2 * value)
    return {name: value.detach() for name, value in zip(names, values, strict=True)}


def predict(task: Task, state: ModelState, private: Parameters, x: Vector) -> Vector:
    """(m,) probability of class 1 for scaled rows."""
    model = _double(task)
    shared, _ = split_parameters(task, model)
    with torch.no_grad():
        parameters = {**unflatten(state.shared, shared), **private}
        outputs = functional_call(model, parameters, (standardise(state, x),))
        return task.probabilities(outputs).numpy().astype(np.float64)


def _double(task: Task) -> nn.Module:
    return task.build_model().to(torch.float64)
