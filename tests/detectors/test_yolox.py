from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.detectors.onnx_standins import (
    SIZES_PX,
    THREE,
    Figure,
    box_of,
    picture_of,
    save_yolox,
    scale_of,
)
from tpbench.detectors.onnx_session import OnnxModel, PersonDetector

if TYPE_CHECKING:
    from pathlib import Path


def cpu_model(path: Path) -> OnnxModel:
    return OnnxModel(path, device="cpu", num_threads=1, max_batch=2)


@pytest.mark.parametrize("size_px", [*SIZES_PX, (640, 640), (371, 611)])
def test_the_picture_a_box_model_sees_equals_that_of_rtmlib(
    yolox_path: Path, size_px: tuple[int, int]
) -> None:
    from rtmlib import YOLOX

    model = cpu_model(yolox_path)
    image = picture_of(THREE, *size_px)

    ours, scale = PersonDetector(model)._letterbox(image)
    theirs, ratio = YOLOX(str(yolox_path)).preprocess(image)

    np.testing.assert_array_equal(ours, theirs)
    assert scale == pytest.approx(ratio)


@pytest.mark.parametrize("classes", [1, 80])
def test_detectors_with_any_number_of_classes_give_the_same_boxes(
    onnx_folder: Path, classes: int
) -> None:
    path = save_yolox(onnx_folder / f"classes_{classes}.onnx", classes=classes)
    model = cpu_model(path)

    (boxes,) = PersonDetector(model).find([picture_of(THREE, 500, 375)])

    expected = [box_of(figure, scale_of(500, 375)) for figure in THREE]
    np.testing.assert_allclose(boxes[np.argsort(boxes[:, 0])], expected, atol=1e-3)


def test_doubles_of_a_box_are_dropped(onnx_folder: Path) -> None:
    twins = [
        Figure(cell=(9, 7), size_px=(240, 320), sureness=0.8),
        Figure(cell=(10, 7), size_px=(240, 320)),
    ]
    model = cpu_model(save_yolox(onnx_folder / "twins.onnx"))

    (boxes,) = PersonDetector(model).find([picture_of(twins, 640, 480)])

    np.testing.assert_allclose(boxes, [box_of(twins[1], 1.0)], atol=1e-3)


def test_rows_that_are_not_finite_give_no_box(yolox_path: Path) -> None:
    rows = np.zeros((8400, 85), dtype=np.float32)
    rows[:, 4:6] = 1.0
    rows[:, 2] = [np.nan, np.inf, 1e30, -1e30] * 2100

    assert len(PersonDetector(cpu_model(yolox_path))._decode((rows,), 1.0)) == 0
