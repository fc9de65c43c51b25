"""A member's own data: the README's example as it stands there, and what is said where it does not fit."""

from __future__ import annotations

import random
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gossip.spec import RoundKind
from node.builtin import make_spec
from node.errors import TaskError
from node.learner import TaskLearner, initial_model
from node.tasks import LocalData, load_task, scale_features
from sim.world import World

README = Path(__file__).parents[3] / "README.md"


def write_example(folder: Path, rows: int, seed: int) -> dict[str, str]:
    """The README's my_task.py, and a file of visits in which many prior visits mean readmission."""
    code = re.search(r"<!-- example: my_task.py -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code is not None, "the README has lost its example"
    (folder / "my_task.py").write_text(code.group(1))
    chance = random.Random(seed)
    lines = ["age,length_of_stay,prior_visits,creatinine,readmitted"]
    for _ in range(rows):
        visits = chance.randint(0, 20)
        lines.append(
            f"{chance.randint(20, 90)},{chance.randint(1, 30)},{visits},{chance.random() * 4},{int(visits > 9)}"
        )
    (folder / "visits.csv").write_text("\n".join(lines) + "\n")
    return {"path": str(folder / "visits.csv")}


def test_members_learn_from_csv_files_of_their_own(tmp_path: Path) -> None:
    tasks = []
    for member in range(3):
        folder = tmp_path / f"member-{member}"
        folder.mkdir()
        tasks.append(load_task("my_task:task", write_example(folder, 40 + 30 * member, member), folder))
    spec = make_spec(tasks[0], 3)
    learners = [TaskLearner(task, spec, seed) for seed, task in enumerate(tasks)]
    world = World(spec, learners, initial_model(tasks[0]), seed=1).run()
    model = world.nodes[0].models[spec.closing_round]
    for learner in learners:
        predicted = learner.predict(model, learner.rows.test_x) >= 0.5
        assert (predicted == (learner.rows.test_y == 1)).mean() > 0.8


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("my_task", "module:object"),
        ("no_such_module_anywhere:task", "cannot be imported"),
        ("my_task:nothing", "has no 'nothing'"),
        ("my_task:RANGES", "is no task"),
    ],
)
def test_a_task_that_cannot_be_used_is_named(tmp_path: Path, reference: str, said: str) -> None:
    options = write_example(tmp_path, 8, 0)
    with pytest.raises(TaskError, match=said):
        load_task(reference, options, tmp_path)


def test_a_model_of_another_shape_is_refused(tmp_path: Path) -> None:
    task = load_task("my_task:task", write_example(tmp_path, 20, 0), tmp_path)
    spec = make_spec(task, 1)
    with pytest.raises(TaskError, match="shares 5 numbers"):
        TaskLearner(task, msgspec.structs.replace(spec, dimension=7), 0)


def test_missing_values_are_refused_before_training() -> None:
    x = np.array([[1.0], [np.nan]])
    with pytest.raises(TaskError, match="not finite"):
        LocalData(x, np.array([0, 1]), x[:0], np.array([], dtype=np.int64))


def test_a_value_outside_its_public_range_is_cut(tmp_path: Path) -> None:
    task = load_task("my_task:task", write_example(tmp_path, 8, 0), tmp_path)
    scaled = scale_features(task, np.array([[55.0, 30.0, 20.0, 400.0]]))
    assert scaled.tolist() == [[0.0, 0.0, 0.0, 1.0]]


def test_statistics_are_of_the_rows_for_learning_alone(tmp_path: Path) -> None:
    task = load_task("my_task:task", write_example(tmp_path, 40, 0), tmp_path)
    learner = TaskLearner(task, make_spec(task, 1), 0)
    part = learner.contribute(initial_model(task), RoundKind.STATISTICS, 0)
    x = scale_features(task, task.load_data().train_x)
    assert part.weight == len(x) == 30
    np.testing.assert_allclose(part.update, np.concatenate([x.mean(axis=0), (x**2).mean(axis=0)]))
