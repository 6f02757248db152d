"""Where people look: the face and the hands of a frame, cut out and compared by themselves.

The boxes come from the real frame's skeleton and are laid on both pictures: a generator can't
choose where it is looked at, and a hand that it lost is compared with what it put there instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import cv2
import numpy as np

from tpbench.metrics.pictures import check_pair, check_picture
from tpbench.metrics.pose_accuracy import seen_points
from tpbench.metrics.psnr import psnr
from tpbench.metrics.ssim import ssim
from tpbench.wholebody import FACE, LEFT_HAND, RIGHT_HAND

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SEEN_SHARE: Final = 0.5
"""With fewer of its points seen, the box would hold a finger or a cheek."""

MARGIN_SHARE: Final = 0.25
"""Room on each side, in shares of the longer side of the points' box. The points are on the bones
of the fingers and end at the brows: skin, fingertips and forehead lie outside them."""

MIN_SIDE_PX: Final = 16
"""A smaller box shows no fingers, and hardly a window of SSIM (11 px) fits in."""

LPIPS_SIDE_PX: Final = 128
"""Side of the pictures that LPIPS is fed: about what a face takes up in a 512 px crop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle of whole pixels inside a picture."""

    left_px: int
    """First column."""

    top_px: int
    """First row."""

    right_px: int
    """Column after the last."""

    bottom_px: int
    """Row after the last."""

    def __post_init__(self) -> None:
        if not (0 <= self.left_px < self.right_px and 0 <= self.top_px < self.bottom_px):
            msg = f"a box has 0 <= left < right and 0 <= top < bottom, got {self}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionScores:
    """How near two pictures are inside a box."""

    psnr_db: float
    """dB; inf where they are identical there."""

    ssim: float
    """In [-1, 1]."""


def face_box(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    width_px: int,
    height_px: int,
) -> Box | None:
    """Return the box of the face, from below the chin to about the hairline.

    The box around the seen points (`seen_points`), grown by `MARGIN_SHARE` of its longer side on
    each side and made square. Where the square reaches over the edge it is pushed inwards; a side
    that the picture is too short for is as long as the picture.

    Args:
        keypoints: (133, 2) px of the real picture; NaN where not found.
        scores: (133,).
        width_px: width of the picture.
        height_px: its height.

    Returns:
        None where fewer than 34 of the 68 points are seen, or a side is below `MIN_SIDE_PX`.

    Raises:
        ValueError: other shapes.
    """
    return _box_of(FACE, keypoints, scores, width_px, height_px)


def hand_box(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    width_px: int,
    height_px: int,
    side: Literal["left", "right"],
) -> Box | None:
    """Return the box of one hand, made as that of the face (`face_box`).

    Args:
        keypoints: (133, 2) px of the real picture; NaN where not found.
        scores: (133,).
        width_px: width of the picture.
        height_px: its height.
        side: the person's own side.

    Returns:
        None where fewer than 11 of the 21 points are seen, or a side is below `MIN_SIDE_PX`.

    Raises:
        ValueError: other shapes.
    """
    part = LEFT_HAND if side == "left" else RIGHT_HAND
    return _box_of(part, keypoints, scores, width_px, height_px)


def region_scores(real: NDArray[np.uint8], generated: NDArray[np.uint8], box: Box) -> RegionScores:
    """Return PSNR and SSIM inside a box: `psnr` and `ssim` of the two pieces, at their own size.

    Means over a clip are over the frames that have a box. As everywhere, PSNR of identical pieces
    is infinite here, and capped wherever it is averaged (see `tpbench.metrics.psnr`).

    Args:
        real: (H, W, 3) uint8 RGB.
        generated: the same.
        box: as `face_box` or `hand_box` found it in the real frame.

    Raises:
        ValueError: they are no pictures, differ in size, the box reaches over their edge, or is
            smaller than the window of SSIM.
    """
    check_pair(real, generated)
    pieces = _cut(real, box), _cut(generated, box)
    return RegionScores(psnr_db=psnr(*pieces), ssim=ssim(*pieces))


def region_crop(
    image: NDArray[np.uint8], box: Box, side_px: int = LPIPS_SIDE_PX
) -> NDArray[np.uint8]:
    """Cut out a box and bring it to one size, so that pieces of many frames go through a network.

    LPIPS of a region is LPIPS of two such pieces, so it is not LPIPS at the picture's own
    resolution: a face wider than 128 px loses detail first, and a small hand is blown up, which
    adds no detail that could differ. Compare it between pictures of one size only. A box that is
    not square, because the picture is too small for that, is stretched.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: where.
        side_px: side of the result.

    Returns:
        (side_px, side_px, 3) uint8, a copy: by area where both sides shrink or stay, else bilinear
        (OpenCV's INTER_AREA and INTER_LINEAR).

    Raises:
        ValueError: it is no picture, or the box reaches over its edge.
    """
    check_picture(image, "given")
    piece = _cut(image, box)
    shrinks = min(piece.shape[:2]) >= side_px
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(piece, (side_px, side_px), interpolation=method), np.uint8)


def _box_of(
    part: slice,
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    width_px: int,
    height_px: int,
) -> Box | None:
    seen = seen_points(keypoints, scores, width_px, height_px)[part]
    if np.count_nonzero(seen) < MIN_SEEN_SHARE * len(seen):
        return None
    points = keypoints[part][seen].astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    side_px = math.ceil((1 + 2 * MARGIN_SHARE) * float((high - low).max()))
    left_px, right_px = _span(float(low[0] + high[0]) / 2, side_px, width_px)
    top_px, bottom_px = _span(float(low[1] + high[1]) / 2, side_px, height_px)
    if min(right_px - left_px, bottom_px - top_px) < MIN_SIDE_PX:
        return None
    return Box(left_px=left_px, top_px=top_px, right_px=right_px, bottom_px=bottom_px)


def _span(centre_px: float, length_px: int, limit_px: int) -> tuple[int, int]:
    """Return the first pixel and the one after the last: `length_px` around a centre, if they fit.

    Pixel i reaches from i - 0.5 to i + 0.5.
    """
    length_px = min(length_px, limit_px)
    # Not round(): that goes to the even neighbour, and a box would hang on where the person stands.
    start_px = math.floor(centre_px + 0.5 - length_px / 2 + 0.5)
    start_px = min(max(start_px, 0), limit_px - length_px)
    return start_px, start_px + length_px


def _cut(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    height_px, width_px = image.shape[:2]
    if box.right_px > width_px or box.bottom_px > height_px:
        message = f"{box} reaches over the edge of a picture of {width_px} x {height_px} px"
        raise ValueError(message)
    return image[box.top_px : box.bottom_px, box.left_px : box.right_px]
