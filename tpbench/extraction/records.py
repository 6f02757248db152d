"""One record per source: its state, its result, and whether that result is still valid.

Records alone decide what remains to be processed; a clip file on disk proves nothing. The result of
a source is kept until it has been reprocessed, even while it is pending again or has failed since:
finished work is never lost before its replacement is complete.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, PlainSerializer

from tpbench.canonical import settings_digest
from tpbench.dataset import Clip, RunStats
from tpbench.dataset.folder import RECORDS_FOLDER, RECORDS_LOCK
from tpbench.dataset.info import INFO_NAME
from tpbench.dataset.manifest import MANIFEST_NAME
from tpbench.dataset.removal import Removals
from tpbench.errors import DatasetError, MediaError
from tpbench.extraction.former import published_clips, read_former
from tpbench.extraction.leftovers import holds_work
from tpbench.extraction.removed import REMOVED, marks_of, result_that_stays
from tpbench.extraction.rows import failed_row
from tpbench.extraction.sources import Source, hashed
from tpbench.extraction.speed import read_times, run_file
from tpbench.files import sync
from tpbench.foreign import printable
from tpbench.spread import entries, existing_path, make_place, remove, remove_old, subfolders
from tpbench.work import JsonObject, Outcome, ProgressCounter, keep_traceback
from tpbench.work.locks import locked, require_held
from tpbench.work.records import (
    Record,
    RecordError,
    Shard,
    describe_differences,
    folder_id,
    require_same,
    sweep,
)

logger = logging.getLogger(__name__)

SETTINGS_FILE: Final = Path(RECORDS_FOLDER) / "settings.json"
"""Below the dataset. Exists as soon as a run has begun."""
WORKER_LOG: Final = Path(RECORDS_FOLDER) / "workers.log"
"""Below the dataset: output of the workers and their native libraries, and tracebacks."""
_SOURCES: Final = "sources"
"""Below `RECORDS_FOLDER`: the records, spread over sub-folders."""
HOW_TO_MEND: Final = (
    f"put back a copy of the folder {RECORDS_FOLDER} (all its files together), or choose another "
    "output folder; published files stay as they are"
)
"""What to do about missing or damaged records. Starting over would lose the finished work."""
State = Literal["pending", "done", "failed", "quarantined", "postponed"]
FAILED_STATES: Final = frozenset({"failed", "quarantined", "postponed"})
FINAL_STATES: Final = FAILED_STATES | {"done"}
"""Final for this run; the next run retries postponed sources."""


class SourceRecord(Record):
    """State and result of one source."""

    indent: ClassVar[int | None] = None
    file_names: ClassVar[bool] = True

    item: str
    """`Source.key`."""
    key: str = ""
    """Digest of bytes, settings, models and versions it was tried with: see `Settings.key_of`."""
    state: State
    attempts: int
    source: Annotated[Source, BeforeValidator(Source.from_json), PlainSerializer(Source.to_json)]
    result: dict[str, Any] | None = None
    """What the worker returned when the source was last done, whatever its current state."""
    replaced: list[list[str]] = Field(default_factory=list)
    """Id and sha256 of its kept clips from before it was reprocessed; see `period`."""
    period: int = 0
    """`Settings.period` when they were replaced; later manifests do not list them."""
    error: str | None = None
    error_detail: str | None = None
    wall_s: FiniteFloat = 0.0
    cpu_s: FiniteFloat = 0.0

    @property
    def sha256(self) -> str:
        """Of the bytes that the state refers to; empty where they never had to be read."""
        if self.state == "done" and self.result is not None:
            return str(self.result["source_sha256"])
        return self.source.sha256 or ""

    def kept(self) -> list[list[str]]:
        """Return id and sha256 of each kept clip."""
        return [] if self.result is None else kept_clips(self.result)

    def without_rejects(self) -> SourceRecord:
        """Return the part a run needs before it publishes: no rejected rows, few columns."""
        if self.result is None:
            return self
        names = ("clip_id", "status", "clip_sha256", "source_id")
        clips = [clip for clip in self.result["clips"] if clip["status"] == "kept"]
        clips = clips or self.result["clips"][:1]
        held = [{name: clip.get(name) for name in names} for clip in clips]
        return self.model_copy(update={"result": self.result | {"clips": held}})

    def without_removed(self, removals: Removals) -> SourceRecord | None:
        """Return what may stay of it in a dataset with these removals; None: nothing."""
        if not removals:
            return self
        source = replace(self.source, sha256=self.sha256 or None)
        if removals.removes_source_with(marks_of(source)):
            return None
        result = None if self.result is None else result_that_stays(self.result, removals)
        if result is None and self.state == "done":
            return None
        replaced = [pair for pair in self.replaced if not removals.removes_clip_id(pair[0])]
        return self.model_copy(update={"result": result, "replaced": replaced})


def kept_clips(result: JsonObject) -> list[list[str]]:
    """Return id and sha256 of each kept clip in a worker's result."""
    return [[c["clip_id"], c["clip_sha256"]] for c in result["clips"] if c["status"] == "kept"]


