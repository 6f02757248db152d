"""Whole-body skeletons by DWPose: a YOLOX box for each person, then 133 points inside each box.

The steps and numbers are those of rtmlib and of the released DWPose code, with these differences:
frames go through the models in batches; people are searched every n frames and followed between
(`box_following`); only boxes of people count (rtmlib passes on all 80 classes); if no person is
found, none is reported (both take the whole frame for a person); and frames are not first resized
to a short side of 512, as each model resizes its own input anyway.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import DWPOSE_WEIGHTS, Detections, Device, PersonDetection
from tpbench.detectors.box_following import (
    KEPT_SCORE_SHARE,
    MAX_OFF_SHARE,
    SAME_PERSON_IOU,
    BoxFollower,
)
from tpbench.detectors.onnx import OnnxModel, Outputs, Shape, planes_of
from tpbench.dwpose_drawing import mean_body_scores
from tpbench.errors import ConfigError
from tpbench.files import sha256_of
from tpbench.video import Frame
from tpbench.weights import resolve
from tpbench.wholebody import NUM_KEYPOINTS, PoseSource

PERSON_SCORE: Final = 0.3
"""Score above which a box is a person, as in the released DWPose code."""
NMS_IOU: Final = 0.45
"""Overlap above which two boxes are one person, and the one with the lower score is dropped."""
_YOLOX_SIZE_PX: Final = (640, 640)
_STRIDES_PX: Final = (8, 16, 32)
_PAD_VALUE: Final = 114
_BOX_AND_SCORE: Final = 5
_PERSON_CLASS: Final = 0
_LEVELS: Final = np.tile(np.arange(256, dtype=np.float32), (3, 1))
"""YOLOX takes the levels as they are."""


class PersonDetector:
    """Detects people with a YOLOX model, exported with or without non-maximum suppression."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.height_px = model.height_px or _YOLOX_SIZE_PX[0]
        self.width_px = model.width_px or _YOLOX_SIZE_PX[1]
        self._cells = _yolox_cells(self.height_px, self.width_px)
        self._check(model.output_shapes[0])
        model.warm_up(self.height_px, self.width_px)

    def find(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Find the people in each image.

        Args:
            images: (H, W, 3) uint8 RGB each.

        Returns:
            (N, 4) x0, y0, x1, y1 in px for each image, the best score first. Boxes may extend
            beyond the image.
        """
        found: list[NDArray[np.float32]] = []
        while len(found) < len(images):
            part = images[len(found) : len(found) + self._model.max_batch]
            boxed = [self._letterbox(image) for image in part]
            answers = self._model.run(planes_of([picture for picture, _ in boxed], _LEVELS))
            found += [
                self._decode(outputs, scale)
                for (_, scale), outputs in zip(boxed, answers, strict=True)
            ]
        return found

    def _check(self, shape: Shape) -> None:
        if not shape:
            return
        rows, columns = shape[1:] if len(shape) == 3 else (None, 0)
        if columns is None or columns == _BOX_AND_SCORE:
            return
        if columns < _BOX_AND_SCORE or rows not in {None, len(self._cells)}:
            raise ConfigError(
                f"{self._model.path}: this is no YOLOX model of {self.height_px}x{self.width_px}: "
                f"want (N, {len(self._cells)}, 5 + classes), or (N, boxes, 5) with the suppression "
                f"inside, got {shape}"
            )

    def _letterbox(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
        import cv2

        height, width = image.shape[:2]
        scale = min(self.height_px / height, self.width_px / width)
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        picture = np.full((self.height_px, self.width_px, 3), _PAD_VALUE, dtype=np.uint8)
        picture[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return picture, scale

    def _decode(self, outputs: Outputs, scale: float) -> NDArray[np.float32]:
        rows = outputs[0]
        self._check((1, *rows.shape))
        if rows.shape[1] == _BOX_AND_SCORE:
            labels = outputs[1] if len(outputs) > 1 else np.full(len(rows), _PERSON_CLASS)
            scores = np.where(labels == _PERSON_CLASS, rows[:, 4], 0.0)
            likely = np.flatnonzero(scores > PERSON_SCORE)
            boxes = rows[likely, :4]
        else:
            scores = rows[:, 4] * rows[:, 5 + _PERSON_CLASS]
            likely = np.flatnonzero(scores > PERSON_SCORE)
            boxes = self._boxes_of_cells(rows[likely], self._cells[likely])
        return _best_boxes((boxes / scale).astype(np.float32), scores[likely])

    def _boxes_of_cells(
        self, rows: NDArray[np.float32], cells: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        strides = cells[:, 2:]
        middle = (rows[:, :2] + cells[:, :2]) * strides
        # An extreme size becomes infinite here, and such a box is dropped later.
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
    """Keep the boxes that have an area and don't duplicate a better one, the best first."""
    from rtmlib.tools.object_detection.post_processings import nms

    sized = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= boxes[:, :2] + 1).all(axis=1)
    boxes, scores = boxes[sized], scores[sized]
    kept: NDArray[np.float32] = boxes[nms(boxes, scores, NMS_IOU)]
    return kept


BOX_PADDING: Final = 1.25
"""The crop is this many times as large as the box."""
_POSE_SIZE_PX: Final = (384, 288)
_BINS_PER_PX: Final = 2
# rtmlib and the released code both apply these values, in RGB order, to BGR images. Pose models
# were trained on RGB; the poses that animation models were trained on come from this mismatch.
_MEAN: Final = np.array([[123.675], [116.28], [103.53]])
_STD: Final = np.array([[58.395], [57.12], [57.375]])
_NORMALISED: Final = ((np.arange(256) - _MEAN) / _STD).astype(np.float32)
"""(3, 256): what each level of blue, green and red becomes, as exact as float32 can be."""


