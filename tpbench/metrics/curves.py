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

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WINDOW_FRAMES = 16
"""Frames of a window unless stated otherwise: the length of an FVD clip."""

SHORT_CLIP_FRAMES = 100
"""Clips of this many frames or fewer have no drift: they are left out of it, and counted."""

_END_SHARE = 0.15


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
    """Return values minus base, item by item: end minus start, run A minus run B.

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


def end_minus_start(curve: Sequence[float] | NDArray[np.floating]) -> float:
    """Return the mean of the last 15 % of a curve minus that of its first 15 %.

    Each part has floor(0.15 T) frames, at least one. FramePack contrasts the same two parts by the
    absolute value of their difference; the sign is kept here, because a clip that gets better is
    not one that gets worse. Values that are not finite: see the module's rule.

    Args:
        curve: `(T,)`, T >= 1.

    Raises:
        ValueError: this is no curve, or it is empty.
    """
    values = as_curve(curve)
    if not values.size:
        message = "a curve of 0 frames has no start and no end"
        raise ValueError(message)
    # 0.15 * T can fall a hair short of a whole number.
    count = max(1, int(_END_SHARE * values.size + 1e-9))
    start, end = finite_mean(values[:count]), finite_mean(values[-count:])
    return float(contrast([end], [start])[0])
