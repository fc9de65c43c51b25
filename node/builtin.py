"""The built-in tasks: logistic regression on two public medical data sets, from a CSV file of the member's own rows."""

from __future__ import annotations

from pathlib import Path

from gossip.spec import MICRO, TaskSpec, blob_digest
from node.config import ROWS_FILE
from node.errors import ConfigError
from node.tasks import CsvClassification, Task

_BREAST_CANCER_MEASURES = {
    "radius": ((6, 30), (0.1, 3), (7, 40)),
    "texture": ((9, 40), (0.3, 5), (12, 50)),
    "perimeter": ((40, 200), (0.7, 22), (50, 260)),
    "area": ((100, 2600), (5, 550), (150, 4300)),
    "smoothness": ((0.05, 0.17), (0.001, 0.032), (0.07, 0.23)),
    "compactness": ((0, 0.35), (0.002, 0.14), (0.02, 1.1)),
    "concavity": ((0, 0.43), (0, 0.4), (0, 1.3)),
    "concave points": ((0, 0.21), (0, 0.055), (0, 0.3)),
    "symmetry": ((0.1, 0.31), (0.007, 0.08), (0.15, 0.67)),
    "fractal dimension": ((0.04, 0.1), (0.0008, 0.03), (0.05, 0.21)),
}

BREAST_CANCER_RANGES: dict[str, tuple[float, float]] = {
    name: ranges[column]
    for column, pattern in enumerate(("mean {}", "{} error", "worst {}"))
    for measure, ranges in _BREAST_CANCER_MEASURES.items()
    for name in (pattern.format(measure),)
}
"""Plausible range of each feature, from the data set's public description; the order is the data set's."""

HEART_RANGES: dict[str, tuple[float, float]] = {
    "age": (0, 100),
    "sex": (0, 1),
    "trestbps": (50, 250),
    "chol": (0, 650),
    "fbs": (0, 1),
    "thalach": (40, 220),
    "exang": (0, 1),
    "oldpeak": (-5, 10),
    "cp_2": (0, 1),
    "cp_3": (0, 1),
    "cp_4": (0, 1),
    "restecg_1": (0, 1),
    "restecg_2": (0, 1),
}
"""Plausible range of each feature after one-hot coding of chest pain and resting ECG."""


def breast_cancer(path: str = ROWS_FILE) -> CsvClassification:
    """Malignant or benign from 30 measurements of cell nuclei (Wolberg, Street, Mangasarian 1995)."""
    return CsvClassification(path, "malignant", BREAST_CANCER_RANGES, name="breast-cancer", split="split")


def heart(path: str = ROWS_FILE) -> CsvClassification:
    """Heart disease from 13 findings (Janosi, Steinbrunn, Pfisterer, Detrano 1988), with a private intercept.

    Prevalence differs from 38 % to 98 % between the four hospitals; one intercept for all is worse than training
    alone (Table B of the reference measurements), so each keeps its own.
    """
    return CsvClassification(path, "disease", HEART_RANGES, name="heart", private=("bias",), split="split")


TASKS = {"breast-cancer": breast_cancer, "heart": heart}

_TRAINING = {"local_steps": 30, "batch_size": 16, "learning_rate_micro": 100_000, "l2_micro": 1_000}


def make_spec(task: Task, rounds: int, training: dict[str, int] | None = None) -> TaskSpec:
    """The spec of a consortium that learns `task`, with bounds that fit logistic regression on standardised rows."""
    from node.learner import initial_model  # torch takes a second, and most commands need no model
    from node.train import flatten, split_parameters

    model = task.build_model()
    shared, _ = split_parameters(task, model)
    return TaskSpec(
        task=task.name,
        dimension=len(flatten(shared)),
        features=0 if task.feature_ranges is None else len(task.feature_ranges),
        rounds=rounds,
        clip_norm_micro=2 * MICRO,
        max_weight=1_000,
        gradient_clip_micro=2 * MICRO,
        max_gradient_weight=1_000,
        initial_model=blob_digest(initial_model(task)).hex(),
        training=training or _TRAINING,
    )


def builtin_task(name: str, folder: Path) -> CsvClassification:
    """The built-in task `name` on the rows in `folder`.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASKS:
        raise ConfigError(f"there is no data set {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name](str(folder / ROWS_FILE))
