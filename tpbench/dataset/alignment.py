"""Clips that show the same pictures for a while: hashes of heads, compared at every shift in time.

Each clip has a sequence of hashes. About two of them a second are looked up among all hashes of the
other clips, about eight a second, so wherever the other clip begins and whatever its rate, a hash
of nearly the same moment is among them. Hashes that are alike vote for shifts in time, and the mean
distance over all moments that two clips have in common at a shift decides. Clips that play at
another speed are not found.

The limit was measured on pieces of 4, 5 and 7 s of the two sample talks of TalkingPose. The copies
begin a third of a second later and are mirrored, encoded at crf 33 and half the size, cropped by
2.5 or 5 % at each edge, or all of that; skeletons were found anew. Mean distance at the best shift,
in bits of 128:

    253 copies                                 median 8, 95 % 15, largest 17.4
    267 pairs, the same person at other times  smallest 22.1, 5 % 26, median 35
    108 pairs of the two speakers              smallest 48

So the limit is 20. At least 3.5 s were in common in all of these, and are asked for. A single
picture doesn't tell: one in twelve of the same person at another time differs in 24 bits or fewer,
as do 95 % of the copies' pictures.

Memory: 24 bytes per hash, and for each thread blocks of a million pairs of hashes. Time: a core
compares 200 million pairs of hashes a second. All pairs of 1,000 clips of 10 s take 8 s, of 10,000
clips 13 min; 1,000 clips of a test split against 9,000 others take 2.5 min.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset.head_hash import N_BITS, Hashes, bits_apart, distances, mirrored
from tpbench.work import ProgressCounter, ProgressListener
from tpbench.work.threads import in_threads

ALIKE_BITS: Final = 24
"""Two pictures are alike if their hashes differ in at most this many of 128 bits."""
COPY_BITS: Final = 20
"""Two clips show the same if their hashes differ in at most this many bits, on average over all
moments that both have."""
LEAST_COMMON: Final = 7
"""Moments that two clips must have in common, 3.5 s of them, unless one is shorter."""
LEAST_ALIKE: Final = 3
"""Moments that they must have in common, however short they are."""
QUERIES_PER_S: Final = 2
HASHES_PER_S: Final = 8
_STEPS_A_QUERY: Final = HASHES_PER_S // QUERIES_PER_S
_BIN_S: Final = 1 / HASHES_PER_S
"""Shifts are counted in steps of this, and one step more or less is the same shift."""
_PAIRS_AT_ONCE: Final = 1 << 20
_SHIFTS_TRIED: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HashedClip:
    """The hashes of a clip's heads over time."""

    clip_id: str
    group: str
    """Clips of one group are not compared with one another."""
    times_s: NDArray[np.float64]
    """(n,) from the start of the clip, rising."""
    hashes: Hashes
    """(n, 2) uint64."""

    def __post_init__(self) -> None:
        if self.hashes.shape != (len(self.times_s), 2) or self.hashes.dtype != np.uint64:
            raise ValueError(
                f"want {len(self.times_s)} hashes as (n, 2) uint64, got {self.hashes.dtype} "
                f"{self.hashes.shape}"
            )


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pair:
    """Two clips that show the same pictures, or nearly the same, for a while."""

    first: str
    """A clip id."""
    second: str
    """The other clip id, which comes later in the alphabet."""
    n_alike: int
    """Pictures that are alike, of about two a second."""
    n_common: int
    """Pictures that both have at this shift in time, of about two a second."""
    is_mirrored: bool
    """Whether one is the mirror image of the other."""
    shift_s: float
    """When a moment of `first` is shown in `second`: time in `second` minus time in `first`."""
    apart_bits: float
    """Mean distance of the pictures that both have at this shift, in bits of 128."""

    @property
    def share(self) -> float:
        """How many of the pictures that both have at this shift are alike, 0..1."""
        return self.n_alike / self.n_common


def find_pairs(
    clips: Sequence[HashedClip],
    *,
    workers: int = 1,
    listener: ProgressListener | None = None,
) -> Iterator[Pair]:
    """Yield the pairs of clips of different groups that show the same pictures for a while.

    Args:
        clips: in any order; those without hashes match nothing.
        workers: threads.
        listener: is told whenever one more clip has been compared with all others.
    """
    ordered = sorted(clips, key=lambda clip: (clip.group, clip.clip_id))
    ends = {clip.group: at for at, clip in enumerate(ordered, start=1)}
    sizes = [len(clip.times_s) for clip in ordered]
    begins = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
    hashes = np.concatenate([np.zeros((0, 2), np.uint64), *(clip.hashes for clip in ordered)])

    def matches(clip: HashedClip) -> list[Pair]:
        return list(_matches(clip, ordered, begins, hashes, ends[clip.group]))

    counter = ProgressCounter("pairs", total=len(ordered), listener=listener)
    for clip, found in in_threads(matches, ordered, workers=workers):
        yield from found
        counter.finish(clip.clip_id, frames=0, counts={})


