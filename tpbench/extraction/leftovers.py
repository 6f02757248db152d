"""Removal of what killed runs and abandoned settings leave in a dataset folder.

Only files with names that the extraction itself gives are touched; other files stay in place.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Final

from tpbench.dataset.folder import CLIP_FILES, OLD_LEDGER, RECORDS_FOLDER
from tpbench.dataset.info import INFO_NAME
from tpbench.dataset.manifest import Table, has_manifest
from tpbench.errors import DatasetError
from tpbench.extraction.pipeline import WORK_FOLDER
from tpbench.extraction.thumbnails import THUMBNAILS
from tpbench.files import is_temporary
from tpbench.spread import entries, existing_path, subfolders

logger = logging.getLogger(__name__)

PRUNED_BY: Final = ("clip_id", "status", "source_id")
"""Columns of the manifest that tell which files are needed."""
LEFTOVERS: Final = ".leftovers"
"""Below the dataset: clips that neither the records nor the manifest list."""
_OURS: Final = re.compile(r"(?P<source>[A-Za-z0-9_-]+-[0-9a-f]{8,64})_\d{8,}_\d{8,}\.(mp4|npz)")
"""Files of a clip, as `RowMaker.clip_id` names it."""
_HALF_WRITTEN: Final = re.compile(
    r"\.([\w-]+\.parquet|(dataset|croissant|removals)\.json|README\.md|card\.yaml|report\.html|[\w-]+\.csv)\.[0-9a-f]+\.tmp"
)
"""Temporary files that were never renamed to their final names."""


def sweep(folder: Path) -> None:
    """Delete unfinished files of a killed run. Call it while no worker is active in `folder`."""
    shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
    for home in (folder, folder / "splits"):
        for path in home.glob(".*") if home == folder or not home.is_symlink() else ():
            if _HALF_WRITTEN.fullmatch(path.name) and not path.is_dir():
                logger.info("deleting %s: a killed run was writing it", path)
                path.unlink()


def prune(folder: Path, table: Table, replaced: Iterable[str] = ()) -> None:
    """Remove clip files that belong to no kept row.

    Files that have been superseded are deleted: those of `replaced` clips, those that a killed
    run or an earlier attempt left of a source that rows describe, and those of an earlier version
    that lie beside the sub-folder with the new file. Whether other files are still of value is
    unknown: they are moved to `LEFTOVERS`. Folders that are links are not touched, as they may hold
    files of others.

    Args:
        folder: of the dataset, with its manifest written.
        table: the rows of the manifest, of which `PRUNED_BY` suffices.
        replaced: ids of clips whose sources were reprocessed.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    processed = pc.is_in(table["status"], value_set=pa.array(["kept", "rejected"]))
    kept = {*table.filter(pc.equal(table["status"], "kept"))["clip_id"].to_pylist()}
    described = {*table.filter(processed)["source_id"].unique().to_pylist()}
    known = kept.union(replaced)
    _prune_thumbnails(folder, {*table["source_id"].unique().to_pylist()})
    moved = 0
    for home in (kind.home(folder) for kind in CLIP_FILES):
        for path in _files(home):
            match = _OURS.fullmatch(path.name)
            if match is None or (path.stem in kept and not _is_superseded(path, home)):
                continue
            if path.stem in known or match["source"] in described:
                logger.info("deleting %s: no kept clip needs it", path)
                path.unlink()
            else:
                _move_aside(path, folder / LEFTOVERS / path.parent.relative_to(folder))
                moved += 1
    if moved:
        logger.warning(
            "%s: %d files of unknown clips were moved to %s: a killed run left them, and its "
            "videos are not among the inputs; delete them if you don't need them",
            folder,
            moved,
            folder / LEFTOVERS,
        )


def _is_superseded(path: Path, home: Path) -> bool:
    """Whether a file of an earlier version was replaced by one in a sub-folder."""
    return path.parent == home and existing_path(home, path.name) != path


def _prune_thumbnails(folder: Path, sources: Set[str]) -> None:
    """Delete the thumbnails of sources that are not in the dataset, and unfinished files."""
    for path in _files(folder / THUMBNAILS):
        if is_temporary(path) or (path.suffix == ".json" and path.stem not in sources):
            path.unlink()


def require_own_folders(folder: Path) -> None:
    """Refuse a clip folder that is a file, a dead link, or a link into another dataset.

    Raises:
        DatasetError: it is; clips of the same videos would overwrite those of the other dataset.
    """
    for kind in CLIP_FILES:
        home = kind.home(folder)
        _require_own_folder(home, folder)
        for subfolder in subfolders(home):
            _require_own_folder(subfolder, folder)


def _require_own_folder(home: Path, dataset_folder: Path) -> None:
    if home.exists() and not home.is_dir():
        raise DatasetError(
            f"{home}: is a file, where a dataset has a folder; move it away and run again"
        )
    if not home.is_symlink():
        return
    if not home.exists():
        raise DatasetError(
            f"{home}: a link to {home.readlink()}, which does not exist; mount or create it, "
            "or remove the link, and run again"
        )
    own = Path(os.path.realpath(dataset_folder))
    # A clip folder lies in its dataset, and a sub-folder in a clip folder.
    for other in Path(os.path.realpath(home)).parents[:2]:
        if other != own and _is_dataset(other):
            raise DatasetError(
                f"{home}: a link into another dataset ({other}), whose clips would be replaced; "
                "put a folder in its place, or choose another output folder"
            )


def holds_work(folder: Path) -> bool:
    """Whether a folder holds files that only a finished source can have produced."""
    if (folder / INFO_NAME).exists() or has_manifest(folder):
        return True
    homes = (kind.home(folder) for kind in CLIP_FILES)
    return any(
        _OURS.fullmatch(path.name) and not path.is_dir() for home in homes for path in entries(home)
    )


def _is_dataset(folder: Path) -> bool:
    marks = (INFO_NAME, RECORDS_FOLDER, OLD_LEDGER.parts[0])
    return any((folder / name).exists() for name in marks)


def _move_aside(path: Path, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    path.replace(home / path.name)


def _files(home: Path) -> Iterator[Path]:
    """Yield the files in a folder and its sub-folders, nothing behind links."""
    for path in entries(home, follow_links=False):
        if path.is_file() or path.is_symlink():
            yield path
