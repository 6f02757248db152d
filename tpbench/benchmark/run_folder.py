"""A run folder on disk, and the files of its clips."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.base import AnimationTask
from tpbench.benchmark.records import ClipRecord, read_record
from tpbench.benchmark.run_info import RUN_INFO_NAME, RunInfo, read_run_info
from tpbench.benchmark.tasks import SplitChoice
from tpbench.dataset import check_clip_id
from tpbench.errors import DatasetError
from tpbench.execution.ledger_file import lock, unlock
from tpbench.files import is_half_written, sha256_of, written_aside
from tpbench.foreign import ForeignFileError, read_json
from tpbench.metrics.scoring.report import FRAMES_NAME, SCORES_NAME
from tpbench.video import LOSSLESS_X264, PREVIEW, VideoWriter

Keep = Literal["lossless", "preview"]
"""lossless: exact frames, which scoring needs, and the preview. preview: that alone."""
ENCODING: Final = LOSSLESS_X264
"""Frames are written once and read by every metric and every check. Against FFV1 it takes a third
of the time to write and half to read (512x512: 2.5 and 4 ms against 8 and 9), for a fifth more
bytes (174 kB against 142 kB a frame)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFiles:
    """What was written of a whole clip."""

    generated_sha256: str | None
    preview_sha256: str
    frames_sha256: str


