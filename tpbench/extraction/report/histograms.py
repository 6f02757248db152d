"""Histograms of measurements, laid out for the page's own drawing.

They are drawn by the template: they follow the page's light and dark colours, show counts under the
pointer and take a tenth of the bytes of matplotlib's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset import Measurement
from tpbench.dataset.facts import Candidates

_BINS: Final = 32
PARTS: Final = {
    "kept": "kept",
    "refused": "rejected for this",
    "elsewhere": "rejected for something else",
}
"""Outcomes of a clip, in words; other parts, such as sides of a split, bear their own name."""


def short(value: float) -> str:
    """Format a value for readers: few digits, and no exponent for ordinary magnitudes."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One part of a stacked bar, in the units of the drawing."""

    part: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """Clips by one measured value, and the layout of the drawing."""

    measurement: Measurement
    threshold: float | None
    edges: NDArray[np.float64]
    """(B + 1,) bin edges, including the threshold."""
    counts: dict[str, NDArray[np.int64]]
    """(B,) each, in stacking order."""
    kept_median: float | None
    """None where nothing was kept."""
    width: int = 340
    height: int = 168
    left: int = 6
    right: int = 334
    top: int = 26
    base: int = 142

    @property
    def n_clips(self) -> int:
        """Clips that have the measurement."""
        return sum(int(counts.sum()) for counts in self.counts.values())

    @property
    def highest(self) -> int:
        """Clips in the fullest bin."""
        return int(np.sum(list(self.counts.values()), axis=0).max())

    def x(self, value: float) -> float:
        """Return where a value lies in the drawing."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def bars(self) -> Iterator[tuple[str, list[Bar]]]:
        """Yield each non-empty bin: its description and its stacked bars."""
        for index, (low, high) in enumerate(zip(self.edges[:-1], self.edges[1:], strict=True)):
            numbers = {part: int(counts[index]) for part, counts in self.counts.items()}
            stack, y = [], float(self.base)
            for part, number in numbers.items():
                # At least a visible sliver, even for one clip among thousands.
                height = max(number / self.highest * (self.base - self.top), 1.5)
                if number:
                    y -= height
                    x, width = self.x(low) + 0.5, self.x(high) - self.x(low) - 1
                    stack.append(Bar(part=part, x=x, y=y, width=width, height=height))
            if stack:
                span = f"{short(low)} to {short(high)} {self.measurement.unit}".strip()
                told = sorted(numbers, key=[*PARTS, *numbers].index)
                said = ", ".join(f"{numbers[part]:,} {PARTS.get(part, part)}" for part in told)
                yield f"{span}: {said}", stack

    def ticks(self) -> list[float]:
        """Return the values labelled below the axis."""
        return nice_ticks(float(self.edges[0]), float(self.edges[-1]))


def of_candidates(measurement: Measurement, candidates: Candidates) -> Histogram | None:
    """Count all candidates by one measurement; None if none has it.

    A threshold that differs between clips is not shown.
    """
    values = candidates.values(measurement.name)
    refused = candidates.has_code(measurement.code) & ~candidates.kept
    parts = {"kept": candidates.kept, "elsewhere": ~candidates.kept & ~refused, "refused": refused}
    limits = np.unique(candidates.limits(measurement.name))
    limits = limits[np.isfinite(limits)]
    return histogram(
        measurement,
        {part: values[rows & np.isfinite(values)] for part, rows in parts.items()},
        threshold=float(limits[0]) if limits.size == 1 else None,
    )


def histogram(
    measurement: Measurement,
    parts: Mapping[str, NDArray[np.float64]],
    *,
    threshold: float | None = None,
) -> Histogram | None:
    """Count values by bins; None if there are none.

    Values far outside the middle 99 % are counted in the outermost bins, so that a few of them do
    not flatten the rest.

    Args:
        measurement: what was measured.
        parts: part -> its values, in stacking order.
        threshold: of the filter, if there is one.
    """
    if not any(values.size for values in parts.values()):
        return None
    edges = _edges(np.concatenate(list(parts.values())), threshold)
    kept = parts.get("kept", np.empty(0))
    return Histogram(
        measurement=measurement,
        threshold=threshold,
        edges=edges,
        counts={part: _count(values, edges, measurement) for part, values in parts.items()},
        kept_median=float(np.median(kept)) if kept.size else None,
    )


def nice_ticks(low: float, high: float, *, want: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) within [low, high].

    >>> nice_ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / want
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    return [round(index * step, digits) + 0.0 for index in range(first, last + 1)]


def _edges(values: NDArray[np.float64], threshold: float | None) -> NDArray[np.float64]:
    """Return (B + 1,) bin edges over the middle 99 %, including the threshold."""
    low, high = (float(value) for value in np.quantile(values, (0.005, 0.995)))
    if threshold is None:
        threshold = low
    low, high = min(low, threshold), max(high, threshold)
    width = (high - low) / _BINS or max(abs(high) * 0.05, 0.05)
    # At least one bin beyond the threshold, so that its rejected side shows even if empty.
    left = max(math.ceil((threshold - low) / width), 1)
    right = max(math.ceil((high - threshold) / width), 1)
    return threshold + width * np.arange(-left, right + 1, dtype=np.float64)


def _count(
    values: NDArray[np.float64], edges: NDArray[np.float64], measurement: Measurement
) -> NDArray[np.int64]:
    """Count values by bin: the threshold itself on its kept side, outliers at the edges."""
    side: Literal["left", "right"] = "left" if measurement.direction == "at_most" else "right"
    index = np.searchsorted(edges, values, side=side) - 1
    return np.bincount(index.clip(0, len(edges) - 2), minlength=len(edges) - 1)
