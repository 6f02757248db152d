"""Medians and percentiles that know the empty case."""

from __future__ import annotations

import numpy as np
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


def lasting(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the hits that have a neighbouring hit: detectors blink, and one frame is no evidence.

    Where every frame hits, all of them count, be it a single one.

    >>> lasting(np.array([True, False, True, True])).tolist()
    [False, False, True, True]
    """
    if hits.all():
        return hits
    kept = np.zeros_like(hits)
    kept[1:] = hits[1:] & hits[:-1]
    kept[:-1] |= hits[1:] & hits[:-1]
    return kept
