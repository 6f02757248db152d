"""Time to failure: from which frame on a clip is no longer good enough.

What decides must not be single frames: the last good one of a clip that broke down long ago, or the
first bad one of a clip that is fine. `lasting` asks for a failure that holds, `time_to_failure` is
the plain rule on every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tpbench.metrics.curves import as_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Side = Literal["below", "above"]
"""On which side of the level a value fails: below for PSNR, above for LPIPS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """How long a clip lasted."""

    frames: int
    """Frames before it failed; or, if it did not, up to which that is known."""

    failed: bool
    """False: censored, the clip ended before."""


def lasting(
    curve: Sequence[float] | NDArray[np.floating],
    level: float,
    *,
    failing: Side,
    hold_frames: int,
    vote_frames: int,
) -> Lasting | None:
    """Return how many frames pass before a curve misses a level and keeps missing it for a while.

    A frame misses the level if more than half of the `vote_frames` measured frames around it do
    (their median does): a good frame among bad ones is no recovery, a bad one among good ones no
    failure, and the place of a step stays where it is. Near the ends of the clip, those that are
    there vote. Failure is the start of the first run of `hold_frames` such frames, whatever comes
    after it.

    A clip without such a run has not failed: it is censored at its end, or, if it ends in a shorter
    run, at the start of that one, because up to there it is known to have lasted.

    NaN frames were not measured: they are passed over, and runs go on across them.

    Args:
        curve: `(T,)`, any T.
        level: finite, in the unit of the metric.
        failing: which side of the level is failure.
        hold_frames: measured frames in a row, 1 or more.
        vote_frames: odd, 1 or more.

    Returns:
        None where nothing was measured.

    Raises:
        ValueError: this is no curve, or an argument is out of range.
    """
    values = as_curve(curve)
    if vote_frames < 1 or vote_frames % 2 == 0:
        message = f"an odd number of frames votes, 1 or more; got {vote_frames}"
        raise ValueError(message)
    _check(level, failing, hold_frames)
    frames = np.flatnonzero(~np.isnan(values))
    if not frames.size:
        return None
    measured = values[frames]
    misses = _voted(measured < level if failing == "below" else measured > level, vote_frames)
    start = _first_run(misses, hold_frames)
    if start is not None:
        return Lasting(frames=int(frames[start]), failed=True)
    trailing = _for_good(misses)
    end = values.size if trailing is None else int(frames[trailing])
    return Lasting(frames=end, failed=False)


def time_to_failure(
    curve: Sequence[float] | NDArray[np.floating],
    level: float,
    *,
    failing: Side,
    hold_frames: int | None = None,
) -> int | None:
    """Return the first frame from which a curve stays on the wrong side of a level.

    A frame fails if its value is strictly below (above) the level. Without `hold_frames` failure is
    for good: the first frame after the last one that does not fail, so a clip that recovers at its
    end never failed, and a single bad last frame is a failure at that frame. With it, failure is
    the start of the first run of at least so many failing frames, whatever follows.

    NaN frames were not measured: they neither fail nor pass, a run goes on across them, they don't
    count towards its length, and no failure starts at one. Infinite values compare as numbers do.

    Args:
        curve: `(T,)`, any T.
        level: finite, in the unit of the metric.
        failing: which side of the level is failure.
        hold_frames: None for "for good", or the number of measured frames that a failure lasts, 1
            or more.

    Returns:
        The frame's index, 0..T-1; None if the clip does not fail.

    Raises:
        ValueError: this is no curve, or an argument is out of range.
    """
    values = as_curve(curve)
    _check(level, failing, hold_frames)
    frames = np.flatnonzero(~np.isnan(values))
    measured = values[frames]
    fails = measured < level if failing == "below" else measured > level
    start = _for_good(fails) if hold_frames is None else _first_run(fails, hold_frames)
    return None if start is None else int(frames[start])


def _check(level: float, failing: Side, hold_frames: int | None) -> None:
    if failing not in {"below", "above"} or not np.isfinite(level):
        message = f"a finite level fails 'below' or 'above'; got {level} and {failing!r}"
        raise ValueError(message)
    if hold_frames is not None and hold_frames < 1:
        message = f"a failure lasts 1 frame or more; got {hold_frames}"
        raise ValueError(message)


def _voted(fails: NDArray[np.bool_], voters: int) -> NDArray[np.bool_]:
    """Whether more than half of the frames around each fail, at most `voters` of them."""
    counts = np.concatenate([[0], np.cumsum(fails)])
    places = np.arange(fails.size)
    first = np.maximum(places - voters // 2, 0)
    after = np.minimum(places + voters // 2 + 1, fails.size)
    majority: NDArray[np.bool_] = 2 * (counts[after] - counts[first]) > after - first
    return majority


def _for_good(fails: NDArray[np.bool_]) -> int | None:
    passes = np.flatnonzero(~fails)
    start = int(passes[-1]) + 1 if passes.size else 0
    return start if start < fails.size else None


def _first_run(fails: NDArray[np.bool_], length: int) -> int | None:
    # Failing frames among the `length` from each frame on, as a difference of running counts.
    counts = np.concatenate([[0], np.cumsum(fails)])
    runs = np.flatnonzero(counts[length:] - counts[:-length] == length)
    return int(runs[0]) if runs.size else None
