"""Locks on folders, which neither a killed process nor a machine that died holds for ever.

The kernel releases a file lock (flock) when its process ends, in whatever way. On a network share
the server holds it, and a machine that died never releases it. So every holder gives signs of life:
a number in a file beside the lock, or in it, that goes up every few seconds. On a network share,
one who is refused watches the number; if it stands still for two minutes, the lock file is replaced
by a new one. The clocks of two machines are never compared. A former holder that was only stopped,
or cut off, finds its lock file replaced before it writes again: see `require_held`.

Where the file system has no such locks (Lustre without `-o flock`), a file that only one process
can create takes their place, and a killed process is told from a live one by its signs alone.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tpbench.errors import ConfigError, DatasetError
from tpbench.work.faults import HaltError, require_there

logger = logging.getLogger(__name__)

DEAD_AFTER_VARIABLE: Final = "TPBENCH_DEAD_LOCK_S"
"""If set, dead holders are looked for on every file system, and given up after so many seconds. All
machines that work in a folder need the same value."""
_DEAD_AFTER_S: Final = 120.0
_BEATS: Final = 12
"""Signs of life that must be missing; a holder says how long its own pause is."""
_LOOKS: Final = 4
"""Looks at the signs between two of them."""
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "glusterfs", "panfs"),
        *("wekafs", "orangefs", "pvfs2", "afs", "9p", "virtiofs", "quobyte"),
    }
)
_LOCAL_FUSE: Final = frozenset({"fuse.fuse-overlayfs", "fuse.portal", "fuse.mergerfs"})
_SIGN: Final = re.compile(
    rb"(?P<holder>[^\n]{1,100})\nsign \d{1,12}, every (?P<pause_s>[\d.]+) s\n"
)


class InUseError(DatasetError):
    """Another process works in a folder."""


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a lock file; an exclusive holder writes its process id into it.

    Workers don't inherit it. The host name is left out, because folders may be passed on to others.

    Args:
        path: created if missing, with its folder.
        shared: allow other holders that also ask for a shared lock.
        wait: for the process that holds it, instead of raising.

    Raises:
        InUseError: another process holds it, and on a network share gives signs of life.
        DatasetError: the folder can't be written.
        ConfigError: `DEAD_AFTER_VARIABLE` holds no number.
    """
    dead_after_s, is_watched = _patience(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = _Asker(
            path, shared=shared, wait=wait, dead_after_s=dead_after_s, watch=is_watched
        ).held()
    except OSError as error:
        raise DatasetError(
            f"{path}: {error.strerror}; the output folder must be writable"
        ) from error
    try:
        _HELD.append(held)
        held.begin()
        yield
    finally:
        _HELD.remove(held)
        held.release()


@contextmanager
def locked_in_turn(path: Path, tell: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file as `locked` does, after its present holder.

    Args:
        path: see `locked`.
        tell: called before the wait, if another process holds it.

    Raises:
        DatasetError, ConfigError: see `locked`.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked(path))
        except InUseError:
            tell()
            held.enter_context(locked(path, wait=True))
        yield


def require_held(folder: Path | None = None) -> None:
    """Stop the run if a lock that this process holds in a folder was taken over by another.

    Args:
        folder: None: in any folder.

    Raises:
        HaltError: it was, because this process seemed dead, or the folder is gone. Nothing must be
            written any more.
    """
    for held in _HELD:
        if folder in {None, held.path.parent} and not held.in_place():
            require_there(held.path.parent)
            raise HaltError(
                f"{held.path.parent}: another process took over the lock, because this one gave no "
                "sign of life (it was stopped, or cut off from the disk); it writes nothing more: "
                "run again to go on"
            )


class _Held:
    """A lock that this process holds, and the thread that gives its signs of life.

    Args:
        path: of the lock file.
        lock_fd: open lock file; None if what marks the lock is `marks` alone.
        marks: file with the signs: the lock file itself for an exclusive holder.
        marks_fd: open, to write the signs.
        pause_s: between two signs.
    """

    def __init__(
        self, path: Path, lock_fd: int | None, marks: Path, marks_fd: int, pause_s: float
    ) -> None:
        self.path = path
        self._lock_fd, self._marks, self._marks_fd, self._pause_s = (
            lock_fd,
            marks,
            marks_fd,
            pause_s,
        )
        self._number = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="lock", daemon=True)
        with suppress(OSError):  # of a full disk: who gives no sign is never found dead
            self._sign()

    def begin(self) -> None:
        """Give signs of life from now on."""
        self._thread.start()

    def in_place(self) -> bool:
        """Whether the files of this lock are still those that all others see."""
        # Opening a folder makes a network share look again at what is in it.
        with suppress(OSError):
            os.close(os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY))
        known = self._lock_fd is None or _is_file(self._lock_fd, self.path)
        return known and _is_file(self._marks_fd, self._marks)

    def release(self) -> None:
        """Let the next one have it."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        with suppress(OSError):
            if self._marks == self.path:
                os.ftruncate(self._marks_fd, 0)
            elif _is_file(self._marks_fd, self._marks):
                self._marks.unlink()
        if self._lock_fd is not None and self._lock_fd != self._marks_fd:
            os.close(self._lock_fd)
        os.close(self._marks_fd)

    def _go_on(self) -> None:
        while not self._ended.wait(self._pause_s):
            with suppress(OSError):  # a full disk, a share that is away: the next one may arrive
                self._sign()

    def _sign(self) -> None:
        text = f"process {os.getpid()}\nsign {self._number:012d}, every {self._pause_s:g} s\n"
        self._number += 1
        os.pwrite(self._marks_fd, text.encode(), 0)
        os.fsync(self._marks_fd)


_HELD: Final[list[_Held]] = []
"""The locks of this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sign:
    """What one file says of a holder."""

    inode: int
    content: bytes

    @property
    def pause_s(self) -> float | None:
        """Seconds between two signs of the holder; None if it gives none."""
        match = _SIGN.match(self.content)
        return None if match is None else float(match["pause_s"])


