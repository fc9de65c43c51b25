"""The fault matrix: what happens to whom in which phase, and what must come of it."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from gossip.parameters import Parameters
from gossip.state import PHASES
from gossip.values import SETTLED
from ledger.errors import LedgerError
from tests.chaos.cluster import RETURN_SECONDS, ChaosError, Cluster

FAULTS = ("kill", "restart", "stop", "partition", "latency", "slow", "disk", "chain")
INJECTED = PHASES[:-1]
"""Every phase but the last: SETTLED is the beginning of the next round."""

SETTLE_SECONDS = 120.0
"""For a round to end; on a quiet machine one with a fault takes up to ten."""
MOST_ABANDONED = 3
TRIES = 5
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
    except (ChaosError, LedgerError, sqlite3.Error) as error:
        outcome = f"failed: {error}"
    finally:
        trial.heal_network()
    return {**asdict(cell), "outcome": outcome, "seconds": round(time.monotonic() - began, 1)}


def judged(entries: list[dict[str, Any]], cluster: Cluster) -> list[dict[str, Any]]:
    """The entries of a cluster's last cells, all failed if the auditor finds anything in its whole history."""
    try:
        found = cluster.audit()
    except LedgerError as error:
        found = str(error)
    return [{**entry, "outcome": f"failed: the auditor: {found}"} for entry in entries] if found else entries


