"""What is done, leased and failed: one SQLite file, written by one driver process.

The ledger alone decides what is left to do; a file on disk proves nothing. Items go

    pending ──lease──▶ leased ──record──▶ done | failed | quarantined | postponed
       ▲                  │
       └── driver ended ──┘        (failed tries that were recorded still count)

What an item gave when it was last done is kept until it is done again, also while it is pending
once more or has failed since: nothing finished is lost before something whole is in its place.

`synchronous=FULL` makes SQLite wait for the disk at each commit: an item takes seconds to minutes
and the wait some milliseconds, and then not even a power cut takes back what was reported as
finished. (A killed process loses no commit in any mode.)
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self, get_args

from tpbench.errors import DatasetError
from tpbench.execution.ledger_file import (
    HOW_TO_MEND,
    check,
    connect,
    empty_ledger,
    explain_errors,
    file_id,
    lock,
    require_same,
    unlock,
)
from tpbench.work.records import describe_differences
from tpbench.work.worker import JsonObject, Outcome, WorkItem

State = Literal["pending", "leased", "done", "failed", "quarantined", "postponed"]
"""Where an item stands. The last four stay as they are: only `Ledger.forget` takes them back."""
_RELEASE: Final = "UPDATE items SET state = 'pending' WHERE state = 'leased'"
_FORGET: Final = (
    "UPDATE items SET state = 'pending', attempts = 0, error = NULL,"
    " error_detail = NULL, wall_s = 0, cpu_s = 0"
)
_REPLACED: Final = "replaced:"
"""Before the key of an item: what it gave before it was done again. Kept until `settle`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """All that the ledger knows of one item; the fields are those of `WorkItem` and `Outcome`."""

    key: str
    payload: JsonObject
    state: State
    attempts: int
    result: JsonObject | None
    """Of when it was last done, whatever its state is now; None if it never was."""
    error: str | None
    error_detail: str | None
    wall_s: float
    cpu_s: float