_Signs = Mapping[Path, _Sign]


class _Asker:
    """Asks for a lock until it has it, and watches those who are in the way.

    Args:
        path, shared, wait: see `locked`.
        dead_after_s: how long signs of life may be missing.
        watch: whether a holder may be dead, although it still has the lock.
    """

    def __init__(
        self, path: Path, *, shared: bool, wait: bool, dead_after_s: float, watch: bool
    ) -> None:
        self._path, self._shared, self._wait, self._watch = path, shared, wait, watch
        self._dead_after_s, self._pause_s = dead_after_s, dead_after_s / _BEATS
        self._has_flock = True
        self._seen: _Signs | None = None
        self._since_s = 0.0

    def held(self) -> _Held:
        """Return the lock as soon as it is free, or its holder has been found dead."""
        while (held := self._ask()) is None:
            self._look()
            time.sleep(self._pause_s / _LOOKS)
        return held

    def _ask(self) -> _Held | None:
        if self._has_flock:
            block = self._wait and not self._watch
            try:
                return _by_flock(
                    self._path, shared=self._shared, pause_s=self._pause_s, block=block
                )
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                self._has_flock, self._watch = False, True
        return _by_file(self._path, shared=self._shared, pause_s=self._pause_s)

    def _look(self) -> None:
        """Look at the signs of the holders; bury them if they are dead, raise if not."""
        place = self._path if self._has_flock else _mark_file(self._path)
        signs = _signs(self._path, place, shared=self._shared)
        moved = self._seen is not None and _has_moved(self._seen, signs)
        if not self._watch or (moved and not self._wait):
            raise _in_use(self._path, signs)
        if self._seen is None:
            folder = self._path.parent
            logger.warning("%s: in use by %s; looking whether it is alive", folder, _holder(signs))
        if signs != self._seen:
            self._seen, self._since_s = signs, time.monotonic()
        still_s, limit_s = time.monotonic() - self._since_s, _limit_s(signs, self._dead_after_s)
        if limit_s is not None and still_s > limit_s:
            _bury(self._path, place, signs, shared=self._shared)
            self._seen = {}
        elif limit_s is None and still_s > self._dead_after_s and not self._wait:
            raise _in_use(self._path, signs)  # an earlier version, which gives no signs


def _by_flock(path: Path, *, shared: bool, pause_s: float, block: bool) -> _Held | None:
    """Lock the file; None if another holds it."""
    while True:
        lock_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            _flock(lock_fd, kind if block else kind | fcntl.LOCK_NB, path)
            if not _is_file(lock_fd, path):  # it was replaced since it was opened
                os.close(lock_fd)
                continue
            os.ftruncate(lock_fd, 0)
            if shared:
                return _Held(path, lock_fd, *_new_marks(path), pause_s)
            for left in _shared_marks(path):  # of killed processes: a live one would hold the lock
                left.unlink(missing_ok=True)
            return _Held(path, lock_fd, path, lock_fd, pause_s)
        except BlockingIOError:
            os.close(lock_fd)
            return None
        except BaseException:
            with suppress(OSError):
                os.close(lock_fd)
            raise


