"""From a clip's per-frame columns to one value per metric."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.metrics.curves import SHORT_CLIP_FRAMES, end_minus_start, finite_mean
from tpbench.metrics.failure import lasting
from tpbench.metrics.trend import theil_sen_per_100_frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tpbench.metrics.failure import Lasting
    from tpbench.metrics.protocols import Protocol
    from tpbench.metrics.registry import MetricRow

_OF_LONG_CLIPS: Final = frozenset({"slope", "end_minus_start", "lasting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipValue:
    """One metric of one clip."""

    value: float
    """NaN where there is none."""

    blank: str | None = None
    """Why there is none; None if there is."""

    n_values: int = 0
    """Of means: how many values of frames (or terms between frames) it is the mean of."""

    too_short: bool = False
    """Whether the clip is left out of this metric: it speaks of more than 100 frames."""


def clip_value(
    row: MetricRow,
    columns: Mapping[str, NDArray[np.float64]],
    protocol: Protocol,
    *,
    first_frame: int = 0,
) -> ClipValue:
    """Reduce a clip's columns as the metric says (see `registry.Reduction`).

    Args:
        row: the metric; not one over all clips ("set").
        columns: by name, (n_frames,) each; more than are needed does no harm.
        protocol: has the levels of failure.
        first_frame: frames of the clip before the first that was scored; a clip is as long as it
            is, whether or not frame 0 counts.

    Raises:
        KeyError: a column is missing.
    """
    found = _clip_value(row, columns, protocol, first_frame)
    if found.too_short:
        return replace(found, blank=f"the clip has {SHORT_CLIP_FRAMES} frames or fewer")
    if not np.isnan(found.value):
        return found
    return replace(found, blank=_why_blank(row, [columns[name] for name in row.columns]))


def _clip_value(
    row: MetricRow,
    columns: Mapping[str, NDArray[np.float64]],
    protocol: Protocol,
    first_frame: int,
) -> ClipValue:
    curves = [columns[name] for name in row.columns]
    if row.reduction in _OF_LONG_CLIPS and first_frame + curves[0].size <= SHORT_CLIP_FRAMES:
        return ClipValue(value=float("nan"), too_short=True)
    if row.reduction == "mean":
        values = np.concatenate(curves)
        return ClipValue(value=finite_mean(values), n_values=int(np.isfinite(values).sum()))
    if row.reduction == "slope":
        return ClipValue(value=theil_sen_per_100_frames(_curve(curves)))
    if row.reduction == "lasting":
        found = lasting_of(row, columns, protocol)
        return ClipValue(value=_lasting_share(found, curves[0].size))
    return ClipValue(value=_reduced(row, curves))


def _reduced(row: MetricRow, curves: Sequence[NDArray[np.float64]]) -> float:
    value = float("nan")
    match row.reduction:
        case "ratio":
            value = _ratio(*curves)
        case "difference":
            value = finite_mean(curves[0]) - finite_mean(curves[1])
        case "end_minus_start":
            value = end_minus_start(_curve(curves))
        case other:
            msg = f"'{row.id}' is no value of one clip: {other}"
            raise ValueError(msg)
    return value


def _why_blank(row: MetricRow, curves: Sequence[NDArray[np.float64]]) -> str:
    if curves[0].size <= row.lag_frames:
        return f"no two of the frames scored are {row.lag_frames} apart"
    n_measured = 0
    if row.reduction in {"slope", "end_minus_start"}:
        n_measured = int(np.isfinite(_curve(curves)).sum())
    if n_measured and row.reduction == "slope":
        return "fewer than two frames have a value"
    if n_measured:
        return "no frame at its start, or none at its end, has a value"
    return row.blank or "no frame has a value"


def _curve(curves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the only curve, or the ratio of two; NaN where the second is 0."""
    if len(curves) == 1:
        return curves[0]
    over, under = curves
    ratio = np.full(over.size, np.nan)
    np.divide(over, under, out=ratio, where=under != 0)
    return ratio


def _ratio(over: NDArray[np.float64], under: NDArray[np.float64]) -> float:
    measured = ~(np.isnan(over) | np.isnan(under))
    total = float(under[measured].sum())
    return float(over[measured].sum()) / total if total else float("nan")


def lasting_of(
    row: MetricRow, columns: Mapping[str, NDArray[np.float64]], protocol: Protocol
) -> Lasting | None:
    """Return how long a clip lasts before it fails; None where nothing was measured.

    Args:
        row: a `lasting_*` share, or a restricted mean of one.
        columns: as for `clip_value`.
        protocol: has the level, and how long a failure lasts.
    """
    return lasting(
        _curve([columns[name] for name in row.columns]),
        protocol.levels[row.failure_of or row.id],
        hold_frames=protocol.hold_frames,
        vote_frames=protocol.vote_frames,
    )


def _lasting_share(found: Lasting | None, n_frames: int) -> float:
    if found is None:
        return float("nan")
    return found.frames / n_frames if found.failed else 1.0
