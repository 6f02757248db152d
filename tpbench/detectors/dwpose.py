"""Whole-body skeletons by DWPose: a YOLOX box for each person, then 133 points inside each box.

The steps and numbers are those of rtmlib and of the released DWPose code, with these differences:
frames go through the models in batches; only boxes of people count (rtmlib passes on all 80
classes); if no person is found, none is reported (both take the whole frame for a person); and
frames are not first resized to a short side of 512, as each model resizes its own input anyway.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import DWPOSE_WEIGHTS, Detections, Device, PersonDetection
from tpbench.devices import ONNXRUNTIME_WITH_CUDA
from tpbench.dwpose_drawing import mean_body_scores
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.files import sha256_of
from tpbench.video import Frame
from tpbench.weights import resolve
from tpbench.wholebody import NUM_KEYPOINTS, PoseSource

logger = logging.getLogger(__name__)

Shape = tuple[int | None, ...]
"""Sizes of the axes of an array; None for a dynamic axis of the graph."""
_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
_ERRORS_ONLY: Final = 3


class OnnxModel:
    """One ONNX model that maps images to arrays.

    Args:
        path: the ONNX file.
        device: where it runs.
        num_threads: threads that one operator may use.
        max_batch: images per batch, if the batch axis of the graph is dynamic.

    Raises:
        MissingWeightsError: there is no such file.
        ConfigError: the file is not an ONNX model, it doesn't take one batch of float32 images, or
            CUDA was requested and isn't active.
    """

    def __init__(self, path: Path, *, device: Device, num_threads: int, max_batch: int) -> None:
        self.path = path
        self._session = _open_session(path, device=device, num_threads=num_threads)
        inputs = self._session.get_inputs()
        shape = _shape(inputs[0].shape) if inputs else ()
        if (
            len(inputs) != 1
            or len(shape) != 4
            or shape[1] != 3
            or inputs[0].type != "tensor(float)"
        ):
            found = ", ".join(f"{item.type} {item.shape}" for item in inputs)
            raise ConfigError(
                f"{path}: want one input of float32 images (N, 3, height, width), got {found}"
            )
        if shape[0] not in {None, 1}:
            raise ConfigError(
                f"{path}: the batch is fixed at {shape[0]}; export it with 1 or a dynamic axis"
            )
        self._input_name = inputs[0].name
        self._batch = 1 if shape[0] == 1 else max_batch
        self.height_px: int | None = shape[2]
        self.width_px: int | None = shape[3]
        self.output_shapes: list[Shape] = [_shape(out.shape) for out in self._session.get_outputs()]

    def run(self, pictures: NDArray[np.float32]) -> Iterator[tuple[NDArray[Any], ...]]:
        """Run the model on each image, in order.

        Args:
            pictures: (N, 3, height, width) float32, in the model's range of values.

        Yields:
            The outputs in the order of the graph, without the batch axis.

        Raises:
            ConfigError: the model fails even on a single image.
        """
        start = 0
        while start < len(pictures):
            part = pictures[start : start + self._batch]
            outputs = self._try_run(part)
            if outputs is None:
                # Some exports declare a dynamic batch axis but reshape to one image inside.
                logger.warning("%s fails on a batch: it is run image by image", self.path)
                self._batch = 1
                continue
            for index in range(len(part)):
                yield tuple(output[index] for output in outputs)
            start += len(part)

    def close(self) -> None:
        """Release the model's memory. It can't be run afterwards."""
        self._session = None

    def _try_run(self, pictures: NDArray[np.float32]) -> list[NDArray[Any]] | None:
        """Return the outputs, or None if a batch of several images fails."""
        reason = "the outputs have another batch size than the input"
        try:
            outputs: list[NDArray[Any]] = self._session.run(None, {self._input_name: pictures})
        except Exception as error:  # noqa: BLE001 - onnxruntime has a class of its own per status code
            reason = _first_line(error)
        else:
            if all(len(output) == len(pictures) for output in outputs):
                return outputs
        if len(pictures) > 1:
            return None
        raise ConfigError(
            f"{self.path}: the model fails on an image of {pictures.shape[2:]} ({reason})"
        )


def bgr_batch(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Stack (H, W, 3) RGB images into (N, 3, H, W) float32 BGR in [0, 255]."""
    return np.ascontiguousarray(np.stack(pictures)[..., ::-1].transpose(0, 3, 1, 2), np.float32)


def _open_session(path: Path, *, device: Device, num_threads: int) -> Any:  # noqa: ANN401 - untyped wheel
    import onnxruntime

    if device not in get_args(Device):
        raise ConfigError(f"device '{device}' is none of {', '.join(get_args(Device))}")
    if not path.is_file():
        raise MissingWeightsError(
            path.name, f"there is no file {path}; `tpbench weights list` shows what can be pulled"
        )
    providers = [_CPU]
    if device != "cpu" and _CUDA in onnxruntime.get_available_providers():
        providers = [_CUDA, _CPU]
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # finds the CUDA libraries that come with torch's wheels
    elif device == "cuda":
        _refuse_without_cuda()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
    except Exception as error:
        raise ConfigError(
            f"{path}: onnxruntime {onnxruntime.__version__} can't open this as an ONNX model "
            f"({_first_line(error)}); `tpbench weights check` shows whether the file is intact"
        ) from error
    active = session.get_providers()[0]
    if active != providers[0]:
        if device == "cuda":
            _refuse_without_cuda()
        logger.warning("%s: CUDA doesn't start here, it runs on %s", path.name, active)
    logger.info("%s runs on %s", path.name, active)
    return session


