"""What every pixel metric asks of its pictures, and how it walks over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def check_picture(image: NDArray[np.uint8], name: str) -> None:
    """Refuse what is no picture.

    Args:
        image: what came.
        name: how the message calls it ("real", "generated").

    Raises:
        ValueError: it is not (H, W, 3) uint8 with at least one pixel.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        message = f"a picture is (H, W, 3) uint8 RGB; the {name} one is {image.shape} {image.dtype}"
        raise ValueError(message)


def check_pair(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> None:
    """Refuse two pictures that can't be compared pixel by pixel.

    Raises:
        ValueError: one is no picture (see `check_picture`), or they differ in size.
    """
    check_picture(real, "real")
    check_picture(generated, "generated")
    if real.shape != generated.shape:
        message = (
            "pictures of a pair have one size; "
            f"the real one is {real.shape}, the generated one {generated.shape}"
        )
        raise ValueError(message)


def row_strips(image: NDArray[np.uint8], *, values: int) -> Iterator[slice]:
    """Cut the rows of a picture into strips, so that work on one strip stays in the cache.

    Args:
        image: (H, W, 3) uint8.
        values: numbers (3 a pixel) that a strip may hold; it has at least one row all the same.

    Yields:
        Slices that cover all rows once, top to bottom; all but the last have the same length.
    """
    height_px = image.shape[0]
    rows = max(1, values // (image.shape[1] * image.shape[2]))
    for top in range(0, height_px, rows):
        yield slice(top, min(top + rows, height_px))
