"""Amounts, times, and what strangers wrote, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

MAX_FOREIGN_TEXT: Final = 200
"""Characters of somebody else's words that an error repeats."""


def exact(amount: int, decimals: int) -> str:
    """An amount that is counted in its unit's smallest part, in whole units, without trailing zeros."""
    whole, rest = divmod(abs(amount), 10**decimals)
    digits = f"{rest:0{decimals}d}".rstrip("0") if rest else ""
    return ("-" if amount < 0 else "") + str(whole) + (f".{digits}" if digits else "")


def ether(wei: int) -> str:
    """Wei in ether, exactly, without trailing zeros."""
    return exact(wei, 18)


def in_utc(seconds: int) -> str:
    """A time since 1970 as a date."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"


def printable(text: str) -> str:
    """What others wrote, without what could move a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)


def one_line(text: str) -> str:
    """A stranger's words for an error: bounded, on one line, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text[:MAX_FOREIGN_TEXT])
    return line + "..." if len(text) > MAX_FOREIGN_TEXT else line
