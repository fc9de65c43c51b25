"""The fault matrix: what happens to whom in which phase, and what must come of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from gossip.parameters import Parameters
from gossip.state import PHASES
from tests.chaos.cluster import ChaosError, Cluster

FAULTS = ("kill", "restart", "stop", "partition", "latency", "slow", "disk", "chain")
INJECTED = PHASES[:-1]
"""Every phase but the last: SETTLED is the beginning of the next round."""

SETTLE_SECONDS = 90.0
RETURN_SECONDS = 90.0
SILENCE_SECONDS = 8.0
"""Longer than a connection may be silent, and than every deadline of a round."""
CHAIN_ROUNDS = 2


@dataclass(frozen=True)
class Cell:
    """One entry of the matrix.

    Attributes:
        victims: how many members the fault strikes.
    """

    fault: str
    phase: str
    n: int
    victims: int

    @property
    def key(self) -> str:
        return f"{self.fault}/{self.phase}/{self.n}/{self.victims}"


def cells(sizes: tuple[int, ...] = (4, 8)) -> Iterator[Cell]:
    """The whole matrix; clusters are shared by the cells of one size."""
    for n in sizes:
        for fault in FAULTS:
            for phase in INJECTED:
                if fault == "slow" and phase != "TRAIN":
                    continue  # training happens in one phase only
                for victims in _victim_counts(fault, n):
                    yield Cell(fault, phase, n, victims)


def _victim_counts(fault: str, n: int) -> range | tuple[int]:
    return (n,) if fault == "chain" else range(1, Parameters.of_size(n).privacy_threshold + 1)


def run(cell: Cell, cluster: Cluster) -> dict[str, Any]:
    """Let it happen; the cell's entry in the results."""
    began = time.monotonic()
    trial = Trial(cell, cluster)
    try:
        outcome = trial.run()
    except ChaosError as error:
        outcome = f"failed: {error}"
    finally:
        trial.heal_network()
    return {**asdict(cell), "outcome": outcome, "seconds": round(time.monotonic() - began, 1)}


