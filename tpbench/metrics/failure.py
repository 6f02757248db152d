"""Time to failure: from which frame on a clip is no longer good enough.

What decides must not be single frames: the last good one of a clip that broke down long ago, or the
first bad one of a clip that is fine. So `lasting` asks for a failure that holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tpbench.metrics.curves import as_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


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
    hold_frames: int,
    vote_frames: int,
) -> Lasting | None:
    """Return how many frames pass before a curve falls below a level and stays there for a while.

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
    if not np.isfinite(level) or hold_frames < 1:
        message = f"a level is finite and held for 1 frame or more; got {level} and {hold_frames}"
        raise ValueError(message)
    frames = np.flatnonzero(~np.isnan(values))
    if not frames.size:
        return None
    measured = values[frames]
    misses = _voted(measured < level, vote_frames)
    start = _first_run(misses, hold_frames)
    if start is not None:
        return Lasting(frames=int(frames[start]), failed=True)
    trailing = _for_good(misses)
    end = values.size if trailing is None else int(frames[trailing])
    return Lasting(frames=end, failed=False)


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
