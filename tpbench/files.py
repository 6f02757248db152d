"""Reading regular files, and atomic writes: readers see either the old file or the new one.

Opening a named pipe blocks until another process writes to it, and reading a device may never end.
So the kind of a file is checked before it is opened.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

_OPEN_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnfitFileError(OSError):
    """The path is not a regular file, or the file is larger than its limit.

    An `OSError`, so that code which reports unreadable files reports this as well; `strerror` is
    the end of the sentence "<path>: ...". The cause is always the file, never the machine.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError's own pickling loses the class for some error numbers, and the file's name.
        return type(self), (self.errno, self.strerror, self.filename)


def missing_folder(path: Path) -> str:
    """Return the end of the sentence "<path>: ..." for a path that is not a folder.

    >>> missing_folder(Path("nowhere"))
    'no such folder'
    """
    return "is a file, and a folder is wanted" if path.exists() else "no such folder"


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path is a folder itself or lies in it, links followed; neither has to exist."""
    # Path.resolve() fails for a link to itself.
    real = os.path.realpath(path)
    return Path(real).is_relative_to(os.path.realpath(folder))


def require_regular(path: Path) -> None:
    """Refuse a path that is not a regular file, before a library opens it by name.

    Raises:
        UnfitFileError: it is a folder, named pipe, socket or device.
        OSError: it does not exist, or can't be checked.
    """
    _require_regular_mode(path, path.stat().st_mode)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading bytes; never blocks on another process.

    Raises:
        UnfitFileError: it is a folder, named pipe, socket or device.
        OSError: it can't be opened.
    """
    # Checked first, because opening a device may have side effects.
    require_regular(path)
    fd = os.open(path, _OPEN_FLAGS)
    try:
        # Checked again, because the path may have been replaced in between.
        _require_regular_mode(path, os.fstat(fd).st_mode)
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file, if it has no more than `max_bytes`.

    Raises:
        UnfitFileError: it has more, or is no regular file.
        OSError: it can't be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        # The requested size is allocated at once, so it is bounded; a growing file is cut off.
        content = file.read(min(size, max_bytes) + 1)
        if max(size, len(content)) > max_bytes:
            reason = f"has {size:,} bytes, more than the limit of {max_bytes:,}"
            raise UnfitFileError(errno.EFBIG, reason, str(path))
    return content


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes in lower-case hex, read in pieces.

    Raises:
        UnfitFileError: it is no regular file.
        OSError: it can't be read.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_regular_mode(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    raise UnfitFileError(
        errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL,
        f"is {kind}, not a regular file",
        str(path),
    )


_HALF_WRITTEN: Final = re.compile(r"\..+\.([0-9a-f]{8}|[0-9]{1,7})\.(tmp|part)", re.DOTALL)
"""Earlier versions used the process id in place of the random number."""


def is_temporary(path: Path) -> bool:
    """Whether a file has the name that our writers give to unfinished files."""
    return bool(_HALF_WRITTEN.fullmatch(path.name)) and path.is_file() and not path.is_symlink()


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on disk and survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def atomic_write(path: Path, *, durable: bool = False, make_folder: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to `path` if the block ends without an error.

    If durable, the content is on disk before the rename, and the rename before this returns.
    The folder is created, unless that is not wanted: of a run that may have been moved away.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(path)
        if durable:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link or copy a file, under a temporary name that is then renamed."""
    with atomic_write(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def atomic_write_text(path: Path, text: str, *, make_folder: bool = True) -> None:
    """Write UTF-8 text with LF line ends atomically, by `atomic_write`."""
    with atomic_write(path, make_folder=make_folder) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def size_text(n_bytes: int) -> str:
    """Return a size on disk as text.

    >>> size_text(12_000_000), size_text(3_400_000_000), size_text(547)
    ('12.0 MB', '3.4 GB', '547 bytes')
    """
    if 0 < n_bytes < 50_000:
        return f"{n_bytes:,} bytes"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
