"""Where a process keeps what it fetched while it needs it, and what killed ones left there.

Below `$TPBENCH_SCRATCH`, or the system's folder for temporary files. Each process has a folder, and
holds the lock of a file beside it. The kernel releases the lock when the process ends, in whatever
way, so a folder whose lock can be had belongs to nobody: the next process deletes it.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from tpbench.errors import ConfigError, TPBenchError
from tpbench.work.faults import HaltError, causes, why_halt

logger = logging.getLogger(__name__)

SCRATCH_VARIABLE: Final = "TPBENCH_SCRATCH"
_LOCK: Final = ".lock"


def scratch_home() -> Path:
    """Return the folder of all processes of this user. It need not exist."""
    chosen = os.environ.get(SCRATCH_VARIABLE)
    base = Path(chosen).expanduser() if chosen else Path(tempfile.gettempdir())
    return base / f"tpbench-scratch-{os.getuid()}"


def own_folder() -> Path:
    """Return this process's folder; those of processes that have ended are deleted.

    Raises:
        ConfigError: it can't be made, or belongs to another user.
    """
    return _made(scratch_home(), os.getpid())


@cache
def _made(home: Path, process_id: int) -> Path:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.lstat()
        if home.is_symlink() or found.st_uid != os.getuid():
            raise ConfigError(f"{home}: belongs to another user; set {SCRATCH_VARIABLE}")
        sweep(home)
        folder = home / f"{process_id}-{secrets.token_hex(4)}"
        _hold(folder.with_name(folder.name + _LOCK))
        folder.mkdir(mode=0o700)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"{home}: can't keep fetched files here ({error.strerror}); set {SCRATCH_VARIABLE}"
        ) from error
    return folder


@contextmanager
def explained() -> Iterator[None]:
    """Name this folder, and not what was fetched, where its disk is full or can't be written.

    Raises:
        HaltError: it is, so that nothing can be fetched any more.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, TPBenchError) or why_halt(error) is None:
            raise
        reason = next(cause.strerror for cause in causes(error) if isinstance(cause, OSError))
        raise HaltError(
            f"{scratch_home()}: {reason}; videos that are fetched lie here while they are needed: "
            f"free space, or set {SCRATCH_VARIABLE} to a folder of a larger disk, and run again; "
            "what is finished is kept"
        ) from error


def sweep(home: Path) -> None:
    """Delete the folders of processes that have ended."""
    for lock in sorted(home.glob(f"*{_LOCK}")):
        with suppress(OSError):
            held = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left = lock.with_name(lock.name.removesuffix(_LOCK))
                if left.is_dir():
                    logger.info("deleting %s: its process has ended", left)
                    shutil.rmtree(left, ignore_errors=True)
                lock.unlink()
            finally:
                os.close(held)


def _hold(lock: Path) -> None:
    """Take a lock that is kept until this process ends; workers that it starts don't get it."""
    while True:
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        # Another process may have swept the file away before it was locked.
        if os.fstat(held).st_nlink:
            return
        os.close(held)
