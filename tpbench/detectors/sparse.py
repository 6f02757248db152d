"""Networks run only on those frames that their neighbours do not tell.

A network runs on anchors, every few frames. Between two anchors, optical flow carries the points of
the first one. Where it leads to what the network finds at the second one, the frames between lie on
its way. Where it does not, as when a hand turns over, passes another one or vanishes, the network
also runs on the frame in the middle, and both halves are judged again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.flow import Greys, Points, carried
from tpbench.video import Frame

Item_contra = TypeVar("Item_contra", contravariant=True)
"""What a finder needs of one frame: its image, and what else it depends on."""

_MAX_WAY_SHARE: Final = 1.0
"""Things further apart than this share of their size are two things."""
SAME_SHARE: Final = 0.35
"""Things whose points are closer on average than this share of their size are one."""
_STEADY_SHARE: Final = 0.7
"""The flow is trusted if it leads this share of the points to within the tolerance."""
_MAX_SCORE_STEP: Final = 0.1
"""Between frames of which one is far less sure, scores are not interpolated but found."""
_ANCHOR_S: Final = 0.3
"""Time from one anchor to the next."""


def step_frames(frames: Sequence[Frame], *, every_frame: bool) -> int:
    """Return the frames from one anchor to the next, a power of two; 1 for every frame."""
    if every_frame or len(frames) < 2:
        return 1
    frame_s = max(frames[1].time_s - frames[0].time_s, 1e-3)
    return 1 << max(0, round(math.log2(_ANCHOR_S / frame_s)))


class Finder(Protocol[Item_contra]):
    """Finds things of one kind in single frames."""

    def anchor(self, item: Item_contra, expected: Sequence[Points]) -> list[Points]:
        """Return all things of a frame.

        Args:
            item: the frame.
            expected: where those of the anchor before should be; empty at the start of a stretch.
        """

    def near(self, item: Item_contra, guesses: Sequence[Points]) -> list[Points]:
        """Return those things of a frame that are near these places."""

    def tolerance_px(self, points: Points) -> NDArray[np.float64]:
        """Return (K,) by how much each point may be off, in px; infinity: it does not matter."""


class SparseTracker(Generic[Item_contra]):
    """Runs a finder on the frames of a stretch.

    Anchors are every `step`-th frame and the last one of each part that is passed in; in parts of
    one frame, every frame. Results depend on the frames and on how a stretch is cut into parts.

    Attributes:
        num_searched: frames on which the finder has run.

    Args:
        finder: what to run.
    """

    def __init__(self, finder: Finder[Item_contra]) -> None:
        self._finder = finder
        self._last: list[Points] | None = None
        self.num_searched = 0

    def reset(self) -> None:
        """Forget the stretch: the next frame may come from anywhere."""
        self._last = None

    def push(self, items: Sequence[Item_contra], greys: Greys, *, step: int) -> list[list[Points]]:
        """Return the things in each of the next frames of the stretch.

        Args:
            items: the frames.
            greys: their pictures, and that of the last frame of the part before, if any.
            step: most frames from one anchor to the next; with 1, the finder runs on every frame.
        """
        if not items:
            return []
        part = _Part(self._finder, items, greys, self._last)
        at = part.first
        if self._last is None:
            part.known[at] = part.search(at, [])
        while at < len(items) - 1:
            end = min(at + step, len(items) - 1)
            part.span(at, end)
            at = end
        part.look_back()
        self.num_searched += part.num_searched
        self._last = part.known[at]
        return [part.known[number] for number in range(len(items))]


class _Part(Generic[Item_contra]):
    """The frames of one part; frame -1 is the last one of the part before, if there is one."""

    def __init__(
        self,
        finder: Finder[Item_contra],
        items: Sequence[Item_contra],
        greys: Greys,
        last: list[Points] | None,
    ) -> None:
        self._finder = finder
        self._items = items
        self._greys = greys
        self.first: Final = 0 if last is None else -1
        self.known: dict[int, list[Points]] = {} if last is None else {-1: last}
        self.num_searched = 0

    def search(self, number: int, expected: Sequence[Points]) -> list[Points]:
        """Return all things of a frame."""
        self.num_searched += 1
        return self._finder.anchor(self._items[number], expected)

    def span(self, start: int, end: int) -> None:
        """Find the things of an anchor, given those of the anchor before, and of all between."""
        if end - start == 1:
            self.known[end] = self.search(end, self.known[start])
            return
        ahead = [self._ahead(thing, start, end) for thing in self.known[start]]
        self.known[end] = self.search(end, [way[-1] for way in ahead])
        self._fill(start, end, ahead)

    def _fill(self, start: int, end: int, ahead: Sequence[list[Points]]) -> None:
        """Find the things between two known frames, searching as few as possible.

        Args:
            start: one frame.
            end: the other.
            ahead: where the flow leads from the things of `start`, up to `end`.
        """
        if end - start < 2:
            self._complete(end, start)  # the flow may have lost what vanishes
            return
        ways = self._ways(start, end, ahead)
        if all(is_sure for _, is_sure in ways):
            for number in range(start + 1, end):
                self.known[number] = [way[number - start] for way, _ in ways]
            return
        half = (end - start) // 2
        middle = start + half
        self.num_searched += 1
        self.known[middle] = [way[half] for way, is_sure in ways if is_sure] + self._finder.near(
            self._items[middle], [way[half] for way, is_sure in ways if not is_sure]
        )
        self._fill(start, middle, [way[: half + 1] for way in ahead])
        on = [self._ahead(thing, middle, end) for thing in self.known[middle]]
        self._fill(middle, end, on)

    def _ways(
        self, start: int, end: int, ahead: Sequence[list[Points]]
    ) -> list[tuple[list[Points], bool]]:
        """Return the way of each thing of two frames, and whether the flow leads to its end.

        The flow does not tell of what is in one frame only.
        """
        found = self.known[end]
        partners = paired([way[-1] for way in ahead], found)
        ways = []
        for number, way in enumerate(ahead):
            if number in partners:
                thing = found[partners[number]]
                ways.append((_led(way, thing), self._is_steady(way, thing)))
            else:
                ways.append((way, False))
        new = [thing for number, thing in enumerate(found) if number not in partners.values()]
        return ways + [(self._back(thing, start, end), False) for thing in new]

    def _is_steady(self, way: Sequence[Points], found: Points) -> bool:
        """Whether the flow leads to where a thing was found, which is as sure as it was."""
        if abs(float((way[-1] - found)[:, 2].mean())) > _MAX_SCORE_STEP:
            return False
        off = np.hypot(*(way[-1] - found)[:, :2].T) / self._finder.tolerance_px(found)
        off = off[off > 0]
        return not off.size or bool(np.quantile(off, _STEADY_SHARE) <= 1.0)

    def look_back(self) -> None:
        """Search what a frame shows, and the one before does not, in those before.

        Things are often found some frames after they could be seen.
        """
        for number in range(len(self._items) - 2, self.first, -1):
            self._complete(number, number + 1)

    def _complete(self, number: int, neighbour: int) -> None:
        """Search a frame once more for what the frame beside it shows, and it does not."""
        known, beside = self.known[number], self.known[neighbour]
        partners = paired(beside, known)
        missing = [thing for place, thing in enumerate(beside) if place not in partners]
        if not missing:
            return
        self.num_searched += 1
        self.known[number] = known + [
            thing
            for thing in self._finder.near(self._items[number], missing)
            if not any(are_same(thing, other) for other in known)
        ]

    def _ahead(self, thing: Points, start: int, end: int) -> list[Points]:
        return carried(self._greys, range(start, end + 1), thing, self._matters(thing))

    def _back(self, thing: Points, start: int, end: int) -> list[Points]:
        numbers = range(end, start - 1, -1)
        return carried(self._greys, numbers, thing, self._matters(thing))[::-1]

    def _matters(self, thing: Points) -> NDArray[np.bool_]:
        return np.isfinite(self._finder.tolerance_px(thing))


def _led(way: Sequence[Points], found: Points) -> list[Points]:
    """Return a way that ends where a thing was found: what it is off by is spread over it."""
    off = (found - way[-1]) / (len(way) - 1)
    return [points + number * off for number, points in enumerate(way)]


def paired(first: Sequence[Points], last: Sequence[Points]) -> dict[int, int]:
    """Return which things of two frames are the same, by their numbers.

    Those nearest to each other are paired first; none is paired further away than its size.
    """
    gaps = sorted(
        (gap_share(one, other), i, k) for i, one in enumerate(first) for k, other in enumerate(last)
    )
    partners: dict[int, int] = {}
    for gap, i, k in gaps:
        if gap <= _MAX_WAY_SHARE and i not in partners and k not in partners.values():
            partners[i] = k
    return partners


def partner(one: Points, others: Iterable[Points]) -> Points | None:
    """Return the nearest of the others, None if all are further away than their size."""
    gap, nearest = min(
        ((gap_share(one, other), other) for other in others), key=itemgetter(0), default=(0.0, None)
    )
    return nearest if gap <= _MAX_WAY_SHARE else None


def are_same(one: Points, other: Points) -> bool:
    """Whether two detections show the same thing."""
    return gap_share(one, other) <= SAME_SHARE


def gap_share(one: Points, other: Points) -> float:
    """Return the mean distance between the points of two things, in sizes of the larger one."""
    gap = np.hypot(*(one - other)[:, :2].T).mean()
    return float(gap) / max(size_px(one), size_px(other))


def size_px(points: Points) -> float:
    """Return the longer side of the box around the points, at least 1 px."""
    return max(1.0, float(np.ptp(points[:, :2], axis=0).max()))
