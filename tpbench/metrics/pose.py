"""Pose accuracy by part of the body, and the image regions that metrics are computed on.

Keypoints of a frame are (133, 2) px, NaN where not found, and their scores (133,); other shapes
raise a `ValueError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.pixels import check_pair, check_picture, psnr, ssim
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

Region = Literal["face", "hand_left", "hand_right"]
REGIONS: Final[Mapping[Region, slice]] = {
    "face": FACE,
    "hand_left": LEFT_HAND,
    "hand_right": RIGHT_HAND,
}
"""The regions that viewers attend to, and their points; hands by the person's own side."""
MIN_SEEN_SHARE: Final = 0.5
"""With fewer of its points seen, the box would only cover a finger or a cheek."""
MARGIN_SHARE: Final = 0.25
"""Margin on each side, in shares of the longer side of the points' box. The points are on the bones
of the fingers and end at the brows: skin, fingertips and forehead lie outside them."""
MIN_SIDE_PX: Final = 16
"""A smaller box shows no fingers, and a window of SSIM (11 px) hardly fits into it."""
LPIPS_SIDE_PX: Final = 128
"""Side of the images that LPIPS gets: about the size of a face in a 512 px crop."""


class Box(NamedTuple):
    """A rectangle of whole pixels inside an image."""

    left_px: int
    """First column."""
    top_px: int
    """First row."""
    right_px: int
    """Column after the last."""
    bottom_px: int
    """Row after the last."""


def region_box(
    region: Region,
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    width_px: int,
    height_px: int,
) -> Box | None:
    """Return the box of the face, from below the chin to about the hairline, or of one hand.

    The box around the seen points (`seen_points`), enlarged by `MARGIN_SHARE` of its longer side on
    each side and made square. A square that extends beyond the edge is moved inwards; a side longer
    than the image is cut to the image.

    Args:
        region: which.
        keypoints: of the real frame.
        scores: of the keypoints.
        width_px: width of the frame.
        height_px: its height.

    Returns:
        None if fewer than half of the points are seen, 34 of the 68 of a face or 11 of the 21 of a
        hand, or if a side is below `MIN_SIDE_PX`.
    """
    part = REGIONS[region]
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
    return Box(left_px, top_px, right_px, bottom_px)


def region_scores(
    real: NDArray[np.uint8], generated: NDArray[np.uint8], box: Box
) -> tuple[float, float]:
    """Return PSNR and SSIM inside a box: `psnr` and `ssim` of the two crops, at their own size.

    Means over a clip are over the frames that have a box. As everywhere, PSNR of identical crops is
    infinite here, and capped before it is averaged (see `tpbench.metrics.pixels`).

    Args:
        real: (H, W, 3) uint8 RGB.
        generated: the same.
        box: as returned by `region_box` for the real frame.

    Raises:
        ValueError: they are no images or differ in size, or the box extends beyond their edge or is
            smaller than the window of SSIM.
    """
    check_pair(real, generated)
    pieces = _cut(real, box), _cut(generated, box)
    return psnr(*pieces), ssim(*pieces)


def region_crop(
    image: NDArray[np.uint8], box: Box, side_px: int = LPIPS_SIDE_PX
) -> NDArray[np.uint8]:
    """Cut out a box and resize it to one size, so that crops of many frames fit into a batch.

    LPIPS of a region is LPIPS of two such crops, so it is not LPIPS at the image's own resolution:
    a face wider than 128 px loses detail first, and a small hand is enlarged, which adds no detail
    that could differ. Compare it only between images of one size. A box that is not square, because
    the image is too small for that, is stretched.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: where.
        side_px: side of the result.

    Returns:
        (side_px, side_px, 3) uint8, a copy: by area where both sides shrink or stay, else bilinear
        (OpenCV's INTER_AREA and INTER_LINEAR).

    Raises:
        ValueError: it is no image, or the box extends beyond its edge.
    """
    check_picture(image, "given")
    piece = _cut(image, box)
    shrinks = min(piece.shape[:2]) >= side_px
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(piece, (side_px, side_px), interpolation=method), np.uint8)


def _span(centre_px: float, length_px: int, limit_px: int) -> tuple[int, int]:
    """Return the first pixel and the one after the last: `length_px` around a centre, if they fit.

    Pixel i reaches from i - 0.5 to i + 0.5.
    """
    length_px = min(length_px, limit_px)
    # Not round(): it rounds to even, so the box would depend on where in the image the person is.
    start_px = math.floor(centre_px + 0.5 - length_px / 2 + 0.5)
    start_px = min(max(start_px, 0), limit_px - length_px)
    return start_px, start_px + length_px