def _refuse_without_cuda() -> None:
    raise ConfigError(
        "device 'cuda' was requested, but onnxruntime can't use CUDA here: it needs an NVIDIA "
        f"driver and a build for the same CUDA version as torch's (`{ONNXRUNTIME_WITH_CUDA}`, see "
        "docs/gpu.md), or take device 'cpu'"
    )


def _shape(axes: list[int | str | None]) -> Shape:
    """Sizes of the axes; empty where the graph does not declare them."""
    return tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in axes)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


PERSON_SCORE: Final = 0.3
"""Score above which a box is a person, as in the released DWPose code."""
NMS_IOU: Final = 0.45
"""Overlap above which two boxes are one person, and the one with the lower score is dropped."""
_YOLOX_SIZE_PX: Final = (640, 640)
_STRIDES_PX: Final = (8, 16, 32)
_PAD_VALUE: Final = 114
_BOX_AND_SCORE: Final = 5
_PERSON_CLASS: Final = 0


class PersonDetector:
    """Detects people with a YOLOX model, exported with or without non-maximum suppression."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.height_px = model.height_px or _YOLOX_SIZE_PX[0]
        self.width_px = model.width_px or _YOLOX_SIZE_PX[1]
        self._cells = _yolox_cells(self.height_px, self.width_px)
        self._check(model.output_shapes[0])

    def find(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Find the people in each image.

        Args:
            images: (H, W, 3) uint8 RGB each.

        Returns:
            (N, 4) x0, y0, x1, y1 in px for each image, the best score first. Boxes may extend
            beyond the image.
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
    """Keep the boxes that score high enough, have an area, and don't duplicate a better one."""
    from rtmlib.tools.object_detection.post_processings import nms

    sized = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= boxes[:, :2] + 1).all(axis=1)
    keep = sized & (scores > PERSON_SCORE)
    boxes, scores = boxes[keep], scores[keep]
    kept: NDArray[np.float32] = boxes[nms(boxes, scores, NMS_IOU)]
    return kept


BOX_PADDING: Final = 1.25
"""The crop is this many times as large as the box."""
_POSE_SIZE_PX: Final = (384, 288)
_BINS_PER_PX: Final = 2
# rtmlib and the released code both apply these values, in RGB order, to BGR images. Pose models
# were trained on RGB; the poses that animation models were trained on come from this mismatch.
_MEAN: Final = np.array([123.675, 116.28, 103.53], dtype=np.float32)[:, None, None]
_STD: Final = np.array([58.395, 57.12, 57.375], dtype=np.float32)[:, None, None]


class PoseModel:
    """133 points inside a person's box by a SimCC model: DWPose, RTMPose or RTMW whole-body."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.height_px = model.height_px or _POSE_SIZE_PX[0]
        self.width_px = model.width_px or _POSE_SIZE_PX[1]
        self._check(model.output_shapes)

    def find(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray[np.float32]]
    ) -> list[PersonDetection]:
        """Find the points of one person for each pair of image and box.

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
        """Crop the padded box; also return its (x0, y0) and (width, height) in px."""
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
    """Whether a shape can be the wanted one; dynamic axes match any size."""
    return not found or (
        len(found) == len(wanted)
        and all(axis in {None, size} for axis, size in zip(found, wanted, strict=True))
    )


class DWPoseDetector:
    """Detects every person's 133 points in each frame independently.

    Attributes:
        source: always "dwpose".
        model_digest: sha256 over both model files and the settings that determine the results.

    Args:
        detector_path: a YOLOX ONNX model whose first class is a person.
        pose_path: a whole-body SimCC ONNX model (DWPose, RTMPose, RTMW).
        device: where both run.
        num_threads: threads that one operator may use.
        batch_size: frames, and then people, in one batch of a model, if its graph allows.

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
        batch_size: int = 8,
    ) -> None:
        self._models = [
            OnnxModel(path, device=device, num_threads=num_threads, max_batch=batch_size)
            for path in (detector_path, pose_path)
        ]
        self._person_detector = PersonDetector(self._models[0])
        self._pose_model = PoseModel(self._models[1])
        self._batch_size = batch_size
        settings = {
            "detector_sha256": sha256_of(detector_path),
            "pose_sha256": sha256_of(pose_path),
            "person_score": PERSON_SCORE,
            "nms_iou": NMS_IOU,
            "box_padding": BOX_PADDING,
        }
        text = json.dumps(settings, sort_keys=True)
        self.model_digest: Final = hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def from_weights(cls, *, device: Device = "auto", num_threads: int = 1) -> DWPoseDetector:
        """Build the detector from the files that `tpbench weights` knows by name.

        Raises:
            MissingWeightsError: a file is not on this machine; the message names the command.
            ConfigError: as for the class.
        """
        detector_path, pose_path = map(resolve, DWPOSE_WEIGHTS)
        return cls(detector_path, pose_path, device=device, num_threads=num_threads)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Find the people of each frame, the one with the best mean body score first."""
        found: list[Detections] = []
        for start in range(0, len(frames), self._batch_size):
            images = [frame.image for frame in frames[start : start + self._batch_size]]
            found += self._detect_batch(images)
        return found

    def reset(self) -> None:
        """Do nothing: no result depends on an earlier frame."""

    def close(self) -> None:
        """Release the memory of both models."""
        for model in self._models:
            model.close()

    def _detect_batch(self, images: list[NDArray[np.uint8]]) -> list[Detections]:
        boxes = self._person_detector.find(images)
        pairs = [(image, box) for image, found in zip(images, boxes, strict=True) for box in found]
        people: list[PersonDetection] = []
        # In batches, so that memory does not grow with the number of people.
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
