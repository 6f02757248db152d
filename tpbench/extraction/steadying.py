"""Stable visibility of points over a clip, so that no line of the pose drawing flickers.

MediaPipe's scores vary around the drawing's threshold if a joint is half hidden (hips at the lower
edge of the image), and its hands are lost for a few frames of a fast gesture. Drawn frame by frame,
such a line flickers, and a model is conditioned on that flicker. So visibility is decided over the
whole clip, from frames before and after.

This applies only to the poses of a dataset. Scoring uses skeletons as detected, frame by frame: a
hand that a generated video loses must count as lost, and a filled-in point is not a measurement.
DWPose's skeletons also stay unchanged, as they do in the official drawings.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import DetectorSuite
from tpbench.extraction.measures import finite_median, lasting
from tpbench.wholebody import (
    BODY,
    FACE,
    LEFT_EAR,
    LEFT_ELBOW,
    LEFT_EYE,
    LEFT_HAND,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NOSE,
    RIGHT_EAR,
    RIGHT_ELBOW,
    RIGHT_EYE,
    RIGHT_HAND,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    VISIBLE_SCORE,
    PoseSource,
    WholeBodyPose,
    body_size_px,
)

_NECK: Final = (LEFT_SHOULDER, RIGHT_SHOULDER)
_LEFT_KNEE, _RIGHT_KNEE, _LEFT_ANKLE, _RIGHT_ANKLE = 13, 14, 15, 16

_LINES: Final[dict[str, tuple[tuple[int, ...], ...]]] = {
    "head": (
        (*_NECK, NOSE),
        (NOSE, LEFT_EYE),
        (NOSE, RIGHT_EYE),
        (LEFT_EYE, LEFT_EAR),
        (RIGHT_EYE, RIGHT_EAR),
    ),
    "shoulders": (_NECK,),
    "left_arm": ((LEFT_SHOULDER, LEFT_ELBOW), (LEFT_ELBOW, LEFT_WRIST)),
    "right_arm": ((RIGHT_SHOULDER, RIGHT_ELBOW), (RIGHT_ELBOW, RIGHT_WRIST)),
    "left_hip": ((*_NECK, LEFT_HIP),),
    "right_hip": ((*_NECK, RIGHT_HIP),),
    "legs": (
        (LEFT_HIP, _LEFT_KNEE),
        (RIGHT_HIP, _RIGHT_KNEE),
        (_LEFT_KNEE, _LEFT_ANKLE),
        (_RIGHT_KNEE, _RIGHT_ANKLE),
    ),
}
"""The body lines of the drawing by part, each with the joints that must be seen. The neck is the
midpoint of both shoulders."""
_CLOUDS: Final = {"face": FACE, "left_hand": LEFT_HAND, "right_hand": RIGHT_HAND}

PARTS: Final = (*_LINES, *_CLOUDS)
"""The parts that are counted separately. Sides are the person's own."""
SWITCH_COUNTS: Final = {part: f"{part}_switches" for part in PARTS}
"""Part -> name of its measurement in the manifest."""


def switches(pose: WholeBodyPose) -> dict[str, int]:
    """Count how often each part of the drawing appears or disappears from one frame to the next.

    A line of the body is drawn while the scores of its joints are above 0.3; a part counts the
    switches of the line that switches most. Face and hands are drawn while any of their points has
    a score of 0.3 or more. A line that leaves the image with its joint does not count as a switch
    as long as the joint is known.

    Args:
        pose: one person over T frames.

    Returns:
        For each of `PARTS` a number from 0 to T - 1.
    """
    known = np.all(np.isfinite(pose.keypoints), axis=2)
    # The drawing compares joints in float64 and dots in float32.
    joints = known & (pose.scores.astype(np.float64) > VISIBLE_SCORE)
    counted = {
        part: max(_changes(np.all(joints[:, list(line)], axis=1)) for line in lines)
        for part, lines in _LINES.items()
    }
    dots = known & (pose.scores >= VISIBLE_SCORE)
    return counted | {part: _changes(np.any(dots[:, at], axis=1)) for part, at in _CLOUDS.items()}


def _changes(drawn: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(drawn[1:] != drawn[:-1]))


def switch_counts(pose: WholeBodyPose) -> dict[str, float]:
    """Return `switches` as measurements of the manifest, by name."""
    return {SWITCH_COUNTS[part]: float(count) for part, count in switches(pose).items()}


