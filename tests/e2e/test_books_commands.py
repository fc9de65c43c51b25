"""`mycelia audit`, `history` and `rewards` as they are called, against a chain with a short history."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.devchain import running
from node import cli
from tests.helpers.recorded import HISTORY, Recorded, begin, record_history

pytestmark = pytest.mark.network

Mycelia = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as server:
        yield server.url


@pytest.fixture(scope="module")
def recorded(url: str) -> Recorded:
    return record_history(url)


@pytest.fixture
def mycelia(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mycelia:
    """Exit code and standard output of a command."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["mycelia", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().out

    return run


def place(url: str, recorded: Recorded) -> tuple[str, ...]:
    return "--rpc", url, "--registry", recorded.roster.registry


def test_an_audit_needs_url_and_registry_alone(mycelia: Mycelia, url: str, recorded: Recorded, tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    code, out = mycelia("audit", *place(url, recorded), "--json", "--html", page)
    report = json.loads(out)
    assert (code, report["ok"], report["checked"]["rounds"]) == (0, True, len(HISTORY))
    assert [member["earned_wei"] for member in report["members"]] == list(recorded.cumulative[-1])
    assert [member["rounds_dealt"] for member in report["members"]] == [2, 2, 1, 2]
    assert [round_id for round_id, _ in report["curves"]["earned_wei"]] == list(range(len(HISTORY)))
    assert "Everything fits." in page.read_text()


def test_history_as_json_names_members(mycelia: Mycelia, url: str, recorded: Recorded) -> None:
    code, out = mycelia("history", *place(url, recorded), "--json", "--last", 2)
    lines = json.loads(out)
    assert (code, [line["round"] for line in lines]) == (0, [3, 4])
    assert lines[0]["dealers"] == ["hospital-0", "hospital-1", "hospital-3"]
    assert lines[0]["scores_ppm"] == {"hospital-0": 300, "hospital-1": -20, "hospital-2": 5, "hospital-3": 100}
    assert sum(lines[0]["pay_wei"].values()) > 0


def test_history_as_a_table_says_who_was_left_out(mycelia: Mycelia, url: str, recorded: Recorded) -> None:
    code, out = mycelia("history", *place(url, recorded))
    assert (code, "all but" in out, "abandoned" in out, "nobody" in out) == (0, True, True, True)


def test_rewards_say_what_can_be_claimed(mycelia: Mycelia, url: str, recorded: Recorded) -> None:
    code, out = mycelia("rewards", *place(url, recorded), "--json")
    assert [balance["due_wei"] for balance in json.loads(out)["balances"]] == [0, 0, *recorded.cumulative[-1][2:]]
    table = mycelia("rewards", *place(url, recorded))[1]
    assert (code, "hospital-3" in table) == (0, True)
    assert "The vault was funded with 1 ether." in " ".join(table.split())


@pytest.mark.parametrize("command", ["history", "rewards"])
def test_nothing_to_ask_is_said(mycelia: Mycelia, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert mycelia(command)[0] == 2


def test_further_rounds_are_shown_as_they_are_recorded(url: str) -> None:
    young = begin(url)
    young.record(HISTORY[0])
    command = [sys.executable, "-P", "-m", "node.cli", "history", *place(url, young), "--follow", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            first = next_line(process)
            young.record(HISTORY[1])
            second = next_line(process)
        finally:
            process.terminate()
    assert [json.loads(line)["round"] for line in (first, second)] == [0, 1]


def next_line(process: subprocess.Popen[str], seconds: float = 60) -> str:
    assert process.stdout is not None
    end = time.monotonic() + seconds
    ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
    assert ready, "no line in time"
    return process.stdout.readline()
