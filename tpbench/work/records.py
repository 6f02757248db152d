"""Records of finished work: one JSON file per item, valid or not by its key alone.

A record holds a key of everything it depends on (bytes, settings, models, versions) and is valid
only if that key is the current one. So stale results are never reused, finished items are never
reprocessed, and folders of several machines can be merged. A record is synced before it is renamed.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tpbench.canonical import encoded, first_problem, settings_digest
from tpbench.errors import ConfigError, SubmissionError, number_of
from tpbench.files import atomic_write, is_temporary
from tpbench.foreign import ForeignFileError, parse_json, read_bytes
from tpbench.work.faults import HaltError, said_of_gone

T = TypeVar("T")
MOST_SHARDS: Final = 10_000
"""More than machines; dividing among a thousand million takes longer than the work."""
_SHOWN: Final = 3
"""Number of differences between two configs that are listed; the others are only counted."""


class RecordError(SubmissionError):
    """A record is missing, of another version, or was changed after it was written."""


class Record(BaseModel):
    """Base class of the records of one item; subclasses declare the fields.

    On disk: the schema version, the fields in their order, and a digest of both. NaN is written as
    null, infinity as "inf".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    schema_version: ClassVar[int] = 1
    indent: ClassVar[int | None] = 2
    """None for large records: the JSON encoder is ten times as fast without indentation."""
    file_names: ClassVar[bool] = False
    """Whether texts may be names of files that are no UTF-8: see `parse_json`."""

    def text(self) -> str:
        """Return the content of the file."""
        content = {"schema_version": self.schema_version, **encoded(self.model_dump())}
        content["digest"] = settings_digest(content)
        return json.dumps(content, indent=self.indent) + "\n"

    def write(self, path: Path) -> None:
        """Write the file under a temporary name, sync it, rename it, and sync the rename."""
        with atomic_write(path, durable=True) as temporary:
            temporary.write_text(self.text(), encoding="utf-8", newline="\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            RecordError: it is missing, of another version, or was changed after it was written.
        """
        try:
            raw = read_bytes(path)
            content = parse_json(raw, file_names=cls.file_names)
        except (OSError, ForeignFileError) as error:
            raise RecordError(f"{path}: no readable record ({error})") from error
        version = content.pop("schema_version", None) if isinstance(content, dict) else None
        if version != cls.schema_version:
            raise RecordError(
                f"{path}: schema version {version}, this tpbench reads {cls.schema_version}"
            )
        content.pop("digest", None)
        try:
            record = cls.model_validate(content)
        except ValidationError as error:
            raise RecordError(f"{path}: {first_problem(error)}") from error
        if raw != record.text().encode():
            raise RecordError(f"{path}: was changed after it was written")
        return record


def sweep(folders: Iterable[Path]) -> None:
    """Delete temporary files left by killed writers; call it while no process writes there."""
    for folder in folders:
        for path in folder.glob(".*"):
            if is_temporary(path):
                path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of several parts of a run, each processed by a run of its own."""

    number: int
    """1 to `count`."""
    count: int
    """1 to `MOST_SHARDS`."""

    def __post_init__(self) -> None:
        given = f"--shard {self}"
        if not 1 <= self.count <= MOST_SHARDS:
            raise ConfigError(f"{given}: there can be 1 to {MOST_SHARDS:,} shards")
        if not 1 <= self.number <= self.count:
            raise ConfigError(
                f"{given}: shards count from 1/{self.count} to {self.count}/{self.count}"
            )

    def __str__(self) -> str:
        """Return it as it is asked for, such as `2/4`."""
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2/4`.

        Raises:
            ConfigError: the text has another form, or names no shard that there can be.
        """
        match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        if match is None:
            raise ConfigError(
                f"--shard wants NUMBER/COUNT of 1 to {MOST_SHARDS:,} shards, such as 2/4, "
                f"got '{text}'"
            )
        return cls(number=int(match[1]), count=int(match[2]))

    @property
    def suffix(self) -> str:
        """Suffix of the names of files that only this shard writes."""
        return f".shard{self.number}of{self.count}"

    def take(self, clips: Sequence[T], *, frames: Callable[[T], int]) -> tuple[T, ...]:
        """Return this shard's part of the clips, in their order.

        The longest clip is given out first, each to the shard with the fewest frames, so that all
        shards have about as many. The same clips are always divided in the same way.

        Args:
            clips: of all shards.
            frames: returns how many frames a clip has.

        Raises:
            ConfigError: there are fewer clips than shards, so that this one has none.
        """
        heap = [(0, number) for number in range(1, self.count + 1)]
        mine = []
        for at in sorted(range(len(clips)), key=lambda at: -frames(clips[at])):
            load, number = heap[0]
            heapq.heapreplace(heap, (load + max(1, frames(clips[at])), number))
            if number == self.number:
                mine.append(at)
        if not mine:
            raise ConfigError(
                f"--shard {self.number}/{self.count}: nothing is left for it of "
                f"{number_of(len(clips), 'clip')}"
            )
        return tuple(clips[at] for at in sorted(mine))


FolderId = tuple[int, int]
"""Device and inode: they differ if a path was replaced by another folder."""


def folder_id(path: Path) -> FolderId:
    """Return the identity of a folder or file.

    Raises:
        OSError: it does not exist.
    """
    found = path.stat()
    return found.st_dev, found.st_ino


def require_same(path: Path, known: FolderId) -> None:
    """Stop the run if its folder was removed, moved or replaced since the run began.

    Raises:
        HaltError: it was. Files written from here on would belong to no dataset.
    """
    try:
        same = folder_id(path) == known
    except OSError:
        same = False
    if not same:
        raise HaltError(said_of_gone(path))


def describe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the first differences of two configs and the number of others; empty if none.

    >>> describe_differences({"clip": {"min_s": 4, "max_s": 30}}, {"clip": {"min_s": 5}})
    'clip.max_s 30 is gone, clip.min_s 4 is now 5'
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    found = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            found.append(f"{name} {_short(before[name])} is gone")
        elif name not in before:
            found.append(f"{name} {_short(after[name])} is new")
        elif before[name] != after[name]:
            found.append(f"{name} {_short(before[name])} is now {_short(after[name])}")
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _short(value: str) -> str:
    """Return a value with a sha256 cut to its first digits: whole ones make a line unreadable."""
    return value[:12] if re.fullmatch("[0-9a-f]{64}", value) else value


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and their values as JSON."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value if isinstance(value, str) else json.dumps(value)
