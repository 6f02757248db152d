"""How far an extraction is: videos by outcome, and hours of video done and left.

It is counted by the driver, which knows all records, so that `tpbench status` need not read them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set
from pathlib import Path
from typing import Final

from tpbench.extraction.durations import known_durations_ms, mark_of
from tpbench.extraction.records import (
    FAILED_STATES,
    FINAL_STATES,
    SourceRecords,
    record_paths,
)
from tpbench.extraction.removed import REMOVED
from tpbench.extraction.sources import Source
from tpbench.work import Outcome
from tpbench.work.records import Shard
from tpbench.work.signs import Standing
from tpbench.work.threads import in_threads

_STATE: Final = re.compile(rb'[^\\]"state": "([a-z]+)"')
_HEAD_BYTES: Final = 1 << 16
"""Of a record, what its state stands in: before it come the path and the key."""
_READERS: Final = 16
OUTCOMES: Final = ("kept", "rejected", "failed", "quarantined", "postponed")
"""Of a video: clips of it are in the dataset, none is, or it was not processed to its end."""


def signs_file(home: Path, shard: Shard | None) -> Path:
    """Return the file in which a driver says how far it is, in the folder of the records."""
    return home / f"driver{'' if shard is None else shard.suffix}.json"


def outdated_signs(home: Path, shard: Shard | None) -> tuple[Path, ...]:
    """Return what earlier drivers left that this one excludes; it holds the lock of the records."""
    return tuple(
        path
        for path in home.glob("driver*.json")
        if shard is None or not path.name.endswith(f"of{shard.count}.json")
    )


class RunStanding:
    """Counts the videos of one run; another thread may ask for the state.

    Args:
        records: of the dataset, planned.
        keys: of all inputs of the run.
    """

    def __init__(self, records: SourceRecords, keys: Set[str]) -> None:
        self._records = records
        self._counts = dict.fromkeys(OUTCOMES, 0)
        self._done_s, self._done_bytes = 0.0, 0
        self._left_s, self._left_bytes = 0.0, 0
        self._known_ms = known_durations_ms(records.home)
        self._left = len(records.planned)
        for record in records.known.values():
            if record.item in keys and record.state in FINAL_STATES - {"postponed"}:
                self._count(record.item, record.state)
        for source in records.planned.values():
            self._add_left(source, 1)

    def add(self, outcome: Outcome) -> None:
        """Count the outcome of a planned source, after it was recorded."""
        source = self._records.planned.get(outcome.key)
        if outcome.kind == "retried" or source is None:
            return
        self._left -= 1
        self._add_left(source, -1)
        if outcome.result is None or not outcome.result.get(REMOVED):
            self._count(outcome.key, outcome.kind)

    def state(self) -> Standing:
        """Return how far the run is."""
        guessed_s = self._left_bytes * self._done_s / self._done_bytes if self._done_bytes else None
        left_s = self._left_s + (guessed_s or 0.0)
        is_unknown = self._left_bytes > 0 and guessed_s is None
        return Standing(
            counts=dict(self._counts),
            media_done_s=self._done_s,
            media_left_s=None if is_unknown else max(0.0, left_s),
            is_guessed=self._left_bytes > 0,
        )

    def _count(self, item: str, state: str) -> None:
        record = self._records.known[item]
        if state in FAILED_STATES:
            self._counts[state] += 1
            return
        self._counts["kept" if record.kept() else "rejected"] += 1
        if record.result is not None and record.source.duplicate_of is None:
            self._done_s += record.result["duration_s"]
            self._done_bytes += record.source.size_bytes

    def _add_left(self, source: Source, sign: int) -> None:
        if source.duplicate_of is not None:
            return
        known_ms = self._known_ms.get(mark_of(source), 0) if self._known_ms else 0
        if known_ms:
            self._left_s += sign * known_ms / 1e3
        else:
            self._left_bytes += sign * source.size_bytes


def count_states(folder: Path, *, most: int) -> tuple[int, dict[str, int] | None]:
    """Return how many records a dataset has, and how many in each state; None: more than `most`.

    Only folders are listed and the beginnings of files read, so that runs may go on meanwhile.
    """
    paths = record_paths(folder)
    if len(paths) > most:
        return len(paths), None
    states = Counter(state for _, state in in_threads(_state_in, paths, workers=_READERS))
    return len(paths), dict(states)


def _state_in(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = _STATE.search(file.read(_HEAD_BYTES))
    except OSError:
        return "unknown"
    return "unknown" if found is None else found[1].decode()
