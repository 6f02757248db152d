"""Which shard processes which source: parts of equal duration, the same whoever starts when.

The first shard divides the sources and stores the division; all others read it. Sources that are
new since then are added to the parts, and no known one ever moves, so that shards that start later,
or again, never take a source that another has.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tpbench.errors import DatasetError
from tpbench.extraction.durations import durations_ms, hash64, packed, unpacked
from tpbench.extraction.sources import Source
from tpbench.work.locks import locked_in_turn
from tpbench.work.records import Record, RecordError, Shard

logger = logging.getLogger(__name__)

_LOCK: Final = ".shares.lock"
_PER_SOURCE_MS: Final = 1_000
"""Counted for each source beside its duration: opening, probing and recording it."""


class Shares(Record):
    """Which part each source is in, for one number of shards."""

    count: int = Field(ge=1)
    sources: str = ""
    """(n,) uint64, packed, in order: hashes of shown paths. Sources of one hash share a part."""
    parts: str = ""
    """(n,) uint32, packed: 0 to `count - 1`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Division:
    """Sources, divided among shards."""

    parts: NDArray[np.int64]
    """(n,) number of the shard of each source, 1 to `count`."""
    left_s: tuple[float, ...]
    """Duration of the sources left to each shard, s."""


def divide(
    home: Path,
    sources: Sequence[Source],
    *,
    left: Set[str],
    count: int,
    workers: int,
    keep: bool = True,
) -> Division:
    """Divide sources among shards, as earlier calls did where they knew them.

    Args:
        home: folder of the records, which keep the division; it need not exist if `keep` is False.
        sources: all inputs.
        left: keys of those still to be processed: only their durations are balanced.
        count: of shards.
        workers: processes that read the durations.
        keep: the division for later calls; False: write nothing.

    Raises:
        DatasetError: the stored division is damaged, or can't be locked or written.
    """
    shown = np.fromiter((hash64(one.shown_path) for one in sources), np.uint64, len(sources))
    is_left = np.fromiter((one.key in left for one in sources), np.bool_, len(sources))
    path = _file(home, count)
    if not keep:
        known, parts = _read(path, count)
        left_ms = _left_ms(home, sources, is_left, workers, keep=False)
        known, parts = extended(known, parts, shown, left_ms, count)
    else:
        with _alone(home):
            known, parts = _read(path, count)
            new = np.setdiff1d(shown, known)
            left_ms = np.zeros(len(sources), np.int64)
            if len(new):
                left_ms = _left_ms(home, sources, is_left, workers, keep=True)
                known, parts = extended(known, parts, shown, left_ms, count)
                Shares(
                    count=count, sources=packed(known), parts=packed(parts.astype(np.uint32))
                ).write(path)
    mine = parts[np.searchsorted(known, shown)]
    left_s = np.bincount(mine, weights=left_ms / 1e3, minlength=count)
    return Division(parts=mine + 1, left_s=tuple(left_s.tolist()))


def part_of(
    home: Path, sources: Sequence[Source], shard: Shard, *, left: Set[str], workers: int
) -> frozenset[str]:
    """Return the keys of a shard's sources; see `divide`."""
    division = divide(home, sources, left=left, count=shard.count, workers=workers)
    mine = np.flatnonzero(division.parts == shard.number)
    return frozenset(sources[at].key for at in mine.tolist())


def part_sizes(home: Path, count: int) -> tuple[int, ...] | None:
    """Return how many sources each shard has, in order; None if they were never divided so.

    Raises:
        DatasetError: the stored division is damaged.
    """
    if not _file(home, count).exists():
        return None
    _, parts = _read(_file(home, count), count)
    return tuple(np.bincount(parts, minlength=count).tolist())


def extended(
    known: NDArray[np.uint64],
    parts: NDArray[np.int64],
    shown: NDArray[np.uint64],
    left_ms: NDArray[np.int64],
    count: int,
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return a division with the sources that are new to it; those it knows stay where they are.

    The longest one is placed first, each in the part with the least left to do, which is at most a
    third longer than the best division's longest (Graham, "Bounds on multiprocessing timing
    anomalies", 1969). Sources of equal length come in the order of their hashes.

    Args:
        known: (n,) hashes of sources, in order.
        parts: (n,) their parts, 0 to `count - 1`.
        shown: (m,) hashes of all sources.
        left_ms: (m,) duration of each, ms; 0 for a finished one, which is placed by its hash alone.
        count: of parts.
    """
    each, at = np.unique(shown, return_inverse=True)
    costs_ms = np.where(left_ms > 0, left_ms + _PER_SOURCE_MS, 0)
    each_ms = np.bincount(at, weights=costs_ms, minlength=len(each)).astype(np.int64)
    is_new = ~np.isin(each, known)
    loads_ms = np.zeros(count, np.int64)
    old = np.searchsorted(known, each[~is_new])
    np.add.at(loads_ms, parts[old], each_ms[~is_new])
    new, new_ms = each[is_new], each_ms[is_new]
    placed = (new % np.uint64(count)).astype(np.int64)
    heap = [(load, part) for part, load in enumerate(loads_ms.tolist())]
    heapq.heapify(heap)
    for place in np.lexsort((new, -new_ms)).tolist():
        if not new_ms[place]:
            break
        load, part = heap[0]
        placed[place] = part
        heapq.heapreplace(heap, (load + int(new_ms[place]), part))
    everything, everywhere = np.concatenate([known, new]), np.concatenate([parts, placed])
    order = np.argsort(everything, kind="stable")
    return everything[order], everywhere[order]


def _left_ms(
    home: Path, sources: Sequence[Source], is_left: NDArray[np.bool_], workers: int, *, keep: bool
) -> NDArray[np.int64]:
    """Return what is left to do of each source, (n,) ms; 0 for those that are finished."""
    at = np.flatnonzero(is_left)
    left_ms = np.zeros(len(sources), np.int64)
    to_do = [sources[number] for number in at.tolist()]
    left_ms[at] = durations_ms(home, to_do, workers=workers, keep=keep)
    return left_ms


def _file(home: Path, count: int) -> Path:
    return home / f"shares-of-{count}.json"


def _read(path: Path, count: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    if not path.exists():
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    try:
        return _columns(Shares.read(path), count, path)
    except RecordError as error:
        raise DatasetError(
            f"{error}; stop all shards, delete it, and start them again: the videos that are left "
            "are then divided anew"
        ) from error


def _columns(
    shares: Shares, count: int, path: Path
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    known = unpacked(shares.sources, np.uint64, path=path)
    parts = unpacked(shares.parts, np.uint32, path=path).astype(np.int64)
    if shares.count != count or len(known) != len(parts) or parts.max(initial=0) >= count:
        raise RecordError(f"{path}: its columns don't fit together")
    return known, parts


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the lock of the division; waits for a shard that is reading durations."""

    def tell() -> None:
        logger.warning("%s: another shard is dividing the videos; waiting for it", home.parent)

    with locked_in_turn(home / _LOCK, tell):
        yield
