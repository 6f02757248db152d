from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.metrics import peak_signal_noise_ratio

from tpbench.metrics.psnr import (
    CAP_DB,
    Psnr,
    PsnrStatistics,
    capped,
    compute_psnr,
    mean_squared_error,
    psnr,
)
from tpbench.video import read_frames

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=12).map(lambda shape: (*shape, 3))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape)))


def reference_skimage_psnr(real: np.ndarray, generated: np.ndarray) -> float:
    return float(peak_signal_noise_ratio(real, generated, data_range=255))


def wrapped_psnr(real: np.ndarray, generated: np.ndarray) -> float:
    """The mistake of a published script: difference and square in uint8."""
    difference = real - generated
    return float(10 * np.log10(255**2 / (difference * difference).mean()))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@given(PAIRS)
def test_psnr_equals_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    real, generated = pair
    assume((real != generated).any())

    value = psnr(real, generated)

    assert value == pytest.approx(reference_skimage_psnr(real, generated), abs=1e-9)
    assert value == psnr(generated, real)
    assert value == psnr(real[..., ::-1], generated[..., ::-1])


@pytest.mark.parametrize("size", [(720, 1280), (33, 97), (1, 1)])
def test_psnr_equals_scikit_image_at_any_size(size: tuple[int, int]) -> None:
    real, generated = noise(*size), noise(*size, seed=1)

    expected = reference_skimage_psnr(real, generated)
    assert psnr(real, generated) == pytest.approx(expected, abs=1e-9)


def test_hand_worked_values() -> None:
    real = np.zeros((10, 10, 3), np.uint8)
    one_off = real.copy()
    one_off[4, 5, 1] = 1

    assert mean_squared_error(real, one_off) == 1 / 300
    assert psnr(real, one_off) == pytest.approx(48.1308 + 24.7712, abs=1e-4)
    assert psnr(real, np.full_like(real, 255)) == 0.0
    assert psnr(real, real.copy()) == math.inf


def test_the_largest_error_of_a_large_picture_is_exact() -> None:
    dark = np.zeros((2160, 3840, 3), np.uint8)

    assert mean_squared_error(dark, ~dark) == 255.0**2


@pytest.mark.shared
def test_differences_of_real_videos_do_not_wrap_around(shared_dir: Path) -> None:
    """Two unrelated talks are 9.43 dB apart over 64 frames; in uint8 it would be 28.28."""
    folder = shared_dir / "data" / "talkingpose_samples"
    accumulator = Psnr()
    wrapped = []
    pairs = zip(read_frames(folder / "vid1.mp4"), read_frames(folder / "vid3.mp4"), strict=False)
    for real, generated in itertools.islice(pairs, 64):
        accumulator.update(real.image, generated.image)
        wrapped.append(wrapped_psnr(real.image, generated.image))

    assert accumulator.compute().psnr_db == pytest.approx(9.43, abs=0.005)
    assert np.mean(wrapped) == pytest.approx(28.28, abs=0.005)


def test_identical_frames_count_as_100_db_and_are_counted() -> None:
    real = noise(8, 8)
    others = [noise(8, 8, seed=seed) for seed in (1, 2, 3)]
    accumulator = Psnr()
    assert accumulator.update(real, real.copy()) == math.inf
    values = [accumulator.update(real, other) for other in others]

    summary = accumulator.compute()

    assert summary.psnr_db == pytest.approx((100 + sum(values)) / 4, abs=1e-12)
    assert summary.identical_share == 0.25
    assert summary.n_frames == 4


def test_a_clip_of_identical_frames_only_has_100_db() -> None:
    accumulator = Psnr()
    for _ in range(3):
        accumulator.update(noise(4, 4), noise(4, 4))

    summary = accumulator.compute()

    assert summary.psnr_db == 100
    assert summary.identical_share == 1.0


@given(st.floats(0, 140), st.lists(st.floats(0, 140), max_size=5))
def test_a_mean_never_falls_when_a_frame_becomes_perfect(worse: float, others: list[float]) -> None:
    def mean(*values: float) -> float:
        statistics = PsnrStatistics()
        for value in values:
            statistics = statistics.with_value(value)
        return compute_psnr(statistics).psnr_db

    assert mean(math.inf, *others) >= mean(worse, *others) - 1e-12


def test_one_wrong_value_in_a_large_picture_is_not_better_than_none() -> None:
    real = np.zeros((1200, 1200, 3), np.uint8)
    one_off = real.copy()
    one_off[4, 5, 1] = 1

    assert psnr(real, one_off) > CAP_DB
    assert capped(psnr(real, one_off)) == capped(psnr(real, real)) == CAP_DB


def test_no_frames_have_no_psnr() -> None:
    summary = Psnr().compute()

    assert math.isnan(summary.psnr_db)
    assert math.isnan(summary.identical_share)
    assert summary.n_frames == 0


@given(st.permutations(range(6)), st.integers(0, 6))
def test_order_and_parts_change_nothing(order: list[int], cut: int) -> None:
    pairs = [(noise(6, 7, seed=n), noise(6, 7, seed=max(n, 1) + 10 * (n % 2))) for n in range(6)]
    whole, first, second = Psnr(), Psnr(), Psnr()
    for pair in pairs:
        whole.update(*pair)
    for at, number in enumerate(order):
        (first if at < cut else second).update(*pairs[number])
    first.merge(second)

    assert 0 < whole.compute().identical_share < 1
    assert first.compute().psnr_db == pytest.approx(whole.compute().psnr_db, abs=1e-9)
    assert first.compute().identical_share == whole.compute().identical_share


def test_pooled_error_is_another_and_lower_number() -> None:
    real = np.zeros((4, 4, 3), np.uint8)
    near, far = real + 1, real + 100
    accumulator = Psnr()
    accumulator.update(real, near)
    accumulator.update(real, far)
    pooled = reference_skimage_psnr(np.stack([real, real]), np.stack([near, far]))

    # 20 log10(255) - (0 + 40) / 2 against 20 log10(255) - 10 log10(5000.5)
    assert accumulator.compute().psnr_db == pytest.approx(48.1308 - 20, abs=1e-4)
    assert pooled == pytest.approx(48.1308 - 36.9901, abs=1e-4)


def test_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        psnr(noise(4, 4), noise(4, 5))
