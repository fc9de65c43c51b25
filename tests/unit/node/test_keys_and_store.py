"""What a node keeps on its disk: keys that only its owner can read, and a store that is written before it speaks."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gossip.spec import blob_digest
from node.errors import ConfigError, StoreError
from node.keys import create_keys, load_keys
from node.largeblobs import LARGE_BYTES
from node.store import Store

DATA, MODEL = blob_digest(b"data"), blob_digest(b"model")


def test_keys_come_back_and_are_for_their_owner_alone(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    assert load_keys(tmp_path) == keys
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {0o600}
    assert keys.signer.hex() not in repr(keys)


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    with pytest.raises(ConfigError, match=r"exists already|never overwritten"):
        create_keys(tmp_path)
    assert load_keys(tmp_path) == keys


WAY_OUT = "restore it from a backup, or, if this member has not been deployed yet, run `mycelia init` with a new folder"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, f"the key file FILE is missing: {WAY_OUT}"),
        (b"not a key\n", f"the key file FILE is damaged, expected 64 hex digits: {WAY_OUT}"),
        (b"\x8f\x00\xff" * 11, f"the key file FILE is damaged, expected 64 hex digits: {WAY_OUT}"),
        ("ä".encode() * 64, f"the key file FILE is damaged, expected 64 hex digits: {WAY_OUT}"),
        (b"00" * 32, f"the key file FILE is damaged, expected 64 hex digits: {WAY_OUT}"),
        (b"", f"the key file FILE is damaged, expected 64 hex digits: {WAY_OUT}"),
    ],
    ids=["missing", "no hex", "binary", "no ASCII", "zero", "empty"],
)
def test_a_key_file_that_cannot_be_used_is_named_with_a_way_out(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    create_keys(tmp_path)
    path = tmp_path / "signer.key"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load_keys(tmp_path)
    assert str(refused.value).replace(str(path), "FILE") == said


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    create_keys(tmp_path)
    path = tmp_path / "signer.key"
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=rf"others may read {path} \(mode 644\); run: chmod 600 {path}"):
        load_keys(tmp_path)


def test_key_that_found_no_room_leaves_no_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match=r"cannot write .*account\.key: No space left"):
            create_keys(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert create_keys(tmp_path) == load_keys(tmp_path)


def test_what_was_stored_is_there_after_reopening(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.store")
    store.begin_round(3, b"start")
    store.append_events(3, [(1.0, b"one"), (2.5, b"two")])
    store.put(DATA, 3, b"data")
    store.queue_result(2, b"result")
    store.save_checkpoint(2, MODEL, b"model")
    store.save_private(2, b"private")
    store.close()
    again = Store(tmp_path / "node.store")
    assert again.current_round() == (3, b"start")
    assert again.events(3) == [(1.0, b"one"), (2.5, b"two")]
    assert again.get(DATA) == b"data"
    assert again.pending_results() == [(2, b"result")]
    assert again.latest_checkpoint() == (2, MODEL, b"model")
    assert again.load_private(9) == b"private"
    assert again.checkpoint(MODEL) == b"model"
    assert again.checkpoint(b"another") is None
    again.queue_result(3, b"next")
    again.mark_recorded(2, "0x1")
    assert again.pending_results() == [(3, b"next")]
    assert again.results() == [(2, b"result", "0x1"), (3, b"next", None)]
    again.close()


def test_a_new_round_forgets_old_events_and_shares(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.store")
    store.append_events(3, [(1.0, b"one")])
    old, recent = blob_digest(b"old"), blob_digest(b"recent")
    store.put(old, 1, b"old")
    store.put(recent, 2, b"recent")
    store.put_secret("seed", 1, b"old")
    store.put_secret("seed", 2, b"recent")
    store.begin_round(4, b"start")
    assert store.events(3) == []
    assert store.get(old) is None
    assert store.get(recent) == b"recent"
    assert store.get_secret("seed", 1) is None
    assert store.get_secret("seed", 2) == b"recent"
    store.close()


def test_no_digest_leads_to_a_secret(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.store")
    store.put_secret("seed", 1, b"secret")
    assert store.get(blob_digest(b"secret")) is None
    assert store.get(b"seed") is None
    store.close()


@pytest.mark.parametrize("table", ["blobs", "models"])
def test_what_has_another_digest_than_its_name_is_damage(tmp_path: Path, table: str) -> None:
    store = Store(tmp_path / "node.store")
    store.put(DATA, 3, b"data")
    store.save_checkpoint(3, MODEL, b"model")
    with store._change() as db:
        db.execute(f"UPDATE {table} SET data = ?", (b"dat\x00",))
    with pytest.raises(StoreError, match="damaged"):
        store.get(DATA) if table == "blobs" else store.latest_checkpoint()
    store.close()


def test_a_store_is_of_one_consortium(tmp_path: Path) -> None:
    for consortium in ("0xaa on chain 1", "0xaa on chain 1"):
        store = Store(tmp_path / "node.store")
        store.belong_to(consortium)
        store.close()
    store = Store(tmp_path / "node.store")
    with pytest.raises(StoreError, match="of another consortium"):
        store.belong_to("0xbb on chain 1")
    store.close()


def test_one_folder_is_one_node(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.store")
    code = f"from pathlib import Path; from node.store import Store; Store(Path({str(tmp_path / 'node.store')!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert found.returncode != 0
    assert "another process" in found.stderr
    store.close()


def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "node.store"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreError, match="not a node's store"):
        Store(path)
    assert path.read_bytes().startswith(b"something else")


def test_a_database_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "node.store"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE patients (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a node's store"):
        Store(path)
    assert path.read_bytes() == before


def test_a_refused_store_can_be_opened_once_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "node.store"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreError, match="not a node's store"):
        Store(path)
    path.unlink()
    Store(path).close()


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.store"
    Store(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version=9")
    newer.close()
    with pytest.raises(StoreError, match="of version 9"):
        Store(path)


def test_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.store")
    store.append_events(1, [(1.0, b"said")])
    store._row("PRAGMA max_page_count=1")
    with pytest.raises(StoreError, match=r"no room left .* nothing was lost"):
        store.append_events(1, [(2.0, bytes(1 << 20))])
    assert store.events(1) == [(1.0, b"said")]
    store.close()
    assert (tmp_path / "node.store").stat().st_mode & 0o777 == 0o600


def test_a_disk_that_takes_no_more_is_named_with_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.store")
    store.append_events(1, [(1.0, b"said")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreError, match=r"disk I/O error; see that its disk has room, .* and start again"):
            store.append_events(1, [(2.0, bytes(1 << 16))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.events(1) == [(1.0, b"said")]
    store.close()


def test_a_large_blob_is_a_file_of_its_own_and_comes_back_as_a_view(tmp_path: Path) -> None:
    data = bytes(range(256)) * (LARGE_BYTES // 256)
    name = blob_digest(data)
    store = Store(tmp_path / "node.store")
    store.put(name, 3, data)
    found = store.get(name)
    assert isinstance(found, memoryview)
    (path,) = tmp_path.glob("node.blobs/*/*")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    store.begin_round(6, b"")
    assert store.get(name) is None
    assert found == data, "who reads it still can"
    store.close()


@pytest.mark.parametrize("damage", ["half", "changed"])
def test_a_large_blob_that_was_damaged_is_named(tmp_path: Path, damage: str) -> None:
    data = bytes(LARGE_BYTES)
    store = Store(tmp_path / "node.store")
    store.put(blob_digest(data), 0, data)
    (path,) = tmp_path.glob("node.blobs/*/*")
    path.write_bytes(data[: LARGE_BYTES // 2] if damage == "half" else b"\1" + data[1:])
    with pytest.raises(StoreError, match="is damaged"):
        store.get(blob_digest(data))
    store.close()


def test_a_large_blob_may_be_put_by_two_threads_at_once(tmp_path: Path) -> None:
    """As when two members send the same bytes: the one that comes later finds nothing missing."""
    data = bytes(LARGE_BYTES)
    with closing(Store(tmp_path / "node.store")) as store, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: store.put(blob_digest(data), 1, data), range(64)))
        assert store.get(blob_digest(data)) == data
    assert [path.name for path in (tmp_path / "node.blobs").rglob("*") if path.is_file()] == [blob_digest(data).hex()]


def test_a_large_blob_that_finds_no_room_leaves_no_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = Store(tmp_path / "node.store")
    data = bytes(LARGE_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            store.put(blob_digest(data), 0, data)
    assert not list(tmp_path.glob("node.blobs/*/*"))
    assert store.get(blob_digest(data)) is None
    store.close()
