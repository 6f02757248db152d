"""Distances between sets of feature vectors: Fréchet (FID, FVD) from streamed statistics, and KID.

    Fréchet = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))
    k(x, y) = (x.y / d + 1)^3
    KID = mean of k(x, x') over x != x' + mean of k(y, y') over y != y' - 2 mean of k(x, y)

Vectors are (n, d) real and finite numbers; anything else, and sets of different d, raise a
`ValueError`.

KID (Binkowski et al. 2018) is the squared MMD under a cubic kernel. Unlike FID it has no bias from
the number of samples, so it can be used with few; it may be below 0.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureStatistics:
    """Statistics of n feature vectors of length d, from which Fréchet distances are computed."""

    n: int
    """Number of vectors, 1 or more."""
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
    """Return the statistics of one vector or more."""
    rows = checked_features(features)
    if not len(rows):
        raise ValueError(f"features: want at least one row, got shape {rows.shape}")
    mean = rows.mean(axis=0)
    rows -= mean
    # The mean is rounded; for large offsets the scatter is inaccurate unless this is corrected.
    correction = rows.mean(axis=0)
    return _statistics(len(rows), mean + correction, rows - correction)


def merge_statistics(a: FeatureStatistics, b: FeatureStatistics) -> FeatureStatistics:
    """Return the statistics of both sets together.

    With delta = mean_b - mean_a the scatters add up to scatter_a + scatter_b +
    delta delta^T n_a n_b / n (Chan, Golub and LeVeque 1979), which is stable for any offset.
    """
    _check_dims(a, b)
    n = a.n + b.n
    delta = b.mean - a.mean
    shift_a, shift_b = delta * (b.n / n), delta * (-a.n / n)
    mean = a.mean + shift_a
    if a.holds_rows and b.holds_rows:
        return _statistics(n, mean, np.concatenate([a.spread - shift_a, b.spread - shift_b]))
    scatter = a.full_scatter() + b.full_scatter() + np.outer(delta, delta) * (a.n * b.n / n)
    return FeatureStatistics(n=n, mean=mean, spread=scatter)


class FeatureAccumulator:
    """Collects the statistics of feature vectors that come in batches.

    Never holds more than 2 d * d numbers. Vectors are processed in blocks of d, so that the batch
    size does not change the result; the order of vectors changes the last digits.

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

    def update(self, features: ArrayLike) -> None:
        """Add vectors, (k, d), k may be 0."""
        rows = checked_features(features)
        if rows.shape[1] != self._dim:
            raise ValueError(f"features: want (k, {self._dim}), got {rows.shape}")
        while len(rows):
            if self._n_pending == self._dim:
                self._folded = self.compute()
                self._pending, self._n_pending = [], 0
            head = rows[: self._dim - self._n_pending]
            self._pending.append(head)
            self._n_pending += len(head)
            rows = rows[len(head) :]

    def compute(self) -> FeatureStatistics:
        """Return the statistics of all vectors so far.

        Raises:
            ValueError: there are none.
        """
        if not self._n_pending:
            raise ValueError("no features were added")
        latest = feature_statistics(np.concatenate(self._pending))
        return merge_statistics(self._folded, latest) if self._folded else latest


def _statistics(n: int, mean: NDArray[np.float64], rows: NDArray[np.float64]) -> FeatureStatistics:
    """Keep the centred rows or their scatter, whichever is smaller."""
    spread = rows if n <= mean.size else rows.T @ rows
    return FeatureStatistics(n=n, mean=mean, spread=spread)


def checked_features(features: ArrayLike) -> NDArray[np.float64]:
    """Return a float64 copy of feature vectors after checking their shape and values."""
    given = np.asarray(features)
    if given.ndim != 2 or not given.shape[1] or given.dtype.kind not in "fiu":
        raise ValueError(f"features: want (n, d) real numbers, got {given.shape} {given.dtype}")
    rows = given.astype(np.float64)
    if not np.isfinite(rows).all():
        bad = int(np.count_nonzero(~np.isfinite(rows).all(axis=1)))
        raise ValueError(f"features: {bad} of {len(rows)} rows hold numbers that are not finite")
    return rows


