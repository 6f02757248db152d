"""Medians and percentiles that know the empty case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def finite_percentile(values: NDArray[np.floating], q: float) -> float:
    """Return the q-th percentile (0..100) of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, q)) if finite.size else float("nan")


def finite_median(values: NDArray[np.floating]) -> float:
    """Return the median of the finite values; NaN where there is none."""
    return finite_percentile(values, 50)


def share(hits: NDArray[np.bool_]) -> float:
    """Return the share of True, 0..1; NaN for none at all."""
    return float(hits.mean()) if hits.size else float("nan")
