from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tpbench.detectors.hands import Window, window_around
from tpbench.wholebody import LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER


def body_at(x: float, y: float, width: float) -> np.ndarray:
    """A body seen from the front, its shoulders' middle at (x, y)."""
    points = np.full((17, 2), np.nan)
    points[LEFT_SHOULDER], points[RIGHT_SHOULDER] = (x + width / 2, y), (x - width / 2, y)
    points[LEFT_HIP], points[RIGHT_HIP] = (x + width / 3, y + width), (x - width / 3, y + width)
    return points


@given(
    x=st.floats(-200, 2200),
    y=st.floats(-200, 1300),
    width=st.floats(0, 2000),
    height_px=st.integers(2, 1200),
    width_px=st.integers(2, 2000),
)
def test_a_window_never_leaves_the_picture(
    x: float, y: float, width: float, height_px: int, width_px: int
) -> None:
    window = window_around(body_at(x, y, width), (height_px, width_px), None)
    image = np.zeros((height_px, width_px, 3), dtype=np.uint8)
    assert window.cut(image).shape == (window.side_px, window.side_px, 3)


def test_a_wide_shot_is_cut_down_to_where_arms_reach() -> None:
    window = window_around(body_at(600, 400, 100), (1080, 1920), None)
    assert window == Window(x0_px=350, y0_px=150, side_px=500)


def test_a_close_shot_is_looked_at_whole() -> None:
    window = window_around(body_at(256, 200, 200), (512, 512), None)
    assert window == Window(x0_px=0, y0_px=0, side_px=512)


def test_a_window_stays_while_the_person_sways() -> None:
    first = window_around(body_at(600, 400, 100), (1080, 1920), None)
    assert window_around(body_at(690, 350, 110), (1080, 1920), first) is first


def test_a_window_follows_who_walks_away_or_comes_close() -> None:
    first = window_around(body_at(600, 400, 100), (1080, 1920), None)
    walked = window_around(body_at(720, 400, 100), (1080, 1920), first)
    closer = window_around(body_at(600, 400, 130), (1080, 1920), first)
    assert walked == Window(x0_px=470, y0_px=150, side_px=500)
    assert closer.side_px == 650
