"""Kernel Inception Distance: the squared MMD of two sets of features under a cubic kernel.

    k(x, y) = (x.y / d + 1)^3
    KID = mean of k(x, x') over x != x' + mean of k(y, y') over y != y' - 2 mean of k(x, y)

(Binkowski et al. 2018.) Unlike FID it has no bias from the number of samples, so that it can be
read where there are few; it may come out below 0.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from operator import itemgetter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tpbench.metrics.frechet import checked_features

_BLOCK_ROWS = 1024
"""Rows of a kernel matrix that exist at once; 8 MB of kernel, 16 MB of Inception features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KidScore:
    """KID of two sets of features, exact and over subsets."""

    value: float
    """From all pairs at once; lower is better, about 0 (also below) for equal distributions."""
    subset_mean: float
    """Mean over random subsets, the number that most papers print."""
    subset_std: float | None
    """Spread (ddof 0) over the subsets, which overlap: no standard error of `value`. None where
    each subset is the whole of both sets."""
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
    that its number comes out for the same features and seed. Where that refuses sets smaller than
    `subset_size`, the size is lowered to the smaller set here, as clean-fid does.

    Args:
        real: (n, d) features, n 2 or more.
        generated: (m, d), m 2 or more, need not be n.
        subsets: how many, 1 or more.
        subset_size: vectors of each set in a subset, 2 or more.
        seed: of the subsets.

    Raises:
        ValueError: too few rows, different d, not all numbers finite, or a number is too small.
    """
    if subsets < 1 or subset_size < 2:
        raise ValueError(f"want 1 subset of 2 or more, got {subsets} of {subset_size}")
    x, y = _checked_pair(real, generated)
    size = min(subset_size, len(x), len(y))
    value = _mmd(x, y)
    whole = size == len(x) == len(y)
    draws = [] if whole else list(_subset_values(x, y, subsets=subsets, size=size, seed=seed))
    return KidScore(
        value=value,
        subset_mean=value if whole else float(np.mean(draws)),
        subset_std=None if whole else float(np.std(draws)),
        n_real=len(x),
        n_generated=len(y),
    )


def frame_sample(
    clips: Iterable[tuple[str, ArrayLike]], *, limit: int = 10_000, seed: int = 0
) -> NDArray[np.float32]:
    """Return a bounded, uniform sample of the feature vectors of many frames.

    KID looks at all pairs, so the vectors themselves are needed. Up to `limit` all are kept; beyond
    it those stay whose hash of (seed, clip, frame number) is smallest. Which ones does not depend
    on the order of clips, and is the same for real and generated frames.

    Args:
        clips: id and vectors, (n, d), one per frame.
        limit: vectors kept at most; 10,000 of 2048 float32 are 82 MB.
        seed: of the hash.

    Returns:
        (k, d) float32, the precision of the networks, in the order of the hashes.

    Raises:
        ValueError: another shape, or not all numbers finite.
    """

    def hashed() -> Iterator[tuple[int, NDArray[np.float32]]]:
        for clip_id, features in clips:
            for frame, row in enumerate(checked_features(features).astype(np.float32)):
                digest = blake2b(f"{seed}/{clip_id}/{frame}".encode(), digest_size=8).digest()
                yield int.from_bytes(digest), row.copy()

    return np.stack([row for _, row in heapq.nsmallest(limit, hashed(), key=itemgetter(0))])


def _subset_values(
    x: NDArray[np.float64], y: NDArray[np.float64], *, subsets: int, size: int, seed: int
) -> Iterator[float]:
    # Not default_rng: this stream is frozen for all versions of NumPy, and it is torch-fidelity's.
    draw = np.random.RandomState(seed)
    for _ in range(subsets):
        a = x[draw.choice(len(x), size, replace=False)]
        b = y[draw.choice(len(y), size, replace=False)]
        yield _mmd(a, b)


def _checked_pair(
    real: ArrayLike, generated: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = checked_features(real), checked_features(generated)
    if min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"features: want (n, d) and (m, d), n and m 2 or more, got {x.shape} and {y.shape}"
        )
    return x, y


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
