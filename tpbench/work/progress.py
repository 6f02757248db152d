"""Progress of a run, and detection of items that make no progress."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tpbench.errors import number_of

_log = logging.getLogger(__name__)

STALL_S: Final = 60.0
"""An item that reported nothing for this long counts as stalled."""
_CHECK_S: Final = 5.0
_RATE_S: Final = 60.0
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
    rates: Mapping[str, float] = field(default_factory=dict)
    """Node -> frames per second over the last minute; empty unless several nodes work."""


ProgressListener = Callable[[Progress], None]


class ProgressCounter:
    """Sums the progress and results of items, and notifies a listener of every change.

    Another thread may ask for the state meanwhile.

    Args:
        step: see `Progress`.
        total, before: see `Progress`; None if known only later, see `begin`.
        listener: None for none.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        step: str,
        *,
        total: int | None = None,
        before: int = 0,
        listener: ProgressListener | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._step, self._listener = step, listener
        self._total = self._before = self._done = 0
        self._counts: Counter[str] = Counter()
        self._frames_finished = 0
        self._frames_running: dict[str, int] = {}
        self._nodes: dict[str, str] = {}
        """Node of each running item that has reported."""
        self._rates: dict[str, _Rate] = {}
        self._clock = clock
        self._lock = threading.Lock()
        if total is not None:
            self.begin(total=total, before=before)

    def begin(self, *, total: int, before: int) -> None:
        """Set the amount of work, once it is known."""
        with self._lock:
            self._total, self._before = total, before
            self._done = before
        self.tell()

    def on_report(self, key: str, report: Mapping[str, Any]) -> None:
        """Record how many frames of an item are done."""
        frames, node = int(report["frames"]), IN_WORK.node_of(key)
        with self._lock:
            if node:
                before = self._frames_running.get(key, 0)
                self._nodes[key] = node
                # An item that is tried again begins anew.
                self._count(node, frames - before if frames >= before else frames)
            self._frames_running[key] = frames
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
        with self._lock:
            reported = self._frames_running.pop(key, 0)
            frames = reported if frames is None else frames
            self._frames_finished += frames
            if node := self._nodes.pop(key, None):
                self._count(node, frames - reported)
            self._done += done
            self._counts.update(counts)
        results = "".join(f", {number} {name}" for name, number in counts.items() if number)
        _log.info("%s: %s: %s%s", self._step, key, number_of(frames, "frame"), results)
        self.tell()

    def state(self) -> Progress:
        """Return the current progress."""
        with self._lock:
            return Progress(
                step=self._step,
                total=self._total,
                before=self._before,
                done=self._done,
                frames=self._frames_finished + sum(self._frames_running.values()),
                counts=Counter(self._counts),
                rates=self._rates_now(),
            )

    def tell(self) -> None:
        """Pass the current progress to the listener."""
        if self._listener is not None:
            self._listener(self.state())

    def _count(self, node: str, frames: int) -> None:
        now_s = self._clock()
        self._rates.setdefault(node, _Rate(now_s)).add(max(0, frames), now_s)

    def _rates_now(self) -> dict[str, float]:
        now_s = self._clock()
        rates = {node: rate.per_s(now_s) for node, rate in sorted(self._rates.items())}
        return rates if len(rates) > 1 else {}


class _Rate:
    """Frames per second of one node, over the last minute."""

    def __init__(self, since_s: float) -> None:
        self._since_s = since_s
        self._frames: deque[tuple[int, int]] = deque()
        """(second, frames in it)"""

    def add(self, frames: int, now_s: float) -> None:
        second = int(now_s)
        if self._frames and self._frames[-1][0] == second:
            frames += self._frames.pop()[1]
        self._frames.append((second, frames))

    def per_s(self, now_s: float) -> float:
        while self._frames and self._frames[0][0] < now_s - _RATE_S:
            self._frames.popleft()
        lasted_s = min(_RATE_S, max(1.0, now_s - self._since_s))
        return sum(frames for _, frames in self._frames) / lasted_s


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
    node: str
    began_s: float
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

    def begin(self, key: str, *, where: str, node: str = "") -> None:
        """Record that an item is begun, in the process named by `where`; see `node_of`."""
        with self._lock:
            now_s = self._clock()
            self._items[key] = _InWork(where, node, now_s, now_s, self._stall_s)
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

    def node_of(self, key: str) -> str:
        """Return the machine that works on an item; empty: this one, or none."""
        with self._lock:
            item = self._items.get(key)
            return "" if item is None else item.node

    def keys(self) -> frozenset[str]:
        """Return the keys of the items in progress."""
        with self._lock:
            return frozenset(self._items)

    def ages_s(self) -> dict[str, float]:
        """Return for how long each item has been in progress, s, the longest first."""
        with self._lock:
            now_s = self._clock()
            ages_s = {key: now_s - item.began_s for key, item in self._items.items()}
        return dict(sorted(ages_s.items(), key=lambda age: -age[1]))

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
