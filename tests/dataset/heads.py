"""Clips of made heads: a face of smooth patches that moves and changes as one who talks does.

The same `Talk` gives the same pictures at every moment, however it is filmed: from another start,
at another rate, in a mirror, cropped, or encoded badly. Keypoints lie on the face and tremble as
found ones do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.datasets import clip_files, kept_row
from tpbench.dataset import Clip, Dataset, SplitName, SplitRequest, finalise, make_split
from tpbench.video import CLIP, POSE, PREVIEW, Encoding, VideoWriter
from tpbench.wholebody import FACE, NUM_KEYPOINTS, WholeBodyPose, save_pose

SIZE_PX = 160
_DRAWN_PX = 48
"""Smooth patches can be drawn small and enlarged, which takes a tenth of the time."""
_FACE_PX = 26.0
"""Radius of the face."""
_TREMBLE_PX = 0.5

HeadFrame = tuple[NDArray[np.uint8], NDArray[np.floating] | None]
"""A picture, and the (68, 2) face points in it, or None where no face is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filmed:
    """One clip of a talk."""

    clip_id: str
    talk: int
    """Which person says what."""
    identity: str
    side: SplitName = "train"
    start_s: float = 0.0
    length_s: float = 4.0
    fps: int = 25
    is_mirrored: bool = False
    cropped_share: float = 0.0
    """Cut off at each edge, and enlarged again."""
    is_reencoded: bool = False
    with_face: bool = True

    @property
    def n_frames(self) -> int:
        return round(self.length_s * self.fps)

    def as_copy(self, **changes: object) -> Filmed:
        return replace(self, **changes)  # type: ignore[arg-type]


@cache
def _waves(talk: int, count: int) -> NDArray[np.float64]:
    """Frequencies, phases and speeds of the patches of a talk."""
    draw = np.random.default_rng([talk, count])
    return draw.uniform(-1, 1, (count, 5))


@cache
def _behind(talk: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns in px, and what is behind the head; all as small as it is drawn."""
    rows, columns = (np.mgrid[:_DRAWN_PX, :_DRAWN_PX] + 0.5) * SIZE_PX / _DRAWN_PX - 0.5
    behind = np.zeros_like(rows)
    for across, down, phase, _, weight in _waves(talk, 5):
        behind += weight * np.cos(0.06 * across * columns + 0.06 * down * rows + 9 * phase)
    return rows, columns, behind


def picture(talk: int, time_s: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return a frame, (160, 160, 3) uint8, and the (68, 2) face points in it."""
    rows, columns, behind = _behind(talk)
    sway = _waves(talk, 4)
    centre = np.array([SIZE_PX / 2, SIZE_PX / 2.4]) + 12 * np.sin(
        time_s * (0.5 + np.abs(sway[:2, 0])) * 2 + 6 * sway[:2, 1]
    )
    x, y = (columns - centre[0]) / _FACE_PX, (rows - centre[1]) / _FACE_PX
    face = np.zeros_like(x)
    for across, down, phase, speed, weight in _waves(talk, 12):
        face += weight * np.cos(3.5 * (across * x + down * y) + 9 * phase + 4 * speed * time_s)
    is_face = x**2 + (y / 1.3) ** 2 < 1.4**2
    drawn = 128 + 30 * np.where(is_face, face, behind)
    large = cv2.resize(drawn, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC)
    grey = np.clip(large, 0, 255).astype(np.uint8)
    around = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    rings = np.where(np.arange(68) % 2, 0.55, 1.0)
    points = centre + _FACE_PX * np.stack([rings * np.cos(around), 1.2 * rings * np.sin(around)], 1)
    return np.repeat(grey[..., None], 3, axis=2), points


def frames_of(clip: Filmed) -> Iterator[HeadFrame]:
    """Yield the frames of a clip, and its face points as they are found."""
    tremble = np.random.default_rng([clip.talk, clip.n_frames, round(clip.start_s * 100)])
    scale = 1 / (1 - 2 * clip.cropped_share)
    cut = round(SIZE_PX * clip.cropped_share)
    for number in range(clip.n_frames):
        image, points = picture(clip.talk, clip.start_s + number / clip.fps)
        points = (points - cut) * scale + tremble.normal(0, _TREMBLE_PX, (68, 2))
        image = image[cut : SIZE_PX - cut, cut : SIZE_PX - cut]
        if clip.is_mirrored:
            image, points = image[:, ::-1], points * [-1, 1] + [SIZE_PX - 1, 0]
        whole = cv2.resize(image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_LINEAR)
        yield np.ascontiguousarray(whole, dtype=np.uint8), points if clip.with_face else None


def write_clip_of_head(
    folder: Path,
    clip_id: str,
    frames: Iterable[HeadFrame],
    *,
    fps: int,
    identity: str,
    encoding: Encoding = CLIP,
) -> Clip:
    """Write the three files of a clip from pictures of one size, and return its row."""
    video, keypoints, poses = clip_files(folder, clip_id)
    shown = list(frames)
    height_px, width_px = shown[0][0].shape[:2]
    found = np.full((len(shown), NUM_KEYPOINTS, 2), np.nan, np.float32)
    rate = Fraction(fps)
    with (
        VideoWriter(
            video, width_px=width_px, height_px=height_px, fps=rate, encoding=encoding
        ) as clip,
        VideoWriter(poses, width_px=16, height_px=16, fps=rate, encoding=POSE) as pose,
    ):
        for number, (image, points) in enumerate(shown):
            clip.write(image)
            pose.write(np.zeros((16, 16, 3), np.uint8))
            if points is not None:
                found[number, FACE] = points
    save_pose(
        keypoints,
        WholeBodyPose(
            keypoints=found,
            scores=np.isfinite(found[..., 0]).astype(np.float32),
            width_px=width_px,
            height_px=height_px,
            source="mediapipe",
            model_digest="0" * 64,
        ),
    )
    row = kept_row(folder, clip_id, n_frames=len(shown), identity=identity)
    return replace(row, fps_num=fps)


def write_filmed(folder: Path, clip: Filmed) -> Clip:
    """Write the three files of a clip, and return its row."""
    return write_clip_of_head(
        folder,
        clip.clip_id,
        frames_of(clip),
        fps=clip.fps,
        identity=clip.identity,
        encoding=PREVIEW if clip.is_reencoded else CLIP,
    )


def finish(
    folder: Path, rows: Sequence[Clip], sides: Mapping[str, SplitName] | None = None
) -> Dataset:
    """Finish a dataset of rows, split as told: clip id -> side."""
    finalise(folder, rows, name="Heads", config={}, models={}, measurements=())
    if sides is not None:
        listed = folder / "sides.csv"
        lines = ["clip_id,side", *(f"{clip_id},{side}" for clip_id, side in sides.items())]
        listed.write_text("".join(f"{line}\n" for line in lines))
        make_split(folder, SplitRequest(lists=(listed,)))
        listed.unlink()
    return Dataset.open(folder)


def write_heads(folder: Path, clips: Sequence[Filmed], *, is_split: bool = True) -> Dataset:
    """Write a dataset of clips, split by their sides."""
    folder.mkdir(parents=True)
    rows = [write_filmed(folder, clip) for clip in clips]
    return finish(folder, rows, {clip.clip_id: clip.side for clip in clips} if is_split else None)