class Trial:
    """One cell on a cluster that is well, and that is well again afterwards."""

    def __init__(self, cell: Cell, cluster: Cluster) -> None:
        self.cell = cell
        self.cluster = cluster
        self.everybody = range(cluster.n)
        struck = cell.victims
        # Others in turn, so that each member is a proposer and a victim some time.
        first = sum(map(ord, cell.key)) % cluster.n
        self.victims = [(first + step) % cluster.n for step in range(struck)]
        self.others = [member for member in self.everybody if member not in self.victims] or list(self.everybody)
        self.struck: set[int] = set()

    def run(self) -> str:
        """What came of it, "settled" or "settled later".

        Raises:
            ChaosError: anything else.
        """
        self._wait_well()
        target = self._strike_in_phase()
        struck_at = time.monotonic()
        outcome, last = self._judge(target)
        if self.cell.fault in ("stop", "partition"):
            with suppress(ChaosError):  # the connection has to be given up, not only late
                self.cluster.until(lambda: False, max(0.0, struck_at + SILENCE_SECONDS - time.monotonic()), "silence")
        self._check_struck(target, last)
        self._heal()
        self._wait_return(last)
        self._check_ledger(last)
        return outcome

    # --- what happens -----------------------------------------------------------------------------------------------

    def _strike_in_phase(self) -> int:
        """The round in whose phase every victim was struck; on a busy machine one may have gone on, then in another."""
        for _ in range(TRIES):
            target = self._next_target()
            for victim in self.victims:
                self.cluster.pause(victim, target, self.cell.phase)
            if self._strike_all(target):
                return target
            self._heal()
            self._wait_well()
        raise ChaosError(f"in {TRIES} rounds, a victim had always left {self.cell.phase} before it was struck")

    def _next_target(self) -> int:
        """The round under way if the victims have yet to come to the phase, or the next."""
        newest = max(self.cluster.place(member) for member in self.everybody)
        return newest[0] if newest < (newest[0], PHASES.index(self.cell.phase)) else newest[0] + 1

    def _strike_all(self, target: int) -> bool:
        """Strike each victim when it comes to the phase; False if one was found beyond it."""
        cluster, when = self.cluster, (target, PHASES.index(self.cell.phase))
        pending = set(self.victims)
        while pending:
            cluster.until(
                lambda: any(cluster.place(victim) >= when for victim in pending), SETTLE_SECONDS, self.cell.phase
            )
            for victim in sorted(pending):
                if cluster.place(victim) >= when:
                    cluster.signal(victim, signal.SIGSTOP)  # so that it is where it is found
                    cluster.look()
                    is_there = cluster.place(victim) == when
                    if is_there:
                        self._strike(victim)
                        self.struck.add(victim)
                    if not is_there or self.cell.fault not in ("kill", "restart", "stop"):
                        cluster.signal(victim, signal.SIGCONT)
                    if not is_there:
                        return False
                    pending.discard(victim)
        return True

    def _strike(self, victim: int) -> None:
        cluster = self.cluster
        match self.cell.fault:
            case "kill":
                cluster.kill(victim)
            case "restart":
                cluster.kill(victim)
                cluster.start(victim)
            case "stop":
                pass  # it stays as it is
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
        for victim in sorted(self.struck):
            if self.cell.fault == "disk":
                said = self.cluster.wait_ended(victim)
                if not (said.startswith("mycelia: ") and "start again" in said):
                    raise ChaosError(f"a node without disk said {said!r}")
            if self.cell.fault in ("kill", "disk"):
                self.cluster.start(victim)
            elif self.cell.fault == "stop":
                self.cluster.signal(victim, signal.SIGCONT)
        self.struck.clear()

    def heal_network(self) -> None:
        weather = self.cluster.weather
        weather.isolated = weather.slow = weather.slowed = weather.without_chain = frozenset()
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
            if number - target - len(settled) > MOST_ABANDONED:
                raise ChaosError(f"more than {MOST_ABANDONED} rounds from {target} on were abandoned")
            exact = self.cluster.is_exact(number, self._wait_witness(number))  # at once: nodes forget their dealings
            if exact is False:
                raise ChaosError(f"the model of round {number} is not that of the exact sum")
            if exact:
                settled.append(number)
            self._wait_others(number)
            number += 1
        return ("settled" if settled[0] == target else "settled later"), settled[-1]

    def _wait_witness(self, number: int) -> int:
        """The first of the others that has ended a round with a quorum."""
        cluster = self.cluster

        def found() -> list[int]:
            return [member for member in self.others if number in cluster.settled(member)]

        cluster.until(found, SETTLE_SECONDS, f"round {number}")
        return found()[0]

    def _wait_others(self, number: int) -> None:
        """Each has ended the round, or a later one: who is far behind goes by the signed result of the newest."""
        cluster, others = self.cluster, self.others
        cluster.until(
            lambda: all(cluster.last_settled(member) >= number for member in others), SETTLE_SECONDS, f"round {number}"
        )
        cluster.check_alive(others)
        self._check_same(number, others)

    def _check_struck(self, target: int, last: int) -> None:
        """The fault did what it is called: without it, a cell would say nothing."""
        cluster = self.cluster
        for victim in self.victims:
            if self.cell.fault in ("stop", "partition") and cluster.last_settled(victim) > target:
                raise ChaosError(f"m{victim} went on to round {cluster.last_settled(victim)} without the others")
            if self.cell.fault == "slow" and (target, f"m{victim}") not in cluster.missed:
                raise ChaosError(f"m{victim} was slow in round {target} and nobody says that it was missed")
            if self.cell.fault == "latency" and victim not in cluster.weather.slowed:
                raise ChaosError(f"nothing of what m{victim} said or heard was late")
        if self.cell.fault == "chain" and cluster.recorded >= last:
            raise ChaosError(f"round {last} was recorded on a chain that nobody could reach")

    def _wait_return(self, last: int) -> None:
        """Everybody ends one and the same later round, of which the victims are dealers; it is exact as well."""
        cluster = self.cluster
        reached = max(last, *(cluster.last_settled(member) for member in self.everybody))
        names = {f"m{victim}" for victim in self.victims} if self.others != list(self.everybody) else set()

        def common() -> list[int]:
            return [
                number
                for number, line in cluster.settled(self.others[0]).items()
                if number > reached and line["outcome"] == SETTLED and names <= set(line["dealers"])
                if all(number in cluster.settled(member) for member in self.everybody)
            ]

        cluster.until(common, RETURN_SECONDS, "the victims to catch up and to be counted")
        cluster.check_alive(self.everybody)
        number = common()[-1]
        self._check_same(number, self.everybody)
        if not cluster.is_exact(number, self.others[0]):
            raise ChaosError(f"the model of round {number}, with the victims back, is not that of the exact sum")

    def _check_same(self, number: int, members: Iterable[int]) -> None:
        settled = self.cluster.settled
        results = {settled(member)[number]["result_digest"] for member in members if number in settled(member)}
        if len(results) != 1:
            raise ChaosError(f"members ended round {number} on {len(results)} results")

    def _check_ledger(self, last: int) -> None:
        """The ledger shows the round as it was settled."""
        cluster = self.cluster
        cluster.until(lambda: cluster.recorded >= last, RETURN_SECONDS, f"round {last} on the ledger")
        settled = next(cluster.settled(member)[last] for member in self.others if last in cluster.settled(member))
        if cluster.recorded_model(last) != settled["model_digest"]:
            raise ChaosError(f"the ledger shows another model for round {last}")
