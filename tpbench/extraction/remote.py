"""Source videos in object storage: listed, and fetched to scratch while a worker needs them."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from tpbench.dataset.folder import OLD_LEDGER, RECORDS_FOLDER
from tpbench.errors import ConfigError, MediaError, MissingDependencyError
from tpbench.extraction.sources import Source, is_video_name
from tpbench.fetching.outcomes import METADATA_ENDING
from tpbench.storage import objects
from tpbench.storage.addresses import Address
from tpbench.storage.objects import NoObjectError, StoredObject, UnreachableError
from tpbench.storage.scratch import explained, own_folder
from tpbench.work.faults import HaltError, PostponedError
from tpbench.work.worker import ProgressReport

logger = logging.getLogger(__name__)

_DATASETS: Final = frozenset({RECORDS_FOLDER, OLD_LEDGER.parts[0]})
_REPORT_EVERY_S: Final = 5.0
_MAX_NAME_BYTES: Final = 200


def remote_sources(
    root: Address, excluded: Address | None, left_out: Counter[str]
) -> Iterator[Source]:
    """Yield the videos below an address; the rules are those of folders (`find_sources`).

    Args:
        root: given by the user. An object itself is used whatever its ending.
        excluded: the dataset being built; never its own source.
        left_out: gets the endings of other files.

    Raises:
        ConfigError: there is nothing, or it belongs to `excluded`.
        UnreachableError: it can't be listed.
    """
    if excluded is not None and excluded.holds(root):
        raise ConfigError(
            f"input {root} lies in the dataset {excluded} itself; name the raw videos"
        )
    found = list(objects.list_objects(root))
    if not found:
        raise ConfigError(f"input {root} does not exist")
    datasets = _datasets_among(root, found)
    for dataset in sorted(datasets):
        logger.warning("%s is a dataset of tpbench, no source of videos", root.below(dataset))
    for stored in found:
        if stored.address == root:
            yield _source(stored)
            continue
        inside = _below(root, stored)
        if any(part.startswith(".") for part in inside.parts):
            continue
        if any(parent.as_posix() in datasets for parent in inside.parents):
            continue
        if excluded is not None and excluded.holds(stored.address):
            continue
        if is_video_name(inside.name, left_out):
            yield _source(stored)


@contextmanager
def at_hand(source: Source, report: ProgressReport) -> Iterator[Source]:
    """Provide a source as a file in scratch, with its metadata beside it; both are deleted after.

    Args:
        source: an object.
        report: told now and then that more has arrived, so that a slow network is no stall.

    Raises:
        PostponedError: it can't be fetched now, or is not the object that was planned.
        HaltError: nothing can be fetched: no credentials, a package is missing, or scratch is full
            or can't be used.
    """
    try:
        folder = own_folder() / "source"
    except ConfigError as error:  # no fault of this source
        raise HaltError(str(error)) from error
    shutil.rmtree(folder, ignore_errors=True)
    try:
        path = folder / _short_name(source)
        with explained():
            folder.mkdir(parents=True)
            _fetch(source, path, report)
        yield replace(source, path=path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_scratch(sources: Iterable[Source]) -> None:
    """Refuse to begin where objects are to be fetched and can't be kept.

    Raises:
        ConfigError: some are objects, and there is no scratch for them.
    """
    if any(source.is_remote for source in sources):
        own_folder()


def hashed_remote(source: Source) -> Source:
    """Return an object with its sha256; it is read to its end.

    Raises:
        MediaError: it can't be read.
    """
    try:
        return replace(source, sha256=objects.sha256_of_object(_address(source)))
    except UnreachableError as error:
        reason = str(error).removeprefix(f"{source.shown_path}: ")
        raise MediaError(source.shown_path, f"can't be read: {reason}") from error


def _fetch(source: Source, path: Path, report: ProgressReport) -> None:
    address = _address(source)
    reported_s = time.monotonic()

    def on_bytes() -> None:
        nonlocal reported_s
        if time.monotonic() - reported_s > _REPORT_EVERY_S:
            reported_s = time.monotonic()
            report({"frames": 0})

    try:
        objects.fetch(address, path, size_bytes=source.size_bytes, on_bytes=on_bytes)
        _require_unchanged(source, address)
        os.utime(path, ns=(source.mtime_ns, source.mtime_ns))
        for name in _metadata_names(address.name):
            if (content := objects.read(_beside(address, name))) is not None:
                path.with_name(f"{path.stem}{METADATA_ENDING}").write_bytes(content)
                break
    except (ConfigError, MissingDependencyError) as error:
        raise HaltError(str(error)) from error
    except NoObjectError as error:
        raise PostponedError(
            f"{address}: was removed since it was listed; the next run tries again"
        ) from error
    except UnreachableError as error:
        raise PostponedError(f"{error}; the next run tries again") from error


def _require_unchanged(source: Source, address: Address) -> None:
    now = objects.look(address)
    if now is None or (now.size_bytes, now.etag) != (source.size_bytes, source.etag):
        raise UnreachableError(f"{address}: changed while it was being read")


def _metadata_names(name: str) -> list[str]:
    """Return what the metadata of a video may be called: see `read_provenance`."""
    stem = PurePosixPath(name).stem
    names = [f"{stem}{METADATA_ENDING}"]
    # An unmerged download, `<stem>.f137.mp4`, shares the metadata of the whole.
    whole, _, part = stem.rpartition(".f")
    if whole and part[:1].isalnum():
        names.append(f"{whole}{METADATA_ENDING}")
    return names


def _beside(address: Address, name: str) -> Address:
    home = address.key.rpartition("/")[0]
    return replace(address, key=f"{home}/{name}" if home else name)


def _short_name(source: Source) -> str:
    """Return the object's own name, by which its video id is found, if a disk can hold it."""
    name = _address(source).name
    if len(name.encode("utf-8", "replace")) <= _MAX_NAME_BYTES and "\0" not in name:
        return name
    return f"video{PurePosixPath(name).suffix[:20]}"


def _address(source: Source) -> Address:
    return Address.of_listed(source.address or "")


def _source(stored: StoredObject) -> Source:
    text = str(stored.address)
    return Source(
        path=Path(text),
        shown_path=text,
        size_bytes=stored.size_bytes,
        mtime_ns=stored.modified_ns,
        address=text,
        etag=stored.etag,
    )


def _datasets_among(root: Address, found: list[StoredObject]) -> set[str]:
    """Return the folders below the root that hold records of a dataset, relative to it."""
    datasets = set()
    for stored in found:
        parts = _below(root, stored).parts
        for at, part in enumerate(parts[:-1]):
            if part in _DATASETS and at:
                datasets.add("/".join(parts[:at]))
                break
    return datasets


def _below(root: Address, stored: StoredObject) -> PurePosixPath:
    return PurePosixPath(root.relative(stored.address).lstrip("/"))
