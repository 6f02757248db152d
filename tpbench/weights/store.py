"""The weights folder: what lies in it, and whether it is what it should be.

Beside each file `<file>.record.json` keeps the checksum that was found, with the size and times of
change that the file had then. While these still fit, `tpbench weights list` need not read hundreds
of MB. Whoever is about to use a file goes by a record of this very process alone: one on disk is
only as good as those who may write there.
Where no checksum is published, the first pull's record is what later looks are compared with.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tpbench.errors import ConfigError
from tpbench.files import sha256_of, write_text_aside
from tpbench.foreign import read_json
from tpbench.weights.registry import WeightFile

logger = logging.getLogger(__name__)

Status = Literal["verified", "recorded", "changed", "missing"]
"""verified: equals the published checksum; recorded: none is published, equals the first pull;
changed: differs from these; missing: not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightState:
    """What is on disk of one model file."""

    name: str
    status: Status
    path: Path
    """Where the file is, or would be."""

    size_bytes: int | None
    """On disk; None if missing."""

    sha256: str | None
    """On disk; None if missing."""

    @property
    def usable(self) -> bool:
        """Whether the file is there and is what it should be."""
        return self.status in ("verified", "recorded")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    sha256: str
    size_bytes: int
    mtime_ns: int

    ctime_ns: int
    """Unlike the time of change, nobody can set it back."""


_SEEN: dict[tuple[str, int, int], _Record] = {}
"""By path, device and inode: what was read in this process."""


def cache_dir() -> Path:
    """Return the cache folder: `$TPBENCH_CACHE`, else the user's cache folder of this system."""
    chosen = os.environ.get("TPBENCH_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("tpbench"))


def weights_dir() -> Path:
    """Return the folder of model files, `weights` in the cache folder. It need not exist."""
    return cache_dir() / "weights"


def make_weights_dir() -> Path:
    """Create the folder of model files if need be, and return it.

    Raises:
        ConfigError: it can't be made or written.
    """
    folder = weights_dir()
    try:
        (folder / ".locks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"{folder}: can't be used as weights folder ({reason}); set TPBENCH_CACHE to another"
        ) from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(
            f"{folder}: the weights folder is not writable; set TPBENCH_CACHE to another"
        )
    return folder


@contextmanager
def locked(key: str) -> Iterator[None]:
    """Hold the weights folder's lock of that name; the system frees it if the holder dies."""
    from filelock import FileLock, Timeout

    place = make_weights_dir() / ".locks" / f"{key}.lock"
    if place.is_symlink():
        raise ConfigError(f"{place}: is a link, and would be written through; take it away")
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("another process is fetching %s; waiting for it", key)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def look(row: WeightFile, *, rehash: bool = False, here: bool = False) -> WeightState:
    """Say what is on disk of `row`.

    Args:
        row: which file.
        rehash: read the file even if neither its size nor its times of change are new.
        here: believe only what was read in this process.
    """
    path = weights_dir() / row.filename
    try:
        stat = path.stat()
    except FileNotFoundError:
        return WeightState(name=row.name, status="missing", path=path, size_bytes=None, sha256=None)
    place = (str(path.absolute()), stat.st_dev, stat.st_ino)
    record = _SEEN.get(place) or (None if here else _read_record(path))
    fresh = record is not None and (record.size_bytes, record.mtime_ns, record.ctime_ns) == (
        stat.st_size,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
    )
    if record and fresh and not rehash:
        digest = record.sha256
    else:
        digest = _read_digest(path)
        # The times of change are those from before the reading: a later change shows.
        record = _record_of(digest, stat)
        fresh = False
        _SEEN[place] = record
    expected = expected_sha256(row) or digest
    if digest != expected:
        status: Status = "changed"
    else:
        status = "verified" if row.sha256 else "recorded"
        if not fresh and _read_record(path) != record:
            _write_record(path, record)
    return WeightState(
        name=row.name, status=status, path=path, size_bytes=stat.st_size, sha256=digest
    )


def expected_sha256(row: WeightFile) -> str | None:
    """Return the checksum the file must have: the published one, else the one first recorded."""
    if row.sha256:
        return row.sha256
    record = _read_record(weights_dir() / row.filename)
    return record.sha256 if record else None


def install(row: WeightFile, temporary: Path, digest: str) -> None:
    """Move a whole and checked file to its place and record its checksum.

    Args:
        row: which file it is.
        temporary: the file, in the weights folder.
        digest: its sha256.
    """
    path = weights_dir() / row.filename
    temporary.replace(path)
    _write_record(path, _record_of(digest, path.stat()))


def _record_of(digest: str, stat: os.stat_result) -> _Record:
    return _Record(
        sha256=digest,
        size_bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        ctime_ns=stat.st_ctime_ns,
    )


def record_path(path: Path) -> Path:
    """Return where the record of a model file is kept."""
    return path.with_name(path.name + ".record.json")


def _read_digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror or error})") from error


def _read_record(path: Path) -> _Record | None:
    try:
        values = read_json(record_path(path))
        return _Record(
            sha256=str(values["sha256"]),
            size_bytes=int(values["size_bytes"]),
            mtime_ns=int(values["mtime_ns"]),
            ctime_ns=int(values.get("ctime_ns", 0)),  # earlier versions did not note it
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # A record is a note to spare work: without a readable one, the file is read again.
        return None


def _write_record(path: Path, record: _Record) -> None:
    try:
        write_text_aside(record_path(path), json.dumps(asdict(record)) + "\n")
    except OSError as error:
        # A read-only folder shared by a cluster works as well, only slower.
        logger.debug("can't note the checksum of %s: %s", path, error)
