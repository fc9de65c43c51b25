"""The main job as a newcomer runs it: processes, sockets, a chain, an auditor."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from gossip.state import PHASES
from tests.helpers.demo import (
    MYCELIA,
    children_of,
    deaths,
    demo_under_way,
    is_running,
    processes_with,
    progress,
    run_demo,
    wait_until,
)
from tests.helpers.hospital_data import heart_folder

pytestmark = pytest.mark.network

WEI = 10**18
NAMES = ("north", "south", "east", "west")
HEART_NAMES = ("cleveland", "hungary", "switzerland", "va")


@pytest.mark.lengthy
def test_demo_shows_what_four_hospitals_gain_and_what_an_auditor_can_check(tmp_path: Path) -> None:
    report = run_demo(tmp_path / "run")
    assert set(report) == {"members", "rounds", "audit", "seconds"}
    assert_members(report, NAMES, rows=569)
    assert_rounds(report, rounds=5)
    assert all(sorted(entry["dealers"]) == sorted(NAMES) for entry in report["rounds"])
    checked = report["audit"]["checked"]
    assert (checked["members"], checked["rounds"], checked["codes"]) == (4, 7, 4)
    records = report["audit"]["records"]
    assert records["ok"]
    assert (records["checked"]["records"], records["checked"]["scores"], records["faults"]) == (7, 20, [])
    local = sum(member["local"]["accuracy"] for member in report["members"]) / 4
    assert report["members"][0]["federated"]["accuracy"] > local
    assert_nothing_private_was_written(tmp_path / "run")


@pytest.mark.lengthy
def test_a_death_in_any_phase_stops_nobody(tmp_path: Path) -> None:
    """The proposer dies in one phase, another member in the next; the slow test has both die in each."""
    heart = ("--data", "heart", "--data-dir", str(heart_folder()))
    report = run_with_deaths(tmp_path / "run", HEART_NAMES, *heart, steps_from_proposer=(0, 2))
    assert_members(report, HEART_NAMES, rows=740)


@pytest.mark.slow
@pytest.mark.parametrize("steps_from_proposer", [0, 2], ids=["proposer", "another member"])
def test_a_death_in_every_phase_stops_nobody(tmp_path: Path, steps_from_proposer: int) -> None:
    report = run_with_deaths(tmp_path / "run", NAMES, steps_from_proposer=(steps_from_proposer,))
    assert_members(report, NAMES, rows=569)


@pytest.mark.slow
def test_a_member_that_never_comes_back_is_paid_for_what_it_did(tmp_path: Path) -> None:
    report = run_demo(tmp_path / "run", "--kill", "east@3:DEAL")
    assert_rounds(report, rounds=5)
    assert all("east" not in entry["dealers"] for entry in report["rounds"][4:])
    assert all(member["reward_wei"] > 0 for member in report["members"])


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [3, 8])
def test_demo_with_other_numbers_of_hospitals(tmp_path: Path, nodes: int) -> None:
    report = run_demo(tmp_path / "run", "--nodes", str(nodes), "--rounds", "2")
    assert len(report["members"]) == nodes
    assert_rounds(report, rounds=2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_no_process_outlives_the_demo(tmp_path: Path, number: signal.Signals) -> None:
    with demo_under_way(tmp_path / "run", nodes=3) as demo:
        children = children_of(demo.pid)
        assert len(children) == 4
        demo.send_signal(number)
        assert demo.wait(30) == (130 if number is signal.SIGINT else -signal.SIGKILL)
        wait_until(lambda: not any(is_running(child) for child in children), 10)
        assert processes_with(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--nodes", "3", "--kill", "north@1"], "with n = 3 a round halts on any loss"),
        (["--nodes", "9"], "--nodes is 3 to 8, found 9"),
        (["--data", "wine"], "there is no data set 'wine'"),
        (["--data", "heart"], "--data-dir"),
        (["--data", "heart", "--data-dir", "/nowhere"], "cannot read /nowhere/processed.cleveland.data"),
        (["--kill", "paris@1"], "there is no 'paris'"),
        (["--kill", "east@99"], "a round is 0"),
        (["--kill", "east@1:LUNCH"], "a phase is one of OPEN, TRAIN"),
        (["--kill", "east@1:SCORE"], "nothing is scored"),
        (["--restart", "east@2"], "is never killed"),
        (["--keep", "/proc"], "is not empty"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(
    options: list[str], reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from node import cli

    monkeypatch.setattr("sys.argv", ["mycelia", "demo", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert re.fullmatch(r"mycelia: [^\n]+\n", said.err)
    assert reason in said.err


def test_help_comes_at_once_and_names_every_command() -> None:
    done = subprocess.run([*MYCELIA, "--help"], capture_output=True, text=True, timeout=20, check=True)
    for command in ("init", "deploy", "run", "status", "claim", "export", "audit", "devchain", "demo"):
        assert command in done.stdout


# --- what a run has to have been ------------------------------------------------------------------------------------


def run_with_deaths(
    folder: Path, names: Sequence[str], *options: str, steps_from_proposer: tuple[int, ...]
) -> dict[str, Any]:
    """A demo in which a member dies in every phase, each in a round of its own, and comes back."""
    places = zip(PHASES, cycle(steps_from_proposer), strict=False)
    kills = [(2 + 3 * i, (2 + 3 * i + steps) % 4, phase) for i, (phase, steps) in enumerate(places)]
    rounds = kills[-1][0] + 1
    wanted = []
    for round_id, member, phase in kills:
        wanted += ["--kill", f"{names[member]}@{round_id}:{phase}", "--restart", f"{names[member]}@{round_id}"]
    report = run_demo(folder, "--rounds", str(rounds), *options, *wanted)
    assert_rounds(report, rounds)
    for index, name in enumerate(names):
        assert deaths(folder, name) == [(r, phase) for r, member, phase in kills if member == index]
        lines = progress(folder, name)
        assert lines[-1]["event"] == "finished"
        assert not [line for line in lines if line["event"] == "blamed"]
        last = [line for line in lines if line["event"] == "settled"][-1]
        assert last["model_digest"] == report["rounds"][-1]["model_digest"]
    return report


def assert_members(report: dict[str, Any], names: Sequence[str], rows: int) -> None:
    assert [member["name"] for member in report["members"]] == list(names)
    assert sum(member["rows"] for member in report["members"]) == rows
    for member in report["members"]:
        for kind in ("local", "federated"):
            assert set(member[kind]) == {"accuracy", "auc", "own_accuracy", "own_auc"}
        assert isinstance(member["score_ppm"], int)
        assert member["reward_wei"] > 0
    federated = {member["federated"]["accuracy"] for member in report["members"]}
    assert len(federated) == 1  # on the union of all rows it is one and the same


def assert_rounds(report: dict[str, Any], rounds: int) -> None:
    assert [entry["round"] for entry in report["rounds"]] == list(range(rounds + 2))
    for entry in report["rounds"]:
        assert set(entry) == {"round", "attempt", "dealers", "seconds", "model_digest", "result_digest", "tx"}
        assert len(entry["dealers"]) >= 3
        assert re.fullmatch("0x[0-9a-f]{64}", entry["tx"])
    paid = sum(member["reward_wei"] for member in report["members"])
    assert report["audit"]["ok"] is True
    assert report["audit"]["checked"]["rounds"] == rounds + 2
    assert report["audit"]["checked"]["wei"] >= paid
    assert rounds * WEI // 2 - 100 < paid <= rounds * WEI


def assert_nothing_private_was_written(folder: Path) -> None:
    """No row, key or share in logs, progress or results."""
    said = "".join(
        path.read_text() for pattern in ("*.log", "*/*.log", "*/*.json*", "*.json") for path in folder.glob(pattern)
    )
    for name in NAMES:
        first = (folder / name / "rows.csv").read_text().splitlines()[1].split(",")[0]
        assert f" {first}," not in said
        for key in ("account.key", "signer.key", "node.key"):
            assert (folder / name / key).read_text().strip() not in said
