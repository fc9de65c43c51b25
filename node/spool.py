"""Payloads on their way in, in files: a node's memory holds a few chunks of each, whatever its size."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from node.errors import StoreError

INCOMING = "incoming"


class Spool:
    """A folder for what is not complete yet; nothing in it outlives the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / INCOMING
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self) -> SpoolFile:
        """A new place."""
        return SpoolFile(self._folder)


class SpoolFile:
    """One payload; see `gossip.transport.payloads.Sink`.

    Raises:
        StoreError: of `write` and `take`, when the disk is full or fails.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None

    def write(self, piece: bytes) -> None:
        try:
            if self._path is None:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                descriptor, name = tempfile.mkstemp(dir=self._folder)
                self._path = Path(name)
                with open(descriptor, "wb", buffering=0) as file:
                    file.write(piece)
                return
            with self._path.open("ab", buffering=0) as file:
                file.write(piece)
        except OSError as error:
            raise StoreError(
                f"cannot write to {self._folder}: {error.strerror}; make room and start again, nothing was lost"
            ) from error

    def take(self) -> bytes:
        if self._path is None:
            return b""
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {self._path}: {error.strerror}") from error
        finally:
            self.discard()

    def discard(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
