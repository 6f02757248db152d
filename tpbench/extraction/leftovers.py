"""Clearing away what killed runs and given-up settings leave in a dataset folder.

Only names that the extraction itself gives are touched: a stranger's file stays where it is.
"""

from __future__ import annotations

import logging
import re
import shutil
from typing import TYPE_CHECKING, Final

from tpbench.dataset import clip_path, keypoints_path, pose_path
from tpbench.extraction.pipeline import WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tpbench.dataset import Clip

_log = logging.getLogger(__name__)

_OURS: Final = re.compile(r"[A-Za-z0-9_-]+-[0-9a-f]{8}_\d{8,}_\d{8,}\.(mp4|npz)")
"""Files of a clip, as `RowMaker.clip_id` names it."""

_HALF_WRITTEN: Final = re.compile(
    r"\.(manifest\.parquet|dataset\.json|README\.md|croissant\.json|report\.html|\w+\.csv)\.[0-9a-f]+\.tmp"
)
"""What is written aside and was not renamed."""


def sweep(folder: Path) -> None:
    """Delete what a killed run was making. Call it while no worker is at work in `folder`."""
    shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
    for home in (folder, folder / "splits"):
        for path in _files(home):
            if _HALF_WRITTEN.fullmatch(path.name):
                _log.info("deleting %s: a killed run was writing it", path)
                path.unlink()


def prune(folder: Path, rows: Sequence[Clip]) -> None:
    """Delete clip files that no kept row speaks of.

    A killed run leaves such files, and so do settings that were given up and sources that changed.
    """
    kept = [row.clip_id for row in rows if row.status == "kept"]
    for path_of in (clip_path, keypoints_path, pose_path):
        wanted = {path_of(folder, clip_id) for clip_id in kept}
        for path in _files(path_of(folder, "x").parent):
            if path not in wanted and _OURS.fullmatch(path.name):
                _log.info("deleting %s: it belongs to no kept clip", path)
                path.unlink()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_file() or path.is_symlink():
            yield path
