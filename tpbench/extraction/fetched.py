"""`extract LIST --fetch`: the videos of a list, fetched and extracted one by one.

A thread fetches while the workers extract. It stays at most `AHEAD` videos ahead of them, so with
`delete_raw` no more than that, and those in work, are on the disk: a list of any length fits. What
is finished is known from the dataset's records; its video is not fetched again, deleted or not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from tpbench.dataset import Dataset
from tpbench.errors import ConfigError
from tpbench.extraction.planning import SourceNames, is_finished, plan, work_item, work_items
from tpbench.extraction.preview import preview_extraction
from tpbench.extraction.run import ExtractionRequest, Run
from tpbench.extraction.run import opened as opened_extraction
from tpbench.extraction.sources import Source, find_sources, plain_path
from tpbench.fetching import run as fetching
from tpbench.fetching.download import StoppedError
from tpbench.fetching.lists import ListedVideo
from tpbench.fetching.outcomes import FAILED, FetchRecord
from tpbench.fetching.request import FetchRequest, FetchResult, Pace
from tpbench.files import lies_in
from tpbench.work import Outcome, ProgressCounter, ProgressListener, WorkItem
from tpbench.work.records import Shard

logger = logging.getLogger(__name__)

AHEAD: Final = 2
"""Fetched videos that wait for a worker."""
_ASK_S: Final = 0.1
_JOIN_S: Final = 5.0
"""A thread that waits for a host is left behind after this; it ends with the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedDataset:
    """What became of a list."""

    dataset: Dataset
    fetch: FetchResult
    kept_raw: tuple[str, ...]
    """Raw files that were to be deleted, but stay: no dataset can be made of them yet."""

    @property
    def fetch_json(self) -> dict[str, Any]:
        """The part about fetching, as JSON values."""
        return {**self.fetch.to_json(), "kept_raw": list(self.kept_raw)}


def raw_folder(dataset: Path) -> Path:
    """Return where raw videos go if nothing else is said: beside the dataset."""
    return dataset.with_name(f"{dataset.name}-raw")


def extract_list(
    extraction: ExtractionRequest,
    fetch: FetchRequest,
    on_progress: ProgressListener | None = None,
    *,
    delete_raw: bool = False,
    pace: Pace | None = None,
) -> FetchedDataset:
    """Fetch the videos of a list and extract a dataset from them, side by side.

    Called again, it goes on with what is unfinished. An interrupted run publishes what is finished.

    Args:
        extraction: of the dataset; its inputs are not used.
        fetch: of the list; what was removed from the dataset is never fetched.
        on_progress: called at every step.
        delete_raw: delete each raw video once its source is recorded as finished.
        pace: how patient to be with hosts.

    Raises:
        ConfigError: an option or the list is wrong, or the raw folder lies in the dataset.
        TPBenchError: as `extract` and `run_fetch`.
    """
    out = plain_path(Path(extraction.out))
    raw = plain_path(fetch.out)
    if lies_in(raw, out):
        raise ConfigError(f"--raw {raw} lies in the dataset {out}; choose a folder beside it")
    fetch = replace(fetch, out=raw, datasets=(*fetch.datasets, out))
    stop = threading.Event()

    def wait(seconds: float) -> None:
        if stop.wait(seconds):
            raise StoppedError

    with (
        fetching.opened(fetch, pace=pace or Pace(), wait=wait, must_stop=stop.is_set) as listed,
        opened_extraction(extraction, shard=None, sources=_there(listed, out)) as run,
    ):
        both = _Both(listed=listed, run=run, delete_raw=delete_raw, stop=stop)
        return both.result(on_progress)


def preview_list(
    extraction: ExtractionRequest, fetch: FetchRequest
) -> tuple[FetchResult, tuple[str, ...]]:
    """Return what is known of a list, and what would stop its extraction. Writes nothing.

    Raises:
        ConfigError: an option or the list is wrong.
        DatasetError: records are damaged.
    """
    out = plain_path(Path(extraction.out))
    fetch = replace(fetch, out=plain_path(fetch.out), datasets=(*fetch.datasets, out))
    return fetching.preview_fetch(fetch), preview_extraction(extraction, sources=[]).problems


