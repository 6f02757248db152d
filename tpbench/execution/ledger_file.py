"""The ledger's file: who may write it, what is in it, and what is said when it can't be used."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tpbench.errors import DatasetError, TPBenchError
from tpbench.work.faults import HaltError

_APPLICATION_ID: Final = 0x7470626C  # "tpbl"
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE items (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        payload TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending',
        attempts INTEGER NOT NULL DEFAULT 0,
        result TEXT,
        error TEXT,
        error_detail TEXT,
        wall_s REAL NOT NULL DEFAULT 0,
        cpu_s REAL NOT NULL DEFAULT 0
    )""",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)

_COLUMNS: Final = {
    "items": {"id", "key", "payload", "state", "attempts", "result", "error", "error_detail"},
    "meta": {"key", "value"},
}

HOW_TO_MEND: Final = (
    "put back a copy of its folder from before (all files in it together), or choose another "
    "output folder; what is published stays as it is"
)
"""What to do about a ledger that is gone or damaged. Starting it anew would disown what is done."""
FileId = tuple[int, int]
"""Device and inode: the same path with another one is another file."""


def file_id(path: Path) -> FileId:
    """Say which file this is.

    Raises:
        OSError: there is none.
    """
    found = path.stat()
    return found.st_dev, found.st_ino


def require_same(path: Path, known: FileId) -> None:
    """Refuse to go on when a ledger was removed, moved or replaced since the run began.

    Raises:
        HaltError: it was. Whatever is written now belongs to no dataset.
    """
    try:
        same = file_id(path) == known
    except OSError:
        same = False
    if not same:
        raise HaltError(
            f"{path}: was removed or replaced while the run was on; nothing more is written: "
            "put the folder back, or run again to make it anew"
        )


def lock(path: Path) -> int:
    """Take the lock file beside the ledger and write our name into it; return its descriptor.

    The kernel gives a flock back when its process ends, however it ends. Workers don't inherit it.
    Give it back with `unlock`. The name of the machine is left out: folders are passed on.

    Raises:
        DatasetError: another process holds it, or the folder can't be written.
    """
    lock_path = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock_fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise DatasetError(
            f"{lock_path}: {error.strerror}; the output folder must be writable"
        ) from error
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(lock_fd, 0)
        os.write(lock_fd, f"process {os.getpid()}".encode())
    except BlockingIOError as error:
        holder = os.pread(lock_fd, 200, 0).decode(errors="replace") or "another process"
        os.close(lock_fd)
        raise DatasetError(
            f"{path.parent}: in use by {holder} on this or another machine; "
            "wait for it, or stop it and run again"
        ) from error
    except OSError as error:
        os.close(lock_fd)
        raise DatasetError(
            f"{lock_path}: can't be locked ({error.strerror}); put the output on another disk"
        ) from error
    return lock_fd


def unlock(lock_fd: int) -> None:
    """Give a lock back, and leave nobody's name in its file."""
    with suppress(OSError):
        os.ftruncate(lock_fd, 0)
    os.close(lock_fd)


def connect(path: Path, *, must_exist: bool) -> sqlite3.Connection:
    """Open the ledger at `path`, or make an empty one; call inside `explain_errors`.

    All of it is in one file whenever nothing is being written: a copy that is made file by file is
    whole. (A write-ahead log would be a second file, and is left out of such copies.)

    Args:
        path: of the ledger.
        must_exist: an empty one is an error: it has lost what it held.
    """
    database = sqlite3.connect(path, isolation_level=None)
    try:
        empty = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and not database.execute("PRAGMA application_id").fetchone()[0]:
            _begin(path, database, must_exist=must_exist)
        check(path, database)
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA synchronous = FULL")
    except BaseException:
        database.close()
        raise
    return database


def _begin(path: Path, database: sqlite3.Connection, *, must_exist: bool) -> None:
    if must_exist:
        raise empty_ledger(path)
    database.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        database.execute(statement)
    database.execute("COMMIT")


def empty_ledger(path: Path) -> DatasetError:
    """Return the error of a ledger that has lost what it held."""
    return DatasetError(f"{path}: the ledger of what is done here is empty; {HOW_TO_MEND}")


def check(path: Path, database: sqlite3.Connection) -> None:
    """Refuse a file that is not ours, not of this version, or damaged."""
    if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise DatasetError(f"{path}: no ledger of tpbench; choose another output folder")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != _SCHEMA_VERSION:
        raise DatasetError(
            f"{path}: ledger of schema version {version}, this tpbench reads {_SCHEMA_VERSION}; "
            "use the tpbench that made it, or another output folder"
        )
    for table, columns in _COLUMNS.items():
        found = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
        if not found >= columns:
            raise sqlite3.DatabaseError(f"its table {table} is not there, or not whole")
    problem = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says of files and disks into one line; its other errors are our bugs."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) not in {sqlite3.DatabaseError, sqlite3.OperationalError}:
            raise
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise TPBenchError(
                f"{path}: the disk is full; what is finished is kept: make room and run again"
            ) from error
        if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise DatasetError(
                f"{path}: damaged, or no ledger of tpbench ({error}); {HOW_TO_MEND}"
            ) from error
        if code != sqlite3.SQLITE_ERROR:
            raise DatasetError(
                f"{path}: can't be read or written ({error}); check the disk and the permissions"
            ) from error
        raise
