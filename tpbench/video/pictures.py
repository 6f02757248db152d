"""Single pictures as frames: read as a viewer shows them, in 8 bits, or refused.

- Deeper pictures are rounded to 8 bits, not cut: level = round(v * 255 / 65535).
- A note in the file that asks for it to be turned (EXIF) is followed.
- Grey and palettes become RGB. Profiles of colour are passed over, as OpenCV does.
- Nothing says on what ground a transparent picture is seen, so it is refused.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.errors import MediaError
from tpbench.files import UnfitFileError, open_regular, read_bounded
from tpbench.video.picture_headers import (
    MAX_PIXELS,
    PictureHeader,
    UnfitPictureError,
    read_header,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

PICTURE_SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Files with these endings are pictures, upper case or lower."""

_MAX_BYTES: Final = MAX_PIXELS * 8 + (1 << 20)
"""Enough for the largest picture, with four channels of 16 bits and not compressed."""


def look_at(path: Path) -> PictureHeader:
    """Read the header of a picture.

    Raises:
        MediaError: it can't be read, or is of a kind or size that is never decoded.
    """
    try:
        with open_regular(path) as file:
            return read_header(file)
    except UnfitPictureError as error:
        raise MediaError(path, str(error)) from error
    except OSError as error:
        raise MediaError(path, error.strerror or str(error)) from error


def codec_of(pictures: Iterable[Path]) -> str:
    """Return how the pictures of a folder are stored, after a look at each header.

    `pictures` where nothing is lost; else the formats, such as `jpeg`, or `jpeg+png` where some
    are lossy and some not.

    Raises:
        MediaError: as `look_at`.
    """
    headers = [look_at(path) for path in pictures]
    if not any(header.lossy for header in headers):
        return "pictures"
    return "+".join(sorted({header.codec for header in headers}))


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as (height_px, width_px, 3) uint8 RGB.

    Raises:
        MediaError: as `look_at`; it is damaged, or transparent in places.
    """
    try:
        stored = read_bounded(path, _MAX_BYTES)
        header = read_header(io.BytesIO(stored))
    except (UnfitPictureError, UnfitFileError) as error:
        raise MediaError(path, getattr(error, "strerror", None) or str(error)) from error
    except OSError as error:
        raise MediaError(path, error.strerror or str(error)) from error
    image = _decoded(stored, header)
    if image is None:
        raise MediaError(path, "is no picture that can be read")
    if header.may_be_transparent and _is_transparent(stored, header):
        raise MediaError(path, "is transparent in places: lay it over its background first")
    return image


def _decoded(stored: bytes, header: PictureHeader) -> NDArray[np.uint8] | None:
    import cv2

    if header.bits == 8:
        image = _decode(stored, cv2.IMREAD_COLOR_RGB)
    elif header.format == "tiff":
        # Asked for colours, OpenCV would mix those of 16-bit TIFF up.
        image = _decode(stored, cv2.IMREAD_UNCHANGED)
        if image is not None and image.ndim == 3:
            image = image[..., 2::-1]
    else:
        image = _decode(stored, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)
    if image is None:
        return None
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(in_8_bits(image))


def in_8_bits(image: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return levels of 16 bits as the nearest of 8 bits; those of 8 bits as they are."""
    if image.dtype == np.uint8:
        return np.asarray(image, dtype=np.uint8)
    # 65535 / 255 is 257 exactly, so this rounds v * 255 / 65535; no v lies halfway.
    rounded: NDArray[np.uint8] = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rounded


def _is_transparent(stored: bytes, header: PictureHeader) -> bool:
    """Whether something would shine through a picture: nothing says what colours it is seen in."""
    import cv2

    image = _decode(stored, cv2.IMREAD_UNCHANGED)
    if image is None:
        return False
    if header.clear_grey is not None:
        return bool((image == header.clear_grey).any())
    if image.ndim < 3 or image.shape[2] < 4:
        return False
    return bool(image[..., 3].min() < np.iinfo(image.dtype).max)


def _decode(stored: bytes, flags: int) -> NDArray[np.integer] | None:
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(stored, dtype=np.uint8), flags)
    except cv2.error:  # a size that nothing could hold, say
        return None
