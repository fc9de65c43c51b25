"""Whatever a member's own code raises comes back as one sentence that names the file and the line."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from node.builtin import make_spec
from node.errors import TaskError, exit_code
from node.tasks import Task, load_task

NAMES = (f"broken_{number}" for number in count())
TASK = """
from node.tasks import CsvClassification

class Own(CsvClassification):
    {method}

def task(path):
    return Own(path, "ill", {{"age": (0, 100)}})
"""


def load(folder: Path, code: str | bytes, options: dict[str, str] | None = None) -> tuple[Path, Task]:
    """The task in a file of its own, since Python imports a name once."""
    name = next(NAMES)
    path = folder / f"{name}.py"
    path.write_bytes(code if isinstance(code, bytes) else code.encode())
    return path, load_task(f"{name}:task", options or {}, folder)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\ndef task(:\n", ":2: SyntaxError: invalid syntax"),
        ("if True:\nx = 1\n", ":2: IndentationError: expected an indented block"),
        (b"x = 'gr\xf6sse'\n", "SyntaxError: (unicode error) 'utf-8' codec can't decode"),
        ("x = 1\n\ny = x / 0\n", ":3: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", ":2: JSONDecodeError: Expecting property name"),
        ("import no_such_package\n", ":1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("from math import nothing\n", ":1: ImportError: cannot import name 'nothing'"),
        ("import sys\nsys.exit(3)\n", ":2: it calls sys.exit(3)"),
        ("raise RuntimeError('two\\nlines')\n", ":1: RuntimeError: two lines"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_sentence_with_its_line(
    tmp_path: Path, code: str | bytes, said: str
) -> None:
    with pytest.raises(TaskError, match="cannot be imported") as refused:
        load(tmp_path, code)
    assert said in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert exit_code(refused.value) == 2


@pytest.mark.parametrize(
    ("body", "options", "said"),
    [
        ("return 1 / 0", {}, ":2: ZeroDivisionError"),
        ("return len(5)", {}, ":2: TypeError: object of type 'int' has no len"),
        (
            "return None",
            {"path": "rows.csv"},
            r"from the options ..path..: TypeError: task.. got an unexpected keyword",
        ),
    ],
)
def test_a_function_that_makes_no_task_is_named(tmp_path: Path, body: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(TaskError, match=rf"cannot be made .*{said}"):
        load(tmp_path, f"def task():\n    {body}\n", options)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("def load_data(self): return open(self.path + '.gone')", ":5: FileNotFoundError: "),
        ("def load_data(self): raise SystemExit(0)", r":5: it calls sys.exit\(0\)"),
        ("def load_data(self): return [1, 2]", "returns a LocalData, found list"),
    ],
)
def test_what_load_data_raises_is_one_sentence(tmp_path: Path, method: str, said: str) -> None:
    _, task = load(tmp_path, TASK.format(method=method), {"path": str(tmp_path / "rows.csv")})
    with pytest.raises(TaskError, match=rf"load_data\(\) of the task 'broken_.*{said}"):
        task.load_data()


def test_a_file_of_rows_that_does_not_fit_is_told_in_its_own_words(tmp_path: Path) -> None:
    _, task = load(tmp_path, TASK.format(method="pass"), {"path": str(tmp_path / "rows.csv")})
    with pytest.raises(TaskError, match=r"^cannot read the file .*: No such file or directory$"):
        task.load_data()


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("def build_model(self): return self.width", ":5: AttributeError: 'Own' object has no attribute 'width'"),
        ("def build_model(self): return None", "returns a torch.nn.Module, found NoneType"),
    ],
)
def test_a_consortium_is_not_founded_on_a_model_that_cannot_be_built(tmp_path: Path, method: str, said: str) -> None:
    _, task = load(tmp_path, TASK.format(method=method), {"path": "rows.csv"})
    with pytest.raises(TaskError, match=rf"build_model\(\) of the task 'broken_.*{said}"):
        make_spec(task, 1)


def test_ranges_of_an_own_task_are_checked_before_anything_is_scaled(tmp_path: Path) -> None:
    method = "def __post_init__(self): self.feature_ranges = ((0, 1), (15, 0))"
    with pytest.raises(TaskError, match=r"the range of feature 1 .* found \(15, 0\)"):
        load(tmp_path, TASK.format(method=method), {"path": "rows.csv"})
