"""The mathematics of moving points: affine pieces and moving least squares.

Affine maps are (2, 3) float64, `y = m[:, :2] @ x + m[:, 2]`, x and y in px.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]
    Affine = NDArray[np.float64]


_EDGE_ON: Final = 0.15
"""A card thinner than this, in its length, doesn't say which side it shows."""


def similarity(source: Points, target: Points) -> Affine:
    """Fit turn, scale and shift by least squares, as Umeyama 1991 without mirror images.

    Args:
        source: (N, 2) px, N at least 2.
        target: (N, 2) px.

    Returns:
        The map that takes `source` nearest to `target`; a shift if all of `source` is one point.
    """
    start, end = source.mean(axis=0), target.mean(axis=0)
    z, w = _as_complex(source - start), _as_complex(target - end)
    power = float((z * z.conj()).real.sum())
    turn = complex((z.conj() * w).sum() / power) if power > 0 else 1.0 + 0j
    return _through(np.array([[turn.real, -turn.imag], [turn.imag, turn.real]]), start, end)


def card(source: Points, target: Points, *, thinnest: float, mirrored: bool) -> Affine:
    """Fit an affine map by least squares, as of a flat card that turns in space.

    A card seen from its other side is mirrored, so mirror images are allowed. Seen on edge it
    would be a line; it keeps some thickness instead, and the side that it showed before.

    Args:
        source: (N, 2) px, N at least 3.
        target: (N, 2) px.
        thinnest: smallest ratio of the two singular values, in (0, 1].
        mirrored: which side showed before.

    Returns:
        The map that takes `source` near to `target`.
    """
    start, end = source.mean(axis=0), target.mean(axis=0)
    x, y = source - start, target - end
    # Points on a line say nothing of what lies beside it: a little of the similarity decides there.
    ridge = 0.03 * float((x**2).sum()) / 2 + 1e-9
    prior = similarity(source, target)[:, :2]
    linear = np.linalg.solve(x.T @ x + ridge * np.eye(2), x.T @ y + ridge * prior.T).T
    u, (long, short), vt = np.linalg.svd(linear)
    now_mirrored = bool(np.linalg.det(u) * np.linalg.det(vt) < 0)
    if now_mirrored != mirrored and short < _EDGE_ON * long:
        u[:, 1] *= -1
    return _through((u * [long, max(short, thinnest * long)]) @ vt, start, end)


def bone(source: Points, target: Points, *, width_scale: float, shortest: float) -> Affine:
    """Map one bone onto another: stretched along, only scaled across.

    Args:
        source: (2, 2) px, its two ends.
        target: (2, 2) px.
        width_scale: factor across the bone.
        shortest: smallest factor along the bone, as a share of `width_scale`.

    Returns:
        The map; it takes the middle to the middle, and ends to ends unless `shortest` holds.
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
    """Return the map back."""
    linear = np.linalg.inv(affine[:, :2])
    return np.column_stack([linear, -linear @ affine[:, 2]])


def apply(affine: Affine, points: Points) -> Points:
    """Map (..., 2) points."""
    return points @ affine[:, :2].T + affine[:, 2]


def limited(moved: Points, wanted: Points, *, follow: float, most: float) -> Points:
    """Go part of the way from `moved` to `wanted`, and never further than `most`.

    Args:
        moved: (N, 2) px.
        wanted: (N, 2) px.
        follow: share of the way, in [0, 1].
        most: px.
    """
    step = follow * (wanted - moved)
    length = np.hypot(step[:, 0], step[:, 1])
    return moved + step * np.minimum(1.0, most / np.maximum(length, 1e-9))[:, None]


def moving_least_squares(
    nodes: Points, source: Points, target: Points, weights: NDArray[np.float64], *, soft_px: float
) -> Points:
    """Map nodes by a similarity fitted to the points around each of them.

    Schaefer, McPhail and Warren, "Image deformation using moving least squares", SIGGRAPH 2006,
    section 2.2, written in complex numbers, where the fit of a similarity is one division.

    Args:
        nodes: (M, 2) px.
        source: (N, 2) px, points whose images are known.
        target: (N, 2) px, their images.
        weights: (N,) how much each point counts.
        soft_px: points nearer than about this to a node count no more than one at this distance.

    Returns:
        (M, 2) px.
    """
    v, p, q = _as_complex(nodes), _as_complex(source), _as_complex(target)
    gap = v[:, None] - p[None]
    w = weights / (gap.real**2 + gap.imag**2 + soft_px**2)
    w /= w.sum(axis=1, keepdims=True)
    p_mean, q_mean = w @ p, w @ q
    # Sums over centred points, from raw moments about a common origin near all of them.
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
    """Return the map with this linear part that takes `start` to `end`."""
    return np.column_stack([linear, end - linear @ start])
