"""Boxes of people by YOLOX, with rtmlib's numbers and suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tpbench.detectors.onnx_session import bgr_batch
from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tpbench.detectors.onnx_session import OnnxModel, Shape

PERSON_SCORE: Final = 0.3
"""Score above which a box is a person; the released DWPose code has it."""

NMS_IOU: Final = 0.45
"""Overlap above which the less sure of two boxes is the same person."""

_DEFAULT_SIZE_PX: Final = (640, 640)
_STRIDES_PX: Final = (8, 16, 32)
_PAD_VALUE: Final = 114
_BOX_AND_SCORE: Final = 5
_PERSON_CLASS: Final = 0


class PersonDetector:
    """Boxes of people by a YOLOX model, with or without the non-maximum suppression inside."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.height_px = model.height_px or _DEFAULT_SIZE_PX[0]
        self.width_px = model.width_px or _DEFAULT_SIZE_PX[1]
        self._cells = _yolox_cells(self.height_px, self.width_px)
        self._check(model.output_shapes[0])

    def find(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Find the people in each picture.

        Args:
            images: (H, W, 3) uint8 RGB each.

        Returns:
            (N, 4) x0, y0, x1, y1 in px for each picture, the best score first. Boxes may reach out
            of the picture.
        """
        boxed = [self._letterbox(image) for image in images]
        batch = bgr_batch([picture for picture, _ in boxed])
        answers = self._model.run(batch)
        return [
            self._decode(outputs, scale) for (_, scale), outputs in zip(boxed, answers, strict=True)
        ]

    def _check(self, shape: Shape) -> None:
        if not shape:
            return
        rows, columns = shape[1:] if len(shape) == 3 else (None, 0)
        if columns is None or columns == _BOX_AND_SCORE:
            return
        if columns < _BOX_AND_SCORE or rows not in {None, len(self._cells)}:
            msg = (
                f"{self._model.path}: this is no YOLOX model of {self.height_px}x{self.width_px}: "
                f"want (N, {len(self._cells)}, 5 + classes), or (N, boxes, 5) with the suppression "
                f"inside, got {shape}"
            )
            raise ConfigError(msg)

    def _letterbox(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
        import cv2

        height, width = image.shape[:2]
        scale = min(self.height_px / height, self.width_px / width)
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        picture = np.full((self.height_px, self.width_px, 3), _PAD_VALUE, dtype=np.uint8)
        picture[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return picture, scale

    def _decode(self, outputs: tuple[NDArray[Any], ...], scale: float) -> NDArray[np.float32]:
        rows = outputs[0]
        self._check((1, *rows.shape))
        if rows.shape[1] == _BOX_AND_SCORE:
            labels = outputs[1] if len(outputs) > 1 else np.full(len(rows), _PERSON_CLASS)
            scores = np.where(labels == _PERSON_CLASS, rows[:, 4], 0.0)
            boxes = rows[:, :4]
        else:
            scores = rows[:, 4] * rows[:, 5 + _PERSON_CLASS]
            boxes = self._boxes_of_cells(rows)
        return _best_boxes((boxes / scale).astype(np.float32), scores)

    def _boxes_of_cells(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        strides = self._cells[:, 2:]
        middle = (rows[:, :2] + self._cells[:, :2]) * strides
        # A wild size becomes infinite here, and such a box is dropped later.
        with np.errstate(over="ignore", invalid="ignore"):
            half = np.exp(rows[:, 2:4]) * strides / 2
            return np.concatenate([middle - half, middle + half], axis=1, dtype=np.float32)


def _yolox_cells(height_px: int, width_px: int) -> NDArray[np.float32]:
    """Return (cells, 3): column, row and stride of each output row of a YOLOX head."""
    levels = []
    for stride in _STRIDES_PX:
        row, column = np.mgrid[: height_px // stride, : width_px // stride]
        cells = np.stack([column.ravel(), row.ravel(), np.full(row.size, stride)], axis=1)
        levels.append(cells)
    return np.concatenate(levels).astype(np.float32)


def _best_boxes(boxes: NDArray[np.float32], scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Keep the boxes that are sure enough, have an area, and aren't a better one's double."""
    from rtmlib.tools.object_detection.post_processings import nms

    sized = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= boxes[:, :2] + 1).all(axis=1)
    keep = sized & (scores > PERSON_SCORE)
    boxes, scores = boxes[keep], scores[keep]
    kept: NDArray[np.float32] = boxes[nms(boxes, scores, NMS_IOU)]
    return kept
