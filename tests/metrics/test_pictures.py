from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.pixels import check_pair, check_picture, row_strips


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused_with_what_came(image: np.ndarray) -> None:
    good = np.zeros((4, 4, 3), np.uint8)
    told = rf"generated one is {image.shape} {image.dtype}".replace("(", r"\(").replace(")", r"\)")

    with pytest.raises(ValueError, match=told):
        check_picture(image, "generated")
    with pytest.raises(ValueError, match=told):
        check_pair(good, image)
    with pytest.raises(ValueError, match="the real one is"):
        check_pair(image, good)


def test_a_pair_of_two_sizes_is_refused_with_both() -> None:
    with pytest.raises(ValueError, match=r"real one is \(4, 6, 3\), the generated one \(6, 4, 3\)"):
        check_pair(np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4, 3), np.uint8))


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 300))
def test_strips_cover_each_row_once_and_hold_no_more_than_asked(
    height_px: int, width_px: int, values: int
) -> None:
    image = np.zeros((height_px, width_px, 3), np.uint8)

    strips = list(row_strips(image, values=values))

    assert [row for s in strips for row in range(s.start, s.stop)] == list(range(height_px))
    assert all(image[s].size <= max(values, 3 * width_px) for s in strips)
    assert len({s.stop - s.start for s in strips[:-1]}) <= 1
