"""Between the ledger and the dataset: what is to be done, and what came of it."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Final

from tpbench.dataset import Clip, RunStats, clip_path, keypoints_path, pose_path
from tpbench.dataset.folder import CLIPS_FOLDER, KEYPOINTS_FOLDER, LEDGER_FILE, POSES_FOLDER
from tpbench.errors import DatasetError, MediaError
from tpbench.execution import Ledger, LedgerEntry
from tpbench.extraction.leftovers import holds_work, require_own_folders
from tpbench.extraction.pipeline import WORK_FOLDER, failed_row
from tpbench.extraction.sources import Source, hashed, mark_duplicates
from tpbench.extraction.worker import payload_of, source_of
from tpbench.foreign import printable
from tpbench.work import WorkItem

logger = logging.getLogger(__name__)

FINAL_STATES: Final = frozenset({"done", "failed", "quarantined", "postponed"})
"""Of this run; what is postponed is tried again by the next."""
WORKER_LOG: Final = Path(".ledger") / "workers.log"
"""Below the dataset: what workers and the native libraries in them say, and tracebacks."""
_WALL_KEY: Final = "wall_s"

_HOMES: Final = frozenset({CLIPS_FOLDER, KEYPOINTS_FOLDER, POSES_FOLDER})


def make_folder(folder: Path) -> None:
    """Make the folder of a dataset, or make sure that it is one.

    Raises:
        DatasetError: it can't be made or written to, it holds something else, or a dataset that
            can't be extended.
    """
    books = folder / LEDGER_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not books.is_file() and any(_is_foreign(entry) for entry in folder.iterdir()):
            raise DatasetError(_why_refused(folder))
        require_own_folders(folder)
        books.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder}: can't write a dataset here ({error.strerror})") from error


def _is_foreign(entry: Path) -> bool:
    """Whether something is there that no run leaves which came to nothing."""
    if entry.name in {LEDGER_FILE.parts[0], WORK_FOLDER}:
        return False
    return entry.name not in _HOMES or not entry.is_dir() or any(entry.iterdir())


def _why_refused(folder: Path) -> str:
    if holds_work(folder):
        return (
            f"{folder}: a dataset without its ledger ({LEDGER_FILE}): it can be read, not "
            "extended; put its .ledger folder back from a copy, or choose another output folder"
        )
    return f"{folder}: holds files but no dataset of tpbench; choose a new or empty folder"


def plan(
    ledger: Ledger, sources: Sequence[Source], folder: Path, *, retry_failed: bool = False
) -> Set[str]:
    """Write what is to be done into the ledger; return the keys of all inputs, done ones included.

    A source that was done stays done while its size and time of change stay as they were; one that
    changed is done again unless its bytes are the same. A file with the bytes of another is not
    done a second time, and one that merely moved is known again. A failed source that is gone is
    forgotten. A source of which a clip file is missing is done again, also where it moved. What was
    out of reach is tried again.

    Args:
        ledger: of the run.
        sources: all inputs.
        folder: of the dataset.
        retry_failed: try again what failed or was given up.
    """
    keys = {source.key for source in sources}
    entries = {entry.key: entry for entry in ledger.entries()}
    again = {
        source.key
        for source in sources
        if source.key in entries
        and _is_to_be_done_again(entries[source.key], source, folder, retry_failed=retry_failed)
    }
    again |= _sharing_an_id(entries.values()) & keys
    same = [entry for key, entry in entries.items() if key not in again]
    finished = _finished(same)
    again |= _without_original(same, finished, keys)
    ledger.forget(again | {entry.key for entry in same if _failed_and_gone(entry, keys)})
    new = [
        source
        for source in sources
        if source.key not in entries
        or source.key in again
        or entries[source.key].state == "pending"
    ]
    todo: list[Source] = []
    by_path = {source_of(entry.payload).path: entry for entry in same}
    for source in mark_duplicates(new, finished):
        former = finished.get(source.sha256 or "")
        if source.duplicate_of is None or former is None:
            todo.append(source)
        elif former.path.exists():
            todo.append(replace(source, duplicate_of=former.shown_path))
        elif _lacks_files(by_path[former.path], folder):
            moved = replace(source, duplicate_of=None)
            ledger.rename(former.key, WorkItem(key=moved.key, payload=payload_of(moved)))
            finished[moved.sha256 or ""] = moved
        else:
            logger.info("%s is %s, which was done before it moved", source.path, former.path)
            keys.discard(source.key)
    ledger.add(WorkItem(key=source.key, payload=payload_of(source)) for source in todo)
    return keys


def rows_of(ledger: Ledger) -> Iterator[Clip]:
    """Yield the manifest rows: of what is done, of what failed, and of what is to be done again.

    A source that is to be done again keeps the rows it had until it is. No id comes twice: what is
    done goes before what was.
    """
    seen: set[str] = set()
    for current in (True, False):
        for entry in ledger.entries():
            if current and entry.state in {"failed", "quarantined", "postponed"}:
                yield _failed_row(entry)
            if entry.result is None or (entry.state == "done") is not current:
                continue
            for row in entry.result["clips"]:
                if row["clip_id"] not in seen:
                    seen.add(row["clip_id"])
                    yield Clip.from_json(row)


def _failed_row(entry: LedgerEntry) -> Clip:
    source = source_of(entry.payload)
    unexpected = entry.error_detail is not None or entry.state == "quarantined"
    return failed_row(
        _best_known(source),
        error_line(source, entry.error or "unknown error", unexpected=unexpected),
        quarantined=entry.state == "quarantined",
    )


def error_line(source: Source, error: str, *, unexpected: bool) -> str:
    """Return one line that names the source and, of a bug or a crash, where there is more of it."""
    name = printable(source.shown_path)
    line = error if error.startswith(name) else f"{name}: {error}"
    return f"{line} (more on it: {WORKER_LOG})" if unexpected else line


def num_pending(ledger: Ledger, keys: Set[str]) -> int:
    """Return how many sources are still to be done: of these, and of those that were done before.

    The latter are told of in the log: they were made with other settings, or have changed since.
    """
    pending = [entry for entry in ledger.entries() if entry.state not in FINAL_STATES]
    former = [e for e in pending if e.key not in keys and e.result is not None]
    if former:
        logger.warning(
            "%d sources that are to be done again were not given (%s): their clips stay as they "
            "were; give their videos, too",
            len(former),
            source_of(former[0].payload).shown_path + (", ..." if len(former) > 1 else ""),
        )
    return sum(entry.key in keys for entry in pending) + len(former)


def replaced_clips(ledger: Ledger) -> set[str]:
    """Return the ids of the clips whose sources were done again since the manifest was written."""
    return {
        clip["clip_id"]
        for result in ledger.replaced()
        for clip in result["clips"]
        if clip["status"] == "kept"
    }


def run_stats(ledger: Ledger, *, workers: int) -> RunStats:
    """Add up what all runs so far took."""
    stage_s: Counter[str] = Counter()
    frames, source_s, core_s = 0, 0.0, 0.0
    for entry in ledger.entries():
        core_s += entry.cpu_s
        if entry.result is not None:
            frames += entry.result["n_frames"]
            source_s += entry.result["duration_s"]
            stage_s.update(entry.result["stage_s"])
    return RunStats(
        workers=workers,
        wall_s=float(ledger.get_meta(_WALL_KEY) or 0.0),
        core_s=core_s,
        source_frames=frames,
        source_s=source_s,
        stage_s=dict(stage_s),
    )


def add_wall_time(ledger: Ledger, wall_s: float) -> None:
    """Add the time of a run to that of the runs before."""
    before = float(ledger.get_meta(_WALL_KEY) or 0.0)
    ledger.set_meta(_WALL_KEY, repr(before + wall_s))


def _is_to_be_done_again(
    entry: LedgerEntry, source: Source, folder: Path, *, retry_failed: bool
) -> bool:
    if entry.state == "postponed" or (retry_failed and entry.state in {"failed", "quarantined"}):
        return True
    return _has_changed(entry, source) or _lacks_files(entry, folder)


def _has_changed(entry: LedgerEntry, source: Source) -> bool:
    then = source_of(entry.payload)
    if (then.size_bytes, then.mtime_ns) == (source.size_bytes, source.mtime_ns):
        return False
    if entry.result is None or entry.state != "done":
        return True
    try:
        return bool(hashed(source).sha256 != entry.result["source_sha256"])
    except MediaError:
        return True


def _sharing_an_id(entries: Iterable[LedgerEntry]) -> set[str]:
    """Return the keys of sources that one id was given to before ids were held against each other.

    The files of one lie in the place of the other's: both are done again.
    """
    bearers: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        if entry.state == "done" and entry.result is not None:
            for clip in entry.result["clips"]:
                if clip["status"] == "kept":
                    bearers[clip["clip_id"]][entry.key] = entry.result["source_sha256"]
    return {key for same in bearers.values() if len(set(same.values())) > 1 for key in same}


def _lacks_files(entry: LedgerEntry, folder: Path) -> bool:
    """Whether a file of a kept clip is gone. Damaged ones are found by `inspect --verify`."""
    clips = () if entry.result is None else entry.result["clips"]
    for clip_id in (clip["clip_id"] for clip in clips if clip["status"] == "kept"):
        for path_of in (clip_path, keypoints_path, pose_path):
            if not path_of(folder, clip_id).is_file():
                logger.warning("%s is gone; its source is done again", path_of(folder, clip_id))
                return True
    return False


def _finished(entries: Sequence[LedgerEntry]) -> dict[str, Source]:
    """Return the sources that earlier runs have finished, by sha256; duplicates left out."""
    finished: dict[str, Source] = {}
    for entry in entries:
        source = source_of(entry.payload)
        if entry.state not in FINAL_STATES or source.duplicate_of is not None:
            continue
        sha256 = source.sha256
        if entry.state == "done" and entry.result is not None:
            sha256 = entry.result["source_sha256"]
        if sha256 is not None:
            finished[sha256] = source
    return finished


def _without_original(
    entries: Sequence[LedgerEntry], finished: Mapping[str, Source], keys: Set[str]
) -> set[str]:
    """Return the keys of finished duplicates whose original changed or was never finished.

    Args:
        entries: all that did not change.
        finished: originals, by sha256.
        keys: of this run's inputs: an original among them may still come.
    """
    coming = set()
    duplicates: dict[str, str] = {}
    for entry in entries:
        source = source_of(entry.payload)
        if entry.key not in keys or source.sha256 is None:
            continue
        if source.duplicate_of is None:
            coming.add(source.sha256)
        elif entry.state == "done":
            duplicates[entry.key] = source.sha256
    return {
        key for key, sha256 in duplicates.items() if sha256 not in finished and sha256 not in coming
    }


def _failed_and_gone(entry: LedgerEntry, keys: Set[str]) -> bool:
    failed = entry.state in {"failed", "quarantined", "postponed"}
    return failed and entry.key not in keys and not source_of(entry.payload).path.exists()


def _best_known(source: Source) -> Source:
    try:
        return hashed(source)
    except MediaError:
        return source
