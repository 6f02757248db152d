"""One measurement of all candidates as a small SVG: kept, refused for it, refused for another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tpbench.dataset import Measurement

    _Scale = Callable[[float], float]
    """Value -> x in the drawing."""

_WIDTH: Final = 340
_HEIGHT: Final = 168
_LEFT: Final = 6
_RIGHT: Final = 6
_TOP: Final = 26
_BASE: Final = 142
_BINS: Final = 32
_SIGNS: Final = {"at_least": "\N{GREATER-THAN OR EQUAL TO}", "at_most": "\N{LESS-THAN OR EQUAL TO}"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Values:
    """All values of one measurement that were made; each array is (n,) float64, finite."""

    kept: NDArray[np.float64]
    refused: NDArray[np.float64]
    """Of clips that this measurement's own filter refused."""

    elsewhere: NDArray[np.float64]
    """Of clips that only other filters refused."""

    @property
    def all(self) -> NDArray[np.float64]:
        """The three together."""
        return np.concatenate([self.kept, self.refused, self.elsewhere])


def histogram_svg(values: Values, measurement: Measurement, threshold: float | None) -> str:
    """Draw the stacked counts of a measurement, its threshold as a line, its refused side shaded.

    Values far outside the middle 99 % are counted in the outermost bins, so that a few of them do
    not flatten the rest.
    """
    edges = _edges(values.all, threshold)
    low, high = float(edges[0]), float(edges[-1])
    stacks = [
        _count(part, edges, measurement) for part in (values.kept, values.elsewhere, values.refused)
    ]
    top = int(np.sum(stacks, axis=0).max())

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>Histogram: {escape(measurement.title)}</title>",
        _shade(x, measurement, threshold),
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_TOP}" y2="{_TOP}"/>',
        *_bars(x, edges, stacks, top, measurement.unit),
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_BASE}" y2="{_BASE}"/>',
        *_ticks(x, low, high),
        _limit(x, measurement, threshold),
        _top_count(top, at_right=threshold is not None and x(threshold) <= _WIDTH / 2),
        "</svg>",
    ]
    return "".join(parts)


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


def short(value: float) -> str:
    """Format a value for people: four digits at most, no exponent for everyday sizes."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"


def _edges(values: NDArray[np.float64], threshold: float | None) -> NDArray[np.float64]:
    """Return (B + 1,) bin edges over the middle 99 %, the threshold being one of them."""
    low, high = (float(value) for value in np.quantile(values, (0.005, 0.995)))
    if threshold is None:
        threshold = low
    low, high = min(low, threshold), max(high, threshold)
    width = (high - low) / _BINS or max(abs(high) * 0.05, 0.05)
    # One bin of air beyond the threshold, so that its refused side is seen even where it is empty.
    left = max(math.ceil((threshold - low) / width), 1)
    right = max(math.ceil((high - threshold) / width), 1)
    return threshold + width * np.arange(-left, right + 1, dtype=np.float64)


def _count(
    values: NDArray[np.float64], edges: NDArray[np.float64], measurement: Measurement
) -> NDArray[np.int64]:
    """Count values by bin: the threshold itself on its kept side, what lies out at the edge."""
    side: Literal["left", "right"] = "left" if measurement.direction == "at_most" else "right"
    index = np.searchsorted(edges, values, side=side) - 1
    return np.bincount(index.clip(0, len(edges) - 2), minlength=len(edges) - 1)


def _top_count(top: int, *, at_right: bool) -> str:
    kind, place = ("end", _WIDTH - _RIGHT) if at_right else ("", _LEFT)
    said = f"{top:,} clip{'' if top == 1 else 's'}"
    return f'<text class="{kind}" x="{place}" y="{_TOP - 5}">{said}</text>'


def _bars(
    x: _Scale, edges: NDArray[np.float64], stacks: list[NDArray[np.int64]], top: int, unit: str
) -> list[str]:
    drawn = []
    for index in range(len(edges) - 1):
        counts = [int(stack[index]) for stack in stacks]
        if not any(counts):
            continue
        left, right = x(float(edges[index])), x(float(edges[index + 1]))
        span = f"{short(edges[index])} to {short(edges[index + 1])} {unit}".strip()
        said = f"{span}: {counts[0]:,} kept, {counts[2]:,} refused for this, {counts[1]:,} for else"
        y = float(_BASE)
        drawn.append(f"<g><title>{escape(said)}</title>")
        for name, number in zip(("kept", "elsewhere", "refused"), counts, strict=True):
            if number:
                # At least a visible sliver: one clip among thousands is still there.
                height = max(number / top * (_BASE - _TOP), 1.5)
                y -= height
                drawn.append(
                    f'<rect class="{name}" x="{left + 0.5:.1f}" y="{y:.1f}" '
                    f'width="{right - left - 1:.1f}" height="{height:.1f}"/>'
                )
        drawn.append("</g>")
    return drawn


def _shade(x: _Scale, measurement: Measurement, threshold: float | None) -> str:
    if threshold is None or measurement.direction == "none":
        return ""
    line = x(threshold)
    left, right = (_LEFT, line) if measurement.direction == "at_least" else (line, _WIDTH - _RIGHT)
    return (
        f'<rect class="shade" x="{left:.1f}" y="{_TOP}" width="{max(right - left, 0):.1f}" '
        f'height="{_BASE - _TOP}"/>'
    )


def _limit(x: _Scale, measurement: Measurement, threshold: float | None) -> str:
    if threshold is None:
        return ""
    line = x(threshold)
    said = f"{_SIGNS.get(measurement.direction, '')} {short(threshold)} {measurement.unit}".strip()
    at_right = line > _WIDTH / 2
    anchor, place = ("end", line - 4) if at_right else ("", line + 4)
    return (
        f'<line class="limit" x1="{line:.1f}" x2="{line:.1f}" y1="10" y2="{_BASE}"/>'
        f'<text class="limit-label {anchor}" x="{place:.1f}" y="18">{escape(said)}</text>'
    )


def _ticks(x: _Scale, low: float, high: float) -> list[str]:
    drawn = []
    for tick in nice_ticks(low, high):
        place = x(tick)
        kind = "end" if place > _WIDTH - 24 else "" if place < 20 else "middle"
        drawn.append(
            f'<line class="axis" x1="{place:.1f}" x2="{place:.1f}" y1="{_BASE}" y2="{_BASE + 4}"/>'
            f'<text class="tick {kind}" x="{place:.1f}" y="{_BASE + 17}">{short(tick)}</text>'
        )
    return drawn
