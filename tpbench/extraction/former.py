"""What an earlier run published, read before a run begins: damage is found before any work."""

from __future__ import annotations

import logging
from pathlib import Path

from tpbench.dataset import DatasetInfo
from tpbench.dataset.info import INFO_NAME, read_info
from tpbench.dataset.manifest import each_row, has_manifest, read_table
from tpbench.dataset.removal import Removals
from tpbench.dataset.splitting import require_readable
from tpbench.errors import DatasetError, NewerVersionError

logger = logging.getLogger(__name__)


def read_former(folder: Path) -> DatasetInfo | None:
    """Read `dataset.json` before any work is done; None if it does not exist.

    Raises:
        DatasetError: it is damaged, and the records hold all but two things in it; or a list of
            joins or sides is.
    """
    if not (folder / INFO_NAME).exists():
        return None
    try:
        info = read_info(folder)
    except NewerVersionError:
        raise
    except DatasetError as error:
        raise DatasetError(
            f"{error}; put it back from a copy, or delete it and run again: no clip is lost, "
            "only the dataset's name (--name) and its splits (`tpbench split`)"
        ) from error
    require_readable(folder, info.split)
    return info


def published_clips(folder: Path) -> list[tuple[str, str | None]] | None:
    """Return id and sha256 of the clips that the manifest keeps; None if it can't be read.

    Clips that were removed from the dataset are left out, also where that is not finished.
    """
    if not has_manifest(folder):
        return None
    try:
        removals = Removals.read(folder)
        kept = each_row(read_table(folder, statuses={"kept"}))
        stay = (clip for clip in kept if not removals.removes_row(clip))
        return [(clip.clip_id, clip.clip_sha256) for clip in stay]
    except DatasetError as error:
        logger.warning("%s; it will be rewritten", error)
        return None
