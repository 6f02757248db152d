"""Curves: one value per frame of a clip, and what can be read off them.

A curve is `(T,)` float64, one value for each frame in order. One rule holds wherever values are
averaged here, over frames, windows or clips:

* NaN means "not measured at this frame" (no face was found, no earlier frame to compare with). It
  is left out.
* An infinity is a measured value that no mean can hold. It is left out as long as something finite
  remains; where nothing but one infinity remains, the mean is that infinity. PSNR, the one metric
  with infinite values, is capped before it gets here (`tpbench.metrics.psnr.capped`), or a clip
  that is perfect at first and broken later would seem not to drift; older scores are not.
* Two equal infinities differ by 0: a clip that equals the real one throughout does not drift.

Whoever prints such a mean prints the share of values left out beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WINDOW_FRAMES = 16
"""Frames of a window unless stated otherwise: the length of an FVD clip."""

END_SHARE = 0.15
"""Share of the clip that counts as its start, and as its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartEnd:
    """How a curve stands at the end of the clip against its start."""

    start_mean: float
    """Mean of the first frames; NaN where none was measured."""
    end_mean: float
    """Mean of the last frames; NaN where none was measured."""
    end_minus_start: float
    """Signed: for a metric that is better when higher, negative means that it got worse."""


def as_curve(values: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the values as a `(T,)` float64 array.

    Raises:
        ValueError: they are not one row of numbers.
    """
    curve = np.asarray(values, dtype=np.float64)
    if curve.ndim != 1:
        message = f"a curve is (T,), one value per frame; got shape {curve.shape}"
        raise ValueError(message)
    return curve


def finite_mean(values: Sequence[float] | NDArray[np.floating]) -> float:
    """Return the mean of the finite values.

    Where none is finite: the infinity they share, or NaN if they share none or there are none.

    >>> finite_mean([1.0, 3.0, float("inf"), float("nan")])
    2.0
    >>> finite_mean([float("inf"), float("nan")])
    inf
    """
    measured = np.asarray(values, dtype=np.float64)
    measured = measured[~np.isnan(measured)]
    finite = measured[np.isfinite(measured)]
    if finite.size:
        return float(finite.mean())
    if measured.size and (measured == measured[0]).all():
        return float(measured[0])
    return float("nan")


def contrast(
    values: Sequence[float] | NDArray[np.floating], base: Sequence[float] | NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return values minus base, item by item: generated minus real, end minus start, run A minus B.

    With the lag curves of a generated and a real clip, `(L,)` each, this is the lag contrast:
    motion that both share cancels, and what is left is how much more (below 0) or less (above 0)
    the generated clip changes over that lag than the real one.

    Equal infinities differ by 0; where either side is NaN, so is the result.

    Raises:
        ValueError: the shapes differ.
    """
    first, second = np.asarray(values, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if first.shape != second.shape:
        message = f"both sides need one shape; got {first.shape} and {second.shape}"
        raise ValueError(message)
    equal = first == second
    # The difference of equal infinities is replaced, so what NumPy says about it is no news.
    with np.errstate(invalid="ignore"):
        return np.where(equal, 0.0, first - second)


def on_frames(
    terms: Sequence[float] | NDArray[np.floating], lag_frames: int
) -> NDArray[np.float64]:
    """Put a curve whose terms compare frame t with frame t - lag on the frames of its clip.

    Term 0 belongs to frame `lag_frames`, the first that has a partner; the frames before it become
    NaN. So windows of TJE cover the same frames as windows of any other curve.

    Args:
        terms: `(T - lag_frames,)`, e.g. the per-term values of TJE.
        lag_frames: frames between the two compared, 0 or more.

    Returns:
        `(T,)` float64.

    Raises:
        ValueError: the terms are no curve, or the lag is negative.
    """
    curve = as_curve(terms)
    if lag_frames < 0:
        message = f"a lag is 0 frames or more; got {lag_frames}"
        raise ValueError(message)
    return np.concatenate([np.full(lag_frames, np.nan), curve])


def window_means(
    curve: Sequence[float] | NDArray[np.floating], *, window_frames: int = WINDOW_FRAMES
) -> NDArray[np.float64]:
    """Return the mean of each window of a curve; windows lie side by side from frame 0.

    Frames that don't fill a last window are left out, as in FVD, so that every window has the same
    weight. Values that are not finite: see the module's rule.

    Returns:
        `(T // window_frames,)` float64; NaN for a window in which nothing was measured.

    Raises:
        ValueError: this is no curve, or the window has no frame.
    """
    values = as_curve(curve)
    if window_frames < 1:
        message = f"a window has at least 1 frame; got {window_frames}"
        raise ValueError(message)
    count = values.size // window_frames
    windows = values[: count * window_frames].reshape(count, window_frames)
    return np.array([finite_mean(window) for window in windows], dtype=np.float64)


def start_and_end(
    curve: Sequence[float] | NDArray[np.floating], *, end_share: float = END_SHARE
) -> StartEnd:
    """Return the means of the first and the last part of a curve, and end minus start.

    Each part has floor(end_share * T) frames, at least one. FramePack contrasts the same two parts
    by the absolute value of their difference; the sign is kept here, because a clip that gets
    better is not one that gets worse. Values that are not finite: see the module's rule.

    Args:
        curve: `(T,)`, T >= 1.
        end_share: the share of the clip in each part, above 0 and up to 0.5.

    Raises:
        ValueError: this is no curve, it is empty, or the share is out of range.
    """
    values = as_curve(curve)
    if not values.size:
        message = "a curve of 0 frames has no start and no end"
        raise ValueError(message)
    if not 0 < end_share <= 0.5:
        message = f"the share of a clip at either end is above 0 and up to 0.5; got {end_share}"
        raise ValueError(message)
    # 0.15 * T can fall a hair short of a whole number.
    count = max(1, int(end_share * values.size + 1e-9))
    start, end = finite_mean(values[:count]), finite_mean(values[-count:])
    return StartEnd(
        start_mean=start, end_mean=end, end_minus_start=float(contrast([end], [start])[0])
    )
