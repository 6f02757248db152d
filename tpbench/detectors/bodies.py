"""One person's body by MediaPipe's BlazePose networks.

The networks are fed as MediaPipe's graph does it: the person is searched in the whole image once,
then each crop is placed by the landmarks of an earlier frame; landmarks are refined by their heat
maps and smoothed over time by One-Euro filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.flow import Points
from tpbench.detectors.lite import (
    LiteNetwork,
    SquareCrop,
    digest,
    model_bytes,
    sigmoid,
    turn_rad,
)
from tpbench.detectors.ssd import BoxDetector

OF_COCO: Final = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
"""Nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right."""
_DETECTOR_LAYERS: Final = ((8, 2), (16, 2), (32, 6))
_NUM_LANDMARKS: Final = 39
_MIDDLE, _RIM = 33, 34
"""Auxiliary landmarks: middle of the hips, and a point on the circle around the person."""
_CROP_SCALE: Final = 1.25
_MIN_SCORE: Final = 0.5
_SURE_MOVE_SHARE: Final = 0.1
"""A crop that seems to have moved by this share of its side has."""
_LEAST_GAIN: Final = 0.1
_HEAT_REACH: Final = 3
_MIN_HEAT: Final = 0.5
_NUM_UPPER: Final = 11
"""COCO's joints down to the wrists."""
_LIKELY: Final = 0.3
_CLOSE_SHARE: Final = 0.02
"""By how much the flow may miss a joint, in radii of the body: 8 px of a talk of 512 px. The
network itself differs by 4 px from one crop to another."""
_CUTOFF_HZ: Final = 0.05
_CUTOFF_PER_SPEED: Final = 80.0
_SPEED_CUTOFF_HZ: Final = 1.0
_BIAS_INPUT_PX: Final = 0.2
"""Joints come out this much too far right and down, in pixels of the network's input: half the
sideways difference of two talks and their mirror images."""


class BodyNetworks:
    """Finds the body in one frame, searched for or near where it was.

    Args:
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
    """

    def __init__(self, *, offline: bool = False) -> None:
        detector = model_bytes("mediapipe-pose-detector", offline=offline)
        landmarks = model_bytes("mediapipe-pose-landmarks", offline=offline)
        network = LiteNetwork(detector, ("Identity", "Identity_1"), offset=127.5, scale=1 / 127.5)
        self._detector = BoxDetector(network, _DETECTOR_LAYERS, min_score=_MIN_SCORE)
        self._landmarks = LiteNetwork(landmarks, ("Identity", "Identity_1", "Identity_3"))
        self.model_digest: Final = digest(detector, landmarks, "direct")

    def search(self, image: NDArray[np.uint8]) -> Points | None:
        """Return the body of the most prominent person of a (H, W, 3) uint8 RGB image."""
        found = self._detector.find(image)
        if not found:
            return None
        middle, rim = found[0].points_px[:2]
        return self._at(image, middle, rim)

    def follow(self, image: NDArray[np.uint8], last: Points) -> Points | None:
        """Return the body near where it was in another frame; None if it is not there.

        The landmarks that place the next crop move by as much as they seem to have moved only if
        that is far: the network's answer depends on the crop, and would make the crop tremble.
        """
        found = self._at(image, last[_MIDDLE, :2], last[_RIM, :2])
        if found is None:
            return None
        moved = (found - last)[[_MIDDLE, _RIM], :2]
        share = float(np.hypot(*moved.T).max()) / max(1.0, 2 * _CROP_SCALE * radius_px(last))
        gain = np.clip(share / _SURE_MOVE_SHARE, _LEAST_GAIN, 1.0)
        found[[_MIDDLE, _RIM], :2] = last[[_MIDDLE, _RIM], :2] + gain * moved
        return found

    def _at(
        self, image: NDArray[np.uint8], middle: NDArray[np.float64], rim: NDArray[np.float64]
    ) -> Points | None:
        crop = SquareCrop.around(
            middle,
            2 * _CROP_SCALE * float(np.hypot(*(rim - middle))),
            turn_rad(middle, rim),
            input_px=self._landmarks.input_px,
        )
        values, presence, heat = self._landmarks.run(crop.cut(image, replicate=True))
        if float(presence[0]) < _MIN_SCORE:
            return None
        rows = values.reshape(_NUM_LANDMARKS, 5)
        found = refined(rows[:, :2].astype(np.float64), heat, input_px=crop.input_px)
        likely = sigmoid(rows[:, 3:])
        return np.column_stack([crop.points_px(found - _BIAS_INPUT_PX), likely.prod(axis=1)])