class PoseModel:
    """133 points inside a person's box by a SimCC model: DWPose, RTMPose or RTMW whole-body."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.height_px = model.height_px or _POSE_SIZE_PX[0]
        self.width_px = model.width_px or _POSE_SIZE_PX[1]
        self._check(model.output_shapes)
        model.warm_up(self.height_px, self.width_px)

    def find(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray[np.float32]]
    ) -> list[PersonDetection]:
        """Find the points of one person for each pair of image and box.

        Args:
            images: (H, W, 3) uint8 RGB each.
            boxes: (4,) x0, y0, x1, y1 in px each.
        """
        people: list[PersonDetection] = []
        pairs = list(zip(images, boxes, strict=True))
        # In batches, so that memory does not grow with the number of people.
        while len(people) < len(pairs):
            part = pairs[len(people) : len(people) + self._model.max_batch]
            cut = [self._crop(image, box) for image, box in part]
            answers = self._model.run(planes_of([crop for crop, _ in cut], _NORMALISED))
            people += [
                self._decode(outputs, window)
                for (_, window), outputs in zip(cut, answers, strict=True)
            ]
        return people

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
        """Crop the padded box; also return its (x0, y0) and (width, height) in px."""
        from rtmlib.tools.pose_estimation.pre_processings import bbox_xyxy2cs, top_down_affine

        center, size = bbox_xyxy2cs(box, padding=BOX_PADDING)
        crop, size = top_down_affine((self.width_px, self.height_px), size, center, image)
        return crop, np.stack([center - size / 2, size])

    def _decode(self, outputs: Outputs, window: NDArray[np.floating]) -> PersonDetection:
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
    """Whether a shape can be the wanted one; dynamic axes match any size."""
    return not found or (
        len(found) == len(wanted)
        and all(axis in {None, size} for axis, size in zip(found, wanted, strict=True))
    )


class DWPoseDetector:
    """Detects every person's 133 points in each frame.

    Frames passed together are processed together: the last one is always searched for people. With
    `detect_every=1`, and if frames are passed one by one, each frame is searched.

    Attributes:
        source: always "dwpose".
        model_digest: sha256 over both model files and the settings that determine the results.
        on_gpu: whether the models run on a GPU.

    Args:
        detector_path: a YOLOX ONNX model whose first class is a person.
        pose_path: a whole-body SimCC ONNX model (DWPose, RTMPose, RTMW).
        device: where both run.
        num_threads: threads that one operator may use.
        batch_size: frames, and then people, in one batch of a model, if its graph allows; by
            default 8 on a GPU, 1 on the processor.
        detect_every: how many frames apart people are searched; between, their boxes are followed.

    Raises:
        MissingWeightsError: a file does not exist.
        ConfigError: a file is not such a model, or CUDA was requested and isn't active.
    """

    source: Final[PoseSource] = "dwpose"

    def __init__(
        self,
        detector_path: Path,
        pose_path: Path,
        *,
        device: Device = "auto",
        num_threads: int = 1,
        batch_size: int | None = None,
        detect_every: int = 1,
    ) -> None:
        self._models = [
            OnnxModel(path, device=device, num_threads=num_threads, max_batch=batch_size)
            for path in (detector_path, pose_path)
        ]
        detector, pose = PersonDetector(self._models[0]), PoseModel(self._models[1])
        self.on_gpu: Final = any(model.on_gpu for model in self._models)
        self._follower = BoxFollower(
            every=detect_every, find_boxes=detector.find, find_people=pose.find
        )
        settings = {
            "detector_sha256": sha256_of(detector_path),
            "pose_sha256": sha256_of(pose_path),
            "person_score": PERSON_SCORE,
            "nms_iou": NMS_IOU,
            "box_padding": BOX_PADDING,
        }
        if detect_every > 1:
            # Searching every frame gives what it gave before there was anything to follow.
            settings |= {
                "detect_every": detect_every,
                "same_person_iou": SAME_PERSON_IOU,
                "kept_score_share": KEPT_SCORE_SHARE,
                "max_off_share": MAX_OFF_SHARE,
            }
        text = json.dumps(settings, sort_keys=True)
        self.model_digest: Final = hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def from_weights(
        cls, *, device: Device = "auto", num_threads: int = 1, detect_every: int = 1
    ) -> DWPoseDetector:
        """Build the detector from the files that `tpbench weights` knows by name.

        Raises:
            MissingWeightsError: a file is not on this machine; the message names the command.
            ConfigError: as for the class.
        """
        detector_path, pose_path = map(resolve, DWPOSE_WEIGHTS)
        return cls(
            detector_path,
            pose_path,
            device=device,
            num_threads=num_threads,
            detect_every=detect_every,
        )

    @property
    def num_searched(self) -> int:
        """How many frames were searched for people so far."""
        return self._models[0].num_images

    @property
    def num_crops(self) -> int:
        """How many crops of a person were searched for points so far."""
        return self._models[1].num_images

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Find the people of each frame, the one with the best mean body score first."""
        found = self._follower.find([frame.image for frame in frames])
        return [Detections(people=_ranked(people)) for people in found]

    def reset(self) -> None:
        """Forget the last frame: the next one is searched for people."""
        self._follower.reset()

    def close(self) -> None:
        """Release the memory of both models."""
        for model in self._models:
            model.close()


def _ranked(people: list[PersonDetection]) -> tuple[PersonDetection, ...]:
    if not people:
        return ()
    prominence = mean_body_scores(np.stack([person.scores for person in people]))
    return tuple(people[index] for index in np.argsort(-prominence, kind="stable"))
