from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tpbench.metrics.pixels import disco_l1, mean_absolute_error

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=12).map(lambda shape: (*shape, 3))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape)))


def reference_numpy_l1(real: np.ndarray, generated: np.ndarray) -> float:
    return float(np.abs(real.astype(np.int64) - generated.astype(np.int64)).mean())


@given(PAIRS)
def test_l1_equals_numpy_and_its_own_mirror(pair: tuple[np.ndarray, np.ndarray]) -> None:
    real, generated = pair

    value = mean_absolute_error(real, generated)

    assert value == pytest.approx(reference_numpy_l1(real, generated), abs=1e-12)
    assert value == mean_absolute_error(generated, real)
    # Views that OpenCV can't walk over directly: BGR, and every other column.
    assert mean_absolute_error(real[..., ::-1], generated[..., ::-1]) == value
    assert mean_absolute_error(real[:, ::2], generated[:, ::2]) == pytest.approx(
        reference_numpy_l1(real[:, ::2], generated[:, ::2]), abs=1e-12
    )


def test_nothing_wraps_around() -> None:
    dark, light = np.zeros((512, 512, 3), np.uint8), np.full((512, 512, 3), 255, np.uint8)

    assert mean_absolute_error(dark, light) == 255.0
    assert mean_absolute_error(light, dark) == 255.0


def test_disco_l1_is_divided_by_the_pixels_once_more() -> None:
    """17.4 grey levels are what the tables print as 2.66e-4 at 256 x 256."""
    real = np.zeros((256, 256, 3), np.uint8)
    generated = np.full((256, 256, 3), 17, np.uint8)
    generated[: 256 * 2 // 5] = 18

    assert mean_absolute_error(real, generated) == pytest.approx(17.4, abs=0.01)
    assert disco_l1(real, generated) == pytest.approx(2.66e-4, abs=1e-6)
    assert disco_l1(real[:128], generated[:128]) > 1.9 * disco_l1(real, generated)


@pytest.mark.parametrize("metric", [mean_absolute_error, disco_l1])
def test_two_sizes_are_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="one size"):
        metric(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8))
