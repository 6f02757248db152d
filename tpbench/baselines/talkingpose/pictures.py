"""Pictures on their way into the networks and out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD: Final = (0.26862954, 0.26130258, 0.27577711)


def stretched(image: NDArray[np.uint8], *, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Return a picture of this size, by Pillow's Lanczos filter; its shape is not kept.

    Args:
        image: (H, W, 3) uint8 RGB; returned as it is if it has the size.
        width_px: of the result.
        height_px: of the result.
    """
    if image.shape[:2] == (height_px, width_px):
        return image
    resized = Image.fromarray(image).resize((width_px, height_px), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def unit_batch(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Turn (H, W, 3) uint8 RGB pictures of one size into (B, 3, H, W) float32 in [0, 1]."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(images)))
    return stacked.permute(0, 3, 1, 2).to(torch.float32) / 255


def clip_batch(image: NDArray[np.uint8], *, side_px: int) -> torch.Tensor:
    """Prepare a picture for CLIP: squeezed to a square by Pillow's bicubic filter, normalised.

    Returns:
        (1, 3, side_px, side_px) float32.
    """
    square = Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BICUBIC)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_CLIP_MEAN, _CLIP_STD))
    return (unit_batch([np.asarray(square)]) - mean) / std


def to_bytes(image: torch.Tensor, *, truncated: bool) -> NDArray[np.uint8]:
    """Turn (3, H, W) float in [0, 1] into (H, W, 3) uint8 RGB.

    Args:
        image: on any device.
        truncated: cut off what is behind the point, as the released script does (half a level too
            dark on average), instead of rounding.
    """
    levels = image.permute(1, 2, 0) * 255
    whole = levels if truncated else levels.round()
    return cast("NDArray[np.uint8]", whole.to(torch.uint8).cpu().numpy())
