"""Between the ledger and the dataset: what is to be done, and what came of it."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tpbench.dataset import Clip, RunStats, clip_path, keypoints_path, pose_path
from tpbench.dataset.info import INFO_NAME
from tpbench.errors import DatasetError, MediaError
from tpbench.execution import WorkItem
from tpbench.extraction.rows import failed_row
from tpbench.extraction.sources import Source, hashed, mark_duplicates
from tpbench.extraction.worker import payload_of, source_of
from tpbench.foreign import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

    from tpbench.execution import Ledger, LedgerEntry

_log = logging.getLogger(__name__)

LEDGER_FILE: Final = Path(".ledger") / "local.sqlite"
"""Below the dataset; one file a writer."""

FINAL_STATES: Final = frozenset({"done", "failed", "quarantined"})

WORKER_LOG: Final = Path(".ledger") / "workers.log"
"""Below the dataset: what workers and the native libraries in them say, and tracebacks."""

_WALL_KEY: Final = "wall_s"


def make_folder(folder: Path) -> None:
    """Make the folder of a dataset, or make sure that it is one.

    Raises:
        DatasetError: it can't be made or written to, or it holds something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = not (folder / LEDGER_FILE).is_file() and any(folder.iterdir())
        (folder / LEDGER_FILE).parent.mkdir(exist_ok=True)
    except OSError as error:
        msg = f"{folder}: can't write a dataset here ({error.strerror})"
        raise DatasetError(msg) from error
    if foreign and any(entry.name != LEDGER_FILE.parts[0] for entry in folder.iterdir()):
        (folder / LEDGER_FILE).parent.rmdir()
        what = "files but no dataset of tpbench"
        if (folder / INFO_NAME).is_file():
            what = "a dataset without its ledger (.ledger): it can be read, not extended"
        msg = f"{folder}: holds {what}; choose a new or empty folder"
        raise DatasetError(msg)


def plan(ledger: Ledger, sources: Sequence[Source], folder: Path) -> Set[str]:
    """Write what is to be done into the ledger; return the keys of all inputs, done ones included.

    A source that was done stays done while its size and time of change stay as they were; one that
    changed is done again unless its bytes are the same. A file with the bytes of another is not
    done a second time, and one that merely moved is known again. A failed source that is gone is
    forgotten. A source of which a clip file is missing is done again.

    Args:
        ledger: of the run.
        sources: all inputs.
        folder: of the dataset.
    """
    keys = {source.key for source in sources}
    entries = {entry.key: entry for entry in ledger.entries()}
    again = {
        source.key
        for source in sources
        if source.key in entries
        and (_has_changed(entries[source.key], source) or _lacks_files(entries[source.key], folder))
    }
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
    for source in mark_duplicates(new, finished):
        former = finished.get(source.sha256 or "")
        if source.duplicate_of is not None and former is not None and not former.path.exists():
            _log.info("%s is %s, which was done before it moved", source.path, former.path)
            keys.discard(source.key)
            continue
        todo.append(source)
    ledger.add(WorkItem(key=source.key, payload=payload_of(source)) for source in todo)
    return keys


def rows_of(ledger: Ledger) -> Iterator[Clip]:
    """Yield the manifest rows of all that is finished."""
    for entry in ledger.entries():
        if entry.state == "done" and entry.result is not None:
            for row in entry.result["clips"]:
                yield Clip.from_json(row)
        elif entry.state in {"failed", "quarantined"}:
            yield failed_row(
                _best_known(source_of(entry.payload)),
                error_line(
                    source_of(entry.payload),
                    entry.error or "unknown error",
                    unexpected=entry.error_detail is not None or entry.state == "quarantined",
                ),
                quarantined=entry.state == "quarantined",
            )


def error_line(source: Source, error: str, *, unexpected: bool) -> str:
    """Return one line that names the source and, of a bug or a crash, where there is more of it."""
    name = printable(source.shown_path)
    line = error if error.startswith(name) else f"{name}: {error}"
    return f"{line} (more on it: {WORKER_LOG})" if unexpected else line


def num_pending(ledger: Ledger, keys: Set[str]) -> int:
    """Return how many of these sources are still to be done."""
    return sum(entry.key in keys and entry.state not in FINAL_STATES for entry in ledger.entries())


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


def _has_changed(entry: LedgerEntry, source: Source) -> bool:
    then = source_of(entry.payload)
    if (then.size_bytes, then.mtime_ns) == (source.size_bytes, source.mtime_ns):
        return False
    if entry.result is None:
        return True
    try:
        return bool(hashed(source).sha256 != entry.result["source_sha256"])
    except MediaError:
        return True


def _lacks_files(entry: LedgerEntry, folder: Path) -> bool:
    """Whether a file of a kept clip is gone. Damaged ones are found by `inspect --verify`."""
    clips = () if entry.result is None else entry.result["clips"]
    for clip_id in (clip["clip_id"] for clip in clips if clip["status"] == "kept"):
        for path_of in (clip_path, keypoints_path, pose_path):
            if not path_of(folder, clip_id).is_file():
                _log.warning("%s is gone; its source is done again", path_of(folder, clip_id))
                return True
    return False


def _finished(entries: Sequence[LedgerEntry]) -> dict[str, Source]:
    """Return the sources that earlier runs have finished, by sha256; duplicates left out."""
    finished: dict[str, Source] = {}
    for entry in entries:
        source = source_of(entry.payload)
        if entry.state not in FINAL_STATES or source.duplicate_of is not None:
            continue
        sha256 = source.sha256 if entry.result is None else entry.result["source_sha256"]
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
    failed = entry.state in {"failed", "quarantined"}
    return failed and entry.key not in keys and not source_of(entry.payload).path.exists()


def _best_known(source: Source) -> Source:
    try:
        return hashed(source)
    except MediaError:
        return source
