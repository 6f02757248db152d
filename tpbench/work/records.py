"""What is written down of work: one JSON file an item, right or wrong by its key, whoever wrote it.

A record names the key of all that it depends on (bytes, settings, models, versions). It counts only
under an equal key, so nothing stale is taken for finished and nothing finished is done twice, and
folders of several machines can be put together. A record is on the disk before its name is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tpbench.canonical import encoded, first_problem, settings_digest
from tpbench.errors import ConfigError, DatasetError, SubmissionError
from tpbench.files import atomic_write, is_temporary
from tpbench.foreign import ForeignFileError, parse_json, read_bytes
from tpbench.work.faults import HaltError

T = TypeVar("T")
_SHOWN: Final = 3
"""Differences between two configs that are named; the rest is counted."""


class RecordError(SubmissionError):
    """A record is absent, of another version, or was not written as it is."""


class Record(BaseModel):
    """Base of what lies on disk of one item; subclasses declare the fields.

    On disk: the schema version, the fields in their order, and a digest over both. NaN is null,
    infinity "inf".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    schema_version: ClassVar[int] = 1
    indent: ClassVar[int | None] = 2
    """None for large records: the JSON encoder is ten times as fast without indentation."""

    def text(self) -> str:
        """Return what stands in the file."""
        return self._sealed({"schema_version": self.schema_version, **encoded(self.model_dump())})

    @classmethod
    def _sealed(cls, content: dict[str, Any]) -> str:
        content["digest"] = settings_digest(content)
        return json.dumps(content, indent=cls.indent) + "\n"

    def write(self, path: Path) -> None:
        """Write the file aside, bring it to the disk, rename it, and bring that to the disk."""
        with atomic_write(path, durable=True) as temporary:
            temporary.write_text(self.text(), encoding="utf-8", newline="\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            RecordError: it is absent, of another version, or was changed after it was written.
        """
        try:
            raw = read_bytes(path)
            content = parse_json(raw)
        except (OSError, ForeignFileError) as error:
            raise RecordError(f"{path}: no readable record ({error})") from error
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != cls.schema_version:
            raise RecordError(
                f"{path}: schema version {version}, this tpbench reads {cls.schema_version}"
            )
        content.pop("digest", None)
        try:
            record = cls.model_validate({k: v for k, v in content.items() if k != "schema_version"})
        except ValidationError as error:
            raise RecordError(f"{path}: {first_problem(error)}") from error
        # What was read, and not the record, is written again: that is three times as fast.
        if raw != cls._sealed(content).encode():
            raise RecordError(f"{path}: was changed after it was written")
        return record


def sweep(folders: Iterable[Path]) -> None:
    """Delete what writers left in folders that were killed; call it while nobody writes there."""
    for folder in folders:
        for path in folder.glob(".*"):
            if is_temporary(path):
                path.unlink(missing_ok=True)


class InUseError(DatasetError):
    """Another process works in a folder."""


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a lock file, with our name in it while it is ours alone.

    The kernel gives a lock back when its process ends, however it ends. Workers don't inherit it.
    The name of the machine is left out: folders are passed on.

    Args:
        path: made if need be, with its folder.
        shared: others that ask for it shared may have it too.
        wait: for whoever holds it, instead of raising.

    Raises:
        InUseError: another process holds it.
        DatasetError: the folder can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise DatasetError(
            f"{path}: {error.strerror}; the output folder must be writable"
        ) from error
    try:
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(lock_fd, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock_fd, 200, 0).decode(errors="replace") or "another process"
            raise InUseError(
                f"{path.parent}: in use by {holder} on this or another machine; "
                "wait for it, or stop it and run again"
            ) from error
        except OSError as error:
            raise DatasetError(
                f"{path}: can't be locked ({error.strerror}); put the output on another disk"
            ) from error
        if not shared:
            os.truncate(lock_fd, 0)
            os.write(lock_fd, f"process {os.getpid()}".encode())
        try:
            yield
        finally:
            if not shared:
                with suppress(OSError):
                    os.ftruncate(lock_fd, 0)
    finally:
        os.close(lock_fd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of several parts of a run, each done by a run of its own."""

    number: int
    """1 to `count`."""
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ConfigError(
                f"--shard {self.number}/{self.count}: shards count from 1: 1/4, 2/4, 3/4, 4/4"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
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
        """Of the name of what only this shard writes."""
        return f".shard{self.number}of{self.count}"

    def holds(self, name: str) -> bool:
        """Whether an item is in this part: that hangs on its name and the count alone."""
        return int(hashlib.sha256(name.encode()).hexdigest(), 16) % self.count == self.number - 1

    def take(self, clips: Sequence[T]) -> tuple[T, ...]:
        """Return this part of some clips: every n-th.

        Raises:
            ConfigError: there are fewer clips than shards, and none is left for this one.
        """
        part = tuple(clips[self.number - 1 :: self.count])
        if not part:
            raise ConfigError(
                f"--shard {self.number}/{self.count}: there are only {len(clips)} clips"
            )
        return part


FolderId = tuple[int, int]
"""Device and inode: the same path with another one is another folder."""


def folder_id(path: Path) -> FolderId:
    """Say which folder or file this is.

    Raises:
        OSError: there is none.
    """
    found = path.stat()
    return found.st_dev, found.st_ino


def require_same(path: Path, known: FolderId) -> None:
    """Refuse to go on when a folder was removed, moved or replaced since the run began.

    Raises:
        HaltError: it was. Whatever is written now belongs to no dataset.
    """
    try:
        same = folder_id(path) == known
    except OSError:
        same = False
    if not same:
        raise HaltError(
            f"{path}: was removed or replaced while the run was on; nothing more is written: "
            "put the folder back, or run again to make it anew"
        )


def describe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the first differences of two configs and how many more there are; empty if none.

    >>> describe_differences({"clip": {"min_s": 4, "max_s": 30}}, {"clip": {"min_s": 5}})
    'clip.max_s 30 is gone, clip.min_s 4 is now 5'
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    said = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            said.append(f"{name} {before[name]} is gone")
        elif name not in before:
            said.append(f"{name} {after[name]} is new")
        elif before[name] != after[name]:
            said.append(f"{name} {before[name]} is now {after[name]}")
    more = len(said) - _SHOWN
    return ", ".join(said[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and the values in JSON."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value if isinstance(value, str) else json.dumps(value)
