"""A member's model and data, as it brings them: a *task* is a Python object, and the built-in ones are examples."""

from __future__ import annotations

import importlib
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from node.csvfile import read_table
from node.errors import NodeError, TaskError

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]
Result = TypeVar("Result")


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
        if not self.ranges:
            raise TaskError("the task names no columns to learn from; `ranges` has one (low, high) for each")
        for name, pair in self.ranges.items():
            _check_range(f"the column {name!r}", pair)
        self.feature_ranges = tuple(self.ranges.values())

    def build_model(self) -> nn.Module:
        model = nn.Linear(len(self.ranges), 1)
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        return model

    def load_data(self) -> LocalData:
        columns = [*self.ranges, self.label, *([self.split] if self.split else [])]
        table = read_table(Path(self.path), columns)
        x = np.column_stack([table.numbers(name) for name in self.ranges])  # (m, F)
        y = np.array(table.classes(self.label), dtype=np.int64)
        test = np.arange(len(y)) % 4 == 3
        if self.split is not None:
            test = np.array([word == "test" for word in table.words(self.split, ("train", "test"))])
        return LocalData(x[~test], y[~test], x[test], y[test])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(outputs.squeeze(-1), targets.to(outputs.dtype))

    def probabilities(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs.squeeze(-1))


def load_task(reference: str, options: dict[str, str], folder: Path) -> Task:
    """The task that `module:object` names: an object, or a function that makes one from `options`.

    The node's own folder is searched first, so that a member's own `my_task.py` needs no installation.  Whatever the
    task's code raises, here or later, comes back as a TaskError that names its file and line.

    Raises:
        TaskError: it cannot be imported, or is no task.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise TaskError(f"a task is named as module:object, found {reference!r}")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    with _told(f"the task {reference!r} cannot be imported", folder):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name != module_name.partition(".")[0]:
                raise
            raise TaskError(f"the task {reference!r} cannot be imported: {error}; is its file in {folder}?") from error
    found = getattr(module, attribute, None)
    if found is None:
        raise TaskError(f"the module {module_name!r} has no {attribute!r}")
    task = found
    if isinstance(found, type) or not isinstance(found, Task):
        task = _made(found, reference, options, folder)
    if not isinstance(task, Task):
        raise TaskError(f"{reference!r} is no task: it lacks {', '.join(_lacking(task))}")
    return _OwnTask(task, reference, folder)


def scale_features(task: Task, rows: Rows) -> Rows:
    """Rows with each feature scaled from its public range to [-1, 1] and cut there; unchanged without ranges."""
    if task.feature_ranges is None:
        return rows
    bounds = np.asarray(task.feature_ranges, dtype=np.float64)  # (F, 2)
    if rows.shape[1] != len(bounds):
        raise TaskError(f"the task names ranges of {len(bounds)} features, and its rows have {rows.shape[1]}")
    low, high = bounds[:, 0], bounds[:, 1]
    return np.clip(2 * (rows - low) / (high - low) - 1, -1.0, 1.0)


class _OwnTask:
    """A member's task; what its code raises becomes a TaskError that names the line, so that its author can mend it."""

    def __init__(self, task: Task, reference: str, folder: Path) -> None:
        self._task, self._reference, self._folder = task, reference, folder
        self.name, self.private, self.feature_ranges = task.name, task.private, task.feature_ranges
        for index, pair in enumerate(() if self.feature_ranges is None else self.feature_ranges):
            _check_range(f"feature {index} of the task {reference!r}", pair)

    def build_model(self) -> nn.Module:
        model = self._call("build_model", self._task.build_model)
        if not isinstance(model, nn.Module):
            raise TaskError(
                f"build_model() of the task {self._reference!r} returns a torch.nn.Module, found {_kind(model)}"
            )
        return model

    def load_data(self) -> LocalData:
        data = self._call("load_data", self._task.load_data)
        if not isinstance(data, LocalData):
            raise TaskError(f"load_data() of the task {self._reference!r} returns a LocalData, found {_kind(data)}")
        return data

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._call("loss", self._task.loss, outputs, targets)

    def probabilities(self, outputs: Tensor) -> Tensor:
        return self._call("probabilities", self._task.probabilities, outputs)

    def _call(self, name: str, method: Callable[..., Result], *args: Tensor) -> Result:
        with _told(f"{name}() of the task {self._reference!r} failed", self._folder):
            return method(*args)


@contextmanager
def _told(what: str, folder: Path) -> Iterator[None]:
    """Whatever a member's own code raises, even SystemExit, as one sentence; errors of ours are sentences already."""
    try:
        yield
    except NodeError:
        raise
    except (Exception, SystemExit) as error:
        raise TaskError(f"{what}: {_place(error, folder)}{_cause(error)}") from error


def _place(error: BaseException, folder: Path) -> str:
    """FILE:LINE where it happened: in the member's own folder, if any of it did."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    frames = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<")
    ]
    own = [place for place in frames if Path(place[0]).is_relative_to(folder.absolute())] or frames
    return f"{own[-1][0]}:{own[-1][1]}: " if own else ""


def _cause(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({error.code!r})"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return ": ".join(filter(None, (_kind(error), " ".join(text.split()))))


def _kind(value: object) -> str:
    return type(value).__name__


def _made(found: object, reference: str, options: dict[str, str], folder: Path) -> object:
    if not callable(found):
        return found
    with _told(f"the task {reference!r} cannot be made from the options {sorted(options)}", folder):
        return found(**options)


def _lacking(task: object) -> list[str]:
    wanted = ("name", "feature_ranges", "private", "build_model", "load_data", "loss", "probabilities")
    return [name for name in wanted if not hasattr(task, name)]


def _check_range(what: str, pair: Any) -> None:
    try:
        low, high = pair
        is_good = -math.inf < low < high < math.inf
    except (TypeError, ValueError):
        is_good = False
    if not is_good:
        raise TaskError(f"the range of {what} is (low, high) with low below high, found {pair!r}")
