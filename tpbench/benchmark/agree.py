"""Whether scores that were computed again are those that were written, and which digits are not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.files import require_regular
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.meters.table import METERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from tpbench.metrics.scoring.report import ScoreReport

PIXEL_TOLERANCE: Final = 1e-9
"""Of what is computed from pixels alone, relative to the value, or absolute below 1."""

NETWORK_TOLERANCE: Final = 1e-5
"""Of what a network or a detector has a part in: other processors round otherwise."""

_KEYS: Final = ["clip_id", "frame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreements:
    """What did not come out again."""

    scores: tuple[str, ...]
    """One line each."""

    frames: tuple[str, ...]
    """One line for each clip."""

    not_measured: tuple[str, ...]
    """Metrics that have a value and can't be measured here."""

    n_compared: int
    """Values that agree."""

    intervals_compared: bool
    """Whether the intervals were: not if they were made by another method than today's."""


def disagreements(
    written: tuple[ScoreReport, Path], again: tuple[ScoreReport, Path]
) -> Disagreements:
    """Compare two scorings of the same clips.

    Args:
        written: scores and the file of frames that a run has.
        again: those that come out now.
    """
    count = _Count()
    lacking = tuple(
        name
        for name, score in written[0].metrics.items()
        if score.status == "measured" and again[0].metrics[name].status != "measured"
    )
    scores = [*_of_sets(written[0], again[0], lacking, count)]
    scores += _of_clips(written[0], again[0], lacking, count)
    return Disagreements(
        scores=tuple(scores),
        frames=tuple(_of_frames(written[1], again[1], count)),
        not_measured=lacking,
        n_compared=count.agreeing,
        intervals_compared=_have_one_method(written[0], again[0]),
    )


@dataclass(slots=True)
class _Count:
    agreeing: int = 0


def _have_one_method(written: ScoreReport, again: ScoreReport) -> bool:
    return written.statistics == again.statistics


def _of_sets(
    written: ScoreReport, again: ScoreReport, lacking: tuple[str, ...], count: _Count
) -> Iterator[str]:
    ends = ("low", "high") if _have_one_method(written, again) else ()
    for name, old in written.metrics.items():
        new = again.metrics[name]
        if name in lacking or old.status != "measured":
            continue
        for what in ("value", *ends):
            before, after = _plain(getattr(old, what)), _plain(getattr(new, what))
            if _agree(before, after, _tolerance(name)):
                count.agreeing += 1
            else:
                which = name if what == "value" else f"{name}, {what} end of the interval"
                yield f"{which}: {_difference(before, after)}"


def _of_clips(
    written: ScoreReport, again: ScoreReport, lacking: tuple[str, ...], count: _Count
) -> Iterator[str]:
    """Yield a line for each metric: how many clips differ, and the first of them."""
    common = sorted(written.clips.keys() & again.clips.keys())
    for name in (name for name in written.metrics if name not in lacking):
        differing = []
        for clip_id in common:
            before = _plain(written.clips[clip_id].values.get(name))
            after = _plain(again.clips[clip_id].values.get(name))
            if _agree(before, after, _tolerance(name)):
                count.agreeing += 1
            else:
                differing.append(f"{clip_id}: {_difference(before, after)}")
        if differing:
            more = f"; and {len(differing) - 1} more clips" if len(differing) > 1 else ""
            yield f"{name} of {differing[0]}{more}"


def _of_frames(written: Path, again: Path, count: _Count) -> Iterator[str]:
    import pandas as pd

    new = pd.read_parquet(again)
    try:
        require_regular(written)
        old = pd.read_parquet(written)
    except Exception as error:  # noqa: BLE001 - pyarrow raises a dozen kinds over bad bytes
        yield f"can't be read ({str(error).splitlines()[0]})"
        return
    if missing := sorted(set(new.columns) - set(old.columns)):
        yield f"lacks {', '.join(missing)}"
        return
    of_clips = dict(list(old.groupby("clip_id", sort=True, observed=True)))
    for clip_id, now in new.groupby("clip_id", sort=True, observed=True):
        then = of_clips.get(clip_id)
        if then is None or then["frame"].tolist() != now["frame"].tolist():
            yield f"{clip_id}: has other frames than come out"
        else:
            yield from _of_frames_of_clip(str(clip_id), then, now, count)


def _of_frames_of_clip(
    clip_id: str, then: pd.DataFrame, now: pd.DataFrame, count: _Count
) -> Iterator[str]:
    differing: dict[str, int] = {}
    for name in now.columns.difference(_KEYS):
        apart = _apart(then[name].to_numpy(float), now[name].to_numpy(float), _of_column(name))
        count.agreeing += int((~apart).sum())
        if apart.any():
            differing[str(name)] = int(then["frame"].iloc[int(apart.argmax())])
    if differing:
        first = min(differing.values())
        yield f"{clip_id}: {', '.join(differing)} differ, the first time in frame {first}"


def _apart(
    before: NDArray[np.float64], after: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):
        scale = np.maximum(1.0, np.maximum(np.abs(before), np.abs(after)))
        close = np.abs(before - after) <= tolerance * scale
    finite = np.isfinite(before) & np.isfinite(after)
    apart: NDArray[np.bool_] = ~(same | (finite & close))
    return apart


def _agree(before: float, after: float, tolerance: float) -> bool:
    return not _apart(np.array([before]), np.array([after]), tolerance)[0]


def _difference(before: float, after: float) -> str:
    """Return both in full, and how many of their digits agree."""
    said = f"{_shown(before)} was written, {_shown(after)} comes out"
    if not (math.isfinite(before) and math.isfinite(after)):
        return said
    gap = abs(before - after) / max(abs(before), abs(after))
    return f"{said} (they agree in {max(0, math.floor(-math.log10(gap)))} digits)"


def _shown(value: float) -> str:
    return "nothing" if math.isnan(value) else repr(value)


def _plain(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _tolerance(metric_id: str) -> float:
    row = METRICS[metric_id]
    return NETWORK_TOLERANCE if row.weights or row.needs else PIXEL_TOLERANCE


def _of_column(column: str) -> float:
    of_networks = any(
        column in row.columns and (row.weights or row.needs_pose) for row in METERS.values()
    )
    return NETWORK_TOLERANCE if of_networks else PIXEL_TOLERANCE