class ClipWriter:
    """Writes one clip; nothing has its name before `finish`, and `abandon` leaves nothing.

    Args:
        folder: of the run.
        task: says size, rate and id.
        keep: what is written.
    """

    def __init__(self, folder: RunFolder, task: AnimationTask, keep: Keep) -> None:
        self._folder = folder
        self._clip_id = task.clip_id
        self._shape = (task.height_px, task.width_px, 3)
        self._keep = keep
        self._frames = hashlib.sha256()
        self._stack = ExitStack()
        self.n_frames = 0
        paths = [(folder.preview(task.clip_id), PREVIEW)]
        if keep == "lossless":
            paths.append((folder.generated(task.clip_id), ENCODING))
        self._writers = [
            VideoWriter(
                path,
                width_px=task.width_px,
                height_px=task.height_px,
                fps=task.fps,
                encoding=encoding,
            )
            for path, encoding in paths
        ]

    def problem_with(self, index: int, image: NDArray[np.uint8]) -> str | None:
        """Say in what a frame is not the next one of the clip; None if it is."""
        if index != self.n_frames:
            return f"frame {index} came where frame {self.n_frames} was due"
        shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
        if shape != self._shape or dtype != np.uint8:
            return f"frame {index} is {shape} {dtype}, asked for was {self._shape} uint8"
        return None

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append a frame that `problem_with` has nothing against."""
        if self.n_frames == 0:
            for writer in self._writers:
                writer.path.parent.mkdir(parents=True, exist_ok=True)
                self._stack.enter_context(writer)
        self._frames.update(np.ascontiguousarray(image).data)
        for writer in self._writers:
            writer.write(image)
        self.n_frames += 1

    def finish(self) -> ClipFiles:
        """Give the files their names and hash them."""
        self._stack.close()
        generated = self._folder.generated(self._clip_id)
        return ClipFiles(
            generated_sha256=sha256_of(generated) if self._keep == "lossless" else None,
            preview_sha256=sha256_of(self._folder.preview(self._clip_id)),
            frames_sha256=self._frames.hexdigest(),
        )

    def abandon(self) -> None:
        """Leave nothing of what was written so far."""
        void = _VoidError()
        self._stack.__exit__(_VoidError, void, None)


class _VoidError(Exception):
    """Tells the writers that their video is void."""


LOG_NAME: Final = "log.txt"
_LOCK_STEM: Final = ".run"


def run_path(  # noqa: PLR0913 - one per part of the path
    runs: Path,
    *,
    model: str,
    dataset: str,
    split: SplitChoice,
    digest: str,
    task: str,
    protocol: str,
    seed: int,
    part: str = "",
) -> Path:
    """Return `<model>/<dataset>[.<split>]@<digest8>/<task>-<protocol>/seed<N>` below `runs`.

    A split that is not the whole dataset has a folder of its own: the digest is the same for all.
    So has a part of a run (see `shards`).

    >>> from pathlib import Path
    >>> run_path(Path("runs"), model="talkingpose:no-feedback", dataset="My talks", split="test",
    ...          digest="0123456789ab", task="self", protocol="tpbench-v2", seed=42).as_posix()
    'runs/talkingpose@no-feedback/My-talks.test@01234567/self-tpbench-v2/seed42'
    """
    side = "" if split == "all" else f".{split}"
    return (
        runs
        / _safe(model.replace(":", "@"))
        / f"{_safe(dataset)}{side}@{digest[:8]}"
        / _safe(f"{task}-{protocol}")
        / f"seed{seed}{part}"
    )


def _safe(name: str) -> str:
    """Return a name that stays in its folder and needs no quotes."""
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", name).strip("-.") or "unnamed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Names of the files of a run."""

    path: Path

    @property
    def log(self) -> Path:
        """What workers and the libraries in them say, and tracebacks."""
        return self.path / LOG_NAME

    def generated(self, clip_id: str) -> Path:
        """The frames, lossless."""
        return self.path / "generated" / f"{check_clip_id(clip_id)}.mkv"

    def preview(self, clip_id: str) -> Path:
        """The same for people to look at."""
        return self.path / "preview" / f"{check_clip_id(clip_id)}.mp4"

    def record(self, clip_id: str) -> Path:
        """What became of the clip."""
        return self.path / "records" / f"{check_clip_id(clip_id)}.json"

    @property
    def local(self) -> Path:
        """What is of use on this machine alone, and goes nowhere: where the dataset lies."""
        return self.path / ".local.json"

    def note_dataset(self, folder: Path) -> None:
        """Write down where the dataset of the run lies, for nobody but the user."""
        with written_aside(self.local) as temporary:
            temporary.touch(mode=0o600)
            text = json.dumps({"dataset": os.fspath(folder.absolute())})
            temporary.write_text(text + "\n", encoding="utf-8")

    def noted_dataset(self) -> Path | None:
        """Return where the dataset lay when the run was made here; None: not known."""
        try:
            content = read_json(self.local, strict=False)
        except (OSError, ForeignFileError):
            return None
        folder = content.get("dataset") if isinstance(content, dict) else None
        return Path(folder) if isinstance(folder, str) and "\0" not in folder else None

    def files(self, clip_id: str) -> tuple[Path, Path, Path]:
        """All that a run has of a clip, the record first: that is the order to take it away."""
        return self.record(clip_id), self.generated(clip_id), self.preview(clip_id)

    def discard(self, clip_id: str) -> None:
        """Take away all that there is of a clip."""
        for path in self.files(clip_id):
            path.unlink(missing_ok=True)

    def holds_anything(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / RUN_INFO_NAME).exists() or any(self.path.glob("records/*.json"))

    def sweep(self) -> None:
        """Take away what writers left that were killed."""
        for folder in (self.path, *(self.path / name for name in _SUBFOLDERS)):
            for path in folder.glob(".*"):
                if is_half_written(path):
                    path.unlink()

    def clear(self, clip_ids: Iterable[str]) -> None:
        """Take away every clip and what was computed of them; logs and files of others stay.

        Args:
            clip_ids: of the run that is to be made; clips that have a record go, too.
        """
        self.sweep()
        for clip_id in sorted({*clip_ids, *self._recorded()}):
            self.discard(clip_id)
        for name in (RUN_INFO_NAME, SCORES_NAME, FRAMES_NAME):
            (self.path / name).unlink(missing_ok=True)

    def _recorded(self) -> Iterator[str]:
        """Yield the clips of which a record lies here, be it of another version."""
        for path in (self.path / "records").glob("*.json"):
            try:
                content = read_json(path)
            except (OSError, ForeignFileError):
                continue
            if isinstance(content, dict) and content.get("clip_id") == path.stem:
                yield path.stem

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working in the folder; make it if need be.

        Raises:
            DatasetError: another process is at it, the folder can't be written, or a part of it is
                a link: files elsewhere would be replaced and deleted.
        """
        for name in (*_SUBFOLDERS, _MEASURED):
            if (self.path / name).is_symlink():
                raise DatasetError(
                    f"{self.path / name}: is a link, and nothing is written or deleted through it; "
                    "put the folder itself there, or link the folder of all runs"
                )
        lock_fd = lock(self.path / _LOCK_STEM)
        try:
            yield
        finally:
            unlock(lock_fd)


_SUBFOLDERS: Final = ("records", "generated", "preview")
_MEASURED: Final = ".scoring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run, opened for reading. Make one with `Run.open`."""

    folder: RunFolder
    info: RunInfo

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run; reads `run.json` only.

        Raises:
            SubmissionError: there is none, or it is broken.
        """
        return cls(folder=RunFolder(path=path), info=read_run_info(path))

    def records(self) -> dict[str, ClipRecord]:
        """Return all records by clip id, sorted.

        Raises:
            SubmissionError: one can't be read or was tampered with.
        """
        paths = sorted((self.folder.path / "records").glob("*.json"))
        return {path.stem: read_record(path) for path in paths if not path.name.startswith(".")}
