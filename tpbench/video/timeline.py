"""The constant-rate timeline: which frame number a picture of the source has.

Frame k stands at `start + k / fps`. Pictures whose stamps lie on an even grid have one frame each:

    slot(pts) = floor((pts - start_pts) * time_base * fps + 1/2)

so slot i belongs to picture i, whatever a coarse time base does to its stamp. Stamps that are less
even are laid on the grid by `tpbench.video.layout`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

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
