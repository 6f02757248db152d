"""A run on disk: its folder, one record per clip, and the folders of its shards.

A clip's record is written last; files without a record are ignored. `--shard 2/4` generates every
fourth clip, starting with the second, in `seed42.shard2of4`. The same command without `--shard`
finds such folders next to its own, takes over the finished clips, generates the missing ones, and
scores all of them alike.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from tpbench.benchmark.run_info import (
    RUN_INFO_NAME,
    SCORED,
    RunCounts,
    RunInfo,
    Session,
    Timings,
    read_run_info,
)
from tpbench.benchmark.tasks import SplitChoice, TaskClip
from tpbench.dataset import check_clip_id
from tpbench.dataset.info import CLIP_ID_PATTERN
from tpbench.errors import DatasetError, SubmissionError
from tpbench.files import atomic_write, link_or_copy, sha256_of
from tpbench.foreign import ForeignFileError, read_json
from tpbench.metrics.scoring.records import file_slug
from tpbench.metrics.scoring.report import FRAMES_NAME, SCORES_NAME, ScoreReport
from tpbench.video import LOSSLESS_X264
from tpbench.work.attempts import ENDING
from tpbench.work.locks import locked
from tpbench.work.records import Record, sweep
from tpbench.work.signs import SIGNS_NAME

Keep = Literal["lossless", "preview"]
"""lossless: the exact frames, which scoring needs, and the preview. preview: the preview only."""
ENCODING: Final = LOSSLESS_X264
"""Frames are written once and read by every metric and every check. Compared with FFV1, writing
takes a third of the time and reading half (512x512: 2.5 and 4 ms instead of 8 and 9), for a fifth
more bytes (174 kB instead of 142 kB per frame)."""
LOG_NAME: Final = "log.txt"
_SUBFOLDERS: Final = ("records", "generated", "preview")
_MEASUREMENTS: Final = ".scoring"
_ATTEMPTS: Final = ".attempts"
_SHARD: Final = re.compile(r"\.shard\d+of\d+")

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
RecordStatus = Literal["done", "failed", "quarantined"]
"""failed: the model gave a reason or wrong frames. quarantined: its worker died every time."""


class ClipRecord(Record):
    """The outcome of one clip of a run."""

    clip_id: str
    status: RecordStatus
    inputs: str
    """Key of everything that the frames depend on (see `inputs_key`)."""
    reason: str | None = None
    """Why there is no clip, in one line."""
    n_frames: int = 0
    """Generated frames; 0 if there is no clip."""
    fps: str = ""
    """Exact rate, such as "30000/1001"."""
    width_px: int = 0
    height_px: int = 0
    encoding: str = ""
    """Encoding of the file in `generated/`; empty if only the preview was kept."""
    generated_sha256: Sha256 | None = None
    """Over the bytes of the file in `generated/`; None if only the preview was kept."""
    preview_sha256: Sha256 | None = None
    frames_sha256: Sha256 | None = None
    """Over the RGB bytes of all frames in order; independent of the encoder and its version."""
    gen_s: float = 0.0
    """Generation time of this clip; for clips generated together, its share."""
    peak_host_bytes: int | None = None
    """Peak memory so far of the generating process, or of one of its child processes."""
    peak_gpu_bytes: int | None = None
    """Peak memory that torch held on the GPU during generation."""
    code: str = ""
    """Version of tpbench, with the commit if it ran from a checkout."""

    @model_validator(mode="after")
    def _require_frames_or_a_reason(self) -> Self:
        done = self.status == "done"
        if done != (self.frames_sha256 is not None) or done == bool(self.reason):
            want = "frames and no reason" if done else "a reason and no frames"
            raise ValueError(f"a {self.status} clip has {want}")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            SubmissionError: it is absent, changed, or of another version or clip.
        """
        record = super().read(path)
        if record.clip_id != path.stem:
            raise SubmissionError(f"{path}: the record of another clip, {record.clip_id!r}")
        return record

    @property
    def rate(self) -> Fraction:
        """Frames per second."""
        return Fraction(self.fps)