class Ledger:
    """The open ledger of one driver. Use `Ledger.open` in a `with` block."""

    def __init__(self, path: Path, database: sqlite3.Connection, lock_fd: int) -> None:
        self._path = path
        self._database = database
        self._lock_fd = lock_fd
        self.file_id = file_id(path)
        """Which file this is, for those who make sure that it is still there."""

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        config_digest: str,
        config: JsonObject | None = None,
        redo: bool = False,
        must_exist: bool = False,
        look_first: Callable[[Self], None] | None = None,
    ) -> Self:
        """Open or create a ledger, and take it for this process.

        What a driver that died had leased is pending again; that is no failed attempt.

        Args:
            path: the file; its folder is made if need be.
            config_digest: stands for all that decides the results. A ledger made with another one
                is refused, because its results would not fit.
            config: what the digest stands for; kept so that a refusal can say what differs.
            redo: have everything done again with this config.
            must_exist: there is work that only a ledger can have led to: a new one is an error.
            look_first: called with the ledger before anything is written into it; may refuse it.

        Raises:
            DatasetError: a live driver holds the ledger, it was made with another config, or the
                file is no ledger, broken, or not writable; or it is empty and must not be.
        """
        lock_fd = lock(path)
        try:
            with explain_errors(path):
                ledger = cls(path, connect(path, must_exist=must_exist), lock_fd)
        except BaseException:
            unlock(lock_fd)
            raise
        try:
            if must_exist and ledger.get_meta("config_digest") is None:
                raise empty_ledger(path)  # noqa: TRY301 - the ledger has to be closed
            if look_first is not None:
                look_first(ledger)
            ledger._begin(config_digest, config or {}, redo=redo)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release what is still leased, and let the next driver in."""
        # A full disk must not hide the error that ends the run; the next `open` releases as well.
        with suppress(sqlite3.Error):
            self._database.execute(_RELEASE)
        self._database.close()
        unlock(self._lock_fd)

    def require_in_place(self) -> None:
        """Refuse to go on when the file was removed, moved or replaced since it was opened.

        SQLite would write on into a file that no folder holds any more.

        Raises:
            HaltError: it was.
        """
        require_same(self._path, self.file_id)

    def add(self, items: Iterable[WorkItem]) -> int:
        """Add the items whose keys are new; return how many were.

        A known item stays as it is, but one that is still pending takes the new payload: the file
        it speaks of may have moved.
        """
        count = "SELECT count(*) FROM items"
        with self._transaction() as database:
            before: int = database.execute(count).fetchone()[0]
            database.executemany(
                "INSERT INTO items (key, payload) VALUES (?, ?) ON CONFLICT (key)"
                " DO UPDATE SET payload = excluded.payload WHERE state = 'pending'",
                ((item.key, json.dumps(item.payload)) for item in items),
            )
            after: int = database.execute(count).fetchone()[0]
        return after - before

    def lease(self, keys: Container[str] | None = None) -> Iterator[WorkItem]:
        """Yield the pending items in the order of adding, each marked as leased when it is drawn.

        Args:
            keys: leave all others alone.
        """
        last_id = 0
        while True:
            with explain_errors(self._path):
                row = self._database.execute(
                    "SELECT id, key, payload, attempts FROM items"
                    " WHERE state = 'pending' AND id > ? ORDER BY id LIMIT 1",
                    (last_id,),
                ).fetchone()
            if row is None:
                return
            last_id, key, payload, attempts = row
            if keys is None or key in keys:
                with self._transaction() as database:
                    database.execute("UPDATE items SET state = 'leased' WHERE id = ?", (last_id,))
                yield WorkItem(key=key, payload=self._parsed(key, payload), attempts=attempts)

    def record(self, outcome: Outcome) -> None:
        """Write down what became of a leased item, in one transaction.

        `retried` counts the attempt and keeps the lease. Only `done` replaces what the item gave
        before.

        Raises:
            ValueError: the item is not leased; a finished item never changes.
            HaltError: the ledger is not where it was.
        """
        state: State = "leased" if outcome.kind == "retried" else outcome.kind
        result = None if outcome.result is None else json.dumps(outcome.result)
        with self._transaction() as database:
            if outcome.kind == "done":
                database.execute(
                    "INSERT OR IGNORE INTO meta SELECT ? || key, result FROM items"
                    " WHERE key = ? AND state = 'leased' AND result IS NOT NULL",
                    (_REPLACED, outcome.key),
                )
            changed = database.execute(
                "UPDATE items SET state = ?, attempts = ?, result = coalesce(?, result),"
                " error = ?, error_detail = ?, wall_s = ?, cpu_s = ?"
                " WHERE key = ? AND state = 'leased'",
                (
                    state,
                    outcome.attempts,
                    result,
                    outcome.error,
                    outcome.error_detail,
                    outcome.wall_s,
                    outcome.cpu_s,
                    outcome.key,
                ),
            ).rowcount
            if changed != 1:
                raise ValueError(f"item is not leased: {outcome.key = }")

    def forget(self, keys: Iterable[str]) -> None:
        """Make items pending again as if they had never been tried; what they gave stays.

        Unknown keys, and items that are leased right now, are left alone.
        """
        forget = f"{_FORGET} WHERE key = ? AND state != 'leased'"
        with self._transaction() as database:
            database.executemany(forget, ((key,) for key in keys))

    def rename(self, key: str, item: WorkItem) -> None:
        """Give a finished item another key and payload, and make it pending; what it gave stays.

        For work that is to be done again from elsewhere. An item that already has the new key and
        never gave anything makes room.
        """
        with self._transaction() as database:
            database.execute("DELETE FROM items WHERE key = ? AND result IS NULL", (item.key,))
            database.execute(
                f"{_FORGET}, key = ?, payload = ? WHERE key = ? AND state != 'leased'",
                (item.key, json.dumps(item.payload), key),
            )

    def replaced(self) -> Iterator[JsonObject]:
        """Yield what items gave before they were done again, since the last `settle`."""
        with explain_errors(self._path):
            rows = self._database.execute(
                "SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?",
                (len(_REPLACED), _REPLACED),
            ).fetchall()
        for key, value in rows:
            yield self._parsed(key, value)

    def settle(self) -> None:
        """Drop what `replaced` tells: nothing that is published speaks of it any more."""
        with self._transaction() as database:
            database.execute(
                "DELETE FROM meta WHERE substr(key, 1, ?) = ?", (len(_REPLACED), _REPLACED)
            )

    def counts(self) -> dict[State, int]:
        """Return how many items are in each state; every state is there."""
        with explain_errors(self._path):
            rows = self._database.execute("SELECT state, count(*) FROM items GROUP BY state")
            return dict.fromkeys(get_args(State), 0) | dict(rows.fetchall())

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield every item in the order of adding; writing in between is allowed."""
        with explain_errors(self._path):
            yield from _entries(self._path, self._database)

    def get_meta(self, key: str) -> str | None:
        """Return what `set_meta` has kept under a key, None if nothing."""
        with explain_errors(self._path):
            row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Keep a value under a key."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _parsed(self, key: str, text: str) -> JsonObject:
        return _parsed(self._path, key, text)

    def _begin(self, config_digest: str, config: JsonObject, *, redo: bool) -> None:
        known = self.get_meta("config_digest")
        if known not in {None, config_digest} and not redo:
            former = self._parsed("config", self.get_meta("config") or "{}")
            differences = describe_differences(former, config)
            raise DatasetError(
                f"{self._path}: made with another config "
                f"({differences or f'{known}, now {config_digest}'}); "
                "choose another folder, or pass --redo to do everything again"
            )
        with self._transaction() as database:
            database.execute(_FORGET if redo else _RELEASE)
            database.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [("config_digest", config_digest), ("config", json.dumps(config))],
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; Ctrl-C included. Refuses to write into a file that is gone."""
        self.require_in_place()
        database = self._database
        with explain_errors(self._path):
            try:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise


def read_ledger(path: Path) -> Iterator[LedgerEntry]:
    """Yield every item of a ledger, also of one that a live driver is writing.

    Raises:
        DatasetError: there is no such file, or it is no ledger or broken.
    """
    with explain_errors(path):
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            check(path, database)
            yield from _entries(path, database)
        finally:
            database.close()


def _entries(path: Path, database: sqlite3.Connection) -> Iterator[LedgerEntry]:
    last_id = 0
    while True:
        rows = database.execute(
            "SELECT id, key, payload, state, attempts, result, error, error_detail, wall_s, cpu_s"
            " FROM items WHERE id > ? ORDER BY id LIMIT 100",
            (last_id,),
        ).fetchall()
        if not rows:
            return
        last_id = rows[-1][0]
        for _, key, payload, state, attempts, result, error, detail, wall_s, cpu_s in rows:
            if state not in get_args(State):
                raise damaged_row(path, key, f"its state is {state!r}")
            yield LedgerEntry(
                key=key,
                payload=_parsed(path, key, payload),
                state=state,
                attempts=attempts,
                result=None if result is None else _parsed(path, key, result),
                error=error,
                error_detail=detail,
                wall_s=wall_s,
                cpu_s=cpu_s,
            )


def damaged_row(path: Path, key: object, problem: str) -> DatasetError:
    """Return the error of a row that nobody can have written as it is."""
    return DatasetError(f"{path}: the row of {key} is damaged ({problem}); {HOW_TO_MEND}")


def _parsed(path: Path, key: object, text: object) -> JsonObject:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise damaged_row(path, key, f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise damaged_row(path, key, "no JSON object")
    return value
