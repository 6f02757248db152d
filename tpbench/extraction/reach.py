"""Whether a source could be read at all: a share that dropped out is no fault of the video."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tpbench.errors import MediaError
from tpbench.execution.halt import causes, is_out_of_reach

if TYPE_CHECKING:
    from tpbench.extraction.sources import Source

_PIECE_BYTES: Final = 1 << 20


def why_out_of_reach(source: Source, error: BaseException) -> str | None:
    """Say why a source that could not be done was out of reach; None if that was not the reason.

    What libav says is not enough: of a file that ends too early it says "input/output error" as it
    does of a disk that fails. So the file is read once more, without libav.

    Args:
        source: as it was when the run was planned.
        error: what its worker met.
    """
    if not _is_about(source, error):
        return None
    for cause in causes(error):
        if _is_plain(cause) and (is_out_of_reach(cause) or isinstance(cause, FileNotFoundError)):
            return f"can't be read: {os.strerror(getattr(cause, 'errno', 0) or 0)}"
    return _reading_again(source)


def _is_about(source: Source, error: BaseException) -> bool:
    if isinstance(error, MediaError):
        return str(error.path) in {str(source.path), source.shown_path}
    named = error.filename if isinstance(error, OSError) else None
    return named is not None and Path(os.fsdecode(named)) == source.path


def _is_plain(error: BaseException) -> bool:
    """Whether it is Python's own word and not libav's."""
    return isinstance(error, OSError) and not type(error).__module__.startswith("av")


def _reading_again(source: Source) -> str | None:
    try:
        found = source.path.stat()
        if not stat.S_ISREG(found.st_mode):
            return None
        with source.path.open("rb", buffering=0) as file:
            while file.read(_PIECE_BYTES):
                pass
    except OSError as error:
        return f"can't be read: {error.strerror}"
    if (found.st_size, found.st_mtime_ns) != (source.size_bytes, source.mtime_ns):
        return "changed while it was being read"
    return None
