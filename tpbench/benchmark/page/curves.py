"""Curves of quality against frame index: for every clip, and as a mean over clips."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.canonical import encoded
from tpbench.foreign import opened_inside
from tpbench.metrics.registry import MetricRow, Reduction
from tpbench.metrics.scoring.report import FRAMES_NAME

SHOWN: Final = (
    "psnr", "ssim", "lpips", "tje_d2", "delta_e", "sharpness_ratio", "face_psnr", "akd_hands",
    "akd_body",
)  # fmt: skip
"""Metrics with a curve, where the protocol has them."""
_DIGITS: Final = 5
"""Significant digits of a mean, enough for any plot."""
_MAX_ROWS: Final = 50_000_000
"""Limit of rows, five hundred hours. A small file can claim more rows than memory can hold."""
CLIP_POINTS: Final = 150
"""Most points of a clip's curve: on a small plot, one every other pixel."""
MEAN_POINTS: Final = 100
"""Most points of a mean over clips: on a plot as wide as the page, one every ten pixels."""
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_MISSING: Final = 4095
_INFINITE: Final = 4094
LEVELS: Final = 4093
"""Steps of the scale from the lowest to the highest value."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Data of the plots against frame index, as JSON values."""

    metrics: tuple[MetricRow, ...]
    window: int
    """Frames per window of the means over clips."""
    clips_per_window: tuple[int, ...]
    """Clips with scored frames in each window."""
    means: Mapping[str, Mapping[str, list[float | str | None]]]
    """By metric, then by model: mean over clips, window by window."""
    clips: Mapping[str, Mapping[str, Any]]
    """By clip: `window`, and by metric `low`, `high` and the packed curves by model."""


def make_curves(leaderboard: Leaderboard) -> Curves:
    """Read the per-frame values of every run, one model at a time.

    Every clip has the same weight in a mean; with several seeds, a clip's curve is their mean.
    """
    metrics = tuple(
        row
        for row in leaderboard.metrics
        if row.id in SHOWN and row.reduction in {"mean", "ratio"} and row.columns
    )
    first = int(leaderboard.policies.get("first_frame", 0))
    lengths = {clip.id: clip.n_frames + first for clip in leaderboard.clips}
    window = window_frames(max(lengths.values(), default=1), points=MEAN_POINTS)
    means: dict[str, dict[str, list[float | str | None]]] = {row.id: {} for row in metrics}
    of_clips: dict[str, dict[str, dict[str, NDArray[np.float64]]]] = {
        clip: {row.id: {} for row in metrics} for clip in lengths
    }
    for model in leaderboard.rows:
        seeds = [_read(run.folder, metrics) for run in model.runs]
        for metric in metrics:
            tables = {clip: _tables_of(clip, metric, seeds) for clip in lengths}
            whole = [_over_seeds(found, metric, window) for found in tables.values() if found]
            if whole and not np.isnan(mean := mean_of_curves(whole)).all():
                means[metric.id][model.id] = encoded([float(f"{v:.{_DIGITS}g}") for v in mean])
            for clip, found in tables.items():
                if found:
                    fine = window_frames(lengths[clip], points=CLIP_POINTS)
                    of_clips[clip][metric.id][model.id] = _over_seeds(found, metric, fine)
    return Curves(
        metrics=metrics,
        window=window,
        clips_per_window=_clips_per_window(lengths.values(), first, window),
        means=means,
        clips={
            clip: {
                "window": window_frames(lengths[clip], points=CLIP_POINTS),
                "curves": {name: packed_curves(found) for name, found in by_metric.items()},
            }
            for clip, by_metric in of_clips.items()
        },
    )


