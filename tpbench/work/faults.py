"""Faults of the machine rather than of an item: a full disk, no memory, a lost network share.

They end a run with one line and cost no item an attempt. Once the fault is fixed, the same command
resumes the run. Where memory, threads or open files run out, either may be at fault; a crew finds
out which (`crew.Shortages`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tpbench.errors import TPBenchError

_CANNOT_WRITE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})

_MACHINE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_PLACE: Final = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.EXDEV,
        errno.ENXIO,
        errno.ENODEV,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
    }
)
"""Errors of a folder without permission, on a disk or share that is unreachable, or on another
disk than the file to be renamed into it."""
_GONE: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY}
)
"""Errors of an output folder of which a part was removed or replaced, or is a broken link."""
_RUN_OUT: Final = (
    "can't start new thread",
    "Cannot allocate memory",
    "Failed to allocate",
    "failed to map segment",
    "Insufficient memory",
    "bad_alloc",
    "bad allocation",
    "Too many open files",
    "Resource temporarily unavailable",
)
"""Texts by which libraries' own errors report that memory, threads or open files ran out."""
_ADVICE: Final = "the run has stopped, what is finished is kept: put that right and run again"
MORE_MEMORY: Final = f"{_ADVICE} (more memory, or fewer workers)"
"""What to do where memory, threads or open files ran out."""


class HaltError(TPBenchError):
    """No further item can be processed, through no fault of an item: the run stops."""


def require_there(folder: Path) -> None:
    """Stop the run if its folder is gone: what is written from here on would belong to nothing.

    Raises:
        HaltError: it was removed or moved away.
    """
    if not folder.is_dir():
        raise HaltError(said_of_gone(folder))


def said_of_gone(folder: Path) -> str:
    """Say that the folder of a run was removed, moved or replaced, and what to do about it."""
    return (
        f"{folder}: was removed or replaced during the run; nothing more is written: "
        "put the folder back, or run again to create it"
    )


class PostponedError(TPBenchError):
    """An item can't be processed now but may be later: the next run tries it again."""


def why_halt(error: BaseException, *, where: Path | None = None) -> str | None:
    """Return why no item can be processed any more, or None if the error concerns one item only.

    Checks the causes too: a library may wrap the error of a full disk in its own.

    Args:
        error: what was raised.
        where: named in the result if the error names no file.
    """
    if isinstance(error, HaltError):
        return str(error)
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _CANNOT_WRITE:
            return _fault_line(cause, where)
    return None


def machine_fault(error: BaseException, *, where: Path | None = None) -> str | None:
    """Return the fault of the machine behind an error; None if there is none.

    Beyond `why_halt` and `ran_out`: unless the error is about an input (`MediaError` and the like),
    a file or folder can't be reached or written.

    Args:
        error: what was raised.
        where: the output folder; named in the result if the error names no file. A path below it
            that is missing, or is of another kind, is a fault of the machine too.
    """
    known = why_halt(error, where=where)
    if known is not None:
        return known
    lacking = ran_out(error)
    if lacking is not None:
        return f"{lacking}; {MORE_MEMORY}"
    if isinstance(error, TPBenchError):
        return None
    for cause in causes(error):
        if _concerns_path(cause, where) or _lies_below(cause, where):
            return _fault_line(cause, where)
    return None


def ran_out(error: BaseException) -> str | None:
    """Return how memory, threads or open files ran out, in words; None if they did not."""
    ours = isinstance(error, TPBenchError)
    for cause in causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        if number in _MACHINE:
            return os.strerror(number or 0)
        if not ours and (isinstance(cause, MemoryError) or any(s in str(cause) for s in _RUN_OUT)):
            return " ".join(str(cause).split()) or "memory ran out"
    return None


def is_out_of_reach(error: BaseException) -> bool:
    """Whether a file can't be reached (no permission, disk or share), whatever its content."""
    return isinstance(error, OSError) and error.errno in _PLACE


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then its cause, then the cause of that, and so on."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


@contextmanager
def explain_halts(folder: Path) -> Iterator[None]:
    """Turn errors that `machine_fault` recognises into one line; for a driver's work in a folder.

    Raises:
        TPBenchError: the disk is full, or the machine has another fault.
    """
    try:
        yield
    except TPBenchError:
        raise
    except Exception as error:
        reason = machine_fault(error, where=folder)
        if reason is None:
            raise
        raise TPBenchError(reason) from error


def _concerns_path(error: BaseException, where: Path | None) -> bool:
    if not is_out_of_reach(error):
        return False
    # A permission error that names no file does not concern a folder; pyarrow's name it in words.
    named = getattr(error, "filename", None) is not None
    named = named or (where is not None and str(where) in str(error))
    return named or getattr(error, "errno", None) not in {errno.EACCES, errno.EPERM}


def _lies_below(error: BaseException, where: Path | None) -> bool:
    """Whether the missing path lies in the output folder."""
    named = getattr(error, "filename", None)
    if where is None or getattr(error, "errno", None) not in _GONE:
        return False
    return isinstance(named, str | os.PathLike) and Path(os.fspath(named)).is_relative_to(where)


def _fault_line(cause: BaseException, where: Path | None) -> str:
    number = cause.errno if isinstance(cause, OSError) else None
    # Of a rename, the target says more than the temporary name.
    named = (getattr(cause, name, None) for name in ("filename2", "filename"))
    place = next((name for name in named if name), where)
    prefix = "" if place is None else f"{place}: "
    return f"{prefix}{os.strerror(number or 0)}; {_ADVICE}"
