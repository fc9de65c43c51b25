"""Where the rows of the built-in tasks come from: scikit-learn's copy, or the four hospitals' own files."""

from __future__ import annotations

import csv
import hashlib
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node.builtin import BREAST_CANCER_RANGES, HEART_RANGES
from node.errors import ConfigError

TEST_SHARE = 0.3
LEAST_ROWS = 16
_DOWNLOAD_SECONDS = 30.0
_LONGEST_FILE = 1 << 20

HEART_FILES = {
    "cleveland": ("processed.cleveland.data", "2d91a8ff69cfd9616aa47b59d6f843db"),
    "hungary": ("processed.hungarian.data", "22e96bee155b5973568101c93b3705f6"),
    "switzerland": ("processed.switzerland.data", "9a87f7577310b3917730d06ba9349e20"),
    "va": ("processed.va.data", "4249d03ca7711e84f4444768c9426170"),
}
"""File and MD5 of each hospital, as the UCI repository publishes them."""

UCI_URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/"

_NAMES = ("north", "south", "east", "west", "harbour", "lakeside", "hillside", "riverside")


@dataclass(frozen=True)
class Hospital:
    """One member's rows.

    Attributes:
        name: of the member.
        columns: names of the features.
        x, y: (m, F) features and (m,) labels.
        is_test: (m,) rows that nothing is learnt from.
        label: name of the label's column.
    """

    name: str
    columns: tuple[str, ...]
    x: NDArray[np.float64]
    y: NDArray[np.int64]
    is_test: NDArray[np.bool_]
    label: str

    def write(self, path: Path) -> None:
        """The rows as a CSV file with a header."""
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*self.columns, self.label, "split"])
            for row, label, test in zip(self.x.tolist(), self.y.tolist(), self.is_test.tolist(), strict=True):
                writer.writerow([*map(repr, row), label, "test" if test else "train"])


def breast_cancer_hospitals(members: int, seed: int) -> list[Hospital]:
    """569 real patients over `members` hospitals with skewed labels and sizes (Dirichlet 0.5)."""
    from sklearn.datasets import load_breast_cancer

    x, target = load_breast_cancer(return_X_y=True)
    y = 1 - target.astype(np.int64)
    rng = np.random.default_rng(seed)
    columns = tuple(BREAST_CANCER_RANGES)
    return [
        Hospital(_NAMES[i], columns, x[rows], y[rows], choose_test_rows(y[rows], rng), "malignant")
        for i, rows in enumerate(dirichlet_partition(y, members, 0.5, rng))
    ]


def heart_hospitals(folder: Path, seed: int) -> list[Hospital]:
    """The four hospitals of UCI Heart Disease, from their own files.

    Columns 10 to 12 are missing too often and left out, rows with other gaps dropped, chest pain and resting ECG
    one-hot coded; 740 rows remain.  Source: the preprocessing of FLamby, Ogier du Terrail et al. 2022.

    Raises:
        ConfigError: a file is missing, or not the one that the repository publishes.
    """
    rng = np.random.default_rng(seed)
    hospitals = []
    for name, (file, md5) in HEART_FILES.items():
        x, y = _parse_heart(_read_checked(folder / file, md5))
        hospitals.append(Hospital(name, tuple(HEART_RANGES), x, y, choose_test_rows(y, rng), "disease"))
    return hospitals


def download_heart(folder: Path, base_url: str = UCI_URL) -> None:
    """Fetch the four files from the UCI repository, and keep them only if their checksums are right.

    Raises:
        ConfigError: the repository does not answer, or its files are others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file, md5 in HEART_FILES.values():
        try:
            with urllib.request.urlopen(base_url + file, timeout=_DOWNLOAD_SECONDS) as answer:
                data = answer.read(_LONGEST_FILE)
        except OSError as error:  # URLError wraps the one that says why
            reason = getattr(error, "reason", error)
            why = getattr(reason, "strerror", None) or reason
            raise ConfigError(f"cannot download {base_url}{file}: {why}; put the files into a folder") from error
        _check(data, md5, base_url + file)
        (folder / file).write_bytes(data)


def dirichlet_partition(
    labels: NDArray[np.int64], members: int, alpha: float, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Row indices of each member: each class is cut by its own Dirichlet draw, repeated until all have enough rows.

    Every member has at least `LEAST_ROWS` rows and two of each class, so that it can be tested.
    """
    while True:
        parts: list[list[int]] = [[] for _ in range(members)]
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            cuts = (np.cumsum(rng.dirichlet(np.full(members, alpha)))[:-1] * len(rows)).astype(int)
            for part, piece in zip(parts, np.split(rows, cuts), strict=True):
                part.extend(piece.tolist())
        indices = [np.array(sorted(part), dtype=np.int64) for part in parts]
        counts = [np.bincount(labels[part], minlength=2) for part in indices if len(part)]
        if len(counts) == members and all(c.sum() >= LEAST_ROWS and c.min() >= 2 for c in counts):
            return indices


def choose_test_rows(y: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """About 30 % of each class, at least one row of it stays for learning."""
    is_test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        is_test[rows[: min(len(rows) - 1, max(1, round(TEST_SHARE * len(rows))))]] = True
    return is_test


def _read_checked(path: Path, md5: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; --data-dir names the folder with it") from error
    _check(data, md5, str(path))
    return data.decode("ascii")


def _check(data: bytes, md5: str, source: str) -> None:
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ConfigError(f"{source} is not the file that the UCI repository publishes: MD5 {found}, expected {md5}")


def _parse_heart(text: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    kept, labels = [], []
    for line in text.splitlines():
        fields = line.split(",")
        used = [fields[column] for column in range(10)]
        if "?" in used:
            continue
        age, sex, chest_pain, trestbps, chol, fbs, ecg, thalach, exang, oldpeak = map(float, used)
        coded = [chest_pain == kind for kind in (2, 3, 4)] + [ecg == kind for kind in (1, 2)]
        kept.append([age, sex, trestbps, chol, fbs, thalach, exang, oldpeak, *map(float, coded)])
        labels.append(int(float(fields[13]) > 0))
    return np.array(kept, dtype=np.float64), np.array(labels, dtype=np.int64)
