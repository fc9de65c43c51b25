"""One contract's events, each handed to the check that is for its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from typing import Any, Final

from ledger.audit_creation import audit_creation
from ledger.findings import Notebook, shown
from ledger.trail import Event, Trail

Check = Callable[[Event], None]

MAX_KEPT: Final = 100_000
"""Of one kind, in an audit's memory: some 30 MB.

Each costs somebody a transaction, and most a bond, a payment, or a quorum its signatures; a hostile endpoint tells of
any number for nothing.
"""


class TooMany(Exception):
    """A contract's events tell of more than an audit keeps in mind: the rest of them is left alone.

    Attributes:
        code: of the finding that says so.
    """

    def __init__(self, code: str, what: str) -> None:
        super().__init__(f"events tell of more than {MAX_KEPT} {what}, the rest was left alone")
        self.code = code


def check_room(kept: Sized, code: str, what: str) -> None:
    """Whether one more fits.

    Raises:
        TooMany: it does not.
    """
    if len(kept) >= MAX_KEPT:
        raise TooMany(code, what)


class Replay:
    """Goes through a contract's events once, as far as asked, and keeps nothing of them itself.

    Args:
        checks: what to do with an event, by its name; there has to be one for each of the contract's events.
        only: name of the one event to ask about; "" for all.
    """

    def __init__(
        self, trail: Trail, contract: str, address: str, notebook: Notebook, checks: Mapping[str, Check], only: str = ""
    ) -> None:
        self.trail = trail
        self.address = address
        self.notebook = notebook
        self.checks = dict(checks)
        self._contract = contract
        self._events = trail.events(contract, address, only)
        self._waiting: Event | None = None
        self._is_over = False
        self._is_made = bool(only)  # whoever asks about all events looks at how the contract was made

    def advance(self, place: tuple[int, int] | None = None) -> None:
        """Checks the events before this place of the chain, or all."""
        while (event := self.peek()) is not None and (place is None or event.place < place):
            self.step()

    def peek(self) -> Event | None:
        """The next event; None after the last one."""
        if self._waiting is None and not self._is_over:
            self._waiting = next(self._events, None)
            self._is_over = self._waiting is None
        return self._waiting

    def step(self) -> None:
        """Checks the next event."""
        event, self._waiting = self.peek(), None
        if event is None:
            return
        if not self._is_made and event.name:
            self._is_made = True
            audit_creation(self.trail, self._contract, self.address, event.tx, self.notebook)
        check = self.checks.get(event.name)
        if check is None:
            what = shown(event.values.get("reason", event.name))
            self.notebook.note("log.unreadable", f"a log of the {self._contract}: {what}")
            return
        try:
            check(event)
        except TooMany as flood:
            self.notebook.note(flood.code, str(flood))
            self.stop()

    def stop(self) -> None:
        """Leaves the rest of the events alone."""
        self._is_over, self._waiting = True, None

    def stored(self, name: str, *args: object) -> Any:
        """What the contract's view returns after the last block."""
        return self.trail.view(self._contract, self.address, name, *args)
