from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import onnxruntime
import pytest

from tests.detectors.onnx_standins import save_simcc
from tpbench.detectors.onnx_session import OnnxModel
from tpbench.errors import ConfigError, MissingWeightsError

if TYPE_CHECKING:
    from pathlib import Path


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
