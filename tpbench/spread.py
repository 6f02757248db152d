"""Folders that may get a million files: they are spread over 256 sub-folders.

A file `NAME.ext` is written to `HOME/ab/NAME.ext`, where `ab` are the first two hex digits of the
sha256 of NAME. Earlier versions wrote to `HOME/NAME.ext`: such files are found there, and stay
until they are written anew.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_SUBFOLDER: Final = re.compile("[0-9a-f]{2}")


def new_path(home: Path, name: str) -> Path:
    """Return where a file is written: `home/ab/name`.

    >>> new_path(Path("clips"), "talk-0123abcd_00000000_00004000.mp4").as_posix()
    'clips/cd/talk-0123abcd_00000000_00004000.mp4'
    """
    return home / _digits(name) / name


def existing_path(home: Path, name: str) -> Path:
    """Return where a file lies; where it would be written if it does not exist.

    A file in its sub-folder takes precedence over one of an earlier version.
    """
    new, old = new_path(home, name), home / name
    # Unlike Path.is_file, this never raises: who reads the file says what is wrong with it.
    is_old = not os.path.isfile(new) and os.path.isfile(old)  # noqa: PTH113
    return old if is_old else new


def make_place(home: Path, name: str) -> Path:
    """Return `new_path` after creating its folders. Those above `home` have to exist."""
    path = new_path(home, name)
    home.mkdir(exist_ok=True)
    path.parent.mkdir(exist_ok=True)
    return path


def remove(home: Path, name: str) -> None:
    """Delete a file wherever it lies; it need not exist."""
    new_path(home, name).unlink(missing_ok=True)
    remove_old(home, name)


def remove_old(home: Path, name: str) -> None:
    """Delete the file of an earlier version, once it was written anew; it need not exist."""
    (home / name).unlink(missing_ok=True)


def relative_paths(home: Path, names: Iterable[str]) -> list[str]:
    """Return `existing_path` of many files as text relative to `home`: `ab/name`, or `name`.

    `home` is listed once; single files are looked for only where earlier versions left some.
    """
    old = {path.name for path in home.iterdir()} if home.is_dir() else set()
    return [
        existing_path(home, name).relative_to(home).as_posix()
        if name in old
        else f"{_digits(name)}/{name}"
        for name in names
    ]


def subfolders(home: Path) -> list[Path]:
    """Return what has the name of a sub-folder, sorted, even if it is a link or a file."""
    return [path for path in _listed(home) if _SUBFOLDER.fullmatch(path.name)]


def entries(home: Path, *, follow_links: bool = True) -> Iterator[Path]:
    """Yield all that lies in `home` and in its sub-folders, but not the sub-folders.

    Args:
        home: may be missing.
        follow_links: also where `home` or a sub-folder is a link.
    """
    if home.is_symlink() and not follow_links:
        return
    for path in _listed(home):
        if not _SUBFOLDER.fullmatch(path.name) or not path.is_dir():
            yield path
        elif follow_links or not path.is_symlink():
            yield from _listed(path)


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _digits(name: str) -> str:
    # As `Path.stem`, which takes ten times as long: a million names are common.
    at = name.rfind(".")
    stem = name[:at] if 0 < at < len(name) - 1 else name
    return hashlib.sha256(stem.encode()).hexdigest()[:2]