def packed_curves(curves: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Return the curves of all models packed on one scale: `low`, `high`, `models`."""
    finite = [curve[np.isfinite(curve)] for curve in curves.values()]
    values = np.concatenate(finite) if finite else np.empty(0)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    return {
        "low": low,
        "high": high,
        "models": {
            model: packed(curve, low, high)
            for model, curve in curves.items()
            if not np.isnan(curve).all()
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClipTable:
    first_frame: int
    values: Mapping[str, NDArray[np.float64]]


def _tables_of(
    clip: str, metric: MetricRow, seeds: Sequence[Mapping[str, _ClipTable]]
) -> list[_ClipTable]:
    """Return the per-frame tables of a clip from all seeds that measured this metric."""
    tables = [seed[clip] for seed in seeds if clip in seed]
    return [table for table in tables if set(metric.columns) <= table.values.keys()]


def _clips_per_window(lengths: Collection[int], first_frame: int, window: int) -> tuple[int, ...]:
    """Return how many clips have scored frames in each window."""
    return tuple(
        sum(first_frame < start + window and start < length for length in lengths)
        for start in range(0, max(lengths, default=0), window)
    )


def _over_seeds(
    tables: Sequence[_ClipTable], metric: MetricRow, window: int
) -> NDArray[np.float64]:
    """Return the curve of one clip."""
    curves = [
        window_values(
            [table.values[name] for name in metric.columns],
            first_frame=table.first_frame,
            window=window,
            reduction=metric.reduction,
        )
        for table in tables
    ]
    return curves[0] if len(curves) == 1 else finite_means(np.stack(curves, axis=1))


def _read(run: Path, metrics: Sequence[MetricRow]) -> dict[str, _ClipTable]:
    """Return the columns that the metrics need, by clip; empty if there is no table.

    Also empty if the table is invalid: a bad run from outside must not remove the curves of the
    others.
    """
    import pyarrow as pa

    path = run / FRAMES_NAME
    try:
        with opened_inside(run, path) as file:
            return _tables(file, metrics)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, OverflowError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        logger.warning("%s: not a table of per-frame values, no curves are shown: %s", path, reason)
        return {}


def _tables(file: BufferedReader, metrics: Sequence[MetricRow]) -> dict[str, _ClipTable]:
    from pyarrow import parquet

    wanted = {name for row in metrics for name in row.columns}
    opened = parquet.ParquetFile(file)
    if opened.metadata.num_rows > _MAX_ROWS:
        raise ValueError(f"{opened.metadata.num_rows:,} frames, more than {_MAX_ROWS:,}")
    there = set(opened.schema_arrow.names)
    frame = opened.read(columns=["clip_id", "frame", *sorted(wanted & there)]).to_pandas()
    found: dict[str, _ClipTable] = {}
    for clip, rows in frame.groupby("clip_id", observed=True, sort=False):
        ordered = rows.sort_values("frame")
        first = int(ordered["frame"].iloc[0])
        if first < 0:
            raise ValueError(f"negative frame index {first}")
        found[str(clip)] = _ClipTable(
            first_frame=first,
            values={name: ordered[name].to_numpy(np.float64) for name in wanted & there},
        )
    return found


def window_frames(n_frames: int, *, points: int) -> int:
    """Return the frames per window with which a curve has at most this many points.

    >>> [window_frames(n, points=150) for n in (101, 150, 151, 730)]
    [1, 1, 2, 5]
    """
    return max(1, -(-n_frames // points))


def window_values(
    columns: Sequence[NDArray[np.float64]],
    *,
    first_frame: int,
    window: int,
    reduction: Reduction,
) -> NDArray[np.float64]:
    """Reduce per-frame columns to one value per window of frames, starting at frame 0.

    `ratio` is the sum of the first column over the sum of the second, on frames where both are
    measured; anything else is the mean over frames and columns. The last window may be shorter.

    Args:
        columns: `(T,)` each, in order of frames; NaN: not measured.
        first_frame: the frame of their first value.
        window: frames per window.
        reduction: of the metric.

    Returns:
        `(ceil((first_frame + T) / window),)`; NaN for a window without measurements, infinite for
        a window with infinite ones only.
    """
    n_windows = -(-(first_frame + len(columns[0])) // window)
    laid = [_laid_out(column, first_frame, n_windows, window) for column in columns]
    if reduction != "ratio":
        return finite_means(np.concatenate(laid, axis=1))
    above, below = laid
    both = np.isfinite(above) & np.isfinite(below)
    sums = [np.where(both, part, 0.0).sum(axis=1) for part in (above, below)]
    values = np.full(n_windows, np.nan)
    np.divide(sums[0], sums[1], out=values, where=sums[1] != 0)
    return values


def finite_means(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the finite values of each row.

    NaN for a row without values, infinity for a row with (positive) infinities only.
    """
    finite = np.isfinite(rows)
    count = finite.sum(axis=1)
    means = np.full(len(rows), np.nan)
    np.divide(np.where(finite, rows, 0.0).sum(axis=1), count, out=means, where=count > 0)
    means[(count == 0) & np.isposinf(rows).any(axis=1)] = np.inf
    return means


def mean_of_curves(curves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the pointwise mean of curves of different lengths, over those that reach the point."""
    longest = max(map(len, curves))
    padded = np.full((longest, len(curves)), np.nan)
    for i, curve in enumerate(curves):
        padded[: len(curve), i] = curve
    return finite_means(padded)


def packed(values: NDArray[np.float64], low: float, high: float) -> str:
    """Encode a curve in two characters per value, in 4093 steps of the range `low` to `high`.

    >>> packed(np.array([0.0, 1.0, np.nan, np.inf]), 0.0, 1.0)
    'AA_9___-'
    """
    span = high - low or 1.0
    codes = np.full(len(values), _MISSING)
    finite = np.isfinite(values)
    codes[finite] = np.clip(np.rint((values[finite] - low) / span * LEVELS), 0, LEVELS)
    codes[np.isposinf(values)] = _INFINITE
    return "".join(_ALPHABET[code >> 6] + _ALPHABET[code & 63] for code in codes.tolist())


def _laid_out(
    column: NDArray[np.float64], first_frame: int, n_windows: int, window: int
) -> NDArray[np.float64]:
    """Return (n_windows, window), NaN where the column has no frame."""
    laid = np.full(n_windows * window, np.nan)
    laid[first_frame : first_frame + len(column)] = column
    return laid.reshape(n_windows, window)
