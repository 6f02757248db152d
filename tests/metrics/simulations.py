"""Populations whose truth is known, and how often intervals and marks are wrong about them.

`python -m benchmarks.bench_statistics` prints the tables of `docs/statistics.md` from these:
today's methods beside those they replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tpbench.metrics.bootstrap import SHARES, Bounds, mean_over_identities
from tpbench.metrics.joint_test import differ, worse_than_some

Floats = NDArray[np.float64]

IDENTITIES: Final = (5, 8, 20, 50)
MODELS: Final = (2, 10, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Clips of some identities, and the mean over all there could be."""

    values: Floats
    owners: NDArray[np.intp]
    truth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What came of many samples."""

    share: float
    """Of the intervals that were given: how many hold the truth."""
    blank: float
    """Share of samples without an interval."""
    width: float
    """Median, of those that were given."""


def _few(rng: Generator, count: int) -> NDArray[np.intp]:
    return 1 + rng.poisson(2, count)


def _three(rng: Generator, count: int) -> NDArray[np.intp]:
    del rng
    return np.full(count, 3)


def _pareto(rng: Generator, count: int) -> NDArray[np.intp]:
    return np.minimum(np.ceil(rng.pareto(1.2, count)), 10_000).astype(np.intp).clip(1)


def _of_people(
    means: Floats, clips: NDArray[np.intp], rng: Generator, *, noise: float, truth: float
) -> Sample:
    owners = np.repeat(np.arange(means.size), clips)
    values = means[owners] + noise * rng.normal(size=owners.size)
    return Sample(values=values, owners=owners, truth=truth)


def _normal(clips: Callable[[Generator, int], NDArray[np.intp]]) -> Callable[..., Sample]:
    def make(rng: Generator, count: int) -> Sample:
        numbers = clips(rng, count)
        return _of_people(rng.normal(size=count), numbers, rng, noise=1.0, truth=0.0)

    return make


def _tied(rng: Generator, count: int) -> Sample:
    """Who has higher values has more clips; E[n] = 1 + 2 E[exp(0.6 x)]."""
    means = rng.normal(size=count)
    clips = 1 + rng.poisson(2 * np.exp(0.6 * means))
    grown = 2 * np.exp(0.18)
    return _of_people(means, clips, rng, noise=0.5, truth=0.6 * grown / (1 + grown))


def _lognormal(sigma: float) -> Callable[..., Sample]:
    def make(rng: Generator, count: int) -> Sample:
        means = np.exp(sigma * rng.normal(size=count))
        clips = _few(rng, count)
        return _of_people(means, clips, rng, noise=0.2, truth=float(np.exp(sigma**2 / 2)))

    return make


def _shares(
    perfect: float, clips: Callable[[Generator, int], NDArray[np.intp]] = _few
) -> Callable[..., Sample]:
    def make(rng: Generator, count: int) -> Sample:
        means = np.where(rng.random(count) < perfect, 1.0, rng.beta(2, 1, count))
        return _of_people(means, clips(rng, count), rng, noise=0.0, truth=1 - (1 - perfect) / 3)

    return make


def _shares_of_clips(rng: Generator, count: int) -> Sample:
    """Who does well does so in most clips; a clip that is not perfect may have any share."""
    clips = _few(rng, count)
    owners = np.repeat(np.arange(count), clips)
    perfect = rng.random(owners.size) < rng.beta(6.4, 1.6, count)[owners]
    values = np.where(perfect, 1.0, rng.random(owners.size))
    return Sample(values=values, owners=owners, truth=0.9)


POPULATIONS: Final[dict[str, tuple[Callable[[Generator, int], Sample], Bounds]]] = {
    "normal, 3 clips each": (_normal(_three), (None, None)),
    "normal, 1 to about 8 clips": (_normal(_few), (None, None)),
    "normal, very unequal (Pareto 1.2)": (_normal(_pareto), (None, None)),
    "number of clips tied to the value": (_tied, (None, None)),
    "lognormal 0.5": (_lognormal(0.5), (0.0, None)),
    "lognormal 1.0": (_lognormal(1.0), (0.0, None)),
    "shares, 76 % of people all 1": (_shares(0.76), SHARES),
    "shares, 90 % of people all 1": (_shares(0.9), SHARES),
    "the same, very unequal (76 %)": (_shares(0.76, _pareto), SHARES),
    "shares, 80 % of clips 1": (_shares_of_clips, SHARES),
}
"""By name: how a sample is made of G identities, and the bounds of its values."""


def _two_kinds(rng: Generator, count: int) -> Sample:
    means = np.where(rng.random(count) < 0.2, 10.0, 0.0)
    return _of_people(means, _few(rng, count), rng, noise=1.0, truth=2.0)


BEYOND: Final[dict[str, tuple[Callable[[Generator, int], Sample], Bounds]]] = {
    "two kinds of people, 20 % of the one": (_two_kinds, (None, None)),
}
"""What no interval can know with few people: of a third of samples of five, one kind is missing."""


def coverage(
    population: str,
    identities: int,
    samples: int,
    *,
    method: Literal["today's", "old"] = "today's",
    bounded: bool = True,
) -> Held:
    """Return how often nominal 95 % intervals of a population hold the truth.

    Args:
        population: of `POPULATIONS` or `BEYOND`.
        identities: in each sample.
        samples: how many.
        method: today's, or `old_interval`.
        bounded: tell the method the bounds of the values.
    """
    make, bounds = (POPULATIONS | BEYOND)[population]
    rng = np.random.default_rng([identities, len(population)])
    held, widths = 0, []
    for _ in range(samples):
        sample = make(rng, identities)
        if method == "old":
            ends = old_interval(sample)
        else:
            interval = mean_over_identities(
                sample.values,
                [str(owner) for owner in sample.owners],
                bounds=bounds if bounded else (None, None),
            ).interval
            if interval.low is None or interval.high is None:
                continue
            ends = interval.low, interval.high
        held += ends[0] - 1e-12 <= sample.truth <= ends[1] + 1e-12
        widths.append(ends[1] - ends[0])
    given = len(widths)
    return Held(
        share=held / given if given else float("nan"),
        blank=1 - given / samples,
        width=float(np.median(widths)) if given else float("nan"),
    )


def _mean_and_error(sums: Floats, counts: Floats) -> tuple[Floats, Floats]:
    size, total = sums.shape[-1], counts.sum(axis=-1)
    mean = sums.sum(axis=-1) / total
    squares = ((sums - mean[..., None] * counts) ** 2).sum(axis=-1)
    return mean, np.sqrt(size / (size - 1) * squares) / total


def old_interval(sample: Sample) -> tuple[float, float]:
    """The method before: bootstrap-t, cut to the range of the identities' own means."""
    sums = np.bincount(sample.owners, sample.values).astype(np.float64)
    counts = np.bincount(sample.owners).astype(np.float64)
    own = sums / counts
    mean, error = (float(found) for found in _mean_and_error(sums, counts))
    if error == 0:
        return float(own.min()), float(own.max())
    draws = np.random.default_rng(0).integers(0, counts.size, size=(2000, counts.size))
    means, errors = _mean_and_error(sums[draws], counts[draws])
    lower, upper = np.quantile((means - mean) / np.maximum(errors, error / 4), [0.025, 0.975])
    low, high = np.clip([mean - upper * error, mean - lower * error], own.min(), own.max())
    return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Equal models, and maybe a worse one, on the same clips."""

    noise: Literal["normal", "heavy", "skewed", "shares"] = "normal"
    """heavy: Student's t with 3 degrees; skewed: lognormal; shares: 76 % of people all 1."""
    clips: Literal["two", "unequal"] = "two"
    """Clips of each identity; unequal: Pareto 1.2."""
    alike: float = 0.8
    """Correlation of two models' values."""
    behind: float = 0.0
    """By how much the last model is worse, in standard deviations of an identity's difference."""


