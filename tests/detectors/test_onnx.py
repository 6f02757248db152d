"""ONNX networks: what they take, how they are run, and where."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests.detectors.onnx_standins import MEAN, STD, save_simcc, save_yolox
from tpbench.detectors.onnx import BoundSession, OnnxModel, planes_of
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


def test_a_name_of_any_length_in_a_model_does_not_fill_the_screen(tmp_path: Path) -> None:
    path = tmp_path / "long.onnx"
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["z" * 100_000], ["x"])
    graph = helper.make_graph([node], "long", [], [value])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ConfigError, match="can't open this") as caught:
        OnnxModel(path, device="cpu", num_threads=1)
    assert len(str(caught.value)) < 1000


def test_a_fixed_batch_of_several_is_refused(tmp_path: Path) -> None:
    path = save_simcc(tmp_path / "four.onnx", batch=4)
    with pytest.raises(ConfigError, match="the batch is fixed at 4"):
        OnnxModel(path, device="cpu", num_threads=1, max_batch=1)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_planes_equal_a_normalisation_in_float64() -> None:
    tables = ((np.arange(256) - MEAN[:, None]) / STD[:, None]).astype(np.float32)
    pictures = [noise(384, 288, 3), noise(384, 288, 3)[::-1].copy()]
    batch = planes_of(pictures, tables)
    assert batch.dtype == np.float32
    assert batch.shape == (2, 3, 384, 288)
    for picture, planes in zip(pictures, batch, strict=True):
        wanted = ((picture[..., ::-1] - MEAN) / STD).transpose(2, 0, 1)
        np.testing.assert_allclose(planes, wanted, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_bound_session_answers_as_a_plain_one(simcc_path: Path, count: int) -> None:
    """Batches are filled up, and the buffers of an earlier batch do not shine through."""
    session = onnxruntime.InferenceSession(str(simcc_path), providers=["CPUExecutionProvider"])
    bound = BoundSession(session, where="cpu")
    pictures = noise(count, 3, 384, 288).astype(np.float32)
    for batch in (pictures, np.ascontiguousarray(pictures[::-1]), pictures[:1]):
        wanted = session.run(None, {"input": batch})
        for ours, theirs in zip(bound.run(batch), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_answers_of_a_bound_session_stay_when_it_runs_again(simcc_path: Path) -> None:
    session = onnxruntime.InferenceSession(str(simcc_path), providers=["CPUExecutionProvider"])
    bound = BoundSession(session, where="cpu")
    first = bound.run(noise(1, 3, 384, 288).astype(np.float32))
    before = [output.copy() for output in first]
    bound.run(np.zeros((1, 3, 384, 288), dtype=np.float32))
    for output, copied in zip(first, before, strict=True):
        np.testing.assert_array_equal(output, copied)


def test_a_bound_graph_that_breaks_on_batches_is_run_in_a_loop(
    onnx_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_yolox(onnx_folder / "breaks_bound.onnx", breaks_on_batches=True)
    model = OnnxModel(path, device="cpu", num_threads=1, max_batch=4)
    pictures = noise(3, 3, 640, 640).astype(np.float32)
    wanted = [rows for (rows,) in model.run(pictures)]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    model = OnnxModel(path, device="cpu", num_threads=1, max_batch=4)
    model._bound = BoundSession(session, where="cpu")
    with caplog.at_level(logging.WARNING):
        found = [rows for (rows,) in model.run(pictures)]
    np.testing.assert_array_equal(found, wanted)
    assert "fails on a batch" in caplog.text


def test_images_are_counted(simcc_path: Path) -> None:
    model = OnnxModel(simcc_path, device="cpu", num_threads=1, max_batch=2)
    list(model.run(np.zeros((5, 3, 384, 288), dtype=np.float32)))
    assert (model.num_images, model.on_gpu) == (5, False)


def test_the_processor_gets_one_image_at_a_time(simcc_path: Path) -> None:
    model = OnnxModel(simcc_path, device="cpu", num_threads=1)
    assert model.max_batch == 1


@pytest.mark.gpu
def test_a_gpu_answers_as_the_processor_does(simcc_path: Path, yolox_path: Path) -> None:
    for path, shape in ((simcc_path, (5, 3, 384, 288)), (yolox_path, (5, 3, 640, 640))):
        pictures = noise(*shape).astype(np.float32)
        on_gpu, on_cpu = (
            OnnxModel(path, device=device, num_threads=1, max_batch=4) for device in ("cuda", "cpu")
        )
        on_gpu.warm_up(*shape[2:])
        assert (on_gpu.on_gpu, on_gpu.num_images) == (True, 0)
        for ours, theirs in zip(on_gpu.run(pictures), on_cpu.run(pictures), strict=True):
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-2)
