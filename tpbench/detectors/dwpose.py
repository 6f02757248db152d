"""Whole-body skeletons by DWPose: a YOLOX box for each person, then 133 points inside each box.

The steps and numbers are those of rtmlib and of the released DWPose code, with these differences:
frames go through the models in batches; only boxes of people count (rtmlib passes on all 80
classes); where nobody is found nobody is reported (both take the whole frame for a person); and
frames are not first resized to a short side of 512, as each model resizes its own input anyway.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import Detections, PersonDetection
from tpbench.detectors.onnx_session import (
    NMS_IOU,
    PERSON_SCORE,
    Device,
    OnnxModel,
    PersonDetector,
    Shape,
    bgr_batch,
)
from tpbench.dwpose_drawing import mean_body_scores
from tpbench.errors import ConfigError
from tpbench.files import sha256_of
from tpbench.video import Frame
from tpbench.weights import resolve
from tpbench.wholebody import NUM_KEYPOINTS, PoseSource

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
            raise ConfigError(
                f"{self._model.path}: this is no whole-body SimCC model of "
                f"{self.height_px}x{self.width_px}: want (N, {NUM_KEYPOINTS}, {bins[0]}) and "
                f"(N, {NUM_KEYPOINTS}, {bins[1]}), got {', '.join(map(str, shapes))}"
            )

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


class DWPoseDetector:
    """Finds every person's 133 points in each frame on its own; nothing is carried between frames.

    Args:
        detector_path: a YOLOX ONNX model whose first class is a person.
        pose_path: a whole-body SimCC ONNX model (DWPose, RTMPose, RTMW).
        device: where both run.
        num_threads: threads that one operator may use.
        batch_size: frames, and then people, that go through a model at once if its graph allows.

    Raises:
        MissingWeightsError: a file is not there.
        ConfigError: a file is not such a model, or CUDA was asked for and isn't active.
    """

    def __init__(
        self,
        detector_path: Path,
        pose_path: Path,
        *,
        device: Device = "auto",
        num_threads: int = 1,
        batch_size: int = 8,
    ) -> None:
        self._models = [
            OnnxModel(path, device=device, num_threads=num_threads, max_batch=batch_size)
            for path in (detector_path, pose_path)
        ]
        self._person_detector = PersonDetector(self._models[0])
        self._pose_model = PoseModel(self._models[1])
        self._batch_size = batch_size
        self._model_digest = _digest(detector_path, pose_path)

    @classmethod
    def from_weights(
        cls,
        *,
        detector: str = "yolox-l",
        pose: str = "dwpose-ll-ucoco-384",
        device: Device = "auto",
        num_threads: int = 1,
        batch_size: int = 8,
    ) -> DWPoseDetector:
        """Build the detector from files that `tpbench weights` knows by name.

        Raises:
            MissingWeightsError: a file is not on this machine; says what to type.
            ConfigError: a name is unknown, or as for the class.
        """
        return cls(
            resolve(detector),
            resolve(pose),
            device=device,
            num_threads=num_threads,
            batch_size=batch_size,
        )

    @property
    def source(self) -> PoseSource:
        """Always `dwpose`."""
        return "dwpose"

    @property
    def model_digest(self) -> str:
        """sha256 over both model files and the settings that decide the answers."""
        return self._model_digest

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Find the people of each frame, the one with the best mean body score first."""
        found: list[Detections] = []
        for start in range(0, len(frames), self._batch_size):
            images = [frame.image for frame in frames[start : start + self._batch_size]]
            found += self._detect_batch(images)
        return found

    def reset(self) -> None:
        """Do nothing: no answer leans on an earlier frame."""

    def close(self) -> None:
        """Give back the memory of both models."""
        for model in self._models:
            model.close()

    def _detect_batch(self, images: list[NDArray[np.uint8]]) -> list[Detections]:
        boxes = self._person_detector.find(images)
        pairs = [(image, box) for image, found in zip(images, boxes, strict=True) for box in found]
        people: list[PersonDetection] = []
        # In parts, so that a crowd takes no more memory than a single person.
        for start in range(0, len(pairs), self._batch_size):
            part = pairs[start : start + self._batch_size]
            people += self._pose_model.find([image for image, _ in part], [box for _, box in part])
        rest = iter(people)
        return [Detections(people=_ranked([next(rest) for _ in found])) for found in boxes]


def _ranked(people: list[PersonDetection]) -> tuple[PersonDetection, ...]:
    if not people:
        return ()
    prominence = mean_body_scores(np.stack([person.scores for person in people]))
    return tuple(people[index] for index in np.argsort(-prominence, kind="stable"))


def _digest(detector_path: Path, pose_path: Path) -> str:
    settings = {
        "detector_sha256": sha256_of(detector_path),
        "pose_sha256": sha256_of(pose_path),
        "person_score": PERSON_SCORE,
        "nms_iou": NMS_IOU,
        "box_padding": BOX_PADDING,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
