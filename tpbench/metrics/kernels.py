"""Loops of the image metrics over single pixels, compiled by Numba.

NumPy and OpenCV would need a dozen passes over each picture, and two threads that share frames
would spend their time handing the interpreter lock to each other. These loops keep a few rows in
the cache and run without the lock. What they compute is defined in `pixels`.

Importing this module takes a moment, and the first use on a machine compiles for some seconds; so
it is imported by the functions that need it. The machine code is kept in `__pycache__` beside the
byte code of Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

P = ParamSpec("P")
T = TypeVar("T")

_TILE_HEIGHT_PX: Final = 32
_TILE_WIDTH_PX: Final = 128
"""Each tile has a level of its own, so that flat parts of a picture lose nothing to an edge. Its
planes and their margin take 50 KB.
"""

_PICTURE: Final = types.Array(types.uint8, 3, "C", readonly=True)
_VECTOR: Final = types.Array(types.float32, 1, "C", readonly=True)
_MATRIX: Final = types.Array(types.float32, 2, "C", readonly=True)

_OPTIONS: Final[dict[str, Any]] = {
    "nogil": True,
    "error_model": "numpy",
    # No fastmath: rounding would depend on what was compiled together, in the last bit.
}


def _part(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a function that others are compiled with."""
    return cast("Callable[P, T]", numba.njit(**_OPTIONS)(function))


def _compiled(*signature: object) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Compile a function, for these types at once or else for those that it is called with."""

    def compile_it(function: Callable[P, T]) -> Callable[P, T]:
        try:
            made = numba.njit(*signature, cache=True, **_OPTIONS)(function)
        except RuntimeError:
            # Neither the package's folder nor the user's cache can be written.
            made = numba.njit(*signature, **_OPTIONS)(function)
        return cast("Callable[P, T]", made)

    return compile_it


@_part
def _take_tile(
    x: NDArray[np.uint8],
    y: NDArray[np.uint8],
    corner: tuple[int, int],
    size: tuple[int, int],
    s: NDArray[Any],
    d: NDArray[Any],
) -> tuple[np.int32, np.int32]:
    """Fill `s` and `d` with sum and difference of two tiles, each less its rounded mean.

    Small numbers lose less when squared. Returns the two levels that were subtracted.
    """
    (top, left), (height, width) = corner, size
    n = height * width
    total_x, total_y = np.int64(0), np.int64(0)
    for i in range(height):
        row_x, row_y = x[top + i][left : left + width], y[top + i][left : left + width]
        sum_x, sum_y = np.int32(0), np.int32(0)
        for j in range(width):
            sum_x += np.int32(row_x[j])
            sum_y += np.int32(row_y[j])
        total_x += np.int64(sum_x)
        total_y += np.int64(sum_y)
    level_x, level_y = (
        np.int32((2 * total_x + n) // (2 * n)),
        np.int32((2 * total_y + n) // (2 * n)),
    )
    for i in range(height):
        row_x, row_y = x[top + i][left : left + width], y[top + i][left : left + width]
        row_s, row_d = s[i], d[i]
        for j in range(width):
            a, b = np.int32(row_x[j]) - level_x, np.int32(row_y[j]) - level_y
            row_s[j] = np.int32(a + b)
            row_d[j] = np.int32(a - b)
    return level_x + level_y, level_x - level_y


@_part
def _down_columns(
    s: NDArray[Any], d: NDArray[Any], width: int, weights: tuple[Any, ...], out: NDArray[Any]
) -> None:
    """Weigh the rows of a window's height: s, d, s^2 and d^2, one row of `out` each."""
    n = len(weights)
    r = n // 2
    for j in range(width):
        sum_s, sum_d = weights[r] * s[r, j], weights[r] * d[r, j]
        sum_ss, sum_dd = sum_s * s[r, j], sum_d * d[r, j]
        for i in range(r):
            s1, s2, d1, d2 = s[i, j], s[n - 1 - i, j], d[i, j], d[n - 1 - i, j]
            sum_s += weights[i] * (s1 + s2)
            sum_d += weights[i] * (d1 + d2)
            sum_ss += weights[i] * (s1 * s1 + s2 * s2)
            sum_dd += weights[i] * (d1 * d1 + d2 * d2)
        out[0, j], out[1, j], out[2, j], out[3, j] = sum_s, sum_d, sum_ss, sum_dd


@_part
def _along_row(row: NDArray[Any], width: int, weights: tuple[Any, ...], out: NDArray[Any]) -> None:
    """Weigh the values of a window's width around each of `width` values."""
    n = len(weights)
    r = n // 2
    middle, weight = row[r : r + width], weights[r]
    for j in range(width):
        out[j] = weight * middle[j]
    for i in range(r):
        weight = weights[i]
        before, behind = row[i : i + width], row[n - 1 - i : n - 1 - i + width]
        for j in range(width):
            out[j] += weight * (before[j] + behind[j])


