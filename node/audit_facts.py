"""What a report tells beside its counts and findings, in words: the same on a terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.standing import unit_of
from ledger.words import ether, in_utc


def facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What each fact is about, and the fact, for the JSON of an `AuditReport`; none where no member is known."""
    if not report["members"]:
        return []
    unit = unit_of(report["asset"])
    found = [("Vault", _funds(report, unit))]
    if report["revenue_paid_wei"]:
        paid, received = _amount(report["revenue_paid_wei"], unit), _amount(report["revenue_claimed_wei"], unit)
        found.append(("Revenue", f"{paid} paid for the model, {received} of it received by members"))
    if report["slashed_wei"]:
        lost = [(member["name"], member["slashed_wei"]) for member in report["members"] if member["slashed_wei"]]
        each = ", ".join(f"{name} {_amount(wei, unit)}" for name, wei in lost)
        found.append(("Slashed", f"{each}; {_amount(report['slashed_wei'], unit)} in total"))
    if void := report["void_rounds"]["newest"]:
        spans = [_span(each["first"], each["last"]) for each in void]
        found.append(("Void", _joined(spans, report["void_rounds"]) + ": a quorum found these rewards wrong"))
    if disputed := report["disputed_rounds"]["newest"]:
        ends = [f"round {each['round']} until {in_utc(each['until'])}" for each in disputed]
        found.append(("Disputed", _joined(ends, report["disputed_rounds"]) + ": waiting for a ruling"))
    if count := report["pauses"]:
        times = "once" if count == 1 else f"{count} times"
        found.append(("Paused", f"{times}, the last until {in_utc(report['paused_until'])}"))
    if report["successor"] is not None:
        found.append(("Successor", report["successor"]))
    return found


def change_in_words(change: Mapping[str, Any]) -> str:
    """One line for a change of the roster."""
    size = f"quorum {change['quorum']} of {change['members']}"
    return f"roster {change['version']}, block {change['block']}: {change['what']} ({size})"


def _funds(report: Mapping[str, Any], unit: str) -> str:
    earned = "an unknown sum" if report["earned_wei"] is None else _amount(report["earned_wei"], unit)
    funded, slashed, active, claimed, surplus = (
        _amount(report[f"{name}_wei"], unit) for name in ("funded", "slashed", "active", "claimed", "surplus")
    )
    came = f"{funded} paid in" + (f", {slashed} slashed from stakes" if report["slashed_wei"] else "")
    more = f"; it holds {surplus} more than its events explain: anybody can send coins there"
    told = f"{came}; recorded rounds earned {earned}; {active} became active, {claimed} of it claimed"
    return told + (more if report["surplus_wei"] > 0 else "")


def _amount(wei: int, unit: str) -> str:
    return f"{ether(wei)} {unit}"


def _span(first: int, last: int) -> str:
    return f"round {first}" if first == last else f"rounds {first} to {last}"


def _joined(texts: Sequence[str], listed: Mapping[str, Any]) -> str:
    more = [f"{listed['left_out']} older ones"] if listed["left_out"] else []
    return ", ".join((*more, *texts))
