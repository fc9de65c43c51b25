"""Amounts and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger.types import ZERO_ADDRESS


def exact(amount: int, decimals: int) -> str:
    """An amount that is counted in its unit's smallest part, in whole units, without trailing zeros."""
    whole, rest = divmod(abs(amount), 10**decimals)
    digits = f"{rest:0{decimals}d}".rstrip("0") if rest else ""
    return ("-" if amount < 0 else "") + str(whole) + (f".{digits}" if digits else "")


def ether(wei: int) -> str:
    """Wei in ether, exactly, without trailing zeros."""
    return exact(wei, 18)


def unit_of(asset: str) -> str:
    """What `ether` of this asset are called; an auditor believes no token that names its decimals."""
    return "ether" if asset == ZERO_ADDRESS else f"10^18 of token {asset}"


def in_utc(seconds: int) -> str:
    """A time since 1970 as a date."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"


def printable(text: str) -> str:
    """What others wrote, without what could move a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)
