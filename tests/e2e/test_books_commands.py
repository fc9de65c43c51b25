"""`mycelia audit`, `history`, `rewards` and `claim` as they are called, against a chain with a short history."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ledger.deploy import send_wei
from ledger.devchain import DEV_KEYS, running
from node import cli
from node.keys import SIGNER_FILE, load_keys
from tests.helpers.chain import address_of, key_of
from tests.helpers.recorded import HISTORY, Recorded, begin, deploy_token, member, record_history, token_balance

pytestmark = pytest.mark.network

REVENUE_WEI = 10**15

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


@dataclass(frozen=True)
class Paid:
    """Two payments of revenue, and member 0's own folder, whose signer has coins for gas."""

    recorded: Recorded
    folder: Path
    token: str | None

    def balance(self, url: str) -> int:
        """Of the account that is paid."""
        account = self.recorded.roster.members[0].account
        return self.recorded.client.balance_wei(account) if not self.token else token_balance(url, self.token, account)

    @property
    def parts(self) -> dict[str, int]:
        """Of the revenue, by the round whose rewards share it."""
        earned = {number: self.recorded.cumulative[number] for number in (1, 4)}
        return {str(number): REVENUE_WEI * wei[0] // sum(wei) for number, wei in earned.items()}


@pytest.fixture(params=["coin", "token"])
def paid(url: str, mycelia: Mycelia, tmp_path: Path, request: pytest.FixtureRequest) -> Paid:
    folder, account = tmp_path / "north", key_of(f"account {request.node.name}")
    mycelia("init", folder, "--name", "north", "--task", "breast-cancer")
    keys = load_keys(folder)
    (folder / SIGNER_FILE).write_text(key_of("signer 0").secret.hex())
    send_wei(url, DEV_KEYS[0], address_of(key_of("signer 0")), 10**18)
    first = replace(member(0), name="north", account=address_of(account), peer_id=keys.peer_id)
    token = deploy_token(url) if request.param == "token" else None
    recorded = begin(url, first=first, token=token)
    for number, step in enumerate(HISTORY):
        recorded.record(step)
        if number in (1, 4):
            recorded.activate(number)
            recorded.client.revenue.pay(recorded.key, REVENUE_WEI)
    return Paid(recorded, folder, token)


def test_a_claim_pays_rewards_and_revenue_and_fits_the_audit(mycelia: Mycelia, url: str, paid: Paid) -> None:
    due = json.loads(mycelia("rewards", *place(url, paid.recorded), "--json")[1])["balances"][0]
    assert (due["revenue_due_wei"], due["revenue_claimed_wei"]) == (sum(paid.parts.values()), 0)
    before = paid.balance(url)

    code, out = mycelia("claim", paid.folder, *place(url, paid.recorded), "--json")

    claimed = json.loads(out)
    reward, revenue = paid.recorded.cumulative[4][0], sum(paid.parts.values())
    assert (code, claimed) == (0, {"paid_wei": reward + revenue, "reward_wei": reward, "revenue_wei": paid.parts})
    assert paid.balance(url) - before == reward + revenue
    got = json.loads(mycelia("rewards", *place(url, paid.recorded), "--json")[1])["balances"][0]
    assert (got["due_wei"], got["revenue_due_wei"], got["revenue_claimed_wei"]) == (0, 0, revenue)
    assert mycelia("claim", paid.folder, *place(url, paid.recorded)) == (0, "0\n")
    code, out = mycelia("audit", *place(url, paid.recorded), "--json")
    report = json.loads(out)
    assert (code, report["findings"], report["members"][0]["revenue_wei"]) == (0, [], revenue)


def test_a_claim_prints_the_sum_and_logs_each_payment(
    url: str, paid: Paid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["mycelia", "claim", str(paid.folder), *place(url, paid.recorded)])
    with pytest.raises(SystemExit):
        cli.main()
    printed = capsys.readouterr()
    assert int(printed.out) == paid.recorded.cumulative[4][0] + sum(paid.parts.values())
    lines = [json.loads(line) for line in printed.err.splitlines()]
    assert [(line["event"], line.get("round")) for line in lines] == [
        ("reward.claimed", None), ("revenue.claimed", 1), ("revenue.claimed", 4),
    ]  # fmt: skip
    assert all(line["tx"].startswith("0x") and line["wei"] > 0 for line in lines)


def test_the_table_shows_revenue_where_there_is_some(
    mycelia: Mycelia, url: str, recorded: Recorded, paid: Paid
) -> None:
    unit = "tokens" if paid.token else "ether"
    table = " ".join(mycelia("rewards", *place(url, paid.recorded))[1].split())
    shown = f"{2 * REVENUE_WEI}" if paid.token else "0.002"
    assert f"Others paid {shown} {unit} for the model" in table
    assert f"Revenue paid can claim member {unit} {unit} ─" in table
    assert "Revenue" not in mycelia("rewards", *place(url, recorded))[1]


def test_a_claim_on_another_chain_than_configured_is_refused(mycelia: Mycelia, url: str, paid: Paid) -> None:
    path = paid.folder / "mycelia.toml"
    path.write_text(path.read_text().replace("[ledger]", "[ledger]\nchain_id = 7", 1))
    assert mycelia("claim", paid.folder, *place(url, paid.recorded)) == (2, "")


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