def _matches(
    clip: HashedClip,
    clips: Sequence[HashedClip],
    begins: NDArray[np.int64],
    hashes: Hashes,
    first: int,
) -> Iterator[Pair]:
    """Compare a clip with all `clips` from `first` on; `begins` says where their hashes begin."""
    queries = _spaced(clip.times_s)
    if not len(queries):
        return
    asked, bins = clip.hashes[queries], _bins(clip.times_s[queries])
    while first < len(clips):
        # As many whole clips as fit; a long one alone may be more.
        fits = begins[first] + _PAIRS_AT_ONCE // len(queries)
        last = max(int(np.searchsorted(begins, fits, side="right")) - 1, first + 1)
        block = hashes[begins[first] : begins[last]]
        found: dict[int, Pair] = {}
        for is_mirrored in (False, True):
            forms = mirrored(asked) if is_mirrored else asked
            rows, columns = np.nonzero(distances(forms, block) <= ALIKE_BITS)
            owners = np.searchsorted(begins, columns + begins[first], side="right") - 1
            likely, counts = np.unique(owners, return_counts=True)
            for at in likely[counts >= LEAST_ALIKE].tolist():
                mine = owners == at
                others = _bins(clips[at].times_s)
                votes = others[columns[mine] + begins[first] - begins[at]] - bins[rows[mine]]
                aligned = _best_shift(forms, bins, clips[at].hashes, others, votes)
                if aligned and (at not in found or aligned.apart_bits < found[at].apart_bits):
                    found[at] = _pair(clip, clips[at], aligned, is_mirrored=is_mirrored)
        yield from found.values()
        first = last


def _spaced(times_s: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return where the first hash of each half second is."""
    return np.unique(np.floor(times_s * QUERIES_PER_S + 1e-6), return_index=True)[1]


def _bins(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(times_s / _BIN_S).astype(np.int64)


class _Aligned(NamedTuple):
    """Two clips at one shift in time."""

    n_alike: int
    n_common: int
    shift: int
    """In steps."""
    apart_bits: float


def _best_shift(
    asked: Hashes,
    bins: NDArray[np.int64],
    hashes: Hashes,
    others: NDArray[np.int64],
    votes: NDArray[np.int64],
) -> _Aligned | None:
    """Return the shift at which two clips differ least; None if they do at every one.

    Args:
        asked: (n, 2), queries of one clip.
        bins: (n,), their times in steps.
        hashes: (m, 2), all hashes of the other clip.
        others: (m,), their times in steps, rising.
        votes: shifts of single pictures that are alike.
    """
    # Queries of the longer clip may miss either end of the shorter one.
    n_other = len(np.unique(others // _STEPS_A_QUERY))
    least = max(LEAST_ALIKE, min(LEAST_COMMON, len(bins), n_other - 1))
    values, counts = np.unique(votes, return_counts=True)
    best: _Aligned | None = None
    for shift in values[np.argsort(-counts, kind="stable")[:_SHIFTS_TRIED]].tolist():
        nearest = _nearest(asked, bins + shift, hashes, others)
        apart = nearest[nearest <= N_BITS]
        if len(apart) < least or apart.mean() > COPY_BITS:
            continue
        if best is None or apart.mean() < best.apart_bits:
            n_alike = int((apart <= ALIKE_BITS).sum())
            best = _Aligned(n_alike, len(apart), shift, float(apart.mean()))
    return best


def _nearest(
    asked: Hashes, bins: NDArray[np.int64], hashes: Hashes, others: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the distance of each query to the nearest hash within a step of its time.

    Where there is no hash at that time it is `N_BITS + 1`.
    """
    begin = np.searchsorted(others, bins - 1, side="left")
    end = np.searchsorted(others, bins + 1, side="right")
    nearest = np.full(len(bins), N_BITS + 1)
    for more in range(int((end - begin).max(initial=0))):
        rows = np.flatnonzero(begin + more < end)
        apart = bits_apart(asked[rows], hashes[begin[rows] + more])
        nearest[rows] = np.minimum(nearest[rows], apart)
    return nearest


def _pair(clip: HashedClip, other: HashedClip, aligned: _Aligned, *, is_mirrored: bool) -> Pair:
    first, second = sorted((clip.clip_id, other.clip_id))
    shift_s = aligned.shift * _BIN_S
    return Pair(
        first=first,
        second=second,
        n_alike=aligned.n_alike,
        n_common=aligned.n_common,
        is_mirrored=is_mirrored,
        shift_s=shift_s if first == clip.clip_id else -shift_s,
        apart_bits=aligned.apart_bits,
    )
