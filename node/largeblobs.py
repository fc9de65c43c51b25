"""Blobs too large for the database: a file each, written once, mapped into memory when they are read.

A file is there whole and on disk, or not at all; whoever reads it gets a view of it, not a copy.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

LARGE_BYTES: Final = 1 << 20
"""From this size on a blob is a file: two syncs for each are then worth it."""


class LargeBlobs:
    """Files by their digest, in one folder for each round; errors are those of the operating system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: bytes, round_id: int, data: bytes | memoryview) -> None:
        """Write a blob; it is on disk when this returns.  Two threads may write the same one at once."""
        folder = self._folder / f"{round_id:08d}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, path = tempfile.mkstemp(".part", name.hex(), folder)
        draft = Path(path)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(folder / name.hex())
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync(folder)

    def get(self, name: bytes) -> memoryview | None:
        """A view of a blob, if it is here; it stays valid although the file is forgotten."""
        for path in sorted(self._folder.glob(f"*/{name.hex()}"), reverse=True):
            with path.open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return None

    def forget_before(self, round_id: int) -> None:
        """Remove the blobs of earlier rounds, and what was left half written among them."""
        for folder in self._folder.glob("*"):
            if folder.name.isdecimal() and int(folder.name) < round_id:
                shutil.rmtree(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
