"""What is done, leased and failed: one SQLite file, written by one driver process.

The ledger alone decides what is left to do; a file on disk proves nothing. Items go

    pending ──lease──▶ leased ──record──▶ done | failed | quarantined
       ▲                  │
       └── driver ended ──┘        (failed tries that were recorded still count)

`synchronous=FULL` makes SQLite wait for the disk at each commit: an item takes seconds to minutes
and the wait some milliseconds, and then not even a power cut takes back what was reported as
finished. (A killed process loses no commit in any mode.)
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self, get_args

from tpbench.errors import DatasetError
from tpbench.execution.differences import describe_differences
from tpbench.execution.executor import WorkItem
from tpbench.execution.ledger_file import check, connect, explain_errors, lock

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from pathlib import Path

    from tpbench.execution.executor import JsonObject, Outcome

State = Literal["pending", "leased", "done", "failed", "quarantined"]
"""Where an item stands. The last three are final: only `Ledger.forget` takes them back."""

_RELEASE: Final = "UPDATE items SET state = 'pending' WHERE state = 'leased'"
_FORGET: Final = (
    "UPDATE items SET state = 'pending', attempts = 0, result = NULL, error = NULL,"
    " error_detail = NULL, wall_s = 0, cpu_s = 0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """All that the ledger knows of one item; the fields are those of `WorkItem` and `Outcome`."""

    key: str
    payload: JsonObject
    state: State
    attempts: int
    result: JsonObject | None
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

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        config_digest: str,
        config: JsonObject | None = None,
        redo: bool = False,
    ) -> Self:
        """Open or create a ledger, and take it for this process.

        What a driver that died had leased is pending again; that is no failed attempt.

        Args:
            path: the file; its folder is made if need be.
            config_digest: stands for all that decides the results. A ledger made with another one
                is refused, because its results would not fit.
            config: what the digest stands for; kept so that a refusal can say what differs.
            redo: forget every outcome and go on with this config.

        Raises:
            DatasetError: a live driver holds the ledger, it was made with another config, or the
                file is no ledger, broken, or not writable.
        """
        lock_fd = lock(path)
        try:
            with explain_errors(path):
                ledger = cls(path, connect(path), lock_fd)
        except BaseException:
            os.close(lock_fd)
            raise
        try:
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
        os.close(self._lock_fd)

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
                yield WorkItem(key=key, payload=json.loads(payload), attempts=attempts)

    def record(self, outcome: Outcome) -> None:
        """Write down what became of a leased item, in one transaction.

        `retried` counts the attempt and keeps the lease.

        Raises:
            ValueError: the item is not leased; a finished item never changes.
        """
        state: State = "leased" if outcome.kind == "retried" else outcome.kind
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE items SET state = ?, attempts = ?, result = ?, error = ?, error_detail = ?,"
                " wall_s = ?, cpu_s = ? WHERE key = ? AND state = 'leased'",
                (
                    state,
                    outcome.attempts,
                    None if outcome.result is None else json.dumps(outcome.result),
                    outcome.error,
                    outcome.error_detail,
                    outcome.wall_s,
                    outcome.cpu_s,
                    outcome.key,
                ),
            ).rowcount
            if changed != 1:
                msg = f"item is not leased: {outcome.key = }"
                raise ValueError(msg)

    def forget(self, keys: Iterable[str]) -> None:
        """Make items pending again as if they had never been tried.

        Unknown keys, and items that are leased right now, are left alone.
        """
        forget = f"{_FORGET} WHERE key = ? AND state != 'leased'"
        with self._transaction() as database:
            database.executemany(forget, ((key,) for key in keys))

    def counts(self) -> dict[State, int]:
        """Return how many items are in each state; every state is there."""
        with explain_errors(self._path):
            rows = self._database.execute("SELECT state, count(*) FROM items GROUP BY state")
            return dict.fromkeys(get_args(State), 0) | dict(rows.fetchall())

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield every item in the order of adding; writing in between is allowed."""
        with explain_errors(self._path):
            yield from _entries(self._database)

    def get_meta(self, key: str) -> str | None:
        """Return what `set_meta` has kept under a key, None if nothing."""
        with explain_errors(self._path):
            row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Keep a value under a key."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _begin(self, config_digest: str, config: JsonObject, *, redo: bool) -> None:
        known = self.get_meta("config_digest")
        if known not in {None, config_digest} and not redo:
            former = json.loads(self.get_meta("config") or "{}")
            differences = describe_differences(former, config)
            msg = (
                f"{self._path}: made with another config "
                f"({differences or f'{known}, now {config_digest}'}); "
                "choose another folder, or pass --redo to do everything again"
            )
            raise DatasetError(msg)
        with self._transaction() as database:
            database.execute(_FORGET if redo else _RELEASE)
            database.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [("config_digest", config_digest), ("config", json.dumps(config))],
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; Ctrl-C included."""
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
            yield from _entries(database)
        finally:
            database.close()


def _entries(database: sqlite3.Connection) -> Iterator[LedgerEntry]:
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
            yield LedgerEntry(
                key=key,
                payload=json.loads(payload),
                state=state,
                attempts=attempts,
                result=None if result is None else json.loads(result),
                error=error,
                error_detail=detail,
                wall_s=wall_s,
                cpu_s=cpu_s,
            )
