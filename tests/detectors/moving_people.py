"""People that move by formulas, and stand-ins of YOLOX and DWPose that look at them.

An image holds nothing but the number of its frame. The stand-ins have the faults that matter when
boxes are followed: boxes tremble, points come in half pixels of the crop, and a point outside the
crop is guessed at its edge, with a low score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import PersonDetection
from tpbench.detectors.box_following import BoxFollower, overlaps_of
from tpbench.wholebody import FACE, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND

WIDTH_PX, HEIGHT_PX = 1280, 720
CROP_PX = (288, 384)
SURE, GUESSED = 0.9, 0.1

Person = NDArray[np.float64]
"""(133, 2) px."""
Scene = Callable[[int], list[Person]]
"""Frame -> the people in it."""


def person_at(
    x_px: float, y_px: float, *, size_px: float = 300.0, left_reach: float = 0.1, lift: float = 0.0
) -> Person:
    """Return somebody whose shoulders are around (x, y), seen to the hips.

    Args:
        x_px: to the right.
        y_px: down.
        size_px: from the crown to the hips.
        left_reach: how far the left hand is away from the body, in sizes.
        lift: how far it is raised, in sizes.
    """
    spread = np.random.default_rng(0).uniform(-1, 1, (NUM_KEYPOINTS, 2))
    points = spread * [0.25, 0.35]
    points[FACE] = spread[FACE] * [0.1, 0.13] - [0, 0.3]
    points[RIGHT_HAND] = spread[RIGHT_HAND] * 0.06 + [-0.25, 0.3]
    points[LEFT_HAND] = spread[LEFT_HAND] * 0.06 + [0.25 + left_reach, 0.3 - lift]
    return points * size_px + [x_px, y_px]


def images(count: int, *, start: int = 0) -> list[NDArray[np.uint8]]:
    """Return the images of some frames; views of one array, so thousands cost nothing."""
    plain = np.zeros((1, 1, 3), dtype=np.uint8)
    made = []
    for frame in range(start, start + count):
        # The number is in the first pixel; all pixels are that one.
        pixel = plain + np.array([frame // 256, frame % 256, 0], dtype=np.uint8)
        made.append(np.broadcast_to(pixel, (HEIGHT_PX, WIDTH_PX, 3)))
    return made


class Watcher:
    """Looks at a scene as YOLOX and DWPose would.

    Args:
        scene: what there is to see.
        tremble_share: standard deviation of each side of a box, as a share of the box.
        hidden: (frame, points) that get a low score there.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        tremble_share: float = 0.005,
        hidden: tuple[int, slice] | None = None,
    ) -> None:
        self.scene = scene
        self.tremble_share = tremble_share
        self.hidden = hidden
        self.searched: list[int] = []

    def follower(self, every: int) -> BoxFollower:
        return BoxFollower(every=every, find_boxes=self.boxes, find_people=self.people)

    def follow(self, count: int, *, every: int, batch: int = 16) -> list[list[PersonDetection]]:
        """Return the people of the first frames of the scene."""
        follower = self.follower(every)
        shown = images(count)
        return [
            people
            for start in range(0, count, batch)
            for people in follower.find(shown[start : start + batch])
        ]

    def boxes(self, shown: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        found = []
        for image in shown:
            frame = _frame_of(image)
            self.searched.append(frame)
            noise = np.random.default_rng(frame)
            boxes = []
            for person in self.scene(frame):
                box = np.clip(_around(person), 0, [WIDTH_PX, HEIGHT_PX] * 2)
                size = np.tile(box[2:] - box[:2], 2)
                boxes.append(box + size * noise.normal(0, self.tremble_share, 4))
            # The order is that of scores, which change from frame to frame.
            order = noise.permutation(len(boxes))
            found.append(np.array([boxes[at] for at in order], np.float32).reshape(-1, 4))
        return found

    def people(
        self, shown: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray[np.float32]]
    ) -> list[PersonDetection]:
        return [
            self._person(_frame_of(image), box) for image, box in zip(shown, boxes, strict=True)
        ]

    def _person(self, frame: int, box: NDArray[np.float32]) -> PersonDetection:
        points, scores = np.full((NUM_KEYPOINTS, 2), np.nan), np.zeros(NUM_KEYPOINTS)
        people = self.scene(frame)
        if people:
            overlaps = overlaps_of(box[None], np.array([_around(person) for person in people]))
            crop_px = _crop(box.astype(np.float64))
            true = people[int(overlaps.argmax())]
            inside = ((true >= crop_px[:2]) & (true <= crop_px[2:])).all(axis=1)
            step = (crop_px[2:] - crop_px[:2]) / CROP_PX / 2
            points = crop_px[:2] + np.rint((true - crop_px[:2]) / step) * step
            points = np.clip(points, crop_px[:2], crop_px[2:])
            scores = np.where(inside, SURE, GUESSED)
            if self.hidden is not None and self.hidden[0] == frame:
                scores[self.hidden[1]] = GUESSED
        return PersonDetection(
            keypoints_px=points.astype(np.float32), scores=scores.astype(np.float32)
        )


def _frame_of(image: NDArray[np.uint8]) -> int:
    return int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])


def _around(person: Person) -> NDArray[np.float64]:
    return np.concatenate([person.min(axis=0), person.max(axis=0)])


def _crop(box: NDArray[np.float64]) -> NDArray[np.float64]:
    width, height = CROP_PX
    sides = 1.25 * (box[2:] - box[:2])
    sides = np.maximum(sides, [sides[1] * width / height, sides[0] * height / width])
    middle = (box[:2] + box[2:]) / 2
    return np.concatenate([middle - sides / 2, middle + sides / 2])
