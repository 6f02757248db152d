"""ONNX files with the inputs, outputs and cost of YOLOX-l and DWPose-l, and videos they can read.

The stand-ins of the tests answer at once. Here they carry convolutions besides, as wide and as many
as those of the real networks, whose results are added to the answer as good as zero: the answer
stays exact, and a call costs what it costs with the real file. Real weights are not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests.detectors.onnx_standins import Figure, picture_of, save_simcc, save_yolox
from tpbench.video import LOSSLESS_X264, VideoWriter

_NOTHING: Final = 1e-20
SIZE_PX: Final = (512, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Convolutions of 3x3 of one width and resolution; the first halves the resolution."""

    channels: int
    count: int


YOLOX_L: Final = (
    Stage(channels=64, count=1),
    Stage(channels=128, count=6),
    Stage(channels=256, count=7),
    Stage(channels=512, count=4),
    Stage(channels=1024, count=5),
)
"""Of 640x640 px; the real network has 54 million weights and takes 155.6 GFLOPs."""
DWPOSE_L: Final = (
    Stage(channels=32, count=1),
    Stage(channels=64, count=8),
    Stage(channels=128, count=14),
    Stage(channels=256, count=12),
    Stage(channels=512, count=6),
    Stage(channels=1024, count=1),
)
"""Of 288x384 px; the real network has 28 million weights and takes 20 GFLOPs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Size of a network."""

    weights: int
    flops: int
    """Of one image: two for each multiplication and addition."""

    def __str__(self) -> str:
        return f"{self.weights / 1e6:.0f} M weights, {self.flops / 1e9:.0f} GFLOPs"


def cost(stages: Sequence[Stage], height_px: int, width_px: int) -> Cost:
    """Return what these convolutions are."""
    weights = flops = 0
    before, pixels = 3, height_px * width_px
    for stage in stages:
        pixels //= 4
        for _ in range(stage.count):
            kernel = 9 * before * stage.channels
            weights += kernel
            flops += 2 * kernel * pixels
            before = stage.channels
    return Cost(weights=weights, flops=flops)


def make_heavy(path: Path, stages: Sequence[Stage]) -> None:
    """Add convolutions to a stand-in, between its input and its first output."""
    model = onnx.load(str(path))
    graph = model.graph
    random = np.random.default_rng(0)
    last, before = graph.input[0].name, 3
    for number, stage in enumerate(stages):
        for index in range(stage.count):
            name = f"heavy_{number}_{index}"
            kernel = random.standard_normal((stage.channels, before, 3, 3), dtype=np.float32)
            kernel *= np.float32(1 / np.sqrt(9 * before))
            graph.initializer.append(numpy_helper.from_array(kernel, f"{name}_kernel"))
            stride = 1 if index else 2
            graph.node.append(
                helper.make_node(
                    "Conv", [last, f"{name}_kernel"], [name], pads=[1] * 4, strides=[stride] * 2
                )
            )
            graph.node.append(helper.make_node("Sigmoid", [name], [f"{name}_gate"]))
            graph.node.append(helper.make_node("Mul", [name, f"{name}_gate"], [f"{name}_out"]))
            last, before = f"{name}_out", stage.channels
    _add_to_first_output(graph, last)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _add_to_first_output(graph: onnx.GraphProto, heavy: str) -> None:
    """Add the mean of what the convolutions give, times nothing, for each image."""
    answer = graph.output[0].name
    for node in graph.node:
        node.output[:] = [f"{answer}_alone" if name == answer else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.float32(_NOTHING), "nothing"))
    mean = helper.make_node("ReduceMean", [heavy], ["heavy_mean"], axes=[1, 2], keepdims=0)
    # (B, W) -> (B, 1, 1): one number for each image.
    rest = helper.make_node("ReduceMean", ["heavy_mean"], ["heavy_one"], axes=[1], keepdims=1)
    graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "third_axis"))
    shape = helper.make_node("Unsqueeze", ["heavy_one", "third_axis"], ["heavy_shaped"])
    small = helper.make_node("Mul", ["heavy_shaped", "nothing"], ["heavy_nothing"])
    total = helper.make_node("Add", [f"{answer}_alone", "heavy_nothing"], [answer])
    graph.node.extend([mean, rest, shape, small, total])


def save_networks(folder: Path) -> tuple[Cost, Cost]:
    """Write `yolox.onnx` and `dwpose.onnx`; return what they are."""
    make_heavy(save_yolox(folder / "yolox.onnx"), YOLOX_L)
    make_heavy(save_simcc(folder / "dwpose.onnx"), DWPOSE_L)
    return cost(YOLOX_L, 640, 640), cost(DWPOSE_L, 384, 288)


def walking_figure(n_frames: int) -> Iterator[NDArray[np.uint8]]:
    """Yield pictures of one person who sways from side to side, as a speaker does."""
    for at in range(n_frames):
        column = 9 + round(np.sin(at / 12))
        figure = Figure(cell=(column, 9), size_px=(224, 320))
        yield picture_of([figure], *SIZE_PX)


def write_figures(path: Path, n_frames: int) -> None:
    """Write the pictures lossless, at 25 frames a second."""
    width_px, height_px = SIZE_PX
    with VideoWriter(
        path, width_px=width_px, height_px=height_px, fps=Fraction(25), encoding=LOSSLESS_X264
    ) as writer:
        for picture in walking_figure(n_frames):
            writer.write(picture)
