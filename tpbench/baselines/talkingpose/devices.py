"""Where the networks run, and in what dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from tpbench.baselines.talkingpose.options import DtypeName

_DTYPES: Final[Mapping[DtypeName, torch.dtype]] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


def find_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is the first GPU, or the CPU where there is none.

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        msg = f"no device '{name}'; want auto, cpu, cuda or cuda:N"
        raise ConfigError(msg) from error
    if device.type not in ("cpu", "cuda"):
        msg = f"device '{name}' is not supported; want auto, cpu, cuda or cuda:N"
        raise ConfigError(msg)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            msg = f"device '{name}' is not here: torch {torch.__version__} sees {count} CUDA GPUs"
            raise ConfigError(msg)
    return device


def find_dtype(name: DtypeName | Literal["auto"], device: torch.device) -> DtypeName:
    """Return the dtype's name; "auto" is fp16 on a GPU and fp32 on a CPU."""
    if name != "auto":
        return name
    return "fp16" if device.type == "cuda" else "fp32"


def torch_dtype(name: DtypeName) -> torch.dtype:
    """Return torch's own dtype of that name."""
    return _DTYPES[name]
