"""One constant-rate timeline for each video: stamps put right, frame numbers and times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_STAMP: Final = np.iinfo(np.int64).min
"""Stands for a stamp that is not there."""
HOLE_S: Final = 1.0
"""A pause longer than this, or than four usual intervals where these are longer, ends a part.
Shorter ones are filled by showing the picture before them on."""
BACK_S: Final = 0.2
"""A clock that goes back by more than this has restarted, for sound as for pictures."""
_HOLE_INTERVALS: Final = 4
_LONGEST_USUAL_S: Final = 1.0
"""Slower than a picture a second is no video: such pictures are parts of their own."""
_LEAST_ROOM: Final = 0.25
"""Pictures without a stamp between two that have one need this much of their usual time."""
_MOST_STRAYS: Final = 2
"""Pictures in a row that can be strays; more of them are a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Pictures one after the other on one clock, without a jump."""

    stamps: NDArray[np.int64]
    """(n,) never falling, in ticks; one for every picture."""
    clock: int
    """How often the clock restarted before: stamps of one clock can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """All pictures of a video in runs."""

    runs: tuple[Run, ...]
    n_unstamped: int
    """Pictures without a stamp, which were placed between their neighbours."""
    n_strays: int
    """Pictures whose stamp fitted nothing around them, which were placed likewise."""


def mend_stamps(
    stamps: NDArray[np.int64], time_base: Fraction, declared: Sequence[Fraction] = ()
) -> Mended:
    """Place every picture on a clock, and split where the clock jumps.

    Args:
        stamps: (n,) stamps in order of display, in ticks, or `NO_STAMP`; n >= 1.
        time_base: seconds a tick.
        declared: believable rates that the container names, for videos whose stamps tell none.

    Raises:
        ValueError: no picture has a stamp.
    """
    known = np.flatnonzero(stamps != NO_STAMP)
    if not len(known):
        raise ValueError("no picture has a stamp")
    usual = _usual_interval(stamps, known, time_base, declared)
    kept, starts, backs = _jumps(stamps, known, _Steps(stamps, float(time_base), usual))
    runs: list[Run] = []
    bounds = [0, *starts, len(stamps)]
    for number, (first, end) in enumerate(pairwise(bounds)):
        inside = kept[(kept >= first) & (kept < end)]
        runs.append(
            Run(
                stamps=_filled(stamps, inside, first, end, usual),
                clock=sum(backs[:number]),
            )
        )
    return Mended(
        runs=tuple(runs),
        n_unstamped=len(stamps) - len(known),
        n_strays=len(known) - len(kept),
    )


def _usual_interval(
    stamps: NDArray[np.int64],
    known: NDArray[np.intp],
    time_base: Fraction,
    declared: Sequence[Fraction],
) -> float:
    """Return the usual ticks from picture to picture, at most a second's."""
    # In floats: strays may lie further apart than integers reach.
    intervals = np.diff(stamps[known].astype(np.float64)) / np.diff(known)
    forward = intervals[(intervals > 0) & (intervals * float(time_base) <= _LONGEST_USUAL_S)]
    if len(forward):
        return float(np.median(forward))
    return float(1 / (time_base * (declared[0] if declared else 25)))


@dataclass(frozen=True, slots=True)
class _Steps:
    """Tells whether one picture can follow another on the same clock."""

    stamps: NDArray[np.int64]
    tick_s: float
    usual: float

    def ticks(self, before: int, after: int) -> int:
        return int(self.stamps[after]) - int(self.stamps[before])

    def fits(self, before: int, after: int) -> bool:
        hole = max(HOLE_S / self.tick_s, _HOLE_INTERVALS * self.usual)
        between = after - before - 1
        least = (between + 1) * self.usual * _LEAST_ROOM if between else 0
        return least <= self.ticks(before, after) <= hole + between * self.usual

    def restarts(self, before: int, after: int) -> bool:
        """Whether the clock is back at an earlier time, not only waiting or ahead."""
        late = self.ticks(before, after) - (after - before) * self.usual
        return late * self.tick_s < -BACK_S

    def leaves_room(self, before: int, after: int) -> bool:
        """Whether the one can follow the other with all pictures between them."""
        room = self.ticks(before, after) / self.usual
        return self.fits(before, after) and room >= after - before - 0.5


def _jumps(
    stamps: NDArray[np.int64], known: NDArray[np.intp], steps: _Steps
) -> tuple[NDArray[np.intp], list[int], list[bool]]:
    """Find where the clock jumps.

    Returns:
        The pictures whose stamps count; the first picture of every run but the first; and for each
        of these whether the clock restarted there.
    """
    order = [int(at) for at in known]
    kept = [order[0]]
    starts: list[int] = []
    backs: list[bool] = []
    at = 1
    while at < len(order):
        before, now = kept[-1], order[at]
        if steps.fits(before, now):
            kept.append(now)
        elif skip := _strays_ahead(order, at, before, steps):
            at += skip
            continue
        elif len(kept) > 1 and kept[-1] not in starts[-1:] and _stray_before(kept, now, steps):
            kept[-1] = now
        else:
            kept.append(now)
            starts.append(now)
            backs.append(steps.restarts(before, now))
        at += 1
    return np.array(kept, np.intp), starts, backs