@_part
def _add_row(
    means: NDArray[Any],
    width: int,
    level_s: np.floating[Any],
    level_d: np.floating[Any],
    c1_twice: np.floating[Any],
    c2_twice: np.floating[Any],
    totals: NDArray[np.float64],
) -> None:
    """Add the SSIM of a row of windowed means of s, d, s^2 and d^2 to the totals of columns."""
    for j in range(width):
        mean_s, mean_d = means[0, j], means[1, j]
        var_s, var_d = means[2, j] - mean_s * mean_s, means[3, j] - mean_d * mean_d
        mean_s += level_s
        mean_d += level_d
        mean_s *= mean_s
        mean_d *= mean_d
        above = (mean_s - mean_d + c1_twice) * (var_s - var_d + c2_twice)
        ratio = above / ((mean_s + mean_d + c1_twice) * (var_s + var_d + c2_twice))
        totals[j] += np.float64(ratio)


@_compiled()
def ssim_total(
    x: NDArray[np.uint8],
    y: NDArray[np.uint8],
    weights: tuple[Any, ...],
    c1_twice: np.floating[Any],
    c2_twice: np.floating[Any],
) -> float:
    """Sum SSIM over the windows inside two channels (formula: `pixels.ssim`).

    With s = x + y and d = x - y, it is (m_s^2 - m_d^2 + 2 C1)(v_s - v_d + 2 C2) over
    (m_s^2 + m_d^2 + 2 C1)(v_s + v_d + 2 C2): four windowed means instead of five.

    Args:
        x: (H, W) uint8, at least as large as the window.
        y: the same of the other picture.
        weights: of the window, which is their outer product: an odd number of one type, symmetric.
            All arithmetic but the sum over rows is of this type.
        c1_twice: 2 C1, of the same type.
        c2_twice: 2 C2, of the same type.
    """
    margin = len(weights) - 1
    height, width = x.shape[0] - margin, x.shape[1] - margin
    of_type = np.array(weights)
    s = np.empty((_TILE_HEIGHT_PX + margin, _TILE_WIDTH_PX + margin), of_type.dtype)
    d = np.empty_like(s)
    columns = np.empty((4, s.shape[1]), of_type.dtype)
    means = np.empty_like(columns)
    # Sums of columns, as one sum would wait for each addition.
    totals = np.zeros(_TILE_WIDTH_PX)
    for top in range(0, height, _TILE_HEIGHT_PX):
        rows = min(_TILE_HEIGHT_PX, height - top)
        for left in range(0, width, _TILE_WIDTH_PX):
            inner = min(_TILE_WIDTH_PX, width - left)
            size = (rows + margin, inner + margin)
            sum_level, difference_level = _take_tile(x, y, (top, left), size, s, d)
            level_s = of_type.dtype.type(sum_level)
            level_d = of_type.dtype.type(difference_level)
            for i in range(rows):
                _down_columns(
                    s[i : i + margin + 1], d[i : i + margin + 1], size[1], weights, columns
                )
                for k in range(4):
                    _along_row(columns[k], inner, weights, means[k])
                _add_row(means, inner, level_s, level_d, c1_twice, c2_twice, totals)
    total: float = totals.sum()
    return total


