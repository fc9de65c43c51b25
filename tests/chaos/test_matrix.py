"""That a cell of the fault matrix can fail: each thing that must come of a fault is taken away once."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from gossip.values import ABANDONED, SETTLED
from tests.chaos.cluster import ChaosError
from tests.chaos.matrix import Cell, judged, run
from tests.chaos.proxy import Weather

PHASE = 4  # AGREE
CELL = Cell("stop", "AGREE", 4, 1)
VICTIM = sum(map(ord, CELL.key)) % 4
OTHERS = [member for member in range(4) if member != VICTIM]


class Scripted:
    """A cluster in which one round follows another as soon as anybody waits."""

    n = 4

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weather = Weather()
        self.round = 5
        self.recorded = 5
        self.missed: set[tuple[int, str]] = set()
        self.stopped: set[int] = set()
        self.rounds: dict[int, dict[int, dict[str, Any]]] = {member: {} for member in range(4)}
        for member in range(4):
            (folder / f"m{member}").mkdir()
        self._end_round()

    def home(self, member: int) -> Path:
        return self.folder / f"m{member}"

    def outcome(self) -> int:
        return SETTLED

    def result(self, member: int) -> str:
        return f"result {self.round}"

    def dealers(self) -> list[str]:
        return [f"m{member}" for member in range(4) if member not in self.stopped]

    def ends(self, member: int) -> bool:
        return member not in self.stopped

    def _end_round(self) -> None:
        for member in filter(self.ends, range(4)):
            self.rounds[member][self.round] = {
                "outcome": self.outcome(), "dealers": self.dealers(), "result_digest": self.result(member),
                "model_digest": f"model {self.round}",
            }  # fmt: skip
        self.recorded = self.round
        self.round += 1

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        for _ in range(8):
            if condition():
                return
            self._end_round()
        raise ChaosError(f"waited {seconds:.0f} s for {what}")

    def look(self) -> None:
        pass

    def signal(self, member: int, number: signal.Signals) -> None:
        (self.stopped.add if number == signal.SIGSTOP else self.stopped.discard)(member)

    def check_alive(self, members: Iterable[int]) -> None:
        pass

    def place(self, member: int) -> tuple[int, int]:
        return self.round, PHASE

    def pause(self, member: int, round_id: int, phase: str) -> None:
        pass

    def settled(self, member: int) -> dict[int, dict[str, Any]]:
        return self.rounds[member]

    def last_settled(self, member: int) -> int:
        return max(self.rounds[member])

    def is_exact(self, round_id: int, witness: int) -> bool | None:
        return None if self.rounds[witness][round_id]["outcome"] != SETTLED else True

    def recorded_model(self, round_id: int) -> str:
        return f"model {round_id}"

    def audit(self) -> str:
        return ""


@pytest.fixture
def cluster(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path)


def outcome_on(cluster: Any, cell: Cell = CELL) -> str:
    (entry,) = judged([run(cell, cluster)], cluster)
    return str(entry["outcome"])


def test_what_must_come_of_a_fault_is_enough(cluster: Scripted) -> None:
    assert outcome_on(cluster) == "settled"
    assert not cluster.stopped


def test_a_model_that_is_not_of_the_exact_sum_fails(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "is_exact", lambda round_id, witness: False)
    assert "is not that of the exact sum" in outcome_on(cluster)


def test_rounds_that_never_settle_fail(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "outcome", lambda: ABANDONED)
    assert "were abandoned" in outcome_on(cluster)


def test_a_round_abandoned_before_one_that_settles_is_told(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "outcome", lambda: ABANDONED if cluster.round == 7 else SETTLED)
    assert outcome_on(cluster) == "settled later"


def test_two_results_of_a_round_fail(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "result", lambda member: f"{cluster.round} of {member == OTHERS[0]}")
    assert "on 2 results" in outcome_on(cluster)


def test_another_member_that_hangs_fails(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ends", lambda member: member not in cluster.stopped | {OTHERS[1]})
    assert outcome_on(cluster).startswith("failed: waited")


def test_a_victim_that_never_comes_back_fails(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ends", lambda member: member != VICTIM)
    assert "to catch up" in outcome_on(cluster)


def test_a_victim_that_comes_back_and_never_deals_fails(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "dealers", lambda: [f"m{member}" for member in OTHERS])
    assert "to be counted" in outcome_on(cluster)


def test_a_victim_that_goes_on_while_it_is_stopped_fails(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ends", lambda member: True)
    assert "without the others" in outcome_on(cluster)


def test_a_slow_site_that_nobody_misses_fails(cluster: Scripted) -> None:
    assert "nobody says that it was missed" in outcome_on(cluster, dataclasses.replace(CELL, fault="slow"))


def test_latency_that_delays_nothing_fails(cluster: Scripted) -> None:
    assert "was late" in outcome_on(cluster, dataclasses.replace(CELL, fault="latency"))


def test_a_record_on_a_chain_that_is_away_fails(cluster: Scripted) -> None:
    assert "that nobody could reach" in outcome_on(cluster, dataclasses.replace(CELL, fault="chain", victims=4))


def test_a_ledger_that_stays_behind_fails(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "recorded", property(lambda self: 5, lambda self, value: None), raising=False)
    assert "on the ledger" in outcome_on(cluster)


def test_another_model_on_the_ledger_fails(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "recorded_model", lambda round_id: "another")
    assert "another model" in outcome_on(cluster)


def test_a_finding_of_the_auditor_fails(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "audit", lambda: "round.gap: a round is missing")
    assert "round.gap" in outcome_on(cluster)


def test_a_victim_that_is_never_struck_in_the_phase_fails(cluster: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "place", lambda member: (cluster.round, PHASE + 1))
    assert "had always left AGREE" in outcome_on(cluster)