def _strays_ahead(order: list[int], at: int, before: int, steps: _Steps) -> int:
    """Return how many pictures from place `at` on are strays: those behind them fit `before`."""
    for skip in range(1, _MOST_STRAYS + 1):
        behind = order[at + skip : at + skip + 2]
        if not behind or not steps.leaves_room(before, behind[0]):
            continue
        # Two must fit: the first pictures of a part may pass the last of the one before.
        if len(behind) == 1 or steps.fits(*behind):
            return skip
    return 0


def _stray_before(kept: list[int], now: int, steps: _Steps) -> bool:
    """Whether the last picture was the stray: the one before it and `now` fit, as it does not."""
    return steps.ticks(kept[-1], now) < 0 and steps.leaves_room(kept[-2], now)


def _filled(
    stamps: NDArray[np.int64], known: NDArray[np.intp], first: int, end: int, usual: float
) -> NDArray[np.int64]:
    """Return stamps of pictures `first` to `end`, with those that are not known put between."""
    if len(known) == end - first:
        return stamps[first:end]
    zero = int(stamps[known[0]])
    places = np.arange(first, end)
    ticks = np.interp(places, known, (stamps[known] - zero).astype(np.float64))
    ticks += np.minimum(places - known[0], 0) * usual + np.maximum(places - known[-1], 0) * usual
    return zero + np.rint(ticks).astype(np.int64)


MIN_FPS = Fraction(1)
MAX_FPS = Fraction(240)
DEFAULT_FPS = Fraction(25)
"""For a video of one picture that declares no believable rate."""
COMMON_FPS: tuple[Fraction, ...] = tuple(
    sorted(
        {Fraction(whole) for whole in range(1, 241)}
        | {Fraction(1000 * whole, 1001) for whole in (12, 15, 24, 30, 48, 60, 90, 120, 240)}
        | {Fraction(15, 2), Fraction(25, 2)}
    )
)
"""Rates that cameras, broadcasters and screen recorders mean when their stamps say nearly that."""
_COMMON_FPS_FLOATS = np.array([float(rate) for rate in COMMON_FPS])

JITTER_SLOTS = 0.25
"""Stamps this far from an even grid still are a constant rate: no picture changes its slot."""
_NEARLY_ALL = 0.98
"""Of stamps that lie on a grid: it is theirs, wherever the others are."""
_REGULAR_SHARE = 0.8
"""The usual interval decides where at least this share of the pictures is there."""


