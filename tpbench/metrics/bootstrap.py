"""Confidence intervals of means over clips, by resampling identities.

Clips of one person are correlated, and frames of one clip more so. Resampling frames would give
intervals many times too narrow; here the identity is the unit, and its clips are drawn together.

FID and FVD have no such interval: a resample holds clips twice, and these distances are biased by
the number of distinct clips.

Actual coverage of the intervals, by simulation: `docs/statistics.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Bounds = tuple[float | None, float | None]
"""The least and the greatest possible value; None: unbounded."""
SHARES: Final[Bounds] = (0.0, 1.0)
"""Bounds of shares of a whole."""
STATISTICS_VERSION: Final = 2
"""Version of the interval method, recorded in `scores.json`; scores without it are version 1."""
MIN_IDENTITIES: Final = 5
"""Below this many identities no interval is given."""
ERROR_FLOOR: Final = 0.1
"""Smallest standard error of a draw, in units of that of the clips themselves."""
TAIL_IDENTITIES: Final = 10
"""With G identities the bootstrap's own tails are G / (G + this) of the nominal ones, ..."""
LEAST_TAIL: Final = 0.5
"""... but not less than this share of them."""
SAME: Final = 1e-9
"""Means of identities are the same if they differ by no more than this share of the largest."""
BATCH_VALUES: Final = 250_000
"""Resamples are drawn in batches of about this many identities."""
CACHED_VALUES: Final = 1_000_000
"""Draws of up to this many identities in all are kept for the next metric of the same clips."""


def finite_mean(values: Sequence[float] | NDArray[np.floating]) -> float:
    """Return the mean of the finite values.

    If none is finite: the infinity they share, or NaN if they share none or there are no values.

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
        raise ValueError(f"both sides need one shape; got {first.shape} and {second.shape}")
    equal = first == second
    # The difference of equal infinities is replaced, so NumPy's warning about it is suppressed.
    with np.errstate(invalid="ignore"):
        return np.where(equal, 0.0, first - second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Confidence interval of the mean over all clips of such identities."""

    low: float | None
    """None with a reason."""
    high: float | None
    """None with a reason."""
    level: float
    """Nominal coverage, 0..1."""
    n_identities: int
    """Identities that were resampled."""
    reason: str | None
    """Why there is no interval; None if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over clips with its interval."""

    mean: float
    """Over the clips used; NaN for none. Infinite if every measured clip is (PSNR of copies)."""
    interval: Interval
    """By resampling identities."""
    n_used: int
    """Clips with a finite value, over which the mean is taken."""
    n_infinite: int
    """Clips with an infinite value; left out of the mean unless all are."""
    n_missing: int
    """Clips with NaN, not measured."""


