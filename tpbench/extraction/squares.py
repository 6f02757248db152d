"""The task of workers that import existing clips: one clip in, its square, keypoints and row out.

A clip that is not square is padded with black or cropped in the middle, and scaled. Nothing is
filtered, and no frame is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

import tpbench
from tpbench.dataset import Clip
from tpbench.dataset.folder import KEYPOINTS, RECORDS_FOLDER
from tpbench.dataset.removal import Removals
from tpbench.detectors.base import DetectorSuite, Device
from tpbench.extraction.given_poses import read_given_pose
from tpbench.extraction.measures import StageClock
from tpbench.extraction.pipeline import WORK_FOLDER, move_clips, staging_folder
from tpbench.extraction.removed import is_partly_removed, nothing_kept
from tpbench.extraction.rows import path_mark
from tpbench.extraction.sources import Source, read_provenance
from tpbench.extraction.steadying import skeleton_digest, steadied
from tpbench.extraction.worker import classified
from tpbench.extraction.writing import CropBox, write_videos
from tpbench.files import sha256_of
from tpbench.video import (
    AudioSource,
    Footage,
    Frame,
    VideoInfo,
    content_sha256,
    open_footage,
    probe,
    read_frames,
)
from tpbench.wholebody import (
    LEFT_WRIST,
    NUM_KEYPOINTS,
    RIGHT_WRIST,
    PoseSource,
    WholeBodyPose,
    save_pose,
)
from tpbench.work import TaskSpec
from tpbench.work.records import FolderId, require_same
from tpbench.work.worker import JsonObject, ProgressReport

Fit = Literal["pad", "crop"]
"""How a clip that is not square becomes one: with black bars, or cut to the middle."""

OUT_SIZE_PX: Final = 512
_BATCH: Final = 16
_WRISTS: Final = [LEFT_WRIST, RIGHT_WRIST]
_MAX_SIDE_PX: Final = 1280
"""Longer side of the pictures that are searched, as in the presets."""


def square_of(width_px: int, height_px: int, fit: Fit) -> CropBox:
    """Return the square in the middle of a picture, or around it.

    >>> square_of(100, 60, "crop").x0_px, square_of(100, 60, "pad").y0_px
    (20, -20)
    """
    side_px = min(width_px, height_px) if fit == "crop" else max(width_px, height_px)
    return CropBox(
        x0_px=(width_px - side_px) // 2, y0_px=(height_px - side_px) // 2, side_px=side_px
    )


def squared(image: NDArray[np.uint8], box: CropBox) -> NDArray[np.uint8]:
    """Return what a picture has in a square, black where it ends.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: from `square_of`.

    Returns:
        (side_px, side_px, 3) uint8 RGB.
    """
    height_px, width_px = image.shape[:2]
    x0, y0, side = box.x0_px, box.y0_px, box.side_px
    if min(x0, y0) >= 0:
        return image[y0 : y0 + side, x0 : x0 + side]
    canvas = np.zeros((side, side, 3), dtype=np.uint8)
    canvas[-y0 : height_px - y0, -x0 : width_px - x0] = image
    return canvas


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A clip that was opened: a video on its timeline, or a folder of pictures."""

    width_px: int
    height_px: int
    n_frames: int
    fps: Fraction
    info: VideoInfo | None
    """None for pictures."""
    footage: Footage | None
    """None for a video."""
    path: Path

    @classmethod
    def open(cls, path: Path, *, fps: Fraction | None, pictures_fps: Fraction) -> _Opened:
        """Open a clip; `fps` replaces a video's own rate, frames stay as they are."""
        if path.is_dir():
            footage = open_footage(path)
            return cls(
                width_px=footage.width_px,
                height_px=footage.height_px,
                n_frames=footage.n_frames,
                fps=fps or pictures_fps,
                info=None,
                footage=footage,
                path=path,
            )
        info = probe(path)
        return cls(
            width_px=info.width_px,
            height_px=info.height_px,
            n_frames=info.frame_count,
            fps=fps or info.fps,
            info=info,
            footage=None,
            path=path,
        )

    def frames(self) -> Iterator[Frame]:
        if self.info is not None:
            yield from read_frames(self.path, info=self.info)
        elif self.footage is not None:
            for at, image in enumerate(self.footage.images()):
                yield Frame(image=image, index=at, time_s=float(at / self.fps))

    def sound(self) -> AudioSource | None:
        """Return its sound; None if it has none, or is played at another rate."""
        info = self.info
        if info is None or not info.has_audio or info.fps != self.fps:
            return None
        return AudioSource(
            path=self.path, start_s=0.0, end_s=float(self.n_frames / self.fps), info=info
        )


