"""Which identities go to the test side, so that it resembles the whole.

Identities that have a side keep it. Of the others, as many go to the test side as its share asks
for: one is taken from each of many small lots, in an order that the seed draws, and then identities
are exchanged with the train side as long as that makes the test side more like the whole. This is
stratification with whole identities: no class can be closer to its share than they allow.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset.info import SplitName
from tpbench.dataset.strata import Counts, Strata

_PARTNERS: Final = 512
"""Most identities with which one is compared for an exchange."""
_COMPARISONS: Final = 2_000_000
"""Most comparisons in all; only sets of thousands of identities meet it."""
_DECIMALS: Final = 12
"""Distances are rounded, so that the last bit, which differs between machines, decides nothing."""


def draw(identity: str, seed: int) -> float:
    """Return the place of an identity in the order of a seed: sha256("<seed>:<identity>"), 0..1."""
    return int(hashlib.sha256(f"{seed}:{identity}".encode()).hexdigest(), 16) / 2**256


def place(
    strata: Strata, *, fixed: Mapping[str, SplitName], test_share: float, seed: int
) -> dict[str, SplitName]:
    """Return the side of every identity; no side stays empty if there are two identities or more.

    Args:
        strata: the kept clips of each identity, by class.
        fixed: identity -> side, of those that have one.
        test_share: of identities on the test side, between 0 and 1.
        seed: draws the order.
    """
    names = strata.identities
    sides = {name: fixed[name] for name in names if name in fixed}
    if len(sides) == len(names):
        return sides
    free = [row for row, name in enumerate(names) if name not in fixed]
    if not free:  # such as in a dataset that lost all its clips
        return sides
    free.sort(key=lambda row: (draw(names[row], seed), names[row]))
    in_test = np.array([sides.get(name) == "test" for name in names], dtype=bool)
    table = np.column_stack([strata.clips, strata.counts])
    n_fixed = int(in_test.sum())
    best: tuple[float, Sequence[int]] = (math.inf, ())
    for n_test in _sizes(len(names), len(free), n_fixed, test_share):
        share = (n_fixed + n_test) / len(names)
        chosen = _choose(table, free, n_test, in_test, share)
        test = table[in_test].sum(axis=0) + table[chosen].sum(axis=0)
        found = float(distance(test[None], table.sum(axis=0), share)[0])
        if found < best[0]:
            best = (found, chosen)
    test_names = {names[row] for row in best[1]}
    return sides | {names[row]: "test" if names[row] in test_names else "train" for row in free}


def distance(
    tests: NDArray[np.int64], whole: NDArray[np.int64], share: float
) -> NDArray[np.float64]:
    """Return how far test sides are from resembling the whole.

    The sum of squares, over all classes, of the difference between the class's share of the test
    clips and of all clips; and of how far, relative to it, the side's share of all clips is from
    its share of all identities.

    Args:
        tests: (n, 1 + classes) of each test side: its clips, and its clips by class.
        whole: (1 + classes,) the same of the whole.
        share: of all identities that are on the test side.

    Returns:
        (n,) from 0, infinite for a side without clips.
    """
    size = np.maximum(tests[:, :1], 1)
    parts = tests[:, 1:] / size - whole[1:] / max(int(whole[0]), 1)
    of_size = tests[:, 0] / max(int(whole[0]), 1) / share - 1 if share else 0.0
    found = np.round((parts**2).sum(axis=1) + of_size**2, _DECIMALS)
    return np.where(tests[:, 0] > 0, found, np.inf)


def _sizes(n: int, n_free: int, n_fixed_test: int, test_share: float) -> list[int]:
    """Return how many free identities may go to the test side: the share rounded down and up."""
    n_fixed_train = n - n_free - n_fixed_test
    lowest = 1 if n_fixed_test == 0 and n > 1 else 0
    highest = n_free - 1 if n_fixed_train == 0 and n > 1 else n_free
    wanted = n * test_share - n_fixed_test
    sizes = {min(max(round_to(wanted), lowest), highest) for round_to in (math.floor, math.ceil)}
    return sorted(size for size in sizes if size >= 0)


def _choose(
    table: Counts,
    free: Sequence[int],
    n_test: int,
    in_test: NDArray[np.bool_],
    share: float,
) -> list[int]:
    """Return the rows of `n_test` free identities for the test side."""
    whole, test = table.sum(axis=0), table[in_test].sum(axis=0)
    chosen: list[int] = []
    for number in range(n_test):
        lot = free[number * len(free) // n_test : (number + 1) * len(free) // n_test]
        found = distance(test + table[lot], whole, share)
        chosen.append(lot[int(np.argmin(found))])
        test = test + table[chosen[-1]]
    return _exchanged(table, chosen, free, test, share)


def _exchanged(
    table: Counts, chosen: list[int], free: Sequence[int], test: Counts, share: float
) -> list[int]:
    """Exchange chosen rows with others as long as the test side gets closer to the whole."""
    whole = table.sum(axis=0)
    taken = set(chosen)
    others = [row for row in free if row not in taken]
    now = float(distance(test[None], whole, share)[0])
    left = _COMPARISONS
    better = bool(others)
    while better and left > 0:
        better = False
        for number, row in enumerate(chosen):
            # Another window for each, so that in large sets every identity is compared with some.
            begin = number * _PARTNERS
            n_partners = min(_PARTNERS, len(others))
            window = [(begin + step) % len(others) for step in range(n_partners)]
            partners = table[[others[at] for at in window]]
            found = distance(test - table[row] + partners, whole, share)
            left -= len(window)
            at = int(np.argmin(found))
            if found[at] < now:
                now, better = float(found[at]), True
                test = test - table[row] + partners[at]
                chosen[number], others[window[at]] = others[window[at]], row
            if left <= 0:
                break
    return chosen
