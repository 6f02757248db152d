from __future__ import annotations

import ctypes
from typing import Protocol

import onnxruntime
import pytest
import torch

from tpbench import devices
from tpbench.devices import Library, device_problem, driver_gpus, require_device
from tpbench.errors import ConfigError


class See(Protocol):
    def __call__(self, *, by_torch: int, by_driver: int, cuda: str | None = ...) -> None: ...


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> See:
    """Let torch and the driver see so many GPUs."""

    def numbers(*, by_torch: int, by_driver: int, cuda: str | None = "12.6") -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: by_torch > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: by_torch)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90a", "sm_120"])
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _index: (7, 5))
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(devices, "driver_gpus", lambda: by_driver)

    return numbers


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_auto_and_cpu_are_never_wrong_and_load_no_library(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_usable_gpus", pytest.fail)
    require_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "", "cpu:0"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="want auto, cpu, cuda or cuda:N"):
        require_device(name)


@pytest.mark.parametrize(
    ("by_torch", "by_driver", "cuda", "told"),
    [
        (0, 0, None, "no usable GPU, as there is no working NVIDIA driver; take --device cpu"),
        (0, 1, None, "no usable GPU, as torch .* was built without CUDA"),
        (0, 1, "12.6", "no usable GPU, as torch .* does not work with this driver"),
    ],
)
def test_why_torch_has_no_gpu_is_said(
    by_torch: int, by_driver: int, cuda: str | None, told: str, see: See
) -> None:
    see(by_torch=by_torch, by_driver=by_driver, cuda=cuda)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ConfigError, match=f"^device '{name}': {told}"):
            require_device(name)


def test_a_number_beyond_the_last_gpu_says_which_there_are(see: See) -> None:
    see(by_torch=2, by_driver=2)
    assert device_problem("cuda") is None
    assert device_problem("cuda:1") is None
    assert "this machine has cuda:0 to cuda:1" in str(device_problem("cuda:2"))


def test_a_gpu_older_than_torch_was_built_for_is_refused(
    see: See, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(by_torch=2, by_driver=2)
    capability = {0: (9, 0), 1: (7, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability.__getitem__)
    assert device_problem("cuda:0") is None
    why = str(device_problem("cuda:1"))
    assert "built for compute capability 7.5 and newer, and the GPU has 7.0 (docs/gpu.md)" in why
    assert device_problem("cuda:1", library="driver") is None


def test_a_method_of_its_own_environment_needs_the_driver_and_not_our_torch(see: See) -> None:
    see(by_torch=0, by_driver=1, cuda=None)
    assert device_problem("cuda", library="driver") is None
    see(by_torch=0, by_driver=0)
    assert "no working NVIDIA driver" in str(device_problem("cuda", library="driver"))


def test_onnxruntime_needs_its_own_build_and_the_driver(
    see: See,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library: Library = "onnxruntime"
    offered = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    see(by_torch=1, by_driver=1)
    assert "&& pip install onnxruntime-gpu; take" in str(device_problem("cuda", library=library))
    offered.insert(0, "CUDAExecutionProvider")
    assert device_problem("cuda", library=library) is None
    see(by_torch=1, by_driver=0)
    assert "no working NVIDIA driver" in str(device_problem("cuda", library=library))


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_name: str) -> None:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert driver_gpus() == 0