def field_sums(field: Field, rng: Generator, identities: int, models: int) -> Floats:
    """Return sums of badness, `(identities, models)`."""
    clips = np.full(identities, 2) if field.clips == "two" else _pareto(rng, identities)
    owners = np.repeat(np.arange(identities), clips)

    def noise(*shape: int) -> Floats:
        if field.noise == "heavy":
            return rng.standard_t(3, shape)
        if field.noise == "skewed":
            return np.exp(rng.normal(size=shape))
        return rng.normal(size=shape)

    own, of_clip = noise(identities, models), noise(owners.size, models)
    if field.noise == "shares":
        perfect = rng.random((identities, models)) < 0.76
        values = np.where(perfect, 0.0, rng.random((identities, models)))[owners]
        spread = 0.0
    else:
        shared = np.sqrt(field.alike) * noise(identities, 1)[owners]
        values = shared + np.sqrt(1 - field.alike) * (own[owners] + of_clip) / np.sqrt(2)
        # Two models' difference on one identity: their own parts, and the mean of two clips.
        spread = np.sqrt(2 * (1 - field.alike) * (1 + 1 / 2) / 2)
    values[:, -1] += field.behind * spread
    sums = np.zeros((identities, models))
    np.add.at(sums, owners, values)
    return sums


def old_worse(sums: Floats, clips_each: int = 2) -> NDArray[np.bool_]:
    """The method before: each model against the best by itself, by an interval of 95 %."""
    best = int(sums.sum(axis=0).argmin())
    worse = np.zeros(sums.shape[1], dtype=np.bool_)
    owners = np.repeat(np.arange(len(sums)), clips_each)
    for model in range(sums.shape[1]):
        if model != best:
            values = np.repeat(sums[:, model] - sums[:, best], clips_each) / clips_each
            sample = Sample(values=values, owners=owners, truth=0.0)
            worse[model] = old_interval(sample)[0] > 0
    return worse


def marks(
    field: Field, identities: int, models: int, tables: int, *, method: str = "today's"
) -> tuple[float, float]:
    """Return the shares of tables that name an equal model a loser, and that find the last one."""
    rng = np.random.default_rng([identities, models, tables])
    judge = worse_than_some if method == "today's" else old_worse
    equal = models if field.behind == 0 else models - 1
    wrong, found = 0, 0
    for _ in range(tables):
        worse = judge(field_sums(field, rng, identities, models))
        wrong += bool(worse[:equal].any())
        found += bool(worse[-1])
    return wrong / tables, found / tables


def comparisons(
    identities: int, metrics: int, trials: int, *, alike: float = 0.5, method: str = "today's"
) -> float:
    """Return the share of comparisons of equal runs that call one better at any metric."""
    rng = np.random.default_rng([identities, metrics])
    wrong = 0
    for _ in range(trials):
        own, shared = rng.normal(size=(identities, metrics)), rng.normal(size=(identities, 1))
        differences = np.sqrt(alike) * shared + np.sqrt(1 - alike) * own
        if method == "today's":
            wrong += bool(differ(differences).any())
            continue
        owners = np.arange(identities)
        ends = [
            old_interval(Sample(values=column, owners=owners, truth=0.0))
            for column in differences.T
        ]
        wrong += any(low > 0 or high < 0 for low, high in ends)
    return wrong / trials