def inputs_key(
    clip: TaskClip,
    *,
    configuration: Mapping[str, Any],
    model: str,
    task: str,
    seed: int,
    encoding: str,
) -> str:
    """Digest everything that a generated clip depends on: sha256 over canonical JSON.

    Args:
        clip: the clip to generate, with the hashes of its files.
        configuration: what the generator's `describe` returns: options, sha256 of weights.
        model: name of the model.
        task: id and version.
        seed: of the run.
        encoding: how frames are stored.
    """
    parts = {
        "clip": clip.content,
        "configuration": configuration,
        "encoding": encoding,
        "model": model,
        "record": ClipRecord.schema_version,
        "seed": seed,
        "task": task,
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


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
    given_name: str = "",
) -> Path:
    """Return `<model>/<dataset>[.<split>]@<digest8>/<task>-<protocol>/seed<N>` below `runs`.

    A split other than `all` has its own folder, since all splits share the digest of the dataset.
    So do a shard, and a model with a name that the user gave.

    >>> from pathlib import Path
    >>> run_path(Path("runs"), model="talkingpose:no-feedback", dataset="My talks", split="test",
    ...          digest="0123456789ab", task="self", protocol="tpbench-v2", seed=42).as_posix()
    'runs/talkingpose@no-feedback/My-talks.test@01234567/self-tpbench-v2/seed42'
    """
    side = "" if split == "all" else f".{split}"
    named = f".{given_name}" if given_name else ""
    return (
        runs
        / safe_name(model.replace(":", "@") + named)
        / f"{safe_name(dataset)}{side}@{digest[:8]}"
        / safe_name(f"{task}-{protocol}")
        / f"seed{seed}{part}"
    )


def file_stem(clip_id: str) -> str:
    """Return a file name for a clip: its id, or, for a path of a scored video, a name made of it.

    >>> file_stem("anna_0_4000"), file_stem("sub/a b")
    ('anna_0_4000', 'sub_a_b-9fe0fc47')
    """
    return clip_id if CLIP_ID_PATTERN.fullmatch(clip_id) else file_slug(clip_id)


