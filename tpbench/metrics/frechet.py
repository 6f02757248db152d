"""Fréchet distance between two sets of feature vectors, and the statistics that it needs.

    FD = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

with means m and covariances S (Dowson and Landau 1982; Heusel et al. 2017 for FID). With any
factors F^T F = S the last trace is the nuclear norm (the sum of singular values) of F1 F2^T. A
factor is either the centred features themselves, while there are no more than d of them, or comes
from the eigenvalues of S. So no matrix square root is taken: nothing becomes complex or NaN,
singular covariances need no offset on the diagonal, and a few hundred vectors of 2048 features cost
a small singular value problem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tpbench.metrics.feature_statistics import (
    FeatureStatistics,
    check_dims,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FrechetScore:
    """A Fréchet distance, and what has to be said beside it."""

    value: float
    """0 or more, in squared units of the features; lower is better."""

    n_real: int
    n_generated: int

    warning: str | None
    """Why this many vectors are too few, as a sentence; None if they are not."""


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics, *, ddof: int = 1) -> float:
    """Return the Fréchet distance of two sets of feature vectors.

    Formula: see the module. Equal to pytorch-fid's `calculate_frechet_distance` of `numpy.cov`
    covariances wherever that is well-conditioned, and also right where it isn't. A single vector is
    a Gaussian without spread (where `numpy.cov` gives NaN). Small samples bias the value upwards:
    compare only distances with equal n.

    Args:
        a: one set, n 1 or more.
        b: the other set; need not be as large.
        ddof: covariances are divided by n - ddof: 1 for FID, 0 for FVD as StyleGAN-V defines it.

    Returns:
        0 or more, in squared units of the features; symmetric in a and b. Rounding stays near
        1e-13 of the traces, which is what the distance of a set to itself comes to.

    Raises:
        ValueError: the vectors are of different length.
    """
    check_dims(a, b)
    return _distance(_gaussian(a, ddof), _gaussian(b, ddof))


def sample_warning(n_real: int, n_generated: int, *, enough: int, what: str) -> str | None:
    """Return a sentence on samples that are too few, or None.

    Args:
        n_real: real vectors.
        n_generated: generated vectors.
        enough: from how many on there is nothing to say.
        what: what a vector stands for, in the plural: "frames".
    """
    if min(n_real, n_generated) >= enough:
        return None
    return (
        f"{n_generated} generated and {n_real} real {what}, fewer than {enough}: the value is "
        "biased upwards and comparable only at equal numbers"
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Gaussian:
    mean: NDArray[np.float64]
    factor: NDArray[np.float64]
    """F (k, d) with F^T F = covariance."""

    trace: float
    """Of the covariance."""


def _gaussian(statistics: FeatureStatistics, ddof: int) -> _Gaussian:
    divisor = statistics.divisor(ddof)
    root = statistics.spread if statistics.holds_rows else _root(statistics.spread)
    return _Gaussian(
        mean=statistics.mean,
        factor=root / math.sqrt(divisor),
        trace=statistics.scatter_trace() / divisor,
    )


def _distance(a: _Gaussian, b: _Gaussian) -> float:
    gap = a.mean - b.mean
    overlap = np.linalg.svd(a.factor @ b.factor.T, compute_uv=False).sum()
    return max(0.0, float(gap @ gap + a.trace + b.trace - 2.0 * overlap))


def _root(symmetric: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F (k, d) with F^T F = the positive semi-definite matrix given, k its rank."""
    values, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    # Below this an eigenvalue is rounding of the largest one. Its root would not be small: without
    # the cut a singular matrix gains 1e-8 of spread in each direction that it does not have.
    kept = values > max(values[-1], 0.0) * values.size * np.finfo(np.float64).eps
    root: NDArray[np.float64] = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    return root
