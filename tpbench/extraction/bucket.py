"""`extract --out s3://BUCKET/DATASET`: a run in a working copy, whose results go into a bucket.

The order of what is put is that of a run in a folder: the clips of a source, then its record, which
proves that they are there; at the end the manifest and the tables, `dataset.json`, and only then
deletions. The bucket alone counts: another machine may go on where this one died.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tpbench.dataset import Clip
from tpbench.dataset.folder import CLIP_FILES, RECORDS_FOLDER
from tpbench.dataset.info import INFO_NAME
from tpbench.dataset.manifest import MANIFEST_NAME
from tpbench.dataset.parts import PARTS_FOLDER, PARTS_INDEX
from tpbench.dataset.remote import TABLE_ENDINGS
from tpbench.errors import ConfigError, TPBenchError
from tpbench.extraction.leftovers import LEFTOVERS
from tpbench.extraction.pipeline import WORK_FOLDER
from tpbench.extraction.records import SETTINGS_FILE, SourceRecords, record_path
from tpbench.extraction.thumbnails import THUMBNAILS, thumbnails_path
from tpbench.storage.addresses import Address
from tpbench.storage.lease import Lease, leased
from tpbench.storage.mirror import Mirror, make_copies_home
from tpbench.storage.objects import UnreachableError
from tpbench.work.faults import HaltError
from tpbench.work.locks import locked
from tpbench.work.records import Shard
from tpbench.work.worker import Outcome

logger = logging.getLogger(__name__)

_SOURCES_AT_ONCE: Final = 4
"""Sources whose clips are put at the same time."""
_MOST_WAITING: Final = 32
"""More sources than this are not processed ahead of the network: their clips fill the disk."""
_SETTINGS: Final = SETTINGS_FILE.as_posix()
_SMALL_FOLDERS: Final = frozenset({RECORDS_FOLDER, THUMBNAILS, "splits"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketDataset:
    """The dataset of a run whose output is a bucket."""

    mirror: Mirror
    lease: Lease
    pool: ThreadPoolExecutor
    last: dict[str, Future[None]] = field(default_factory=dict)
    """Source -> what was begun last for it; records of one source are put in their order."""

    @property
    def address(self) -> Address:
        """Of the dataset."""
        return self.mirror.address

    def begin(self) -> None:
        """Put what the plan of the run has changed: settings come before records.

        Raises:
            HaltError: the bucket can't be written.
        """
        with _halting():
            self.mirror.put_changed(_order)

    def add(self, outcome: Outcome, records: SourceRecords) -> None:
        """Begin to put the clips and then the record of a source.

        Raises:
            HaltError: the lease is lost, or something of an earlier source could not be put.
        """
        self.lease.require()
        for key in [key for key, begun in self.last.items() if begun.done()]:
            self._end(key)
        while len(self.last) >= _MOST_WAITING:
            self._end(next(iter(self.last)))
        record = record_path(records.folder, outcome.key)
        if not record.is_file():
            return
        files = [] if outcome.kind != "done" else self._files_of(outcome)
        self.last[outcome.key] = self.pool.submit(
            self._put, files, record, record.read_bytes(), self.last.pop(outcome.key, None)
        )

    def drain(self) -> None:
        """Wait until everything is put; raises as `add` does."""
        for key in list(self.last):
            self._end(key)

    def publish(self) -> None:
        """Put the manifest and all that follows from it; then delete what no clip needs.

        Raises:
            HaltError: the lease is lost, or the bucket can't be written.
        """
        self.lease.require()
        with _halting():
            for moved in self.mirror.moved_below(LEFTOVERS):
                self.mirror.move(moved.removeprefix(f"{LEFTOVERS}/"), moved)
            self.mirror.put_changed(_order, but={_SETTINGS})
            self.mirror.delete_gone()
            # They say that the manifest lists no replaced clip.
            self.mirror.put_changed()

    def provide(self, clips: Sequence[Clip]) -> None:
        """Fetch the files of clips that are read now; `release` empties them."""
        with _halting():
            self.mirror.fetch(self._paths(clips))

    def release(self, clips: Sequence[Clip]) -> None:
        """Empty what `provide` fetched."""
        self.mirror.empty(self._paths(clips))

    def _paths(self, clips: Sequence[Clip]) -> list[str]:
        folder = self.mirror.folder
        paths = (kind.path(folder, clip.clip_id) for clip in clips for kind in CLIP_FILES)
        return [path.relative_to(folder).as_posix() for path in paths if path.is_file()]

    def _files_of(self, outcome: Outcome) -> list[str]:
        """Return the files of a source's kept clips, and its thumbnails."""
        folder = self.mirror.folder
        clips = [] if outcome.result is None else outcome.result["clips"]
        paths = [
            kind.path(folder, clip["clip_id"])
            for clip in clips
            if clip["status"] == "kept"
            for kind in CLIP_FILES
        ]
        paths += [thumbnails_path(folder, name) for name in {c["source_id"] for c in clips}]
        return [path.relative_to(folder).as_posix() for path in paths if path.is_file()]

    def _put(
        self, files: list[str], record: Path, content: bytes, before: Future[None] | None
    ) -> None:
        if before is not None:
            before.result()
        self.mirror.put(files)
        self.mirror.put_content(record.relative_to(self.mirror.folder).as_posix(), content)

    def _end(self, key: str) -> None:
        begun = self.last.pop(key)
        with _halting():
            begun.result()


