"""ONNX networks that map images to arrays, on the processor or on a GPU.

On a GPU a session is warmed up when it is opened, and each size of batch keeps its input there:
only pictures are copied to the GPU, and only results from it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import Device
from tpbench.devices import ONNXRUNTIME_WITH_CUDA
from tpbench.errors import ConfigError, MissingWeightsError

logger = logging.getLogger(__name__)

Shape = tuple[int | None, ...]
"""Sizes of the axes of an array; None for a dynamic axis of the graph."""
Outputs = tuple[NDArray[Any], ...]
"""What a network says of one image, in the order of its graph."""
_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
_CUDA_OPTIONS: Final = {
    # The default tries all algorithms for every new size of batch, which takes seconds, and takes
    # the fastest: another one in the next run, with other last digits.
    "cudnn_conv_algo_search": "HEURISTIC",
    # Several workers share a GPU, so none reserves twice what it needs.
    "arena_extend_strategy": "kSameAsRequested",
}
_GPU_BATCH: Final = 8
_ERRORS_ONLY: Final = 3
_MOST_SAID: Final = 300


class OnnxModel:
    """One ONNX model that maps images to arrays.

    Attributes:
        on_gpu: whether it runs on a GPU.
        num_images: how many images it has been run on.

    Args:
        path: the ONNX file.
        device: where it runs.
        num_threads: threads that one operator may use.
        max_batch: images per batch, if the batch axis of the graph is dynamic. By default 8 on a
            GPU and 1 on the processor, where more are no faster and only take memory.

    Raises:
        MissingWeightsError: there is no such file.
        ConfigError: the file is not an ONNX model, it doesn't take one batch of float32 images, or
            CUDA was requested and isn't active.
    """

    def __init__(
        self, path: Path, *, device: Device, num_threads: int, max_batch: int | None = None
    ) -> None:
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
        self.on_gpu: Final = self._session.get_providers()[0] == _CUDA
        if max_batch is None:
            max_batch = _GPU_BATCH if self.on_gpu else 1
        self._batch = 1 if shape[0] == 1 else max_batch
        self.height_px: int | None = shape[2]
        self.width_px: int | None = shape[3]
        self.output_shapes: list[Shape] = [_shape(out.shape) for out in self._session.get_outputs()]
        self.num_images = 0
        self._bound = BoundSession(self._session, where="cuda") if self.on_gpu else None
        self._input_name = inputs[0].name

    @property
    def max_batch(self) -> int:
        """How many images go through the network at once."""
        return self._batch

    def warm_up(self, height_px: int, width_px: int) -> None:
        """Run a GPU's first batch now; the first one loads kernels and takes seconds.

        Raises:
            ConfigError: the model fails even on a single image.
        """
        if self.on_gpu:
            blank = np.zeros((self._batch, 3, height_px, width_px), dtype=np.float32)
            list(self.run(blank))
            self.num_images = 0

    def run(self, pictures: NDArray[np.float32]) -> Iterator[Outputs]:
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
            self.num_images += len(part)
            for index in range(len(part)):
                yield tuple(output[index] for output in outputs)
            start += len(part)

    def close(self) -> None:
        """Release the model's memory. It can't be run afterwards."""
        self._bound = None
        self._session = None

    def _try_run(self, pictures: NDArray[np.float32]) -> Sequence[NDArray[Any]] | None:
        """Return the outputs, or None if a batch of several images fails."""
        reason = "the outputs have another batch size than the input"
        try:
            outputs: Sequence[NDArray[Any]]
            if self._bound is not None:
                outputs = self._bound.run(pictures)
            else:
                outputs = self._session.run(None, {self._input_name: pictures})
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


class BoundSession:
    """Runs a session with its input in a buffer of the device, one for each size of batch.

    Batches are filled up to a power of two: cuDNN plans anew for each size that it has not seen.

    Args:
        session: an onnxruntime session with one input of float32 images.
        where: "cuda", or "cpu".
    """

    def __init__(self, session: Any, *, where: str) -> None:  # noqa: ANN401 - untyped wheel
        self._session = session
        self._where = where
        self._input = session.get_inputs()[0].name
        self._buffers: dict[tuple[int, ...], tuple[Any, Any]] = {}

    def run(self, pictures: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Return the outputs in the order of the graph.

        Args:
            pictures: (N, 3, height, width) float32.
        """
        count = len(pictures)
        filled = 1 << (count - 1).bit_length()
        if filled > count:
            rest = np.zeros((filled - count, *pictures.shape[1:]), dtype=np.float32)
            pictures = np.concatenate([pictures, rest])
        binding, buffer = self._buffers_of(pictures.shape)
        buffer.update_inplace(np.ascontiguousarray(pictures))
        binding.clear_binding_outputs()
        for output in self._session.get_outputs():
            binding.bind_output(output.name, self._where)
        self._session.run_with_iobinding(binding)
        outputs: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return [output[:count] if len(output) == filled else output for output in outputs]

    def _buffers_of(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        import onnxruntime

        if shape not in self._buffers:
            buffer = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                shape, np.float32, self._where, 0
            )
            binding = self._session.io_binding()
            binding.bind_ortvalue_input(self._input, buffer)
            self._buffers[shape] = binding, buffer
        return self._buffers[shape]


def planes_of(
    pictures: Sequence[NDArray[np.uint8]], tables: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Stack RGB images into a batch of BGR planes, each level replaced by its value in a table.

    Args:
        pictures: (H, W, 3) uint8 RGB each, all of one size.
        tables: (3, 256) float32: the value of each level of blue, of green, of red.

    Returns:
        (N, 3, H, W) float32.
    """
    import cv2

    batch = np.empty((len(pictures), 3, *pictures[0].shape[:2]), dtype=np.float32)
    for picture, planes in zip(pictures, batch, strict=True):
        for level, table, plane in zip(reversed(cv2.split(picture)), tables, planes, strict=True):
            cv2.LUT(level, table, dst=plane)
    return batch


def _open_session(path: Path, *, device: Device, num_threads: int) -> Any:  # noqa: ANN401 - untyped wheel
    import onnxruntime

    if device not in get_args(Device):
        raise ConfigError(f"device '{device}' is none of {', '.join(get_args(Device))}")
    if not path.is_file():
        raise MissingWeightsError(
            path.name, f"there is no file {path}; `tpbench weights list` shows what can be pulled"
        )
    providers: list[str | tuple[str, dict[str, str]]] = [_CPU]
    if device != "cpu" and _CUDA in onnxruntime.get_available_providers():
        providers = [(_CUDA, _CUDA_OPTIONS), _CPU]
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
    if len(providers) > 1 and active != _CUDA:
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
    # A model's own names are in it, and may be of any length.
    return str(error).strip().split("\n", 1)[0][:_MOST_SAID]
