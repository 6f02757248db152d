"""What a head looks like in 128 bits, so that nearly equal pictures differ in few of them.

The square around the face points is reduced to 32 x 32 grey values, and each bit is the sign of one
of the 128 lowest frequencies of its discrete cosine transform, without the mean. Brightness and
contrast cancel out, and neither black bars nor the crop of a clip matter: the square is placed by
the points. In a mirror, exactly the coefficients of odd horizontal frequencies change their sign:
the hash of the mirrored picture is the hash with those bits inverted (`mirrored`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.wholebody import FACE, VISIBLE_SCORE, WholeBodyPose

N_BITS: Final = 128
HASH_BYTES: Final = N_BITS // 8
_GRID_PX: Final = 32
_FINE_PX: Final = 4 * _GRID_PX
"""Side of the square when it is cut out, before it is reduced."""
_LEAST_POINTS: Final = 34
"""Half of the face: fewer points don't tell where it is."""
_SIDE: Final = 5.2
"""Side of the square, in root mean square distances of the face points from their centre: the head
with its hair, and a little of the background."""
_LEAST_SIDE_PX: Final = 16
_ROWS_AT_ONCE: Final = 4096

_SLOPE: Final = np.sin((np.arange(_GRID_PX) + 0.5) * np.pi / _GRID_PX)
_WINDOW: Final = np.sqrt(np.outer(_SLOPE, _SLOPE)).astype(np.float32)
"""Its edges count less: they differ most where the square is placed a little differently."""

Hashes = NDArray[np.uint64]
"""(n, 2) uint64: the 128 bits of each picture."""


def _lowest_frequencies() -> NDArray[np.intp]:
    """Return (128, 2) pairs of vertical and horizontal frequency, lowest first, without (0, 0)."""
    grid = np.indices((_GRID_PX, _GRID_PX)).reshape(2, -1).T
    order = np.lexsort((grid[:, 1], grid[:, 0], (grid**2).sum(axis=1)))
    return np.asarray(grid[order[1 : N_BITS + 1]], dtype=np.intp)


_FREQUENCIES: Final = _lowest_frequencies()


def _packed(bits: NDArray[np.bool_]) -> Hashes:
    """Pack (n, 128) bits into (n, 2) uint64, the same on every machine."""
    return np.packbits(bits, axis=-1).view(">u8").astype(np.uint64)


_ODD_ACROSS: Final = _packed((_FREQUENCIES[:, 1] % 2 == 1)[None])[0]


def head_squares(pose: WholeBodyPose, fps: float) -> NDArray[np.float64]:
    """Return centre x, centre y and side in px of the square around the head in each frame.

    The centre is that of the face points, as the median of three frames. The side follows from the
    mean distance of the points from it, as the median over two seconds: found points tremble, and a
    side that is off by 4 % changes the hash as much as another moment does.

    Args:
        pose: of one clip.
        fps: its frames a second.

    Returns:
        (T, 3) float64; NaN where fewer than half of the 68 face points are seen, or the face is
        tiny.
    """
    points = pose.keypoints[:, FACE].astype(np.float64)
    seen = (pose.scores[:, FACE] > VISIBLE_SCORE) & np.isfinite(points).all(axis=2)
    is_face = seen.sum(axis=1) >= _LEAST_POINTS
    squares = np.full((len(pose), 3), np.nan)
    weights = seen[is_face, :, None] / seen[is_face].sum(axis=1)[:, None, None]
    faces = np.where(seen[is_face, :, None], points[is_face], 0.0)
    centres = (faces * weights).sum(axis=1)
    spread = (((faces - centres[:, None]) ** 2) * weights).sum(axis=(1, 2))
    squares[is_face, :2] = centres
    squares[is_face, 2] = _SIDE * np.sqrt(spread)
    for column, reach in ((0, 1), (1, 1), (2, round(fps))):
        squares[:, column] = _median_nearby(squares[:, column], reach)
    squares[~(squares[:, 2] >= _LEAST_SIDE_PX)] = np.nan
    return squares


def _median_nearby(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Return the median over each value and `reach` neighbours on either side; NaN stays NaN."""
    if not len(values):
        return values
    padded = np.pad(values, reach, constant_values=np.nan)
    known = np.isfinite(values)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    found = np.full_like(values, np.nan)
    for at in np.array_split(np.flatnonzero(known), max(1, len(values) // _ROWS_AT_ONCE)):
        found[at] = np.nanmedian(around[at], axis=1)
    return found


def head_hash(image: NDArray[np.uint8], square: NDArray[np.floating]) -> Hashes | None:
    """Return the hash of a head as (2,) uint64; None if the square lies outside the picture.

    What the square has beyond the edge of the picture continues the pixels at the edge.

    Args:
        image: (H, W, 3) uint8 RGB.
        square: (3,), a row of `head_squares`; NaN has no hash.
    """
    height_px, width_px = image.shape[:2]
    x_px, y_px, side_px = map(float, square)
    if not (0 <= x_px < width_px and 0 <= y_px < height_px and side_px <= 2 * max(image.shape)):
        return None
    # To a fraction of a pixel: a square that is off by half of one changes several bits.
    step = side_px / _FINE_PX
    corner = np.array([x_px, y_px]) - (side_px - step) / 2
    grid = np.array([[step, 0, corner[0]], [0, step, corner[1]]])
    fine = cv2.warpAffine(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
        grid,
        (_FINE_PX, _FINE_PX),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    small = cv2.resize(fine, (_GRID_PX, _GRID_PX), interpolation=cv2.INTER_AREA)
    levels = small.astype(np.float32)
    waves = cv2.dct((levels - levels.mean()) * _WINDOW)
    made: Hashes = _packed((waves[_FREQUENCIES[:, 0], _FREQUENCIES[:, 1]] > 0)[None])[0]
    return made


def mirrored(hashes: Hashes) -> Hashes:
    """Return the hashes of the mirrored pictures; twice gives the hashes again."""
    turned: Hashes = hashes ^ _ODD_ACROSS
    return turned


def _bit_counts_by_table(words: Hashes) -> NDArray[np.uint8]:
    halves = np.ascontiguousarray(words).view(np.uint16).reshape(*words.shape, 4)
    counts: NDArray[np.uint8] = _BITS_OF[halves].sum(axis=-1, dtype=np.uint8)
    return counts


_BITS_OF: Final = (
    np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8))
    .reshape(1 << 16, 16)
    .sum(axis=1, dtype=np.uint8)
)
_bit_counts: Final[Callable[[Hashes], NDArray[np.uint8]]] = getattr(
    np, "bitwise_count", _bit_counts_by_table
)
"""NumPy counts bits itself from version 2 on."""


def bits_apart(one: Hashes, other: Hashes) -> NDArray[np.int64]:
    """Return in how many of 128 bits hashes differ: (..., 2) and (..., 2) to (...) int64."""
    counts: NDArray[np.int64] = _bit_counts(one ^ other).sum(axis=-1, dtype=np.int64)
    return counts


def distances(one: Hashes, other: Hashes) -> NDArray[np.uint8]:
    """Return in how many of 128 bits each hash differs from each other one: (n, m) uint8.

    Uses about 10 bytes for each of the n x m pairs.
    """
    apart = _bit_counts(one[:, None, 0] ^ other[None, :, 0])
    apart += _bit_counts(one[:, None, 1] ^ other[None, :, 1])
    return apart