class Laid(NamedTuple):
    """Stamps and frame numbers of pictures, picture by picture."""

    stamps: NDArray[np.int64]
    """(n,) never falling, in ticks."""
    slots: NDArray[np.int64]
    """(n,) never falling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Turns stamps of the source into frame numbers and back, in exact integers."""

    fps: Fraction
    """Frames a second."""
    time_base: Fraction
    """Seconds a tick of the source."""
    start_pts: int
    """Stamp of frame 0, in ticks."""
    laid: Laid | None = field(default=None, repr=False, compare=False)
    """Where pictures are that lie on no even grid; None for an even one."""

    def slot(self, pts: int) -> int:
        """Return the frame number from which on the picture with this stamp is shown."""
        if self.laid is not None:
            place = int(np.searchsorted(self.laid.stamps, pts, side="right")) - 1
            return int(self.laid.slots[place]) if place >= 0 else -1
        ticks = (pts - self.start_pts) * self.time_base * self.fps
        return (2 * ticks.numerator + ticks.denominator) // (2 * ticks.denominator)

    def first_pts(self, index: int) -> int:
        """Return the smallest stamp whose slot is `index`: of the picture shown then."""
        if self.laid is not None:
            place = int(np.searchsorted(self.laid.slots, index, side="right")) - 1
            return int(self.laid.stamps[max(place, 0)])
        ticks = (Fraction(index) - Fraction(1, 2)) / (self.fps * self.time_base)
        return self.start_pts + -(-ticks.numerator // ticks.denominator)


def rate_of_runs(
    runs: Sequence[NDArray[np.int64]], time_base: Fraction, declared: Sequence[Fraction]
) -> tuple[Fraction, bool]:
    """Choose the rate of the timeline.

    A rate fits when every stamp lies on its grid, or nearly all do exactly; rates in common use are
    tried before odd ones. Each run has a grid of its own, that of its first stamp, or else that of
    the median of all. If none fits, the source is variable: its usual rate (the average where more
    than a fifth of the pictures is missing), snapped to the nearest rate in common use.

    Args:
        runs: (n,) presentation stamps each, rising, in ticks; n >= 1. Between runs the clock jumps.
        time_base: seconds a tick.
        declared: what the container says the rate is, the most trusted first; may be nonsense.

    Returns:
        The rate in frames a second, and whether the source is variable.
    """
    if all(run[-1] == run[0] for run in runs):
        return (believable(declared) or [DEFAULT_FPS])[0], False
    candidates = rates_to_try(runs, time_base, declared)
    coarse = 1.5 * float(time_base) * _usual_rate(runs, time_base) + 0.01
    for rate in candidates:
        if _worst(largest_offset, runs, time_base, rate) <= min(coarse, JITTER_SLOTS):
            return rate, False
    for rate in candidates:
        offsets = np.concatenate([_centred_offsets(run, time_base, rate) for run in runs])
        if np.mean(offsets <= min(coarse, JITTER_SLOTS)) >= _NEARLY_ALL:
            return rate, bool(offsets.max() > JITTER_SLOTS)
    for offset_of in (largest_offset, _largest_centred_offset):
        for rate in candidates:
            if _worst(offset_of, runs, time_base, rate) <= JITTER_SLOTS:
                return rate, False
    return _nearby(_counted_rate(runs, time_base))[0], True


def believable(declared: Sequence[Fraction]) -> list[Fraction]:
    """Return the rates that a video can have."""
    return [rate for rate in declared if MIN_FPS <= rate <= MAX_FPS]


def rates_to_try(
    runs: Sequence[NDArray[np.int64]], time_base: Fraction, declared: Sequence[Fraction]
) -> list[Fraction]:
    """Return the rates a video may have, the likeliest first: `runs` as for `rate_of_runs`."""
    named = believable(declared)
    rates = [
        *(rate for rate in named if rate in COMMON_FPS),
        *_nearby(_usual_rate(runs, time_base)),
        *named,
        *_nearby(_counted_rate(runs, time_base)),
        *_nearby(_average_rate(runs, time_base)),
    ]
    return list(dict.fromkeys(rates))


def largest_offset(stamps: NDArray[np.int64], time_base: Fraction, rate: Fraction) -> float:
    """Return how far the worst stamp is from its place on the first one's grid, in slots."""
    return float(np.abs(_offsets(stamps, time_base, rate)).max())


def _worst(
    offset_of: Callable[[NDArray[np.int64], Fraction, Fraction], float],
    runs: Sequence[NDArray[np.int64]],
    time_base: Fraction,
    rate: Fraction,
) -> float:
    return max(offset_of(run, time_base, rate) for run in runs)


def _largest_centred_offset(
    stamps: NDArray[np.int64], time_base: Fraction, rate: Fraction
) -> float:
    return float(_centred_offsets(stamps, time_base, rate).max())


def _centred_offsets(
    stamps: NDArray[np.int64], time_base: Fraction, rate: Fraction
) -> NDArray[np.float64]:
    """Return how far each stamp is from its place on the grid of all, (n,) in slots."""
    offsets = _offsets(stamps, time_base, rate)
    centred: NDArray[np.float64] = np.abs(offsets - np.median(offsets))
    return centred


def _offsets(stamps: NDArray[np.int64], time_base: Fraction, rate: Fraction) -> NDArray[np.float64]:
    slots = (stamps - stamps[0]).astype(np.float64) * float(time_base * rate)
    offsets: NDArray[np.float64] = slots - np.arange(len(stamps))
    return offsets


def _nearby(rate: float) -> list[Fraction]:
    """Return the three nearest rates in common use."""
    apart = np.abs(_COMMON_FPS_FLOATS / rate - 1)
    return [COMMON_FPS[place] for place in np.argsort(apart, kind="stable")[:3]]


def _usual_rate(runs: Sequence[NDArray[np.int64]], time_base: Fraction) -> float:
    """Return pictures a second, by the usual interval unless many pictures are missing or extra."""
    intervals = np.concatenate([np.diff(run) for run in runs])
    average = len(intervals) / (float(intervals.sum()) * float(time_base))
    usual = _regular_rate(intervals, time_base)
    return _bounded(usual if _is_regular(usual, average) else average)


def _average_rate(runs: Sequence[NDArray[np.int64]], time_base: Fraction) -> float:
    span = sum(int(run[-1] - run[0]) for run in runs)
    return _bounded(sum(len(run) - 1 for run in runs) / (span * float(time_base)))


def _counted_rate(runs: Sequence[NDArray[np.int64]], time_base: Fraction) -> float:
    """Return the same by counting what is between the ends: how single stamps waver adds nothing.

    An interval counts for as many pictures as it has room for.
    """
    intervals = np.concatenate([np.diff(run) for run in runs])
    span_s = float(intervals.sum()) * float(time_base)
    average = len(intervals) / span_s
    usual = _regular_rate(intervals, time_base)
    if not _is_regular(usual, average):
        return _bounded(average)
    room = np.maximum(np.rint(intervals * float(time_base) * usual), 1)
    return _bounded(float(room.sum()) / span_s)


def _regular_rate(intervals: NDArray[np.int64], time_base: Fraction) -> float:
    median = float(np.median(intervals[intervals > 0]))
    regular = intervals[np.abs(intervals - median) < 0.5 * median]
    usual = float(regular.mean()) if len(regular) else median
    return 1 / (usual * float(time_base))


def _is_regular(usual: float, average: float) -> bool:
    return _REGULAR_SHARE <= average / usual <= 1 / _REGULAR_SHARE


def _bounded(rate: float) -> float:
    return float(np.clip(rate, float(MIN_FPS), float(MAX_FPS)))
