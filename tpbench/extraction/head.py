"""How far a head is turned, from the five points that a face detector gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from tpbench.detectors.base import FaceDetection

_NOSE_DEPTH_PER_HALF_WIDTH: Final = 1.4
"""Depth of the nose tip before the ear plane over half the ear distance (about 105 mm : 75 mm)."""


def yaw_deg(face: FaceDetection) -> float:
    """Return how far the head is turned, in degrees: 0 to the camera, > 0 to the person's left.

    The nose tip stands p before the middle of the ears, which are 2w apart. Turned by a, it is seen
    p sin(a) off the middle, the ears at +-w cos(a); so tan(a) = r w / p with r the nose's offset in
    half ear distances along the line of the ears. Good to about 10 degrees up to 60; beyond, the
    hidden ear is a guess. NaN where the ears coincide.
    """
    right_ear, left_ear = face.ears_px.astype(np.float64)
    half = (left_ear - right_ear) / 2
    squared = float(half @ half)
    if squared < 1e-6:
        return float("nan")
    offset = face.nose_px.astype(np.float64) - (left_ear + right_ear) / 2
    ratio = float(offset @ half) / squared
    return float(np.degrees(np.arctan(ratio / _NOSE_DEPTH_PER_HALF_WIDTH)))