_MEDIAN_S: Final = 0.5
"""Scores of joints are smoothed by a running median of this length."""
_LOST_SCORE: Final = 0.15
"""A visible joint stays visible until its score falls below this. In the sample talks, whose hips
are always drawn in the official drawings, 5 % of the hips' scores lie below 0.19."""
_MAX_GAP_S: Final = 0.4
"""Points lost for at most this long are filled in. Fast gestures of the sample talks lose up to
0.3 s; hands removed for 0.4 s were filled within 7 px of 512 in half of the cases, 22 in 95 %."""
_MAX_SPEED_HZ: Final = 6.0
"""Points that jump faster (body sizes a second) are not filled in: they are guesses, as when
something covers the arm. The fastest wrist of the sample talks reaches 4.7."""
_MIN_SEEN_S: Final = 0.2
"""Points seen for a shorter time, with nothing before and after, are not drawn."""
_HIP_SHARE: Final = 0.05
"""BlazePose's hips are too low, compared with DWPose's, by this share of the way to the shoulders.
Median gaps in the sample talks: 19, 12, 26, 28 px before and 18, 11, 12, 14 px after correction."""
FILLED_SCORE: Final = 0.31
"""Score of points filled in or seen weakly: just enough to be drawn."""
UNDRAWN_SCORE: Final = 0.29
"""Highest score of points that are not drawn."""
STEADYING: Final = (
    f"steady-1: median {_MEDIAN_S} s, seen {VISIBLE_SCORE}, lost {_LOST_SCORE}, "
    f"gaps to {_MAX_GAP_S} s at {_MAX_SPEED_HZ} body sizes a second, seen for {_MIN_SEEN_S} s, "
    f"hips up {_HIP_SHARE}"
)
"""Names the method with its numbers; part of the skeletons' digest and of `dataset.json`."""


def visibility(source: PoseSource) -> str:
    """Return a short description of how the visibility of these skeletons is decided."""
    return STEADYING if source == "mediapipe" else "as found, frame by frame"


