"""Errors that are no item's own: the disk is full, memory or a network share is gone.

They end a run with one line, cost no item an attempt, and the same command goes on once they are
put right.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tpbench.errors import TPBenchError

_NO_USE_GOING_ON: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})

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
"""What a folder answers whose permission was taken, whose disk or share dropped out, or that lies
on another disk than what is to be renamed into it."""
_GONE: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY}
)
"""What the output folder answers of which a part was removed or replaced, or leads nowhere now."""
_SAYINGS: Final = (
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
"""How libraries say in errors of their own that memory, threads or open files ran out."""
_ADVICE: Final = "the run has stopped, what is finished is kept: put that right and run again"


class HaltError(TPBenchError):
    """Nothing can go on, and no item is to blame: the run stops with this line."""


class PostponedError(TPBenchError):
    """An item can't be done now, and may be later: it is tried again by the next run."""


def why_halt(error: BaseException, *, where: Path | None = None) -> str | None:
    """Return why no item can be done any more, or None if the error is one item's own.

    Looks at the causes too: a library may wrap a full disk in an error of its own.

    Args:
        error: what was raised.
        where: named if the error does not say which file it was.
    """
    if isinstance(error, HaltError):
        return str(error)
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _NO_USE_GOING_ON:
            return _line(cause, where)
    return None


def machine_fault(error: BaseException, *, where: Path | None = None) -> str | None:
    """Return which fault of the machine an error tells of; None if it tells of none.

    Beyond `why_halt`: memory, threads or open files ran out; and, unless it is about an input
    (`MediaError` and its like), a file or folder that can't be reached or written.

    Args:
        error: what was raised.
        where: the output folder; named if the error does not say which file it was. That something
            below it is not there, or of another kind, is a fault of the machine too.
    """
    known = why_halt(error, where=where)
    if known is not None:
        return known
    ours = isinstance(error, TPBenchError)
    for cause in causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        placed = _is_about_a_place(cause) or _lies_below(cause, where)
        if number in _MACHINE or (not ours and placed):
            return _line(cause, where)
        if not ours and (isinstance(cause, MemoryError) or any(s in str(cause) for s in _SAYINGS)):
            said = " ".join(str(cause).split()) or "memory ran out"
            return f"{said}; {_ADVICE} (more memory, or fewer workers)"
    return None


def is_out_of_reach(error: BaseException) -> bool:
    """Whether a file could not be reached, whatever is in it: no permission, no disk, no share."""
    return isinstance(error, OSError) and error.errno in _PLACE


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, what caused it, and so on."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


@contextmanager
def explain_halts(folder: Path) -> Iterator[None]:
    """Turn what `machine_fault` knows into one line; for what a driver does in a folder.

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


def _is_about_a_place(error: BaseException) -> bool:
    if not is_out_of_reach(error):
        return False
    # What is forbidden without a file being named is no folder's matter.
    named = getattr(error, "filename", None) is not None
    return named or getattr(error, "errno", None) not in {errno.EACCES, errno.EPERM}


def _lies_below(error: BaseException, where: Path | None) -> bool:
    """Whether what is gone is a part of the output folder."""
    named = getattr(error, "filename", None)
    if where is None or getattr(error, "errno", None) not in _GONE:
        return False
    return isinstance(named, str | os.PathLike) and Path(os.fspath(named)).is_relative_to(where)


def _line(cause: BaseException, where: Path | None) -> str:
    number = cause.errno if isinstance(cause, OSError) else None
    place = getattr(cause, "filename", None) or where
    prefix = "" if place is None else f"{place}: "
    return f"{prefix}{os.strerror(number or 0)}; {_ADVICE}"
