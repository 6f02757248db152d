"""Whether the generated person takes the real one's pose: both skeletons found by one detector.

Of the points that the real frame shows ("expected"), those that the generated frame shows too are
"found", the others "missing". Then, over all frames,

    AKD          = sum of |generated - real| over found points / found        (px, shoulder widths)
    missing rate = missing / expected
    PCK          = found points with |generated - real| <= alpha L / expected

AKD and missing rate are those of Monkey-Net (Siarohin et al., CVPR 2019). AKD knows only of found
points, so losing a bad hand lowers it: it is never to be read without the missing rate. PCK counts
a missing point as wrong, so losing a point never helps. PCK is Yang & Ramanan's (PAMI 2013), L the
longer side of the box around the part's points in the real frame, as in MMPose's `PCKAccuracy`
with `norm_item="bbox"`, at its customary alphas 0.1 (body), 0.2 (each hand by its own box) and 0.05
(face: about 0.08 of the distance of the outer eye corners, where 300-W says that a fit has failed).

Only the real frame decides what is expected, and by what length it is measured. Points that only
the generated frame shows count for nothing: they say as much about the detector as about the
generator. Body means nose, eyes, ears, shoulders, elbows, wrists and hips; knees, ankles and feet
are below the upper-body crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.wholebody import (
    FACE,
    LEFT_HAND,
    LEFT_SHOULDER,
    NUM_KEYPOINTS,
    RIGHT_HAND,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    VISIBLE_SCORE,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORE_FLOOR: Final = VISIBLE_SCORE
"""A point counts as seen above this score: what is drawn for a generator is what it must follow."""

MIN_SHOULDER_WIDTH_PX: Final = 8.0
"""Shoulders nearer than this are one behind the other: a width of a few px would make any error
huge."""

UPPER_BODY: Final = slice(0, RIGHT_HIP + 1)
"""The 13 points that stand for the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """How a run of points is judged."""

    points: slice

    alpha: float
    """A point is correct within this share of the longer side of the real points' box."""

    min_seen: int
    """With fewer points in the real frame nothing is expected: the box says nothing of the size."""


