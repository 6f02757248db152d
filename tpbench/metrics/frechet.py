"""Fréchet distances (FID, FVD) from streamed feature statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureStatistics:
    """What a set of n feature vectors of length d leaves behind for a Fréchet distance."""

    n: int
    """How many vectors, 1 or more."""
    mean: NDArray[np.float64]
    """(d,)"""
    spread: NDArray[np.float64]
    """The smaller of two: if n <= d the vectors minus their mean, (n, d); else the scatter, (d, d),
    which is the sum of the outer products of these."""

    @property
    def dim(self) -> int:
        """Length d of a vector."""
        return self.mean.size

    @property
    def holds_rows(self) -> bool:
        """Whether `spread` is the centred vectors and not their scatter."""
        return self.n <= self.dim

    def full_scatter(self) -> NDArray[np.float64]:
        """Return the sum of the outer products of the centred vectors, (d, d)."""
        return self.spread.T @ self.spread if self.holds_rows else self.spread

    def scatter_trace(self) -> float:
        """Return the sum of the squared lengths of the centred vectors."""
        spread = self.spread
        return float(np.vdot(spread, spread) if self.holds_rows else np.trace(spread))

    def divisor(self, ddof: int) -> int:
        """Return what the scatter is divided by for a covariance, n - ddof, but 1 at least.

        A single vector has no scatter: whatever it is divided by, its covariance is zero.
        """
        return max(self.n - ddof, 1)


def feature_statistics(features: ArrayLike) -> FeatureStatistics:
    """Return the statistics of the vectors given.

    Args:
        features: (n, d) real numbers, n and d 1 or more.

    Raises:
        ValueError: another shape, or not all of them finite.
    """
    rows = checked_features(features)
    if not len(rows):
        raise ValueError(f"features: want at least one row, got shape {rows.shape}")
    mean = rows.mean(axis=0)
    rows -= mean
    # The mean is rounded; for large offsets that shows in the scatter unless it is taken out again.
    correction = rows.mean(axis=0)
    return _make(len(rows), mean + correction, rows - correction)


def merge_statistics(a: FeatureStatistics, b: FeatureStatistics) -> FeatureStatistics:
    """Return the statistics of both sets together.

    With delta = mean_b - mean_a the scatters add up to scatter_a + scatter_b +
    delta delta^T n_a n_b / n (Chan, Golub and LeVeque 1979), which is stable for any offset.

    Raises:
        ValueError: the vectors are of different length.
    """
    check_dims(a, b)
    n = a.n + b.n
    delta = b.mean - a.mean
    shift_a, shift_b = delta * (b.n / n), delta * (-a.n / n)
    mean = a.mean + shift_a
    if a.holds_rows and b.holds_rows:
        return _make(n, mean, np.concatenate([a.spread - shift_a, b.spread - shift_b]))
    scatter = a.full_scatter() + b.full_scatter() + np.outer(delta, delta) * (a.n * b.n / n)
    return FeatureStatistics(n=n, mean=mean, spread=scatter)


class FeatureAccumulator:
    """Collects the statistics of feature vectors that come in batches.

    Never holds more than 2 d * d numbers. Vectors are taken up in blocks of d, whatever the size of
    the batches, so that the batch size changes no digit; the order changes the last ones.

    Args:
        dim: length d of a vector.
    """

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ValueError(f"dim: want 1 or more, got {dim}")
        self._dim = dim
        self._folded: FeatureStatistics | None = None
        self._pending: list[NDArray[np.float64]] = []
        self._n_pending = 0

    @property
    def n(self) -> int:
        """How many vectors there are so far."""
        return self._n_pending + (self._folded.n if self._folded else 0)

    def update(self, features: ArrayLike) -> None:
        """Take up vectors.

        Args:
            features: (k, d), k may be 0.

        Raises:
            ValueError: another shape, or not all of them finite.
        """
        rows = checked_features(features)
        if rows.shape[1] != self._dim:
            raise ValueError(f"features: want (k, {self._dim}), got {rows.shape}")
        while len(rows):
            if self._n_pending == self._dim:
                self._fold()
            head = rows[: self._dim - self._n_pending]
            self._pending.append(head)
            self._n_pending += len(head)
            rows = rows[len(head) :]

    def compute(self) -> FeatureStatistics:
        """Return the statistics of all vectors so far.

        Raises:
            ValueError: there are none.
        """
        if self._folded is None:
            if not self._n_pending:
                raise ValueError("no features were added")
            return feature_statistics(np.concatenate(self._pending))
        if not self._n_pending:
            return self._folded
        return merge_statistics(self._folded, feature_statistics(np.concatenate(self._pending)))

    def _fold(self) -> None:
        self._join(feature_statistics(np.concatenate(self._pending)))
        self._pending, self._n_pending = [], 0

    def _join(self, statistics: FeatureStatistics) -> None:
        mine = self._folded
        self._folded = merge_statistics(mine, statistics) if mine else statistics


def _make(n: int, mean: NDArray[np.float64], rows: NDArray[np.float64]) -> FeatureStatistics:
    """Keep the centred rows or their scatter, whichever is smaller."""
    spread = rows if n <= mean.size else rows.T @ rows
    return FeatureStatistics(n=n, mean=mean, spread=spread)


def checked_features(features: ArrayLike) -> NDArray[np.float64]:
    """Return an own float64 copy of feature vectors after a look at their shape and numbers."""
    given = np.asarray(features)
    if given.ndim != 2 or not given.shape[1] or given.dtype.kind not in "fiu":
        raise ValueError(f"features: want (n, d) real numbers, got {given.shape} {given.dtype}")
    rows = given.astype(np.float64)
    if not np.isfinite(rows).all():
        bad = int(np.count_nonzero(~np.isfinite(rows).all(axis=1)))
        raise ValueError(f"features: {bad} of {len(rows)} rows hold numbers that are not finite")
    return rows


def check_dims(a: FeatureStatistics, b: FeatureStatistics) -> None:
    """Raise ValueError if the vectors of two sets differ in length."""
    if a.dim != b.dim:
        raise ValueError(f"feature vectors differ in length: {a.dim} and {b.dim}")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FrechetMetric:
    """A Fréchet distance by the name that papers know."""

    name: str
    dim: int
    """Length of a feature vector."""
    ddof: int
    """Covariances are divided by n - ddof."""
    enough: int
    """Vectors of each set from which on the value is held to be reliable."""
    unit: str
    """What a vector stands for, in the plural."""

    def score(self, real: FeatureStatistics, generated: FeatureStatistics) -> FrechetScore:
        """Return |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the pooled vectors.

        Frames and windows of a clip resemble each other, so that even many of few clips are a small
        sample. No interval is given: resampling them would measure the bias of the distance more
        than its spread.

        Args:
            real: of the real vectors.
            generated: of the generated ones; their number need not be equal, but see the warning.

        Returns:
            Value 0 or more, lower is better.

        Raises:
            ValueError: the vectors are of another length.
        """
        if (real.dim, generated.dim) != (self.dim, self.dim):
            found = f"{real.dim} and {generated.dim}"
            raise ValueError(f"{self.name}: want features of length {self.dim}, got {found}")
        return FrechetScore(
            value=frechet_distance(real, generated, ddof=self.ddof),
            n_real=real.n,
            n_generated=generated.n,
            warning=sample_warning(real.n, generated.n, enough=self.enough, what=self.unit),
        )

    def pooled(self, clips: Iterable[tuple[ArrayLike, ArrayLike]]) -> FrechetScore:
        """Return `score` over all vectors of all clips.

        Args:
            clips: of each its real vectors, (k, d), and its generated ones, (m, d); k or m may be
                0, and they need not be equal.

        Raises:
            ValueError: other shapes, not all numbers finite, or no real or no generated vectors.
        """
        real, generated = FeatureAccumulator(self.dim), FeatureAccumulator(self.dim)
        for of_real, of_generated in clips:
            real.update(of_real)
            generated.update(of_generated)
        return self.score(real.compute(), generated.compute())


FID: Final = FrechetMetric(name="FID", dim=2048, ddof=1, enough=10_000, unit="frames")
"""On pytorch-fid's 2048 Inception features, covariances as `numpy.cov` has them (Heusel et al.
2017, whose authors hold 10,000 frames to be enough)."""
FVD: Final = FrechetMetric(name="FVD", dim=400, ddof=0, enough=2048, unit="windows")
"""On the 400 logits of I3D (Unterthiner et al. 2018), covariances over n as StyleGAN-V has them
(other scripts divide by n - 1: 5 % at 16 windows). Where StyleGAN-V draws one random window of each
of 2048 videos, all windows at stride 16 are pooled here, which is deterministic; with 256 of them
about a third of the spread is still bias."""
DISCO_FVD: Final = FrechetMetric(name="DisCo's FVD", dim=400, ddof=1, enough=2048, unit="windows")
"""As the TikTok tables have it: windows from every frame on, covariances over n - 1."""
