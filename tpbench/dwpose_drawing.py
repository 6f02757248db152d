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
    if keypoints.shape != (people, NUM_KEYPOINTS, 2) or scores.shape != (people, NUM_KEYPOINTS):
        raise ValueError(
            f"want (N, 133, 2) and (N, 133), got {keypoints.shape = }, {scores.shape = }"
        )
    canvas = np.zeros((height_px, width_px, 3), dtype=np.uint8)
    if people == 0:
        return canvas
    # Comparisons with NaN are false, so this also tests for finite values.
    placed = (np.abs(keypoints) < _MAX_SIZES_OUT * max(height_px, width_px)).all(axis=-1)
    values = np.where(placed & (scores > 0), scores, 0.0)
    person = int(mean_body_scores(values).argmax())
    points = np.where(placed[person, :, None], keypoints[person], 0.0)

    joints, joint_scores = _openpose_joints(points, values[person])
    _draw_body(canvas, _scale_and_back(joints, canvas), joint_scores > VISIBLE_SCORE)
    pixels = _scale_and_back(points, canvas).astype(np.int64)
    seen = values[person] >= VISIBLE_SCORE
    for hand in (LEFT_HAND, RIGHT_HAND):
        _draw_hand(canvas, pixels[hand], seen[hand])
    _draw_dots(canvas, pixels[FACE], seen[FACE], radius_px=_FACE_RADIUS_PX, colour=_FACE_COLOUR)
    return canvas


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


def _scale_and_back(points: NDArray[np.floating], canvas: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Divide by the image size and multiply again, as the released code does.

    That may change the last bit, and so the truncated pixel.
    """
    size_px = np.array([canvas.shape[1], canvas.shape[0]], dtype=np.float64)
    scaled: NDArray[np.float64] = points.astype(np.float64) / size_px * size_px
    return scaled


def _draw_body(
    canvas: NDArray[np.uint8], joints: NDArray[np.float64], seen: NDArray[np.bool_]
) -> None:
    import cv2

    for (start, end), colour in zip(_LIMBS, _LIMB_COLOURS, strict=True):
        if not (seen[start] and seen[end]):
            continue
        middle = (joints[start] + joints[end]) / 2
        dx, dy = joints[start] - joints[end]
        polygon = cv2.ellipse2Poly(
            (int(middle[0]), int(middle[1])),
            (int(math.sqrt(dx**2 + dy**2) / 2), _LIMB_HALF_WIDTH_PX),
            int(math.degrees(math.atan2(dy, dx))),
            0,
            360,
            1,
        )
        cv2.fillConvexPoly(canvas, polygon, colour)
    for (x, y), drawn, colour in zip(joints, seen, _JOINT_COLOURS, strict=True):
        if drawn:
            cv2.circle(canvas, (int(x), int(y)), _JOINT_RADIUS_PX, colour, thickness=-1)


def _draw_hand(
    canvas: NDArray[np.uint8], pixels: NDArray[np.int64], seen: NDArray[np.bool_]
) -> None:
    import cv2

    inside = seen & (pixels >= 1).all(axis=-1)
    for (start, end), colour in zip(_HAND_EDGES, _HAND_EDGE_COLOURS, strict=True):
        if inside[start] and inside[end]:
            cv2.line(
                canvas, pixels[start].tolist(), pixels[end].tolist(), colour, _HAND_EDGE_WIDTH_PX
            )
    _draw_dots(canvas, pixels, seen, radius_px=_HAND_RADIUS_PX, colour=_HAND_COLOUR)


def _draw_dots(
    canvas: NDArray[np.uint8],
    pixels: NDArray[np.int64],
    seen: NDArray[np.bool_],
    *,
    radius_px: int,
    colour: tuple[int, int, int],
) -> None:
    import cv2

    # The released code treats points left of or above pixel 1 as not found.
    for pixel in pixels[seen & (pixels >= 1).all(axis=-1)].tolist():
        cv2.circle(canvas, pixel, radius_px, colour, thickness=-1)