def _flock(lock_fd: int, kind: int, path: Path) -> None:
    try:
        fcntl.flock(lock_fd, kind)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise
        raise DatasetError(
            f"{path}: can't be locked ({error.strerror}); put the output on another disk"
        ) from error


def _by_file(path: Path, *, shared: bool, pause_s: float) -> _Held | None:
    """Create a file that only one can create; None if another did, or shared holders are there."""
    mark = _mark_file(path)
    if shared:
        held = _Held(path, None, *_new_marks(path), pause_s)
        if not mark.exists():
            return held
    elif not _shared_marks(path):
        try:
            marks_fd = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:
            return None
        held = _Held(path, None, mark, marks_fd, pause_s)
        if not _shared_marks(path):
            return held
    else:
        return None
    held.release()
    return None


def _mark_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.held")


def _new_marks(path: Path) -> tuple[Path, int]:
    """Create a file for the signs of a shared holder."""
    marks = path.with_name(f"{path.name}.{secrets.token_hex(4)}.alive")
    return marks, os.open(marks, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)


def _shared_marks(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.*.alive"))


def _signs(path: Path, place: Path, *, shared: bool) -> _Signs:
    """Return what the holders in the way say; shared ones are in the way of an exclusive one."""
    found = {}
    for file in (place, *(() if shared else _shared_marks(path))):
        with suppress(FileNotFoundError):
            fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                found[file] = _Sign(inode=os.fstat(fd).st_ino, content=os.pread(fd, 200, 0))
            finally:
                os.close(fd)
    return found


def _has_moved(before: _Signs, now: _Signs) -> bool:
    """Whether a holder has given a sign of life, or a new one has come."""
    return any(before.get(file) != sign for file, sign in now.items() if sign.content)


def _limit_s(signs: _Signs, dead_after_s: float) -> float | None:
    """Return how long these signs may stand still; None if a holder gives none."""
    pauses_s = [sign.pause_s for sign in signs.values() if sign.content]
    given_s = [pause_s for pause_s in pauses_s if pause_s is not None]
    if not given_s or len(given_s) < len(pauses_s):
        return None
    return max(dead_after_s, _BEATS * max(given_s))


def _bury(path: Path, place: Path, signs: _Signs, *, shared: bool) -> None:
    """Remove the files of dead holders, unless one has just given a sign."""
    if _signs(path, place, shared=shared) != signs:
        return
    logger.warning(
        "%s: %s has given no sign of life; its lock is taken over", path.parent, _holder(signs)
    )
    for file in signs:
        grave = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
        with suppress(FileNotFoundError):
            file.rename(grave)
            if grave.stat().st_ino != signs[file].inode:  # another process was quicker
                with suppress(FileExistsError):
                    file.hardlink_to(grave)
            grave.unlink()


def _holder(signs: _Signs) -> str:
    for sign in signs.values():
        if sign.content:
            return sign.content.split(b"\n")[0].decode(errors="replace")
    return "another process"


def _in_use(path: Path, signs: _Signs) -> InUseError:
    return InUseError(
        f"{path.parent}: in use by {_holder(signs)} on this or another machine; "
        "wait for it, or stop it and run again"
    )


def _is_file(fd: int, path: Path) -> bool:
    """Whether a path still leads to an open file."""
    try:
        there, known = path.stat(follow_symlinks=False), os.fstat(fd)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (known.st_dev, known.st_ino)


def _patience(folder: Path) -> tuple[float, bool]:
    """Return after how many seconds a holder counts as dead, and whether dead ones are sought."""
    given = os.environ.get(DEAD_AFTER_VARIABLE)
    if given is None:
        return _DEAD_AFTER_S, is_network_share(folder)
    try:
        dead_after_s = float(given)
    except ValueError:
        dead_after_s = 0.0
    if not 0 < dead_after_s < float("inf"):
        raise ConfigError(f"{DEAD_AFTER_VARIABLE} must be a number of seconds, got '{given}'")
    return dead_after_s, True


def is_network_share(folder: Path) -> bool:
    """Whether a folder, or where it will be created, lies on a network file system (Linux only)."""
    if sys.platform != "linux":
        return False
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        device = folder.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return _is_network(_kind_of(mounts, f"{os.major(device)}:{os.minor(device)}"))


def _kind_of(mounts: str, device: str) -> str:
    """Return the kind of a device's file system, by the lines of mountinfo; empty if not there."""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2:3] == [device]:
            return rest.split()[0]
    return ""


def _is_network(kind: str) -> bool:
    return kind in _NETWORK_FILE_SYSTEMS or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)