class Settings(Record):
    """The settings that all records of a dataset share."""

    settings: str
    """Digest of everything that determines the results."""
    config: dict[str, Any]
    """The settings behind the digest, so that an error can list what differs."""
    round: int = 0
    """Incremented by `--redo`; records of earlier rounds are outdated."""
    period: int = 0
    """Incremented when a manifest is written."""

    def key_of(self, sha256: str) -> str:
        """Return the key of a record of a source with these bytes."""
        return settings_digest([self.settings, self.round, sha256])


class SourceRecords:
    """The records of one dataset, opened by one run. Create it with `open_records`."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.home = folder / RECORDS_FOLDER
        self.home_id = folder_id(self.home)
        """Identity of the records' folder, to detect that it was removed or replaced."""
        self.known: dict[str, SourceRecord] = {}
        """By item, without rejects; outdated records are pending."""
        self.planned: dict[str, Source] = {}
        """The sources this run will process, by item."""
        self.removed: set[str] = set()
        """Items that turned out to be sources that were removed from the dataset."""
        for record in read_records(folder):
            self._remember(record)

    def require_in_place(self) -> None:
        """Raise if the records were removed or replaced, or another run has their lock by now.

        See `require_same` and `require_held`.
        """
        require_same(self.home, self.home_id)
        require_held(self.home)

    def add(self, outcome: Outcome, progress: ProgressCounter) -> None:
        """Record the outcome of a source, then count it. Only `done` replaces its former result."""
        source = self.planned[outcome.key]
        former = self.known.get(outcome.key)
        if outcome.result is not None and outcome.result.get(REMOVED):
            self._leave_out(source, progress)
            return
        replaced = [] if former is None else self._replaced(former)
        result = None if outcome.result is None else dict(outcome.result)
        if former is not None and former.result is not None:
            if result is None:
                result = self.read(outcome.key).result
            else:
                replaced = replaced + former.kept()
        self.put(
            SourceRecord(
                item=outcome.key,
                state="pending" if outcome.kind == "retried" else outcome.kind,
                attempts=outcome.attempts,
                source=source,
                result=result,
                replaced=replaced,
                period=self.settings.period,
                error=outcome.error,
                error_detail=outcome.error_detail,
                wall_s=outcome.wall_s,
                cpu_s=outcome.cpu_s,
            )
        )
        if outcome.kind != "retried":
            self._count(outcome, source, progress)

    def put(self, record: SourceRecord) -> None:
        """Write a record under the current settings."""
        self.require_in_place()
        self._remember(write_record(self.home, record, self.settings))

    def start_over(self, item: str) -> None:
        """Mark a source as pending and never tried; its former result stays."""
        self.known[item] = self.known[item].model_copy(update={"state": "pending", "attempts": 0})

    def forget(self, item: str) -> None:
        """Forget that a source failed, but keep its former result."""
        if self.known[item].result is None:
            self.require_in_place()
            self._delete(item)
        else:
            new = {"state": "pending", "attempts": 0, "error": None, "error_detail": None}
            self.put(self.read(item).model_copy(update=new))

    def rename(self, item: str, source: Source) -> None:
        """Give a source another path, to be reprocessed from there; its former result stays."""
        new = {"item": source.key, "source": source, "state": "pending", "attempts": 0}
        self.put(self.read(item).model_copy(update=new))
        self._delete(item)

    def replaced_clips(self) -> set[str]:
        """Return the ids of clips whose sources were reprocessed since the manifest was written."""
        return {name for record in self.known.values() for name, _ in self._replaced(record)}

    def num_pending(self, items: Set[str]) -> int:
        """Count the sources still to be processed: among `items`, and outdated ones outside them.

        The outdated ones, whose settings or bytes have changed, are logged.
        """
        pending = [r for r in self.known.values() if r.state not in FINAL_STATES]
        former = [r for r in pending if r.item not in items and r.result is not None]
        if former:
            logger.warning(
                "%d sources to be reprocessed are not among the inputs (%s): their clips stay as "
                "they were; add their videos to the inputs",
                len(former),
                former[0].source.shown_path + (", ..." if len(former) > 1 else ""),
            )
        left = len(items - self.removed) - self.num_finished(items)
        return left + len(former)

    def num_finished(self, items: Set[str]) -> int:
        """Return how many of these sources are finished."""
        return sum(r.item in items and r.state in FINAL_STATES for r in self.known.values())

    def add_run(self, run: RunStats, shard: Shard | None) -> None:
        """Add what a run took to what earlier runs did."""
        self.require_in_place()
        path = run_file(self.folder, shard)
        read_times([path]).extended(run).write(path)

    def end_period(self) -> None:
        """Start a new period: the manifest just written lists no replaced clip."""
        self._set(period=self.settings.period + 1)

    def begin(self, settings: str, config: JsonObject, *, redo: bool) -> None:
        """Compare the current settings with those of the records; `redo` adopts the current ones.

        Raises:
            DatasetError: they differ, without `redo`.
        """
        known = self.settings
        if redo:
            self._set(settings=settings, config=dict(config), round=known.round + 1)
            for item in self.known:
                self.start_over(item)
        elif known.settings != settings:
            differences = describe_differences(known.config, config)
            raise DatasetError(
                f"{self.folder / SETTINGS_FILE}: made with another config "
                f"({differences or f'{known.settings}, now {settings}'}); "
                "choose another folder, or pass --redo to reprocess everything"
            )

    def check(self) -> None:
        """Check that the records list every clip that the manifest keeps.

        A manifest that can't be read is rewritten if the records list as many clips as
        `dataset.json` counts.

        Raises:
            DatasetError: clips are missing: the records are an older or incomplete copy.
        """
        known = {
            (name, sha256)
            for record in self.known.values()
            for name, sha256 in (*record.kept(), *self._replaced(record))
        }
        published = published_clips(self.folder)
        if published is not None:
            where, kept, missing = MANIFEST_NAME, len(published), len(set(published) - known)
        else:
            former = read_former(self.folder)
            where, kept = INFO_NAME, (0 if former is None else former.counts.kept)
            missing = max(0, kept - len(known))
        if missing:
            raise DatasetError(
                f"{self.home}: has no record of {missing} of the {kept} clips "
                f"that {where} lists: it is an older or incomplete copy; {HOW_TO_MEND}"
            )

    def _set(self, **changes: object) -> None:
        self.require_in_place()
        self.settings = self.settings.model_copy(update=changes)
        self.settings.write(self.folder / SETTINGS_FILE)

    def _replaced(self, record: SourceRecord) -> list[list[str]]:
        return record.replaced if record.period == self.settings.period else []

    def _remember(self, record: SourceRecord) -> None:
        if record.key != self.settings.key_of(record.sha256):
            record = record.model_copy(update={"state": "pending", "attempts": 0})
        self.known[record.item] = record.without_rejects()

    def read(self, item: str) -> SourceRecord:
        """Return the whole record of a source, without what was removed from the dataset."""
        record = SourceRecord.read(existing_path(self.home / _SOURCES, _name(item)))
        return record.without_removed(Removals.read(self.folder)) or record

    def _delete(self, item: str) -> None:
        remove(self.home / _SOURCES, _name(item))
        del self.known[item]

    def _leave_out(self, source: Source, progress: ProgressCounter) -> None:
        """Keep nothing of a source that was removed from the dataset."""
        logger.info("%s was removed from the dataset", printable(source.shown_path))
        self.require_in_place()
        remove(self.home / _SOURCES, _name(source.key))
        self.known.pop(source.key, None)
        self.removed.add(source.key)
        progress.finish(source.key, counts=Counter())

    def _count(self, outcome: Outcome, source: Source, progress: ProgressCounter) -> None:
        clips = () if outcome.result is None else outcome.result["clips"]
        counts = Counter(str(clip["status"]) for clip in clips)
        if outcome.kind != "done":
            unexpected = outcome.error_detail is not None or outcome.kind == "quarantined"
            logger.warning("%s", error_line(source, outcome.error or "", unexpected=unexpected))
            keep_traceback(outcome, self.folder / WORKER_LOG, name=source.shown_path)
        for clip in clips:
            if clip["status"] == "failed":  # a damaged stretch
                logger.warning("%s", clip["error"])
        counts["failed"] = int(outcome.kind != "done" or counts["failed"] > 0)
        progress.finish(outcome.key, counts=counts)