# Half of the points of hands and face, as for their boxes; of the body the five of the head do.
_BODY: Final = _Measure(points=UPPER_BODY, alpha=0.1, min_seen=5)
_HANDS: Final = tuple(
    _Measure(points=hand, alpha=0.2, min_seen=11) for hand in (LEFT_HAND, RIGHT_HAND)
)
_FACE: Final = _Measure(points=FACE, alpha=0.05, min_seen=34)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatistics:
    """Sums over the points of one part, in one frame or in many."""

    error_px: float = 0.0
    """Sum of distances over the found points, px."""

    found: int = 0
    """Expected points that the generated frame shows too."""

    error_sw: float = 0.0
    """Sum of distances over the real frame's shoulder width, over `found_sw` points."""

    found_sw: int = 0
    """Found points of frames whose real shoulder width is known."""

    correct: int = 0
    """Found points that are near enough for PCK."""

    expected: int = 0
    """Points that the real frame shows."""

    missing: int = 0
    """Expected points that the generated frame doesn't show: `expected - found`."""

    def __add__(self, other: PartStatistics) -> PartStatistics:
        """Pool the points of both."""
        return PartStatistics(
            error_px=self.error_px + other.error_px,
            found=self.found + other.found,
            error_sw=self.error_sw + other.error_sw,
            found_sw=self.found_sw + other.found_sw,
            correct=self.correct + other.correct,
            expected=self.expected + other.expected,
            missing=self.missing + other.missing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseStatistics:
    """Sums over the points of each part, in one frame or in many."""

    body: PartStatistics = PartStatistics()
    """13 points: head, shoulders, arms, hips."""

    hands: PartStatistics = PartStatistics()
    """2 x 21 points."""

    face: PartStatistics = PartStatistics()
    """68 points."""


def seen_points(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    width_px: int,
    height_px: int,
) -> NDArray[np.bool_]:
    """Say which points of one frame are seen: score above `SCORE_FLOOR`, and in the picture.

    Some detectors guess points beyond the edge, and say that they are sure. No picture shows them.

    Args:
        keypoints: (133, 2) px; NaN where not found.
        scores: (133,).
        width_px: width of the picture.
        height_px: its height.

    Returns:
        (133,) bool.

    Raises:
        ValueError: other shapes.
    """
    if keypoints.shape != (NUM_KEYPOINTS, 2) or scores.shape != (NUM_KEYPOINTS,):
        message = (
            f"a pose of one frame is ({NUM_KEYPOINTS}, 2) and ({NUM_KEYPOINTS},); "
            f"this one is {keypoints.shape} and {scores.shape}"
        )
        raise ValueError(message)
    # A pixel's area reaches half a pixel around its centre. NaN is neither above nor inside.
    high = np.array([width_px, height_px]) - 0.5
    inside = ((keypoints >= -0.5) & (keypoints <= high)).all(axis=1)
    return np.asarray(inside & (scores > SCORE_FLOOR))


def shoulder_width_px(keypoints: NDArray[np.floating], seen: NDArray[np.bool_]) -> float | None:
    """Return the distance of both shoulders.

    Args:
        keypoints: (133, 2) px.
        seen: (133,), see `seen_points`.

    Returns:
        px, above `MIN_SHOULDER_WIDTH_PX`; None where a shoulder is not seen or they are nearer.
    """
    shoulders = [LEFT_SHOULDER, RIGHT_SHOULDER]
    if not seen[shoulders].all():
        return None
    left, right = keypoints[shoulders].astype(np.float64)
    width_px = math.dist(left, right)
    return width_px if width_px > MIN_SHOULDER_WIDTH_PX else None


def pose_statistics(
    real_keypoints: NDArray[np.floating],
    real_scores: NDArray[np.floating],
    generated_keypoints: NDArray[np.floating],
    generated_scores: NDArray[np.floating],
    *,
    width_px: int,
    height_px: int,
) -> PoseStatistics:
    """Compare the poses of one pair of frames; the formulas are on top.

    Expected are the seen points of the real frame (`seen_points`), unless the part shows too little
    to be measured by: fewer than 5 points of the body, 11 of a hand, 34 of the face. A frame whose
    real shoulder width is unknown (`shoulder_width_px`) adds nothing to `error_sw` and `found_sw`;
    everything else it counts in.

    Both poses should come from one detector, at work on the two pictures in the same way: against
    a skeleton that was found in another crop, even the real video would not score 0.

    Args:
        real_keypoints: (133, 2) px of the picture; NaN where not found.
        real_scores: (133,); 0 everywhere where nobody was found.
        generated_keypoints: as the real ones.
        generated_scores: as the real ones.
        width_px: width of both pictures.
        height_px: their height.

    Raises:
        ValueError: other shapes.
    """
    expected = seen_points(real_keypoints, real_scores, width_px, height_px)
    found = expected & seen_points(generated_keypoints, generated_scores, width_px, height_px)
    sw_px = shoulder_width_px(real_keypoints, expected)
    real = real_keypoints.astype(np.float64)
    generated = generated_keypoints.astype(np.float64)
    errors_px = np.full(NUM_KEYPOINTS, np.nan)
    errors_px[found] = np.hypot(*(generated[found] - real[found]).T)

    def part(measure: _Measure) -> PartStatistics:
        return _part_statistics(
            real[measure.points],
            expected[measure.points],
            found[measure.points],
            errors_px[measure.points],
            measure=measure,
            sw_px=sw_px,
        )

    left, right = (part(hand) for hand in _HANDS)
    return PoseStatistics(body=part(_BODY), hands=left + right, face=part(_FACE))


def _part_statistics(
    real: NDArray[np.float64],
    expected: NDArray[np.bool_],
    found: NDArray[np.bool_],
    errors_px: NDArray[np.float64],
    *,
    measure: _Measure,
    sw_px: float | None,
) -> PartStatistics:
    """Sum up k points: (k, 2), (k,), (k,), (k,)."""
    n_expected, n_found = int(expected.sum()), int(found.sum())
    if n_expected < measure.min_seen:
        return PartStatistics()
    tolerance_px = measure.alpha * float(np.ptp(real[expected], axis=0).max())
    error_px = float(errors_px[found].sum())
    return PartStatistics(
        error_px=error_px,
        found=n_found,
        error_sw=0.0 if sw_px is None else error_px / sw_px,
        found_sw=0 if sw_px is None else n_found,
        correct=int((errors_px[found] <= tolerance_px).sum()),
        expected=n_expected,
        missing=n_expected - n_found,
    )
