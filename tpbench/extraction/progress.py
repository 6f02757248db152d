"""Counting what happens in a run, telling it on, and keeping what nobody expected."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from pathlib import Path

from tpbench.execution import Ledger
from tpbench.extraction.bookkeeping import FINAL_STATES, WORKER_LOG, error_line
from tpbench.extraction.sources import Source
from tpbench.extraction.worker import source_of
from tpbench.work import JsonObject, Outcome, keep_traceback

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is."""

    sources_total: int
    """Of this run's inputs."""
    sources_done: int
    """Earlier runs included."""
    kept: int
    rejected: int
    """Clips of the sources done in this run."""
    failed: int
    """Sources that could not be done, in this run."""
    frames: int
    """Frames decoded in this run, over all passes and unfinished sources."""


ProgressListener = Callable[[RunProgress], None]


class ProgressCounter:
    """Hears of outcomes and frames, and tells a listener how far the run is.

    Args:
        ledger: of the run.
        folder: of the dataset; tracebacks go to its `WORKER_LOG`.
        keys: of all inputs.
        listener: is told about every step.
    """

    def __init__(
        self, ledger: Ledger, folder: Path, keys: Set[str], listener: ProgressListener | None
    ) -> None:
        entries = [entry for entry in ledger.entries() if entry.key in keys]
        self._sources: dict[str, Source] = {e.key: source_of(e.payload) for e in entries}
        self._state = RunProgress(
            sources_total=len(keys),
            sources_done=sum(entry.state in FINAL_STATES for entry in entries),
            kept=0,
            rejected=0,
            failed=0,
            frames=0,
        )
        self._log_path = folder / WORKER_LOG
        self._running: dict[str, int] = {}
        self._finished_frames = 0
        self._listener = listener

    def start(self) -> None:
        """Tell the listener where the run begins."""
        self._tell(self._state)

    def on_frames(self, key: str, report: JsonObject) -> None:
        """Hear how many frames of a source are read."""
        self._running[key] = int(report["frames"])
        self._tell(self._state)

    def on_outcome(self, outcome: Outcome) -> None:
        """Hear what became of a source."""
        self._finished_frames += self._running.pop(outcome.key, 0)
        clips = () if outcome.result is None else outcome.result["clips"]
        statuses = Counter(clip["status"] for clip in clips)
        if outcome.kind != "done":
            self._warn(outcome)
        for clip in clips:
            if clip["status"] == "failed":  # a stretch that is damaged
                logger.warning("%s", clip["error"])
        self._tell(
            replace(
                self._state,
                sources_done=self._state.sources_done + 1,
                kept=self._state.kept + statuses["kept"],
                rejected=self._state.rejected + statuses["rejected"],
                failed=self._state.failed + (outcome.kind != "done" or statuses["failed"] > 0),
            )
        )

    def _warn(self, outcome: Outcome) -> None:
        source = self._sources[outcome.key]
        unexpected = outcome.error_detail is not None or outcome.kind == "quarantined"
        logger.warning("%s", error_line(source, outcome.error or "", unexpected=unexpected))
        keep_traceback(outcome, self._log_path, name=source.shown_path)

    def _tell(self, state: RunProgress) -> None:
        frames = self._finished_frames + sum(self._running.values())
        self._state = replace(state, frames=frames)
        if self._listener is not None:
            self._listener(self._state)