class Trial:
    """One cell on a cluster that is well, and that is well again afterwards."""

    def __init__(self, cell: Cell, cluster: Cluster) -> None:
        self.cell = cell
        self.cluster = cluster
        self.everybody = range(cluster.n)
        struck = cell.victims
        # Others in turn, so that each member is a proposer, a victim and a witness some time.
        first = sum(map(ord, cell.key)) % cluster.n
        self.victims = [(first + step) % cluster.n for step in range(struck)]
        self.others = [member for member in self.everybody if member not in self.victims] or list(self.everybody)
        self.witness = self.others[0]

    def run(self) -> str:
        """What came of it, "settled" or "settled later".

        Raises:
            ChaosError: anything else.
        """
        self._wait_well()
        target = max(self.cluster.place(member)[0] for member in self.everybody) + 1
        for victim in self.victims:
            self.cluster.pause(victim, target, self.cell.phase)
        phase = PHASES.index(self.cell.phase)
        pending = set(self.victims)
        struck_at = time.monotonic()
        while pending:
            self.cluster.until(
                lambda: any(self.cluster.place(victim) >= (target, phase) for victim in pending), 60.0, "the phase"
            )
            for victim in sorted(pending):
                if self.cluster.place(victim) >= (target, phase):
                    self._strike(victim)
                    pending.discard(victim)
                    struck_at = time.monotonic()
        outcome, last = self._judge(target)
        if self.cell.fault in ("stop", "partition"):
            with suppress(ChaosError):  # the connection has to be given up, not only late
                self.cluster.until(lambda: False, max(0.0, struck_at + SILENCE_SECONDS - time.monotonic()), "silence")
        self._heal()
        self._wait_return(last)
        found = self.cluster.audit()
        if found:
            raise ChaosError(f"the auditor: {found}")
        return outcome

    # --- what happens -----------------------------------------------------------------------------------------------

    def _strike(self, victim: int) -> None:
        cluster = self.cluster
        match self.cell.fault:
            case "kill":
                cluster.kill(victim)
            case "restart":
                cluster.kill(victim)
                cluster.start(victim)
            case "stop":
                cluster.signal(victim, signal.SIGSTOP)
            case "partition":
                cluster.weather.isolated |= {victim}
            case "latency":
                cluster.weather.slow |= {victim}
            case "slow":
                (cluster.home(victim) / "slow").touch()
            case "disk":
                cluster.fill_disk(victim)
            case "chain":
                cluster.weather.without_chain |= {victim}

    def _heal(self) -> None:
        self.heal_network()
        for victim in self.victims:
            if self.cell.fault == "disk":
                said = self.cluster.wait_ended(victim)
                if not said.startswith("mycelia: "):
                    raise ChaosError(f"a node without disk said {said!r}")
            if self.cell.fault in ("kill", "disk"):
                self.cluster.start(victim)
            elif self.cell.fault == "stop":
                self.cluster.signal(victim, signal.SIGCONT)

    def heal_network(self) -> None:
        weather = self.cluster.weather
        weather.isolated = weather.slow = weather.without_chain = frozenset()
        for victim in self.victims:
            (self.cluster.home(victim) / "slow").unlink(missing_ok=True)
            (self.cluster.home(victim) / "pause").unlink(missing_ok=True)

    # --- what must come of it ---------------------------------------------------------------------------------------

    def _wait_well(self) -> None:
        """Every member is up and in the newest round, or the one before."""

        def is_well() -> bool:
            places = [self.cluster.place(member)[0] for member in self.everybody]
            return min(places) >= 1 and max(places) - min(places) <= 1

        self.cluster.until(is_well, RETURN_SECONDS, "everybody to be well before anything happens")
        self.cluster.check_alive(self.everybody)

    def _judge(self, target: int) -> tuple[str, int]:
        """Follow the rounds from `target` on until one settled, each exact or abandoned; what came of it, and when."""
        number = target
        wanted = CHAIN_ROUNDS if self.cell.fault in ("chain", "latency") else 1
        settled: list[int] = []
        while len(settled) < wanted:
            self._wait_settled(number, self.others)
            exact = self.cluster.is_exact(number, self.witness)
            if exact is False:
                raise ChaosError(f"the model of round {number} is not that of the exact sum")
            if exact:
                settled.append(number)
            number += 1
        return ("settled" if settled[0] == target else "settled later"), settled[-1]

    def _wait_settled(self, number: int, members: list[int]) -> None:
        cluster = self.cluster
        cluster.until(
            lambda: all(number in cluster.settled(member) for member in members), SETTLE_SECONDS, f"round {number}"
        )
        cluster.check_alive(members)
        results = {cluster.settled(member)[number]["result_digest"] for member in members}
        if len(results) != 1:
            raise ChaosError(f"members ended round {number} on {len(results)} results")

    def _wait_return(self, last: int) -> None:
        """Everybody, the victims included, ends the same later round; its result is on the ledger."""
        cluster = self.cluster
        reached = max(cluster.last_settled(member) for member in self.everybody)
        cluster.until(
            lambda: all(cluster.last_settled(member) > max(last, reached) for member in self.everybody),
            RETURN_SECONDS,
            "the victims to catch up",
        )
        cluster.check_alive(self.everybody)
        common = max(set.intersection(*(set(cluster.settled(member)) for member in self.everybody)))
        results = {cluster.settled(member)[common]["result_digest"] for member in self.everybody}
        if len(results) > 1:
            raise ChaosError(f"members ended round {common} on {len(results)} results")
        cluster.until(
            lambda: any(
                line["event"] == "recorded" and line["round"] >= last
                for member in self.everybody
                for line in cluster.lines[member]
            ),
            RETURN_SECONDS,
            f"round {last} on the ledger",
        )
