from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from ledger.findings import CODES, Curves, MemberSummary, Notebook
from ledger.standing import Funds
from ledger.words import ether
from node.audit_page import COLOURS, HEIGHT, WIDTH, draw, render

HOSTILE = "<script>alert(1)</script>\"'&"


def report(
    names: tuple[str, ...] = ("north", "south"), rounds: int = 5, findings: tuple[str, ...] = ()
) -> dict[str, Any]:
    notebook = Notebook()
    for code in findings:
        notebook.note(code, HOSTILE, 3)
    curve = tuple((number, tuple(number * 10**17 * (i + 1) for i in range(len(names)))) for number in range(rounds))
    members = tuple(MemberSummary(name, "0x" + "11" * 20, 1, 2, -3, None, 4) for name in names)
    found = notebook.report(
        5, "0x" + "22" * 20, 9, block_hash=bytes(32), block_time=1_800_000_000,
        members=members, curves=Curves(curve, curve, curve[1:3]), funds=Funds(funded_wei=10**18),
    )  # fmt: skip
    return found.as_json()


class Parsed(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("rounds", [0, 1, 2, 300])
def test_a_page_loads_nothing_and_runs_nothing(rounds: int) -> None:
    parsed = Parsed(render(report(rounds=rounds, findings=tuple(CODES))))
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(parsed.tags)
    assert not {"src", "href", "xlink:href", "action"} & {name for name, _ in parsed.attributes}
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in parsed.attributes
    assert parsed.open == []


def test_what_members_call_themselves_stays_text() -> None:
    page = render(report(names=(HOSTILE, "south"), findings=("round.missing",)))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3


def test_every_finding_comes_with_its_round_meaning_and_advice() -> None:
    page = render(report(findings=("round.missing",)))
    assert "1 finding." in page
    assert "round.missing" in page
    assert CODES["round.missing"] in page
    assert "ask the members for it" in page


def test_an_audit_without_findings_says_so() -> None:
    page = render(report())
    assert "Everything fits." in page
    assert "<h2>Findings</h2>" not in page
    assert "Signed by" not in page


def test_what_must_not_be_overlooked_stands_beside_the_verdict() -> None:
    page = render(report() | {"notices": ["recorded rounds earned 2.5 ether"]})
    assert page.index("Everything fits.") < page.index("Recorded rounds earned 2.5 ether.") < page.index("Registry")


def test_changes_of_the_roster_are_told_and_stay_text() -> None:
    change = {"version": 7, "block": 40, "what": f"admitted {HOSTILE}", "quorum": 4, "members": 5}
    page = render(report() | {"changes": {"newest": [change], "left_out": 3}})
    assert "3 older ones" in page
    assert "admitted &lt;script&gt;" in page
    assert "<script" not in page


def test_what_could_not_be_computed_is_not_shown_as_a_number() -> None:
    assert re.search(r"<dt>Rewards</dt><dd>unknown after the last round", render(report()))
    assert "none left out" not in render(report(findings=("round.missing",)))


def test_a_signed_page_names_its_signer() -> None:
    assert "0xabc" in render(report(), "0xabc", "0xdef")


def test_curves_stay_inside_their_chart() -> None:
    chart = draw("t", "u", ["a", "b"], [(3, (5, -7)), (4, (0, 10**20)), (90, (-(10**21), 1))], str)
    assert chart is not None
    for line in chart.lines:
        for point in line.points.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
    assert all(0 <= tick.at <= HEIGHT for tick in chart.up)
    assert 2 <= len(chart.up) <= 8


def test_a_member_that_came_later_has_a_shorter_curve() -> None:
    chart = draw("t", "u", ["a", "b"], [(0, (1,)), (1, (2, 3)), (2, (2, 4))], str)
    assert chart is not None
    assert [len(line.points.split()) for line in chart.lines] == [3, 2]


def test_more_members_than_colours_are_told_apart() -> None:
    names = [f"m{index}" for index in range(len(COLOURS) * 2)]
    chart = draw("t", "u", names, [(0, [1] * len(names))], str)
    assert chart is not None
    assert len({(line.colour, line.dash) for line in chart.lines}) == len(names)


def test_payments_are_stairs() -> None:
    paid = re.findall(r'<polyline points="([^"]*)"', render(report()))[-1].split()
    corners = [tuple(map(float, point.split(","))) for point in paid]
    for (x, y), (following_x, following_y) in pairwise(corners):
        assert x == following_x or y == following_y


@pytest.mark.parametrize(
    ("wei", "text"), [(0, "0"), (1, "0.000000000000000001"), (10**18, "1"), (15 * 10**17, "1.5"), (10**20, "100")]
)
def test_ether_is_exact(wei: int, text: str) -> None:
    assert ether(wei) == text
