"""What a node tells the outside about itself: a line for each step it takes, and its present state as a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node import meters
from node.errors import StoreError

PROGRESS_FILE = "progress.jsonl"
STATUS_FILE = "status.json"


class Progress:
    """Writes a node's progress into its folder; nothing in it is secret."""

    def __init__(self, folder: Path) -> None:
        with _room():
            self._file = (folder / PROGRESS_FILE).open("a", buffering=1)
        self._status = folder / STATUS_FILE
        self.folder = folder
        self.state = self._last_state()

    def _last_state(self) -> dict[str, Any]:
        """What the node last said of itself, so that a restart does not forget it; nothing if it cannot be read."""
        try:
            state = json.loads(self._status.read_text())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def note(self, what: str, **values: Any) -> None:
        """Append one line: what happened, when, with which values."""
        with _room():
            self._file.write(json.dumps({"event": what, "time": round(time.time(), 3), **values}) + "\n")

    def update(self, **values: Any) -> None:
        """Replace values of the present state; the file is whole at every moment."""
        self.state |= values
        self.state["updated"] = round(time.time(), 3)
        draft = self._status.with_suffix(".new")
        with _room():
            draft.write_text(json.dumps(self.state, indent=1))
            os.replace(draft, self._status)

    def write_meters(self, text: str) -> None:
        """Replace the file with the node's counters."""
        with _room():
            meters.write(self.folder, text)

    def close(self) -> None:
        with _room():
            self._file.close()


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"cannot write {error.filename or PROGRESS_FILE}: {error.strerror or error}"
        raise StoreError(f"{what}; make room and start again, nothing was lost") from error
