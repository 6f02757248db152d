"""A worker's task that knows where the heads of made talks are: no network looks for them.

All but the search is the real thing: videos are read, cut, drawn, written and moved into place. A
source is a video that `write_head_talk` wrote, whose name begins with `talk-` and its number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from tests.dataset.heads import SIZE_PX, picture
from tpbench.dataset import Clip
from tpbench.dataset.removal import Removals
from tpbench.extraction.pipeline import (
    WORK_FOLDER,
    SourcePipeline,
    SourceResult,
    move_clips,
    staging_folder,
)
from tpbench.extraction.shots import Span
from tpbench.extraction.sources import Source, hashed, read_provenance, source_id
from tpbench.extraction.worker import ExtractionTask
from tpbench.extraction.writing import CropBox, write_clip
from tpbench.video import PREVIEW, VideoWriter, probe
from tpbench.wholebody import FACE, NUM_KEYPOINTS, WholeBodyPose
from tpbench.work.records import require_same
from tpbench.work.worker import JsonObject

FPS = 25
N_FRAMES = 104
_OUT_PX = 128


def write_head_talk(path: Path, talk: int) -> Path:
    """Write a made talk, as long as `eval` wants it."""
    with VideoWriter(
        path, width_px=SIZE_PX, height_px=SIZE_PX, fps=Fraction(FPS), encoding=PREVIEW
    ) as writer:
        for number in range(N_FRAMES):
            writer.write(picture(talk, number / FPS)[0])
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _NoDetectors:
    def close(self) -> None:
        """Hold nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPipeline:
    """Stands in for `SourcePipeline`: one clip of each source."""

    folder: Path
    require_folder: Callable[[], None]
    detectors: _NoDetectors = _NoDetectors()

    def run(self, source: Source, _: Callable[[int], None]) -> SourceResult:
        """Make the clip of a talk."""
        source = hashed(source)
        found = re.match(r"talk-(\d+)", source.path.name)
        assert found is not None
        clip = self._clip(source, _pose(int(found[1])))
        return SourceResult(
            source_sha256=source.sha256 or "",
            clips=(clip,),
            n_frames=N_FRAMES,
            duration_s=N_FRAMES / FPS,
            stage_s={"decode": 0.1},
        )

    def _clip(self, source: Source, pose: WholeBodyPose) -> Clip:
        info, provenance = probe(source.path), read_provenance(source.path)
        clip_id = f"{source_id(source)}_{0:08d}_{1000 * N_FRAMES // FPS:08d}"
        with staging_folder(self.folder / WORK_FOLDER / source_id(source)) as staging:
            written = write_clip(
                staging,
                clip_id,
                source=source.path,
                info=info,
                span=Span(shot_id=0, start_frame=0, end_frame=N_FRAMES),
                crop=CropBox(x0_px=0, y0_px=0, side_px=SIZE_PX),
                pose=pose,
                size_px=_OUT_PX,
            )
            self.require_folder()
            move_clips([clip_id], staging, self.folder)
        return Clip(
            clip_id=clip_id,
            status="kept",
            source_id=source_id(source),
            source_path=source.shown_path,
            source_sha256=source.sha256,
            url=provenance.url,
            start_frame=0,
            end_frame=N_FRAMES,
            start_s=0.0,
            end_s=N_FRAMES / FPS,
            start_pts=0,
            time_base=str(info.time_base),
            fps_num=FPS,
            fps_den=1,
            n_frames=N_FRAMES,
            source_width_px=SIZE_PX,
            source_height_px=SIZE_PX,
            crop_x0=0.0,
            crop_y0=0.0,
            crop_x1=1.0,
            crop_y1=1.0,
            out_size_px=_OUT_PX,
            identity=source_id(source),
            clip_sha256=written.clip_sha256,
            keypoints_sha256=written.keypoints_sha256,
            pose_sha256=written.pose_sha256,
        )


def _pose(talk: int) -> WholeBodyPose:
    keypoints = np.full((N_FRAMES, NUM_KEYPOINTS, 2), np.nan, np.float32)
    for number in range(N_FRAMES):
        keypoints[number, FACE] = picture(talk, number / FPS)[1]
    return WholeBodyPose(
        keypoints=keypoints,
        scores=np.isfinite(keypoints[..., 0]).astype(np.float32),
        width_px=SIZE_PX,
        height_px=SIZE_PX,
        source="mediapipe",
        model_digest="0" * 64,
    )


def build(config: JsonObject) -> ExtractionTask:
    """Take the place of `tpbench.extraction.worker.build`."""
    folder = Path(config["folder"])
    require_folder = partial(require_same, folder / ".records", tuple(config["records_id"]))
    pipeline = DrawnPipeline(folder=folder, require_folder=require_folder)
    return ExtractionTask(
        pipeline=cast("SourcePipeline", pipeline),
        folder=folder,
        require_folder=require_folder,
        removals=Removals.read(folder),
    )
