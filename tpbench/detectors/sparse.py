"""Networks run only on those frames that their neighbours do not tell.

A network first runs on anchors, every few frames. Between two anchors, points that move steadily
are interpolated by cubic curves; where they speed up, slow down or vanish, the network also runs on
the frame in the middle, near where the curve expects the points, and both halves are judged again.
One frame that need not be searched is searched all the same: if the points are not where the curve
expects them, as in a picture that trembles, so are all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from operator import itemgetter
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from tpbench.video import Frame

Points = NDArray[np.float64]
"""(K, 3): x and y in px of the image, and a score in [0, 1], of the K points of one thing."""
Item_contra = TypeVar("Item_contra", contravariant=True)
"""What a finder needs of one frame: its image, and what else it depends on."""

_MAX_WAY_SHARE: Final = 1.0
"""Things further apart than this share of their size are two things."""
_SURPRISES_SHARE: Final = 0.4
"""With more unexpected frames than this, the next part is searched as a whole, too."""
_CHECK_SHARE: Final = 0.75
"""How far half of the points of a checked frame may be off, as a share of the tolerance."""
_ANCHOR_S: Final = 0.16
"""Time from one anchor to the next. Gestures change direction two or three times a second."""


def step_frames(frames: Sequence[Frame], *, every_frame: bool) -> int:
    """Return the frames from one anchor to the next, a power of two; 1 for every frame."""
    if every_frame or len(frames) < 2:
        return 1
    frame_s = max(frames[1].time_s - frames[0].time_s, 1e-3)
    return 1 << max(0, round(math.log2(_ANCHOR_S / frame_s)))


class Finder(Protocol[Item_contra]):
    """Finds things of one kind in single frames."""

    def anchor(self, item: Item_contra, last: Sequence[Points]) -> list[Points]:
        """Return all things of a frame.

        Args:
            item: the frame.
            last: those of the anchor before; empty at the start of a stretch.
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
        self._known: dict[int, list[Points]] = {}
        self._trembles = False
        self.num_searched = 0

    def reset(self) -> None:
        """Forget the stretch: the next frame may come from anywhere."""
        self._known = {}
        self._trembles = False

    def push(self, items: Sequence[Item_contra], *, step: int) -> list[list[Points]]:
        """Return the things in each of the next frames of the stretch.

        Args:
            items: the frames.
            step: most frames from one anchor to the next; with 1, the finder runs on every frame.
        """
        if not items:
            return []
        known, last = self._known, max(self._known, default=None)
        first = 0 if last is None else last + step
        anchors = sorted({*range(first, len(items), step), len(items) - 1})
        for anchor in anchors:
            before = [] if last is None else known[last]
            known[anchor] = self._finder.anchor(items[anchor], before)
            self.num_searched += 1
            last = anchor
        for start, end in pairwise(sorted(known)):
            if end >= 0:  # otherwise it belongs to the last part
                self._refine(items, start, end)
        self._check(items)
        found = [
            known[number] if number in known else self._between(number)
            for number in range(len(items))
        ]
        # The last two frames lead on to the next part, which counts from its own start.
        kept = sorted(known)[-2:]
        self._known = {number - len(items): known[number] for number in kept}
        return found

    def _refine(self, items: Sequence[Item_contra], start: int, end: int) -> None:
        """Search frames between two known ones, as far as that is needed."""
        if end - start < 2:
            return
        tracks = self._tracks(start, end)
        steady = [track.is_steady(self._finder.tolerance_px) for track in tracks]
        if all(steady):
            return
        middle = (start + end) // 2
        guesses = [track.at(middle) for track in tracks]
        self.num_searched += 1
        self._known[middle] = list(compress(guesses, steady)) + self._finder.near(
            items[middle],
            [g for g, is_steady in zip(guesses, steady, strict=True) if not is_steady],
        )
        self._refine(items, start, middle)
        self._refine(items, middle, end)

    def _check(self, items: Sequence[Item_contra]) -> None:
        """Search one frame that was left out, and all others if it is not as expected.

        They are all searched in the next part as well, until most of them are as expected.
        """
        expected = {
            number: things
            for number in range(len(items))
            if number not in self._known and (things := self._between(number))
        }
        surprises = 0
        for count, (number, things) in enumerate(expected.items(), start=1):
            self.num_searched += 1
            self._known[number] = found = self._finder.near(items[number], things)
            surprises += not all(self._is_as_expected(t, partner(t, found)) for t in things)
            if count == 1 and not surprises and not self._trembles:
                return
        self._trembles = surprises > _SURPRISES_SHARE * len(expected)

    def _is_as_expected(self, thing: Points, found: Points | None) -> bool:
        """Whether half of the points that matter are off by a fraction of the tolerance at most."""
        if found is None:
            return False
        tolerance_px = self._finder.tolerance_px(thing)
        matters = np.isfinite(tolerance_px)
        off = np.hypot(*(found - thing)[matters, :2].T) / tolerance_px[matters]
        return not off.size or bool(np.median(off) <= _CHECK_SHARE)

    def _between(self, number: int) -> list[Points]:
        """Return the things of a frame that was not searched, which are all steady."""
        start = max(known for known in self._known if known < number)
        end = min(known for known in self._known if known > number)
        return [track.at(number) for track in self._tracks(start, end)]

    def _tracks(self, start: int, end: int) -> list[_Track]:
        """Return the things of two known frames, paired, and where they were before and after."""
        before = max((known for known in self._known if known < start), default=None)
        after = min((known for known in self._known if known > end), default=None)
        return [
            _Track(
                start=start,
                end=end,
                first=first,
                last=last,
                before=self._knot(before, first),
                after=self._knot(after, last),
            )
            for first, last in paired(self._known[start], self._known[end])
        ]

    def _knot(self, number: int | None, thing: Points | None) -> _Knot | None:
        if number is None or thing is None:
            return None
        other = partner(thing, self._known[number])
        return None if other is None else _Knot(number, other)


