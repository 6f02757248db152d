"""The content of `run.json`: settings of a run, its progress, code, environment and hardware."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tpbench.benchmark.tasks import SplitChoice
from tpbench.canonical import digest_of
from tpbench.errors import SubmissionError
from tpbench.files import atomic_write_text, missing_folder
from tpbench.foreign import ForeignFileError, read_json
from tpbench.work import usable_cores

_PACKAGES: Final = (
    "numpy", "torch", "torchvision", "av", "opencv-python", "scikit-image", "scipy", "onnxruntime",
    "mediapipe", "diffusers", "transformers", "safetensors",
)  # fmt: skip

_QUERY_TIMEOUT_S: Final = 20
_DEPTH: Final = 4
"""Folders of a run's path below that of all runs, see `run_folder.run_path`."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class CodeStamp(_Part):
    """The version of tpbench."""

    version: str
    git_commit: str | None = None
    """None if tpbench runs from an installed package."""
    dirty: bool | None = None
    """Whether tracked files of the checkout differed from the commit."""

    @property
    def short(self) -> str:
        """Short form for records: `0.1.0+g1234abcd.dirty`."""
        commit = f"+g{self.git_commit[:8]}" if self.git_commit else ""
        return f"{self.version}{commit}{'.dirty' if self.dirty else ''}"


class EnvironmentStamp(_Part):
    """Python and the packages that may affect frames or scores."""

    python: str
    platform: str
    packages: dict[str, str]


class HardwareStamp(_Part):
    """The machine."""

    processor: str
    cores: int
    """Cores that this process may use."""
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    """Name and memory of each, as reported by the driver."""


