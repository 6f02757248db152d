"""A run in parts: shards are made in folders of their own and taken over by the whole run.

`--shard 2/4` makes every fourth clip, from the second on, in `seed42.shard2of4`. The same command
without a shard finds such folders beside its own, takes over what is finished in them, makes what
is missing, and scores all: what a shard made is a clip like any other.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tpbench.benchmark.records import ClipRecord, read_record
from tpbench.benchmark.run_folder import Keep, RunFolder
from tpbench.benchmark.run_info import Session, read_run_info
from tpbench.benchmark.tasks import TaskClip
from tpbench.errors import ConfigError, SubmissionError
from tpbench.files import sha256_of, written_aside


def record_of(folder: RunFolder, clip_id: str, inputs: str) -> ClipRecord | None:
    """Return a clip's record if it can be read and was made of these inputs."""
    try:
        record = read_record(folder.record(clip_id))
    except SubmissionError:
        return None
    return record if record.inputs == inputs else None


def is_whole(folder: RunFolder, clip_id: str, inputs: str, keep: Keep) -> bool:
    """Whether a clip is done, and its files are the ones that its record names.

    Args:
        folder: of the run.
        clip_id: the clip.
        inputs: see `records.inputs_key`.
        keep: which files there have to be.
    """
    record = record_of(folder, clip_id, inputs)
    if record is None or record.status != "done":
        return False
    wanted = {folder.preview(clip_id): record.preview_sha256}
    if keep == "lossless":
        wanted[folder.generated(clip_id)] = record.generated_sha256
    return all(path.is_file() and sha256_of(path) == sha for path, sha in wanted.items())


_FOLDER: Final = re.compile(r"\.shard\d+of\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One part of a run."""

    number: int
    """1 to `count`."""
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ConfigError(
                f"--shard {self.number}/{self.count}: shards count from 1: 1/4, 2/4, 3/4, 4/4"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `2/4`.

        Raises:
            ConfigError: it is no such thing.
        """
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if match is None:
            raise ConfigError(f"--shard wants a part of a number, such as 2/4, got '{text}'")
        return cls(number=int(match[1]), count=int(match[2]))

    @property
    def suffix(self) -> str:
        """Of the run's folder."""
        return f".shard{self.number}of{self.count}"

    def take(self, clips: Sequence[TaskClip]) -> tuple[TaskClip, ...]:
        """Return this part of some clips.

        Raises:
            ConfigError: there are fewer clips than shards, and none is left for this one.
        """
        part = tuple(clips[self.number - 1 :: self.count])
        if not part:
            raise ConfigError(
                f"--shard {self.number}/{self.count}: there are only {len(clips)} clips"
            )
        return part


def shards_of(folder: RunFolder) -> tuple[RunFolder, ...]:
    """Return the folders of a run's shards: they lie beside its own."""
    name = folder.path.name
    return tuple(
        RunFolder(path=path)
        for path in sorted(folder.path.parent.glob(f"{name}.shard*"))
        if path.is_dir() and _FOLDER.fullmatch(path.name.removeprefix(name))
    )


def take_over(
    folder: RunFolder, clip_id: str, inputs: str, keep: Keep, shards: Sequence[RunFolder]
) -> bool:
    """Take a finished clip from the first shard that has it; return whether one has.

    Files are linked if the file system can, else copied; the record comes last.

    Args:
        folder: of the whole run.
        clip_id: the clip.
        inputs: key that its record must have.
        keep: which files there have to be.
        shards: where to look.
    """
    for shard in shards:
        if is_whole(shard, clip_id, inputs, keep):
            record, *files = zip(shard.files(clip_id), folder.files(clip_id), strict=True)
            folder.discard(clip_id)
            for source, target in (*files, record):
                if source.is_file():
                    link_or_copy(source, target)
            return True
    return False


def take_over_measurements(folder: RunFolder, records_name: str) -> None:
    """Take over what was measured in the shards; scoring looks itself whether it is right.

    Args:
        folder: of the whole run.
        records_name: the folder with records of measurements inside a run's.
    """
    for shard in shards_of(folder):
        for pattern in ("*.npy", "*.npz"):
            for source in sorted((shard.path / records_name).glob(pattern)):
                target = folder.path / records_name / source.name
                if not source.name.startswith(".") and not target.exists():
                    link_or_copy(source, target)


def sessions_of(
    shards: Sequence[RunFolder], inputs: Mapping[str, str], folder: RunFolder
) -> list[Session]:
    """Return the sessions of the shards that clips of a run were taken from.

    Args:
        shards: of the run.
        inputs: by clip: the key that its record must have.
        folder: of the whole run.
    """
    found: list[Session] = []
    for shard in shards:
        theirs = ((name, record_of(shard, name, key), key) for name, key in inputs.items())
        if any(record and record == record_of(folder, name, key) for name, record, key in theirs):
            with suppress(SubmissionError):
                found += read_run_info(shard.path).sessions
    return found


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it; written aside and renamed."""
    with written_aside(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