def safe_name(name: str) -> str:
    """Return a name that can't leave its folder and needs no quotes."""
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", name).strip("-.") or "unnamed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @property
    def log(self) -> Path:
        """Output of the workers and their libraries, and tracebacks."""
        return self.path / LOG_NAME

    def generated(self, clip_id: str) -> Path:
        """Lossless file of the frames."""
        return self.path / "generated" / f"{check_clip_id(clip_id)}.mkv"

    def preview(self, clip_id: str) -> Path:
        """Preview of the frames, playable everywhere."""
        return self.path / "preview" / f"{file_stem(clip_id)}.mp4"

    def real_preview(self, clip_id: str) -> Path:
        """Preview of the real clip, in a folder of `tpbench score` only."""
        return self.path / "real" / f"{file_stem(clip_id)}.mp4"

    def record(self, clip_id: str) -> Path:
        """Record of the clip's outcome."""
        return self.path / "records" / f"{check_clip_id(clip_id)}.json"

    def files(self, clip_id: str) -> tuple[Path, Path, Path]:
        """All files of a clip, the record first: the order in which to delete them."""
        return self.record(clip_id), self.generated(clip_id), self.preview(clip_id)

    @property
    def local(self) -> Path:
        """Facts about this machine only, never published: the dataset's folder."""
        return self.path / ".local.json"

    def note_dataset(self, folder: Path) -> None:
        """Store the folder of the run's dataset in a file that only the user can read."""
        with atomic_write(self.local) as temporary:
            temporary.touch(mode=0o600)
            text = json.dumps({"dataset": os.fspath(folder.absolute())})
            temporary.write_text(text + "\n", encoding="utf-8")

    def noted_dataset(self) -> Path | None:
        """Return the dataset's folder as stored when the run was generated here; None: unknown."""
        try:
            content = read_json(self.local, strict=False)
        except (OSError, ForeignFileError):
            return None
        folder = content.get("dataset") if isinstance(content, dict) else None
        return Path(folder) if isinstance(folder, str) and "\0" not in folder else None

    def record_of(self, clip_id: str, inputs: str) -> ClipRecord | None:
        """Return a clip's record if it is readable and has this inputs key."""
        try:
            record = ClipRecord.read(self.record(clip_id))
        except SubmissionError:
            return None
        return record if record.inputs == inputs else None

    def is_complete(self, clip_id: str, inputs: str, keep: Keep) -> bool:
        """Whether a clip is done and its files match the hashes in its record.

        Args:
            clip_id: the clip.
            inputs: see `inputs_key`.
            keep: which files must exist.
        """
        record = self.record_of(clip_id, inputs)
        if record is None or record.status != "done":
            return False
        wanted = {self.preview(clip_id): record.preview_sha256}
        if keep == "lossless":
            wanted[self.generated(clip_id)] = record.generated_sha256
        return all(path.is_file() and sha256_of(path) == sha for path, sha in wanted.items())

    def holds_anything(self) -> bool:
        """Whether the folder has a `run.json` or any record."""
        return (self.path / RUN_INFO_NAME).exists() or bool(list(self.path.glob("records/*.json")))

    def holds_clips(self) -> bool:
        """Whether any clip is done, as far as its record can be read."""
        for path in self.path.glob("records/*.json"):
            try:
                if ClipRecord.read(path).status == "done":
                    return True
            except SubmissionError:
                return True
        return False

    def discard(self, clip_id: str) -> None:
        """Delete all files of a clip."""
        for path in self.files(clip_id):
            path.unlink(missing_ok=True)

    @property
    def attempts(self) -> Path:
        """Folder of the attempts at clips that killed their workers."""
        return self.path / _ATTEMPTS

    def is_given_up(self, clip_id: str, inputs: str, shards: Sequence[RunFolder]) -> bool:
        """Whether a clip was quarantined here, or in a shard; its record is taken over then."""
        for folder in (self, *shards):
            record = folder.record_of(clip_id, inputs)
            if record is not None and record.status == "quarantined":
                if folder is not self:
                    link_or_copy(folder.record(clip_id), self.record(clip_id))
                return True
        return False

    def sweep(self) -> None:
        """Delete the temporary files of killed writers."""
        sweep((self.path, *(self.path / name for name in (*_SUBFOLDERS, _ATTEMPTS))))

    def clear(self, clip_ids: Iterable[str]) -> None:
        """Delete all clips and their scores; logs and unrelated files stay.

        Args:
            clip_ids: clips of the new run; clips that have a record are deleted, too.
        """
        self.sweep()
        for clip_id in sorted({*clip_ids, *self._recorded()}):
            self.discard(clip_id)
        for name in (RUN_INFO_NAME, SCORES_NAME, FRAMES_NAME):
            (self.path / name).unlink(missing_ok=True)

    def remove_unbegun(self) -> None:
        """Delete what a call leaves that ended before `run.json` was written; clips stay."""
        if self.holds_anything():
            return
        for path in (self.log, self.path / SIGNS_NAME, *self.path.glob(".*.lock")):
            with suppress(OSError):
                path.unlink()
        for path in (*(self.path / name for name in _SUBFOLDERS), self.path):
            with suppress(OSError):  # not there, or not empty
                path.rmdir()

    def _recorded(self) -> Iterator[str]:
        """Yield the clips that have a record here, of whatever version."""
        for path in (self.path / "records").glob("*.json"):
            with suppress(OSError, ForeignFileError):
                content = read_json(path)
                if isinstance(content, dict) and content.get("clip_id") == path.stem:
                    yield path.stem

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working in the folder; create it if needed.

        Raises:
            DatasetError: another process holds the lock, the folder can't be written, or one of its
                subfolders is a link: files elsewhere would be replaced and deleted.
        """
        for name in (*_SUBFOLDERS, _MEASUREMENTS, _ATTEMPTS):
            if (self.path / name).is_symlink():
                raise DatasetError(
                    f"{self.path / name}: is a link, and nothing is written or deleted through it; "
                    "put the folder itself there, or link the folder of all runs"
                )
        with locked(self.path / ".run.lock"):
            yield

    def shards(self) -> tuple[RunFolder, ...]:
        """Return the folders of the run's shards, which lie next to its own."""
        name = self.path.name
        return tuple(
            RunFolder(path=path)
            for path in sorted(self.path.parent.glob(f"{name}.shard*"))
            if path.is_dir() and _SHARD.fullmatch(path.name.removeprefix(name))
        )

    def take_over(self, clip_id: str, inputs: str, keep: Keep, shards: Sequence[RunFolder]) -> bool:
        """Take a finished clip from the first shard that has it; return whether one does.

        Files are hard-linked where the file system allows it, else copied; the record comes last.

        Args:
            clip_id: the clip.
            inputs: key that its record must have.
            keep: which files must exist.
            shards: folders to search.
        """
        for shard in shards:
            if shard.is_complete(clip_id, inputs, keep):
                record, *files = zip(shard.files(clip_id), self.files(clip_id), strict=True)
                self.discard(clip_id)
                for source, target in (*files, record):
                    if source.is_file():
                        link_or_copy(source, target)
                return True
        return False

    def take_over_measurements(self) -> None:
        """Take over the shards' measurements; scoring itself checks whether they are valid."""
        for shard in self.shards():
            for pattern in ("*.npy", "*.npz", f"*{ENDING}"):
                for source in sorted((shard.path / _MEASUREMENTS).glob(pattern)):
                    target = self.path / _MEASUREMENTS / source.name
                    if not source.name.startswith(".") and not target.exists():
                        link_or_copy(source, target)

    def sessions_of(
        self, shards: Sequence[RunFolder], inputs: Mapping[str, str]
    ) -> Iterator[Session]:
        """Yield the sessions of the shards that the run has clips from.

        Args:
            shards: of the run.
            inputs: by clip: the key that its record must have.
        """
        for shard in shards:
            theirs = ((name, shard.record_of(name, key), key) for name, key in inputs.items())
            if any(record and record == self.record_of(name, key) for name, record, key in theirs):
                with suppress(SubmissionError):
                    yield from read_run_info(shard.path).sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run, opened for reading by `Run.open`."""

    folder: RunFolder
    info: RunInfo

    @property
    def is_scored(self) -> bool:
        """Whether `tpbench score` wrote it: scores of videos elsewhere, and no records."""
        return self.info.model.kind == SCORED

    def is_stamp_of(self, report: ScoreReport) -> bool:
        """Whether the `run.json` of a scored folder belongs to these scores."""
        return self.info.model.configuration.get("videos_sha256") == report.videos_digest

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run, reading `run.json` only.

        Raises:
            SubmissionError: the file is missing or broken.
        """
        return cls(folder=RunFolder(path=path), info=read_run_info(path))

    def records(self) -> dict[str, ClipRecord]:
        """Return all records by clip id, sorted.

        Raises:
            SubmissionError: a record can't be read or was tampered with.
        """
        paths = sorted((self.folder.path / "records").glob("*.json"))
        return {path.stem: ClipRecord.read(path) for path in paths if path.name[0] != "."}


