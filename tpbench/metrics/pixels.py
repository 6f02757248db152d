"""Image metrics of single frames: PSNR, SSIM and L1, colour and sharpness.

Images are (H, W, 3) uint8 RGB, and those of a pair have one size: anything else raises a
`ValueError` (`check_picture`, `check_pair`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray


def check_picture(image: NDArray[np.uint8], name: str) -> None:
    """Reject anything but (H, W, 3) uint8 with at least one pixel.

    Raises:
        ValueError: states shape and dtype of the image, and its `name` ("real", "generated").
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"a picture is (H, W, 3) uint8 RGB; the {name} one is {image.shape} {image.dtype}"
        )


def check_pair(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> None:
    """Reject two images that can't be compared pixel by pixel.

    Raises:
        ValueError: one is no image (see `check_picture`), or they differ in size.
    """
    check_picture(real, "real")
    check_picture(generated, "generated")
    if real.shape != generated.shape:
        raise ValueError(
            "pictures of a pair have one size; "
            f"the real one is {real.shape}, the generated one {generated.shape}"
        )


def row_strips(image: NDArray[np.uint8], *, values: int) -> Iterator[slice]:
    """Cut the rows of an image into strips, so that work on one strip stays in the cache.

    Args:
        image: (H, W, 3) uint8.
        values: numbers (3 a pixel) that a strip may hold; it always has at least one row.

    Yields:
        Slices that cover all rows once, top to bottom; all but the last have the same length.
    """
    height_px = image.shape[0]
    rows = max(1, values // (image.shape[1] * image.shape[2]))
    for top in range(0, height_px, rows):
        yield slice(top, min(top + rows, height_px))


CAP_DB: Final = 100.0
"""What a PSNR of a frame above this, or an infinite one, counts as."""


def capped(psnr_db: float) -> float:
    """Return what a frame's PSNR counts as: itself, but `CAP_DB` at most.

    >>> [capped(value) for value in (30.0, 100.0, 107.1, math.inf)]
    [30.0, 100.0, 100.0, 100.0]
    """
    return min(psnr_db, CAP_DB)


def mean_squared_error(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return sum (real - generated)^2 / (H W 3), in squared grey levels, 0 to 65025.

    The sum is over integers, so it is exact. Subtracting uint8 arrays would wrap around: a known
    script printed 28 dB for images that are 9 dB apart.
    """
    check_pair(real, generated)
    # OpenCV squares a root, which may change the last bit: rounding restores the integer.
    return round(cv2.norm(real, generated, cv2.NORM_L2SQR)) / real.size


def psnr(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of one frame, 10 log10(255^2 / MSE).

    MSE is over all pixels and channels of the RGB image. Equals scikit-image's
    `peak_signal_noise_ratio(data_range=255)`, but neither PSNR of luma nor the mean over channels.

    Returns:
        dB, 0 to about 48.13 + 10 log10(H W 3) (one value off by one), and inf for identical images.
    """
    mse = mean_squared_error(real, generated)
    return 10.0 * math.log10(255.0**2 / mse) if mse > 0 else math.inf


_C1: Final = (0.01 * 255) ** 2
_C2: Final = (0.03 * 255) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    weights: tuple[np.floating[Any], ...]
    """The window is their outer product. All arithmetic is in their type."""
    c2: float
    """C2 over the factor that a variance should be multiplied with: the quotient is the same."""


def _gaussian(sigma_px: float, radius_px: int) -> tuple[np.float32, ...]:
    offsets = np.arange(-radius_px, radius_px + 1)
    weights = np.exp(-(offsets**2) / (2 * sigma_px**2))
    return tuple((weights / weights.sum()).astype(np.float32))


_GAUSSIAN: Final = _Window(weights=_gaussian(1.5, 5), c2=_C2)
# Sample covariance: 49 pixels a window, divided by 48. In float64, as float32 is up to 3e-6 off
# where tiles hold black and white, and one channel is cheap.
_UNIFORM: Final = _Window(weights=tuple(np.full(7, 1 / 7)), c2=_C2 * 48 / 49)


def ssim(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return the mean structural similarity of two RGB images, weighted as by Wang et al. (2004).

    SSIM = (2 m_x m_y + C1)(2 cov_xy + C2) / ((m_x^2 + m_y^2 + C1)(v_x + v_y + C2)) under a Gaussian
    window of 11 x 11 px (sigma 1.5), C1 = (0.01 * 255)^2, C2 = (0.03 * 255)^2; per channel, then
    the mean over channels and over the pixels whose window lies inside the image. Equals
    scikit-image's `structural_similarity(channel_axis=-1, data_range=255, gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False)` to 1e-5: about 1e-7 on photographs, 2e-6 on test cards
    of a few flat colours a hundred levels apart.

    Returns:
        In [-1, 1]; 1 for identical images. The order of the two doesn't matter.

    Raises:
        ValueError: they are smaller than the window.
    """
    check_pair(real, generated)
    return _mean_ssim(real, generated, _GAUSSIAN)


def disco_ssim(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return the "SSIM" of the published TikTok tables.

    As in DisCo's evaluation: OpenCV's 8-bit grey (BT.601), a uniform window of 7 x 7 px and sample
    covariances, which are scikit-image's defaults (equal to 1e-6). Colour errors that keep the luma
    have no effect, and noise costs far less than in `ssim` (0.75 against 0.46 for sigma 10): the
    two are not comparable.

    Returns:
        In [-1, 1]; 1 for identical images.

    Raises:
        ValueError: they are smaller than the window.
    """
    check_pair(real, generated)
    return _mean_ssim(
        cv2.cvtColor(real, cv2.COLOR_RGB2GRAY),
        cv2.cvtColor(generated, cv2.COLOR_RGB2GRAY),
        _UNIFORM,
    )


def _mean_ssim(x: NDArray[np.uint8], y: NDArray[np.uint8], window: _Window) -> float:
    """Average SSIM over all windows inside (H, W) or (H, W, 3) images."""
    from tpbench.metrics import kernels

    side_px = len(window.weights)
    height_px, width_px = x.shape[0] - side_px + 1, x.shape[1] - side_px + 1
    if height_px < 1 or width_px < 1:
        raise ValueError(
            f"SSIM needs at least {side_px} x {side_px} px, the size of its window; "
            f"the pictures are {x.shape[1]} x {x.shape[0]}"
        )
    constants = [type(window.weights[0])(2 * value) for value in (_C1, window.c2)]
    channels = list(zip(_channels(x, _KEPT.real), _channels(y, _KEPT.generated), strict=True))
    total: float = sum(kernels.ssim_total(*pair, window.weights, *constants) for pair in channels)
    n_values: int = len(channels) * height_px * width_px
    return total / n_values


class _Kept(threading.local):
    """The channels of each thread's last pictures: new memory would cost more than to fill it."""

    def __init__(self) -> None:
        self.real: list[NDArray[np.uint8]] = []
        self.generated: list[NDArray[np.uint8]] = []


_KEPT: Final = _Kept()


def _channels(
    image: NDArray[np.uint8], kept: list[NDArray[np.uint8]]
) -> Sequence[NDArray[np.uint8]]:
    """Return the channels of an image, (H, W) uint8 each, in memory that is kept."""
    if image.ndim == 2:
        return [image]
    kept[:] = cv2.split(image, kept)
    return kept


def mean_absolute_error(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return the mean absolute difference of two images in grey levels, over pixels and channels.

    sum |real - generated| / (H W 3). The sum is over integers and exact: nothing wraps around.

    Returns:
        Levels in [0, 255]; 0 for identical images. The order of the channels doesn't matter.
    """
    check_pair(real, generated)
    return float(cv2.norm(real, generated, cv2.NORM_L1)) / real.size


def disco_l1(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return the "L1" of the published TikTok tables.

    DisCo's evaluation divides the mean absolute error by the number of pixels once more:
    mean_absolute_error / (H W). So the value depends on the resolution: 17.4 levels become 2.66e-4
    at 256 x 256 and a fourth of that at 512 x 512. Only compare values of one image size.

    Returns:
        In [0, 255 / (H W)].
    """
    height_px, width_px = real.shape[:2]
    return mean_absolute_error(real, generated) / int(height_px * width_px)


# sRGB primaries and white D65 (2 degrees) with the digits of scikit-image; OpenCV's white differs
# in the fifth digit, which changes a* and b* by 0.003.
_XYZ_FROM_RGB: Final = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
_WHITE: Final = np.array([0.95047, 1.0, 1.08883])
_RELATIVE_XYZ_FROM_RGB: Final = (_XYZ_FROM_RGB / _WHITE[:, None]).astype(np.float32)


def _linear_light() -> NDArray[np.float32]:
    """Invert the sRGB curve for each of the 256 levels."""
    level = np.arange(256) / 255
    linear = np.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)
    return linear.astype(np.float32)


_LINEAR_LIGHT: Final = _linear_light()


def rgb_to_lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return CIELAB values of an sRGB image (white D65, 2 degrees).

    L* = 116 f(Y/Yn) - 16, a* = 500 (f(X/Xn) - f(Y/Yn)), b* = 200 (f(Y/Yn) - f(Z/Zn)) with
    f(t) = t^(1/3) above 0.008856 and 7.787 t + 16/116 below. Equals `skimage.color.rgb2lab`
    to 1e-3. OpenCV's own conversion of float images is up to 0.4 off, so it is not used.

    Returns:
        (H, W, 3) float32: L* in [0, 100], a* and b* in about [-128, 128].
    """
    from tpbench.metrics import kernels

    check_picture(image, "given")
    lab = np.empty(image.shape, np.float32)
    contiguous = np.ascontiguousarray(image)
    kernels.fill_lab(contiguous, _LINEAR_LIGHT, _RELATIVE_XYZ_FROM_RGB, lab)
    return lab


def lab_statistics(image: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of L*, a*, b* over the pixels of an image, (3,) each."""
    from tpbench.metrics import kernels

    check_picture(image, "given")
    contiguous = np.ascontiguousarray(image)
    mean, variance = kernels.lab_moments(contiguous, _LINEAR_LIGHT, _RELATIVE_XYZ_FROM_RGB)
    return mean, np.sqrt(variance)


def colour_shift(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> list[float]:
    """Return the differences of a generated frame's colours from those of the real one.

    Returns:
        Seven numbers: shift of the mean of L*, a*, b*; shift of their standard deviations (below 0
        is paler, flatter); and the length of the first three, the CIE76 distance of the mean
        colours, of which about 2.3 is just noticeable.
    """
    of_real, of_generated = lab_statistics(real), lab_statistics(generated)
    mean, spread = (after - before for before, after in zip(of_real, of_generated, strict=True))
    return [*mean.tolist(), *spread.tolist(), float(np.linalg.norm(mean))]


def laplacian_variance(image: NDArray[np.uint8]) -> float:
    """Return the variance over pixels of the Laplacian of luma.

    Luma is 0.299 R + 0.587 G + 0.114 B, unrounded: rounding to 8 bit would add about 1.7 to the
    variance, which is not small for blurred images. The Laplacian is that of the four neighbours
    (0 1 0 / 1 -4 1 / 0 1 0), with the image mirrored at its border rows and columns.

    Returns:
        Squared grey levels, 0 or more; 0 for an image of one colour.
    """
    from tpbench.metrics import kernels

    check_picture(image, "given")
    total, squares = kernels.laplacian_moments(np.ascontiguousarray(image))
    n_pixels: int = image.shape[0] * image.shape[1]
    return max(0.0, squares / n_pixels - (total / n_pixels) ** 2) / 1000**2
