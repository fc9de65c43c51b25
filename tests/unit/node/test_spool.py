"""Payloads on their way in: files that vanish when they are taken, given up, or left over from before."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import StoreError
from node.spool import INCOMING, Spool


def test_what_was_written_is_taken_once_and_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    file, other = spool.open(), spool.open()
    for piece in (b"ab", b"", b"c"):
        file.write(piece)
    other.write(b"other")
    assert file.take() == b"abc"
    other.discard()
    assert list((tmp_path / INCOMING).iterdir()) == []


def test_empty_payload_needs_no_file(tmp_path: Path) -> None:
    assert Spool(tmp_path).open().take() == b""


def test_leftovers_of_a_killed_node_go_at_the_start(tmp_path: Path) -> None:
    Spool(tmp_path).open().write(b"half a share")
    Spool(tmp_path)
    assert not (tmp_path / INCOMING).exists()


def test_disk_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / INCOMING).write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write to .*incoming: .*; make room"):
        spool.open().write(b"x")
