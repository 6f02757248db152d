"""Progress of a run, and detection of items that make no progress."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tpbench.errors import number_of

_log = logging.getLogger(__name__)

STALL_S: Final = 60.0
"""An item that reported nothing for this long counts as stalled."""
_CHECK_S: Final = 5.0
_REPEAT_FACTOR: Final = 2.0
"""A warning is repeated each time the stall has grown by this factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a run."""

    step: str
    """The kind of work: "extract", "generate" or "score"."""
    total: int
    """Videos or clips requested in this call."""
    before: int
    """Of these, finished by earlier runs."""
    done: int
    """Finished so far, including those of earlier runs and those that failed."""
    frames: int
    """Frames read, written or measured in this run, including unfinished items."""
    counts: Mapping[str, int] = field(default_factory=Counter)
    """Results of this run's items: `failed`, and `kept`, `rejected` or `made`."""


ProgressListener = Callable[[Progress], None]


class ProgressCounter:
    """Sums the progress and results of items, and notifies a listener of every change.

    Args:
        step: see `Progress`.
        total, before: see `Progress`; None if known only later, see `begin`.
        listener: None for none.
    """

    def __init__(
        self,
        step: str,
        *,
        total: int | None = None,
        before: int = 0,
        listener: ProgressListener | None,
    ) -> None:
        self._step, self._listener = step, listener
        self._total = self._before = self._done = 0
        self._counts: Counter[str] = Counter()
        self._frames_finished = 0
        self._frames_running: dict[str, int] = {}
        if total is not None:
            self.begin(total=total, before=before)

    def begin(self, *, total: int, before: int) -> None:
        """Set the amount of work, once it is known."""
        self._total, self._before = total, before
        self._done = before
        self.tell()

    def on_report(self, key: str, report: Mapping[str, Any]) -> None:
        """Record how many frames of an item are done."""
        self._frames_running[key] = int(report["frames"])
        self.tell()

    def finish(
        self, key: str, *, done: int = 1, frames: int | None = None, counts: Mapping[str, int]
    ) -> None:
        """Record that an item is finished.

        Args:
            key: of the item.
            done: number of videos or clips in the item.
            frames: of the item; None: the number it reported last.
            counts: its results, see `Progress.counts`.
        """
        reported = self._frames_running.pop(key, 0)
        frames = reported if frames is None else frames
        self._frames_finished += frames
        self._done += done
        self._counts.update(counts)
        results = "".join(f", {number} {name}" for name, number in counts.items() if number)
        _log.info("%s: %s: %s%s", self._step, key, number_of(frames, "frame"), results)
        self.tell()

    def state(self) -> Progress:
        """Return the current progress."""
        return Progress(
            step=self._step,
            total=self._total,
            before=self._before,
            done=self._done,
            frames=self._frames_finished + sum(self._frames_running.values()),
            counts=Counter(self._counts),
        )

    def tell(self) -> None:
        """Pass the current progress to the listener."""
        if self._listener is not None:
            self._listener(self.state())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """An item in progress that reports nothing."""

    key: str
    still_s: float
    """Since its last report."""
    where: str
    """The process that works on it, such as `process 4711`."""

    def __str__(self) -> str:
        minutes = int(self.still_s // 60)
        since = f"{minutes} min" if minutes else f"{self.still_s:.0f} s"
        name = self.key.rstrip("/").rpartition("/")[2]
        return f"no progress for {since}: {name} ({self.where})"


@dataclass(slots=True)
class _InWork:
    where: str
    moved_s: float
    warn_after_s: float


class StallWatch:
    """Tracks the items in progress and when each last reported; thread-safe.

    While any item is in progress, a thread checks every few seconds and warns of stalled items. It
    stops nothing: a big model may need minutes for its first frame, and the user can judge that
    from the item's name. To have stalled items ended, set `Pool.item_timeout_s`.

    Args:
        stall_s: how long an item may go without a report.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self, *, stall_s: float = STALL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stall_s, self._clock = stall_s, clock
        self._lock = threading.Lock()
        self._items: dict[str, _InWork] = {}
        self._thread: threading.Thread | None = None

    def begin(self, key: str, *, where: str) -> None:
        """Record that an item is begun, in the process named by `where`."""
        with self._lock:
            self._items[key] = _InWork(where, self._clock(), self._stall_s)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)
                self._thread.start()

    def moved(self, key: str) -> None:
        """Record that an item reported progress."""
        with self._lock:
            if (item := self._items.get(key)) is not None:
                item.moved_s, item.warn_after_s = self._clock(), self._stall_s

    def end(self, key: str) -> None:
        """Record that an item is no longer in progress; may be called repeatedly."""
        with self._lock:
            self._items.pop(key, None)

    @contextmanager
    def at(self, key: str, *, where: str) -> Iterator[None]:
        """Mark an item as in progress for the duration of a block."""
        self.begin(key, where=where)
        try:
            yield
        finally:
            self.end(key)

    def keys(self) -> frozenset[str]:
        """Return the keys of the items in progress."""
        with self._lock:
            return frozenset(self._items)

    def stalls(self) -> list[Stall]:
        """Return the stalled items, the longest stall first."""
        with self._lock:
            return self._stalls()

    def warn(self) -> None:
        """Log a warning for each stalled item, unless there was one a short while ago."""
        with self._lock:
            stalls = [
                one for one in self._stalls() if one.still_s >= self._items[one.key].warn_after_s
            ]
            for one in stalls:
                self._items[one.key].warn_after_s = _REPEAT_FACTOR * one.still_s
        for one in stalls:
            _log.warning("%s", one)

    def _stalls(self) -> list[Stall]:
        now_s = self._clock()
        found = [
            Stall(key=key, still_s=now_s - item.moved_s, where=item.where)
            for key, item in self._items.items()
            if now_s - item.moved_s >= self._stall_s
        ]
        return sorted(found, key=lambda stall: -stall.still_s)

    def _watch(self) -> None:
        while True:
            time.sleep(_CHECK_S)
            self.warn()
            with self._lock:
                if not self._items:
                    self._thread = None
                    return


IN_WORK: Final = StallWatch()
"""The items in progress of this process; pools update it, progress bars show it."""
