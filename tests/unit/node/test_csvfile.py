"""What a CSV file of a member's rows may look like, and what is said of one that would be misread."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import pytest

from node.errors import TaskError
from node.tasks import CsvClassification

HEADER = "age,dose,ill,split"
ROWS = ["40,0.5,0,train", "50,1.5,1,train", "60,2.5,1,test"]


def task_on(folder: Path, text: str | bytes, **changes: Any) -> CsvClassification:
    path = folder / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    ranges = {"age": (0.0, 100.0), "dose": (0.0, 5.0)}
    return CsvClassification(path, **{"label": "ill", "ranges": ranges, "split": "split", **changes})


def lines(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        lines(*ROWS),
        codecs.BOM_UTF8 + lines(*ROWS).encode(),
        lines(*ROWS).replace("\n", "\r\n"),
        lines("40, 0.5, 0,train", "50, 1.5, 1,train", "60, 2.5, 1,test"),
        lines(*ROWS) + "\n\n",
        lines(*(row.replace(",0,", ",0.0,") for row in ROWS)),
        lines(*(f"{row},," for row in ROWS), header=HEADER + ",,"),
    ],
    ids=["plain", "byte order mark", "CRLF", "spaces", "empty lines", "0.0", "unnamed columns"],
)
def test_ordinary_files_are_read_alike(tmp_path: Path, text: str | bytes) -> None:
    data = task_on(tmp_path, text).load_data()
    assert data.train_x.tolist() == [[40, 0.5], [50, 1.5]]
    assert (data.train_y.tolist(), data.test_x.tolist(), data.test_y.tolist()) == ([0, 1], [[60, 2.5]], [1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file FILE has no column 'age'; its first line, which names the columns, is empty"),
        (lines(), "the file FILE has no rows below its header"),
        (lines(*ROWS, header="age,dosis,ill,split"), "has no column 'dose'; it has 'age', 'dosis', 'ill', 'split'"),
        (lines(*ROWS).replace(",", ";"), "it has but one, 'age;dose;ill;split': values are separated by commas"),
        (lines(*ROWS, header="age,dose,ill,ill"), "the file FILE has 2 columns 'ill', expected one"),
        (lines(*ROWS, "70,3,1,test,9"), "FILE, line 5: found 5 values, expected 4 as in the header"),
        (lines(*ROWS, "70,3"), "FILE, line 5: found 2 values, expected 4"),
        (lines(*ROWS, "old,3,1,test"), "FILE, line 5, column 'age': found 'old', expected a number"),
        (lines(*ROWS, ",3,1,test"), "FILE, line 5, column 'age': found '', expected a number; fill or drop missing"),
        (lines(ROWS[0], "50,nan,1,train"), "FILE, line 3, column 'dose': found 'nan', expected a finite number"),
        (lines(ROWS[0], "50,-inf,1,train"), "line 3, column 'dose': found '-inf', expected a finite"),
        (lines(ROWS[0], "50,1e999,1,train"), "line 3, column 'dose': found '1e999', expected a finite"),
        (lines(ROWS[0], "50,2,0.5,train"), "FILE, line 3, column 'ill': found '0.5', expected 0 or 1"),
        (lines(ROWS[0], "50,2,0.999,train"), "column 'ill': found '0.999', expected 0 or 1"),
        (lines(ROWS[0], "50,2,2,train"), "column 'ill': found '2', expected 0 or 1"),
        (lines(ROWS[0], "50,2,1,Test"), "column 'split': found 'Test', expected 'train' or 'test'"),
        ("alter,größe\n".encode("latin-1"), "the file FILE is not UTF-8 text; save it as CSV in UTF-8"),
        (lines(ROWS[0], "9" * 200_000 + ",2,1,train"), "the file FILE is not CSV: field larger than field limit"),
    ],
)  # fmt: skip
def test_a_file_that_would_be_misread_is_refused_with_the_place(tmp_path: Path, text: str | bytes, said: str) -> None:
    task = task_on(tmp_path, text)
    with pytest.raises(TaskError) as refused:
        task.load_data()
    assert said in str(refused.value).replace(str(tmp_path / "rows.csv"), "FILE")


def test_a_file_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.csv"
    with pytest.raises(TaskError) as refused:
        CsvClassification(path, "ill", {"age": (0, 100)}).load_data()
    assert str(refused.value) == f"cannot read the file {path}: No such file or directory"


@pytest.mark.parametrize("pair", [(15, 0), (1, 1), (0, float("inf")), (float("nan"), 1), (0, 1, 2), 7, ("a", "b")])
def test_a_range_that_scales_nothing_is_refused(tmp_path: Path, pair: Any) -> None:
    with pytest.raises(TaskError, match=r"the range of the column 'dose' is .low, high. with low below high, found"):
        task_on(tmp_path, lines(*ROWS), ranges={"age": (0, 100), "dose": pair})


def test_a_task_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no columns to learn from"):
        task_on(tmp_path, lines(*ROWS), ranges={})
