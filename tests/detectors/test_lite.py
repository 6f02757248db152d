from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.detectors.lite import LiteNetwork, SquareCrop, digest, model_bytes, pruned

SIDE = 40


@pytest.fixture(scope="module")
def body_model() -> bytes:
    return model_bytes("mediapipe-pose-landmarks", offline=False)


def test_a_pruned_network_finds_the_same_to_the_last_bit(
    body_model: bytes, portrait: np.ndarray
) -> None:
    every = ("Identity", "Identity_1", "Identity_2", "Identity_3", "Identity_4")
    few = ("Identity_3", "Identity")
    picture = np.ascontiguousarray(portrait[:256, :256])
    whole = dict(zip(every, LiteNetwork(body_model, every).run(picture), strict=True))
    for name, found in zip(few, LiteNetwork(body_model, few).run(picture), strict=True):
        np.testing.assert_array_equal(found, whole[name])


def test_what_only_other_outputs_need_is_left_out(body_model: bytes) -> None:
    from ai_edge_litert import schema_py_generated as tflite

    def operators(model: bytes) -> int:
        return len(tflite.ModelT.InitFromPackedBuf(model, 0).subgraphs[0].operators)

    assert operators(pruned(body_model, ["Identity"])) < operators(body_model)
    assert pruned(body_model, ["Identity"]) == pruned(body_model, ["Identity"])


def test_an_output_that_is_not_there_is_an_error(body_model: bytes) -> None:
    with pytest.raises(KeyError, match="mask"):
        pruned(body_model, ["mask"])


def test_a_network_gets_the_scaled_picture_and_forgets_the_last_one(
    body_model: bytes, portrait: np.ndarray
) -> None:
    network = LiteNetwork(body_model, ["Identity"])
    one, other = (np.ascontiguousarray(portrait[at : at + 256, at : at + 256]) for at in (0, 200))
    first = network.run(one)[0]
    assert not np.array_equal(network.run(other)[0], first)
    np.testing.assert_array_equal(network.run(one)[0], first)


@given(st.floats(20, 200), st.floats(20, 200), st.floats(8, 120), st.floats(-3.1, 3.1))
def test_points_of_a_crop_come_back_to_where_they_are(
    x: float, y: float, side: float, angle: float
) -> None:
    crop = SquareCrop.around(np.array([x, y]), side, angle, input_px=SIDE)
    middle, right = crop.points_px(np.array([[SIDE / 2, SIDE / 2], [SIDE, SIDE / 2]]))
    np.testing.assert_allclose(middle, [x, y], atol=1e-9)
    np.testing.assert_allclose(
        right, [x + side / 2 * np.cos(angle), y + side / 2 * np.sin(angle)], atol=1e-9
    )
    assert crop.side_px == pytest.approx(side)


def test_a_crop_of_whole_pixels_is_the_picture_itself(portrait: np.ndarray) -> None:
    crop = SquareCrop.around(np.array([119.5, 99.5]), SIDE, 0.0, input_px=SIDE)
    np.testing.assert_array_equal(crop.cut(portrait, replicate=False), portrait[80:120, 100:140])


def test_a_crop_turned_by_a_quarter_is_the_turned_picture(portrait: np.ndarray) -> None:
    crop = SquareCrop.around(np.array([119.5, 99.5]), SIDE, np.pi / 2, input_px=SIDE)
    turned = np.rot90(portrait[80:120, 100:140])
    np.testing.assert_allclose(crop.cut(portrait, replicate=False), turned, atol=1)


def test_beyond_the_edge_is_black_or_the_border_as_asked(portrait: np.ndarray) -> None:
    crop = SquareCrop.around(np.array([-20.0, 100.0]), SIDE, 0.0, input_px=SIDE)
    assert crop.cut(portrait, replicate=False)[:, :15].max() == 0
    assert crop.cut(portrait, replicate=True)[:, :15].max() > 0


def test_a_digest_tells_models_settings_and_their_order_apart() -> None:
    digests = {digest(b"a", "x=1"), digest(b"a", "x=2"), digest(b"b", "x=1"), digest("x=1", b"a")}
    assert len(digests) == 4
    assert digest(b"ab", b"c") != digest(b"a", b"bc")
