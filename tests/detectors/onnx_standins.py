"""Small ONNX models with the inputs and outputs of YOLOX and DWPose, and pictures they can read.

A figure in such a picture is a patch whose colour says how large the box around it is, and three
round markers, one a colour, that say where the points are. So the answer hangs on every step before
and after the model: a wrong channel order, normalisation, scale or crop moves the points or loses
the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

YOLOX_PX = 640
POSE_WIDTH_PX, POSE_HEIGHT_PX = 288, 384
DOG_CLASS = 16
MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])

POINTS = np.arange(133)
MARKER_OF_POINT = POINTS % 3
"""Point -> marker; markers are in the order blue, green, red, as the channels of the input are."""
BINS_FROM_MARKER = POINTS // 3 - 22
"""Point -> half pixels of the crop, to the right and down from its marker."""

_CELL_PX = 32
_MARKER_LIMIT = 130
_BOX_UNIT_PX = 8
_SURE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a picture; lengths are in px of the letterboxed 640x640 picture."""

    cell: tuple[int, int]
    """Column and row of the 32 px cell in whose middle the box is centred."""
    size_px: tuple[int, int]
    """Width and height of the box: multiples of 8, the width at most 480, for a dog just that."""
    brightness: int = 220
    """Peak of the markers, over 130; it becomes the score of the points."""
    dog: bool = False
    sureness: float = 1.0
    """Score of the box."""
    markers: tuple[bool, bool, bool] = (True, True, True)
    """Which of the blue, green and red markers are there."""


ONE = [Figure(cell=(9, 7), size_px=(160, 224))]
THREE = [
    Figure(cell=(3, 6), size_px=(96, 160), brightness=180),
    Figure(cell=(10, 8), size_px=(112, 176), brightness=250),
    Figure(cell=(16, 5), size_px=(96, 144), brightness=215),
]
SIZES_PX = [(640, 480), (320, 240), (500, 375), (1280, 960), (853, 640)]
"""Widths and heights of pictures that the letterbox shrinks, enlarges and leaves as they are."""


def scale_of(width_px: int, height_px: int) -> float:
    """Letterboxed px per frame px."""
    return min(YOLOX_PX / width_px, YOLOX_PX / height_px)


def box_of(figure: Figure, scale: float) -> NDArray[np.float64]:
    """Return x0, y0, x1, y1 in frame px."""
    middle = (np.array(figure.cell) + 0.5) * _CELL_PX
    half = np.array(figure.size_px) / 2
    box: NDArray[np.float64] = np.concatenate([middle - half, middle + half]) / scale
    return box


def markers_of(figure: Figure, scale: float) -> NDArray[np.float64]:
    """Return (3, 2) frame px: where the blue, green and red markers are."""
    x0, y0, x1, y1 = box_of(figure, scale)
    inside = np.array([[0.25, 0.2], [0.78, 0.31], [0.4, 0.83]])
    markers: NDArray[np.float64] = np.array([x0, y0]) + inside * [x1 - x0, y1 - y0]
    return markers


def points_of(figure: Figure, scale: float) -> NDArray[np.float64]:
    """Return (133, 2) frame px: what the models say of this figure, NaN where it has no marker."""
    x0, y0, x1, y1 = box_of(figure, scale)
    crop_width = 1.25 * max(x1 - x0, (y1 - y0) * POSE_WIDTH_PX / POSE_HEIGHT_PX)
    away = BINS_FROM_MARKER * crop_width / (2 * POSE_WIDTH_PX)
    points = markers_of(figure, scale)[MARKER_OF_POINT] + away[:, None]
    return np.where(np.array(figure.markers)[MARKER_OF_POINT, None], points, np.nan)


