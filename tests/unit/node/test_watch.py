"""Signs of work: that a member trains is known to the others, and nobody trains for a round that these have ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from gossip import session as sessions
from gossip.events import Working
from gossip.spec import RoundKind
from node.builtin import make_spec
from node.learner import TaskLearner, initial_model
from node.runner import Node
from node.tasks import CsvClassification
from node.watch import TrainingStopped
from tests.helpers.nodes import even_spec, first_start, make_node

OTHER = 2


def test_training_counts_its_steps_and_stops_once_nobody_wants_it(tmp_path: Path) -> None:
    rows = [f"{value},{value % 2}" for value in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["value,label", *rows]) + "\n")
    task = CsvClassification(str(tmp_path / "rows.csv"), label="label", ranges={"value": (0, 20)}, name="small")
    learner = TaskLearner(task, make_spec(task, 3), 0)
    model, steps = initial_model(task), learner.training.local_steps
    learner.watch.stop_before(3)
    learner.contribute(model, RoundKind.TRAINING, 3)
    assert learner.watch.steps == steps
    learner.watch.stop_before(4)
    with pytest.raises(TrainingStopped):
        learner.contribute(model, RoundKind.TRAINING, 3)
    assert learner.watch.steps == steps
    learner.contribute(model, RoundKind.TRAINING, 4)
    assert learner.watch.steps == 2 * steps


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """One in round 0, which has begun and in which nobody has dealt."""
    spec = even_spec(rounds=1)
    one = make_node(tmp_path / "node", spec, 0, 4)
    one.workshop.begin(first_start(spec, 4))
    one.current, _ = sessions.start(one.workshop.identity, one.workshop.start, 0.0)
    yield one
    one.store.close()
    one.progress.close()


def signs(node: Node) -> list[object]:
    """Events that wait for the node's loop."""
    found: list[object] = []
    while True:
        try:
            found.append(node.inbox._receive.receive_nowait())
        except trio.WouldBlock:
            return found


def test_a_member_works_if_it_has_begun_more_steps_than_before(node: Node) -> None:
    for steps in (0, 5, 5, 9):
        node.note_work(OTHER, 0, steps)
    assert signs(node) == [(0, Working(OTHER))] * 2


def test_a_member_that_was_started_again_counts_anew(node: Node) -> None:
    for steps in (50, 3, 4):
        node.note_work(OTHER, 0, steps)
    assert signs(node) == [(0, Working(OTHER))] * 2


def test_work_for_another_round_is_no_sign(node: Node) -> None:
    node.note_work(OTHER, 1, 7)
    assert not signs(node)
