"""Attempts at items that have not succeeded, kept from one run to the next.

An item that kills its worker, makes it hang or takes too much memory loses an attempt each time,
and is given up after the last one, however often the command is started meanwhile. Extraction keeps
attempts in the records of its sources. Where workers write the records, they lie here: one file per
item, written by the driver alone and deleted once the item is done.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tpbench.errors import number_of
from tpbench.foreign import printable
from tpbench.work.crew import MAX_ATTEMPTS
from tpbench.work.records import Record, RecordError
from tpbench.work.worker import Outcome

logger = logging.getLogger(__name__)

ENDING: Final = ".attempts.json"


class AttemptRecord(Record):
    """The unsuccessful attempts at one item."""

    item: str
    key: str
    """Digest of all that the item depends on: attempts at something else don't count."""
    attempts: int
    error: str
    """Of the last attempt, one line."""

    @property
    def given_up(self) -> bool:
        """Whether no attempt is left."""
        return self.attempts >= MAX_ATTEMPTS


class Attempts:
    """The attempts of one run, in a folder that the run has locked.

    Args:
        folder: created with the first file.
        forget: delete what earlier runs left, so that all items are tried anew.
    """

    def __init__(self, folder: Path, *, forget: bool = False) -> None:
        self._folder = folder
        if forget:
            for path in folder.glob(f"*{ENDING}"):
                path.unlink(missing_ok=True)

    def of(self, item: str, key: str) -> AttemptRecord | None:
        """Return what is known of attempts at an item; None: it has lost none, or was another."""
        try:
            record = AttemptRecord.read(self._path(item))
        except RecordError:
            return None
        return record if (record.item, record.key) == (item, key) else None

    def note(self, outcome: Outcome, key: str) -> None:
        """Keep an attempt that was lost; forget those of an item that is done or invalid."""
        path = self._path(outcome.key)
        if outcome.kind in {"retried", "quarantined"}:
            error = outcome.error or "failed without an error message"
            AttemptRecord(item=outcome.key, key=key, attempts=outcome.attempts, error=error).write(
                path
            )
        elif outcome.kind != "postponed":
            path.unlink(missing_ok=True)

    def _path(self, item: str) -> Path:
        return self._folder / f"{hashlib.sha256(item.encode()).hexdigest()[:32]}{ENDING}"


def tell_given_up(items: Collection[str]) -> None:
    """Log that items were given up in earlier runs, and how they are tried again."""
    if items:
        logger.warning(
            "%s not tried again, given up after %d attempts (such as %s); --retry-failed does",
            number_of(len(items), "clip"),
            MAX_ATTEMPTS,
            printable(min(items)),
        )
