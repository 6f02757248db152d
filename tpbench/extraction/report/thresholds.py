"""What other thresholds would keep, from the measurements that are stored: no video is read again.

Each filter gets a dial of round thresholds around its own. Of each row, the page needs no more than
between which two of them its value lies: one byte for a row and a filter.

    b steps of the dial are at or below the value (filters that ask for at least the threshold), or
    b steps are below it (at most): the row passes step s if s < b, or if s >= b.

A row that an early filter rejected was not measured by later ones. Where another threshold would
let it pass the early filter, what becomes of it is not known, and the page counts it apart.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset import Measurement
from tpbench.dataset.facts import Candidates, Mask

MAX_ROWS: Final = 10_000
"""Most rows in the page: a quarter of a megabyte with all filters."""
_MAX_STEPS: Final = 200
_WANTED_STEPS: Final = 80
UNSEEN: Final = 254
"""The filter was not applied to the row."""
NOTHING: Final = 255
"""The filter found nothing to measure in the row, which passes any threshold."""
_MAX_DECISECONDS: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dial:
    """One filter, and the thresholds that the page offers for it."""

    measurement: Measurement
    steps: tuple[float, ...]
    """Ascending; the present threshold is one of them."""
    at: int
    """Index of the present threshold."""
    places: NDArray[np.uint8]
    """(N,) where the value of each row lies: see the module, or `UNSEEN`, `NOTHING`."""

    def passes(self, step: int) -> Mask:
        """Return which rows pass a step, those that can't fail it included: (N,)."""
        free = self.places >= UNSEEN
        if self.measurement.direction == "at_least":
            return free | (step < self.places)
        return free | (step >= self.places)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dials:
    """All filters that were applied, over the rows that other thresholds could bring in or out."""

    dials: tuple[Dial, ...]
    seconds: NDArray[np.float64]
    """(N,) lengths."""
    n_rows: int
    """Rows that these are a sample of; N if they are all."""
    n_fixed: int
    """Candidates that no threshold brings back: not readable, duplicates, dissolves."""
    n_kept: int
    """Clips that are kept now, by the manifest."""

    @property
    def scale(self) -> float:
        """Rows that each row stands for: 1 unless they are a sample."""
        return self.n_rows / len(self.seconds) if len(self.seconds) else 1.0

    def outcome(self, steps: Sequence[int]) -> tuple[Mask, Mask]:
        """Return which rows stay, and which would have to be looked at further: (N,) each."""
        passing = np.ones(len(self.seconds), dtype=bool)
        unseen = np.zeros(len(self.seconds), dtype=bool)
        for dial, step in zip(self.dials, steps, strict=True):
            passing &= dial.passes(step)
            unseen |= dial.places == UNSEEN
        return passing & ~unseen, passing & unseen

    def to_json(self) -> str:
        """Return the data of the page's script; it can stand in HTML."""
        tenths = np.minimum(np.round(self.seconds * 10), _MAX_DECISECONDS).astype("<u2")
        content = {
            "scale": self.scale,
            "deciseconds": _base64(tenths),
            "dials": [_dial_json(dial) for dial in self.dials],
        }
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _dial_json(dial: Dial) -> dict[str, Any]:
    return {
        "code": dial.measurement.code,
        "unit": dial.measurement.unit,
        "least": dial.measurement.direction == "at_least",
        "steps": dial.steps,
        "at": dial.at,
        "rows": _base64(dial.places),
    }


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def dials_of(candidates: Candidates, measurements: Sequence[Measurement]) -> Dials:
    """Build the dials of a dataset.

    A filter has one if it was applied with one threshold throughout. Rows are those whose outcome
    follows from such filters alone; of more than `MAX_ROWS`, some are taken, evenly by clip id.
    """
    limits = {item.code: _one_limit(candidates, item) for item in measurements if item.code}
    applied = [item for item in measurements if limits.get(item.code) is not None]
    movable = _movable(candidates, applied)
    rows = np.flatnonzero(movable)
    n_rows = rows.size
    if n_rows > MAX_ROWS:
        rows = rows[(2 * np.arange(MAX_ROWS) + 1) * n_rows // (2 * MAX_ROWS)]
    dials = []
    for item in applied:
        values = candidates.values(item.name)
        threshold = limits[item.code]
        assert threshold is not None  # noqa: S101 - by the choice of `applied`
        steps, at = steps_around(values[np.isfinite(values)], threshold)
        # What was kept without being judged by a filter, by an earlier version, stays.
        judged = np.isfinite(candidates.limits(item.name)[rows]) | candidates.kept[rows]
        places = _places(values[rows], judged, steps, item)
        dials.append(Dial(measurement=item, steps=steps, at=at, places=places))
    return Dials(
        dials=tuple(dials),
        seconds=candidates.seconds[rows],
        n_rows=n_rows,
        n_fixed=len(candidates) - n_rows,
        n_kept=int(candidates.kept.sum()),
    )


def _one_limit(candidates: Candidates, item: Measurement) -> float | None:
    known = np.unique(candidates.limits(item.name))
    known = known[np.isfinite(known)]
    return float(known[0]) if known.size == 1 and item.direction != "none" else None


def _movable(candidates: Candidates, applied: Sequence[Measurement]) -> Mask:
    """Return which rows are kept or rejected by these filters alone, with their numbers: (N,)."""
    by_code = {item.code: item for item in applied}
    movable = candidates.kept | candidates.is_status("rejected")
    for code, rows in candidates.codes.items():
        item = by_code.get(code)
        explained = False if item is None else np.isfinite(candidates.values(item.name))
        movable &= ~rows | explained
    return movable


def _places(
    values: NDArray[np.float64], judged: Mask, steps: Sequence[float], item: Measurement
) -> NDArray[np.uint8]:
    side = "right" if item.direction == "at_least" else "left"
    places = np.searchsorted(np.asarray(steps), values, side=side)  # type: ignore[call-overload]
    places = np.where(np.isfinite(values), places, NOTHING)
    return np.where(judged, places, UNSEEN).astype(np.uint8)


def steps_around(values: NDArray[np.float64], threshold: float) -> tuple[tuple[float, ...], int]:
    """Return round thresholds over the middle 99 % of the values, and the index of the present one.

    They lie a round number (1, 2 or 5 times a power of ten) apart, counted from the present
    threshold, which is one of them.
    """
    low, high = np.quantile(values, (0.005, 0.995)).tolist() if values.size else (threshold,) * 2
    low, high = min(low, threshold), max(high, threshold)
    width = _round_up((high - low) / _WANTED_STEPS or abs(threshold) * 0.05 or 0.05)
    below = min(math.ceil((threshold - low) / width) + 1, _MAX_STEPS // 2)
    above = min(math.ceil((high - threshold) / width) + 1, _MAX_STEPS // 2)
    digits = max(0, -math.floor(math.log10(width)), _digits(threshold))
    offsets = [at for at in range(-below, above + 1) if low < 0 or threshold + width * at >= 0]
    steps = [round(threshold + width * at, digits) if at else threshold for at in offsets]
    return tuple(steps), offsets.index(0)


def _round_up(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= width * 0.999)


def _digits(value: float) -> int:
    """Return the decimals of a number as it is written, at most nine."""
    return next((digits for digits in range(9) if round(value, digits) == value), 9)
