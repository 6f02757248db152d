from __future__ import annotations

import cv2
import numpy as np

from tests.detectors.face_dots import find_face_dots


def test_every_dot_that_was_drawn_is_found() -> None:
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(40, 200, 12), np.arange(50, 150, 12)), -1).reshape(-1, 2)
    drawn = grid + rng.integers(-2, 3, grid.shape)
    picture = np.zeros((256, 256, 3), dtype=np.uint8)
    for x, y in drawn:
        cv2.circle(picture, (int(x), int(y)), 3, (255, 255, 255), -1)
    found = find_face_dots(picture)
    gaps = np.hypot(*(drawn[:, None] - found).transpose(2, 0, 1))
    assert len(found) == len(drawn)
    assert gaps.min(axis=1).max() <= 1


def test_dots_that_overlap_are_told_apart() -> None:
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    for x in (20, 25, 30):
        cv2.circle(picture, (x, 30), 3, (255, 255, 255), -1)
    found = find_face_dots(picture)
    assert sorted(np.rint(found[:, 0]).astype(int)) == [20, 25, 30]


def test_coloured_limbs_are_no_dots() -> None:
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    cv2.line(picture, (5, 5), (60, 60), (0, 0, 255), 6)
    assert len(find_face_dots(picture)) == 0
