from __future__ import annotations

import numpy as np
import pytest

from tpbench.detectors.lite import LiteNetwork, model_bytes
from tpbench.detectors.ssd import BoxDetector, anchor_centres, suppressed


@pytest.mark.parametrize(
    ("layers", "input_px", "count"),
    [
        (((4, 1),), 192, 2304),
        (((8, 2), (16, 6)), 128, 896),
        (((8, 2), (16, 6)), 192, 2016),
        (((8, 2), (16, 2), (32, 6)), 224, 2254),
    ],
)
def test_there_are_as_many_anchors_as_the_networks_have_rows(
    layers: tuple[tuple[int, int], ...], input_px: int, count: int
) -> None:
    centres = anchor_centres(layers, input_px)
    assert centres.shape == (count, 2)
    assert centres.min() > 0
    assert centres.max() < 1
    np.testing.assert_allclose(centres.mean(axis=0), 0.5)


def test_overlapping_boxes_become_their_weighted_mean_and_others_stay() -> None:
    values = np.array([[[0, 0], [10, 10]], [[2, 0], [12, 10]], [[50, 50], [60, 60]]], dtype=float)
    best, other = suppressed(values, np.array([0.9, 0.6, 0.7]))
    np.testing.assert_allclose(best[0], [[0.8, 0], [10.8, 10]])
    assert (best[1], other[1]) == (0.9, 0.7)
    np.testing.assert_allclose(other[0], values[2])


def test_nothing_is_merged_to_nothing() -> None:
    assert suppressed(np.zeros((0, 2, 2)), np.zeros(0)) == []


def test_a_box_moves_with_the_picture(portrait: np.ndarray) -> None:
    model = model_bytes("mediapipe-face-detector-full-range", offline=False)
    network = LiteNetwork(model, ("Identity", "Identity_1"), offset=127.5, scale=1 / 127.5)
    detector = BoxDetector(network, ((4, 1),), min_score=0.5)
    (here,) = detector.find(portrait)
    (there,) = detector.find(np.roll(portrait, (32, 48), axis=(0, 1)))
    np.testing.assert_allclose(there.points_px, here.points_px + np.array([48, 32]), atol=6)
    np.testing.assert_allclose(there.box_px, here.box_px + np.tile([48, 32], 2), atol=8)
