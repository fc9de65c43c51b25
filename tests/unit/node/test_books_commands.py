from __future__ import annotations

from typing import Any

import pytest

from ledger import books
from ledger.asset import Asset
from ledger.books import Entry
from ledger.errors import NoAnswer
from ledger.types import EMPTY, SETTLED, TRAINING, RoundRecord, RoundResult, RoundState
from node import books_commands

HOSTILE = ("[/red]north", "\x1b[2Jsouth", "[bold]east")


class Ledger:
    """A ledger with one round, which goes away once and ends the following by an interruption."""

    def __init__(self) -> None:
        self.answers: list[Any] = [NoAnswer("away"), KeyboardInterrupt()]

    def roster(self) -> Any:
        class Roster:
            members = tuple(type("Member", (), {"name": name}) for name in HOSTILE)

        return Roster

    def asset(self) -> Asset:
        return Asset()

    def next_round(self) -> int:
        return 1

    def follow(self, position: object) -> Any:
        raise self.answers.pop(0)


@pytest.fixture(autouse=True)
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    result = RoundResult(0, TRAINING, SETTLED, EMPTY, EMPTY, 0b011, EMPTY, EMPTY, EMPTY, EMPTY, 3)
    entry = Entry(
        RoundRecord(result, (1, 2, -3), 0b111, bytes(192), "0x", 9),
        (1, 2, 0),
        1_800_000_000,
        (0, 1, 2),
        RoundState.FINAL,
    )
    monkeypatch.setattr(books, "compute_history", lambda client, last: [entry])
    monkeypatch.setattr(books_commands, "_client", lambda folder, rpc, registry: (Ledger(), 0))
    monkeypatch.setattr(books_commands, "POLL_SECONDS", 0.0)


def test_names_neither_colour_nor_clear_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    books_commands.history(None, None, None, 5, False, False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[/red]north" in out
    assert "[bold]east" in out


def test_a_follower_outlasts_an_outage_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        books_commands.history(None, None, None, 5, True, True)
    assert "ledger.unavailable" in capsys.readouterr().out
