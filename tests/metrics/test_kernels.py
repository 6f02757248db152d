"""What compiled loops take and need; their values are tested where they are used (`pixels`)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import pytest

from tpbench.metrics import kernels
from tpbench.metrics.pixels import lab_statistics, laplacian_variance, rgb_to_lab, ssim


def noise(seed: int, *, width_px: int = 140) -> np.ndarray:
    size = (40, width_px, 3)
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def as_view(image: np.ndarray) -> np.ndarray:
    """Every other column of a picture twice as wide."""
    wide = np.zeros((image.shape[0], 2 * image.shape[1], 3), np.uint8)
    wide[:, ::2] = image
    return wide[:, ::2]


def read_only(image: np.ndarray) -> np.ndarray:
    locked = image.copy()
    locked.flags.writeable = False
    return locked


@pytest.mark.parametrize("change", [as_view, read_only])
@pytest.mark.parametrize(
    "measure",
    [rgb_to_lab, lab_statistics, laplacian_variance, lambda image: ssim(image, noise(1))],
)
def test_pictures_may_be_views_and_read_only(
    measure: Callable[[np.ndarray], Any], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    image = noise(0)
    np.testing.assert_array_equal(measure(change(image)), measure(image))


def test_threads_do_not_share_memory() -> None:
    pairs = [(noise(seed, width_px=140 + seed % 3), seed) for seed in range(60)]

    def measure(pair: tuple[np.ndarray, int]) -> float:
        image, seed = pair
        return ssim(image, noise(seed + 100, width_px=image.shape[1]))

    alone = [measure(pair) for pair in pairs]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(measure, pairs)) == alone


def test_loops_compile_where_no_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def without_cache(*signature: object, cache: bool = False, nogil: bool, **_: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*signature, nogil=nogil)

    monkeypatch.setattr(numba, "njit", without_cache)

    @kernels._compiled()
    def twice(number: int) -> int:
        return 2 * number

    assert twice(21) == 42