def mean_over_identities(
    values: Sequence[float] | NDArray[np.floating],
    identities: Sequence[str] | None,
    *,
    weights: Sequence[float] | NDArray[np.floating] | None = None,
    bounds: Bounds = (None, None),
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return the mean over clips with an interval over identities.

    It combines Student's interval by the jackknife with the studentised bootstrap: see `_interval`.
    The result does not depend on the order of clips or the spelling of identities; negated values
    have the negated interval.

    Args:
        values: one per clip, `(N,)`. NaN and infinite ones are left out and counted; if all that
            are not NaN are the same infinity, that is the mean, without an interval.
        identities: one per clip; None if they are not known.
        weights: weight of each clip, `(N,)`, above 0; None: all equal. n is then the sum of an
            identity's weights, and S of weight times value.
        bounds: the least and greatest possible value; the interval stays within them.
        level: nominal coverage, between 0 and 1.
        n_resamples: draws, rounded up to an even number.
        seed: of the draws. Two metrics of the same clips with one seed get the same draws.

    Raises:
        ValueError: lengths differ, or level or resamples are out of range.
    """
    clips = np.asarray(values, dtype=np.float64)
    _check(clips, identities, weights, level, n_resamples)
    finite = np.isfinite(clips)
    used = np.ones(clips.size) if weights is None else np.asarray(weights, dtype=np.float64)
    sums, counts = _identity_sums(clips, used, finite, identities)
    mean, reason = finite_mean(clips), None
    if finite.any():
        # fsum is exact: the order of clips can't change the last digits.
        mean = math.fsum(clips[finite] * used[finite]) / math.fsum(used[finite])
    else:
        reason = "no clip has a finite value"
    if identities is None:
        reason = reason or "the identities of the clips are not known"
    elif counts.size < MIN_IDENTITIES:
        who = "identity" if counts.size == 1 else "identities"
        few = f"{counts.size} {who}: an interval needs at least {MIN_IDENTITIES}"
        reason = reason or few
    if reason is None:
        interval = _interval(sums, counts, bounds, level, n_resamples=n_resamples, seed=seed)
    else:
        interval = _blank(counts.size, level, reason)
    return Estimate(
        mean=mean,
        interval=interval,
        n_used=int(finite.sum()),
        n_infinite=int(np.isinf(clips).sum()),
        n_missing=int(np.isnan(clips).sum()),
    )


def paired_difference(
    first: Mapping[str, float],
    second: Mapping[str, float],
    identities: Mapping[str, str] | None,
) -> Estimate:
    """Return first minus second on the clips both have, with an interval over identities.

    The difficulty of a clip affects both sets and cancels, so two models can differ significantly
    although their own intervals overlap. Infinite values: equal ones differ by 0, otherwise the
    clip is left out and counted.

    Args:
        first: value by clip id.
        second: value by clip id.
        identities: identity by clip id, for all common clips at least; None if not known.

    Raises:
        ValueError: a common clip has no identity.
    """
    common = sorted(first.keys() & second.keys())
    if identities is not None and (nameless := [clip for clip in common if clip not in identities]):
        raise ValueError(
            f"no identity for {len(nameless)} of {len(common)} clips, first {nameless[0]!r}"
        )
    differences = contrast([first[clip] for clip in common], [second[clip] for clip in common])
    names = None if identities is None else [identities[clip] for clip in common]
    return mean_over_identities(differences, names)


def _check(
    clips: NDArray[np.float64],
    identities: Sequence[str] | None,
    weights: Sequence[float] | NDArray[np.floating] | None,
    level: float,
    n_resamples: int,
) -> None:
    if clips.ndim != 1 or (identities is not None and len(identities) != clips.size):
        named = "none" if identities is None else len(identities)
        raise ValueError(
            f"one value and one identity per clip: got shape {clips.shape}, {named} identities"
        )
    if weights is not None and (len(weights) != clips.size or not np.greater(weights, 0).all()):
        raise ValueError(f"one weight above 0 per clip: got {len(weights)} of {clips.size}")
    if not 0 < level < 1 or n_resamples < 1:
        raise ValueError(
            "a level lies between 0 and 1 and resamples are 1 or more;"
            f" got {level} and {n_resamples}"
        )


def _identity_sums(
    clips: NDArray[np.float64],
    weights: NDArray[np.float64],
    finite: NDArray[np.bool_],
    identities: Sequence[str] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted sum of the finite values, and sum of the weights, of each identity that has one.

    Sorted by weight, then mean, so that names have no influence; identities with equal keys are
    interchangeable.
    """
    groups: dict[str, list[tuple[float, float]]] = {}
    if identities is not None:
        for value, weight, used, identity in zip(clips, weights, finite, identities, strict=True):
            if used:
                groups.setdefault(identity, []).append((float(value * weight), float(weight)))
    counts = [math.fsum(weight for _, weight in group) for group in groups.values()]
    sums = [math.fsum(value for value, _ in group) for group in groups.values()]
    ordered = sorted(zip(counts, sums, strict=True))
    table = np.array(ordered, dtype=np.float64).reshape(-1, 2)
    return table[:, 1].copy(), table[:, 0].copy()


def _blank(n_identities: int, level: float, reason: str) -> Interval:
    return Interval(low=None, high=None, level=level, n_identities=n_identities, reason=reason)


def _interval(
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    bounds: Bounds,
    level: float,
    *,
    n_resamples: int,
    seed: int,
) -> Interval:
    """Return the interval of five identities or more.

    With S the sum of an identity's values and n the number of its clips, G identities have the mean
    m = sum S / sum n. Its interval is the hull of two, each of which is too narrow in some cases:

    * Student's, m -+ t e, where e is the jackknife's standard error (each identity left out in
      turn: Bell & McCaffrey's CR3, sound where a few identities have most clips) and the degrees of
      freedom are those of the effective number of identities, (sum n)^2 / sum n^2 - 1;
    * the studentised bootstrap (bootstrap-t, Efron & Tibshirani 1993, chapter 12), which adapts to
      skewed values: G identities are drawn with replacement, all clips of one together. With m* and
      s* the mean and standard error of a draw, and q the quantiles of (m* - m) / max(s*, s / 10),
      it is [m - q(1 - tail) e, m - q(tail) e], where

          s = sqrt(G / (G - 1) sum_g (S_g - m n_g)^2) / sum_g n_g

      and tail is (1 - level) / 2 times max(0.5, G / (G + 10)), since few identities understate how
      values vary.
    """
    from scipy.special import stdtrit

    own, n, total = sums / counts, counts.size, counts.sum()
    if np.ptp(own) <= SAME * np.abs(own).max():
        return _of_equals(float(own[0]), counts, bounds, level)
    tail, mean = (1 - level) / 2, sums.sum() / total
    deviations = sums - mean * counts
    error = np.sqrt(n / (n - 1) * (deviations**2).sum()) / total
    without = (sums.sum() - sums) / (total - counts)
    jackknife = np.sqrt((n - 1) / n * ((without - mean) ** 2).sum())
    student = stdtrit(max(_effective(counts) - 1, 1), 1 - tail) * jackknife
    lower, upper = _studentised_quantiles(
        deviations / error,
        counts,
        tail=tail * max(LEAST_TAIL, n / (n + TAIL_IDENTITIES)),
        n_resamples=n_resamples,
        seed=seed,
    )
    low = float(mean - max(student, upper * jackknife))
    high = float(mean + max(student, -lower * jackknife))
    least = -math.inf if bounds[0] is None else bounds[0]
    greatest = math.inf if bounds[1] is None else bounds[1]
    low, high = (min(max(end, least), greatest) for end in (low, high))
    return Interval(low=low, high=high, level=level, n_identities=n, reason=None)


def _of_equals(value: float, counts: NDArray[np.float64], bounds: Bounds, level: float) -> Interval:
    """Return the interval if all identities have one value: it exists only for shares of 0 or 1.

    For shares that are all 1 it is that of the rule of three (Clopper & Pearson 1934, G the
    effective number of identities), ((1 - level) / 2)^(1 / G) to 1; for all 0, its mirror image.
    """
    seen = ((1 - level) / 2) ** (1 / _effective(counts))
    if bounds != SHARES or SAME < value < 1 - SAME:
        reason = f"all {counts.size} identities have the same value: how others vary is not seen"
        return _blank(counts.size, level, reason)
    low, high = (seen, 1.0) if value >= 1 - SAME else (0.0, 1 - seen)
    return Interval(low=low, high=high, level=level, n_identities=counts.size, reason=None)


def _effective(counts: NDArray[np.float64]) -> float:
    """The effective number of identities: of equal weight, with as much information as these."""
    return float(counts.sum() ** 2 / (counts**2).sum())


def _studentised_quantiles(
    deviations: NDArray[np.float64],
    counts: NDArray[np.float64],
    *,
    tail: float,
    n_resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Quantiles of (m* - m) / max(s*, s / 10) over the draws; a share `tail` lies beyond each.

    `deviations` are S - m n of each identity, in units of the standard error s.
    """
    drawn = -(-n_resamples // 2)
    reversed_order = _reversed_order(counts)
    scores = [
        _scores(draws, deviations[order], counts[order])
        for draws in _draws(counts.size, drawn, seed)
        for order in (slice(None), reversed_order)
    ]
    lower, upper = np.quantile(np.concatenate(scores), [tail, 1 - tail])
    return float(lower), float(upper)


def _reversed_order(counts: NDArray[np.float64]) -> NDArray[np.intp]:
    """The reverse order among identities of equal weight, which are sorted by their mean."""
    places = np.arange(counts.size)
    first = np.searchsorted(counts, counts, side="left")
    last = np.searchsorted(counts, counts, side="right") - 1
    return first + last - places


def _scores(
    draws: NDArray[np.float64], deviations: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(m* - m) / max(s*, s / 10) in units of s, from how often each draw holds each identity."""
    n_identities = counts.size
    # By einsum and not BLAS, whose sums depend on the number of its threads.
    totals, shifts, squares, cross, weights = (
        np.einsum("dg,g->d", draws, column)
        for column in (counts, deviations, deviations**2, deviations * counts, counts**2)
    )
    means = shifts / totals
    spread = np.maximum(squares - 2 * means * cross + means**2 * weights, 0)
    errors = np.sqrt(n_identities / (n_identities - 1) * spread) / totals
    scores: NDArray[np.float64] = means / np.maximum(errors, ERROR_FLOOR)
    return scores


def _draws(n_identities: int, n_draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each draw holds each identity, `(draws, identities)`, in batches."""
    if n_identities * n_draws <= CACHED_VALUES:
        yield _kept_draws(n_identities, n_draws, seed)
        return
    generator = np.random.default_rng(seed)
    batch = max(1, BATCH_VALUES // n_identities)
    for first in range(0, n_draws, batch):
        yield _drawn(generator, min(batch, n_draws - first), n_identities)


@lru_cache(maxsize=8)
def _kept_draws(n_identities: int, n_draws: int, seed: int) -> NDArray[np.float64]:
    draws = _drawn(np.random.default_rng(seed), n_draws, n_identities)
    draws.flags.writeable = False
    return draws


def _drawn(generator: np.random.Generator, n_draws: int, n_identities: int) -> NDArray[np.float64]:
    drawn = generator.integers(0, n_identities, size=(n_draws, n_identities))
    drawn += n_identities * np.arange(n_draws)[:, None]
    counted = np.bincount(drawn.reshape(-1), minlength=n_draws * n_identities)
    return counted.reshape(n_draws, n_identities).astype(np.float64)
