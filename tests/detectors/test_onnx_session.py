from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.detectors.onnx_standins import (
    SIZES_PX,
    THREE,
    Figure,
    box_of,
    picture_of,
    save_simcc,
    save_yolox,
    scale_of,
)
from tpbench.detectors.dwpose import OnnxModel, PersonDetector
from tpbench.errors import ConfigError, MissingWeightsError


def test_asking_for_cuda_where_there_is_none_is_one_clear_error(yolox_path: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ConfigError, match="pip install onnxruntime-gpu") as caught:
        OnnxModel(yolox_path, device="cuda", num_threads=1, max_batch=1)
    assert "\n" not in str(caught.value)


def test_cuda_that_is_offered_but_does_not_start_is_an_error(
    yolox_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class SilentCpuSession:
        """What a GPU build gives on a machine without a driver."""

        def __init__(self, path: str, *, sess_options: object, providers: list[str]) -> None:
            self._real = real_session(path, sess_options, providers=providers[-1:])

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

    real_session = onnxruntime.InferenceSession
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", SilentCpuSession)

    with pytest.raises(ConfigError, match="can't use CUDA"):
        OnnxModel(yolox_path, device="cuda", num_threads=1, max_batch=1)
    with caplog.at_level(logging.WARNING):
        OnnxModel(yolox_path, device="auto", num_threads=1, max_batch=1)
    assert "CUDA doesn't start" in caplog.text


def test_the_threads_of_a_session_are_those_asked_for(
    yolox_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real_session = onnxruntime.InferenceSession

    def spy(path: str, *, sess_options: object, providers: list[str]) -> object:
        seen.append(sess_options.intra_op_num_threads)  # type: ignore[attr-defined] # untyped wheel
        return real_session(path, sess_options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    OnnxModel(yolox_path, device="auto", num_threads=2, max_batch=1)

    assert seen == [2]


def test_a_missing_file_is_a_missing_weights_error(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"nowhere\.onnx.*tpbench weights list"):
        OnnxModel(tmp_path / "nowhere.onnx", device="cpu", num_threads=1, max_batch=1)


@pytest.mark.parametrize("kept_share", [0.0, 0.5, 0.99])
def test_a_truncated_model_is_one_clear_error(
    tmp_path: Path, simcc_path: Path, kept_share: float
) -> None:
    whole = simcc_path.read_bytes()
    path = tmp_path / "truncated.onnx"
    path.write_bytes(whole[: int(len(whole) * kept_share)])
    with pytest.raises(ConfigError, match=r"truncated\.onnx.*weights check") as caught:
        OnnxModel(path, device="cpu", num_threads=1, max_batch=1)
    assert "\n" not in str(caught.value)


def test_a_fixed_batch_of_several_is_refused(tmp_path: Path) -> None:
    path = save_simcc(tmp_path / "four.onnx", batch=4)
    with pytest.raises(ConfigError, match="the batch is fixed at 4"):
        OnnxModel(path, device="cpu", num_threads=1, max_batch=1)


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
