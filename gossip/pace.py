"""How long the steps of recent rounds took, and how long to wait for them in the next one.

Promises: every wait stays between its configured bounds; a step that took long is given longer the next time, and one
that was quick costs whoever is gone no more than a few times what it takes the others.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from gossip.state import RoundState, Timing
from gossip.statements import Kind

ROUNDS = 8
"""Rounds that are looked back at."""
FACTOR = 4.0
"""How much longer than the slowest of these a step may take."""


class Pace(msgspec.Struct, frozen=True, array_like=True):
    """Seconds that steps took in the last rounds, oldest first.

    Attributes:
        train: from the Open to the last Deal that came in time.
        prove: from the Freeze to the last Proof.
        receipt: from the Freeze to the last Receipt.
        agree: from the own Receipt to the final set.
        reveal: from the final set to the sum.
    """

    train: tuple[float, ...] = ()
    prove: tuple[float, ...] = ()
    receipt: tuple[float, ...] = ()
    agree: tuple[float, ...] = ()
    reveal: tuple[float, ...] = ()


def after_round(pace: Pace, state: RoundState) -> Pace:
    """The pace with a round that is over; steps that it did not come to say nothing."""
    entered, last = state.entered, state.last_heard
    spans = {
        "train": (entered.get("TRAIN"), last.get(Kind.DEAL)),
        "prove": (entered.get("PROVE"), last.get(Kind.PROOF)),
        "receipt": (entered.get("PROVE"), last.get(Kind.RECEIPT)),
        "agree": (entered.get("AGREE"), entered.get("REVEAL")),
        "reveal": (entered.get("REVEAL"), entered.get("SCORE", entered.get("RECORD"))),
    }
    known = {
        name: (*getattr(pace, name), end - begin)[-ROUNDS:]
        for name, (begin, end) in spans.items()
        if begin is not None and end is not None and end >= begin
    }
    return msgspec.structs.replace(pace, **known)


def adapt(timing: Timing, pace: Pace) -> Timing:
    """The waits of the next round: `timing` gives the longest of each, and the shortest of all."""

    def wait(longest: float, took: tuple[float, ...]) -> float:
        return min(longest, max(timing.shortest_seconds, FACTOR * max(took))) if took else longest

    return replace(
        timing,
        train_seconds=wait(timing.train_seconds, pace.train),
        prove_seconds=wait(timing.prove_seconds, pace.prove),
        receipt_seconds=wait(timing.receipt_seconds, pace.receipt),
        agree_seconds=wait(timing.agree_seconds, pace.agree),
        reveal_seconds=wait(timing.reveal_seconds, pace.reveal),
        longest_train_seconds=timing.train_seconds,
    )
