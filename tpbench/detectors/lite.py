"""Networks in the TensorFlow Lite format, run by LiteRT on one thread, and the squares they see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench import weights

_FILE_MARK: Final = b"TFL3"
_MAX_LOGIT: Final = 100.0
"""Beyond this, scores are 0 or 1, and their exponential may overflow."""
_HALF_PIXEL: Final = 0.5
"""A network counts from the corner of its input, we from the centre of the first pixel."""


def model_bytes(name: str, *, offline: bool) -> bytes:
    """Return the bytes of one network, fetched on first use.

    Raises:
        MissingWeightsError: it is not on this machine and may not or can't be fetched.
    """
    return weights.resolve(name, offline=offline).read_bytes()


def digest(*parts: bytes | str) -> str:
    """Return one sha256 over model files and the settings that determine their results."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return total.hexdigest()


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the scores in [0, 1] of a network's logits."""
    clipped = np.clip(logits.astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT)
    scores: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-clipped))
    return scores


def turn_rad(base: NDArray[np.floating], tip: NDArray[np.floating]) -> float:
    """Return how far the way from base to tip is turned clockwise from straight up."""
    across = tip - base
    return float(np.arctan2(across[0], -across[1]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SquareCrop:
    """A square of an image, in any orientation, as a network sees it."""

    to_image: NDArray[np.float64]
    """(2, 3) map from pixels of the crop to pixels of the image, centres of pixels being whole."""
    input_px: int
    """Side of the crop in pixels."""

    @classmethod
    def around(
        cls, centre_px: NDArray[np.floating], side_px: float, angle_rad: float, *, input_px: int
    ) -> SquareCrop:
        """Return the crop of a square.

        Args:
            centre_px: (2,) px of the image.
            side_px: in px of the image.
            angle_rad: how far the square is turned clockwise, as seen in the image.
            input_px: side of the crop.
        """
        cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
        turn = side_px / input_px * np.array([[cosine, -sine], [sine, cosine]])
        origin = np.asarray(centre_px, dtype=np.float64) - turn @ np.full(2, (input_px - 1) / 2)
        return cls(to_image=np.column_stack([turn, origin]), input_px=input_px)

    @property
    def side_px(self) -> float:
        """Side of the square, in px of the image."""
        return float(np.hypot(*self.to_image[:, 0])) * self.input_px

    def cut(self, image: NDArray[np.uint8], *, replicate: bool) -> NDArray[np.uint8]:
        """Return the crop of a (H, W, 3) image, interpolated linearly.

        Args:
            image: uint8 RGB.
            replicate: beyond the edge of the image, repeat its border; otherwise black.
        """
        import cv2

        crop: NDArray[np.uint8] = cv2.warpAffine(
            image,
            self.to_image,
            (self.input_px, self.input_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT,
        )
        return crop

    def points_px(self, found: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return a network's (N, 2) points, in units of its input pixels, in px of the image."""
        points = found.astype(np.float64) - _HALF_PIXEL
        moved: NDArray[np.float64] = points @ self.to_image[:, :2].T + self.to_image[:, 2]
        return moved


class LiteNetwork:
    """One network with a square input, run on one thread.

    Only those parts of the graph are run that the named outputs depend on: MediaPipe's body network
    spends half of its time on a segmentation mask and heat maps. The results of the rest are the
    same, bit for bit.

    Attributes:
        input_px: side of the input.

    Args:
        model: a TFLite file.
        outputs: names of the outputs to compute.
        offset: subtracted from 8-bit pixels before they are scaled.
        scale: the input of the network is `(pixel - offset) * scale`.

    Raises:
        KeyError: the network has no such output.
    """

    def __init__(
        self, model: bytes, outputs: Sequence[str], *, offset: float = 0.0, scale: float = 1 / 255
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter

        from tpbench.detectors.native_output import quiet_native_output

        with quiet_native_output():
            self._interpreter = Interpreter(model_content=pruned(model, outputs), num_threads=1)
            self._interpreter.allocate_tensors()
        inputs = self._interpreter.get_input_details()
        by_name = {
            found["name"]: found["index"] for found in self._interpreter.get_output_details()
        }
        self._outputs = [by_name[name] for name in outputs]
        self._input = inputs[0]["index"]
        self.input_px: Final = int(inputs[0]["shape"][1])
        self._offset, self._scale = np.float32(offset), np.float32(scale)

    def run(self, picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the named outputs, without their batch axis.

        Args:
            picture: (input_px, input_px, 3) uint8 RGB.
        """
        # The view must be gone before the network runs.
        values = self._interpreter.tensor(self._input)()[0]
        np.subtract(picture, self._offset, out=values)
        np.multiply(values, self._scale, out=values)
        del values
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


def pruned(model: bytes, outputs: Sequence[str]) -> bytes:
    """Return a TFLite file with these outputs alone, and without what only others need.

    Raises:
        KeyError: the network has no such output.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as tflite

    network = tflite.ModelT.InitFromPackedBuf(model, 0)
    graph = network.subgraphs[0]
    by_name = {graph.tensors[index].name.decode(): index for index in graph.outputs}
    graph.outputs = [by_name[name] for name in outputs]
    needed = _needed(graph.operators, graph.outputs)
    graph.operators = [graph.operators[index] for index in sorted(needed)]
    network.signatureDefs = None
    builder = flatbuffers.Builder(len(model))
    builder.Finish(network.Pack(builder), _FILE_MARK)
    return bytes(builder.Output())


def _needed(operators: Sequence[Any], outputs: Sequence[int]) -> set[int]:
    """Return the numbers of the operators that the output tensors depend on."""
    maker = {tensor: number for number, made in enumerate(operators) for tensor in made.outputs}
    needed: set[int] = set()
    open_tensors = list(outputs)
    while open_tensors:
        number = maker.get(open_tensors.pop())
        if number is not None and number not in needed:
            needed.add(number)
            open_tensors.extend(operators[number].inputs)
    return needed
