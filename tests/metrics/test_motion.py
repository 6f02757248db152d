from __future__ import annotations

import weakref

import numpy as np
import pytest

from tpbench.metrics.motion import EarlierPairs, frame_motion


def test_frame_motion_is_exact_and_refuses_two_sizes() -> None:
    dark = np.zeros((300, 400, 3), np.uint8)

    assert frame_motion(dark, ~dark) == 255.0
    with pytest.raises(ValueError, match="one size"):
        frame_motion(dark, dark[1:])


@pytest.mark.parametrize("delta", [1, 5])
def test_no_more_frames_are_held_than_delta_plus_one(delta: int) -> None:
    earlier = EarlierPairs(delta)
    made: list[weakref.ref[np.ndarray]] = []

    def feed(number: int) -> None:
        image = np.full((4, 4, 3), number, np.uint8)
        made.append(weakref.ref(image))
        before = earlier.before(image, image)
        assert (before is None) == (number < delta)
        assert before is None or (before[0] == number - delta).all()

    for number in range(40):
        feed(number)

    held = [reference() is not None for reference in made]
    assert held == [False] * (39 - delta) + [True] * (delta + 1)
