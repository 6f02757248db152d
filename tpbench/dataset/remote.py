"""A dataset in object storage, to be read: its copy on this machine, with what a command needs.

Tables and lists are fetched when they have changed; clips whole, checked by the sha256 of the
manifest, and kept, so that the next command needs no network for them. Where the bucket can't be
reached, a copy that was complete is used as it is.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path
from typing import Final

from tpbench.dataset.folder import CLIP_FILES, Dataset
from tpbench.dataset.info import INFO_NAME
from tpbench.dataset.parts import PARTS_FOLDER
from tpbench.errors import DatasetError
from tpbench.files import atomic_write_text, sha256_of
from tpbench.foreign import ForeignFileError, read_json
from tpbench.storage import objects
from tpbench.storage.addresses import Address, local_path, safe_relative
from tpbench.storage.mirror import make_copies_home
from tpbench.storage.objects import StoredObject, UnreachableError
from tpbench.work.locks import locked

logger = logging.getLogger(__name__)

TABLE_ENDINGS: Final = frozenset({".json", ".parquet", ".csv", ".md", ".html", ".yaml"})
"""Of the files at the top of a dataset's folder that are its own."""
_CLIP_FOLDERS: Final = frozenset(kind.folder_name for kind in CLIP_FILES)
_SEEN: Final = ".seen.json"
"""Beside the copy: what the bucket held when each table was fetched."""


def local_dataset(given: Path | str, *, with_clips: bool) -> Path:
    """Return the folder of a dataset: as given, or the copy of one in object storage.

    A process asks the bucket once: all that it reads is of one moment.

    Args:
        given: a folder or an address.
        with_clips: also all files of its kept clips; otherwise only its tables.

    Raises:
        DatasetError: there is no dataset, or a clip is not the one in its manifest.
        UnreachableError: the bucket can't be read, and the copy is not complete.
        ConfigError: no copy can be kept here.
    """
    address = Address.of(given)
    return local_path(given) if address is None else _copied(address, with_clips)


@cache
def _copied(address: Address, with_clips: bool) -> Path:  # noqa: FBT001 - of a cached function
    home = make_copies_home(address) / "read"
    folder = home / address.name
    with locked(home / ".lock", wait=True):
        try:
            _fetch_tables(address, folder)
        except UnreachableError as error:
            if not (folder / INFO_NAME).is_file() or isinstance(error, objects.NoObjectError):
                raise
            logger.warning("%s; what was fetched before is used", error)
        if with_clips:
            _fetch_clips(address, folder)
    return folder


def _fetch_tables(address: Address, folder: Path) -> None:
    """Fetch the tables that are new, `dataset.json` last, and delete those that are gone."""
    listed: dict[str, StoredObject] = {}
    for stored in objects.list_objects(address):
        relative = safe_relative(address.relative(stored.address))
        if relative is not None and _is_table(relative):
            listed[relative] = stored
    if INFO_NAME not in listed:
        raise DatasetError(
            f"{address}: no {INFO_NAME}; is this a dataset that `tpbench extract` finished?"
        )
    folder.mkdir(parents=True, exist_ok=True)
    seen = _read_seen(folder)
    changed = [
        relative
        for relative, stored in listed.items()
        if seen.get(relative) != _mark(stored) or not (folder / relative).is_file()
    ]
    if changed:
        # Until all are here, the copy is none.
        (folder / INFO_NAME).unlink(missing_ok=True)
        changed = [relative for relative in changed if relative != INFO_NAME]

    def fetch(relative: str) -> None:
        stored = listed[relative]
        objects.fetch(stored.address, folder / relative, size_bytes=stored.size_bytes)

    objects.in_parallel(fetch, changed)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        relative = path.relative_to(folder).as_posix()
        if _is_table(relative) and relative not in listed:
            path.unlink()
    if not (folder / INFO_NAME).is_file():
        fetch(INFO_NAME)
    marks = {relative: _mark(stored) for relative, stored in listed.items()}
    atomic_write_text(folder.with_name(_SEEN), json.dumps(marks))


def _fetch_clips(address: Address, folder: Path) -> None:
    """Fetch the files of kept clips that are not here as the manifest describes them."""
    wanted: list[tuple[str, Path, str]] = []
    for clip in Dataset.open(folder).clips():
        hashes = (clip.clip_sha256, clip.keypoints_sha256, clip.pose_sha256)
        for kind, sha256 in zip(CLIP_FILES, hashes, strict=True):
            path = kind.make_place(folder, clip.clip_id)
            if not path.is_file() or sha256_of(path) != sha256:
                wanted.append((path.relative_to(folder).as_posix(), path, sha256 or ""))

    def fetch(one: tuple[str, Path, str]) -> None:
        relative, path, sha256 = one
        objects.fetch(address.below(relative), path, sha256=sha256)

    objects.in_parallel(fetch, wanted)


def _is_table(relative: str) -> bool:
    """Whether a file is no clip and not private."""
    first, slash, _ = relative.partition("/")
    if first.startswith(".") or first in _CLIP_FOLDERS:
        return False
    is_ours = not slash or first in {"splits", PARTS_FOLDER}
    return is_ours and Path(relative).suffix in TABLE_ENDINGS


def _mark(stored: StoredObject) -> list[object]:
    return [stored.size_bytes, stored.modified_ns, stored.etag]


def _read_seen(folder: Path) -> dict[str, object]:
    try:
        seen = read_json(folder.with_name(_SEEN))
    except (OSError, ForeignFileError):
        return {}
    return seen if isinstance(seen, dict) else {}
