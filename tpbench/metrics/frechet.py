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
    FeatureAccumulator,
    FeatureStatistics,
    check_dims,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray


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


def gaussian_frechet_distance(
    mean_a: ArrayLike, covariance_a: ArrayLike, mean_b: ArrayLike, covariance_b: ArrayLike
) -> float:
    """Return the Fréchet distance of two Gaussians, e.g. of published reference statistics.

    Args:
        mean_a: (d,)
        covariance_a: (d, d), symmetric and positive semi-definite up to rounding; may be singular.
        mean_b: (d,)
        covariance_b: (d, d), likewise.

    Returns:
        0 or more.

    Raises:
        ValueError: shapes don't fit, or not all numbers are finite.
    """
    gaussians = []
    for name, mean, covariance in (("a", mean_a, covariance_a), ("b", mean_b, covariance_b)):
        m = np.asarray(mean, dtype=np.float64)
        s = np.asarray(covariance, dtype=np.float64)
        if m.ndim != 1 or s.shape != (m.size, m.size):
            msg = f"Gaussian {name}: want mean (d,) and covariance (d, d), got {m.shape}, {s.shape}"
            raise ValueError(msg)
        if not (np.isfinite(m).all() and np.isfinite(s).all()):
            msg = f"Gaussian {name}: mean or covariance holds numbers that are not finite"
            raise ValueError(msg)
        gaussians.append(_Gaussian(mean=m, factor=_root(s), trace=float(np.trace(s))))
    if gaussians[0].mean.size != gaussians[1].mean.size:
        msg = f"Gaussians differ in length: {gaussians[0].mean.size} and {gaussians[1].mean.size}"
        raise ValueError(msg)
    return _distance(gaussians[0], gaussians[1])


class FrechetAccumulator:
    """Pools the features of real and of generated clips, and scores them at the end.

    Args:
        dim: length of a feature vector.
        score: from the statistics of the real and of the generated vectors to the value.
    """

    def __init__(
        self, *, dim: int, score: Callable[[FeatureStatistics, FeatureStatistics], FrechetScore]
    ) -> None:
        self._score = score
        self.real = FeatureAccumulator(dim)
        self.generated = FeatureAccumulator(dim)

    def update(self, real: ArrayLike, generated: ArrayLike) -> None:
        """Take up the features of a clip, or of a part of it.

        Args:
            real: (k, d), k may be 0.
            generated: (m, d), m may be 0 and need not be k.

        Raises:
            ValueError: other shapes, or not all numbers are finite.
        """
        self.real.update(real)
        self.generated.update(generated)

    def merge(self, other: FrechetAccumulator) -> None:
        """Take up all that another accumulator has; it stays as it is."""
        self.real.merge(other.real)
        self.generated.merge(other.generated)

    def compute(self) -> FrechetScore:
        """Return the score of all features so far.

        Raises:
            ValueError: there are no real or no generated ones.
        """
        return self._score(self.real.compute(), self.generated.compute())


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
