"""What is judged where models are held against each other: one number of each clip.

Tables and comparisons judge by the same rules:

* Only clips of which all that are compared have a value count.
* What is better with a target is judged by each clip's distance to it, |value - target|: errors of
  both signs never cancel.
* An infinite PSNR (every frame of a clip a copy of the real one; only scores by `tpbench-v1` have
  such) counts as 100 dB, which is what `tpbench-v2` and DisCo's script give a copy, and with its
  sign where it is a difference. So a clip that is perfect is never left out. No other metric has
  infinite values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.pixels import CAP_DB
from tpbench.metrics.registry import MetricRow


def counted(value: float) -> float:
    """Return a value as it counts in comparisons: infinite decibels are 100, NaN stays NaN."""
    return math.copysign(CAP_DB, value) if math.isinf(value) else value


def judged(row: MetricRow, value: float) -> float:
    """Return what is compared of a clip's value: itself as counted, or its distance to the target.

    NaN stays NaN.
    """
    value = counted(value)
    return value if row.target is None else abs(value - row.target)


def badness(row: MetricRow, value: float) -> float:
    """Return a number that is the greater the worse a value is; see `judged`."""
    return -judged(row, value) if row.direction == "higher" else judged(row, value)


def quantity(row: MetricRow) -> str:
    """Return in words what is compared: "value", or "distance to 1"."""
    return "value" if row.target is None else f"distance to {row.target:g}"


def with_value(values: Mapping[str, float]) -> set[str]:
    """Return the clips in which something was measured."""
    return {clip for clip, value in values.items() if not math.isnan(value)}


def identity_sums(
    columns: Sequence[Mapping[str, float]],
    clips: Iterable[str],
    identities: Mapping[str, str],
) -> NDArray[np.float64]:
    """Return totals of each identity, `(G, len(columns))`, over the clips named.

    Args:
        columns: values by clip; one that a column lacks, or that is NaN, adds nothing.
        clips: to be summed.
        identities: by clip, for all of these.
    """
    named = sorted(clips)
    places = {name: at for at, name in enumerate(sorted({identities[clip] for clip in named}))}
    sums = np.zeros((len(places), len(columns)))
    for clip in named:
        values = [column.get(clip, math.nan) for column in columns]
        sums[places[identities[clip]]] += np.nan_to_num(values)
    return sums
