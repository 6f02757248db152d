"""How long sources are, by their headers: read once, and kept beside the records.

Headers come from outside, and a library that trips over one takes its process with it. So they are
read in worker processes, many files at a time, because a file on a network share is slow to open
and cheap to read. What is known of a million files is kept in two packed columns.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.errors import number_of
from tpbench.extraction.records import WORKER_LOG
from tpbench.extraction.sources import Source
from tpbench.work import JsonObject, Outcome, Pool, Process, ProgressReport, TaskSpec, WorkItem
from tpbench.work.records import Record, RecordError
from tpbench.work.threads import in_threads

logger = logging.getLogger(__name__)

_DURATIONS: Final = "durations.json"
"""Below the records."""
_AT_ONCE: Final = 8
"""Files that a worker has open: most of the time it waits for a disk or a server."""
_BATCHES: Final = (64, 1)
"""Files per item; those of an item that killed its workers are read again, each by itself."""
_TIMEOUT_S: Final = 300.0
_SAVE_EVERY_S: Final = 60.0
_LONGEST_MS: Final = 2**32 - 1
_TYPICAL_BYTES_PER_S: Final = 250_000
"""2 Mbit/s, a talk in 720p; taken where no header states how long a video is."""


class Durations(Record):
    """What headers state, by file."""

    marks: str = ""
    """(n,) uint64, packed, in order: see `mark_of`."""
    durations_ms: str = ""
    """(n,) uint32, packed; 0: the header states none, or can't be read."""


def durations_ms(
    home: Path, sources: Sequence[Source], *, workers: int, keep: bool
) -> NDArray[np.int64]:
    """Return how long each source is, (n,) ms, at least 1: what its header states, else a guess.

    A guess assumes that a file has as many bytes per second as the others on average.

    Args:
        home: folder of the records; it need not exist.
        sources: whose headers are read, unless that was done before and the file is unchanged.
        workers: processes that read.
        keep: what was read; False: write nothing.
    """
    marks = np.fromiter((mark_of(source) for source in sources), np.uint64, len(sources))
    known = _read(home)
    # The length of an object is guessed from its size: reading headers would take requests.
    missing = [
        at
        for at, mark in enumerate(marks.tolist())
        if mark not in known and not sources[at].is_remote
    ]
    if missing:
        logger.info("reading how long %s are", number_of(len(missing), "video"))
        saved_s, log = monotonic(), home / WORKER_LOG.name if keep else None
        for at, stated_ms in _stated(sources, missing, workers, log):
            known[int(marks[at])] = stated_ms
            if keep and monotonic() - saved_s > _SAVE_EVERY_S:
                _write(home, known)
                saved_s = monotonic()
        if keep:
            _write(home, known)
    stated = np.fromiter((known.get(mark, 0) for mark in marks.tolist()), np.int64, len(sources))
    sizes = np.fromiter((source.size_bytes for source in sources), np.float64, len(sources))
    has = stated > 0
    bytes_per_s = sizes[has].sum() / (stated[has].sum() / 1e3) if has.any() else 0.0
    guesses = sizes / (bytes_per_s or _TYPICAL_BYTES_PER_S) * 1e3
    return np.where(has, stated, np.maximum(1, np.minimum(guesses, _LONGEST_MS)).astype(np.int64))


def known_durations_ms(home: Path) -> dict[int, int]:
    """Return what was read before, by `mark_of`; 0 where the header states none."""
    return _read(home)


def mark_of(source: Source) -> int:
    """Return 64 bits that stand for a file as it is: its path, size and time."""
    text = f"{source.shown_path}\0{source.size_bytes}\0{source.mtime_ns}"
    return hash64(text)


def hash64(text: str) -> int:
    """Return the first 64 bits of the sha256 of a text."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "little")


def packed(column: NDArray[Any]) -> str:
    """Return a column of numbers as text, for a record: its bytes, little-endian, in base64."""
    plain = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
    return base64.b64encode(plain.tobytes()).decode("ascii")


def unpacked(text: str, dtype: type[np.unsignedinteger[Any]], *, path: Path) -> NDArray[Any]:
    """Return the column that `packed` was given.

    Raises:
        RecordError: the text holds none.
    """
    try:
        content = base64.b64decode(text, validate=True)
        return np.frombuffer(content, np.dtype(dtype).newbyteorder("<")).astype(dtype)
    except (ValueError, binascii.Error) as error:
        raise RecordError(f"{path}: holds no column of numbers ({error})") from error


def build(config: JsonObject) -> Process:
    """Return the task of a worker: it reads the headers of some files."""
    from tpbench.video.stated import stated_duration_s

    del config

    def read(payload: JsonObject, report: ProgressReport) -> JsonObject:
        stated_ms = []
        paths = map(Path, payload["paths"])
        for _, duration_s in in_threads(stated_duration_s, paths, workers=_AT_ONCE):
            stated_ms.append(min(round((duration_s or 0) * 1e3), _LONGEST_MS))
            report({})
        return {"stated_ms": stated_ms}

    return read


def _stated(
    sources: Sequence[Source], missing: Sequence[int], workers: int, log: Path | None
) -> Iterator[tuple[int, int]]:
    """Yield numbers of sources with what their headers state, ms; 0 for nothing."""
    task = TaskSpec(factory=f"{__name__}:build")
    for size in _BATCHES:
        items = {
            f"lengths of {size} videos from {sources[missing[at]].shown_path}": missing[
                at : at + size
            ]
            for at in range(0, len(missing), size)
        }
        pool = Pool(
            num_workers=max(1, min(workers, len(items))),
            max_attempts=1,
            recycle_after=200,
            item_timeout_s=_TIMEOUT_S,
            worker_log=log,
        )
        lost: list[int] = []
        with closing(pool.run(task, _work_items(sources, items))) as outcomes:
            for outcome in outcomes:
                yield from _read_by(outcome, items[outcome.key], lost)
        missing = lost
    for at in missing:
        logger.warning("%s: its header can't be read", sources[at].shown_path)
        yield at, 0


def _work_items(sources: Sequence[Source], items: dict[str, Sequence[int]]) -> Iterator[WorkItem]:
    for key, numbers in items.items():
        yield WorkItem(key=key, payload={"paths": [str(sources[at].path) for at in numbers]})


def _read_by(
    outcome: Outcome, numbers: Sequence[int], lost: list[int]
) -> Iterator[tuple[int, int]]:
    if outcome.result is None:
        lost.extend(numbers)
    else:
        yield from zip(numbers, outcome.result["stated_ms"], strict=True)


def _read(home: Path) -> dict[int, int]:
    """Return what is known, by mark; a damaged file is of no more use than none."""
    path = home / _DURATIONS
    if not path.exists():
        return {}
    try:
        known = Durations.read(path)
        marks = unpacked(known.marks, np.uint64, path=path)
        stated_ms = unpacked(known.durations_ms, np.uint32, path=path)
    except RecordError as error:
        logger.warning("%s; it is made anew", error)
        return {}
    return dict(zip(marks.tolist(), stated_ms.tolist(), strict=False))


def _write(home: Path, known: dict[int, int]) -> None:
    marks = np.array(sorted(known), np.uint64)
    stated_ms = np.fromiter((known[mark] for mark in marks.tolist()), np.uint32, len(marks))
    record = Durations(marks=packed(marks), durations_ms=packed(stated_ms))
    record.write(home / _DURATIONS)
