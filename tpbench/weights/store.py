"""The table of model files, their folder, and the check of their checksums.

Beside each file, `<file>.record.json` stores its checksum, size and times of change. While size and
times are unchanged, `tpbench weights list` need not read hundreds of MB. Before a file is used,
only a check made in the same process is trusted, because others can write the record on disk.
Files without a published checksum are compared with the record of the first pull.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from tpbench.errors import ConfigError, did_you_mean
from tpbench.files import atomic_write_text, read_bounded, sha256_of
from tpbench.work.locks import locked_in_turn

logger = logging.getLogger(__name__)


class WeightFile(BaseModel):
    """One model file: a row of `weights.yaml`, which explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    filename: str
    group: str = ""
    sources: tuple[str, ...]
    licence: str
    used_for: str
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def wheel(self) -> tuple[str, str] | None:
        """The wheel it is taken from, as pip reads it, and its path in there; None: no wheel."""
        requirement, _, member = self.sources[0].partition(":")
        return (requirement, member) if "==" in requirement else None


class WeightGroup(BaseModel):
    """Files that are needed together, and that one name pulls."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    used_for: str
    groups: tuple[str, ...] = ()
    """Other groups, of which it is made."""

    @property
    def files(self) -> tuple[WeightFile, ...]:
        """Its files, in the order of the table."""
        return tuple(row for row in WEIGHTS if row.group in (self.name, *self.groups))


_TABLE: Final = yaml.safe_load((files(__package__) / "weights.yaml").read_text("utf-8"))
WEIGHTS: Final = tuple(WeightFile.model_validate(row) for row in _TABLE["files"])
GROUPS: Final = tuple(WeightGroup.model_validate(row) for row in _TABLE["groups"])

Status = Literal["verified", "recorded", "changed", "missing"]
"""verified: equals the published checksum; recorded: none is published, equals the first pull;
changed: differs from it; missing: there is no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightState:
    """The state of one model file on disk; `path` is set for missing files too."""

    name: str
    status: Status
    path: Path
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def usable(self) -> bool:
        """Whether the file exists and is unchanged."""
        return self.status in ("verified", "recorded")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)
    sha256: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int = 0
    """Unlike `mtime_ns`, it can't be set back; earlier versions did not store it."""


_SEEN: dict[tuple[str, int, int], _Record] = {}
"""By path, device and inode: the files read in this process."""


def weight(name: str) -> WeightFile:
    """Return the row of that name.

    Raises:
        ConfigError: no row has this name.
    """
    for row in WEIGHTS:
        if row.name == name:
            return row
    raise _unknown(name)


def weights_named(names: Sequence[str]) -> list[WeightFile]:
    """Return the files of these names, and those of groups of these names, each once.

    Raises:
        ConfigError: neither a file nor a group has such a name.
    """
    found: dict[str, WeightFile] = {}
    for name in names:
        group = next((group for group in GROUPS if group.name == name), None)
        rows = [weight(name)] if group is None else group.files
        found |= {row.name: row for row in rows}
    return list(found.values())


def pull_command(names: Sequence[str]) -> str:
    """Return the command that pulls these files: by the name of a group if it has all of them.

    >>> pull_command(["yolox-l", "dwpose-ll-ucoco-384"])
    'tpbench weights pull dwpose'
    >>> pull_command(["yolox-l"])
    'tpbench weights pull yolox-l'
    """
    holding = [
        group
        for group in sorted(GROUPS, key=lambda group: len(group.files))
        if len(names) > 1 and set(names) <= {row.name for row in group.files}
    ]
    return f"tpbench weights pull {holding[0].name if holding else ' '.join(names)}"


def _unknown(name: str) -> ConfigError:
    known = [*(group.name for group in GROUPS), *(row.name for row in WEIGHTS)]
    hint = did_you_mean(name, known)
    if not hint.startswith("; did"):
        groups = ", ".join(group.name for group in GROUPS)
        hint = f"; groups: {groups}; files: see `tpbench weights list`"
    return ConfigError(f"no weights are called '{name}'{hint}")


def state(name: str) -> WeightState:
    """Return the state of a model file, which is read only if it changed since the last read.

    Raises:
        ConfigError: no such name.
    """
    return look(weight(name))


def check(names: Sequence[str] | None = None) -> list[WeightState]:
    """Read model files (None: all) and compare their checksums; returns their states in order.

    Raises:
        ConfigError: no file or group of such a name.
    """
    rows = WEIGHTS if names is None else weights_named(names)
    return [look(row, rehash=True) for row in rows]


