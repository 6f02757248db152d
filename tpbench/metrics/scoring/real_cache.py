"""Features and skeletons of real clips, kept for all scorings: how much there is, and clearing it.

They lie in `features/<meter>/<2 digits>/<content>-<key>.npy` below the cache folder, skeletons as
`.npz`: `content` begins the sha256 of the real clip, `key` stands for all else they depend on. They
describe people, so whoever has to forget a clip can do it by its content.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tpbench.weights.store import cache_dir

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

SKELETONS: Final = "skeletons"
"""The folder of skeletons; the others are named after the meter whose features they hold."""

_CONTENT_DIGITS: Final = 32

_ENTRY: Final = re.compile(r"(?:(?P<content>[0-9a-f]{32})-)?[0-9a-f]{64}\.np[yz]")
"""Without `content`: made by a version that did not put it into the name."""

_HALF_WRITTEN: Final = re.compile(
    r"\.(?:[0-9a-f]{32}-)?[0-9a-f]{64}\.np[yz]\.[0-9a-f]{8,32}\.tmp(?:\.np[yz])?"
)
_ABANDONED_S: Final = 24 * 3600
"""A half-written file that nobody touched for so long is nobody's any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One file of the cache."""

    path: Path
    kind: str
    """`skeletons`, or the name of a meter of features."""
    content: str | None
    """First 32 hex digits of the real clip's sha256; None in files of older versions."""
    size_bytes: int
    used_s: float
    """When it was last read or written, seconds since the epoch."""


def real_cache_dir() -> Path:
    """Return the folder of the cache, `features` in the cache folder. It need not exist."""
    return cache_dir() / "features"


def content_key(real_sha256: str, key: str) -> str:
    """Return the name of an entry: whose content it describes, then `key` for all else."""
    return f"{real_sha256[:_CONTENT_DIGITS]}-{key}"


def mark_used(path: Path) -> None:
    """Note that an entry was read: what was not used for longest goes first.

    The time of access is set by hand, since many file systems don't keep it.
    """
    with contextlib.suppress(OSError):  # a cache that others share may be read-only
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def entries(folder: Path) -> list[CacheEntry]:
    """Return all entries, the one unused for longest first; links and strangers' files are none.

    Args:
        folder: of the cache; it need not exist.
    """
    found = [entry for path in _files(folder) if (entry := _entry(path)) is not None]
    return sorted(found, key=lambda entry: (entry.used_s, entry.path))


def trim(
    folder: Path, *, max_bytes: int | None = None, max_age_s: float | None = None
) -> list[CacheEntry]:
    """Remove what was not used for longest, until the rest fits.

    Args:
        folder: of the cache.
        max_bytes: what the rest may take together; no limit if not given.
        max_age_s: how long ago the rest may have been used; no limit if not given.

    Returns:
        What was removed.
    """
    left = entries(folder)
    total_bytes = sum(entry.size_bytes for entry in left)
    now_s = time.time()
    removed = []
    for entry in left:
        too_old = max_age_s is not None and now_s - entry.used_s > max_age_s
        too_much = max_bytes is not None and total_bytes > max_bytes
        if too_old or too_much:
            entry.path.unlink(missing_ok=True)
            total_bytes -= entry.size_bytes
            removed.append(entry)
    _sweep(folder)
    return removed


def clear(
    folder: Path, *, kinds: Collection[str] = (), contents: Collection[str] = ()
) -> list[CacheEntry]:
    """Remove entries.

    Args:
        folder: of the cache.
        kinds: only of these kinds; of all if empty.
        contents: only those of real clips with these sha256; of all if empty. Files of older
            versions don't say whose they are, so they go too.

    Returns:
        What was removed.
    """
    wanted = {sha256[:_CONTENT_DIGITS] for sha256 in contents}
    removed = [
        entry
        for entry in entries(folder)
        if (not kinds or entry.kind in kinds)
        and (not wanted or entry.content is None or entry.content in wanted)
    ]
    for entry in removed:
        entry.path.unlink(missing_ok=True)
    _sweep(folder)
    return removed


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files at the depth of entries; no link is followed."""
    for kind in _subfolders(folder):
        for digits in _subfolders(kind):
            for path in sorted(digits.iterdir()):
                if path.is_file() and not path.is_symlink():
                    yield path


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _entry(path: Path) -> CacheEntry | None:
    match = _ENTRY.fullmatch(path.name)
    if match is None:
        return None
    try:
        found = path.stat()
    except FileNotFoundError:  # another process took it away
        return None
    return CacheEntry(
        path=path,
        kind=path.parent.parent.name,
        content=match["content"],
        size_bytes=found.st_size,
        used_s=max(found.st_atime, found.st_mtime),
    )


def _sweep(folder: Path) -> None:
    """Remove half-written files that were abandoned."""
    for path in _files(folder):
        abandoned = time.time() - path.stat().st_mtime > _ABANDONED_S
        if _HALF_WRITTEN.fullmatch(path.name) and abandoned:
            path.unlink(missing_ok=True)
