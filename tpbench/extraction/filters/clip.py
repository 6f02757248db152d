"""Filters on the span as a whole: its size and length, the camera, the person's identity."""

from __future__ import annotations

from typing import Final

import numpy as np

from tpbench.dataset import Measurement
from tpbench.extraction.filters.base import Filter, Unseen, lowest_percentile
from tpbench.extraction.measures import ClipEvidence, Evidence, finite_percentile

KNOWN_SHARE: Final = 0.5
"""A verdict on the camera needs this share of frames. Before a plain wall, the few frames with
corners show those of moving objects."""


def camera_speed(seen: ClipEvidence) -> float:
    """Return the mean background speed in image diagonals per second.

    NaN if fewer than half of the frames give an estimate, for example before a plain wall.
    """
    shifts = seen.camera_shift_share
    if not shifts.size or np.isfinite(shifts).mean() < KNOWN_SHARE:
        return float("nan")
    return float(np.nanmean(shifts)) * float(seen.fps)


def slowest_camera(seen: ClipEvidence, unseen: Unseen) -> float:
    """Return the camera speed if it stands still from here on.

    NaN while too few frames that follow may give an estimate for a verdict.
    """
    shifts = seen.camera_shift_share
    known = int(np.isfinite(shifts).sum())
    if known < KNOWN_SHARE * (shifts.size + unseen.frames) or not known:
        return float("nan")
    return float(np.nansum(shifts)) / (known + unseen.frames) * float(seen.fps)


SCREENING: Final[tuple[Filter[Evidence], ...]] = (
    Filter(
        measurement=Measurement(
            code="source.too_small",
            name="source_short_side_px",
            title="Shorter side of the source",
            unit="px",
            direction="at_least",
            meaning="The shorter side of the source picture.",
        ),
        measure=lambda seen: float(min(seen.width_px, seen.height_px)),
        best_case=lambda seen, _: float(min(seen.width_px, seen.height_px)),
    ),
    Filter(
        measurement=Measurement(
            code="clip.too_short",
            name="length_frames",
            title="Length",
            unit="frames",
            direction="at_least",
            meaning="The number of frames of the span.",
        ),
        measure=lambda seen: float(seen.n_frames),
        best_case=lambda seen, unseen: float(seen.n_frames + unseen.frames),
    ),
)

WHOLE: Final[tuple[Filter[ClipEvidence], ...]] = (
    Filter(
        measurement=Measurement(
            code="motion.camera",
            name="camera_speed_share",
            title="Camera speed",
            unit="diagonals/s",
            direction="at_most",
            meaning="How fast the background moves.",
        ),
        measure=camera_speed,
        per_frame=lambda seen: seen.camera_shift_share * float(seen.fps),
        best_case=slowest_camera,
    ),
    Filter(
        measurement=Measurement(
            code="person.changed",
            name="appearance_change",
            title="Change of appearance",
            direction="at_most",
            meaning="How far the person's looks drift away from the start of the track.",
        ),
        measure=lambda seen: finite_percentile(seen.appearance_change, 95),
        per_frame=lambda seen: seen.appearance_change,
        best_case=lambda seen, unseen: lowest_percentile(seen.appearance_change, 95, unseen.frames),
    ),
)
