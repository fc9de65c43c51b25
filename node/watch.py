"""Training as the network's side sees it: whether it goes on, and whether anybody still wants it."""

from __future__ import annotations


class TrainingStopped(Exception):
    """The others have ended the round that was trained for."""


class Watch:
    """Shared by the thread that trains, which counts its steps, and the network's, which reads and may stop it.

    Attributes:
        steps: begun so far, over all rounds: a sign of work that peers are told.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._round = 0
        self._first_wanted = 0

    def begin(self, round_id: int) -> None:
        """Training for a round begins."""
        self._round = round_id

    def step(self) -> None:
        """One more step of training.

        Raises:
            TrainingStopped: nobody wants it any more.
        """
        if self._round < self._first_wanted:
            raise TrainingStopped
        self.steps += 1

    def stop_before(self, round_id: int) -> None:
        """Have training for earlier rounds stop at its next step."""
        self._first_wanted = max(self._first_wanted, round_id)