@contextmanager
def open_records(
    folder: Path,
    *,
    settings: str,
    config: JsonObject,
    redo: bool = False,
    shard: Shard | None = None,
) -> Iterator[SourceRecords]:
    """Lock the records of a dataset for this run, and check them against the manifest.

    Args:
        folder: of the dataset.
        settings: digest of everything that determines the results. Records made with other
            settings are refused, because their results would not match.
        config: the settings behind the digest.
        redo: reprocess everything with these settings.
        shard: the part to process, while other shards may be running in the same folder.

    Raises:
        DatasetError: another run is active there, the settings differ, or records are missing,
            damaged or older than the manifest.
    """
    home = folder / RECORDS_FOLDER
    with _run_locks(home, shard):
        # Shards that start at the same time wait for each other here.
        with locked(home / ".settings.lock", wait=True):
            path = folder / SETTINGS_FILE
            if not path.exists():
                if holds_work(folder) or record_paths(folder):
                    raise DatasetError(
                        f"{path}: the records of finished work are missing; {HOW_TO_MEND}"
                    )
                Settings(settings=settings, config=dict(config)).write(path)
            try:
                records = SourceRecords(folder, Settings.read(path))
            except RecordError as error:
                raise _damaged(error) from error
            records.check()
            records.begin(settings, config, redo=redo)
            if shard is None:
                sweep((home, home / _SOURCES, *subfolders(home / _SOURCES)))
        yield records


