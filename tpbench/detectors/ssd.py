"""MediaPipe's box detectors (faces, palms, people): anchors, decoding, weighted suppression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.lite import LiteNetwork, SquareCrop

_MAX_LOGIT: Final = 100.0
_SAME_IOU: Final = 0.3
"""Boxes that overlap by more than this show one thing, and are averaged by score."""
_BOX: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundBox:
    """One detection of a box detector."""

    box_px: NDArray[np.float64]
    """(4,) x0, y0, x1, y1 in px of the image, centres of pixels being whole."""
    points_px: NDArray[np.float64]
    """(K, 2) key points in px of the image."""
    score: float
    """In [0, 1]."""


def anchor_centres(layers: tuple[tuple[int, int], ...], input_px: int) -> NDArray[np.float64]:
    """Return the (N, 2) centres of all anchors, as shares of the input.

    Args:
        layers: stride in px and anchors per cell of each layer.
        input_px: side of the input.
    """
    centres = []
    for stride_px, per_cell in layers:
        cells = input_px // stride_px
        row, column = np.mgrid[:cells, :cells]
        cell = np.stack([column.ravel(), row.ravel()], axis=1) + 0.5
        centres.append(np.repeat(cell / cells, per_cell, axis=0))
    return np.concatenate(centres)


class BoxDetector:
    """Searches a whole image, scaled down to the network's input with its aspect ratio kept.

    Args:
        network: gives (N, 4 + 2 K) boxes and points, and (N, 1) logits.
        layers: of the anchors, see `anchor_centres`.
        min_score: what scores below is not reported; in (0, 1).

    Raises:
        ValueError: the network has another number of anchors.
    """

    def __init__(
        self, network: LiteNetwork, layers: tuple[tuple[int, int], ...], *, min_score: float
    ) -> None:
        self._network = network
        self._centres = anchor_centres(layers, network.input_px)
        self._min_logit = float(np.log(min_score / (1 - min_score)))

    def find(self, image: NDArray[np.uint8]) -> list[FoundBox]:
        """Return what is found in a (H, W, 3) uint8 RGB image, the highest score first."""
        height_px, width_px = image.shape[:2]
        crop = SquareCrop.around(
            np.array([(width_px - 1) / 2, (height_px - 1) / 2]),
            max(width_px, height_px),
            0.0,
            input_px=self._network.input_px,
        )
        boxes, logits = self._network.run(crop.cut(image, replicate=False))
        likely = np.flatnonzero(logits[:, 0] >= self._min_logit)
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits[likely, 0], -_MAX_LOGIT, _MAX_LOGIT)))
        values = boxes[likely].astype(np.float64).reshape(len(likely), boxes.shape[1] // 2, 2)
        centres = self._centres[likely, None] * self._network.input_px
        values[:, 1] /= 2  # half of the width and height
        values[:, [0]] += centres
        values[:, 2:] += centres
        values[:, 0], values[:, 1] = values[:, 0] - values[:, 1], values[:, 0] + values[:, 1]
        return [
            FoundBox(box_px=points[:2].ravel(), points_px=points[2:], score=score)
            for points, score in (
                (crop.points_px(merged), score)
                for merged, score in suppressed(values, scores.astype(np.float64))
            )
        ]


def suppressed(
    values: NDArray[np.float64], scores: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], float]]:
    """Merge overlapping detections into their mean weighted by score, the best first.

    Args:
        values: (N, 2 + K, 2) corners of the box, then points.
        scores: (N,) in [0, 1].
    """
    merged = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        best = left[0]
        same = _iou(values[best, :2], values[left, :2]) > _SAME_IOU
        same[0] = True
        group = left[same]
        weights = scores[group, None, None]
        merged.append(((values[group] * weights).sum(axis=0) / weights.sum(), float(scores[best])))
        left = left[~same]
    return merged


def _iou(one: NDArray[np.float64], many: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.maximum(one[0], many[:, 0]), np.minimum(one[1], many[:, 1])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    total = np.prod(one[1] - one[0]) + np.prod(many[:, 1] - many[:, 0], axis=1) - shared
    iou: NDArray[np.float64] = shared / np.maximum(total, 1e-9)
    return iou