class BodyFinder:
    """Follows one body through the frames of a stretch; see `SparseTracker`."""

    def __init__(self, networks: BodyNetworks) -> None:
        self._networks = networks

    def anchor(self, item: NDArray[np.uint8], expected: Sequence[Points]) -> list[Points]:
        """Return the body where it is expected, otherwise the most prominent person's."""
        found = self.near(item, expected)
        return found or _list_of(self._networks.search(item))

    def near(self, item: NDArray[np.uint8], guesses: Sequence[Points]) -> list[Points]:
        """Return the body near where it is expected."""
        return _list_of(self._networks.follow(item, guesses[0])) if guesses else []

    def tolerance_px(self, points: Points) -> NDArray[np.float64]:
        """Return how far each landmark may be off; only likely joints of the upper body matter."""
        tolerance = np.full(len(points), np.inf)
        upper = np.array(OF_COCO[:_NUM_UPPER])
        tolerance[upper[points[upper, 2] >= _LIKELY]] = _CLOSE_SHARE * radius_px(points)
        return tolerance


def _list_of(body: Points | None) -> list[Points]:
    return [] if body is None else [body]


def radius_px(body: Points) -> float:
    """Return the radius of the circle around the hips that holds the person."""
    return float(np.hypot(*(body[_RIM] - body[_MIDDLE])[:2]))


class BodySmoother:
    """Smooths a body over the frames of a stretch: MediaPipe's One-Euro filter and its numbers.

    The filter's cut-off frequency rises with the speed of a joint in radii of the body a second, so
    that joints at rest do not tremble and moving ones do not lag.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget earlier frames."""
        self._last: Points | None = None
        self._time_s = 0.0
        self._smooth: NDArray[np.float64] = np.zeros(0)
        self._speed: NDArray[np.float64] = np.zeros(0)

    def push(self, body: Points | None, time_s: float) -> Points | None:
        """Return the next frame's body smoothed; a missing body starts over."""
        last, self._last = self._last, body
        if body is None:
            return None
        if last is None:
            self._smooth, self._speed = body[:, :2], np.zeros_like(body[:, :2])
        else:
            rate_hz = 1.0 / max(time_s - self._time_s, 1e-6)
            speed = (body - last)[:, :2] / max(1.0, 2 * _CROP_SCALE * radius_px(body)) * rate_hz
            self._speed = self._speed + _gain(np.array(_SPEED_CUTOFF_HZ), rate_hz) * (
                speed - self._speed
            )
            gain = _gain(_CUTOFF_HZ + _CUTOFF_PER_SPEED * np.abs(self._speed), rate_hz)
            self._smooth = self._smooth + gain * (body[:, :2] - self._smooth)
        self._time_s = time_s
        return np.column_stack([self._smooth, body[:, 2]])


def _gain(cutoff_hz: NDArray[np.float64], rate_hz: float) -> NDArray[np.float64]:
    """Return the weight of the newest value in a first-order low-pass filter."""
    gain: NDArray[np.float64] = 1.0 / (1.0 + rate_hz / (2 * np.pi * cutoff_hz))
    return gain


def refined(
    found: NDArray[np.float64], heat: NDArray[np.float32], *, input_px: int
) -> NDArray[np.float64]:
    """Move each landmark to the centre of its heat, where its heat map is sure.

    Args:
        found: (K, 2) in pixels of the input.
        heat: (S, S, K) logits.
        input_px: side of the input.

    Returns:
        (K, 2): the mean of the 7x7 cells around the landmark, weighted by heat, where one of them
        reaches 0.5; otherwise the landmark as found.
    """
    cells, count = len(heat), len(found)
    cell_px = input_px / cells
    column, row = np.floor(found / cell_px).astype(int).T
    inside = (column >= 0) & (column < cells) & (row >= 0) & (row < cells)
    near = np.arange(-_HEAT_REACH, _HEAT_REACH + 1)
    columns, rows = (np.clip(at, 0, cells - 1)[:, None] + near for at in (column, row))
    padded = np.pad(heat, [(_HEAT_REACH, _HEAT_REACH)] * 2 + [(0, 0)], constant_values=-np.inf)
    here = np.arange(count)[:, None, None]
    weight = sigmoid(
        padded[rows[:, :, None] + _HEAT_REACH, columns[:, None, :] + _HEAT_REACH, here]
    )
    total = weight.sum(axis=(1, 2))
    sure = inside & (weight.max(axis=(1, 2)) >= _MIN_HEAT)
    middle = (
        np.stack(
            [(weight.sum(axis=1) * columns).sum(axis=1), (weight.sum(axis=2) * rows).sum(axis=1)],
            axis=1,
        )
        / np.maximum(total, 1e-9)[:, None]
    )
    return np.where(sure[:, None], middle * cell_px, found)
