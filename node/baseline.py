"""Training alone: what a member would have without the consortium, always shown beside what it gets."""

from __future__ import annotations

from dataclasses import replace

import torch

from node.model import ModelState, first_state
from node.tasks import Task
from node.train import (
    Parameters,
    Rows,
    _double,
    compute_statistics,
    flatten,
    sgd,
    split_parameters,
    standardise,
)
from node.training import Training


def train_alone(task: Task, rows: Rows, training: Training, rounds: int, seed: int) -> tuple[ModelState, Parameters]:
    """A model of this member's rows only, with its own standardisation and as many steps as all rounds together."""
    model = _double(task)
    shared, private = split_parameters(task, model)
    features = rows.train_x.shape[1] if task.feature_ranges is not None else 0
    state = first_state(flatten(shared), features)
    if features:
        statistics, _ = compute_statistics(rows)
        mean, mean_square = statistics[:features], statistics[features:]
        state = replace(state, mean=mean, variance=(mean_square - mean * mean).clip(min=1e-9))
    x, y = standardise(state, rows.train_x), torch.from_numpy(rows.train_y)
    steps = replace(training, local_steps=training.local_steps * rounds)
    after = sgd(task, model, {**shared, **private}, x, y, steps, seed)
    return replace(state, shared=flatten({name: after[name] for name in shared})), {
        name: after[name] for name in private
    }
