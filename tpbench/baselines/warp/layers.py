"""The reference cut into layers that can be moved over an empty background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.warp.person import Mask, Points, body_unit_px, regions

_FEATHER_PX: Final = 1.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """A part of the picture that moves for itself."""

    image: NDArray[np.uint8]
    """(h, w, 4) uint8: RGB multiplied by alpha, and alpha."""
    corner: NDArray[np.float64]
    """(2,) px: where its top left pixel stands in the reference."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cutout:
    """A reference in layers; None where it doesn't show the part. Sides are left, right."""

    plate: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB: the background, filled where the person stands."""
    trunk: Layer | None
    forearms: tuple[Layer | None, Layer | None]
    hands: tuple[Layer | None, Layer | None]


def cut(image: NDArray[np.uint8], points: Points) -> Cutout:
    """Cut the person out of the reference, part by part.

    What one part hides of another is filled in from around it.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (133, 2) px, NaN where not seen.
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
    # The outermost pixels are mixed with what lies behind: their colour comes from further inside.
    hidden = mask & _grown(hidden_by[box], 2)
    known = _grown(mask, -1) & ~hidden
    colours = _spread(picture, known if known.any() else mask)
    colours = _inpainted(colours, hidden)
    alpha = _feathered(mask)
    premultiplied = np.rint(colours * alpha[..., None]).astype(np.uint8)
    whole = np.dstack([premultiplied, np.rint(alpha * 255).astype(np.uint8)])
    return Layer(image=np.ascontiguousarray(whole), corner=np.array([x0, y0], dtype=np.float64))


def _continued(layer: Layer | None, height_px: int, beyond_px: int) -> Layer | None:
    """Repeat the last row of a layer that the picture cuts off: it may move up."""
    if layer is None or layer.corner[1] + layer.image.shape[0] < height_px:
        return layer
    image = cv2.copyMakeBorder(layer.image, 0, beyond_px, 0, 0, cv2.BORDER_REPLICATE)
    return Layer(image=image, corner=layer.corner)


def _inpainted(image: NDArray[np.uint8], hole: Mask) -> NDArray[np.uint8]:
    """Fill a hole from its rim (Telea 2004), at half size: the time goes with its area."""
    if not hole.any():
        return image
    height, width = hole.shape
    half = (max(1, width // 2), max(1, height // 2))
    # Half a pixel of the hole is a pixel of the hole.
    small = cv2.resize(hole.astype(np.float32), half, interpolation=cv2.INTER_AREA) > 0
    picture = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    patch = cv2.inpaint(picture, small.astype(np.uint8), 4, cv2.INPAINT_TELEA)
    patch = cv2.resize(patch, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(hole[..., None], patch, image)


def _feathered(mask: Mask) -> NDArray[np.float32]:
    soft = cv2.GaussianBlur(
        mask.astype(np.float32), (0, 0), _FEATHER_PX, borderType=cv2.BORDER_REPLICATE
    )
    alpha: NDArray[np.float32] = np.clip(soft, 0, 1)
    return alpha


def _grown(mask: Mask, px: int) -> Mask:
    """Return the mask grown, or shrunk if `px` is negative; the picture's border is no edge."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(px) + 1, 2 * abs(px) + 1))
    change = cv2.dilate if px > 0 else cv2.erode
    return np.asarray(change(mask.astype(np.uint8), kernel) > 0)


def _spread(image: NDArray[np.uint8], known: Mask) -> NDArray[np.uint8]:
    """Spread the colours of the known pixels smoothly over all others, by pull and push.

    Gortler, Grzeszczuk, Szeliski and Cohen, "The Lumigraph", SIGGRAPH 1996, section 4.3.3: each
    level of a pyramid averages what is known, and the gaps of a finer level come from a coarser.

    Args:
        image: (H, W, 3) uint8.
        known: (H, W); unchanged there.
    """
    weight = known.astype(np.float32)
    whole = _pulled(image.astype(np.float32) * weight[..., None], weight)
    return np.rint(np.clip(whole, 0, 255)).astype(np.uint8)


def _pulled(colours: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill one level; `colours` are multiplied by `weight`, which is 1 where all is known."""
    height, width = weight.shape
    if min(height, width) > 1 and (weight < 1).any():
        small, light = cv2.pyrDown(colours), cv2.pyrDown(weight)
        # What a quarter of the pixels know is known on the coarser level.
        gain = 1 / np.maximum(light, 0.25)
        coarse = _pulled(small * gain[..., None], light * gain)
        coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(colours + (1 - weight[..., None]) * coarse, dtype=np.float32)
    return np.asarray(colours / np.maximum(weight, 1e-6)[..., None], dtype=np.float32)
