"""A member's model and data, as it brings them: a *task* is a Python object, and the built-in ones are examples."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from node.errors import TaskError

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class LocalData:
    """One institution's rows, as they are: nothing is standardised yet.

    Attributes:
        train_x, train_y: (m, F) features and (m,) labels to learn from.
        test_x, test_y: rows that nothing is learnt from.
    """

    train_x: Rows
    train_y: Labels
    test_x: Rows
    test_y: Labels

    def __post_init__(self) -> None:
        for name, x, y in (("train", self.train_x, self.train_y), ("test", self.test_x, self.test_y)):
            if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
                raise TaskError(f"the {name} rows are (m, F) features and (m,) labels, found {x.shape} and {y.shape}")
            if not np.isfinite(x).all():
                raise TaskError(f"the {name} rows hold numbers that are not finite; fill or drop missing values first")
        if not len(self.train_x):
            raise TaskError("there are no rows to train on")


@runtime_checkable
class Task(Protocol):
    """What a member brings.

    Attributes:
        name: of the task, the same at every member.
        feature_ranges: (low, high) of each feature that anybody may know, such as from the data dictionary; features
            are scaled with them to [-1, 1] before their means are summed in secret.  None: nothing is standardised.
        private: names of the parameters that are never shared.
    """

    @property
    def name(self) -> str: ...

    @property
    def feature_ranges(self) -> Sequence[tuple[float, float]] | None: ...

    @property
    def private(self) -> Sequence[str]: ...

    def build_model(self) -> nn.Module:
        """A model with its starting parameters, the same at every member."""

    def load_data(self) -> LocalData:
        """This member's rows."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of a batch."""

    def probabilities(self, outputs: Tensor) -> Tensor:
        """(m,) probability of class 1."""


@dataclass
class CsvClassification:
    """Two classes, a CSV file of numbers with a header, logistic regression: the simplest task.

    Attributes:
        path: the file.
        label: its column with 0 or 1.
        ranges: (low, high) of each feature column, by name; columns that are not named here are not used.
        name: of the task.
        private: "bias" keeps the intercept at home; see `Task`.
        split: a column with "train" or "test"; without it every fourth row is for testing.
    """

    path: Path | str
    label: str
    ranges: dict[str, tuple[float, float]]
    name: str = "csv"
    private: Sequence[str] = ()
    split: str | None = None
    feature_ranges: Sequence[tuple[float, float]] = field(init=False)

    def __post_init__(self) -> None:
        self.feature_ranges = tuple(self.ranges.values())

    def build_model(self) -> nn.Module:
        model = nn.Linear(len(self.ranges), 1)
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        return model

    def load_data(self) -> LocalData:
        rows = _read_csv(Path(self.path), [*self.ranges, self.label, *([self.split] if self.split else [])])
        x = np.array([[_number(row, name, self.path) for name in self.ranges] for row in rows], dtype=np.float64)
        y = np.array([int(_number(row, self.label, self.path)) for row in rows], dtype=np.int64)
        if not set(y) <= {0, 1}:
            raise TaskError(
                f"the column {self.label!r} of {self.path} holds 0 and 1, found {sorted(set(y.tolist()))[:5]}"
            )
        column = self.split
        test = np.arange(len(rows)) % 4 == 3 if column is None else np.array([row[column] == "test" for row in rows])
        return LocalData(x[~test], y[~test], x[test], y[test])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(outputs.squeeze(-1), targets.to(outputs.dtype))

    def probabilities(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs.squeeze(-1))


def load_task(reference: str, options: dict[str, str], folder: Path) -> Task:
    """The task that `module:object` names: an object, or a function that makes one from `options`.

    The node's own folder is searched first, so that a member's own `my_task.py` needs no installation.

    Raises:
        TaskError: it cannot be imported, or is no task.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise TaskError(f"a task is named as module:object, found {reference!r}")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise TaskError(f"the task {reference!r} cannot be imported: {error}; is its file in {folder}?") from error
    found = getattr(module, attribute, None)
    if found is None:
        raise TaskError(f"the module {module_name!r} has no {attribute!r}")
    task = _made(found, reference, options) if isinstance(found, type) or not isinstance(found, Task) else found
    if not isinstance(task, Task):
        raise TaskError(f"{reference!r} is no task: it lacks {', '.join(_lacking(task))}")
    return task


def scale_features(task: Task, rows: Rows) -> Rows:
    """Rows with each feature scaled from its public range to [-1, 1] and cut there; unchanged without ranges."""
    if task.feature_ranges is None:
        return rows
    bounds = np.asarray(task.feature_ranges, dtype=np.float64)  # (F, 2)
    if rows.shape[1] != len(bounds):
        raise TaskError(f"the task names ranges of {len(bounds)} features, and its rows have {rows.shape[1]}")
    low, high = bounds[:, 0], bounds[:, 1]
    return np.clip(2 * (rows - low) / (high - low) - 1, -1.0, 1.0)


def _made(found: object, reference: str, options: dict[str, str]) -> object:
    if not isinstance(found, Callable):  # type: ignore[arg-type]
        return found
    try:
        return found(**options)  # type: ignore[operator]
    except TypeError as error:
        raise TaskError(f"the task {reference!r} cannot be made from the options {sorted(options)}: {error}") from error


def _lacking(task: object) -> list[str]:
    wanted = ("name", "feature_ranges", "private", "build_model", "load_data", "loss", "probabilities")
    return [name for name in wanted if not hasattr(task, name)]


def _read_csv(path: Path, columns: list[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or [])]
            if missing:
                raise TaskError(f"the file {path} has no column {missing[0]!r}")
            rows = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"the file {path} cannot be read: {error}") from error
    if not rows:
        raise TaskError(f"the file {path} has no rows below its header")
    return rows


def _number(row: dict[str, str], column: str, path: Path | str) -> float:
    try:
        return float(row[column])
    except (TypeError, ValueError) as error:
        raise TaskError(f"the column {column!r} of {path} holds numbers, found {row[column]!r}") from error
