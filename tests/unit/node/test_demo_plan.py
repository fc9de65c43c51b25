"""A demo that would wait for ever is refused before it starts, and says why."""

from __future__ import annotations

import pytest

from node.demo_plan import Plan
from node.errors import ConfigError


def plan(nodes: int, kill: str, restart: str = "") -> Plan:
    return Plan.validated("breast-cancer", None, nodes, 5, 1, kill.split(), restart.split(), None)


@pytest.mark.parametrize(
    ("nodes", "kill", "restart"),
    [
        (4, "north@2", ""),
        (4, "north@2:AGREE", "north@4"),
        (4, "north@2 south@3", "north@3"),
        (4, "north@2 south@2", "north@2"),
        (4, "north@2 south@5 north@4", "north@3 north@5"),
        (4, "north@2:DEAL north@2:AGREE", "north@2"),
        (5, "north@2 south@4", "north@4 south@4"),
        (6, "north@0", ""),
        (7, "north@2 south@3", ""),
        (8, "north@2 south@2", ""),
    ],
)
def test_deaths_that_a_consortium_survives_are_shown(nodes: int, kill: str, restart: str) -> None:
    assert len(plan(nodes, kill, restart).kills) == len(kill.split())


@pytest.mark.parametrize(
    ("nodes", "kill", "restart", "said"),
    [
        (3, "north@2", "north@2", "with n = 3 a round halts on any loss"),
        (4, "north@2 south@3", "", "--kill south@3: with north and south dead, round 3 has 2 of 4 nodes and needs 3"),
        (4, "south@3 north@2", "", "--kill south@3: with north and south dead"),
        (4, "north@2 south@2", "", "round 2 has 2 of 4 nodes and needs 3; add --restart NAME@2 or earlier"),
        (4, "north@2 south@3", "north@4", "round 3 has 2 of 4"),
        (4, "north@2 south@3", "north@4 south@4", "round 3 has 2 of 4"),
        (4, "north@2 south@3 east@4", "north@3", "--kill east@4: with east and south dead"),
        (5, "north@2 south@3", "", "round 3 has 3 of 5 nodes and needs 4"),
        (6, "north@2 south@3", "", "round 3 has 4 of 6 nodes and needs 5"),
        (7, "north@2 south@3 east@3", "", "round 3 has 4 of 7 nodes and needs 5"),
        (8, "north@2 south@3 east@3", "", "round 3 has 5 of 8 nodes and needs 6"),
        (4, "north@2 north@4", "", "--kill north@4: north is dead by then; add --restart north@4 or earlier"),
        (4, "north@2 north@3", "north@4", "--kill north@3: north is dead by then"),
        (4, "north@3", "north@2", "--restart north@2: north is never killed before"),
        (4, "north@3", "north@3 north@4", "--restart north@4: north is never killed before while it runs; add --kill"),
        (4, "north@3", "south@3", "--restart south@3: south is never killed"),
        (4, "north@²", "", "--kill north@²: a round is 0 (statistics) to 6 (closing)"),
    ],
)
def test_deaths_after_which_a_round_would_wait_for_ever_are_refused(
    nodes: int, kill: str, restart: str, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        plan(nodes, kill, restart)
    assert said in str(refused.value)


def test_kills_are_carried_out_in_their_order() -> None:
    ordered = plan(4, "south@4 north@2:AGREE north@2:DEAL", "south@4 north@2 north@3")
    assert [(kill.name, kill.round, kill.phase) for kill in ordered.kills] == [
        ("north", 2, "DEAL"),
        ("north", 2, "AGREE"),
        ("south", 4, "TRAIN"),
    ]
    assert ordered.restarts == (("north", 2), ("north", 3), ("south", 4))
