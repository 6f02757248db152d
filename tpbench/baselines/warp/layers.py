"""Division of the reference into layers that can be moved over the background without the person.

GrabCut and the skeleton determine which pixels belong to the person, and to which body part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench import wholebody as body
from tpbench.wholebody import FACE, LEFT_SHOULDER, NOSE, RIGHT_SHOULDER, WholeBodyPose

Points = NDArray[np.float64]
Mask = NDArray[np.bool_]
Field = NDArray[np.float32]

_MAX_SIZES_OUT: Final = 16
_SMALLEST_UNIT_PX: Final = 8.0
_GRABCUT_SIDE_PX: Final = 256
_GRABCUT_ROUNDS: Final = 4
_MIN_SAMPLES: Final = 20
"""Minimum of pixels inside and outside; GrabCut forms five clusters of each."""
# Half widths of body parts around the points, in shoulder widths: from talks, with wide sleeves.
_AROUND_TORSO: Final = 0.15
_AROUND_HEAD: Final = 0.24
_NECK: Final = 0.16
_UPPER_ARM: Final = 0.22
_FOREARM: Final = 0.12
_AROUND_HAND: Final = 0.08

_MIN_HAND_POINTS: Final = 12

# A field is the distance to a part, in units of its half width.
_SURE: Final = 0.3
_HAND_SURE: Final = 0.3
_LIKELY: Final = 1.0
_POSSIBLE: Final = 2.0
_FEATHER_PX: Final = 1.2


class Arm(NamedTuple):
    """Indices of the points of one arm among the 133."""

    shoulder: int
    elbow: int
    wrist: int
    hand: slice


ARMS: Final = (
    Arm(LEFT_SHOULDER, body.LEFT_ELBOW, body.LEFT_WRIST, body.LEFT_HAND),
    Arm(RIGHT_SHOULDER, body.RIGHT_ELBOW, body.RIGHT_WRIST, body.RIGHT_HAND),
)
HEAD: Final = (NOSE, body.LEFT_EYE, body.RIGHT_EYE, body.LEFT_EAR, body.RIGHT_EAR)
TORSO: Final = (LEFT_SHOULDER, RIGHT_SHOULDER, body.RIGHT_HIP, body.LEFT_HIP)
"""In the order of an outline."""
BONES_OF_HAND: Final = tuple(
    (0 if step == 0 else 4 * finger + step, 4 * finger + step + 1)
    for finger in range(5)
    for step in range(4)
)
PALM: Final = (0, 1, 5, 9, 13, 17)


def visible_points(pose: WholeBodyPose, index: int) -> Points:
    """Return (133, 2) float64 px of one frame, NaN where a point is invisible.

    Invisible points are those that a DWPose drawing omits: not finite, more than 16 frame sizes
    out, or with too low a score.
    """
    points = pose.keypoints[index].astype(np.float64)
    reach_px = _MAX_SIZES_OUT * max(pose.width_px, pose.height_px)
    near = (np.abs(points) < reach_px).all(axis=-1)
    points[~(near & (pose.scores[index] >= body.VISIBLE_SCORE))] = np.nan
    return np.asarray(points)


def visible(points: Points) -> NDArray[np.bool_]:
    """Return (...,) whether points (..., 2) are visible."""
    return np.asarray(np.isfinite(points[..., 0]))


def shows_a_person(points: Points) -> bool:
    """Return whether (133, 2) points have a face or both shoulders of a sufficient size."""
    return body_unit_px(points) >= _SMALLEST_UNIT_PX


def face_height(points: Points) -> float:
    """Return brows to chin in px, or twice the extent of nose, eyes, ears without a face, or 0."""
    face = points[FACE][visible(points[FACE])]
    if len(face) >= 2:
        return float(np.ptp(face[:, 1]))
    head = points[list(HEAD)][visible(points[list(HEAD)])]
    return 2.0 * float(max(np.ptp(head[:, 0]), np.ptp(head[:, 1]))) if len(head) >= 2 else 0.0


def body_unit_px(points: Points) -> float:
    """Return the approximate shoulder width seen from the front, in px: the unit of lengths.

    The shoulders of a person seen from the side are narrow; then it is twice the face height.
    """
    shoulders = points[LEFT_SHOULDER] - points[RIGHT_SHOULDER]
    width = float(np.hypot(*shoulders))
    return max(0.0 if np.isnan(width) else width, 2.0 * face_height(points))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regions:
    """Masks of the reference, (H, W) bool each; empty for invisible parts. Pairs: left, right."""

    person: Mask
    """All visible parts of the person."""
    trunk: Mask
    """Torso, upper arms, neck and head with hair, including areas hidden by hands and forearms."""
    forearms: tuple[Mask, Mask]
    """A little longer than the bone, so that joints stay closed."""
    hands: tuple[Mask, Mask]


def regions(image: NDArray[np.uint8], points: Points) -> Regions:
    """Segment the reference (H, W, 3) uint8 RGB into background, trunk, forearms and hands.

    GrabCut (Rother, Kolmogorov and Blake 2004) finds the outlines near the skeleton, whose points
    are (133, 2) px with NaN where invisible: once for the person, then for each forearm and hand.
    """
    size = image.shape[:2]
    unit = body_unit_px(points)
    core = _core_field(size, points, unit)
    uppers = [_bone_field(size, points, (a.shoulder, a.elbow), _UPPER_ARM * unit) for a in ARMS]
    lowers = [_bone_field(size, points, (a.elbow, a.wrist), _FOREARM * unit) for a in ARMS]
    hands = [_hand_field(size, points, arm, unit) for arm in ARMS]
    trunk = np.minimum.reduce([core, *uppers])
    whole = np.minimum.reduce([trunk, *lowers, *hands])
    sure = _sure_core(size, points) | (np.minimum.reduce([*uppers, *lowers, *hands]) < _SURE)
    person = _cut_out(image, whole, sure)

    hand_masks = [_cut_out(image, field, field < 0.1) | (field < _HAND_SURE) for field in hands]
    lower_masks = [
        _cut_out(image, field, field < _SURE) & person & _along(size, points, arm, unit)
        for arm, field in zip(ARMS, lowers, strict=True)
    ]
    own = np.logical_or.reduce([person, *hand_masks, *lower_masks])
    in_front = np.logical_or.reduce([*hand_masks, *lower_masks])
    rim = max(1, round(0.03 * unit))
    kernel = np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    hidden = cv2.dilate(in_front.astype(np.uint8), kernel) > 0
    return Regions(
        person=own,
        trunk=np.where(hidden, own & (trunk < 0.8), person & (trunk < np.minimum(*lowers) + 0.5)),
        forearms=(lower_masks[0], lower_masks[1]),
        hands=(hand_masks[0], hand_masks[1]),
    )


def _cut_out(image: NDArray[np.uint8], field: Field, sure: Mask) -> Mask:
    """Return the mask of a part by GrabCut, without holes and near its bones."""
    near = field < 1.2 * _POSSIBLE
    if not near.any():
        return near
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    field, sure, image = field[box], sure[box], image[box]
    height, width = field.shape
    scale = min(1.0, _GRABCUT_SIDE_PX / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    close = cv2.resize(field, small, interpolation=cv2.INTER_LINEAR)
    labels = np.full(close.shape, cv2.GC_BGD, dtype=np.uint8)
    labels[close < _POSSIBLE] = cv2.GC_PR_BGD
    labels[close < _LIKELY] = cv2.GC_PR_FGD
    labels[cv2.resize(sure.astype(np.float32), small, interpolation=cv2.INTER_AREA) > 0.5] = (
        cv2.GC_FGD
    )
    n_inside = int((labels % 2).sum())
    if min(n_inside, labels.size - n_inside) >= _MIN_SAMPLES:
        cv2.setRNGSeed(0)  # GrabCut's k-means has random initial centres
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(picture, labels, None, *models, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    inside = (labels % 2).astype(np.uint8)
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(inside, outlines, -1, 1, thickness=cv2.FILLED)
    smooth = cv2.resize(inside.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros_like(near)
    mask[box] = (cv2.GaussianBlur(smooth, (0, 0), 0.5 + 0.5 / scale) > 0.5) & near[box]
    return mask


def _core_field(size: tuple[int, ...], points: Points, unit: float) -> Field:
    fields = [np.full(size, np.inf, dtype=np.float32)]
    outline = _torso_outline(points, unit)
    if outline is not None:
        fields.append(_around(size, outline) / np.float32(_AROUND_TORSO * unit))
        if visible(points[NOSE]):
            neck = _segment(size, outline[:2].mean(axis=0), points[NOSE])
            fields.append(neck / np.float32(_NECK * unit))
    head = _head_points(points)
    if len(head) >= 2:
        hull = np.concatenate([head, _crown(head, points, 0.8, 0.75)])
        fields.append(_around(size, hull) / np.float32(_AROUND_HEAD * unit))
    return np.asarray(np.minimum.reduce(fields))


def _sure_core(size: tuple[int, ...], points: Points) -> Mask:
    """Return the inside of skull and torso, which does not depend on hair or clothes."""
    inside = np.zeros(size, dtype=np.uint8)
    head, outline = _head_points(points), _torso_outline(points, body_unit_px(points))
    if len(head) >= 3:
        head = np.concatenate([_shrunk(head, 0.8), _crown(head, points, 0.65, 0.72)])
    for corners in (head, None if outline is None else _shrunk(outline, 0.8)):
        if corners is not None and len(corners) >= 3:
            cv2.fillConvexPoly(inside, cv2.convexHull(np.rint(corners).astype(np.int32)), 1)
    return np.asarray(inside > 0)


def _shrunk(corners: Points, share: float) -> Points:
    centre = corners.mean(axis=0)
    return np.asarray(centre + share * (corners - centre))


def _crown(head: Points, points: Points, share: float, rise: float) -> Points:
    """Return the points of the head, shrunk and raised by `rise` times the height of the face."""
    return np.asarray(_shrunk(head, share) - [0.0, rise * face_height(points)])


def _head_points(points: Points) -> Points:
    head = np.concatenate([points[FACE], points[list(HEAD)]])
    return head[visible(head)]


def _torso_outline(points: Points, unit: float) -> Points | None:
    """Return (6, 2) px: shoulders, hips, points below the hips; None without both shoulders."""
    torso = points[list(TORSO)]
    shoulders = points[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    if not visible(shoulders).all():
        return None
    guess = shoulders[::-1] + np.array([0.0, 1.6 * unit])
    hips = np.where(visible(torso[2:])[:, None], torso[2:], guess)
    # The outline is moved inward, because shoulder joints are inside the sleeves.
    inward = 0.1 * (shoulders[::-1] - shoulders)
    return np.concatenate([shoulders + inward, hips, hips + np.array([0.0, 0.8 * unit])])


def _bone_field(
    size: tuple[int, ...], points: Points, ends: tuple[int, int], half_width_px: float
) -> Field:
    start, end = points[list(ends)]
    if not (visible(start) and visible(end)):
        return np.full(size, np.inf, dtype=np.float32)
    return _segment(size, start, end) / np.float32(half_width_px)


def _hand_field(size: tuple[int, ...], points: Points, arm: Arm, unit: float) -> Field:
    hand = points[arm.hand]
    outside = np.ones(size, dtype=np.uint8)
    if visible(hand).sum() < _MIN_HAND_POINTS:
        return _distance(outside)
    palm = hand[list(PALM)]
    palm = palm[visible(palm)]
    if len(palm) >= 3:
        cv2.fillConvexPoly(outside, cv2.convexHull(np.rint(palm).astype(np.int32)), 0)
    for start, end in BONES_OF_HAND:
        if visible(hand[[start, end]]).all():
            near, far = np.rint(hand[[start, end]]).astype(int).tolist()
            cv2.line(outside, near, far, 0, 1)
    return _distance(outside) / np.float32(_AROUND_HAND * unit)


def _along(size: tuple[int, ...], points: Points, arm: Arm, unit: float) -> Mask:
    """Return the pixels alongside a forearm: neither far behind the elbow nor beyond the wrist."""
    start, end = points[[arm.elbow, arm.wrist]]
    length = max(float(np.hypot(*(end - start))), 1e-6)
    y, x = np.mgrid[: size[0], : size[1]]
    place = ((x - start[0]) * (end - start)[0] + (y - start[1]) * (end - start)[1]) / length
    mask: Mask = (place > -_FOREARM * unit) & (place < length + 0.02 * unit)
    return mask


def _around(size: tuple[int, ...], corners: Points) -> Field:
    outside = np.ones(size, dtype=np.uint8)
    cv2.fillConvexPoly(outside, cv2.convexHull(np.rint(corners).astype(np.int32)), 0)
    return _distance(outside)


def _distance(outside: NDArray[np.uint8]) -> Field:
    if outside.all():
        return np.full(outside.shape, np.inf, dtype=np.float32)
    field: Field = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return field


def _segment(size: tuple[int, ...], start: Points, end: Points) -> Field:
    """Return the (H, W) distance in px of each pixel to a segment."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    (dx, dy), (px, py) = end - start, (x - start[0], y - start[1])
    share = np.clip((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
    field: Field = np.hypot(px - share * dx, py - share * dy).astype(np.float32)
    return field


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """A part of the image that moves by itself."""

    image: NDArray[np.uint8]
    """(h, w, 4) uint8: RGB multiplied by alpha, and alpha."""
    corner: NDArray[np.float64]
    """(2,) px: position of its top left pixel in the reference."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cutout:
    """The layers of a reference; None for parts that it does not show. Sides are left, right."""

    plate: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB: the background, inpainted where the person is."""
    trunk: Layer | None
    forearms: tuple[Layer | None, Layer | None]
    hands: tuple[Layer | None, Layer | None]


def cut(image: NDArray[np.uint8], points: Points) -> Cutout:
    """Cut the person out of the reference, part by part; see `regions` for the arguments.

    Areas of a part that are hidden by another are inpainted.
    """
    found = regions(image, points)
    nothing = np.zeros(image.shape[:2], dtype=np.bool_)
    hands = found.hands[0] | found.hands[1]
    front = hands | found.forearms[0] | found.forearms[1]
    behind = _grown(found.person, max(2, round(0.04 * body_unit_px(points))))
    beyond_px = round(0.3 * body_unit_px(points))
    left, right = (_layer(image, mask, hands) for mask in found.forearms)
    left_hand, right_hand = (_layer(image, mask, nothing) for mask in found.hands)
    return Cutout(
        plate=_inpainted(image, behind),
        trunk=_continued(_layer(image, found.trunk, front), image.shape[0], beyond_px),
        forearms=(left, right),
        hands=(left_hand, right_hand),
    )


def _layer(image: NDArray[np.uint8], mask: Mask, hidden_by: Mask) -> Layer | None:
    if not mask.any():
        return None
    margin = 4
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y0, x0 = max(rows[0] - margin, 0), max(columns[0] - margin, 0)
    box = np.s_[y0 : rows[-1] + 1 + margin, x0 : columns[-1] + 1 + margin]
    mask, picture = mask[box], image[box]
    # The outermost pixels are mixed with the background: their colour is taken from further inside.
    hidden = mask & _grown(hidden_by[box], 2)
    known = _grown(mask, -1) & ~hidden
    colours = _spread(picture, known if known.any() else mask)
    colours = _inpainted(colours, hidden)
    soft = cv2.GaussianBlur(
        mask.astype(np.float32), (0, 0), _FEATHER_PX, borderType=cv2.BORDER_REPLICATE
    )
    alpha: NDArray[np.float32] = np.clip(soft, 0, 1)
    premultiplied = np.rint(colours * alpha[..., None]).astype(np.uint8)
    whole = np.dstack([premultiplied, np.rint(alpha * 255).astype(np.uint8)])
    return Layer(image=np.ascontiguousarray(whole), corner=np.array([x0, y0], dtype=np.float64))


def _continued(layer: Layer | None, height_px: int, beyond_px: int) -> Layer | None:
    """Repeat the last row of a layer that is cut off by the image border, as it may move up."""
    if layer is None or layer.corner[1] + layer.image.shape[0] < height_px:
        return layer
    image = cv2.copyMakeBorder(layer.image, 0, beyond_px, 0, 0, cv2.BORDER_REPLICATE)
    return Layer(image=image, corner=layer.corner)


def _inpainted(image: NDArray[np.uint8], hole: Mask) -> NDArray[np.uint8]:
    """Inpaint a hole from its rim (Telea 2004), at half size, as time grows with its area."""
    if not hole.any():
        return image
    height, width = hole.shape
    half = (max(1, width // 2), max(1, height // 2))
    # A pixel that is partly in the hole belongs to it.
    small = cv2.resize(hole.astype(np.float32), half, interpolation=cv2.INTER_AREA) > 0
    picture = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    patch = cv2.inpaint(picture, small.astype(np.uint8), 4, cv2.INPAINT_TELEA)
    patch = cv2.resize(patch, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(hole[..., None], patch, image)


def _grown(mask: Mask, px: int) -> Mask:
    """Return the mask dilated, or eroded if `px` is negative; the image border is no edge."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(px) + 1, 2 * abs(px) + 1))
    change = cv2.dilate if px > 0 else cv2.erode
    return np.asarray(change(mask.astype(np.uint8), kernel) > 0)


def _spread(image: NDArray[np.uint8], known: Mask) -> NDArray[np.uint8]:
    """Extend the colours of the known pixels smoothly to all others, by pull and push.

    Gortler, Grzeszczuk, Szeliski and Cohen, "The Lumigraph", SIGGRAPH 1996, section 4.3.3: each
    level of a pyramid averages known pixels, and gaps of a level are filled from the coarser one.
    """
    weight = known.astype(np.float32)
    whole = _pulled(image.astype(np.float32) * weight[..., None], weight)
    return np.rint(np.clip(whole, 0, 255)).astype(np.uint8)


def _pulled(colours: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill one level; `colours` are multiplied by `weight`, which is 1 for known pixels."""
    height, width = weight.shape
    if min(height, width) > 1 and (weight < 1).any():
        small, light = cv2.pyrDown(colours), cv2.pyrDown(weight)
        # A pixel of the coarser level is known if a quarter of the pixels below it are.
        gain = 1 / np.maximum(light, 0.25)
        coarse = _pulled(small * gain[..., None], light * gain)
        coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(colours + (1 - weight[..., None]) * coarse, dtype=np.float32)
    return np.asarray(colours / np.maximum(weight, 1e-6)[..., None], dtype=np.float32)
