"""Errors after which no item can do better: the disk is full or can't be written any more."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tpbench.errors import TPBenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_USE_GOING_ON: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def why_halt(error: BaseException, *, where: Path | None = None) -> str | None:
    """Return why no item can be done any more, or None if the error is one item's own.

    Looks at the causes too: a library may wrap a full disk in an error of its own.

    Args:
        error: what was raised.
        where: named if the error does not say which file it was.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_USE_GOING_ON:
            place = cause.filename or where
            prefix = "" if place is None else f"{place}: "
            return (
                f"{prefix}{os.strerror(cause.errno)}; the run has stopped, "
                "what is finished is kept: put that right and run again"
            )
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def explain_halts(folder: Path) -> Iterator[None]:
    """Turn what `why_halt` knows into one line; for what a driver writes itself into a folder.

    Raises:
        TPBenchError: the disk is full or can't be written any more.
    """
    try:
        yield
    except TPBenchError:
        raise
    except Exception as error:
        reason = why_halt(error, where=folder)
        if reason is None:
            raise
        raise TPBenchError(reason) from error
