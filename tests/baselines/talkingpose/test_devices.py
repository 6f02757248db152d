from __future__ import annotations

import pytest
import torch

from tpbench.baselines.talkingpose.generator import find_device, find_dtype
from tpbench.errors import ConfigError


def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto") == torch.device("cuda:0")


def test_auto_dtype_is_half_on_a_gpu() -> None:
    assert find_dtype("auto", torch.device("cuda:0")) == "fp16"
    assert find_dtype("auto", torch.device("cpu")) == "fp32"
    assert find_dtype("bf16", torch.device("cpu")) == "bf16"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gpu", "no device 'gpu'"),
        ("meta", "device 'meta' is not supported"),
        ("cuda:1", "device 'cuda:1' is not here: .* sees 1 CUDA GPUs"),
    ],
)
def test_a_device_that_is_not_there_is_one_clear_error(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    with pytest.raises(ConfigError, match=told):
        find_device(name)


def test_cuda_without_a_gpu_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(ConfigError, match=r"'cuda' is not here: .* sees 0 CUDA GPUs"):
        find_device("cuda")
