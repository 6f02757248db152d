"""Appearance over time: colour and sharpness against the real clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.pixels import check_picture, row_strips

# sRGB primaries and white D65 (2 degrees) in the digits that scikit-image has; OpenCV's white
# differs in the fifth, which moves a* and b* by 0.003.
_XYZ_FROM_RGB: Final = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
_WHITE: Final = np.array([0.95047, 1.0, 1.08883])
_RELATIVE_XYZ_FROM_RGB: Final = (_XYZ_FROM_RGB / _WHITE[:, None]).astype(np.float32)
_LAB_FROM_F: Final = np.array(
    [[0, 116, 0, -16], [500, -500, 0, 0], [0, 200, -200, 0]], dtype=np.float32
)
_DARK: Final = 0.008856
_STRIP_VALUES: Final = 49152


def _linear_light() -> NDArray[np.float32]:
    """Undo the sRGB curve for each of the 256 levels."""
    level = np.arange(256) / 255
    linear = np.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)
    return linear.astype(np.float32)


_LINEAR_LIGHT: Final = _linear_light()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabStatistics:
    """CIELAB values of a frame, or their mean over frames."""

    mean: NDArray[np.float64]
    """(3,) L* in [0, 100], a* and b* in about [-128, 128]."""
    spread: NDArray[np.float64]
    """(3,) standard deviation over the pixels of a frame, in the same units."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColourShift:
    """Generated minus real."""

    mean: NDArray[np.float64]
    """(3,) shift of mean L*, a*, b*."""
    spread: NDArray[np.float64]
    """(3,) shift of the standard deviations: below 0 is paler, flatter."""
    delta_e: float
    """Length of `mean`: the CIE76 distance of the mean colours, about 2.3 is just seen."""


def rgb_to_lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return CIELAB values of an sRGB picture (white D65, 2 degrees).

    L* = 116 f(Y/Yn) - 16, a* = 500 (f(X/Xn) - f(Y/Yn)), b* = 200 (f(Y/Yn) - f(Z/Zn)) with
    f(t) = t^(1/3) above 0.008856 and 7.787 t + 16/116 below. Equals `skimage.color.rgb2lab`
    to 1e-3. OpenCV's own conversion of float pictures is up to 0.4 off, so it is not used.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 3) float32: L* in [0, 100], a* and b* in about [-128, 128].

    Raises:
        ValueError: it is no picture.
    """
    check_picture(image, "given")
    workspace = np.empty((2, image.size), dtype=np.float32)
    return _lab_of(image, workspace)


def _lab_of(image: NDArray[np.uint8], workspace: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert in a workspace of two planes; the result is one of them."""
    first, second = (plane[: image.size].reshape(image.shape) for plane in workspace)
    linear = cv2.LUT(image, _LINEAR_LIGHT, dst=first)
    relative_xyz = cv2.transform(linear, _RELATIVE_XYZ_FROM_RGB, dst=second)
    # The line of the dark colours touches the cube root where it takes over and is above it
    # elsewhere: so this chooses between the two, without asking pixel by pixel.
    root = first
    # OpenCV compares with a single number three times as fast as NumPy, once there is one channel.
    cv2.max(_one_channel(relative_xyz), _DARK, dst=_one_channel(root))
    np.cbrt(root, out=root)
    line = relative_xyz
    line *= 7.787
    line += 16 / 116
    f = np.minimum(root, line, out=root)
    lab: NDArray[np.float32] = cv2.transform(f, _LAB_FROM_F, dst=second)
    return lab


def _one_channel(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return image.reshape(image.shape[0], -1)


def lab_statistics(image: NDArray[np.uint8]) -> LabStatistics:
    """Return mean and standard deviation of L*, a*, b* over the pixels of a picture.

    Args:
        image: (H, W, 3) uint8 RGB.

    Raises:
        ValueError: it is no picture.
    """
    check_picture(image, "given")
    total, total_of_squares = np.zeros(3), np.zeros(3)
    workspace = np.empty((2, max(_STRIP_VALUES, image[0].size)), dtype=np.float32)
    for rows in row_strips(image, values=_STRIP_VALUES):
        lab = _lab_of(image[rows], workspace)
        mean, deviation = (moment[:, 0] for moment in cv2.meanStdDev(lab))
        n_pixels = lab.shape[0] * lab.shape[1]
        total += n_pixels * mean
        total_of_squares += n_pixels * (deviation**2 + mean**2)
    n_pixels = image.shape[0] * image.shape[1]
    mean = total / n_pixels
    variance = np.maximum(total_of_squares / n_pixels - mean**2, 0.0)
    return LabStatistics(mean=mean, spread=np.sqrt(variance))


def colour_shift(real: LabStatistics, generated: LabStatistics) -> ColourShift:
    """Return generated minus real, of one frame or of a clip's means."""
    mean = generated.mean - real.mean
    return ColourShift(
        mean=mean,
        spread=generated.spread - real.spread,
        delta_e=float(np.linalg.norm(mean)),
    )


# Luma (BT.601) in thousandths: all that follows are integers below 2^24, which float32 holds
# exactly, so that a picture of one colour has variance 0 and not 1e-10.
_MILLILUMA: Final = np.array([[299, 587, 114]], dtype=np.float32)


def laplacian_variance(image: NDArray[np.uint8]) -> float:
    """Return the variance over pixels of the Laplacian of luma.

    Luma is 0.299 R + 0.587 G + 0.114 B, unrounded: rounding to 8 bit would add about 1.7 to the
    variance, which is not small for blurred pictures. The Laplacian is that of the four neighbours
    (0 1 0 / 1 -4 1 / 0 1 0), the picture being mirrored at its border rows and columns.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        Squared grey levels, 0 or more; 0 for a picture of one colour.

    Raises:
        ValueError: it is no picture.
    """
    check_picture(image, "given")
    height_px = image.shape[0]
    total, total_of_squares = 0.0, 0.0
    for rows in row_strips(image, values=_STRIP_VALUES):
        # A row more on either side, so that only the picture's own border is mirrored.
        top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, height_px)
        luma = cv2.transform(image[top:bottom].astype(np.float32), _MILLILUMA)
        laplacian = cv2.Laplacian(luma, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REFLECT_101)
        laplacian = laplacian[rows.start - top : rows.stop - top]
        mean, deviation = (float(moment[0, 0]) for moment in cv2.meanStdDev(laplacian))
        total += laplacian.size * mean
        total_of_squares += laplacian.size * (deviation**2 + mean**2)
    n_pixels: int = height_px * image.shape[1]
    variance = total_of_squares / n_pixels - (total / n_pixels) ** 2
    return max(0.0, variance) / 1000**2