class _Knot(NamedTuple):
    """Where a thing is in one frame."""

    frame: int
    points: Points


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Track:
    """One thing between two known frames, in which it is in both or only in one."""

    start: int
    end: int
    first: Points | None
    last: Points | None
    before: _Knot | None
    after: _Knot | None

    def is_steady(self, tolerance_px: Callable[[Points], NDArray[np.float64]]) -> bool:
        """Whether the thing is in both frames, and moves at one pace to within the tolerance.

        A line between two points of a path is off by at most its length squared times the
        acceleration, over eight; that is estimated from the known frames around.
        """
        if self.first is None or self.last is None:
            return False
        length = self.end - self.start
        pace = (self.last - self.first)[:, :2] / length
        off = [
            (outer - pace) * length**2 / (4 * (apart + length))
            for apart, outer in (self._pace_before(), self._pace_after())
            if outer is not None
        ]
        # Without any, the thing may have come to rest, or set off, at either end.
        off_px = np.hypot(*np.stack(off or [pace * length / 4]).T).T.max(axis=0)
        return bool((off_px <= tolerance_px((self.first + self.last) / 2)).all())

    def at(self, number: int) -> Points:
        """Return the thing in a frame between both, on a cubic curve through the known frames."""
        if self.first is None or self.last is None:
            return cast("Points", self.last if self.first is None else self.first)
        length = self.end - self.start
        share = (number - self.start) / length
        way = self.last - self.first
        first, last = self.first[:, :2], self.last[:, :2]
        leaves, arrives = (
            way[:, :2]
            if outer is None
            else (outer * length**2 + way[:, :2] * apart) / (length + apart)
            for apart, outer in (self._pace_before(), self._pace_after())
        )
        found = self.first + share * way
        found[:, :2] = (
            (1 + 2 * share) * (1 - share) ** 2 * first
            + share * (1 - share) ** 2 * leaves
            + share**2 * (3 - 2 * share) * last
            - share**2 * (1 - share) * arrives
        )
        return found

    def _pace_before(self) -> tuple[int, NDArray[np.float64] | None]:
        """Return the frames to the known frame before, and the pace from there, px a frame."""
        if self.before is None or self.first is None:
            return 1, None
        apart = self.start - self.before.frame
        return apart, (self.first - self.before.points)[:, :2] / apart

    def _pace_after(self) -> tuple[int, NDArray[np.float64] | None]:
        if self.after is None or self.last is None:
            return 1, None
        apart = self.after.frame - self.end
        return apart, (self.after.points - self.last)[:, :2] / apart


def paired(
    first: Sequence[Points], last: Sequence[Points]
) -> list[tuple[Points | None, Points | None]]:
    """Return which things of two frames are the same, None where one has no partner.

    Those nearest to each other are paired first; none is paired further away than its size.
    """
    gaps = sorted(
        (gap_share(one, other), i, k) for i, one in enumerate(first) for k, other in enumerate(last)
    )
    partners: dict[int, int] = {}
    for gap, i, k in gaps:
        if gap <= _MAX_WAY_SHARE and i not in partners and k not in partners.values():
            partners[i] = k
    pairs: list[tuple[Points | None, Points | None]] = [
        (one, last[partners[i]] if i in partners else None) for i, one in enumerate(first)
    ]
    return pairs + [(None, other) for k, other in enumerate(last) if k not in partners.values()]


def partner(one: Points, others: Iterable[Points]) -> Points | None:
    """Return the nearest of the others, None if all are further away than their size."""
    gap, nearest = min(
        ((gap_share(one, other), other) for other in others), key=itemgetter(0), default=(0.0, None)
    )
    return nearest if gap <= _MAX_WAY_SHARE else None


def gap_share(one: Points, other: Points) -> float:
    """Return the mean distance between the points of two things, in sizes of the larger one."""
    gap = np.hypot(*(one - other)[:, :2].T).mean()
    return float(gap) / max(size_px(one), size_px(other))


def size_px(points: Points) -> float:
    """Return the longer side of the box around the points, at least 1 px."""
    return max(1.0, float(np.ptp(points[:, :2], axis=0).max()))
