"""A consortium whose members come and go while it learns, by the commands alone: nobody restarts anything."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger.client import LedgerClient
from ledger.deploy import send_wei
from ledger.devchain import DEV_KEYS
from ledger.types import members_of
from node.keys import load_keys
from tests.e2e.test_own_data import held_port, init, mycelia, write_member
from tests.helpers.demo import MYCELIA

pytestmark = pytest.mark.network

FIRST = ("ann", "ben", "cat", "dan")
ROUNDS = 10_000
"""More than are ever made: the test ends when it has seen what it waits for."""
LIMIT_SECONDS = 300.0


def test_members_join_and_are_removed_while_the_others_learn(tmp_path: Path, rpc: str) -> None:
    with ExitStack() as ending:
        for number, name in enumerate((*FIRST, "eve")):
            write_member(tmp_path / name, number)
            init(tmp_path, name, ending.enter_context(held_port()))
        members = [str(tmp_path / name / "member.json") for name in FIRST]
        deploy = [
            "--task-from",
            str(tmp_path / "ann"),
            "--rounds",
            str(ROUNDS),
            "--dispute-seconds",
            "0",
            "--budget-ether",
            "0.001",
        ]
        registry = mycelia("deploy", *members, "--rpc", rpc, *deploy).strip()
        where = ["--rpc", rpc, "--registry", registry]
        client = LedgerClient(rpc, registry)

        def start(name: str) -> subprocess.Popen[bytes]:
            with (tmp_path / name / "node.log").open("ab") as log:
                process = subprocess.Popen([*MYCELIA, "run", str(tmp_path / name), *where], stdout=log, stderr=log)
            ending.callback(process.wait, 10)
            ending.callback(process.kill)
            return process

        running = {name: start(name) for name in FIRST}
        until(lambda: client.next_round() > 0, running)

        request = str(tmp_path / "join.json")
        mycelia("join", str(tmp_path / "eve"), *where, "--out", request)
        for name in FIRST[:3]:
            mycelia("approve", str(tmp_path / name), request, *where)
        assert client.roster_version() == 2
        send_wei(rpc, DEV_KEYS[0], load_keys(tmp_path / "eve").signer_address, 10**18)
        away = running.pop("ben")  # killed under the first roster, it comes back under the second one
        away.kill()
        away.wait()
        running["eve"] = start("eve")
        until(lambda: "eve" in dealers_of_the_last_round(client), running)
        running["ben"] = start("ben")
        until(lambda: "ben" in dealers_of_the_last_round(client), running)

        mycelia("remove", str(tmp_path / "ann"), "dan", *where, "--out", request)
        for name in ("ben", "cat", "eve"):
            mycelia("approve", str(tmp_path / name), request, *where)
        assert client.roster_version() == 3
        removed = running.pop("dan")
        until(lambda: removed.poll() is not None, running)
        said = (tmp_path / "dan" / "node.log").read_text()
        assert removed.returncode != 0
        assert "no longer shows the node key of dan" in said

        last = client.periods()[-1].config
        until(lambda: is_scored_under(client, last), running)
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            process.wait(LIMIT_SECONDS)

    records = list(client.records())
    configs = [record.result.config for record in records]
    assert [period.config for period in client.periods()] == list(dict.fromkeys(configs))
    assert members_of(records[-1].result.dealers) == (0, 1, 2, 4)
    assert len(records[-1].scores or ()) == 5

    found = json.loads(mycelia("audit", *where, "--json", "--records", str(tmp_path)))
    assert (found["ok"], found["findings"]) == (True, [])
    assert mycelia("claim", str(tmp_path / "eve"), *where).strip() != "0"
    assert mycelia("history", str(tmp_path / "eve"), *where)
    assert mycelia("rewards", str(tmp_path / "dan"), *where)


def is_scored_under(client: LedgerClient, config: bytes) -> bool:
    """Whether the last round was this roster's, and opened scores: the first of a roster opens none."""
    records = list(client.records(max(0, client.next_round() - 1)))
    return any(record.result.config == config and record.scores is not None for record in records)


def dealers_of_the_last_round(client: LedgerClient) -> set[str]:
    records = list(client.records(max(0, client.next_round() - 1)))
    names = [member.name for member in client.roster().members]
    return {names[index] for record in records[-1:] for index in members_of(record.result.dealers)}


def until(holds: Callable[[], bool], running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Wait for a condition while nobody's node ends."""
    end = time.monotonic() + LIMIT_SECONDS
    while not holds():
        ended = [name for name, process in running.items() if process.poll() is not None]
        assert not ended, f"the nodes of {ended} have ended"
        assert time.monotonic() < end, f"nothing happened within {LIMIT_SECONDS:.0f} s"
        time.sleep(0.2)
