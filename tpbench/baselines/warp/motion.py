"""The motion of each layer of the reference, which moves its points to the driving points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.warp.layers import ARMS, HEAD, TORSO, Arm, Points, body_unit_px, visible
from tpbench.wholebody import FACE

Affine = NDArray[np.float64]
"""(2, 3): the map of points x -> A x + b."""
BackwardMap = Callable[[Points], Points]
"""Maps (N, 2) px of the output to px of the reference."""

_EDGE_ON: Final = 0.15
"""If a card is thinner than this share of its length, its visible side can't be determined."""
# From two talks: if fingers follow further, the detector no longer finds the hands.
_THINNEST_HAND: Final = 0.75
_FINGERS_FOLLOW: Final = 0.8
_FINGERS_MOST: Final = 0.44
"""In units of the hand's root mean square radius."""
_HAND_SOFT: Final = 0.25
_MIN_HAND_POINTS: Final = 8
_FACE_FOLLOW: Final = 0.8
_FACE_MOST: Final = 0.05
"""In shoulder widths: motion of mouth and eyes; points of a turning head move further."""
_MIN_FACE_POINTS: Final = 20
_FACE_WEIGHT: Final = 4.0
"""Of all face points together; a joint has weight 1."""
_TRUNK_SOFT: Final = 0.05
_SHORTEST_BONE: Final = 0.25
_SCALES: Final = (0.4, 2.5)
_ALONG_UPPER_ARM: Final = (1 / 3, 2 / 3, 1.0)


def similarity(source: Points, target: Points) -> Affine:
    """Fit rotation, scale and translation by least squares, as Umeyama 1991 without reflections.

    Maps `source` (N, 2) px, N at least 2, to `target`; a translation if all source points coincide.
    """
    start, end = source.mean(axis=0), target.mean(axis=0)
    z, w = _as_complex(source - start), _as_complex(target - end)
    power = float((z * z.conj()).real.sum())
    turn = complex((z.conj() * w).sum() / power) if power > 0 else 1.0 + 0j
    return _through(np.array([[turn.real, -turn.imag], [turn.imag, turn.real]]), start, end)


def card(source: Points, target: Points, *, thinnest: float, mirrored: bool) -> Affine:
    """Fit an affine map by least squares, as of a flat card that turns in space.

    A card seen from behind is mirrored, so reflections are allowed. Seen edge-on it would be a
    line; it keeps a minimum thickness instead, and the side that was visible before.

    Args:
        source: (N, 2) px, N at least 3.
        target: (N, 2) px.
        thinnest: smallest ratio of the two singular values, in (0, 1].
        mirrored: whether the back was visible before.
    """
    start, end = source.mean(axis=0), target.mean(axis=0)
    x, y = source - start, target - end
    # Collinear points leave the map across their line open: the ridge prefers the similarity there.
    ridge = 0.03 * float((x**2).sum()) / 2 + 1e-9
    prior = similarity(source, target)[:, :2]
    linear = np.linalg.solve(x.T @ x + ridge * np.eye(2), x.T @ y + ridge * prior.T).T
    u, (long, short), vt = np.linalg.svd(linear)
    now_mirrored = bool(np.linalg.det(u) * np.linalg.det(vt) < 0)
    if now_mirrored != mirrored and short < _EDGE_ON * long:
        u[:, 1] *= -1
    return _through((u * [long, max(short, thinnest * long)]) @ vt, start, end)


def bone(source: Points, target: Points, *, width_scale: float, shortest: float) -> Affine:
    """Map one bone, (2, 2) px, to another: stretched along it, scaled by `width_scale` across it.

    It maps the middle to the middle, and ends to ends unless the factor along the bone would be
    less than `shortest * width_scale`.
    """
    x, y = _as_complex(source[1:] - source[:1])[0], _as_complex(target[1:] - target[:1])[0]
    length = max(abs(x), 1e-6)
    along = max(abs(y) / length, shortest * width_scale)
    before = x / length if abs(x) > 0 else 1.0 + 0j
    after = y / abs(y) if abs(y) > 0 else before
    scaled = np.diag([along, width_scale])
    return _through(
        _turn(after) @ scaled @ _turn(before).T, source.mean(axis=0), target.mean(axis=0)
    )


def inverse(affine: Affine) -> Affine:
    """Return the inverse map."""
    linear = np.linalg.inv(affine[:, :2])
    return np.column_stack([linear, -linear @ affine[:, 2]])


def apply(affine: Affine, points: Points) -> Points:
    """Map (..., 2) points."""
    return points @ affine[:, :2].T + affine[:, 2]


def limited(moved: Points, wanted: Points, *, follow: float, most: float) -> Points:
    """Move from `moved` (N, 2) by the share `follow` towards `wanted`, but at most `most` px."""
    step = follow * (wanted - moved)
    length = np.hypot(step[:, 0], step[:, 1])
    return moved + step * np.minimum(1.0, most / np.maximum(length, 1e-9))[:, None]


