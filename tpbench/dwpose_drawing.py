"""The DWPose drawing of a pose, pixel-identical to what pose-driven models were trained on.

Those models take the drawing as input, so a wider stick or a missing face dot changes the input.
The quirks of the released code are therefore kept: the neck has score 0 or 1, coordinates are
truncated to whole pixels (not rounded), a hand or face point in the first row or column is left
out, and the feet are never drawn.
"""

from __future__ import annotations

import colorsys
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.wholebody import (
    FACE,
    LEFT_HAND,
    NUM_KEYPOINTS,
    RIGHT_HAND,
    VISIBLE_SCORE,
    to_openpose,
)

_NECK: Final = 1

_LIMBS: Final = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
_JOINT_COLOURS: Final = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
# The released code dims the whole image to 0.6 after drawing the limbs; drawing the limbs in the
# dimmed colour gives the same pixels without a second pass over the image.
_LIMB_COLOURS: Final = tuple(
    tuple(int(value * 0.6) for value in colour) for colour in _JOINT_COLOURS[: len(_LIMBS)]
)
_LIMB_HALF_WIDTH_PX: Final = 4
_JOINT_RADIUS_PX: Final = 4

_HAND_EDGES: Final = tuple(
    (0 if step == 0 else 4 * finger + step, 4 * finger + step + 1)
    for finger in range(5)
    for step in range(4)
)
_HAND_EDGE_COLOURS: Final = tuple(
    tuple(255 * value for value in colorsys.hsv_to_rgb(edge / len(_HAND_EDGES), 1.0, 1.0))
    for edge in range(len(_HAND_EDGES))
)
_HAND_EDGE_WIDTH_PX: Final = 2
_HAND_RADIUS_PX: Final = 4
_HAND_COLOUR: Final = (0, 0, 255)
_FACE_RADIUS_PX: Final = 3
_FACE_COLOUR: Final = (255, 255, 255)

_PIXEL: Final = np.dtype("V3")
"""The three bytes of a pixel as one value, which NumPy assigns at once."""

_MAX_SIZES_OUT: Final = 16
"""No limb reaches points further out than this many image sizes: they are left out."""


def draw_pose(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    height_px: int,
    width_px: int,
) -> NDArray[np.uint8]:
    """Draw the person with the best mean body score, as the released DWPose code does.

    Body: 17 limbs as ellipses of half width 4 px at 0.6 of their colour, then joints of radius 4,
    where the score is above 0.3. Hands: 20 edges of 2 px and blue dots of radius 4. Face: 68 white
    dots of radius 3. Both where the score is at least 0.3.

    Args:
        keypoints: (N, 133, 2) px of the image in COCO-WholeBody order; NaN where not found.
        scores: (N, 133) in [0, 1].
        height_px: height of the image.
        width_px: width of the image.

    Returns:
        (height_px, width_px, 3) uint8 RGB on black. Points that are not finite, or more than 16
        image sizes away, are left out.

    Raises:
        ValueError: the arrays have other shapes.
    """
    people = len(keypoints)
    _check_shapes(keypoints, scores)
    if people == 0:
        return np.zeros((height_px, width_px, 3), dtype=np.uint8)
    person = 0
    if people > 1:
        values = _placed_scores(keypoints, scores, max(height_px, width_px))
        person = int(mean_body_scores(values).argmax())
    chosen = slice(person, person + 1)
    return PoseDrawer(keypoints[chosen], scores[chosen], height_px, width_px).draw(0)


class PoseDrawer:
    """Draws one person frame by frame, as `draw_pose` does, all points prepared in one go.

    Args:
        keypoints: (T, 133, 2) px of the image in COCO-WholeBody order; NaN where not found.
        scores: (T, 133) in [0, 1].
        height_px: height of the image.
        width_px: width of the image.

    Raises:
        ValueError: the arrays have other shapes.
    """

    def __init__(
        self,
        keypoints: NDArray[np.floating],
        scores: NDArray[np.floating],
        height_px: int,
        width_px: int,
    ) -> None:
        _check_shapes(keypoints, scores)
        values = _placed_scores(keypoints, scores, max(height_px, width_px))
        points = np.where((values > 0)[..., None], keypoints, 0.0)
        size_px = np.array([width_px, height_px], dtype=np.float64)
        joints, joint_scores = _openpose_joints(points, values)
        self._joints = _scale_and_back(joints, size_px)
        self._joint_seen = joint_scores > VISIBLE_SCORE
        self._pixels = _scale_and_back(points, size_px).astype(np.int64)
        # The released code treats points left of or above pixel 1 as not found.
        self._seen = (values >= VISIBLE_SCORE) & (self._pixels >= 1).all(axis=-1)
        self._canvas = np.zeros((height_px, width_px, 3), dtype=np.uint8)
        self._face_dot = _Dot(_FACE_RADIUS_PX, _FACE_COLOUR)
        self._hand_dot = _Dot(_HAND_RADIUS_PX, _HAND_COLOUR)

    def draw(self, frame: int) -> NDArray[np.uint8]:
        """Return the drawing of a frame, (height_px, width_px, 3) uint8 RGB.

        The next call draws into the same array.
        """
        canvas = self._canvas
        canvas.fill(0)
        _draw_body(canvas, self._joints[frame].tolist(), self._joint_seen[frame].tolist())
        pixels, seen = self._pixels[frame], self._seen[frame]
        for hand in (LEFT_HAND, RIGHT_HAND):
            _draw_edges(canvas, pixels[hand].tolist(), seen[hand].tolist())
            self._hand_dot.draw(canvas, pixels[hand][seen[hand]])
        self._face_dot.draw(canvas, pixels[FACE][seen[FACE]])
        return canvas


