"""ONNX networks: sessions and devices, and YOLOX, the person detector."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tpbench.errors import ConfigError, MissingWeightsError

logger = logging.getLogger(__name__)

Device = Literal["cpu", "cuda", "auto"]
"""Where models run; `auto` is CUDA where onnxruntime can use it, otherwise the CPU."""
Shape = tuple[int | None, ...]
"""Sizes of the axes of an array; None where a graph leaves an axis open."""
_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
_ERRORS_ONLY: Final = 3


class OnnxModel:
    """One ONNX model from pictures to arrays.

    Args:
        path: the ONNX file.
        device: where it runs.
        num_threads: threads that one operator may use.
        max_batch: pictures that go through at once, where the batch axis of the graph is open.

    Raises:
        MissingWeightsError: there is no such file.
        ConfigError: the file is no ONNX model, it doesn't take one batch of float32 pictures, or
            CUDA was asked for and isn't active.
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
                f"{path}: want one input of float32 pictures (N, 3, height, width), got {found}"
            )
        if shape[0] not in {None, 1}:
            raise ConfigError(
                f"{path}: the batch is fixed at {shape[0]}; export the model with 1 or an open axis"
            )
        self._input_name = inputs[0].name
        self._batch = 1 if shape[0] == 1 else max_batch
        self.height_px: int | None = shape[2]
        self.width_px: int | None = shape[3]
        self.output_shapes: list[Shape] = [_shape(out.shape) for out in self._session.get_outputs()]

    def run(self, pictures: NDArray[np.float32]) -> Iterator[tuple[NDArray[Any], ...]]:
        """Answer for each picture, in order.

        Args:
            pictures: (N, 3, height, width) float32, as the model wants its values.

        Yields:
            The outputs in the order of the graph, without the batch axis.

        Raises:
            ConfigError: the model fails even on one picture.
        """
        start = 0
        while start < len(pictures):
            part = pictures[start : start + self._batch]
            outputs = self._try_run(part)
            if outputs is None:
                # Some exports promise an open batch axis and then reshape to one picture inside.
                logger.warning("%s fails on a batch: it is run picture by picture", self.path)
                self._batch = 1
                continue
            for index in range(len(part)):
                yield tuple(output[index] for output in outputs)
            start += len(part)

    def close(self) -> None:
        """Give back the memory of the model. It can't be run afterwards."""
        self._session = None

    def _try_run(self, pictures: NDArray[np.float32]) -> list[NDArray[Any]] | None:
        """Return the outputs, or None where several pictures at once are too much."""
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
            f"{self.path}: the model fails on a picture of {pictures.shape[2:]} ({reason})"
        )


def bgr_batch(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Stack (H, W, 3) RGB pictures into (N, 3, H, W) float32 BGR in [0, 255]."""
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
            f"({_first_line(error)}); `tpbench weights check` tells a broken file from a whole one"
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
        "device 'cuda' was asked for, but onnxruntime can't use CUDA here: "
        "`pip uninstall onnxruntime` and `pip install onnxruntime-gpu` on a machine with an NVIDIA "
        "driver, or take device 'cpu'"
    )


def _shape(axes: list[int | str | None]) -> Shape:
    """Sizes of the axes; empty where the graph says nothing about them."""
    return tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in axes)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


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
