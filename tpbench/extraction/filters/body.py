"""Filters on the skeleton of the upper body and on the hands."""

from __future__ import annotations

from typing import Final

import numpy as np

from tpbench.dataset import Measurement
from tpbench.extraction.filters.base import Filter
from tpbench.extraction.measures import ClipEvidence, finite_median, finite_percentile, share
from tpbench.extraction.steadying import switches
from tpbench.wholebody import (
    LEFT_ELBOW,
    LEFT_EYE,
    LEFT_SHOULDER,
    NOSE,
    RIGHT_ELBOW,
    RIGHT_EYE,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    VISIBLE_SCORE,
)

_FRAMED: Final = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW]
_HEAD_AND_ARMS: Final = [NOSE, LEFT_EYE, RIGHT_EYE, *range(LEFT_SHOULDER, RIGHT_WRIST + 1)]


def upper_body_share(seen: ClipEvidence) -> float:
    """Return the share of frames with shoulders and elbows seen and inside the image, 0..1."""
    points = seen.pose.keypoints[:, _FRAMED]
    size = np.array([seen.width_px, seen.height_px])
    with np.errstate(invalid="ignore"):
        inside = ((points >= 0) & (points <= size - 1)).all(axis=2)
    visible = seen.pose.scores[:, _FRAMED] > VISIBLE_SCORE
    return share(np.all(inside & visible, axis=1))


def skeleton_confidence(seen: ClipEvidence) -> float:
    """Return the median over frames of the mean score of eyes, nose and arm joints, 0..1."""
    return finite_median(seen.pose.scores[:, _HEAD_AND_ARMS].mean(axis=1))


def jitter(seen: ClipEvidence) -> float:
    """Return the median acceleration of shoulders and elbows in shoulder widths per frame squared.

    The acceleration of a joint is |p[t+1] - 2 p[t] + p[t-1]|, the shoulder width is the median of
    the span. NaN for fewer than three frames, or if both shoulders are never seen together.
    """
    points = seen.pose.keypoints[:, _FRAMED].astype(np.float64)
    points[seen.pose.scores[:, _FRAMED] <= VISIBLE_SCORE] = np.nan
    width = finite_median(np.linalg.norm(points[:, 0] - points[:, 1], axis=1))
    steps = np.linalg.norm(points[2:] - 2 * points[1:-1] + points[:-2], axis=2)
    return finite_median(steps) / width if width > 0 else float("nan")


def switch_rate_hz(seen: ClipEvidence) -> float:
    """Return the switches per second of the worst part of the drawing; NaN without frames."""
    if not seen.n_frames:
        return float("nan")
    return max(switches(seen.pose).values()) / seen.duration_s


WHOLE: Final[tuple[Filter[ClipEvidence], ...]] = (
    Filter(
        measurement=Measurement(
            code="framing.not_upper_body",
            name="upper_body_share",
            title="Frames with shoulders and elbows",
            direction="at_least",
            meaning="The share of frames in which shoulders and elbows are seen inside the "
            "picture.",
        ),
        measure=upper_body_share,
    ),
    Filter(
        measurement=Measurement(
            code="skeleton.low_confidence",
            name="skeleton_confidence",
            title="Upper-body skeleton confidence",
            direction="at_least",
            meaning="How sure the skeleton detector is of the upper body.",
        ),
        measure=skeleton_confidence,
    ),
    Filter(
        measurement=Measurement(
            code="skeleton.jitter",
            name="skeleton_jitter_share",
            title="Skeleton jitter",
            unit="shoulder widths",
            direction="at_most",
            meaning="How much shoulders and elbows tremble from frame to frame.",
        ),
        measure=jitter,
    ),
    Filter(
        measurement=Measurement(
            code="skeleton.blinking",
            name="switch_rate_hz",
            title="Switches of the worst line",
            unit="per s",
            direction="at_most",
            meaning="How often the line of the pose drawing that switches most comes or goes.",
        ),
        measure=switch_rate_hz,
    ),
    Filter(
        measurement=Measurement(
            code="hands.hidden",
            name="one_hand_share",
            title="Frames with a hand",
            direction="at_least",
            meaning="The share of frames in which at least one hand is seen.",
        ),
        measure=lambda seen: share(np.any(seen.hand_scores > 0, axis=1)),
    ),
    Filter(
        measurement=Measurement(
            code="hands.rarely_both",
            name="both_hands_share",
            title="Frames with both hands",
            direction="at_least",
            meaning="The share of frames in which both hands are seen.",
        ),
        measure=lambda seen: share(np.all(seen.hand_scores > 0, axis=1)),
    ),
    Filter(
        measurement=Measurement(
            code="hands.low_confidence",
            name="hand_confidence",
            title="Hand confidence",
            direction="at_least",
            meaning="How sure the hand detector is in its worst tenth.",
        ),
        measure=lambda seen: finite_percentile(seen.hand_scores[seen.hand_scores > 0], 10),
    ),
    Filter(
        measurement=Measurement(
            code="hands.blurred",
            name="hand_sharpness",
            title="Hand sharpness",
            direction="at_least",
            meaning="How sharp the hands are.",
        ),
        measure=lambda seen: finite_median(seen.hand_sharpness),
    ),
)
