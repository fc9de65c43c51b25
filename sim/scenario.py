"""What happens in a simulated world beside the protocol: latency, loss, crashes, slow members, lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gossip.events import (
    Effect,
)
from gossip.state import Timing

if TYPE_CHECKING:
    from sim.node import SimulatedNode

Lie = Callable[["SimulatedNode", list[Effect]], list[Effect]]
"""What a dishonest member does instead of these effects."""


_TIMING = Timing(train_seconds=10.0, grace_seconds=0.1)


@dataclass(frozen=True, slots=True)
class Crash:
    """A member stops at its `at`-th event, and may come back.

    Attributes:
        member: roster index.
        at: number of events that it has handled before.
        is_logged: the event is on disk, but nothing that follows from it was done.
        back_after_seconds: until it restarts; None = never.
    """

    member: int
    at: int
    is_logged: bool = False
    back_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """The world's conduct.

    Attributes:
        latency_seconds: shortest and longest time that a message takes.
        loss: share of announcements and pushed shares that never arrive (what was lost is repaired by exchange).
        work_seconds: how long each piece of work takes.
        training_seconds: by member, how long it trains in every round, if longer than other work takes.
        hanging: of these, members that give no sign of work meanwhile.
        notice_seconds: until the others notice that a member stopped or came back; None = never.
        exchange_seconds: between two exchanges of what each member lacks.
        crashes: who stops when.
        lies: dishonest members.
        keep_to_themselves: members that pass on nothing of what they heard.
        timing: the members' deadlines.
    """

    latency_seconds: tuple[float, float] = (0.01, 0.05)
    loss: float = 0.0
    work_seconds: float = 0.01
    training_seconds: Mapping[int, float] = field(default_factory=dict)
    hanging: frozenset[int] = frozenset()
    notice_seconds: float | None = 0.2
    exchange_seconds: float = 1.0
    crashes: tuple[Crash, ...] = ()
    lies: Mapping[int, Lie] = field(default_factory=dict)
    keep_to_themselves: frozenset[int] = frozenset()
    timing: Timing = _TIMING
