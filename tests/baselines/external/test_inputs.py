from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.baselines.external.conftest import corners
from tpbench.baselines.external.inputs import CanvasLayout, lay_out
from tpbench.baselines.external.spec import Geometry, load_spec

SIDES = st.integers(min_value=16, max_value=700)


def box(layout: CanvasLayout) -> tuple[int, int, int, int]:
    return layout.x0_px, layout.y0_px, layout.box_width_px, layout.box_height_px


@pytest.mark.parametrize(
    ("method_id", "size", "canvas", "place"),
    [
        # MimicMotion's crop has nothing to cut.
        ("mimicmotion", (512, 512), (1024, 576), (224, 0, 576, 576)),
        ("mimicmotion", (1280, 720), (1024, 576), (0, 0, 1024, 576)),
        ("mimicmotion", (720, 1280), (576, 1024), (0, 0, 576, 1024)),
        ("mimicmotion", (512, 640), (576, 1024), (0, 152, 576, 720)),
        ("stableanimator", (512, 512), (512, 512), (0, 0, 512, 512)),
        ("stableanimator", (432, 768), (576, 1024), (0, 0, 576, 1024)),
        ("stableanimator", (640, 360), (512, 512), (0, 112, 512, 288)),
    ],
)
def test_a_method_works_at_the_size_that_fits_best(
    method_id: str, size: tuple[int, int], canvas: tuple[int, int], place: tuple[int, ...]
) -> None:
    layout = lay_out(load_spec(method_id).geometry, width_px=size[0], height_px=size[1])
    assert (layout.canvas_width_px, layout.canvas_height_px) == canvas
    assert box(layout) == place


def test_padding_keeps_every_pixel() -> None:
    image = corners((90, 70))
    layout = lay_out(Geometry(fit="pad", multiple_of=16), width_px=90, height_px=70)
    canvas = layout.place(image)
    assert canvas.shape == (80, 96, 3)
    assert np.array_equal(layout.take_back(canvas), image)
    assert np.array_equal(canvas[0, 0], image[0, 0])
    assert not layout.place(image, around=(0, 0, 0))[0, 0].any()


def test_stretching_fills_the_canvas() -> None:
    geometry = Geometry(fit="stretch", sizes=((64, 64), (64, 128)))
    layout = lay_out(geometry, width_px=90, height_px=160)
    assert box(layout) == (0, 0, 64, 128)


@given(SIDES, SIDES, st.sampled_from(["letterbox", "stretch"]))
def test_what_is_placed_comes_back(width_px: int, height_px: int, fit: str) -> None:
    geometry = Geometry.model_validate({"fit": fit, "sizes": [[512, 512], [576, 1024]]})
    image = corners((width_px, height_px))
    layout = lay_out(geometry, width_px=width_px, height_px=height_px)
    canvas = layout.place(image)
    back = layout.take_back(canvas)
    assert canvas.shape == (layout.canvas_height_px, layout.canvas_width_px, 3)
    assert back.shape == image.shape
    # A smooth picture survives; a very flat one is squeezed into a few rows by the letterbox.
    if min(layout.box_width_px, layout.box_height_px) > 64:
        assert np.abs(back.astype(int) - image).mean() < 3


def test_points_move_as_pixels_do() -> None:
    layout = lay_out(load_spec("mimicmotion").geometry, width_px=512, height_px=512)
    image = np.zeros((512, 512, 3), dtype=np.uint8)
    cv2.circle(image, (300, 140), 9, (255, 255, 255), -1)
    light = layout.place(image)[..., 0].astype(float)
    rows, columns = np.indices(light.shape)
    x, y = layout.place_points(np.array([300.0, 140.0]))
    assert x == pytest.approx((light * columns).sum() / light.sum(), abs=0.02)
    assert y == pytest.approx((light * rows).sum() / light.sum(), abs=0.02)


def test_labels_are_never_mixed() -> None:
    image = np.zeros((60, 60, 3), dtype=np.uint8)
    image[:, 30:] = (68, 1, 84)
    geometry = Geometry(fit="letterbox", sizes=((512, 512),))
    layout = lay_out(geometry, width_px=60, height_px=60)
    canvas = layout.place(image, labels=True)
    assert {tuple(map(int, colour)) for colour in np.unique(canvas.reshape(-1, 3), axis=0)} == {
        (0, 0, 0),
        (68, 1, 84),
    }
