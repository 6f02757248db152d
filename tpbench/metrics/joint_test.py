"""Which of many differ by more than chance makes: one joint test, by signs flipped over identities.

Whoever makes many comparisons finds differences where there are none: of ten equal models, the best
is best by luck, and some of the others lie far behind it by the same luck. So all comparisons are
judged by the greatest that chance makes among them.

Under "no difference", an identity's differences could as well have the other sign. Every sign
flipped, for all comparisons of an identity at once, is a draw of what chance makes; with few
identities all draws are gone through, which makes the test of a single comparison exact wherever
differences are symmetric, whatever their tails and however unequal the numbers of clips. (It is the
wild cluster bootstrap with the null imposed and Rademacher weights: Cameron, Gelbach & Miller 2008;
the joint use of the greatest statistic: Westfall & Young 1993; one step down after the other:
Romano & Wolf 2005.) How often it errs, and what it finds, by simulation: `docs/statistics.md`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

MIN_IDENTITIES: Final = 6
"""With fewer no difference can be told from chance: of 2^5 signs, one in sixteen is as extreme."""
LEVEL: Final = 0.035
"""A difference counts if chance makes as great a one in this share of the draws or less. It is
under the 5 % that is promised, for differences that are skewed and for draws at random."""
EXACT_IDENTITIES: Final = 11
"""Up to this many all signs are gone through: 2^11 draws at most."""
N_DRAWS: Final = 2048
"""Draws of signs above that, those of the data among them."""
_ROUNDING: Final = 1e-9
"""Differences of this share of the greatest value, and statistics this near, are equal."""


def worse_than_some(sums: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which models are worse than some other by more than chance makes.

    For models i and k with badness totals S_gi of identity g, d_g = S_gi - S_gk, the statistic is
    sum_g d_g / sqrt(sum_g d_g^2), a monotone form of Student's t. A model is worse if its greatest
    statistic against any other is one that the greatest of all pairs reaches in `LEVEL` of the
    draws or fewer; then the pairs in which only models that were found worse could be the worse one
    are left out, and the others are judged again, until nobody is added.

    All pairs are in it and not only those with the model that came out best: which that is, luck
    decides too. Where several models are truly the best, the chance that any of them is called
    worse is at most `LEVEL`, however many models there are and whatever the others are like.

    Args:
        sums: `(G, K)`: for each identity and model the sum over its clips of a value that is the
            greater the worse it is; the same clips for all models.

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
    """Return which differences are more than chance makes, in either direction.

    The statistic of each is that of `worse_than_some`; it counts if the greatest of all, whatever
    its sign, reaches it in `LEVEL` of the draws or fewer; those that count are then left out and
    the others judged again.

    Args:
        differences: `(G, M)`: for each identity and comparison the sum over its clips of first
            minus second; 0 where an identity has no part in a comparison.

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
    """Differences over the root of the sum of their squares; 0 for those that rounding makes."""
    real = np.where(np.abs(differences) > _ROUNDING * greatest, differences, 0.0)
    root = np.sqrt((real**2).sum(axis=0))
    return np.asarray(real / np.where(root > 0, root, 1.0), dtype=np.float64)


def _in_order(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Identities in an order made of their values alone: how they are spelt changes no draw.

    Their sorted values come first: nor does the order of models, but where identities have the same
    values, each of another model.
    """
    keys = np.concatenate([np.sort(table, axis=1), table], axis=1)
    return table[np.lexsort(keys.T[::-1])]


def _step_down(seen: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whose statistic the greatest of a draw reaches in few draws; again without those.

    Args:
        seen: `(n,)`, of the data.
        drawn: `(draws, n)`, that of the data among them.
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
