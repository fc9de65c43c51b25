"""What the demo shows on a terminal: who is where while it runs, and then what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from node.demo_plan import Plan

WEI = 10**18
COLUMNS = (
    "member",
    "rows",
    "alone\nall",
    "alone\nown",
    "together\nall",
    "together\nown",
    "score\nppm",
    "reward\nether",
)


class View:
    """Live progress on standard error; silent where nobody watches."""

    def __init__(self, plan: Plan, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._state: dict[str, dict[str, Any]] = {hospital.name: {} for hospital in plan.hospitals}
        self._rounds = plan.rounds
        self._live = Live(self._table(), console=self._console, refresh_per_second=8, transient=True)

    def __enter__(self) -> View:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def say(self, text: str) -> None:
        """One line above the table."""
        self._console.print(text, highlight=False)

    def show(self, name: str, line: dict[str, Any]) -> None:
        """Take in one progress line of a node."""
        state = self._state[name]
        if line["event"] == "entered":
            state |= {"round": line["round"], "phase": line["phase"], "attempt": line["attempt"]}
        elif line["event"] == "settled" and "own_accuracy" in line:
            state["accuracy"] = line["own_accuracy"]
        elif line["event"] == "finished":
            state["phase"] = "finished"
        elif line["event"] in ("blamed", "missed"):
            self.say(f"{name}: {line['event']} {line.get('member') or ', '.join(line['members'])}")
        self._live.update(self._table())

    def _table(self) -> Table:
        table = Table("member", "round", "phase", "attempt", "own accuracy")
        for name, state in self._state.items():
            accuracy = state.get("accuracy")
            table.add_row(
                name,
                f"{state.get('round', '-')} of {self._rounds + 1}",
                str(state.get("phase", "starting")),
                str(state.get("attempt", "")),
                "" if accuracy is None else f"{accuracy:.3f}",
            )
        return table


def print_report(report: dict[str, Any], dispute_seconds: int) -> None:
    """The result, on standard output."""
    console = Console()
    table = Table(title="Accuracy and AUC on all test rows and on the own", box=SIMPLE_HEAD, padding=0)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "member" else "right", no_wrap=True)
    for member in report["members"]:
        local, federated = member["local"], member["federated"]
        table.add_row(
            member["name"],
            str(member["rows"]),
            _pair(local["accuracy"], local["auc"]),
            _pair(local["own_accuracy"], local["own_auc"]),
            _pair(federated["accuracy"], federated["auc"]),
            _pair(federated["own_accuracy"], federated["own_auc"]),
            str(member["score_ppm"]),
            f"{member['reward_wei'] / WEI:.4f}",
        )
    console.print(table)
    audit = report["audit"]
    records = audit["records"]
    checked, shown = audit["checked"], records["checked"]
    console.print(
        f"The auditor, from the URL and the registry alone: {_verdict(audit)}. Checked {checked['members']} members, "
        f"{checked['rounds']} rounds, {checked['signatures']} signatures, {checked['leaves']} reward leaves, "
        f"{checked['wei']} wei, {checked['codes']} contract codes. Rewards could be claimed {dispute_seconds} s after "
        "their round was recorded; a real consortium gives disputes days.",
        highlight=False,
    )
    console.print(
        f"Once more with the round records that the members keep: {_verdict(records)}. {shown['statements']} signed "
        f"statements judged, {shown['scores']} scores opened again, {len(records['faults'])} faults shown.",
        highlight=False,
    )
    console.print(
        "One member can tilt these scores until a public anchor exists; with 8 members or more each opening reveals "
        f"k numbers of an update, not one. {report['seconds']} s in all.",
        highlight=False,
    )


def _verdict(audit: dict[str, Any]) -> str:
    return "everything fits" if audit["ok"] else "FINDINGS"


def _pair(accuracy: float, auc: float | None) -> str:
    return f"{_short(accuracy)} {'  - ' if auc is None else _short(auc)}"


def _short(share: float) -> str:
    return "1.00" if share >= 0.9995 else f"{share:.3f}"[1:]