def moving_least_squares(
    nodes: Points, source: Points, target: Points, weights: NDArray[np.float64], *, soft_px: float
) -> Points:
    """Map nodes (M, 2) px by a similarity fitted to the points around each of them.

    Schaefer, McPhail and Warren, "Image deformation using moving least squares", SIGGRAPH 2006,
    section 2.2, written in complex numbers, where the fit of a similarity is one division.

    Args:
        nodes: points to map.
        source: (N, 2) px, points whose images are known.
        target: (N, 2) px, their images.
        weights: (N,) weight of each point.
        soft_px: points closer than this to a node have about the same weight as at this distance.
    """
    v, p, q = _as_complex(nodes), _as_complex(source), _as_complex(target)
    gap = v[:, None] - p[None]
    w = weights / (gap.real**2 + gap.imag**2 + soft_px**2)
    w /= w.sum(axis=1, keepdims=True)
    p_mean, q_mean = w @ p, w @ q
    # Sums over centred points, from raw moments about a common origin close to all points.
    origin = p.mean()
    p, centre = p - origin, p_mean - origin
    cross = w @ (p.conj() * q) - centre.conj() * q_mean
    power = w @ (p.real**2 + p.imag**2) - (centre.real**2 + centre.imag**2)
    moved = q_mean + cross / np.maximum(power, 1e-9) * (v - p_mean)
    return np.stack([moved.real, moved.imag], axis=-1)


def _as_complex(points: Points) -> NDArray[np.complex128]:
    return points[..., 0] + 1j * points[..., 1]


def _turn(direction: complex) -> NDArray[np.float64]:
    return np.array([[direction.real, -direction.imag], [direction.imag, direction.real]])


def _through(linear: NDArray[np.float64], start: Points, end: Points) -> Affine:
    """Return the map with this linear part that maps `start` to `end`."""
    return np.column_stack([linear, end - linear @ start])


class Motion:
    """The motion of one clip, frame by frame.

    An invisible joint keeps its last visible position, initially that of the reference. The same
    holds for the face as a whole. Points are (133, 2) px, NaN where invisible.

    Attributes:
        hands: left and right.
    """

    def __init__(self, reference: Points) -> None:
        self.hands: Final = tuple(HandMotion(reference, arm) for arm in ARMS)
        self._reference = reference
        self._unit = body_unit_px(reference)
        self._driving = reference.copy()
        self._has_face = int(visible(reference[FACE]).sum()) >= _MIN_FACE_POINTS
        self._trunk = self._trunk_points()

    def advance(self, points: Points) -> None:
        """Update the motion to the pose of the next frame."""
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
            return moving_least_squares(nodes, target, source, weights, soft_px=soft_px)

        return back

    def bone(self, start: int, end: int) -> Affine:
        """Return the forward map of a bone between two points; its width scales with the trunk."""
        source, target, _ = self._trunk
        scale = float(np.hypot(*similarity(source, target)[:, 0]))
        ends = [start, end]
        return bone(
            self._reference[ends],
            self._driving[ends],
            width_scale=float(np.clip(scale, *_SCALES)),
            shortest=_SHORTEST_BONE,
        )

    def _trunk_points(self) -> tuple[Points, Points, NDArray[np.float64]]:
        """Return points of the reference, their targets, and their weights."""
        head = range(FACE.start, FACE.stop) if self._has_face else HEAD
        face, face_to = self._seen_in_reference(head)
        if len(face) > 1:
            whole = apply(similarity(face, face_to), face)
            face_to = limited(whole, face_to, follow=_FACE_FOLLOW, most=_FACE_MOST * self._unit)
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

    An invisible hand keeps its last shape and moves with its wrist.

    Attributes:
        forward: map of the card, from the reference to the output.
        slack_px: largest displacement by bending, relative to the flat card.
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
        """Update the motion to the next frame; in `held`, last positions replace NaN."""
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
        """Map (N, 2) px of the output to px of the reference."""
        weights = np.ones(len(self._bent))
        soft_px = _HAND_SOFT * _radius(self._bent)
        unbent = moving_least_squares(nodes, self._bent, self._rigid, weights, soft_px=soft_px)
        return apply(inverse(self.forward), unbent)

    def _place(self, source: Points, target: Points) -> None:
        self.forward = card(source, target, thinnest=_THINNEST_HAND, mirrored=self._mirrored)
        self._mirrored = bool(np.linalg.det(self.forward[:, :2]) < 0)
        self._rigid = apply(self.forward, source)
        self.slack_px = _FINGERS_MOST * _radius(target)
        self._bent = limited(self._rigid, target, follow=_FINGERS_FOLLOW, most=self.slack_px)


def _radius(points: Points) -> float:
    """Return the root mean square distance from the centroid, never 0."""
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