def find_pose(
    frames: Iterator[Frame], detectors: DetectorSuite, *, size_px: tuple[int, int], fps: Fraction
) -> WholeBodyPose:
    """Return the most prominent person in each frame of a clip, as detected.

    The visibility of MediaPipe's points is settled over the whole clip, as in an extraction.

    Args:
        frames: all frames in order.
        detectors: their tracking is reset.
        size_px: width and height of the frames.
        fps: of the clip.
    """
    detectors.reset()
    points: list[NDArray[np.float32]] = []
    scores: list[NDArray[np.float32]] = []
    wrists: list[NDArray[np.float32]] = []
    while batch := list(islice(frames, _BATCH)):
        small = [_scaled_down(frame, fps) for frame in batch]
        scale = np.float32(small[0].image.shape[1] / batch[0].image.shape[1])
        for found in detectors.detect(small):
            person = found.people[0] if found.people else None
            if person is None:
                points.append(np.full((NUM_KEYPOINTS, 2), np.nan, dtype=np.float32))
                scores.append(np.zeros(NUM_KEYPOINTS, dtype=np.float32))
                wrists.append(points[-1][_WRISTS])
                continue
            points.append((person.keypoints_px + 0.5) / scale - 0.5)
            scores.append(person.scores)
            own = person.body_wrists_px
            wrists.append(points[-1][_WRISTS] if own is None else (own + 0.5) / scale - 0.5)
    pose = WholeBodyPose(
        keypoints=np.stack(points).astype(np.float32),
        scores=np.stack(scores),
        width_px=size_px[0],
        height_px=size_px[1],
        source=detectors.source,
        model_digest=skeleton_digest(detectors),
    )
    return steadied(pose, wrists_px=np.stack(wrists), fps=float(fps))


def _scaled_down(frame: Frame, fps: Fraction) -> Frame:
    """Return a frame as detectors want it: not too large, at its time in the clip."""
    import cv2

    height_px, width_px = frame.image.shape[:2]
    image, scale = frame.image, min(1.0, _MAX_SIDE_PX / max(height_px, width_px))
    if scale < 1:
        size = (max(round(width_px * scale), 1), max(round(height_px * scale), 1))
        resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        image = np.asarray(resized, dtype=np.uint8)
    return Frame(image=image, index=frame.index, time_s=float(frame.index / fps))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTask:
    """Turns existing clips into clips of a dataset, one after the other."""

    folder: Path
    """Of the dataset."""
    fit: Fit
    pictures_fps: Fraction
    """Rate of folders of pictures."""
    detectors: DetectorSuite | None
    """None if every clip comes with its keypoints."""
    require_folder: Callable[[], None]
    """Raises when the dataset no longer exists."""
    removals: Removals = field(default_factory=Removals)
    """Of the dataset: clips that must not come back."""

    def __call__(self, payload: JsonObject, report: ProgressReport) -> dict[str, Any]:
        """Process one clip, see `payload_of`; return its row, as `ExtractionTask` does."""
        source = Source.from_json(payload["source"])
        try:
            return self._made(source, payload, report)
        except Exception as error:
            raised = classified(source, error, self.folder, self.require_folder)
            if raised is error:
                raise
            raise raised from error

    def close(self) -> None:
        """Close the models."""
        if self.detectors is not None:
            self.detectors.close()

    def _made(
        self, source: Source, payload: Mapping[str, Any], report: ProgressReport
    ) -> dict[str, Any]:
        clock = StageClock()
        with clock.stage("probe"):
            sha256 = content_sha256(source.path)
            if is_partly_removed(replace(source, sha256=sha256), self.removals):
                return nothing_kept()
            fps = None if payload["fps"] is None else Fraction(payload["fps"])
            opened = _Opened.open(source.path, fps=fps, pictures_fps=self.pictures_fps)
        pose = self._pose(opened, payload["poses"], clock, report)
        name = f"{payload['stem']}-{sha256[: payload['digits']]}"
        length_ms = round(opened.n_frames * 1000 / opened.fps)
        clip_id = f"{name}_{0:08d}_{length_ms:08d}"
        box = square_of(opened.width_px, opened.height_px, self.fit)
        self.require_folder()
        with staging_folder(self.folder / WORK_FOLDER / f"{name}-{path_mark(source)}") as staging:
            with clock.stage("write"):
                hashes = _write(staging, clip_id, opened, box, pose)
            self.require_folder()
            move_clips([clip_id], staging, self.folder)
        row = Clip(
            clip_id=clip_id,
            status="kept",
            source_id=name,
            source_sha256=sha256,
            identity=name,
            **_facts(source, opened, box),
            **hashes,
            pose_source=pose.source,
            skeleton_digest=pose.model_digest or None,
        )
        return {
            "clips": [row.to_json()],
            "source_sha256": sha256,
            "n_frames": opened.n_frames,
            "duration_s": float(opened.n_frames / opened.fps),
            "stage_s": clock.seconds,
        }

    def _pose(
        self, opened: _Opened, poses: str | None, clock: StageClock, report: ProgressReport
    ) -> WholeBodyPose:
        size_px = (opened.width_px, opened.height_px)
        if poses is not None:
            return read_given_pose(Path(poses), size_px=size_px, n_frames=opened.n_frames)
        if self.detectors is None:
            raise RuntimeError("models were not loaded, and a clip has no keypoints")
        frames = _counted(clock.each("decode", opened.frames()), report)
        with clock.stage("detect"):
            return find_pose(frames, self.detectors, size_px=size_px, fps=opened.fps)


