"""Items that stand still: whoever waits for a run learns which one it waits for.

Nothing is stopped here. A big model may need minutes for its first frame; a person who sees the
name can tell whether that is so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger(__name__)

STALL_S: Final = 60.0
"""An item that reported nothing for so long stands still."""

_CHECK_S: Final = 5.0
_AGAIN: Final = 2.0
"""A warning is repeated each time an item has stood still so many times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """An item in work that reports nothing."""

    key: str

    still_s: float
    """Since its last report."""

    where: str
    """The process it is worked on in, such as `process 4711`."""

    def __str__(self) -> str:
        minutes = int(self.still_s // 60)
        since = f"{minutes} min" if minutes else f"{self.still_s:.0f} s"
        name = self.key.rstrip("/").rpartition("/")[2]
        return f"no progress for {since}: {name} ({self.where})"


class StallWatch:
    """Knows what is in work and when it moved last; safe to use from several threads.

    While anything is in work, a thread looks every few seconds and warns of what stands still.

    Args:
        stall_s: how long an item may say nothing.
        clock: seconds that only go forward.
    """

    def __init__(
        self, *, stall_s: float = STALL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stall_s, self._clock = stall_s, clock
        self._lock = threading.Lock()
        self._moved_s: dict[str, float] = {}
        self._where: dict[str, str] = {}
        self._warn_at_s: dict[str, float] = {}
        self._thread: threading.Thread | None = None

    def begin(self, key: str, *, where: str) -> None:
        """Note that an item is begun, in the process named by `where`."""
        with self._lock:
            self._moved_s[key] = self._clock()
            self._where[key] = where
            self._warn_at_s[key] = self._stall_s
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="stalls", daemon=True)
                self._thread.start()

    def moved(self, key: str) -> None:
        """Note that an item reported something."""
        with self._lock:
            if key in self._moved_s:
                self._moved_s[key] = self._clock()
                self._warn_at_s[key] = self._stall_s

    def end(self, key: str) -> None:
        """Note that an item is not in work any more; harmless when repeated."""
        with self._lock:
            for of_key in (self._moved_s, self._where, self._warn_at_s):
                of_key.pop(key, None)

    @contextmanager
    def at(self, key: str, *, where: str) -> Iterator[None]:
        """Have an item in work for the length of a block."""
        self.begin(key, where=where)
        try:
            yield
        finally:
            self.end(key)

    def keys(self) -> frozenset[str]:
        """Return what is in work."""
        with self._lock:
            return frozenset(self._moved_s)

    def stalls(self) -> list[Stall]:
        """Return what stands still now, the longest first."""
        with self._lock:
            return self._stalls()

    def warn(self) -> None:
        """Log a warning for each item that stands still, unless that was said a short while ago."""
        with self._lock:
            stalls = [one for one in self._stalls() if one.still_s >= self._warn_at_s[one.key]]
            for one in stalls:
                self._warn_at_s[one.key] = _AGAIN * one.still_s
        for one in stalls:
            logger.warning("%s", one)

    def _stalls(self) -> list[Stall]:
        now_s = self._clock()
        found = [
            Stall(key=key, still_s=now_s - moved_s, where=self._where[key])
            for key, moved_s in self._moved_s.items()
            if now_s - moved_s >= self._stall_s
        ]
        return sorted(found, key=lambda stall: -stall.still_s)

    def _look(self) -> None:
        while True:
            time.sleep(_CHECK_S)
            self.warn()
            with self._lock:
                if not self._moved_s:
                    self._thread = None
                    return


IN_WORK: Final = StallWatch()
"""What this process waits for; executors keep it, progress bars show it."""