@contextmanager
def _run_locks(home: Path, shard: Shard | None) -> Iterator[None]:
    """Hold the locks of a run: alone, or together with other shards of the same count."""
    with locked(home / RECORDS_LOCK, shared=shard is not None):
        if shard is None:
            yield
            return
        for other in sorted(home.glob(".lock.shard*")):
            if not other.name.endswith(f"of{shard.count}"):
                with locked(other):  # raises while a run with another shard count is active
                    pass
        with locked(home / f"{RECORDS_LOCK}{shard.suffix}"):
            yield


def read_records(folder: Path) -> Iterator[SourceRecord]:
    """Yield the records of a dataset, in the order of their files' names.

    What was removed from the dataset is left out, also where that is not finished.

    Raises:
        DatasetError: one is damaged.
    """
    removals = Removals.read(folder)
    for _, record in stored_records(folder):
        if (stays := record.without_removed(removals)) is not None:
            yield stays


def stored_records(folder: Path) -> Iterator[tuple[Path, SourceRecord]]:
    """Yield each record as it is stored, with its file; raises as `read_records` does."""
    for path in record_paths(folder):
        try:
            yield path, SourceRecord.read(path)
        except RecordError as error:
            raise _damaged(error) from error


def write_record(home: Path, record: SourceRecord, settings: Settings) -> SourceRecord:
    """Set a record's key and write it below `.records`, or a folder that will be renamed to it."""
    record = record.model_copy(update={"key": settings.key_of(record.sha256)})
    name = _name(record.item)
    record.write(make_place(home / _SOURCES, name))
    sync(home / _SOURCES)
    remove_old(home / _SOURCES, name)
    return record


def error_line(source: Source, error: str, *, unexpected: bool) -> str:
    """Return one line that names the source and, for a bug or a crash, where to find details."""
    name = printable(source.shown_path)
    line = error if error.startswith(name) else f"{name}: {error}"
    return f"{line} (more on it: {WORKER_LOG})" if unexpected else line


def record_paths(folder: Path) -> list[Path]:
    """Return the files of all records, sorted by name."""
    home = folder / RECORDS_FOLDER / _SOURCES
    found = (path for path in entries(home) if path.match("[!.]*.json"))
    # A run that was killed may leave a record of an earlier version beside the new one.
    valid = (
        path for path in found if path.parent != home or path == existing_path(home, path.name)
    )
    return sorted(valid, key=lambda path: path.name)


def record_path(folder: Path, item: str) -> Path:
    """Return where the record of a source lies, or would lie."""
    return existing_path(folder / RECORDS_FOLDER / _SOURCES, _name(item))


def _name(item: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(item).stem)[:80]
    digits = hashlib.sha256(item.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{readable}-{digits}.json"


def _damaged(error: RecordError) -> DatasetError:
    return DatasetError(f"{error}; {HOW_TO_MEND}")


def row_of_failure(record: SourceRecord) -> Clip:
    """Return the one row of a source that failed or was given up."""
    source = record.source
    unexpected = record.error_detail is not None or record.state == "quarantined"
    line = error_line(source, record.error or "unknown error", unexpected=unexpected)
    with suppress(MediaError):  # its row then has no sha256
        source = hashed(source)
    return failed_row(source, line, quarantined=record.state == "quarantined")
