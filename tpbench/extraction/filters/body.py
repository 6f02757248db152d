"""Filters on the skeleton of the upper body and on the hands."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset import Measurement
from tpbench.extraction.filters.base import Filter, best_share, highest_percentile
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


def upper_body_seen(seen: ClipEvidence) -> NDArray[np.bool_]:
    """Return in which frames shoulders and elbows are seen and inside the image: (T,)."""
    points = seen.pose.keypoints[:, _FRAMED]
    size = np.array([seen.width_px, seen.height_px])
    with np.errstate(invalid="ignore"):
        inside = ((points >= 0) & (points <= size - 1)).all(axis=2)
    visible = seen.pose.scores[:, _FRAMED] > VISIBLE_SCORE
    return np.asarray(np.all(inside & visible, axis=1))


def skeleton_confidence(seen: ClipEvidence) -> NDArray[np.floating]:
    """Return the mean score of eyes, nose and arm joints of each frame: (T,) 0..1."""
    return np.asarray(seen.pose.scores[:, _HEAD_AND_ARMS].mean(axis=1))


def jitter(seen: ClipEvidence) -> float:
    """Return the median acceleration of shoulders and elbows in shoulder widths per frame squared.

    The acceleration of a joint is |p[t+1] - 2 p[t] + p[t-1]|, the shoulder width is the median of
    the span. NaN for fewer than three frames, or if both shoulders are never seen together.
    """
    steps, width = _accelerations_px(seen)
    return finite_median(steps) / width if width > 0 else float("nan")


def _accelerations_px(seen: ClipEvidence) -> tuple[NDArray[np.float64], float]:
    """Return the accelerations, (T-2, 4) px per frame squared, and the shoulder width in px."""
    points = seen.pose.keypoints[:, _FRAMED].astype(np.float64)
    points[seen.pose.scores[:, _FRAMED] <= VISIBLE_SCORE] = np.nan
    width = finite_median(np.linalg.norm(points[:, 0] - points[:, 1], axis=1))
    steps = np.linalg.norm(points[2:] - 2 * points[1:-1] + points[:-2], axis=2)
    return steps, width


def jitter_per_frame(seen: ClipEvidence) -> NDArray[np.float64]:
    """Return the largest acceleration of each frame, (T-2,), in the unit of `jitter`."""
    steps, width = _accelerations_px(seen)
    largest: NDArray[np.float64] = np.fmax.reduce(steps, axis=1)
    return largest / width if width > 0 else np.full(len(steps), np.nan)


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
        measure=lambda seen: share(upper_body_seen(seen)),
        per_frame=upper_body_seen,
    ),
    Filter(
        measurement=Measurement(
            code="skeleton.low_confidence",
            name="skeleton_confidence",
            title="Upper-body skeleton confidence",
            direction="at_least",
            meaning="How sure the skeleton detector is of the upper body.",
        ),
        measure=lambda seen: finite_median(skeleton_confidence(seen)),
        per_frame=skeleton_confidence,
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
        per_frame=jitter_per_frame,
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
        per_frame=lambda seen: np.any(seen.hand_scores > 0, axis=1),
        best_case=lambda seen, unseen: best_share(
            np.any(seen.hand_scores > 0, axis=1), unseen.frames
        ),
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
        per_frame=lambda seen: np.all(seen.hand_scores > 0, axis=1),
        best_case=lambda seen, unseen: best_share(
            np.all(seen.hand_scores > 0, axis=1), unseen.frames
        ),
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
        per_frame=lambda seen: np.fmin.reduce(
            np.where(seen.hand_scores > 0, seen.hand_scores, np.nan), axis=1
        ),
        best_case=lambda seen, unseen: highest_percentile(
            seen.hand_scores[seen.hand_scores > 0], 10, 2 * unseen.frames
        ),
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
        per_frame=lambda seen: np.fmin.reduce(seen.hand_sharpness, axis=1),
        best_case=lambda seen, unseen: highest_percentile(
            seen.hand_sharpness, 50, 2 * unseen.frames
        ),
    ),
)