def skeleton_digest(detectors: DetectorSuite) -> str:
    """Return the sha256 of the skeleton models and of the stabilisation applied here."""
    if detectors.source != "mediapipe":
        return detectors.skeleton_digest
    return hashlib.sha256(f"{detectors.skeleton_digest} {STEADYING}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Points found or lost together, anchored to joints that are detected more reliably."""

    points: slice
    anchors: tuple[int, ...]
    """Body joints whose mean carries the part; all must be drawn."""
    first: int | None = None
    """Body joint that equals the part's first point; None if there is none."""


_HANDS: Final = (
    _Part(points=LEFT_HAND, anchors=(LEFT_WRIST,), first=LEFT_WRIST),
    _Part(points=RIGHT_HAND, anchors=(RIGHT_WRIST,), first=RIGHT_WRIST),
)
_FACE: Final = _Part(points=FACE, anchors=(NOSE, LEFT_EYE, RIGHT_EYE))


def steadied(pose: WholeBodyPose, *, wrists_px: NDArray[np.floating], fps: float) -> WholeBodyPose:
    """Return the pose with the visibility of every point made stable over the clip.

    A joint is visible where its score, as a running median of half a second, is above the drawing's
    threshold, and before and after that for as long as it stays at 0.15 or above. A hand or face
    lost for up to 0.4 s follows the body's wrist or eyes, its shape interpolated between the last
    and the next one, if these are visible and do not jump; otherwise it stays blank. Nothing is
    drawn for less than 0.2 s. Hips are moved up by 5 % of the way to the shoulders. All other
    points keep their positions; scores on the wrong side of the threshold are put just across it.
    DWPose's skeletons are returned unchanged.

    Args:
        pose: one person over a whole clip, as detected frame by frame.
        wrists_px: (T, 2, 2) px, left and right wrist from the body model alone, also in frames with
            hands; NaN where not found.
        fps: frames per second.
    """
    if pose.source != "mediapipe":
        return pose
    points = pose.keypoints.astype(np.float64)
    scores = np.where(_known(points), pose.scores, 0.0)
    _raise_hips(points)
    stabiliser = _Stabiliser(
        fps=fps,
        size_px=(pose.width_px, pose.height_px),
        reach_px=_MAX_SPEED_HZ / fps * finite_median(np.array([body_size_px(p) for p in points])),
    )
    for joint in range(BODY.start, BODY.stop):
        stabiliser.joint(points, scores, joint)
    for side, hand in enumerate(_HANDS):
        stabiliser.part(points, scores, hand, wrists_px[:, side].astype(np.float64))
    stabiliser.part(points, scores, _FACE, points[:, list(_FACE.anchors)].mean(axis=1))
    return replace(pose, keypoints=points.astype(np.float32), scores=scores.astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stabiliser:
    """Works in place on the points (T, 133, 2) and scores (T, 133) of one clip."""

    fps: float
    size_px: tuple[int, int]
    reach_px: float
    """How far a wrist can move from one frame to the next; NaN if the body size is unknown."""

    @property
    def max_gap(self) -> int:
        return round(_MAX_GAP_S * self.fps)

    @property
    def min_seen(self) -> int:
        return round(_MIN_SEEN_S * self.fps)

    def joint(self, points: NDArray[np.float64], scores: NDArray[np.float64], joint: int) -> None:
        found = _known(points[:, joint])
        seen = _seen_with_hysteresis(_running_median(scores[:, joint], round(_MEDIAN_S * self.fps)))
        for start, end in _gaps(seen):
            seen[start:end] |= end - start <= self.max_gap
        for start, end in _gaps(found):
            if end - start <= self.max_gap and seen[start:end].all():
                share = _shares(start, end)
                before, after = points[start - 1, joint], points[end, joint]
                points[start:end, joint] = before + share * (after - before)
        seen &= _known(points[:, joint])
        scores[:, joint] = _across_threshold(scores[:, joint], lasting(seen, self.min_seen))

    def part(
        self,
        points: NDArray[np.float64],
        scores: NDArray[np.float64],
        part: _Part,
        carrier: NDArray[np.float64],
    ) -> None:
        own = points[:, part.points]
        drawn = (scores[:, part.points] >= VISIBLE_SCORE) & _known(own)
        seen: NDArray[np.bool_] = np.any(drawn, axis=1)
        carried = _known(carrier)
        carried &= np.all(scores[:, list(part.anchors)] > VISIBLE_SCORE, axis=1)
        for start, end in _gaps(seen):
            across = slice(start - 1, end + 1)
            if end - start > self.max_gap or not carried[across].all():
                continue
            if np.hypot(*np.diff(carrier[across], axis=0).T).max() > self.reach_px:
                continue
            share = _shares(start, end)[..., None]
            around = (carrier[[start - 1, end], None, :]).astype(np.float64)
            before, after = own[[start - 1, end]] - around
            filled = before + share * (after - before) + carrier[start:end, None]
            filled[~self._inside(filled)] = np.nan
            own[start:end] = filled
            there = _known(filled)
            scores[start:end, part.points] = np.where(there, FILLED_SCORE, 0.0)
            seen[start:end] = there.any(axis=1)
            if part.first is not None:
                points[start:end, part.first] = np.where(
                    there[:, :1], filled[:, 0], points[start:end, part.first]
                )
        undrawn = seen & ~lasting(seen, self.min_seen)
        scores[undrawn, part.points] = np.minimum(scores[undrawn, part.points], UNDRAWN_SCORE)

    def _inside(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        high = np.array(self.size_px) - 0.5
        inside: NDArray[np.bool_] = np.all((points >= -0.5) & (points <= high), axis=-1)
        return inside


def _known(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = np.all(np.isfinite(points), axis=-1)
    return known


def _raise_hips(points: NDArray[np.float64]) -> None:
    hips = points[:, [LEFT_HIP, RIGHT_HIP]]
    # A single hip is used for both; without any there is nothing to move.
    one = np.where(np.isfinite(hips), hips, hips[:, ::-1])
    torso = points[:, [LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=1) - one.mean(axis=1)
    points[:, [LEFT_HIP, RIGHT_HIP]] += _HIP_SHARE * np.nan_to_num(torso)[:, None]


def _running_median(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the running median over `width` (rounded up to odd) values, mirrored at the ends."""
    from scipy.ndimage import median_filter

    median: NDArray[np.float64] = median_filter(values, size=width | 1, mode="mirror")
    return median


def _seen_with_hysteresis(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the runs at or above `_LOST_SCORE` that rise above the drawing's threshold."""
    from scipy.ndimage import label

    runs, _ = label(values >= _LOST_SCORE)
    surely = np.unique(runs[values > VISIBLE_SCORE])
    seen: NDArray[np.bool_] = np.isin(runs, surely[surely > 0])
    return seen


def _gaps(seen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the stretches (end exclusive) of False that have True on both sides."""
    where = np.flatnonzero(seen)
    return [(int(a) + 1, int(b)) for a, b in pairwise(where) if b > a + 1]


def _shares(start: int, end: int) -> NDArray[np.float64]:
    """Return the relative position of each frame in a gap, in (0, 1): (n, 1)."""
    return (np.arange(1, end - start + 1) / (end - start + 1))[:, None]


def _across_threshold(scores: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Put scores on the wrong side of the drawing's threshold just across it."""
    return np.where(seen, np.maximum(scores, FILLED_SCORE), np.minimum(scores, UNDRAWN_SCORE))
