"""A folder in a bucket and its working copy on this machine.

The bucket is the truth. The working copy holds all small files, and of the large ones, which are
in the bucket alone, an empty file each: so whatever asks whether a file is there gets the answer of
the bucket without a request. Files whose name begins with a dot stay here: they are locks, and
half-written.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tpbench.errors import ConfigError
from tpbench.storage import objects
from tpbench.storage.addresses import Address, safe_relative
from tpbench.weights.store import CACHE_VARIABLE, cache_dir

logger = logging.getLogger(__name__)

LEASES: Final = ".leases"
"""Below the folder in the bucket: who works in it (`tpbench.storage.lease`)."""
LocalStamp = tuple[int, int, int]
"""Size, modification time in ns, inode: another writing changes one of them."""


def copies_home(address: Address) -> Path:
    """Return the folder of this machine for the copies of a folder in a bucket."""
    digest = hashlib.sha256(str(address).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_dir() / "datasets" / digest[:16]


def make_copies_home(address: Address) -> Path:
    """Create the folder `copies_home` if necessary, and return it.

    Raises:
        ConfigError: it can't be written.
    """
    home = copies_home(address)
    try:
        home.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(home, os.W_OK | os.X_OK) else "no permission to write"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise ConfigError(
            f"{home}: no copy of {address} can be kept here ({reason}); set {CACHE_VARIABLE} to "
            "a folder that can be written"
        )
    return home


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """The working copy of a folder in a bucket.

    Paths are relative to the folder, with slashes. Methods may be called by several threads, each
    for other files.
    """

    address: Address
    folder: Path
    """The working copy."""
    is_small: Callable[[str], bool]
    """Whether a file is held here, too."""
    not_mirrored: Collection[str] = ()
    """Folders of this machine alone."""
    _held: dict[str, LocalStamp] = field(default_factory=dict)
    """What the bucket holds -> the file here when both were the same."""

    def restore(self) -> None:
        """Make the working copy what the bucket says; what else lies in it is deleted.

        Raises:
            UnreachableError: the bucket can't be read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        listed: dict[str, int] = {}
        for stored in objects.list_objects(self.address):
            relative = safe_relative(self.address.relative(stored.address))
            if relative is None:
                logger.warning("%s: left alone, as its name is no path", stored.address)
            elif not relative.startswith(f"{LEASES}/"):
                listed[relative] = stored.size_bytes
        shutil.rmtree(self.folder)
        for parent in sorted({str(Path(relative).parent) for relative in listed}):
            (self.folder / parent).mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        small = [relative for relative in listed if self.is_small(relative)]
        objects.in_parallel(
            lambda relative: objects.fetch(
                self.address.below(relative), self.folder / relative, size_bytes=listed[relative]
            ),
            small,
        )
        for relative in listed.keys() - set(small):
            (self.folder / relative).touch()
        self._held.clear()
        self._held.update((relative, self._stamp(relative)) for relative in listed)

    def put(self, relatives: Sequence[str]) -> None:
        """Put files into the bucket; of large ones, an empty file is left here.

        Raises:
            UnreachableError: the bucket can't be written.
        """
        objects.in_parallel(self._put_one, relatives)

    def put_content(self, relative: str, content: bytes) -> None:
        """Put a small file as it was when its content was read; raises as `put` does."""
        stamp = self._stamp(relative)
        objects.write(self.address.below(relative), content)
        self._held[relative] = stamp

    def holds(self, relative: str) -> bool:
        """Whether the bucket has a file of this name."""
        return relative in self._held

    def fetch(self, relatives: Iterable[str]) -> None:
        """Fetch large files into the working copy, to be emptied later.

        Raises:
            UnreachableError: one can't be read.
        """
        wanted = [one for one in relatives if one in self._held and not self._size(one)]
        objects.in_parallel(
            lambda one: objects.fetch(self.address.below(one), self.folder / one), wanted
        )
        self._held.update((one, self._stamp(one)) for one in wanted)

    def empty(self, relatives: Iterable[str]) -> None:
        """Leave an empty file of what was fetched."""
        for relative in relatives:
            if relative in self._held and not self.is_small(relative) and self._size(relative):
                self._empty(relative)

    def put_changed(
        self, order: Callable[[str], int] = lambda _: 0, *, but: Collection[str] = ()
    ) -> None:
        """Put all files that were written since, those of a lower order first; delete nothing.

        Args:
            order: of a file.
            but: files that are left.

        Raises:
            UnreachableError: the bucket can't be written.
        """
        changed: dict[int, list[str]] = {}
        for relative in self._files_here():
            if relative not in but and self._held.get(relative) != self._stamp(relative):
                changed.setdefault(order(relative), []).append(relative)
        for place in sorted(changed):
            self.put(changed[place])

    def delete_gone(self) -> None:
        """Delete from the bucket what was deleted here; raises as `put` does."""
        gone = sorted(self._held.keys() - set(self._files_here()))
        objects.in_parallel(lambda one: objects.delete(self.address.below(one)), gone)
        for relative in gone:
            del self._held[relative]

    def move(self, source: str, target: str) -> None:
        """Move a file within the bucket, of which the working copy was moved already."""
        objects.copy(self.address.below(source), self.address.below(target))
        self._held[target] = self._stamp(target)

    def moved_below(self, home: str) -> list[str]:
        """Return the files that were moved here from `name` to `home/name` since."""
        return [
            relative
            for relative in self._files_here()
            if relative.startswith(f"{home}/")
            and relative not in self._held
            and relative.removeprefix(f"{home}/") in self._held
            and not self._size(relative)
        ]

    def _put_one(self, relative: str) -> None:
        path, stamp = self.folder / relative, self._stamp(relative)
        if not stamp[0] and relative in self._held and not self.is_small(relative):
            return  # the empty file that stands for it
        objects.put(path, self.address.below(relative))
        self._held[relative] = stamp
        if not self.is_small(relative):
            self._empty(relative)

    def _empty(self, relative: str) -> None:
        os.truncate(self.folder / relative, 0)
        self._held[relative] = self._stamp(relative)

    def _files_here(self) -> list[str]:
        found: list[str] = []
        for folder, subfolders, names in os.walk(self.folder):
            home = Path(folder).relative_to(self.folder)
            subfolders[:] = [
                name
                for name in subfolders
                if (home / name).as_posix() not in self.not_mirrored and name != LEASES
            ]
            found += [(home / name).as_posix() for name in names if not name.startswith(".")]
        return found

    def _stamp(self, relative: str) -> LocalStamp:
        found = (self.folder / relative).stat()
        return found.st_size, found.st_mtime_ns, found.st_ino

    def _size(self, relative: str) -> int:
        return (self.folder / relative).stat().st_size
