from __future__ import annotations

import pytest

from ledger.finality import INSTANT, Finality


@pytest.mark.parametrize("text", ["instant", "confirmations:1", "confirmations:10000", "safe", "finalized"])
def test_a_finality_is_written_as_it_was_read(text: str) -> None:
    assert str(Finality.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "Instant", "latest", "confirmations", "confirmations:0", "confirmations:10001", "confirmations:-1", "6"],
)
def test_what_is_no_finality_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"instant, confirmations:k .* found"):
        Finality.parse(text)


def test_the_default_waits_for_nothing() -> None:
    assert Finality() == INSTANT == Finality.parse("instant")
