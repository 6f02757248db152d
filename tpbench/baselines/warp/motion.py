"""How each layer of the reference moves so that its points come to the driving ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.baselines.warp import fitting
from tpbench.baselines.warp.joints import ARMS, HEAD, TORSO, body_unit_px, visible
from tpbench.wholebody import FACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tpbench.baselines.warp.fitting import Affine
    from tpbench.baselines.warp.joints import Arm, Points

    BackwardMap = Callable[[Points], Points]
    """Takes (N, 2) px of the output to px of the reference."""

# Found on two talks: fingers that follow further are no longer found as hands.
_THINNEST_HAND: Final = 0.75
_FINGERS_FOLLOW: Final = 0.8
_FINGERS_MOST: Final = 0.44
"""In root mean square radii of the hand."""
_HAND_SOFT: Final = 0.25
_MIN_HAND_POINTS: Final = 8

_FACE_FOLLOW: Final = 0.8
_FACE_MOST: Final = 0.05
"""In shoulder widths: mouth and eyes move that far; a head that turns moves further."""
_MIN_FACE_POINTS: Final = 20
_FACE_WEIGHT: Final = 4.0
"""Of all its points together; a joint has 1."""

_TRUNK_SOFT: Final = 0.05
_SHORTEST_BONE: Final = 0.25
_SCALES: Final = (0.4, 2.5)
_ALONG_UPPER_ARM: Final = (1 / 3, 2 / 3, 1.0)


class Motion:
    """The motion of one clip, frame by frame.

    A joint that is not seen stays where it was seen last, and before that where the reference has
    it. So does the whole face.

    Attributes:
        hands: left and right.

    Args:
        reference: (133, 2) px, NaN where not seen.
    """

    def __init__(self, reference: Points) -> None:
        self.hands: Final = tuple(HandMotion(reference, arm) for arm in ARMS)
        self._reference = reference
        self._unit = body_unit_px(reference)
        self._driving = reference.copy()
        self._has_face = int(visible(reference[FACE]).sum()) >= _MIN_FACE_POINTS
        self._trunk = self._trunk_points()

    def advance(self, points: Points) -> None:
        """Take the pose of the next frame.

        Args:
            points: (133, 2) px, NaN where not seen.
        """
        new = points.copy()
        if visible(points[FACE]).sum() < _MIN_FACE_POINTS:
            new[FACE] = np.nan
        self._driving = np.where(visible(new)[:, None], new, self._driving)
        self._trunk = self._trunk_points()
        for hand in self.hands:
            hand.advance(points, self._driving)

    def trunk(self) -> BackwardMap:
        """Return the map of torso, upper arms, neck and head: one smooth warp."""
        source, target, weights = self._trunk
        soft_px = _TRUNK_SOFT * self._unit

        def back(nodes: Points) -> Points:
            return fitting.moving_least_squares(nodes, target, source, weights, soft_px=soft_px)

        return back

    def bone(self, start: int, end: int) -> Affine:
        """Return the forward map of a bone between two of the 133 points.

        It is as much wider as the whole trunk is larger.
        """
        source, target, _ = self._trunk
        scale = float(np.hypot(*fitting.similarity(source, target)[:, 0]))
        ends = [start, end]
        return fitting.bone(
            self._reference[ends],
            self._driving[ends],
            width_scale=float(np.clip(scale, *_SCALES)),
            shortest=_SHORTEST_BONE,
        )

    def _trunk_points(self) -> tuple[Points, Points, NDArray[np.float64]]:
        """Return points of the reference, where they go, and how much each counts."""
        head = range(FACE.start, FACE.stop) if self._has_face else HEAD
        face, face_to = self._seen_in_reference(head)
        if len(face) > 1:
            whole = fitting.apply(fitting.similarity(face, face_to), face)
            face_to = fitting.limited(
                whole, face_to, follow=_FACE_FOLLOW, most=_FACE_MOST * self._unit
            )
        body, body_to = self._seen_in_reference(TORSO)
        if len(body) > 2:
            body, body_to = _with_sides(body), _with_sides(body_to)
        bones = [(arm.shoulder, arm.elbow) for arm in ARMS]
        bones = [ends for ends in bones if visible(self._reference[list(ends)]).all()]
        arms, arms_to = (_along(points, bones) for points in (self._reference, self._driving))
        weights = np.ones(len(face) + len(body) + len(arms))
        weights[: len(face)] = _FACE_WEIGHT / max(len(face), 1)
        return (
            np.concatenate([face, body, arms]),
            np.concatenate([face_to, body_to, arms_to]),
            weights,
        )

    def _seen_in_reference(self, indices: range | tuple[int, ...]) -> tuple[Points, Points]:
        chosen = [index for index in indices if np.isfinite(self._reference[index, 0])]
        return self._reference[chosen], self._driving[chosen]


class HandMotion:
    """One hand: a card that turns in space, with fingers that bend a little.

    A hand that is not seen goes on as it was, at its wrist.

    Attributes:
        forward: (2, 3) map of the card, from the reference to the output.
        slack_px: how far bending takes anything from where the card would have it.

    Args:
        reference: (133, 2) px, NaN where not seen.
        arm: whose hand.
    """

    def __init__(self, reference: Points, arm: Arm) -> None:
        self.forward: Affine = np.eye(2, 3)
        self.slack_px = 0.0
        self._arm = arm
        self._points = reference[arm.hand]
        self._rigid = self._bent = self._points[visible(self._points)]
        self._mirrored = False
        self._wrist = reference[arm.wrist]

    def advance(self, points: Points, held: Points) -> None:
        """Take the next frame.

        Args:
            points: (133, 2) px, NaN where not seen.
            held: the same, with what was seen last in place of NaN.
        """
        wrist = held[self._arm.wrist]
        found = visible(points[self._arm.hand]) & visible(self._points)
        if found.sum() >= _MIN_HAND_POINTS:
            self._place(self._points[found], points[self._arm.hand][found])
        elif np.isfinite(wrist - self._wrist).all():
            shift = wrist - self._wrist
            self.forward = self.forward + np.column_stack([np.zeros((2, 2)), shift])
            self._rigid, self._bent = self._rigid + shift, self._bent + shift
        self._wrist = wrist

    def back(self, nodes: Points) -> Points:
        """Take (N, 2) px of the output to px of the reference."""
        weights = np.ones(len(self._bent))
        soft_px = _HAND_SOFT * _radius(self._bent)
        unbent = fitting.moving_least_squares(
            nodes, self._bent, self._rigid, weights, soft_px=soft_px
        )
        return fitting.apply(fitting.inverse(self.forward), unbent)

    def _place(self, source: Points, target: Points) -> None:
        self.forward = fitting.card(
            source, target, thinnest=_THINNEST_HAND, mirrored=self._mirrored
        )
        self._mirrored = bool(np.linalg.det(self.forward[:, :2]) < 0)
        self._rigid = fitting.apply(self.forward, source)
        self.slack_px = _FINGERS_MOST * _radius(target)
        self._bent = fitting.limited(
            self._rigid, target, follow=_FINGERS_FOLLOW, most=self.slack_px
        )


def _radius(points: Points) -> float:
    """Return the root mean square distance from the middle, never 0."""
    return max(float(np.sqrt(points.var(axis=0).sum())), 1e-3)


def _with_sides(corners: Points) -> Points:
    """Add the middle of each side of an outline to its corners."""
    return np.concatenate([corners, (corners + np.roll(corners, 1, axis=0)) / 2])


def _along(points: Points, bones: list[tuple[int, int]]) -> Points:
    """Return points along bones, and their ends."""
    places = [
        points[start] + share * (points[end] - points[start])
        for start, end in bones
        for share in _ALONG_UPPER_ARM
    ]
    return np.array(places, dtype=np.float64).reshape(-1, 2)