CACHE_VARIABLE: Final = "TPBENCH_CACHE"
"""Names the cache folder in the environment."""


def cache_dir() -> Path:
    """Return the cache folder: `$TPBENCH_CACHE`, else the user's cache folder of this system."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("tpbench"))


def weights_dir() -> Path:
    """Return the folder of model files, `weights` in the cache folder. It need not exist."""
    return cache_dir() / "weights"


def make_weights_dir() -> Path:
    """Create the folder of model files if necessary, and return it.

    Raises:
        ConfigError: it can't be created or written.
    """
    folder = weights_dir()
    remedy = "set TPBENCH_CACHE to another"
    try:
        (folder / ".locks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"can't be used as weights folder ({error.strerror or error})"
        raise ConfigError(f"{folder}: {reason}; {remedy}") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{folder}: the weights folder is not writable; {remedy}")
    return folder


def making_dir() -> Path:
    """Return the folder for unfinished files: private to the user, on the weights folder's disk.

    The weights folder may be shared, so another user could have placed a link under a predictable
    name there.

    Raises:
        ConfigError: it can't be created, is a link or belongs to another user.
    """
    folder = make_weights_dir() / f".partial-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(f"{folder}: is a link, or not yours; remove it")
    return folder


@contextmanager
def locked(key: str) -> Iterator[None]:
    """Hold the lock named `key` of the weights folder; released by the system if we die."""
    place = make_weights_dir() / ".locks" / f"{key}.lock"
    if place.is_symlink():
        raise ConfigError(f"{place}: is a link that would be written through; remove it")

    def tell() -> None:
        logger.info("another process is fetching %s; waiting for it", key)

    with locked_in_turn(place, tell):
        yield


def look(row: WeightFile, *, rehash: bool = False, here: bool = False) -> WeightState:
    """Return the state of a file.

    Args:
        row: of the file.
        rehash: read the file even if its size and times are unchanged.
        here: trust only checks made in this process.
    """
    path = weights_dir() / row.filename
    try:
        found = path.stat()
    except FileNotFoundError:
        return WeightState(name=row.name, status="missing", path=path)
    place = (str(path.absolute()), found.st_dev, found.st_ino)
    record = _SEEN.get(place) or (None if here else _read_record(path))
    fresh = record is not None and record == _record_of(record.sha256, found)
    if record is None or not fresh or rehash:
        # The times are those from before the reading, so that a later change is noticed.
        try:
            record = _record_of(sha256_of(path), found)
        except OSError as error:
            raise ConfigError(f"{path}: can't be read ({error.strerror or error})") from error
        fresh = False
        _SEEN[place] = record
    if record.sha256 != (expected_sha256(row) or record.sha256):
        status: Status = "changed"
    else:
        status = "verified" if row.sha256 else "recorded"
        if not fresh and _read_record(path) != record:
            _write_record(path, record)
    return WeightState(
        name=row.name, status=status, path=path, size_bytes=found.st_size, sha256=record.sha256
    )


def expected_sha256(row: WeightFile) -> str | None:
    """Return the expected checksum: the published one, else the one first recorded."""
    if row.sha256:
        return row.sha256
    record = _read_record(weights_dir() / row.filename)
    return record.sha256 if record else None


def install(row: WeightFile, temporary: Path, digest: str) -> None:
    """Move a complete and checked file from `making_dir` to its place; record its sha256."""
    path = weights_dir() / row.filename
    temporary.replace(path)
    _write_record(path, _record_of(digest, path.stat()))


def record_path(path: Path) -> Path:
    """Return the path of a model file's record."""
    return path.with_name(path.name + ".record.json")


def _record_of(digest: str, found: os.stat_result) -> _Record:
    times = {"mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}
    return _Record(sha256=digest, size_bytes=found.st_size, **times)


def _read_record(path: Path) -> _Record | None:
    try:
        return _Record.model_validate_json(read_bounded(record_path(path), 1 << 16))
    except (OSError, ValueError):
        # Records only save time: without a readable one, the file is read again.
        return None


def _write_record(path: Path, record: _Record) -> None:
    try:
        atomic_write_text(record_path(path), json.dumps(record.model_dump()) + "\n")
    except OSError as error:
        # A read-only folder, such as one shared by a cluster, works too, only slower.
        logger.debug("can't record the checksum of %s: %s", path, error)
