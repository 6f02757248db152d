"""The boxes and points of people in every frame, from a person detector that searches some frames.

The person detector of DWPose costs several times as much as its points. The frames that are passed
together are searched at their end and every n frames before it. Between two searched frames each
box is the straight line between the detector's own boxes at both, so it keeps the detector's idea
of a box, and the points of all frames are then found in full batches. A frame is searched itself

- if a person came, left or jumped between the searched frames around it: the middle of such a gap
  is searched until both ends agree, so nobody appears late;
- if the points found in it say that its box is wrong: their mean score has dropped, or they reach
  further out on a side, or less far, than in the searched frames around it.

Only a person who comes and goes between two searched frames is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import PersonDetection
from tpbench.wholebody import VISIBLE_SCORE

Image = NDArray[np.uint8]
Box = NDArray[np.float32]
Found = TypeVar("Found")

SAME_PERSON_IOU: Final = 0.5
"""Boxes of two searched frames that overlap less show two people, or one who jumped. Boxes within
a frame overlap by less than 0.45, so no box has two partners."""
KEPT_SCORE_SHARE: Final = 0.9
"""A mean score below this share of that in the searched frames is a drop: a hand out of the crop
takes a sixth of all points with it."""
MAX_OFF_SHARE: Final = 0.0625
"""A side may be off by this share of the box: half of what the crop has around the box."""


class BoxFollower:
    """Finds people in consecutive frames of one stretch.

    The result for a frame depends on the frames that are passed with it, as these may be searched.

    Args:
        every: how many frames apart the person detector searches; 1 for all frames.
        find_boxes: returns (N, 4) x0, y0, x1, y1 in px for each image.
        find_people: returns one person for each pair of image and box.
    """

    def __init__(
        self,
        *,
        every: int,
        find_boxes: Callable[[Sequence[Image]], list[Box]],
        find_people: Callable[[Sequence[Image], Sequence[Box]], list[PersonDetection]],
    ) -> None:
        self._every = every
        self._find_boxes = find_boxes
        self._find_people = find_people
        self._last: _Searched | None = None

    def find(self, images: Sequence[Image]) -> list[list[PersonDetection]]:
        """Return the people of each of the next frames, in the order of their boxes.

        Args:
            images: (H, W, 3) uint8 RGB each.
        """
        if not images:
            return []
        boxes = self._searched_boxes(images)
        between = _between(boxes)
        boxes |= {at: place.boxes for at, place in between.items()}
        people = self._people(images, boxes, range(len(images)))
        if self._last is not None:
            people[-1] = self._last.people
        strayed = [at for at, place in between.items() if place.strayed(at, people, images[at])]
        if strayed:
            found = self._find_boxes([images[at] for at in strayed])
            boxes |= dict(zip(strayed, found, strict=True))
            people |= self._people(images, boxes, strayed)
        end = len(images) - 1
        self._last = _Searched(boxes=boxes[end], people=people[end])
        return [people[at] for at in range(len(images))]

    def reset(self) -> None:
        """Forget the last frame: the next one is searched."""
        self._last = None

    def _searched_boxes(self, images: Sequence[Image]) -> dict[int, Box]:
        return searched_frames(
            len(images),
            every=self._every,
            last=None if self._last is None else self._last.boxes,
            search=lambda wanted: self._find_boxes([images[at] for at in wanted]),
            agree=lambda start, end: partners_of(start, end) is not None,
        )

    def _people(
        self, images: Sequence[Image], boxes: dict[int, Box], frames: Sequence[int]
    ) -> dict[int, list[PersonDetection]]:
        pairs = [(at, box) for at in frames for box in boxes[at]]
        found = self._find_people([images[at] for at, _ in pairs], [box for _, box in pairs])
        people: dict[int, list[PersonDetection]] = {at: [] for at in frames}
        for (at, _), person in zip(pairs, found, strict=True):
            people[at].append(person)
        return people


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Searched:
    """What was found in the last frame of the call before."""

    boxes: Box
    """(N, 4) px."""
    people: list[PersonDetection]
    """One for each box."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Between:
    """A frame between two searched ones that agree."""

    start: int
    end: int
    """The searched frames around it."""
    share: float
    """How far it is on the way from start to end."""
    partners: NDArray[np.intp]
    """(N,) person at the start -> the same person at the end."""
    start_boxes: Box
    end_boxes: Box
    """(N, 4) px; those of the end in the order of the start."""

    @property
    def boxes(self) -> Box:
        """(N, 4) px in the order of the start."""
        return self._on_the_way(self.start_boxes, self.end_boxes)

    def strayed(self, at: int, people: dict[int, list[PersonDetection]], image: Image) -> bool:
        """Whether somebody's points in this frame do not fit the box that they were found in."""
        return any(
            self._person_strayed(
                index,
                now=people[at][index],
                before=people[self.start][index],
                after=people[self.end][self.partners[index]],
                image=image,
            )
            for index in range(len(self.partners))
        )

    def _person_strayed(
        self,
        index: int,
        *,
        now: PersonDetection,
        before: PersonDetection,
        after: PersonDetection,
        image: Image,
    ) -> bool:
        seen = (before.scores > VISIBLE_SCORE) & (after.scores > VISIBLE_SCORE)
        if not seen.any():
            return False
        least = min(before.scores[seen].mean(), after.scores[seen].mean())
        if now.scores[seen].mean() < KEPT_SCORE_SHARE * least:
            return True
        seen &= now.scores > VISIBLE_SCORE
        if not seen.any():
            return True
        start, end = self.start_boxes[index], self.end_boxes[index]
        # The detector's box stands off the points by so much on each side.
        offset = self._on_the_way(
            start - _extent(before, seen, image), end - _extent(after, seen, image)
        )
        box = self._on_the_way(start, end)
        size = np.tile(box[2:] - box[:2], 2)
        off = np.abs(_extent(now, seen, image) + offset - box) / size
        return bool(off.max() > MAX_OFF_SHARE)

    def _on_the_way(self, start: Box, end: Box) -> Box:
        way: Box = start + np.float32(self.share) * (end - start)
        return way