def picture_of(figures: list[Figure], width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Paint (height_px, width_px, 3) uint8 RGB."""
    bgr = np.zeros((height_px, width_px, 3))
    scale = scale_of(width_px, height_px)
    for figure in figures:
        sure = round(_SURE * figure.sureness)
        blue, green = (side // _BOX_UNIT_PX for side in figure.size_px)
        colour = (blue, green, blue + (-sure if figure.dog else sure))
        x, y = (np.array(figure.cell) + 0.5) * _CELL_PX / scale
        reach = 12 / scale
        corners = [(round(x + s * reach), round(y + s * reach)) for s in (-1, 1)]
        cv2.rectangle(bgr, corners[0], corners[1], colour, thickness=-1)
    columns, rows = np.meshgrid(np.arange(width_px), np.arange(height_px))
    for figure in figures:
        for channel, (x, y) in enumerate(markers_of(figure, scale)):
            if figure.markers[channel]:
                spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
                bgr[..., channel] = np.maximum(
                    bgr[..., channel], figure.brightness * np.minimum(1.3 * spot, 1.0)
                )
    return np.ascontiguousarray(np.rint(bgr).astype(np.uint8)[..., ::-1])


class _Graph:
    """Nodes and constants of a model in the making; each call gives back the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def const(self, value: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: int | list[int]) -> str:
        name = out or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def channel(self, source: str, index: int) -> str:
        return self.op("Gather", source, self.const([index], np.int64), axis=1)

    def axis_sum(self, source: str, axis: int, *, keep: bool = False) -> str:
        return self.op("ReduceSum", source, self.const([axis], np.int64), keepdims=int(keep))

    def save(self, path: Path, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]]) -> Path:
        def infos(shapes: dict[str, list[Any]]) -> list[Any]:
            return [
                helper.make_tensor_value_info(
                    name, TensorProto.INT64 if name == "labels" else TensorProto.FLOAT, shape
                )
                for name, shape in shapes.items()
            ]

        graph = helper.make_graph(
            self.nodes, "standin", infos(inputs), infos(outputs), self.constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
        return path


def _patches(graph: _Graph, stride: int) -> str:
    """Read the pixel in the middle of every cell: (B, 3, cells, cells)."""
    starts = graph.const([stride // 2, stride // 2], np.int64)
    ends = graph.const([YOLOX_PX, YOLOX_PX], np.int64)
    axes = graph.const([2, 3], np.int64)
    return graph.op("Slice", "images", starts, ends, axes, graph.const([stride, stride], np.int64))


def _figures(graph: _Graph) -> dict[str, str]:
    """Turn patches into (B, 1, 20, 20) maps: width and height in px, scores of person and dog."""
    patches = _patches(graph, _CELL_PX)
    blue, green, red = (graph.channel(patches, index) for index in range(3))
    maps = {"width": graph.op("Mul", blue, graph.const(_BOX_UNIT_PX))}
    maps["height"] = graph.op("Mul", green, graph.const(_BOX_UNIT_PX))
    # A marker in the middle of a cell is no patch: it has one colour only, so a side is 0.
    shorter = graph.op("Min", maps["width"], maps["height"])
    is_patch = graph.op("Greater", shorter, graph.const(_CELL_PX))
    gate = graph.op("Cast", is_patch, to=TensorProto.FLOAT)
    for kind, more, less in (("person", red, blue), ("dog", blue, red)):
        share = graph.op("Div", graph.op("Sub", more, less), graph.const(_SURE))
        clipped = graph.op("Clip", share, graph.const(0), graph.const(1))
        maps[kind] = graph.op("Mul", clipped, gate)
    return maps


def _as_rows(graph: _Graph, maps: str, channels: int, *, batch: int = 0) -> str:
    flat = graph.op("Reshape", maps, graph.const([batch, channels, -1], np.int64))
    return graph.op("Transpose", flat, perm=[0, 2, 1])


def save_yolox(
    path: Path, *, batch: int | str = "batch", classes: int = 80, breaks_on_batches: bool = False
) -> Path:
    """Write a YOLOX stand-in without suppression: (B, 3, 640, 640) -> (B, 8400, 5 + classes)."""
    graph = _Graph()
    maps = _figures(graph)
    columns = 5 + classes
    zero = graph.op("Mul", maps["person"], graph.const(0))
    half = graph.op("Add", zero, graph.const(0.5))
    sizes = []
    for side in ("width", "height"):
        at_least_1 = graph.op("Max", maps[side], graph.const(1))
        sizes.append(graph.op("Log", graph.op("Div", at_least_1, graph.const(_CELL_PX))))
    objectness = graph.op("Add", maps["person"], maps["dog"])
    scores = [zero] * classes
    for kind, index in (("person", 0), ("dog", DOG_CLASS)):
        if index < classes:
            present = graph.op("Greater", maps[kind], graph.const(0))
            scores[index] = graph.op("Cast", present, to=TensorProto.FLOAT)
    head = graph.op("Concat", half, half, *sizes, objectness, *scores, axis=1)
    levels = []
    for stride in (8, 16):
        one = graph.channel(_patches(graph, stride), 0)
        nothing = graph.op("Mul", one, graph.const(np.zeros((1, columns, 1, 1))))
        levels.append(_as_rows(graph, nothing, columns))
    levels.append(_as_rows(graph, head, columns, batch=1 if breaks_on_batches else 0))
    graph.op("Concat", *levels, out="output", axis=1)
    shape = [batch, 3, YOLOX_PX, YOLOX_PX]
    return graph.save(path, {"images": shape}, {"output": [batch, 8400, columns]})


def save_yolox_with_nms(path: Path, *, batch: int | str = "batch", labels: bool = True) -> Path:
    """Write a YOLOX stand-in as exported with suppression: dets (B, N, 5) and labels (B, N)."""
    graph = _Graph()
    maps = _figures(graph)
    middles = (np.arange(YOLOX_PX // _CELL_PX) + 0.5) * _CELL_PX
    x, y = graph.const(middles.reshape(1, 1, 1, -1)), graph.const(middles.reshape(1, 1, -1, 1))
    halves = [graph.op("Div", maps[side], graph.const(2)) for side in ("width", "height")]
    corners = [graph.op("Sub", x, halves[0]), graph.op("Sub", y, halves[1])]
    corners += [graph.op("Add", x, halves[0]), graph.op("Add", y, halves[1])]
    score = graph.op("Max", maps["person"], maps["dog"])
    rows = _as_rows(graph, graph.op("Concat", *corners, score, axis=1), 5)
    graph.op("Identity", rows, out="dets")
    outputs: dict[str, list[Any]] = {"dets": [batch, "boxes", 5]}
    if labels:
        is_dog = graph.op("Greater", maps["dog"], graph.const(0))
        label = graph.op(
            "Mul", graph.op("Cast", is_dog, to=TensorProto.INT64), graph.const(DOG_CLASS, np.int64)
        )
        graph.op("Reshape", label, graph.const([0, -1], np.int64), out="labels")
        outputs["labels"] = [batch, "boxes"]
    return graph.save(path, {"images": [batch, 3, YOLOX_PX, YOLOX_PX]}, outputs)


def save_simcc(path: Path, *, batch: int | str = "batch", points: int = 133) -> Path:
    """Write a DWPose stand-in: (B, 3, 384, 288) -> simcc_x (B, 133, 576), simcc_y (B, 133, 768)."""
    graph = _Graph()
    pixels = graph.op("Mul", "input", graph.const(STD.reshape(1, 3, 1, 1)))
    pixels = graph.op("Add", pixels, graph.const(MEAN.reshape(1, 3, 1, 1)))
    mass = graph.op("Relu", graph.op("Sub", pixels, graph.const(_MARKER_LIMIT)))
    columns = graph.axis_sum(mass, 2)
    total = graph.axis_sum(columns, 2, keep=True)
    brightest = graph.op("ReduceMax", pixels, axes=[2, 3], keepdims=0)
    peak = graph.op("Unsqueeze", brightest, graph.const([2], np.int64))
    peak = graph.op("Mul", graph.op("Sign", total), graph.op("Div", peak, graph.const(255)))
    marker_of_point = graph.const(MARKER_OF_POINT[:points], np.int64)
    peaks = graph.op("Gather", peak, marker_of_point, axis=1)
    sides = {
        "simcc_x": (columns, POSE_WIDTH_PX),
        "simcc_y": (graph.axis_sum(mass, 3), POSE_HEIGHT_PX),
    }
    for name, (profile, length) in sides.items():
        weighted = graph.op("Mul", profile, graph.const(2.0 * np.arange(length)))
        safe_total = graph.op("Max", total, graph.const(1e-6))
        bin_ = graph.op("Div", graph.axis_sum(weighted, 2, keep=True), safe_total)
        middle = graph.op("Gather", bin_, marker_of_point, axis=1)
        away = graph.const(BINS_FROM_MARKER[:points].reshape(1, -1, 1))
        middle = graph.op("Add", middle, away)
        distance = graph.op("Abs", graph.op("Sub", graph.const(np.arange(2 * length)), middle))
        share = graph.op("Div", distance, graph.const(2 * length))
        graph.op("Mul", peaks, graph.op("Sub", graph.const(1), share), out=name)
    return graph.save(
        path,
        {"input": [batch, 3, POSE_HEIGHT_PX, POSE_WIDTH_PX]},
        {name: [batch, points, 2 * length] for name, (_, length) in sides.items()},
    )
