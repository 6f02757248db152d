"""The 133 points of a person inside a box, by whole-body models with SimCC outputs.

SimCC says for each point how well each column and each row fit it, in bins of half a pixel of the
crop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tpbench.detectors.base import PersonDetection
from tpbench.detectors.onnx_session import bgr_batch
from tpbench.errors import ConfigError
from tpbench.wholebody import NUM_KEYPOINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tpbench.detectors.onnx_session import OnnxModel, Shape

BOX_PADDING: Final = 1.25
"""The crop is this many times as large as the box."""

_DEFAULT_SIZE_PX: Final = (384, 288)
_BINS_PER_PX: Final = 2
# rtmlib and the released code both put these, which are in RGB order, on BGR pictures. Pose models
# were trained on RGB; the poses that animation models were trained on come from this mixture.
_MEAN: Final = np.array([123.675, 116.28, 103.53], dtype=np.float32)[:, None, None]
_STD: Final = np.array([58.395, 57.12, 57.375], dtype=np.float32)[:, None, None]


class PoseModel:
    """133 points inside a person's box by a SimCC model: DWPose, RTMPose or RTMW whole-body."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.height_px = model.height_px or _DEFAULT_SIZE_PX[0]
        self.width_px = model.width_px or _DEFAULT_SIZE_PX[1]
        self._check(model.output_shapes)

    def find(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray[np.float32]]
    ) -> list[PersonDetection]:
        """Find the points of one person for each pair of picture and box.

        Args:
            images: (H, W, 3) uint8 RGB each.
            boxes: (4,) x0, y0, x1, y1 in px each.
        """
        if not images:
            return []
        cut = [self._crop(image, box) for image, box in zip(images, boxes, strict=True)]
        batch = (bgr_batch([crop for crop, _ in cut]) - _MEAN) / _STD
        answers = self._model.run(batch)
        return [
            self._decode(outputs, window) for (_, window), outputs in zip(cut, answers, strict=True)
        ]

    def _check(self, shapes: Sequence[Shape]) -> None:
        bins = (_BINS_PER_PX * self.width_px, _BINS_PER_PX * self.height_px)
        wanted = [(NUM_KEYPOINTS, count) for count in bins]
        found = [shape[-2:] for shape in shapes[:2]]
        if len(found) != 2 or not all(map(_agrees, found, wanted)):
            msg = (
                f"{self._model.path}: this is no whole-body SimCC model of "
                f"{self.height_px}x{self.width_px}: want (N, {NUM_KEYPOINTS}, {bins[0]}) and "
                f"(N, {NUM_KEYPOINTS}, {bins[1]}), got {', '.join(map(str, shapes))}"
            )
            raise ConfigError(msg)

    def _crop(
        self, image: NDArray[np.uint8], box: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.floating]]:
        """Cut the padded box out; also return its (x0, y0) and (width, height) in px."""
        from rtmlib.tools.pose_estimation.pre_processings import bbox_xyxy2cs, top_down_affine

        center, size = bbox_xyxy2cs(box, padding=BOX_PADDING)
        crop, size = top_down_affine((self.width_px, self.height_px), size, center, image)
        return crop, np.stack([center - size / 2, size])

    def _decode(
        self, outputs: tuple[NDArray[Any], ...], window: NDArray[np.floating]
    ) -> PersonDetection:
        from rtmlib.tools.pose_estimation.post_processings import get_simcc_maximum

        self._check([output.shape for output in outputs])
        bins, responses = get_simcc_maximum(outputs[0][None], outputs[1][None])
        corner, size = window
        points = bins[0] / _BINS_PER_PX / (self.width_px, self.height_px) * size + corner
        found = np.isfinite(responses[0]) & (responses[0] > 0)
        return PersonDetection(
            keypoints_px=np.where(found[:, None], points, np.nan).astype(np.float32),
            scores=np.where(found, np.clip(responses[0], 0.0, 1.0), 0.0).astype(np.float32),
        )


def _agrees(found: Shape, wanted: Shape) -> bool:
    """Whether a shape can be the wanted one, as far as the graph settles its axes."""
    return not found or (
        len(found) == len(wanted)
        and all(axis in {None, size} for axis, size in zip(found, wanted, strict=True))
    )
