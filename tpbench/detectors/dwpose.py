"""Whole-body skeletons by DWPose: a YOLOX box for each person, then 133 points inside each box.

The steps and numbers are those of rtmlib and of the released DWPose code, with these differences:
frames go through the models in batches; only boxes of people count (rtmlib passes on all 80
classes); where nobody is found nobody is reported (both take the whole frame for a person); and
frames are not first resized to a short side of 512, as each model resizes its own input anyway.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from tpbench.detectors.base import Detections
from tpbench.detectors.onnx_session import OnnxModel
from tpbench.detectors.simcc import BOX_PADDING, PoseModel
from tpbench.detectors.yolox import NMS_IOU, PERSON_SCORE, PersonDetector
from tpbench.dwpose_drawing import mean_body_scores
from tpbench.files import sha256_of
from tpbench.weights import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tpbench.detectors.base import PersonDetection
    from tpbench.detectors.onnx_session import Device
    from tpbench.video import Frame
    from tpbench.wholebody import PoseSource


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