@_part
def _inverse_lab(
    row: NDArray[np.uint8],
    linear_light: NDArray[np.float32],
    relative_xyz: NDArray[np.float32],
    work: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill `out` (3, W) with f(X/Xn), f(Y/Yn), f(Z/Zn) of a row (W, 3); see `pixels.rgb_to_lab`."""
    width = row.shape[0]
    red, green, blue, root = work[0], work[1], work[2], work[3]
    guess_bits = root.view(np.uint32)
    for j in range(width):
        red[j], green[j], blue[j] = (
            linear_light[row[j, 0]],
            linear_light[row[j, 1]],
            linear_light[row[j, 2]],
        )
    for k in range(3):
        of_red, of_green, of_blue = relative_xyz[k, 0], relative_xyz[k, 1], relative_xyz[k, 2]
        light, f = work[4], out[k]
        light_bits = light.view(np.uint32)
        for j in range(width):
            t = of_red * red[j] + of_green * green[j] + of_blue * blue[j]
            light[j] = max(t, _DARK)
            f[j] = t * _DARK_SLOPE + _DARK_OFFSET
        # A third of the exponent is a cube root to 5 %; each of Halley's steps cubes the error.
        for j in range(width):
            guess_bits[j] = light_bits[j] // np.uint32(3) + np.uint32(709921077)
        for j in range(width):
            t, x = light[j], root[j]
            cube = x * x * x
            x = x * (cube + t + t) / (cube + cube + t)
            cube = x * x * x
            x = x * (cube + t + t) / (cube + cube + t)
            # The line for dark colours touches the cube root at the threshold and is above it
            # elsewhere, so the minimum selects the right one.
            f[j] = min(x, f[j])


_DARK: Final = np.float32(0.008856)
_DARK_SLOPE: Final = np.float32(7.787)
_DARK_OFFSET: Final = np.float32(16 / 116)
_L_SCALE: Final = np.float32(116)
_L_OFFSET: Final = np.float32(16)
_A_SCALE: Final = np.float32(500)
_B_SCALE: Final = np.float32(200)


@_part
def _lab(
    f_x: np.float32, f_y: np.float32, f_z: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """Return L* + 16, a* and b*."""
    return _L_SCALE * f_y, _A_SCALE * (f_x - f_y), _B_SCALE * (f_y - f_z)


@_compiled(types.void(_PICTURE, _VECTOR, _MATRIX, types.float32[:, :, ::1]))
def fill_lab(
    image: NDArray[np.uint8],
    linear_light: NDArray[np.float32],
    relative_xyz: NDArray[np.float32],
    lab: NDArray[np.float32],
) -> None:
    """Fill `lab` with the CIELAB values of a picture (formula: `pixels.rgb_to_lab`).

    Args:
        image: (H, W, 3) uint8 RGB, contiguous.
        linear_light: (256,), the linear light of each level.
        relative_xyz: (3, 3), XYZ relative to white from linear RGB.
        lab: (H, W, 3).
    """
    width = image.shape[1]
    work, f = np.empty((5, width), np.float32), np.empty((3, width), np.float32)
    for i in range(image.shape[0]):
        _inverse_lab(image[i], linear_light, relative_xyz, work, f)
        for j in range(width):
            raised, lab[i, j, 1], lab[i, j, 2] = _lab(f[0, j], f[1, j], f[2, j])
            lab[i, j, 0] = raised - _L_OFFSET


@_compiled(types.float64[:, ::1](_PICTURE, _VECTOR, _MATRIX))
def lab_moments(
    image: NDArray[np.uint8],
    linear_light: NDArray[np.float32],
    relative_xyz: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return mean and variance of L*, a*, b* over the pixels of a picture, (2, 3).

    Moments are taken around the first pixel's colour, so that a picture of one colour has variance
    0. For the arguments, see `fill_lab`.
    """
    height, width = image.shape[0], image.shape[1]
    work, f = np.empty((5, width), np.float32), np.empty((3, width), np.float32)
    first = np.zeros(3, np.float32)
    sums = np.zeros((2, 3))
    for i in range(height):
        _inverse_lab(image[i], linear_light, relative_xyz, work, f)
        f_x, f_y, f_z = f[0], f[1], f[2]
        if i == 0:
            first[0], first[1], first[2] = _lab(f_x[0], f_y[0], f_z[0])
        l_sum, a_sum, b_sum, l_squares, a_squares, b_squares = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(width):
            raised, a, b = _lab(f_x[j], f_y[j], f_z[j])
            l_star = np.float64(raised - first[0])
            a_star, b_star = np.float64(a - first[1]), np.float64(b - first[2])
            l_sum += l_star
            a_sum += a_star
            b_sum += b_star
            l_squares += l_star * l_star
            a_squares += a_star * a_star
            b_squares += b_star * b_star
        sums[0] += np.array((l_sum, a_sum, b_sum))
        sums[1] += np.array((l_squares, a_squares, b_squares))
    sums /= height * width
    sums[1] = np.maximum(sums[1] - sums[0] * sums[0], 0.0)
    sums[0] += first
    sums[0, 0] -= _L_OFFSET
    return sums


@_compiled(types.UniTuple(types.float64, 2)(_PICTURE))
def laplacian_moments(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Return sum and sum of squares of the Laplacian of a picture's luma in thousandths.

    Args:
        image: (H, W, 3) uint8 RGB, contiguous; mirrored at its border rows and columns.
    """
    height, width = image.shape[0], image.shape[1]
    # Whole numbers, so that a picture of one colour has none. Three rows, one column on each side.
    luma = np.empty((3, width + 2), np.int32)
    total, squares = np.int64(0), 0.0
    for i in range(-1, height + 1):
        row, out = image[height - 1 - abs(height - 1 - abs(i))], luma[(i + 1) % 3]
        for j in range(width):
            out[j + 1] = (
                np.int32(299) * np.int32(row[j, 0])
                + np.int32(587) * np.int32(row[j, 1])
                + np.int32(114) * np.int32(row[j, 2])
            )
        out[0], out[width + 1] = out[min(2, width)], out[max(width - 1, 1)]
        if i < 1:
            continue
        above, middle, below = luma[(i - 1) % 3], luma[i % 3], out
        of_row, squares_of_row = np.int64(0), 0.0
        for j in range(width):
            around = above[j + 1] + below[j + 1] + middle[j] + middle[j + 2]
            laplacian = np.int32(around - np.int32(4) * middle[j + 1])
            of_row += np.int64(laplacian)
            exact = np.float64(laplacian)
            squares_of_row += exact * exact
        total += of_row
        squares += squares_of_row
    return float(total), squares
