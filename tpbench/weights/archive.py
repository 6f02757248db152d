"""One file out of a zip (wheels are zips), by stream: no path in the archive is ever followed."""

from __future__ import annotations

import errno
import lzma
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Final

_PIECE_BYTES: Final = 1 << 20

_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the libraries raise over damaged, encrypted and strange archives. bz2 raises an OSError
without a number."""


class ArchiveError(Exception):
    """The archive can't be used; the message says why, without naming it."""


def extract_member(archive: Path, member: str, destination: Path, *, max_bytes: int) -> None:
    """Write one file of a zip to `destination`.

    Args:
        archive: the zip.
        member: the file's full path in the zip, or its base name if only one file has it.
        destination: a new file; nothing else is written.
        max_bytes: that the file may have when it is unpacked.

    Raises:
        ArchiveError: broken zip, no such file in it, a larger one, or names that would lead out of
            a folder.
        FileExistsError: something lies at `destination`, be it a link.
        OSError: it can't be written.
    """
    with destination.open("xb") as target:
        try:
            with zipfile.ZipFile(archive) as opened:
                entry = _find(opened, member)
                with opened.open(entry) as source:
                    _copy(source, target, max_bytes)
        except ArchiveError:
            raise
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # An entry that is said to lie before the beginning of the file.
            raise ArchiveError(
                "the archive is broken (it names a place that is not in it)"
            ) from error
        except _DAMAGE as error:
            raise ArchiveError(
                f"the archive is broken ({' '.join(str(error).split()) or type(error).__name__})"
            ) from error


def _copy(source: IO[bytes], target: IO[bytes], max_bytes: int) -> None:
    done_bytes = 0
    while piece := _read(source):
        done_bytes += len(piece)
        if done_bytes > max_bytes:
            # What the archive says of its size is not believed: a small one can hold gigabytes.
            raise ArchiveError(f"the file in the archive has more than {max_bytes:,} bytes")
        target.write(piece)


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(_PIECE_BYTES)
    except OSError as error:
        if error.errno is not None:
            raise
        raise ArchiveError(f"the archive is broken ({error})") from error


def _find(opened: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            # Harmless here, but nobody packs such an archive in good faith.
            raise ArchiveError(
                f"the archive holds a path that leads out of its folder ('{entry.filename}')"
            )
    found = [entry for entry in entries if entry.filename == member] or [
        entry for entry in entries if PurePosixPath(entry.filename).name == member
    ]
    if len(found) != 1:
        raise ArchiveError(f"the archive holds {len(found)} files called '{member}', expected one")
    return found[0]
