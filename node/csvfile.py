"""A CSV file of a member's rows; whatever is wrong with one is told with file, line and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.errors import TaskError

_MOST_NAMES = 40
"""Columns that a message lists."""


@dataclass(frozen=True)
class Table:
    """What a file holds, still as text.

    Attributes:
        path: the file.
        header: names of its columns.
        rows: of as many values as the header has names.
        lines: where each row ends in the file, from 1.
    """

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def numbers(self, column: str) -> list[float]:
        """The column's values.

        Raises:
            TaskError: one of them is missing, no number, or not finite.
        """
        return [self._number(column, line, text) for line, text in self._values(column)]

    def classes(self, column: str) -> list[int]:
        """The column's values, each 0 or 1.

        Raises:
            TaskError: one of them is something else.
        """
        for line, text in self._values(column):
            if self._number(column, line, text) not in (0, 1):
                raise self._unfit(column, line, text, "0 or 1")
        return [int(number) for number in self.numbers(column)]

    def words(self, column: str, allowed: Sequence[str]) -> list[str]:
        """The column's values, each one of `allowed`.

        Raises:
            TaskError: one of them is something else.
        """
        for line, text in self._values(column):
            if text not in allowed:
                raise self._unfit(column, line, text, " or ".join(map(repr, allowed)))
        return [text for _, text in self._values(column)]

    def _values(self, column: str) -> list[tuple[int, str]]:
        place = self.header.index(column)
        return [(line, row[place]) for line, row in zip(self.lines, self.rows, strict=True)]

    def _number(self, column: str, line: int, text: str) -> float:
        try:
            number = float(text)
        except ValueError as error:
            if not text.strip():
                raise self._unfit(column, line, text, "a number; fill or drop missing values first") from error
            raise self._unfit(column, line, text, "a number") from error
        if not math.isfinite(number):
            raise self._unfit(column, line, text, "a finite number; fill or drop missing values first")
        return number

    def _unfit(self, column: str, line: int, text: str, expected: str) -> TaskError:
        return TaskError(f"{self.path}, line {line}, column {column!r}: found {text!r}, expected {expected}")


def read_table(path: Path, columns: Sequence[str]) -> Table:
    """The file's rows, where it has each of `columns` once.

    Raises:
        TaskError: it cannot be read, lacks a column, or has rows of another length than its header.
    """
    try:
        # Spreadsheets put a byte order mark before the first name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            _check_header(path, header, columns)
            found = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise TaskError(f"cannot read the file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TaskError(f"the file {path} is not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise TaskError(f"the file {path} is not CSV: {error}") from error
    if not found:
        raise TaskError(f"the file {path} has no rows below its header")
    for line, row in found:
        if len(row) != len(header):
            raise TaskError(f"{path}, line {line}: found {len(row)} values, expected {len(header)} as in the header")
    return Table(path, header, [row for _, row in found], [line for line, _ in found])


def _check_header(path: Path, header: list[str], columns: Sequence[str]) -> None:
    for name in columns:
        if header.count(name) > 1:
            raise TaskError(f"the file {path} has {header.count(name)} columns {name!r}, expected one")
        if name not in header:
            raise TaskError(f"the file {path} has no column {name!r}; {_columns_of(header)}")


def _columns_of(header: list[str]) -> str:
    if not header:
        return "its first line, which names the columns, is empty"
    if len(header) == 1:
        return f"it has but one, {header[0][:200]!r}: values are separated by commas"
    more = "" if len(header) <= _MOST_NAMES else f" and {len(header) - _MOST_NAMES} more"
    return f"it has {', '.join(map(repr, header[:_MOST_NAMES]))}{more}"
