"""What a node must not forget: one SQLite file with its events, blobs, secrets, results and models.

What `append_events` or `put` has been given is on disk when they return: that is what makes it true that nothing is
said twice.  A second process on the same folder is refused, and so is a store of another consortium; what is named by
its digest is compared with it when it is read.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gossip.spec import blob_digest
from node.errors import StoreError
from node.largeblobs import LARGE_BYTES, LargeBlobs

STORE_FILE = "node.store"
_VERSION = 3
_T = TypeVar("_T")
_Data = TypeVar("_Data", bytes, memoryview)
_ROUNDS_KEPT = 2
_MODELS_KEPT = 4

_SCHEMA = """
CREATE TABLE owner (consortium TEXT NOT NULL);
CREATE TABLE rosters (version INTEGER PRIMARY KEY, config BLOB NOT NULL);
CREATE TABLE rounds (round INTEGER PRIMARY KEY, start BLOB NOT NULL);
CREATE TABLE events (seq INTEGER PRIMARY KEY, round INTEGER NOT NULL, now REAL NOT NULL, body BLOB NOT NULL);
CREATE TABLE blobs (name BLOB PRIMARY KEY, round INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE secrets (what TEXT, round INTEGER, data BLOB NOT NULL, PRIMARY KEY (what, round));
CREATE TABLE private (round INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE results (round INTEGER PRIMARY KEY, data BLOB NOT NULL, tx TEXT);
CREATE TABLE models (round INTEGER PRIMARY KEY, digest BLOB NOT NULL, data BLOB NOT NULL);
CREATE INDEX events_by_round ON events (round);
CREATE INDEX blobs_by_round ON blobs (round);
"""


def is_in_use(path: Path) -> bool:
    """Whether a running node has this store open."""
    try:
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Store:
    """One node's store; safe to use from several threads.

    Raises:
        StoreError: the file is damaged, of another version, or in use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._large = LargeBlobs(path.with_suffix(".blobs"))
        self._lock = threading.Lock()
        self._lock_file = self._lock_folder()
        # A store that was refused must not keep its folder locked.
        with ExitStack() as undo:
            undo.callback(os.close, self._lock_file)
            with self._errors():
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
                self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            undo.callback(self._db.close)
            self._prepare()
            undo.pop_all()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()
            os.close(self._lock_file)

    def belong_to(self, consortium: str) -> None:
        """Tie the store to the one consortium that it is of, from its first use on.

        Raises:
            StoreError: it is of another one.
        """
        row = self._row("SELECT consortium FROM owner")
        if row is None:
            with self._change() as db:
                db.execute("INSERT INTO owner VALUES (?)", (consortium,))
        elif row[0] != consortium:
            raise StoreError(
                f"{self._path} is of another consortium ({row[0]}) than the one asked for ({consortium}); "
                "ask another member which is yours; then go back to it, or move the file away to begin anew"
            )

    def rosters(self) -> tuple[bytes, ...]:
        """Config digests of the rosters that were final when they were last seen, oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT config FROM rosters ORDER BY version").fetchall()
        return tuple(config for (config,) in rows)

    def keep_rosters(self, configs: Sequence[bytes]) -> None:
        """Keep what is new of these."""
        known = len(self.rosters())
        if known < len(configs):
            with self._change() as db:
                db.executemany("INSERT INTO rosters VALUES (?, ?)", list(enumerate(configs))[known:])

    # --- rounds and events ----------------------------------------------------------------------------------------

    def begin_round(self, round_id: int, start: bytes) -> None:
        """Turn to a round: its start is kept, events of earlier rounds and blobs of all but the last two are not."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO rounds VALUES (?, ?)", (round_id, start))
            db.execute("DELETE FROM rounds WHERE round < ?", (round_id,))
            db.execute("DELETE FROM events WHERE round < ?", (round_id,))
            for table in ("blobs", "secrets"):
                db.execute(f"DELETE FROM {table} WHERE round < ?", (round_id - _ROUNDS_KEPT,))
        with self._errors():
            self._large.forget_before(round_id - _ROUNDS_KEPT)

    def current_round(self) -> tuple[int, bytes] | None:
        """The latest round begun and its start; None in a new store."""
        row: tuple[int, bytes] | None = self._row("SELECT round, start FROM rounds ORDER BY round DESC LIMIT 1")
        return row

    def append_events(self, round_id: int, entries: Sequence[tuple[float, bytes]]) -> None:
        """Log (time, event) pairs; they are on disk when this returns."""
        with self._change() as db:
            db.executemany(
                "INSERT INTO events (round, now, body) VALUES (?, ?, ?)",
                [(round_id, now, body) for now, body in entries],
            )

    def events(self, round_id: int) -> list[tuple[float, bytes]]:
        """(time, event) pairs of a round, in order."""
        return self._rows("SELECT now, body FROM events WHERE round = ? ORDER BY seq", round_id)

    # --- blobs ----------------------------------------------------------------------------------------------------

    def put(self, name: bytes, round_id: int, data: bytes | memoryview) -> None:
        """Keep bytes by name until two rounds later."""
        if len(data) >= LARGE_BYTES:
            with self._errors():
                self._large.put(name, round_id, data)
            return
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", (name, round_id, data))

    def get(self, name: bytes) -> bytes | memoryview | None:
        """What was put, if it is still kept; of a large blob a view, not a copy."""
        row = self._row("SELECT data FROM blobs WHERE name = ?", name)
        if row is not None:
            return self._checked(name, bytes(row[0]))
        with self._errors():
            found = self._large.get(name)
        return None if found is None else self._checked(name, found)

    def put_secret(self, what: str, round_id: int, data: bytes) -> None:
        """Keep what never leaves this node until two rounds later."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)", (what, round_id, data))

    def get_secret(self, what: str, round_id: int) -> bytes | None:
        """What was put of this round, if it is still kept."""
        row = self._row("SELECT data FROM secrets WHERE what = ? AND round = ?", what, round_id)
        return None if row is None else bytes(row[0])

    # --- private parameters, results, models ------------------------------------------------------------------------

    def save_private(self, round_id: int, data: bytes) -> None:
        """Keep the private parameters as they were after a round."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO private VALUES (?, ?)", (round_id, data))

    def load_private(self, latest: int) -> bytes | None:
        """The private parameters of the last round up to `latest`."""
        row = self._row("SELECT data FROM private WHERE round <= ? ORDER BY round DESC LIMIT 1", latest)
        return None if row is None else bytes(row[0])

    def queue_result(self, round_id: int, data: bytes) -> None:
        """Keep a result until the ledger has it."""
        with self._change() as db:
            db.execute("INSERT OR IGNORE INTO results VALUES (?, ?, NULL)", (round_id, data))

    def pending_results(self) -> list[tuple[int, bytes]]:
        """(round, result) that the ledger is not known to have, in order."""
        return self._rows("SELECT round, data FROM results WHERE tx IS NULL ORDER BY round")

    def mark_recorded(self, round_id: int, tx: str) -> None:
        """The ledger has this round's result; `tx` is empty where somebody else submitted it."""
        with self._change() as db:
            db.execute("UPDATE results SET tx = ? WHERE round = ?", (tx, round_id))

    def results(self) -> list[tuple[int, bytes, str | None]]:
        """(round, result, transaction) of every round, in order; no transaction while the ledger may not have it."""
        return self._rows("SELECT round, data, tx FROM results ORDER BY round")

    def save_checkpoint(self, round_id: int, digest: bytes, data: bytes) -> None:
        """Keep the model that a round ended with, and a few before it."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?)", (round_id, digest, data))
            db.execute("DELETE FROM models WHERE round <= ?", (round_id - _MODELS_KEPT,))

    def checkpoint(self, digest: bytes) -> bytes | None:
        """The model file with this digest, if it is still kept."""
        row = self._row("SELECT data FROM models WHERE digest = ? ORDER BY round DESC LIMIT 1", digest)
        return None if row is None else self._checked(digest, bytes(row[0]))

    def latest_checkpoint(self) -> tuple[int, bytes, bytes] | None:
        """(round, digest, model file) of the last round that ended."""
        query = "SELECT round, digest, data FROM models ORDER BY round DESC LIMIT 1"
        row: tuple[int, bytes, bytes] | None = self._row(query)
        return None if row is None else (row[0], row[1], self._checked(row[1], bytes(row[2])))

    def decoded(self, data: bytes, kind: type[_T]) -> _T:
        """What was stored as msgpack.

        Raises:
            StoreError: it is damaged.
        """
        try:
            return msgspec.msgpack.decode(data, type=kind)
        except (msgspec.MsgspecError, TypeError) as error:
            raise self._damaged(str(error)) from error

    # --- the file ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Check that the file is a store, or make it one if it is empty; a refused file is left as it is."""
        (version,) = self._row("PRAGMA user_version")
        (tables,) = self._row("SELECT count(*) FROM sqlite_master")
        if version == 0 and tables:
            raise StoreError(f"{self._path} is not a node's store: it is a database of something else")
        if version not in (0, _VERSION):
            raise StoreError(f"{self._path} is a store of version {version}, and this program's is {_VERSION}")
        self._row("PRAGMA journal_mode=WAL")
        self._row("PRAGMA synchronous=FULL")
        if version == 0:
            with self._change() as db:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={_VERSION}")

    def _lock_folder(self) -> int:
        path = self._path.with_suffix(".lock")
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"another process uses {self._path}; one folder is one node") from error
        except OSError as error:
            raise StoreError(f"cannot lock {path}: {error.strerror}") from error
        return descriptor

    def _checked(self, name: bytes, data: _Data) -> _Data:
        if blob_digest(data) != name:
            raise self._damaged(f"what is named {name.hex()[:16]}... has another digest")
        return data

    def _damaged(self, what: str) -> StoreError:
        return StoreError(
            f"{self._path} is damaged: {what}; restore the folder from a backup that is newer than the node's last "
            "round, or move the file away and let the node catch up"
        )

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise StoreError(
                    f"no room left for {self._path}; make some and start again, nothing was lost"
                ) from error
            raise StoreError(
                f"cannot use {self._path}: {error}; see that its disk has room, works and can be written to, "
                "and start again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self._path} is not a node's store, or is damaged: {error}") from error
        except OSError as error:
            where = error.filename or self._path
            raise StoreError(
                f"cannot use {where}: {error.strerror}; make it so and start again, nothing was lost"
            ) from error

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock, self._errors():
            return self._db.execute(query, values).fetchall()

    def _row(self, query: str, *values: Any) -> Any:
        with self._lock, self._errors():
            return self._db.execute(query, values).fetchone()
