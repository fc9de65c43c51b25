"""The records of rounds that a node publishes: files that hold nothing secret, for auditors to take away.

`records/00000007.record` is one round as this member heard it (`gossip.record`); `records/evidence/` holds, by digest,
the public bytes by which the faults named in it are judged.  A file is there whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from gossip.record import RoundRecord, encode_record
from node.errors import StoreError

FOLDER = "records"
EVIDENCE = "evidence"
SUFFIX = ".record"


class Recorder:
    """Writes one node's records.

    Args:
        folder: of the node.
        find_blob: public bytes by their digest, if they are stored.
    """

    def __init__(self, folder: Path, find_blob: Callable[[bytes], bytes | memoryview | None]) -> None:
        self._folder = folder / FOLDER
        self._find_blob = find_blob

    def write(self, record: RoundRecord, evidence: Iterable[bytes]) -> None:
        """Publish a round, and what its faults are judged by.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            for name in evidence:
                data = self._find_blob(name)
                if data is not None:
                    _write(self._folder / EVIDENCE / name.hex(), data)
            _write(self._folder / f"{record.result.round:08d}{SUFFIX}", encode_record(record))
        except OSError as error:
            raise StoreError(f"cannot write the round's record in {self._folder}: {error.strerror}") from error


def _write(path: Path, data: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