def _there(listed: fetching.FetchRun, out: Path) -> list[Source]:
    """Return the sources that earlier runs have fetched."""
    files = [listed.records.file_of(video.video_id) for video in listed.asked()]
    paths = [path for path in files if path is not None]
    return find_sources(paths, excluded=out) if paths else []


class _Both:
    """One run of both halves; the driver's side, on the main thread."""

    def __init__(
        self, *, listed: fetching.FetchRun, run: Run, delete_raw: bool, stop: threading.Event
    ) -> None:
        self._listed, self._run, self._delete_raw = listed, run, delete_raw
        self._raw = listed.request.out
        self._known = {
            Path(key).stem: key for key in run.records.known if Path(key).parent == self._raw
        }
        """Video id -> key of its source."""
        self._first_of = {
            record.sha256: record.source
            for record in run.records.known.values()
            if record.state == "done" and record.source.duplicate_of is None
        }
        """sha256 -> the source with these bytes that is extracted."""
        for source in run.records.planned.values():
            record = listed.records.known[Path(source.key).stem]
            self._first_of.setdefault(record.sha256 or "", source)
        self._keys = set(run.keys)
        todo = [video for video in listed.asked() if self._is_wanted(video)]
        self._before = len(listed.asked()) - len(todo) - len(run.records.planned)
        self._feed = _Feed(listed, todo, stop=stop, slots=run.workers + AHEAD)

    def result(self, on_progress: ProgressListener | None) -> FetchedDataset:
        total = len(self._listed.asked())
        progress = ProgressCounter(
            "extract", total=total, before=max(0, self._before), listener=on_progress
        )
        for key in self._keys - self._run.records.planned.keys():
            self._clear(key)
        with self._feed.running():
            interruption = self._run.process(self._items(progress), progress, then=self._after)
        dataset = replace(self._run, keys=self._keys | self._pending()).publish()
        self._listed.write_table()
        if interruption is not None:
            raise interruption
        fetch = self._listed.result(self._feed.stopped)
        return FetchedDataset(dataset=dataset, fetch=fetch, kept_raw=self._kept())

    def _is_wanted(self, video: ListedVideo) -> bool:
        """Whether a video has to be fetched for the dataset."""
        if self._listed.records.file_of(video.video_id) is not None:
            return False
        key = self._known.get(video.video_id)
        retry = self._run.request.retry_failed
        if key is not None and is_finished(self._run.records, key, retry_failed=retry):
            return False
        record = self._listed.records.known.get(video.video_id)
        if record is not None and record.sha256 in self._first_of:
            return False  # in a folder that has moved since
        # A file that was deleted after another dataset was made of it is fetched again.
        return self._listed.outcome(video) == "ok" or not self._listed.is_settled(video)

    def _items(self, progress: ProgressCounter) -> Iterator[WorkItem | None]:
        """Yield what was there already, then what arrives; None while nothing does."""
        yield from work_items(self._run.records)
        while not self._feed.is_over():
            arrived = self._feed.next()
            if arrived is None:
                yield None
                continue
            item = self._planned(arrived)
            if item is not None:
                yield item
                continue
            counts = {"failed": int(arrived.outcome in FAILED)}
            progress.finish(arrived.video_id, frames=0, counts=counts)

    def _planned(self, arrived: FetchRecord) -> WorkItem | None:
        """Plan a video that was tried; None if there is nothing to extract."""
        path = self._listed.records.file_of(arrived.video_id)
        if path is None:
            self._feed.release(arrived.video_id)
            return None
        records = self._run.records
        (found,) = find_sources([path], excluded=self._run.folder)
        source = replace(found, sha256=arrived.sha256)
        first = self._first_of.setdefault(arrived.sha256 or "", source)
        if Path(first.key).stem != arrived.video_id:
            # Said here, as to `plan` a source whose file is deleted would look as if it had moved.
            records.planned[source.key] = replace(source, duplicate_of=first.shown_path)
            self._keys.add(source.key)
        else:
            self._keys |= plan(records, [source], retry_failed=self._run.request.retry_failed)
        if source.key in records.planned:
            return work_item(records, source.key, SourceNames(records))
        self._feed.release(arrived.video_id)  # finished, under the path of before
        self._clear(source.key)
        return None

    def _after(self, outcome: Outcome) -> None:
        """Make room for the next video once a source is recorded."""
        if outcome.kind != "retried":
            self._clear(outcome.key)
            self._feed.release(Path(outcome.key).stem)

    def _clear(self, key: str) -> None:
        """Delete the raw file of a finished source, if that is wanted."""
        record = self._run.records.known.get(key)
        if self._delete_raw and (record is None or record.state == "done"):
            self._listed.records.delete_file(Path(key).stem)

    def _pending(self) -> Set[str]:
        """Return keys of videos that were not fetched, and may be by the next run."""
        names = (
            video.video_id
            for video in self._listed.asked()
            if self._listed.outcome(video) in {"pending", "blocked", "network"}
        )
        return {self._known.get(name, name) for name in names}

    def _kept(self) -> tuple[str, ...]:
        if not self._delete_raw:
            return ()
        files = (self._listed.records.file_of(video.video_id) for video in self._listed.asked())
        return tuple(path.name for path in files if path is not None)