@cache
def code_stamp() -> CodeStamp:
    """Return version and commit of the running code."""
    import tpbench

    root = Path(tpbench.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return CodeStamp(version=tpbench.__version__)
    # A read-only query must not lock the checkout for other git processes.
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
    """Return processor, memory and GPUs of this machine."""
    gpus = _answer("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return HardwareStamp(
        processor=_processor(),
        cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=tuple((gpus or "").splitlines()),
    )


@cache
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
    """Return what a program prints; None if it is not installed or fails."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            [path, *arguments], capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


RUN_INFO_NAME: Final = "run.json"
RUN_VERSION: Final = 1
SCORED: Final = "scored"
"""Kind of a model whose videos were scored by `tpbench score`: there is no generator of it."""


class ModelStamp(_Part):
    """The model, by its registry row and its generator's `describe`."""

    name: str
    """`id`, `id:variant` or `package.module:Class`; of a scored folder, "scored"."""
    display_name: str
    kind: str
    """The registry row's kind, "custom", or "scored" for a folder that `tpbench score` wrote."""
    configuration: dict[str, JsonValue]
    """Resolved options, sha256 of weights: everything that its frames depend on."""
    licence_code: str = ""
    licence_weights: str = ""
    url: str = ""
    paper_url: str = ""
    weights_url: str = ""
    params_b: float | None = None
    given_name: str = ""
    """Name that the user gave by `--name`; empty: none."""

    @property
    def row_name(self) -> str:
        """The name that tells models apart in a table: the user's, or the model's own."""
        return self.given_name or self.name

    @property
    def full_name(self) -> str:
        """The display name, followed by the variant, if any; not to be trusted as markup."""
        variant = self.name.partition(":")[2]
        known = self.kind != "custom" and not self.given_name
        return f"{self.display_name} ({variant})" if known and variant else self.display_name


class DatasetStamp(_Part):
    """The dataset and the clips that the run covers."""

    name: str
    digest: str
    split: SplitChoice
    clips_digest: str
    """sha256 over the ids of the clips."""
    n_clips: int
    n_identities: int
    left_out: dict[str, int]
    """Clip id -> frames, for clips too short for the task."""
    folder: str
    """Name of its folder; runs of older versions have the whole path. The path on the machine of
    the run is in a file that is never published (see `RunFolder.local`)."""


class TaskStamp(_Part):
    """The task, and the protocol that scores it."""

    id: str
    version: int
    min_frames: int
    protocol: str


class Session(_Part):
    """One call of the command that generated clips of the run."""

    command: tuple[str, ...]
    started_at: str
    """ISO 8601, UTC."""
    ended_at: str | None = None
    """None: it was killed or is still running."""
    workers: int
    device: str
    clips_to_do: int
    code: CodeStamp
    environment: EnvironmentStamp
    hardware: HardwareStamp


class RunCounts(_Part):
    """Outcomes of the clips so far."""

    expected: int
    done: int = Field(ge=0)
    failed: int = Field(ge=0)
    quarantined: int = Field(ge=0)
    not_run: int = Field(ge=0)
    frames: int = Field(ge=0)
    """Frames of the finished clips."""

    @property
    def coverage(self) -> float:
        """Share of the expected clips that are finished, in [0, 1]."""
        return self.done / self.expected


class Timings(_Part):
    """Time and memory of generation, over all sessions. Part of no digest."""

    gen_s: float
    """Time in the generator alone, summed over workers."""
    frames_per_s: float | None
    """Frames of finished clips per second of one worker."""
    peak_host_bytes: int | None
    peak_gpu_bytes: int | None


class RunInfo(_Part):
    """The content of `run.json`."""

    schema_version: int = RUN_VERSION
    model: ModelStamp
    dataset: DatasetStamp
    task: TaskStamp
    seed: int
    encoding: str
    """Encoding of the files in `generated/`."""
    partial: bool
    """Whether some clips were not tried yet. Leaderboards leave such a run out."""
    counts: RunCounts
    timings: Timings
    sessions: tuple[Session, ...] = Field(default=())

    def content(self) -> dict[str, Any]:
        """Return all of it as JSON, without the newer fields that are empty, as in older runs."""
        found = self.model_dump(mode="json")
        model = found["model"]
        for name in ("given_name", "paper_url", "weights_url"):
            if not model[name]:
                del model[name]
        return found

    def identity(self) -> dict[str, Any]:
        """Return what identifies the run: calls that differ here can't share a folder."""
        named = {"given_name": self.model.given_name} if self.model.given_name else {}
        return {
            "dataset": {
                "name": self.dataset.name,
                "digest": self.dataset.digest,
                "split": self.dataset.split,
                "clips": self.dataset.clips_digest,
            },
            "encoding": self.encoding,
            "model": {
                "name": self.model.name,
                "configuration": self.model.configuration,
                **named,
            },
            "seed": self.seed,
            "task": self.task.model_dump(),
        }


def write_run_info(folder: Path, info: RunInfo) -> None:
    """Write `folder/run.json` atomically, with a digest of its content."""
    content = info.content()
    text = json.dumps({**content, "digest": digest_of(content)}, indent=2, ensure_ascii=False)
    atomic_write_text(folder / RUN_INFO_NAME, text + "\n")


def _instead(folder: Path) -> str:
    """Say what is there in place of a run, and what to do."""
    if not folder.is_dir():
        return f": {missing_folder(folder)}"
    if (folder / "dataset.json").exists():
        return ": this is a dataset; name a run, the folder that `tpbench eval` prints"
    depths = (folder.glob("*/" * depth + RUN_INFO_NAME) for depth in range(1, _DEPTH + 1))
    below = sorted(file.parent for files in depths for file in files)
    if below:
        return f" ({RUN_INFO_NAME} is missing), but below it, such as {below[0]}"
    return f" ({RUN_INFO_NAME} is missing); `tpbench eval` makes runs, and prints their folders"


def read_run_info(folder: Path) -> RunInfo:
    """Read `folder/run.json`.

    Raises:
        SubmissionError: it is absent, broken, changed, or of another version.
    """
    path = folder / RUN_INFO_NAME
    try:
        raw = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SubmissionError(f"{folder}: no run here{_instead(folder)}") from error
    except (OSError, ForeignFileError) as error:
        raise SubmissionError(f"{path}: not readable as JSON ({error})") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != RUN_VERSION:
        raise SubmissionError(f"{path}: schema version {version}, this tpbench reads {RUN_VERSION}")
    digest = raw.pop("digest", None)
    try:
        info = RunInfo.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SubmissionError(f"{path}: {where}: {first['msg']}") from error
    if digest != digest_of(raw):
        raise SubmissionError(
            f"{path}: was changed after it was written (its digest is not that of its content)"
        )
    return info
