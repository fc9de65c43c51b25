"""How a task is trained locally, in the integers that its spec publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gossip.spec import MICRO
from node.errors import TaskError


@dataclass(frozen=True, slots=True)
class Training:
    """The task's hyper-parameters, as the spec publishes them in integers."""

    local_steps: int = 20
    batch_size: int = 16
    learning_rate: float = 0.1
    l2: float = 0.001

    @classmethod
    def of(cls, numbers: Mapping[str, int]) -> Training:
        """From a spec's `training` table.

        Raises:
            TaskError: a name that means nothing here.
        """
        known = {"local_steps", "batch_size", "learning_rate_micro", "l2_micro"}
        if set(numbers) - known:
            raise TaskError(f"the spec's training table knows {sorted(known)}, found {sorted(set(numbers) - known)}")
        return cls(
            numbers.get("local_steps", 20),
            numbers.get("batch_size", 16),
            numbers.get("learning_rate_micro", 100_000) / MICRO,
            numbers.get("l2_micro", 1_000) / MICRO,
        )
