"""An audit's report as one HTML file that loads nothing: verdict, findings, members, and curves over the rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from ledger.standing import unit_of
from ledger.words import ether, in_utc
from node.audit_facts import facts

WIDTH: Final = 720
HEIGHT: Final = 260
LEFT, RIGHT, TOP, BOTTOM = 74, 12, 12, 30
TICKS: Final = 6

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f00", "#5b5b5b")
"""Told apart with every kind of colour vision.  Source: Okabe and Ito, Color Universal Design, 2008."""

DASHES: Final = ("", "7 3", "2 3", "9 3 2 3")

Curve = Sequence[tuple[int, Sequence[int]]]
"""Rounds, and a number for each member."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One member's curve: its points as SVG writes them, its newest value in words."""

    name: str
    colour: str
    dash: str
    points: str
    end: tuple[float, float]
    value: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What the template draws."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


def render(report: Mapping[str, Any], signer: str = "", signature: str = "") -> str:
    """The page for the JSON of an `AuditReport`."""
    names = [member["name"] for member in report["members"]]
    curves = report["curves"]
    scores, earned, paid = (curves[name] for name in ("score_ppm", "earned_wei", "claimed_wei"))
    unit = unit_of(report["asset"])
    charts = [
        draw("Contribution: sum of scores", "parts per million of loss", names, scores, str),
        draw("Earned", unit, names, earned, _short_ether),
        draw("Paid out", unit, names, _steps(paid, scores), _short_ether),
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["ether"] = ether
    source = files("node").joinpath("templates", "audit.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        report=report,
        charts=[chart for chart in charts if chart is not None],
        unit=unit,
        facts=facts(report),
        time=in_utc(report["block_time"]),
        signer=signer,
        signature=signature,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
    )


def draw(title: str, unit: str, names: Sequence[str], curve: Curve, in_words: Callable[[int], str]) -> Chart | None:
    """The curve of each member; None if there is nothing to draw."""
    if not curve:
        return None
    rounds = [round_id for round_id, _ in curve]
    numbers = [value for _, values in curve for value in values]
    low, high = min(0, *numbers), max(0, *numbers)
    span = max(1, high - low)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(round_id: int) -> float:
        return round(LEFT + width * (round_id - rounds[0]) / max(1, rounds[-1] - rounds[0]), 1)

    def y(value: int) -> float:
        return round(TOP + height * (high - value) / span, 1)

    lines = []
    for index, name in enumerate(names):
        mine = [(round_id, values[index]) for round_id, values in curve if index < len(values)]
        if not mine:
            continue
        lines.append(
            Line(
                name=name,
                colour=COLOURS[index % len(COLOURS)],
                dash=DASHES[index // len(COLOURS) % len(DASHES)],
                points=" ".join(f"{x(round_id)},{y(value)}" for round_id, value in mine),
                end=(x(mine[-1][0]), y(mine[-1][1])),
                value=in_words(mine[-1][1]),
            )
        )
    return Chart(
        title=title,
        unit=unit,
        lines=tuple(lines),
        across=tuple(Tick(x(round_id), str(round_id)) for round_id in _round_numbers(rounds[0], rounds[-1])),
        up=tuple(Tick(y(value), in_words(value)) for value in _round_numbers(low, high)),
    )


def _round_numbers(low: int, high: int) -> range:
    """A few multiples of 1, 2 or 5 times a power of ten from `low` to `high`."""
    power = 10 ** max(0, len(str(max(1, high - low) // TICKS)) - 1)
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * TICKS >= high - low)
    return range(-(-low // step) * step, high + 1, step)


def _steps(curve: Curve, whole: Curve) -> Curve:
    """`curve` as stairs that begin with nothing and reach as far as `whole` does."""
    if not curve or not whole:
        return curve
    values: Sequence[int] = [0] * len(curve[-1][1])
    stairs = [(whole[0][0], values)]
    for round_id, after in curve:
        stairs += [(round_id, values), (round_id, after)]
        values = after
    return [*stairs, (max(whole[-1][0], curve[-1][0]), values)]


def _short_ether(wei: int) -> str:
    return f"{Decimal(wei) / 10**18:.4g}"