@contextmanager
def opened_bucket(address: Address, shard: Shard | None) -> Iterator[BucketDataset]:
    """Take the lease of a dataset in a bucket, and make its working copy what the bucket says.

    Args:
        address: of the dataset.
        shard: the part to process; its working copy is its own.

    Raises:
        ConfigError: the address is a whole bucket, or no copy can be kept here.
        InUseError: another run works in it.
        UnreachableError: the bucket can't be read.
    """
    _require_folder(address)
    home = make_copies_home(address) / ("run" if shard is None else shard.suffix.lstrip("."))
    mirror = _mirror(address, home / address.name)
    with (
        told_by_address(mirror.folder, address),
        locked(home / ".lock"),
        leased(address, shard, note=home / ".holder") as lease,
    ):
        mirror.restore()
        pool = ThreadPoolExecutor(max_workers=_SOURCES_AT_ONCE, thread_name_prefix="bucket")
        try:
            yield BucketDataset(mirror=mirror, lease=lease, pool=pool)
        finally:
            # What is begun is finished, or else the next run would do it again.
            pool.shutdown(wait=True)


@contextmanager
def looked_at(address: Address) -> Iterator[Path]:
    """Provide a copy of what a run would find in a bucket, and delete it afterwards."""
    _require_folder(address)
    with tempfile.TemporaryDirectory(prefix="tpbench-") as home:
        mirror = _mirror(address, Path(home) / address.name)
        with told_by_address(mirror.folder, address):
            mirror.restore()
            yield mirror.folder


@contextmanager
def told_by_address(folder: Path, address: Address) -> Iterator[None]:
    """Name the address, and not the working copy, in errors."""
    try:
        yield
    except TPBenchError as error:
        error.args = tuple(
            part.replace(str(folder), str(address)).replace(str(folder.parent), str(address))
            if isinstance(part, str)
            else part
            for part in error.args
        )
        raise


def _mirror(address: Address, folder: Path) -> Mirror:
    return Mirror(address=address, folder=folder, is_small=_is_small, not_mirrored={WORK_FOLDER})


def _require_folder(address: Address) -> None:
    if not address.key:
        raise ConfigError(f"{address}: name a folder in the bucket, such as {address}/dataset")


def _is_small(relative: str) -> bool:
    """Whether a file of a dataset is no clip; what is foreign is not fetched, either."""
    first, slash, _ = relative.partition("/")
    if slash:
        return first in _SMALL_FOLDERS or first == PARTS_FOLDER
    return Path(relative).suffix in TABLE_ENDINGS


def _order(relative: str) -> int:
    """Return when a file is put: settings; clips, tables; manifest, records; `dataset.json`."""
    if relative == INFO_NAME:
        return 3
    if relative == _SETTINGS:
        return 0
    if relative.startswith((MANIFEST_NAME, PARTS_INDEX, RECORDS_FOLDER)):
        return 2
    return 1


@contextmanager
def _halting() -> Iterator[None]:
    """Stop the run where the bucket can't be reached."""
    try:
        yield
    except UnreachableError as error:
        raise HaltError(f"{error}; what is finished is kept") from error
