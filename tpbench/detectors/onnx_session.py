"""ONNX models run by onnxruntime, on the device and with the threads that were asked for.

onnxruntime falls back to the CPU without an error, and takes every core unless told otherwise. Here
the provider that is really active is checked, and the number of threads is always set.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from tpbench.errors import ConfigError, MissingWeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

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
            msg = f"{path}: want one input of float32 pictures (N, 3, height, width), got {found}"
            raise ConfigError(msg)
        if shape[0] not in {None, 1}:
            msg = (
                f"{path}: the batch is fixed at {shape[0]}; export the model with 1 or an open axis"
            )
            raise ConfigError(msg)
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
        msg = f"{self.path}: the model fails on a picture of {pictures.shape[2:]} ({reason})"
        raise ConfigError(msg)


def bgr_batch(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Stack (H, W, 3) RGB pictures into (N, 3, H, W) float32 BGR in [0, 255]."""
    return np.ascontiguousarray(np.stack(pictures)[..., ::-1].transpose(0, 3, 1, 2), np.float32)


def _open_session(path: Path, *, device: Device, num_threads: int) -> Any:  # noqa: ANN401 - untyped wheel
    import onnxruntime

    if device not in get_args(Device):
        msg = f"device '{device}' is none of {', '.join(get_args(Device))}"
        raise ConfigError(msg)
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
        msg = (
            f"{path}: onnxruntime {onnxruntime.__version__} can't open this as an ONNX model "
            f"({_first_line(error)}); `tpbench weights check` tells a broken file from a whole one"
        )
        raise ConfigError(msg) from error
    active = session.get_providers()[0]
    if active != providers[0]:
        if device == "cuda":
            _refuse_without_cuda()
        logger.warning("%s: CUDA doesn't start here, it runs on %s", path.name, active)
    logger.info("%s runs on %s", path.name, active)
    return session


def _refuse_without_cuda() -> None:
    msg = (
        "device 'cuda' was asked for, but onnxruntime can't use CUDA here: "
        "`pip uninstall onnxruntime` and `pip install onnxruntime-gpu` on a machine with an NVIDIA "
        "driver, or take device 'cpu'"
    )
    raise ConfigError(msg)


def _shape(axes: list[int | str | None]) -> Shape:
    """Sizes of the axes; empty where the graph says nothing about them."""
    return tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in axes)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
