"""How good each member's models are on its own test rows and on the union of all: the demo alone can see that union."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gossip.spec import TaskSpec
from node import metrics, train
from node.assemble import LOCAL_MODEL_FILE, PRIVATE_FILE
from node.baseline import train_alone
from node.builtin import builtin_task, make_spec
from node.model import ModelState, decode, first_state
from node.store import STORE_FILE, Store
from node.tasks import Task
from node.train import Parameters, Rows
from node.training import Training

if TYPE_CHECKING:
    from pathlib import Path

    from node.demo import Stage


def member_qualities(stage: Stage) -> dict[str, dict[str, Any]]:
    """For each member: rows, and accuracy and AUC of its local and its federated model, own rows and union.

    A member that was killed and never came back has the model that the others agreed on.
    """
    tasks = {name: builtin_task(stage.plan.data, stage.home(name)) for name in stage.names}
    rows = {name: Rows.of(tasks[name], tasks[name].load_data()) for name in stage.names}
    labels = np.concatenate([rows[name].test_y for name in stage.names])
    spec = make_spec(tasks[stage.names[0]], stage.plan.rounds)
    model = _latest_model(stage, spec)
    federated = {
        name: train.predict(
            tasks[name], model, _private(stage.home(name) / PRIVATE_FILE, tasks[name]), rows[name].test_x
        )
        for name in stage.names
    }
    union = np.concatenate([federated[name] for name in stage.names])
    qualities = {}
    for name in stage.names:
        state, kept = _local(stage, name, tasks[name], rows[name], spec)
        local = {other: train.predict(tasks[name], state, kept, rows[other].test_x) for other in stage.names}
        everywhere = np.concatenate([local[other] for other in stage.names])
        own = rows[name]
        qualities[name] = {
            "rows": len(own.train_y) + len(own.validation_y) + len(own.test_y),
            "local": _quality(everywhere, labels, local[name], own.test_y),
            "federated": _quality(union, labels, federated[name], own.test_y),
        }
    return qualities


def _quality(union: train.Vector, labels: Any, own: train.Vector, own_labels: Any) -> dict[str, float | None]:
    return {
        "accuracy": metrics.accuracy(union, labels),
        "auc": metrics.auc(union, labels),
        "own_accuracy": metrics.accuracy(own, own_labels),
        "own_auc": metrics.auc(own, own_labels),
    }


def _latest_model(stage: Stage, spec: TaskSpec) -> ModelState:
    latest: tuple[int, bytes] = (-1, b"")
    for name in stage.names:
        store = Store(stage.home(name) / STORE_FILE)
        try:
            found = store.latest_checkpoint()
        finally:
            store.close()
        if found is not None and found[0] > latest[0]:
            latest = (found[0], found[2])
    return decode(latest[1], spec)


def _private(path: Path, task: Task) -> Parameters:
    """The private parameters in a file, or the task's own where the node never wrote any."""
    _, private = train.split_parameters(task, task.build_model())
    if not path.exists():
        return private
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[f"private.{name}"]) for name in private}


def _local(stage: Stage, name: str, task: Task, rows: Rows, spec: TaskSpec) -> tuple[ModelState, Parameters]:
    """The model that the node trained alone; made here for a node that was killed before it could."""
    path = stage.home(name) / LOCAL_MODEL_FILE
    if not path.exists():
        return train_alone(task, rows, Training.of(spec.training), spec.rounds, stage.plan.seed)
    with np.load(path, allow_pickle=False) as arrays:
        state = first_state(arrays["shared"], len(arrays["mean"]))
        return replace(state, mean=arrays["mean"], variance=arrays["variance"]), _private(path, task)