def _between(boxes: dict[int, Box]) -> dict[int, _Between]:
    """Return the frames between searched ones."""
    places = {}
    for start, end in pairwise(boxes):
        partners = partners_of(boxes[start], boxes[end]) if end - start > 1 else None
        if partners is None:
            continue
        for at in range(start + 1, end):
            places[at] = _Between(
                start=start,
                end=end,
                share=(at - start) / (end - start),
                partners=partners,
                start_boxes=boxes[start],
                end_boxes=boxes[end][partners],
            )
    return places


def searched_frames(
    count: int,
    *,
    every: int,
    last: Found | None,
    search: Callable[[list[int]], list[Found]],
    agree: Callable[[Found, Found], bool],
) -> dict[int, Found]:
    """Search frames: the last, every nth before it, and the middle of gaps whose ends differ.

    Args:
        count: how many frames there are.
        every: greatest gap.
        last: what was found in the frame before the first; None at the start of a stretch, where
            the first frame is searched as well.
        search: returns what is in some frames.
        agree: whether the frames between two searched ones can be left out.

    Returns:
        What was found by the number of the frame, in order; `last` is that of frame -1.
    """
    found: dict[int, Found] = {} if last is None else {-1: last}
    wanted = sorted(range(count - 1, -1, -every))
    if last is None and wanted[0] != 0:
        wanted.insert(0, 0)
    while wanted:
        found |= dict(zip(wanted, search(wanted), strict=True))
        found = dict(sorted(found.items()))
        wanted = [
            (start + end) // 2
            for start, end in pairwise(found)
            if end - start > 1 and not agree(found[start], found[end])
        ]
    return found


def partners_of(start: NDArray[np.floating], end: NDArray[np.floating]) -> NDArray[np.intp] | None:
    """Return which box of the end is the same as each of the start; None if not all are.

    Args:
        start: (N, 4) x0, y0, x1, y1.
        end: (M, 4).
    """
    if len(start) != len(end):
        return None
    if len(start) == 0:
        return np.empty(0, dtype=np.intp)
    overlaps = overlaps_of(start, end)
    best = overlaps.argmax(axis=1)
    same = overlaps.max(axis=1) > SAME_PERSON_IOU
    return best if same.all() and len(np.unique(best)) == len(best) else None


def overlaps_of(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the intersection over union of each pair of boxes.

    Args:
        boxes: (N, 4) x0, y0, x1, y1.
        others: (M, 4).

    Returns:
        (N, M) in [0, 1].
    """
    one, two = boxes[:, None].astype(np.float64), others[None].astype(np.float64)
    low, high = np.maximum(one[..., :2], two[..., :2]), np.minimum(one[..., 2:], two[..., 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (one, two)]
    shares: NDArray[np.float64] = common / (areas[0] + areas[1] - common)
    return shares


def _extent(person: PersonDetection, seen: NDArray[np.bool_], image: Image) -> Box:
    """Return the box around some points; those outside the image count as at its edge."""
    height_px, width_px = image.shape[:2]
    points = np.clip(person.keypoints_px[seen], 0, [width_px, height_px])
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)
