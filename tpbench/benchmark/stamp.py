"""What a run says of the code, the environment and the machine that made it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from tpbench.execution import usable_cores

_PACKAGES: Final = (
    "numpy", "torch", "torchvision", "av", "opencv-python", "scikit-image", "scipy", "onnxruntime",
    "mediapipe", "diffusers", "transformers", "safetensors",
)  # fmt: skip

_ASK_TIMEOUT_S: Final = 20


class _Stamp(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CodeStamp(_Stamp):
    """Which tpbench it was."""

    version: str
    git_commit: str | None = None
    """None where tpbench runs from an installed package."""

    dirty: bool | None = None
    """Whether tracked files of the checkout differed from the commit."""

    @property
    def short(self) -> str:
        """One word for records: `0.1.0+g1234abcd.dirty`."""
        commit = f"+g{self.git_commit[:8]}" if self.git_commit else ""
        return f"{self.version}{commit}{'.dirty' if self.dirty else ''}"


class EnvironmentStamp(_Stamp):
    """Python and the packages that may change a picture or a number."""

    python: str
    platform: str
    packages: dict[str, str]


class HardwareStamp(_Stamp):
    """The machine."""

    processor: str
    cores: int
    """That this process may use."""

    memory_bytes: int
    gpus: tuple[str, ...] = ()
    """Name and memory of each, as the driver tells."""


@cache
def code_stamp() -> CodeStamp:
    """Return version and commit of the running code."""
    import tpbench

    root = Path(tpbench.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return CodeStamp(version=tpbench.__version__)
    # Looking must not take the checkout's locks from whoever works in it.
    git = ("git", "--no-optional-locks", "-C", str(root))
    commit = _answer(*git, "rev-parse", "HEAD")
    changes = _answer(*git, "status", "--porcelain", "--untracked-files=no")
    return CodeStamp(
        version=tpbench.__version__,
        git_commit=commit or None,
        dirty=None if changes is None else bool(changes),
    )


def environment_stamp() -> EnvironmentStamp:
    """Return versions of Python and packages."""
    return EnvironmentStamp(
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: found for name in _PACKAGES if (found := _installed(name))},
    )


def hardware_stamp() -> HardwareStamp:
    """Return what this machine is."""
    gpus = _answer("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return HardwareStamp(
        processor=_processor(),
        cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=tuple((gpus or "").splitlines()),
    )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _answer(program: str, *arguments: str) -> str | None:
    """Return what a program prints; None if there is none, or it fails."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            [path, *arguments], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