def updated(info: RunInfo, records: Mapping[str, ClipRecord | None]) -> RunInfo:
    """Return the description with counts and timings from the records of all expected clips."""
    counts = count_records(records)
    done = [record for record in records.values() if record is not None]
    return info.model_copy(
        update={
            "partial": counts.not_run > 0,
            "counts": counts,
            "timings": timings_of([record for record in done if record.status == "done"]),
        }
    )


def count_records(records: Mapping[str, ClipRecord | None]) -> RunCounts:
    """Count the outcomes of the expected clips; None: not tried yet."""
    found = Counter("not_run" if record is None else record.status for record in records.values())
    return RunCounts(
        expected=len(records),
        done=found["done"],
        failed=found["failed"],
        quarantined=found["quarantined"],
        not_run=found["not_run"],
        frames=sum(record.n_frames for record in records.values() if record is not None),
    )


def timings_of(done: Sequence[ClipRecord]) -> Timings:
    """Add up the times of the finished clips, and take the largest memory peaks."""
    gen_s = sum(record.gen_s for record in done)
    frames = sum(record.n_frames for record in done)
    host = [record.peak_host_bytes for record in done if record.peak_host_bytes is not None]
    gpu = [record.peak_gpu_bytes for record in done if record.peak_gpu_bytes is not None]
    return Timings(
        gen_s=round(gen_s, 3),
        frames_per_s=round(frames / gen_s, 3) if gen_s else None,
        peak_host_bytes=max(host, default=None),
        peak_gpu_bytes=max(gpu, default=None),
    )


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
