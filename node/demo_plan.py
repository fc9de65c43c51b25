"""What `mycelia demo` is asked to show, checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
        kills = tuple(_parse_kill(text, names, rounds) for text in kill)
        restarts = tuple(_parse_point(text, names, rounds, "--restart") for text in restart)
        for name, round_id in restarts:
            if not any(kill.name == name and kill.round <= round_id for kill in kills):
                raise ConfigError(f"--restart {name}@{round_id}: {name} is never killed before; add --kill")
        return cls(data, tuple(found), rounds, seed, kills, restarts, keep)


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
    if not number.isdigit() or int(number) > rounds + 1:
        raise ConfigError(f"{option} {text}: a round is 0 (statistics) to {rounds + 1} (closing), as in {name}@2")
    return name, int(number)
