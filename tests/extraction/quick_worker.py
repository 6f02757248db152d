"""A worker's task that makes clips of a few bytes, so that runs can be tested by the dozen.

All but the pictures is the real thing: reading, naming, moving into place, telling faults apart.
A source is a text file; its words say what happens to it:

    bad          is a broken video
    sleep        takes ten minutes
    die          kills its worker
    bug          is what nobody thought of
    memory, files, threads    what runs out
    disk, output, ...         what the machine refuses

A file `healthy` beside the dataset ends what kills workers, runs out or is refused.
    two          gives two clips
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from tpbench.dataset import Clip, clip_path, keypoints_path, pose_path
from tpbench.dataset.removal import Removals
from tpbench.errors import MediaError
from tpbench.extraction.pipeline import (
    WORK_FOLDER,
    SourcePipeline,
    SourceResult,
    move_clips,
    staging_folder,
)
from tpbench.extraction.sources import Source, hashed, source_id
from tpbench.extraction.worker import ExtractionTask
from tpbench.work.records import folder_id, require_same
from tpbench.work.worker import JsonObject

SHORTAGES: dict[str, Exception] = {
    "memory": MemoryError(),
    "files": OSError(errno.EMFILE, "Too many open files"),
    "threads": RuntimeError("can't start new thread"),
}
FAULTS: dict[str, Exception] = {
    "disk": OSError(errno.EIO, "Input/output error", "clips"),
    "output": PermissionError(errno.EPERM, "Operation not permitted", "clips"),
    "share": OSError(errno.ESTALE, "Stale file handle", "clips"),
    "unplugged": OSError(errno.ENOTCONN, "Transport endpoint is not connected", "clips"),
}


@dataclass(frozen=True)
class QuickPipeline:
    """Stands in for `SourcePipeline`."""

    folder: Path
    require_folder: Callable[[], None]
    margin: str

    def run(self, source: Source, on_frame: Callable[[int], None]) -> SourceResult:
        """Do what the words of the source say."""
        source = hashed(source)
        if source.path.is_fifo():
            raise MediaError(source.path, "is not a regular file")
        words = source.path.read_text().split()
        if "bad" in words:
            raise MediaError(source.path, "is not a video")
        if "bug" in words:
            raise LookupError("nobody thought of it")
        if not (self.folder.parent / "healthy").exists():
            if "die" in words:
                os.kill(os.getpid(), signal.SIGKILL)
            for word in words:
                if (error := (SHORTAGES | FAULTS).get(word)) is not None:
                    raise error
        self.require_folder()
        with staging_folder(self.folder / WORK_FOLDER / source_id(source)) as staging:
            if "sleep" in words:
                time.sleep(600)
            on_frame(50)
            clips = [self._clip(source, number, staging) for number in range(1 + ("two" in words))]
            self.require_folder()
            move_clips([clip.clip_id for clip in clips], staging, self.folder)
        return SourceResult(
            source_sha256=source.sha256 or "",
            clips=tuple(clips),
            n_frames=25,
            duration_s=1.0,
            stage_s={"decode": 0.1},
        )

    def _clip(self, source: Source, number: int, staging: Path) -> Clip:
        clip_id = f"{source_id(source)}_{1000 * number:08d}_{1000 * number + 1000:08d}"
        marks = []
        for path_of in (clip_path, keypoints_path, pose_path):
            content = f"{path_of.__name__} {number} {source.sha256} {self.margin}".encode()
            path = path_of(staging, clip_id)
            path.parent.parent.mkdir(exist_ok=True)
            path.parent.mkdir(exist_ok=True)  # not those above: the dataset may be moved away
            path.write_bytes(content)
            marks.append(hashlib.sha256(content).hexdigest())
        return Clip(
            clip_id=clip_id,
            status="kept",
            source_id=source_id(source),
            source_path=source.shown_path,
            source_sha256=source.sha256,
            identity=source_id(source),
            start_s=float(number),
            end_s=number + 1.0,
            n_frames=25,
            fps_num=25,
            fps_den=1,
            clip_sha256=marks[0],
            keypoints_sha256=marks[1],
            pose_sha256=marks[2],
        )


class _NoDetectors:
    def close(self) -> None:
        """Hold nothing."""


def build(config: JsonObject) -> ExtractionTask:
    """Take the place of `tpbench.extraction.worker.build`."""
    folder = Path(config["folder"])
    home, known = folder / ".records", config["records_id"]
    home_id = folder_id(home) if known is None else tuple(known)
    require_folder = partial(require_same, home, home_id)
    pipeline = QuickPipeline(
        folder=folder,
        require_folder=require_folder,
        margin=str(config["settings"]["clip"]["margin_share"]),
    )
    object.__setattr__(pipeline, "detectors", _NoDetectors())
    return ExtractionTask(
        pipeline=cast("SourcePipeline", pipeline),
        folder=folder,
        require_folder=require_folder,
        removals=Removals.read(folder),
    )