class _Feed:
    """Fetches on a thread, at most so many videos ahead of what is finished.

    Args:
        listed: fetches.
        videos: to fetch, in this order.
        stop: set to end it.
        slots: videos fetched and not yet `release`d.
    """

    def __init__(
        self,
        listed: fetching.FetchRun,
        videos: Sequence[ListedVideo],
        *,
        stop: threading.Event,
        slots: int,
    ) -> None:
        self.stopped: str | None = None
        """Why it ended early."""
        self._listed, self._videos, self._stop = listed, videos, stop
        self._slots = threading.Semaphore(slots)
        self._held: set[str] = set()
        self._arrived: SimpleQueue[FetchRecord | BaseException] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="fetch", daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Fetch for the duration of a block."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(_JOIN_S)

    def next(self) -> FetchRecord | None:
        """Return a video that was tried; None if there is none at the moment.

        Raises:
            BaseException: what ended the thread, such as a full disk.
        """
        try:
            arrived = self._arrived.get_nowait()
        except Empty:
            return None
        if isinstance(arrived, BaseException):
            raise arrived
        return arrived

    def is_over(self) -> bool:
        """Whether nothing more will arrive."""
        return not self._thread.is_alive() and self._arrived.empty()

    def release(self, video_id: str) -> None:
        """Make room for another video, now that this one is finished or can't be had."""
        if video_id in self._held:
            self._held.discard(video_id)
            self._slots.release()

    def _work(self) -> None:
        try:
            for video in self._videos:
                while not self._slots.acquire(timeout=_ASK_S):
                    if self._stop.is_set():
                        return
                if self._stop.is_set():
                    return
                self._held.add(video.video_id)
                self._put(video)
        except fetching.BlockedError as error:
            self.stopped = str(error)
        except StoppedError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again on the main thread
            self._arrived.put(error)

    def _put(self, video: ListedVideo) -> None:
        try:
            record = self._listed.fetch(video)
        except fetching.BlockedError:
            self._arrived.put(self._listed.records.known[video.video_id])
            raise
        self._arrived.put(record)


def refuse_shard(shard: Shard | None) -> None:
    """Refuse to fetch for one shard of several.

    Raises:
        ConfigError: there is a shard.
    """
    if shard is not None:
        raise ConfigError(
            "--fetch and --shard don't go together; run `tpbench fetch LIST --out RAW` first, then "
            "`tpbench extract RAW --shard ...` on each machine"
        )
