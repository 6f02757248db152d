"""The constant-rate timeline: which frame number a picture of the source has.

Frame k stands at `start + k / fps` and shows the last picture whose stamp rounds to k or less:

    slot(pts) = floor((pts - start_pts) * time_base * fps + 1/2)

With a constant-rate source slot i belongs to picture i, whatever a coarse time base does to its
stamp. With a variable-rate source a slot without a picture repeats the one before, and of several
pictures in one slot the last is shown; no picture is more than half a slot away from its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

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

_JITTER_SLOTS = 0.25
"""Stamps this far from an even grid still are a constant rate: no picture changes its slot."""

_REGULAR_SHARE = 0.8
"""The usual interval decides where at least this share of the pictures is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Turns stamps of the source into frame numbers and back, in exact integers."""

    fps: Fraction
    """Frames a second."""

    time_base: Fraction
    """Seconds a tick of the source."""

    start_pts: int
    """Stamp of frame 0, in ticks."""

    def slot(self, pts: int) -> int:
        """Return the frame number from which on the picture with this stamp is shown."""
        ticks = (pts - self.start_pts) * self.time_base * self.fps
        return (2 * ticks.numerator + ticks.denominator) // (2 * ticks.denominator)

    def first_pts(self, index: int) -> int:
        """Return the smallest stamp whose slot is `index`."""
        ticks = (Fraction(index) - Fraction(1, 2)) / (self.fps * self.time_base)
        return self.start_pts + -(-ticks.numerator // ticks.denominator)


def constant_rate(
    stamps: NDArray[np.int64], time_base: Fraction, declared: Sequence[Fraction]
) -> tuple[Fraction, bool]:
    """Choose the rate of the timeline.

    A rate fits when every stamp lies on its grid; rates in common use are tried before odd ones. If
    none fits, the source is variable: its usual rate (the average where more than a fifth of the
    pictures is missing), snapped to the nearest rate in common use.

    Args:
        stamps: (n,) presentation stamps, rising, in ticks; n >= 1.
        time_base: seconds a tick.
        declared: what the container says the rate is, the most trusted first; may be nonsense.

    Returns:
        The rate in frames a second, and whether the source is variable.
    """
    believable = [rate for rate in declared if MIN_FPS <= rate <= MAX_FPS]
    if len(stamps) < 2 or stamps[-1] == stamps[0]:
        return (believable[0] if believable else DEFAULT_FPS), False
    usual = _usual_rate(stamps, time_base)
    nearby = sorted(COMMON_FPS, key=lambda rate: abs(float(rate) / usual - 1))[:3]
    common = [rate for rate in believable if rate in COMMON_FPS]
    candidates = [*common, *nearby, *believable]
    for tolerance in (1.5 * float(time_base) * usual + 0.01, _JITTER_SLOTS):
        for rate in candidates:
            if _largest_offset(stamps, time_base, rate) <= min(tolerance, _JITTER_SLOTS):
                return rate, False
    return nearby[0], True


def _usual_rate(stamps: NDArray[np.int64], time_base: Fraction) -> float:
    """Return pictures a second, by the usual interval unless many pictures are missing or extra."""
    tick_s = float(time_base)
    intervals = np.diff(stamps)
    average = (len(stamps) - 1) / (float(stamps[-1] - stamps[0]) * tick_s)
    median = float(np.median(intervals[intervals > 0]))
    regular = intervals[np.abs(intervals - median) < 0.5 * median]
    usual = 1 / (float(regular.mean()) * tick_s) if len(regular) else average
    chosen = usual if _REGULAR_SHARE <= average / usual <= 1 / _REGULAR_SHARE else average
    return float(np.clip(chosen, float(MIN_FPS), float(MAX_FPS)))


def _largest_offset(stamps: NDArray[np.int64], time_base: Fraction, rate: Fraction) -> float:
    """Return how far the worst stamp is from its place at this rate, in slots."""
    slots = (stamps - stamps[0]).astype(np.float64) * float(time_base * rate)
    return float(np.abs(slots - np.arange(len(stamps))).max())