def _counted(frames: Iterator[Frame], report: ProgressReport) -> Iterator[Frame]:
    for at, frame in enumerate(frames, start=1):
        yield frame
        report({"frames": at})


def _write(
    folder: Path, clip_id: str, opened: _Opened, box: CropBox, pose: WholeBodyPose
) -> dict[str, Any]:
    """Write the three files of a clip; return their sha256 by column."""
    moved = pose.to_crop(
        x0_px=box.x0_px,
        y0_px=box.y0_px,
        scale=OUT_SIZE_PX / box.side_px,
        width_px=OUT_SIZE_PX,
        height_px=OUT_SIZE_PX,
    )
    squares = (
        Frame(image=squared(frame.image, box), index=frame.index, time_s=frame.time_s)
        for frame in opened.frames()
    )
    video, poses = write_videos(
        folder,
        clip_id,
        source=opened.path,
        frames=squares,
        crop=CropBox(x0_px=0, y0_px=0, side_px=box.side_px),
        pose=moved,
        fps=opened.fps,
        audio=opened.sound(),
    )
    keypoints = KEYPOINTS.make_place(folder, clip_id)
    save_pose(keypoints, moved)
    return {
        "clip_sha256": sha256_of(video),
        "keypoints_sha256": sha256_of(keypoints),
        "pose_sha256": sha256_of(poses),
    }


def _facts(source: Source, opened: _Opened, box: CropBox) -> dict[str, Any]:
    """Return the columns of a row that say where a clip comes from."""
    provenance = read_provenance(source.path)
    x0, y0, x1, y1 = box.normalised(opened.width_px, opened.height_px)
    return {
        "source_path": source.shown_path,
        "url": provenance.url,
        "licence": provenance.licence,
        "uploader": provenance.uploader,
        "retrieved_at": provenance.retrieved_at,
        "start_frame": 0,
        "end_frame": opened.n_frames,
        "start_s": 0.0,
        "end_s": float(opened.n_frames / opened.fps),
        "start_pts": None if opened.info is None else opened.info.start_pts,
        "time_base": None if opened.info is None else str(opened.info.time_base),
        "fps_num": opened.fps.numerator,
        "fps_den": opened.fps.denominator,
        "n_frames": opened.n_frames,
        "source_width_px": opened.width_px,
        "source_height_px": opened.height_px,
        "crop_x0": x0,
        "crop_y0": y0,
        "crop_x1": x1,
        "crop_y1": y1,
        "out_size_px": OUT_SIZE_PX,
        "shot_id": 0,
        "track_id": 0,
        "tool_version": tpbench.__version__,
    }


def stem_of(name: str) -> str:
    """Return the part of a clip's id that its name gives: safe as a file name.

    >>> stem_of("train/abc #1")
    'train-abc-1'
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[-80:].strip("-") or "clip"


def payload_of(
    source: Source, *, name: str, digits: int, poses: Path | None, fps: Fraction | None
) -> dict[str, Any]:
    """Return what a worker gets of a clip.

    Args:
        source: the video, or the folder of its frames.
        name: of the clip in its set.
        digits: digits of its sha256 in its id.
        poses: file of its keypoints; None: they are detected.
        fps: replaces a video's own rate, and the rate of folders of pictures.
    """
    return {
        "source": source.to_json(),
        "stem": stem_of(name),
        "digits": digits,
        "poses": None if poses is None else str(poses),
        "fps": None if fps is None else str(fps),
    }


def task_spec(
    *,
    folder: Path,
    records_id: FolderId,
    fit: Fit,
    pictures_fps: Fraction,
    skeleton: PoseSource | None,
    device: Device,
    offline: bool,
) -> TaskSpec:
    """Return the specification from which worker processes `build` their task.

    Args:
        folder: of the dataset.
        records_id: device and inode of its records.
        fit: how clips become square.
        pictures_fps: rate of folders of pictures.
        skeleton: family of the skeleton models; None if every clip comes with its keypoints.
        device: where DWPose runs.
        offline: never fetch model files.
    """
    return TaskSpec(
        factory="tpbench.extraction.squares:build",
        config={
            "folder": str(folder),
            "records_id": list(records_id),
            "fit": fit,
            "pictures_fps": str(pictures_fps),
            "skeleton": skeleton,
            "device": device,
            "offline": offline,
        },
    )


def build(config: JsonObject) -> ImportTask:
    """Load the models and return the task.

    Args:
        config: as `task_spec` puts it together.
    """
    import cv2

    from tpbench.detectors.base import build_suite

    cv2.setNumThreads(1)  # a worker is one thread; more workers use more cores
    folder, skeleton = Path(config["folder"]), config["skeleton"]
    suite = None
    if skeleton is not None:
        suite = build_suite(skeleton=skeleton, device=config["device"], offline=config["offline"])
    return ImportTask(
        folder=folder,
        fit=config["fit"],
        pictures_fps=Fraction(config["pictures_fps"]),
        detectors=suite,
        require_folder=partial(require_same, folder / RECORDS_FOLDER, tuple(config["records_id"])),
        removals=Removals.read(folder),
    )
