"""One file out of a zip (wheels are zips), by stream: no path in the archive is ever followed."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ArchiveError(Exception):
    """The archive can't be used; the message says why, without naming it."""


def extract_member(archive: Path, member: str, destination: Path) -> None:
    """Write one file of a zip to `destination`.

    Args:
        archive: the zip.
        member: the file's full path in the zip, or its base name if only one file has it.
        destination: where to write; replaced if it exists. Nothing else is written.

    Raises:
        ArchiveError: broken zip, no such file in it, or names that would lead out of a folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entry = _find(opened, member)
            with opened.open(entry) as source, destination.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        msg = f"the archive is broken ({error})"
        raise ArchiveError(msg) from error


def _find(opened: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            # Harmless here, but nobody packs such an archive in good faith.
            msg = f"the archive holds a path that leads out of its folder ('{entry.filename}')"
            raise ArchiveError(msg)
    found = [entry for entry in entries if entry.filename == member] or [
        entry for entry in entries if PurePosixPath(entry.filename).name == member
    ]
    if len(found) != 1:
        msg = f"the archive holds {len(found)} files called '{member}', expected one"
        raise ArchiveError(msg)
    return found[0]