def _check_dims(a: FeatureStatistics, b: FeatureStatistics) -> None:
    if a.dim != b.dim:
        raise ValueError(f"feature vectors differ in length: {a.dim} and {b.dim}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrechetScore:
    """A Fréchet distance, and a caveat to be shown with it."""

    value: float
    """0 or more, in squared units of the features; lower is better."""
    n_real: int
    n_generated: int
    warning: str | None
    """Why there are too few vectors, as a sentence; None if there are enough."""


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics, *, ddof: int = 1) -> float:
    """Return the Fréchet distance of two sets of feature vectors.

    Equal to pytorch-fid's `calculate_frechet_distance` of `numpy.cov` covariances wherever that is
    well-conditioned, and correct where it isn't. A single vector is a Gaussian without spread
    (where `numpy.cov` gives NaN). Small samples bias the value upwards: compare only distances with
    equal n.

    Args:
        a: one set, n 1 or more.
        b: the other set; need not be as large.
        ddof: covariances are divided by n - ddof: 1 for FID, 0 for FVD as StyleGAN-V defines it.

    Returns:
        0 or more, in squared units of the features; symmetric in a and b. Rounding errors are near
        1e-13 of the traces, and so is the distance of a set to itself.
    """
    _check_dims(a, b)
    gap = a.mean - b.mean
    trace_a, trace_b = a.scatter_trace() / a.divisor(ddof), b.scatter_trace() / b.divisor(ddof)
    overlap = np.linalg.svd(_factor(a, ddof) @ _factor(b, ddof).T, compute_uv=False).sum()
    return max(0.0, float(gap @ gap + trace_a + trace_b - 2.0 * overlap))


def _factor(statistics: FeatureStatistics, ddof: int) -> NDArray[np.float64]:
    """Return F (k, d) with F^T F = the covariance."""
    root = statistics.spread if statistics.holds_rows else _root(statistics.spread)
    return root / math.sqrt(statistics.divisor(ddof))


def _root(symmetric: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F (k, d) with F^T F = the positive semi-definite matrix given, k its rank."""
    values, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    # Smaller eigenvalues are rounding errors of the largest one. Their roots are not small: without
    # the cut a singular matrix gains a spread of 1e-8 in each direction where it has none.
    kept = values > max(values[-1], 0.0) * values.size * np.finfo(np.float64).eps
    root: NDArray[np.float64] = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    return root


@dataclass(frozen=True, slots=True, kw_only=True)
class FrechetMetric:
    """A Fréchet distance as papers define it under a name."""

    name: str
    dim: int
    """Length of a feature vector."""
    ddof: int
    """Covariances are divided by n - ddof."""
    enough: int
    """Vectors of each set from which the value is considered reliable."""
    unit: str
    """What a vector stands for, in the plural."""

    def score(self, real: FeatureStatistics, generated: FeatureStatistics) -> FrechetScore:
        """Return the distance of the pooled vectors, and a warning where they are too few.

        Frames and windows of a clip are correlated, so even many of them from few clips are a small
        sample. No interval is given: resampling them would measure the bias of the distance more
        than its spread.

        Raises:
            ValueError: the vectors are of another length than the metric's.
        """
        if (real.dim, generated.dim) != (self.dim, self.dim):
            found = f"{real.dim} and {generated.dim}"
            raise ValueError(f"{self.name}: want features of length {self.dim}, got {found}")
        few = None
        if min(real.n, generated.n) < self.enough:
            few = (
                f"{generated.n} generated and {real.n} real {self.unit}, fewer than {self.enough}: "
                "the value is biased upwards and comparable only at equal numbers"
            )
        value = frechet_distance(real, generated, ddof=self.ddof)
        return FrechetScore(value=value, n_real=real.n, n_generated=generated.n, warning=few)

    def pooled(self, clips: Iterable[tuple[ArrayLike, ArrayLike]]) -> FrechetScore:
        """Return `score` over all vectors of all clips, given as (real, generated) per clip."""
        real, generated = FeatureAccumulator(self.dim), FeatureAccumulator(self.dim)
        for of_real, of_generated in clips:
            real.update(of_real)
            generated.update(of_generated)
        return self.score(real.compute(), generated.compute())


FID: Final = FrechetMetric(name="FID", dim=2048, ddof=1, enough=10_000, unit="frames")
"""On pytorch-fid's 2048 Inception features, covariances as in `numpy.cov` (Heusel et al. 2017,
whose authors consider 10,000 frames to be enough)."""
FVD: Final = FrechetMetric(name="FVD", dim=400, ddof=0, enough=2048, unit="windows")
"""On the 400 logits of I3D (Unterthiner et al. 2018), covariances over n as in StyleGAN-V
(other scripts divide by n - 1: 5 % at 16 windows). Where StyleGAN-V draws one random window of each
of 2048 videos, all windows at stride 16 are pooled here, which is deterministic; with 256 of them
about a third of the spread is still bias."""
DISCO_FVD: Final = FrechetMetric(name="DisCo's FVD", dim=400, ddof=1, enough=2048, unit="windows")
"""As in the TikTok tables: a window starts at every frame, covariances over n - 1."""


_BLOCK_ROWS: Final = 1024
"""Rows of a kernel matrix that exist at once; 8 MB of kernel, 16 MB of Inception features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KidScore:
    """KID of two sets of features, exact and over subsets."""

    value: float
    """From all pairs; lower is better, about 0 (possibly below) for equal distributions."""
    subset_mean: float
    """Mean over random subsets, the number that most papers print."""
    subset_std: float | None
    """Spread (ddof 0) over the subsets; as they overlap, it is no standard error of `value`. None
    if each subset is the whole of both sets."""
    n_real: int
    n_generated: int


