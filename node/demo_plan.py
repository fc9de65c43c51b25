"""What `mycelia demo` is asked to show, checked before anything is started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from gossip.parameters import Parameters
from gossip.state import PHASES
from node.commands import BUILTIN_TASKS
from node.data import Hospital, breast_cancer_hospitals, heart_hospitals
from node.errors import ConfigError


@dataclass(frozen=True)
class Kill:
    """SIGKILL for a node when it is seen to enter a phase."""

    name: str
    round: int
    phase: str


@dataclass(frozen=True)
class Plan:
    """What to show, checked."""

    data: str
    hospitals: tuple[Hospital, ...]
    rounds: int
    seed: int
    kills: tuple[Kill, ...]
    restarts: tuple[tuple[str, int], ...]
    keep: Path | None

    @classmethod
    def validated(
        cls,
        data: str,
        data_dir: Path | None,
        nodes: int,
        rounds: int,
        seed: int,
        kill: list[str],
        restart: list[str],
        keep: Path | None,
    ) -> Plan:
        """A plan that can be carried out.

        Raises:
            ConfigError: what was asked for cannot be shown, and why.
        """
        if data not in BUILTIN_TASKS:
            raise ConfigError(f"there is no data set {data!r}; there are {', '.join(BUILTIN_TASKS)}")
        if not 3 <= nodes <= 8:
            raise ConfigError(f"--nodes is 3 to 8, found {nodes}")
        if data == "heart" and data_dir is None:
            raise ConfigError("the heart data are four hospitals' files; name their folder with --data-dir")
        if data == "heart" and nodes != 4:
            raise ConfigError(f"the heart data come from four hospitals; --nodes {nodes} does not fit")
        if kill and nodes == 3:
            raise ConfigError("three nodes need all three: with n = 3 a round halts on any loss, so nothing is killed")
        if keep is not None and keep.exists() and any(keep.iterdir()):
            raise ConfigError(f"the folder {keep} is not empty; name a new one with --keep")
        found = (
            heart_hospitals(data_dir, seed) if data == "heart" and data_dir else breast_cancer_hospitals(nodes, seed)
        )
        names = [hospital.name for hospital in found]
        kills = sorted((_parse_kill(text, names, rounds) for text in kill), key=_moment)
        restarts = sorted((_parse_point(text, names, rounds, "--restart") for text in restart), key=lambda it: it[1])
        for name in names:
            _check_turns(name, [it.round for it in kills if it.name == name], [r for who, r in restarts if who == name])
        _check_enough_are_left(nodes, kills, restarts)
        return cls(data, tuple(found), rounds, seed, tuple(kills), tuple(restarts), keep)


def _moment(kill: Kill) -> tuple[int, int]:
    return kill.round, PHASES.index(kill.phase)


def _check_turns(name: str, kills: list[int], restarts: list[int]) -> None:
    """A node is killed, comes back, is killed again."""
    for index, back in enumerate(restarts):
        if index >= len(kills) or kills[index] > back:
            raise ConfigError(f"--restart {name}@{back}: {name} is never killed before while it runs; add --kill")
    for index, down in enumerate(kills[1:]):
        if index >= len(restarts) or restarts[index] > down:
            raise ConfigError(f"--kill {name}@{down}: {name} is dead by then; add --restart {name}@{down} or earlier")


def _check_enough_are_left(nodes: int, kills: list[Kill], restarts: list[tuple[str, int]]) -> None:
    """A round waits for nodes that come back in it; those that come back in a later one must not be needed."""
    needed = Parameters.of_size(nodes)
    least = max(needed.quorum, needed.min_dealers, needed.min_holders)
    for kill in kills:
        downs = Counter(other.name for other in kills if other.round <= kill.round)
        downs.subtract(Counter(name for name, back in restarts if back <= kill.round))
        dead = sorted(name for name, times in downs.items() if times > 0)
        if nodes - len(dead) < least:
            raise ConfigError(
                f"--kill {kill.name}@{kill.round}: with {' and '.join(dead)} dead, round {kill.round} has "
                f"{nodes - len(dead)} of {nodes} nodes and needs {least}; add --restart NAME@{kill.round} or earlier"
            )


def _parse_kill(text: str, names: list[str], rounds: int) -> Kill:
    point, _, phase = text.partition(":")
    name, round_id = _parse_point(point, names, rounds, "--kill")
    phase = (phase or "TRAIN").upper()
    if phase not in PHASES:
        raise ConfigError(f"--kill {text}: a phase is one of {', '.join(PHASES)}")
    if phase == "SCORE" and round_id < 2:
        raise ConfigError(f"--kill {text}: nothing is scored before round 2, which scores the first training round")
    return Kill(name, round_id, phase)


def _parse_point(text: str, names: list[str], rounds: int, option: str) -> tuple[str, int]:
    name, _, number = text.partition("@")
    if name not in names:
        raise ConfigError(f"{option} {text}: there is no {name!r}; there are {', '.join(names)}")
    if not (number.isascii() and number.isdigit()) or int(number) > rounds + 1:
        raise ConfigError(f"{option} {text}: a round is 0 (statistics) to {rounds + 1} (closing), as in {name}@2")
    return name, int(number)