def _check_shapes(keypoints: NDArray[np.floating], scores: NDArray[np.floating]) -> None:
    n = len(keypoints)
    if keypoints.shape != (n, NUM_KEYPOINTS, 2) or scores.shape != (n, NUM_KEYPOINTS):
        raise ValueError(
            f"want (N, 133, 2) and (N, 133), got {keypoints.shape = }, {scores.shape = }"
        )


def _placed_scores(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], longer_side_px: int
) -> NDArray[np.floating]:
    """Return the scores, 0 for points that are not finite or too far out."""
    # Comparisons with NaN are false, so this also tests for finite values.
    placed = (np.abs(keypoints) < _MAX_SIZES_OUT * longer_side_px).all(axis=-1)
    return np.where(placed & (scores > 0), scores, 0.0)


def mean_body_scores(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Average the 18 OpenPose body scores of each person: DWPose's measure of prominence.

    The neck counts as 1 where both shoulders are seen (score above 0.3), else as 0.

    Args:
        scores: (N, 133) in [0, 1].

    Returns:
        (N,) in [0, 1].
    """
    no_points = np.zeros((*scores.shape, 2))
    means: NDArray[np.float64] = _openpose_joints(no_points, scores)[1].mean(axis=-1)
    return means


def _openpose_joints(
    points: NDArray[np.floating], scores: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reorder (..., 133) into (..., 18), the neck's score being 0 or 1."""
    joints, joint_scores = to_openpose(points, scores)
    joint_scores[..., _NECK] = joint_scores[..., _NECK] > VISIBLE_SCORE
    return joints, joint_scores


def _scale_and_back(
    points: NDArray[np.floating], size_px: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Divide by the image size and multiply again, as the released code does.

    That may change the last bit, and so the truncated pixel.
    """
    scaled: NDArray[np.float64] = points.astype(np.float64) / size_px * size_px
    return scaled


def _draw_body(canvas: NDArray[np.uint8], joints: list[list[float]], seen: list[bool]) -> None:
    import cv2

    for (start, end), colour in zip(_LIMBS, _LIMB_COLOURS, strict=True):
        if not (seen[start] and seen[end]):
            continue
        (x0, y0), (x1, y1) = joints[start], joints[end]
        dx, dy = x0 - x1, y0 - y1
        polygon = cv2.ellipse2Poly(
            (int((x0 + x1) / 2), int((y0 + y1) / 2)),
            (int(math.sqrt(dx * dx + dy * dy) / 2), _LIMB_HALF_WIDTH_PX),
            int(math.degrees(math.atan2(dy, dx))),
            0,
            360,
            1,
        )
        cv2.fillConvexPoly(canvas, polygon, colour)
    for (x, y), drawn, colour in zip(joints, seen, _JOINT_COLOURS, strict=True):
        if drawn:
            cv2.circle(canvas, (int(x), int(y)), _JOINT_RADIUS_PX, colour, thickness=-1)


def _draw_edges(canvas: NDArray[np.uint8], pixels: list[list[int]], seen: list[bool]) -> None:
    import cv2

    for (start, end), colour in zip(_HAND_EDGES, _HAND_EDGE_COLOURS, strict=True):
        if seen[start] and seen[end]:
            cv2.line(canvas, pixels[start], pixels[end], colour, _HAND_EDGE_WIDTH_PX)


class _Dot:
    """A filled circle as OpenCV draws it, put on many places at once."""

    def __init__(self, radius_px: int, colour: tuple[int, int, int]) -> None:
        import cv2

        self._radius_px = radius_px
        self._colour = colour
        self._pixel = np.array(colour, dtype=np.uint8).view(_PIXEL)
        side_px = 2 * radius_px + 1
        disc = np.zeros((side_px, side_px), dtype=np.uint8)
        cv2.circle(disc, (radius_px, radius_px), radius_px, (1,), thickness=-1)
        self._rows, self._columns = np.nonzero(disc)

    def draw(self, canvas: NDArray[np.uint8], centres: NDArray[np.int64]) -> None:
        """Draw the circle around each of the pixels, (N, 2)."""
        import cv2

        height_px, width_px = canvas.shape[:2]
        corners = centres - self._radius_px
        room = np.array([width_px, height_px]) - 2 * self._radius_px
        whole = ((corners >= 0) & (corners < room)).all(axis=-1)
        starts = corners[whole] @ np.array([1, width_px])
        places = starts[:, None] + (self._rows * width_px + self._columns)
        canvas.reshape(-1).view(_PIXEL)[places] = self._pixel
        for centre in centres[~whole].tolist():
            cv2.circle(canvas, centre, self._radius_px, self._colour, thickness=-1)
