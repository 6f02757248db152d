"""Which of many comparisons exceed chance: a joint test, by flipping the signs of identities.

Many comparisons show differences where there are none: of ten equal models, one is best by chance,
and some of the others are far behind it by the same chance. So all comparisons are judged by the
greatest statistic that chance produces among them.

Under the null hypothesis, an identity's differences could as well have the other sign. Each draw
flips the signs of some identities, for all their comparisons at once; with few identities all sign
patterns are enumerated, which makes the test of a single comparison exact wherever differences are
symmetric, whatever their tails and however unequal the numbers of clips. (It is the wild cluster
bootstrap with the null imposed and Rademacher weights: Cameron, Gelbach & Miller 2008; the joint
use of the greatest statistic: Westfall & Young 1993; stepping down: Romano & Wolf 2005.) Its error
rate and power, by simulation: `docs/statistics.md`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

MIN_IDENTITIES: Final = 6
"""With fewer, nothing exceeds chance: of 2^5 sign patterns, one in sixteen is as extreme."""
LEVEL: Final = 0.035
"""A difference counts if at most this share of the draws has one as great. It is below the 5 % that
is promised, as a margin for skewed differences and for random draws."""
EXACT_IDENTITIES: Final = 11
"""Up to this many, all sign patterns are enumerated: 2^11 draws at most."""
N_DRAWS: Final = 2048
"""Random draws of signs above that, including the signs of the data."""
_ROUNDING: Final = 1e-9
"""Differences up to this share of the greatest value count as 0, statistics this close as equal."""


def worse_than_some(sums: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which models are worse than some other model by more than chance.

    For models i and k with badness totals S_gi of identity g, d_g = S_gi - S_gk, the statistic is
    sum_g d_g / sqrt(sum_g d_g^2), a monotone form of Student's t. A model is worse if the greatest
    statistic of all pairs reaches the model's own greatest one in at most `LEVEL` of the draws.
    Then the pairs in which only models already found worse could be the worse one are left out, and
    the others are judged again, until no model is added.

    All pairs are included, not only those with the observed best model, since chance decides which
    that is. If several models are truly the best, the probability that any of them is called worse
    is at most `LEVEL`, whatever the number and values of the other models.

    Args:
        sums: `(G, K)`: for each identity and model the sum over its clips of a value that is
            greater if it is worse; the same clips for all models.

    Returns:
        `(K,)`; all False with fewer than `MIN_IDENTITIES` identities.
    """
    n_identities, n_models = sums.shape
    worse = np.zeros(n_models, dtype=np.bool_)
    if n_identities < MIN_IDENTITIES or n_models < 2:
        return worse
    totals = _in_order(sums)
    flips = _flips(n_identities)
    # Of the data and of each draw, by model: the greatest statistic against any other.
    seen, drawn = np.empty(n_models), np.empty((len(flips), n_models))
    for model in range(n_models):
        parts = _studentised(totals[:, [model]] - totals, np.abs(totals).max())
        parts = np.delete(parts, model, axis=1)
        seen[model] = parts.sum(axis=0).max()
        drawn[:, model] = (flips @ parts).max(axis=1)
    return _step_down(np.where(seen > 0, seen, -np.inf), drawn)


def differ(differences: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which differences exceed chance, in either direction.

    The statistic of each is that of `worse_than_some`. A difference counts if the greatest absolute
    statistic of all reaches its own in at most `LEVEL` of the draws; those that count are then left
    out and the others judged again.

    Args:
        differences: `(G, M)`: for each identity and comparison the sum over its clips of first
            minus second; 0 if an identity is not part of a comparison.

    Returns:
        `(M,)`; all False with fewer than `MIN_IDENTITIES` identities.
    """
    taking_part = (differences != 0).any(axis=1)
    used = differences[taking_part]
    if len(used) < MIN_IDENTITIES:
        return np.zeros(differences.shape[1], dtype=np.bool_)
    parts = _in_order(_studentised(used, np.abs(used).max(axis=0)))
    drawn = np.abs(_flips(len(parts)) @ parts)
    return _step_down(np.abs(parts.sum(axis=0)), drawn)


def _studentised(
    differences: NDArray[np.float64], greatest: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Differences over the root of the sum of their squares; 0 for mere rounding errors."""
    real = np.where(np.abs(differences) > _ROUNDING * greatest, differences, 0.0)
    root = np.sqrt((real**2).sum(axis=0))
    return np.asarray(real / np.where(root > 0, root, 1.0), dtype=np.float64)


def _in_order(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sort identities by their values alone, so that their names change no draw.

    The first keys are each identity's sorted values, so that the order of models changes no draw
    either, unless two identities have the same values with other models.
    """
    keys = np.concatenate([np.sort(table, axis=1), table], axis=1)
    return table[np.lexsort(keys.T[::-1])]


def _step_down(seen: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whose statistic is reached by the greatest one in few draws; repeated without those found.

    Args:
        seen: `(n,)`, of the data.
        drawn: `(draws, n)`, including those of the data.
    """
    found = np.zeros(seen.size, dtype=np.bool_)
    while not found.all():
        greatest = np.sort(drawn[:, ~found].max(axis=1))
        reached = greatest.size - np.searchsorted(greatest, seen - _ROUNDING)
        new = ~found & (reached <= LEVEL * greatest.size)
        if not new.any():
            break
        found |= new
    return found


@lru_cache(maxsize=8)
def _flips(n_identities: int) -> NDArray[np.float64]:
    """Signs, `(draws, identities)`; the first are all +1."""
    if n_identities <= EXACT_IDENTITIES:
        bits = np.arange(2**n_identities)[:, None] >> np.arange(n_identities) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, size=(N_DRAWS, n_identities))
        bits[0] = 0
    signs = np.where(bits, -1.0, 1.0).astype(np.float64)
    signs.flags.writeable = False
    return signs
