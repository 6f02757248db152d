"""The rows of the manifest from the records of all sources, at the end of a run.

One record at a time is in memory, and rows become columns at once: as objects, those of a million
candidates would fill gigabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tpbench.dataset import Clip, RunStats
from tpbench.dataset.manifest import Table, manifest_table
from tpbench.extraction.records import (
    FAILED_STATES,
    SourceRecord,
    SourceRecords,
    read_records,
    row_of_failure,
)
from tpbench.extraction.speed import read_times


def published(
    records: SourceRecords,
    *,
    workers: int,
    gpus: int = 0,
    told: Callable[[Clip], Clip] = lambda row: row,
) -> tuple[Table, RunStats]:
    """Return the rows of the manifest as columns, and the statistics of all runs so far.

    Finished and failed sources have rows; a source to be reprocessed keeps its former rows until
    then. No id occurs twice: current rows take precedence over former ones.

    Args:
        records: of the dataset.
        workers: of this run.
        gpus: of this run.
        told: returns a row as it is to be published.

    Raises:
        DatasetError: a record is damaged.
    """
    spent = _Spent()
    table = manifest_table(map(told, _rows(records, spent)))
    # The file of the latest run last: one that processes nothing adds nothing to its file.
    files = sorted(records.home.glob("run*.json"), key=lambda path: path.stat().st_mtime_ns)
    times = read_times(files)
    stats = RunStats(
        workers=workers,
        gpus=gpus,
        wall_s=times.wall_s,
        core_s=spent.core_s,
        source_frames=spent.frames,
        source_s=spent.source_s,
        stage_s=dict(spent.stage_s),
        runs=tuple(times.runs),
    )
    return table, stats


@dataclass(slots=True, kw_only=True)
class _Spent:
    """What all sources took, added up record by record."""

    core_s: float = 0.0
    frames: int = 0
    source_s: float = 0.0
    stage_s: Counter[str] = field(default_factory=Counter)

    def add(self, record: SourceRecord) -> None:
        self.core_s += record.cpu_s
        if record.result is not None:
            self.frames += record.result["n_frames"]
            self.source_s += record.result["duration_s"]
            self.stage_s.update(record.result["stage_s"])


def _rows(records: SourceRecords, spent: _Spent) -> Iterator[Clip]:
    """Yield the rows of the manifest, source by source, and add up what the sources took."""
    given: set[str] = set()
    former = []
    for record in read_records(records.folder):
        known = records.known.get(record.item)
        state = "pending" if known is None else known.state
        spent.add(record)
        if state in FAILED_STATES:
            yield from _not_yet(given, [row_of_failure(record)])
        if state == "done":
            yield from _not_yet(given, _clips_of(record))
        elif record.result is not None:
            former.append(record.item)
    # After all current rows are known; read once more, as all of them may be former ones.
    for item in former:
        yield from _not_yet(given, _clips_of(records.read(item)))


def _clips_of(record: SourceRecord) -> Iterator[Clip]:
    return map(Clip.from_json, () if record.result is None else record.result["clips"])


def _not_yet(given: set[str], clips: Iterable[Clip]) -> Iterator[Clip]:
    """Yield the clips whose ids are not among those given so far, and add their ids."""
    for clip in clips:
        if clip.clip_id not in given:
            given.add(clip.clip_id)
            yield clip
