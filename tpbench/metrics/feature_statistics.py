"""What feature vectors leave behind for the distances between sets of them: n, mean and scatter.

Float64 throughout, streamed in blocks, mergeable over clips and workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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
        msg = f"features: want at least one row, got shape {rows.shape}"
        raise ValueError(msg)
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
            msg = f"dim: want 1 or more, got {dim}"
            raise ValueError(msg)
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
            msg = f"features: want (k, {self._dim}), got {rows.shape}"
            raise ValueError(msg)
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
                msg = "no features were added"
                raise ValueError(msg)
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
        msg = f"features: want (n, d) real numbers, got {given.shape} {given.dtype}"
        raise ValueError(msg)
    rows = given.astype(np.float64)
    if not np.isfinite(rows).all():
        bad = int(np.count_nonzero(~np.isfinite(rows).all(axis=1)))
        msg = f"features: {bad} of {len(rows)} rows hold numbers that are not finite"
        raise ValueError(msg)
    return rows


def check_dims(a: FeatureStatistics, b: FeatureStatistics) -> None:
    """Raise ValueError if the vectors of two sets differ in length."""
    if a.dim != b.dim:
        msg = f"feature vectors differ in length: {a.dim} and {b.dim}"
        raise ValueError(msg)