def _cut(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    height_px, width_px = image.shape[:2]
    if box.right_px > width_px or box.bottom_px > height_px:
        raise ValueError(f"{box} reaches over the edge of a picture of {width_px} x {height_px} px")
    return image[box.top_px : box.bottom_px, box.left_px : box.right_px]


SCORE_FLOOR: Final = VISIBLE_SCORE
"""A point counts as seen above this score: a generator must follow the points drawn for it."""
MIN_SHOULDER_WIDTH_PX: Final = 8.0
"""Closer shoulders are one behind the other: dividing by a width of a few px would make any error
huge."""
UPPER_BODY: Final = slice(0, RIGHT_HIP + 1)
"""The 13 points that represent the body."""


class _Measure(NamedTuple):
    """How a range of points is evaluated."""

    points: slice
    alpha: float
    """A point is correct within this share of the longer side of the real points' box."""
    min_seen: int
    """With fewer points in the real frame none is expected: their box does not show the size."""


# Half of the points of hands and face, as for their boxes; for the body the five of the head do.
_PARTS: Final = {
    "body": (_Measure(UPPER_BODY, alpha=0.1, min_seen=5),),
    "hands": tuple(_Measure(hand, alpha=0.2, min_seen=11) for hand in (LEFT_HAND, RIGHT_HAND)),
    "face": (_Measure(FACE, alpha=0.05, min_seen=34),),
}


class PartSums(NamedTuple):
    """Sums over the points of one part in one frame."""

    error_px: float = 0.0
    """Sum of distances over the found points, px."""
    found: float = 0.0
    """Expected points that are seen in the generated frame, too."""
    error_sw: float = 0.0
    """Sum of distances over the real frame's shoulder width, over `found_sw` points."""
    found_sw: float = 0.0
    """Found points of frames whose real shoulder width is known."""
    correct: float = 0.0
    """Found points that are close enough for PCK."""
    expected: float = 0.0
    """Points that are seen in the real frame."""
    missing: float = 0.0
    """Expected points that are not seen in the generated frame: `expected - found`."""


def seen_points(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    width_px: int,
    height_px: int,
) -> NDArray[np.bool_]:
    """Return which points of one frame are seen: score above `SCORE_FLOOR`, and inside the image.

    Some detectors guess points beyond the edge with high scores; these are never seen.

    Returns:
        (133,) bool.
    """
    if keypoints.shape != (NUM_KEYPOINTS, 2) or scores.shape != (NUM_KEYPOINTS,):
        raise ValueError(
            f"a pose of one frame is ({NUM_KEYPOINTS}, 2) and ({NUM_KEYPOINTS},); "
            f"this one is {keypoints.shape} and {scores.shape}"
        )
    # A pixel's area reaches half a pixel around its centre. NaN is neither above nor inside.
    high = np.array([width_px, height_px]) - 0.5
    inside = ((keypoints >= -0.5) & (keypoints <= high)).all(axis=1)
    return np.asarray(inside & (scores > SCORE_FLOOR))


def shoulder_width_px(keypoints: NDArray[np.floating], seen: NDArray[np.bool_]) -> float | None:
    """Return the distance between the shoulders.

    Returns:
        px, above `MIN_SHOULDER_WIDTH_PX`; None if a shoulder is not seen or they are closer.
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
) -> dict[str, PartSums]:
    """Compare the poses of one pair of frames: `body` (13 points), `hands` (42) and `face` (68).

    Expected are the seen points of the real frame (`seen_points`), unless too few points of a part
    are seen: fewer than 5 of the body, 11 of a hand, 34 of the face. A frame whose real shoulder
    width is unknown (`shoulder_width_px`) adds nothing to `error_sw` and `found_sw`, but counts in
    all other sums.

    Both poses should come from one detector, applied to the two frames in the same way: against a
    skeleton that was found in another crop, even the real video would not score 0.

    If no person was found, all scores are 0. `width_px` and `height_px` are of both frames.
    """
    expected = seen_points(real_keypoints, real_scores, width_px, height_px)
    found = expected & seen_points(generated_keypoints, generated_scores, width_px, height_px)
    sw_px = shoulder_width_px(real_keypoints, expected)
    real = real_keypoints.astype(np.float64)
    generated = generated_keypoints.astype(np.float64)
    errors_px = np.full(NUM_KEYPOINTS, np.nan)
    errors_px[found] = np.hypot(*(generated[found] - real[found]).T)

    def sums(measure: _Measure) -> PartSums:
        return _sums(
            real[measure.points],
            expected[measure.points],
            found[measure.points],
            errors_px[measure.points],
            measure=measure,
            sw_px=sw_px,
        )

    return {
        part: PartSums(*(sum(column) for column in zip(*map(sums, measures), strict=True)))
        for part, measures in _PARTS.items()
    }


def _sums(
    real: NDArray[np.float64],
    expected: NDArray[np.bool_],
    found: NDArray[np.bool_],
    errors_px: NDArray[np.float64],
    *,
    measure: _Measure,
    sw_px: float | None,
) -> PartSums:
    """Sum up k points: (k, 2), (k,), (k,), (k,)."""
    n_expected, n_found = int(expected.sum()), int(found.sum())
    if n_expected < measure.min_seen:
        return PartSums()
    tolerance_px = measure.alpha * float(np.ptp(real[expected], axis=0).max())
    error_px = float(errors_px[found].sum())
    return PartSums(
        error_px=error_px,
        found=n_found,
        error_sw=0.0 if sw_px is None else error_px / sw_px,
        found_sw=0 if sw_px is None else n_found,
        correct=int((errors_px[found] <= tolerance_px).sum()),
        expected=n_expected,
        missing=n_expected - n_found,
    )
