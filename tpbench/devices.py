"""The values of `--device`, checked in one place by all commands.

`auto` is never an error: it is a GPU if there is a usable one. A device that is asked for by name
is an error if it can't be used, because hours on the processor are not what was asked for.
"""

from __future__ import annotations

import ctypes
import re
from importlib import import_module
from typing import Final, Literal

from tpbench.errors import ConfigError

Library = Literal["torch", "onnxruntime", "driver"]
"""What will use the device; driver: a program with an environment of its own."""
_NAMES: Final = re.compile(r"auto|cpu|cuda(?::(\d+))?")
_INSTEAD: Final = "take --device cpu, or auto for what there is"
_CUDA_PROVIDER: Final = "CUDAExecutionProvider"
ONNXRUNTIME_WITH_CUDA: Final = (
    "pip uninstall --yes onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
)
"""Both are removed first, as they share a folder and overwrite each other's files."""


def require_device(name: str, *, library: Library = "torch") -> None:
    """Check that a device can be used on this machine.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:1".
        library: what will use it.

    Raises:
        ConfigError: there is no such device; one line gives the reason.
    """
    why = device_problem(name, library=library)
    if why is not None:
        raise ConfigError(why)


def device_problem(name: str, *, library: Library = "torch") -> str | None:
    """Return why a device can't be used on this machine, in one line; None if it can."""
    known = _NAMES.fullmatch(name)
    if known is None:
        return f"device '{name}': want auto, cpu, cuda or cuda:N"
    if not name.startswith("cuda"):
        return None
    count, why = _usable_gpus(library)
    index = int(known[1] or 0)
    if count == 0:
        return f"device '{name}': no usable GPU, {why}; {_INSTEAD}"
    if index >= count:
        there = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        return f"device '{name}': no such GPU, this machine has {there}; {_INSTEAD}"
    if library == "torch" and (too_old := _too_old_for_torch(index)):
        return f"device '{name}': no usable GPU, {too_old}; {_INSTEAD}"
    return None


def driver_gpus() -> int:
    """Return the number of GPUs that the NVIDIA driver offers to this process; 0 without a driver.

    Unlike torch's own count, it does not depend on how torch was built.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _usable_gpus(library: Library) -> tuple[int, str]:
    """Return the number of GPUs that a library can use and, if it is 0, the reason."""
    if library == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.device_count(), ""
        if driver_gpus() and torch.version.cuda is None:
            return 0, f"as torch {torch.__version__} was built without CUDA (docs/gpu.md)"
        if driver_gpus():
            return 0, f"as torch {torch.__version__} does not work with this driver (docs/gpu.md)"
        return 0, "as there is no working NVIDIA driver"
    if library == "onnxruntime":
        onnxruntime = import_module("onnxruntime")
        if _CUDA_PROVIDER not in onnxruntime.get_available_providers():
            return 0, f"as onnxruntime has no CUDA: {ONNXRUNTIME_WITH_CUDA}"
    return driver_gpus(), "as there is no working NVIDIA driver"


def _too_old_for_torch(index: int) -> str | None:
    """Return why a GPU that torch sees can't run its kernels; None if it can."""
    import torch

    built_for = [
        int(found[1])
        for name in torch.cuda.get_arch_list()
        if (found := re.match(r"sm_(\d+)", name))
    ]
    major, minor = torch.cuda.get_device_capability(index)
    if not built_for or 10 * major + minor >= min(built_for):
        return None
    return (
        f"as this torch {torch.__version__} was built for compute capability "
        f"{min(built_for) / 10:.1f} and newer, and the GPU has {major}.{minor} (docs/gpu.md)"
    )