def kid(
    real: ArrayLike,
    generated: ArrayLike,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> KidScore:
    """Return KID from all pairs, and over random subsets as it is usually printed.

    Subsets are drawn without replacement in the order and with the generator of torch-fidelity, so
    the same features and seed give its number. torch-fidelity rejects sets smaller than
    `subset_size`; here the size is lowered to that of the smaller set, as in clean-fid.

    Args:
        real: two vectors or more.
        generated: two or more, as many or not.
        subsets: how many, 1 or more.
        subset_size: vectors of each set in a subset, 2 or more.
        seed: of the subsets.
    """
    if subsets < 1 or subset_size < 2:
        raise ValueError(f"want 1 subset of 2 or more, got {subsets} of {subset_size}")
    x, y = checked_features(real), checked_features(generated)
    if min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"features: want (n, d) and (m, d), n and m 2 or more, got {x.shape} and {y.shape}"
        )
    size, value = min(subset_size, len(x), len(y)), _mmd(x, y)
    mean, std = value, None
    if not size == len(x) == len(y):
        # Not default_rng: this stream is frozen for all NumPy versions, and is torch-fidelity's.
        draw = np.random.RandomState(seed)
        chosen = (
            (draw.choice(len(x), size, replace=False), draw.choice(len(y), size, replace=False))
            for _ in range(subsets)
        )
        values = [_mmd(x[of_x], y[of_y]) for of_x, of_y in chosen]
        mean, std = float(np.mean(values)), float(np.std(values))
    return KidScore(
        value=value, subset_mean=mean, subset_std=std, n_real=len(x), n_generated=len(y)
    )


def frame_sample(
    clips: Iterable[tuple[str, ArrayLike]], *, limit: int = 10_000, seed: int = 0
) -> NDArray[np.float32]:
    """Return a bounded, uniform sample of the feature vectors of many frames.

    KID compares all pairs, so the vectors themselves are needed. Up to `limit` all are kept; beyond
    it, those whose hash of (seed, clip, frame number) is smallest. The choice does not depend on
    the order of clips, and is the same for real and generated frames.

    Args:
        clips: id and vectors, (n, d), one per frame.
        limit: vectors kept at most; 10,000 of 2048 float32 are 82 MB.
        seed: of the hash.

    Returns:
        (k, d) float32, the precision of the networks, in the order of the hashes.
    """

    def hashed() -> Iterator[tuple[int, NDArray[np.float32]]]:
        for clip_id, features in clips:
            for frame, row in enumerate(checked_features(features).astype(np.float32)):
                digest = blake2b(f"{seed}/{clip_id}/{frame}".encode(), digest_size=8).digest()
                yield int.from_bytes(digest), row.copy()

    return np.stack([row for _, row in heapq.nsmallest(limit, hashed(), key=itemgetter(0))])


def _mmd(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the squared MMD from all pairs, block by block: O(n) memory, O(n^2 d) time."""
    return _within(x) + _within(y) - 2.0 * _between(x, y)


def _within(x: NDArray[np.float64]) -> float:
    """Return the mean of k(x_i, x_j) over i != j; blocks right of the diagonal count twice."""
    n, total = len(x), 0.0
    for start in range(0, n, _BLOCK_ROWS):
        rows = x[start : start + _BLOCK_ROWS]
        square = _kernel(rows, rows)
        total += float(square.sum() - np.trace(square))
        for other in range(start + _BLOCK_ROWS, n, _BLOCK_ROWS):
            total += 2.0 * float(_kernel(rows, x[other : other + _BLOCK_ROWS]).sum())
    return total / (n * (n - 1))


def _between(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the mean of k(x_i, y_j) over all pairs."""
    total = 0.0
    for start in range(0, len(x), _BLOCK_ROWS):
        for other in range(0, len(y), _BLOCK_ROWS):
            rows = x[start : start + _BLOCK_ROWS]
            total += float(_kernel(rows, y[other : other + _BLOCK_ROWS]).sum())
    return total / (len(x) * len(y))


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    base = x @ y.T
    base /= x.shape[1]
    base += 1.0
    cube: NDArray[np.float64] = base * base * base
    return cube
