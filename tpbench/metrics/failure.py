"""Time to failure: from which frame on a clip is no longer good enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tpbench.metrics.curves import as_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Side = Literal["below", "above"]
"""On which side of the level a value fails: below for PSNR, above for LPIPS."""


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
    if failing not in {"below", "above"} or not np.isfinite(level):
        message = f"a finite level fails 'below' or 'above'; got {level} and {failing!r}"
        raise ValueError(message)
    if hold_frames is not None and hold_frames < 1:
        message = f"a failure lasts 1 frame or more; got {hold_frames}"
        raise ValueError(message)
    frames = np.flatnonzero(~np.isnan(values))
    measured = values[frames]
    fails = measured < level if failing == "below" else measured > level
    start = _for_good(fails) if hold_frames is None else _first_run(fails, hold_frames)
    return None if start is None else int(frames[start])


def _for_good(fails: NDArray[np.bool_]) -> int | None:
    passes = np.flatnonzero(~fails)
    start = int(passes[-1]) + 1 if passes.size else 0
    return start if start < fails.size else None


def _first_run(fails: NDArray[np.bool_], length: int) -> int | None:
    # Failing frames among the `length` from each frame on, as a difference of running counts.
    counts = np.concatenate([[0], np.cumsum(fails)])
    runs = np.flatnonzero(counts[length:] - counts[:-length] == length)
    return int(runs[0]) if runs.size else None
