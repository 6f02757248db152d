"""How each layer of the reference moves so that its points come to the driving ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.baselines.warp import fitting
from tpbench.baselines.warp.joints import ARMS, HEAD, TORSO, body_unit_px, seen
from tpbench.wholebody import FACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tpbench.baselines.warp.fitting import Affine
    from tpbench.baselines.warp.joints import Arm, Points

    BackwardMap = Callable[[Points], Points]
    """Takes (N, 2) px of the output to px of the reference."""

_THINNEST_HAND: Final = 0.45
_FINGERS_FOLLOW: Final = 0.8
_FINGERS_MOST: Final = 0.35
_FACE_FOLLOW: Final = 0.8
_FACE_MOST: Final = 0.05
_SHORTEST_BONE: Final = 0.25
_SCALES: Final = (0.4, 2.5)
_MIN_HAND_POINTS: Final = 8
_MIN_FACE_POINTS: Final = 20


class Motion:
    """The motion of one clip, frame by frame.

    Args:
        reference: (133, 2) px, NaN where not seen.
    """

    def __init__(self, reference: Points) -> None:
        self._reference = reference
        self._unit = body_unit_px(reference)
        # What was never seen stays as in the reference; what was, where it was last.
        self._driving = reference.copy()
        self._hands = [_Hand(reference, arm) for arm in ARMS]
        self._trunk = self._trunk_points()

    def advance(self, points: Points) -> None:
        """Take the pose of the next frame.

        Args:
            points: (133, 2) px, NaN where not seen.
        """
        new = points.copy()
        # Points of half a face fit no head.
        if seen(points[FACE]).sum() < _MIN_FACE_POINTS:
            new[FACE] = np.nan
        self._driving = np.where(seen(new)[:, None], new, self._driving)
        for hand in self._hands:
            hand.advance(points, self._driving)
        self._trunk = self._trunk_points()

    def trunk(self) -> BackwardMap:
        """Return the map of torso, neck and head: one smooth warp."""
        source, target, weights = self._trunk
        soft_px = 0.05 * self._unit

        def back(nodes: Points) -> Points:
            return fitting.moving_least_squares(nodes, target, source, weights, soft_px=soft_px)

        return back

    def bone(self, start: int, end: int) -> Affine:
        """Return the forward map of a bone between two of the 133 points."""
        ends = [start, end]
        return fitting.bone(
            self._reference[ends],
            self._driving[ends],
            width_scale=self._scale(),
            shortest=_SHORTEST_BONE,
        )

    def hand(self, side: int) -> tuple[Affine, BackwardMap]:
        """Return the forward map of the whole hand, and the map back that moves fingers too."""
        return self._hands[side].maps()

    def _scale(self) -> float:
        source, target, _ = self._trunk
        fit = fitting.similarity(source, target)
        return float(np.clip(np.hypot(*fit[:, 0]), *_SCALES))

    def _trunk_points(self) -> tuple[Points, Points, NDArray[np.float64]]:
        """Return points of the reference, where they go, and how much each counts."""
        head = np.r_[FACE] if seen(self._reference[FACE]).sum() >= _MIN_FACE_POINTS else HEAD
        head = [i for i in head if seen(self._reference[i])]
        torso = [i for i in TORSO if seen(self._reference[i])]
        face, face_to = self._reference[head], self._driving[head]
        if len(head) > 1:
            rigid = fitting.apply(fitting.similarity(face, face_to), face)
            face_to = fitting.limited(
                rigid, face_to, follow=_FACE_FOLLOW, most=_FACE_MOST * self._unit
            )
        body, body_to = self._reference[torso], self._driving[torso]
        if len(torso) > 2:  # the sides of the torso, not only its corners
            body = np.concatenate([body, (body + np.roll(body, 1, axis=0)) / 2])
            body_to = np.concatenate([body_to, (body_to + np.roll(body_to, 1, axis=0)) / 2])
        bones = [(arm.shoulder, arm.elbow) for arm in ARMS]
        bones = [ends for ends in bones if seen(self._reference[list(ends)]).all()]
        limbs, limbs_to = (
            np.array([p[a] + s * (p[b] - p[a]) for a, b in bones for s in (0.33, 0.67, 1.0)]).reshape(-1, 2)
            for p in (self._reference, self._driving)
        )
        weights = np.concatenate(
            [np.full(len(face), 4 / max(len(face), 1)), np.full(len(body), 1.0), np.full(len(limbs), 1.0)]
        )
        return np.concatenate([face, body, limbs]), np.concatenate([face_to, body_to, limbs_to]), weights


class _Hand:
    """One hand: a card that turns in space, with fingers that bend a little."""

    def __init__(self, reference: Points, arm: Arm) -> None:
        self._arm = arm
        self._points = reference[arm.hand]
        self._moved = self._points
        self._target = self._points
        self._forward = np.eye(2, 3)
        self._anchor = reference[arm.wrist]

    def advance(self, points: Points, driving: Points) -> None:
        found = seen(points[self._arm.hand]) & seen(self._points)
        wrist = driving[self._arm.wrist]
        if found.sum() >= _MIN_HAND_POINTS:
            source, target = self._points[found], points[self._arm.hand][found]
            self._forward = fitting.card(source, target, thinnest=_THINNEST_HAND)
            self._moved = fitting.apply(self._forward, source)
            size = float(np.sqrt(((target - target.mean(axis=0)) ** 2).sum(axis=1).mean()))
            self._target = fitting.limited(
                self._moved, target, follow=_FINGERS_FOLLOW, most=_FINGERS_MOST * 2 * size
            )
        elif seen(wrist) and seen(self._anchor):
            # Not found in this frame: the hand goes on as it was, at its wrist.
            shift = wrist - self._anchor
            self._forward = self._forward + np.array([[0, 0, shift[0]], [0, 0, shift[1]]])
            self._moved, self._target = self._moved + shift, self._target + shift
        self._anchor = wrist

    def maps(self) -> tuple[Affine, BackwardMap]:
        back_affine = fitting.inverse(self._forward)
        weights = np.ones(len(self._target))
        size = float(np.sqrt(self._target.var(axis=0).sum()))

        def back(nodes: Points) -> Points:
            unbent = fitting.moving_least_squares(
                nodes, self._target, self._moved, weights, soft_px=0.25 * size
            )
            return fitting.apply(back_affine, unbent)

        return self._forward, back
