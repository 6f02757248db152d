"""Short films of busy moving pictures, datasets made of them without a detector, and copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.dataset import Clip, Dataset, Measurement, finalise, split_dataset
from tpbench.extraction.shots import Span
from tpbench.extraction.writing import CropBox, write_clip
from tpbench.files import sha256_of
from tpbench.video import Encoding, VideoInfo, VideoWriter, probe, read_frames
from tpbench.wholebody import NUM_KEYPOINTS, WholeBodyPose

N_FRAMES = 80
FPS = Fraction(25)
SIZE_PX = (320, 240)
CLIP_PX = 128
SPANS = ((5, 37), (42, 75))
"""Of the two clips of each film."""
CROP = CropBox(x0_px=60, y0_px=20, side_px=200)
MEASUREMENT = Measurement(
    name="face_height_px",
    title="Face height",
    unit="px",
    direction="at_least",
    code="face.too_small",
)


def encoding(crf: int, *, container: str = "mp4") -> Encoding:
    """H.264 of this quality."""
    options = MappingProxyType({"crf": str(crf), "g": "24", "preset": "veryfast"})
    return Encoding(
        name=f"crf{crf}",
        codec="libx264",
        pixel_format="yuv420p",
        container=container,
        options=options,
    )


def _texture(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.float32]:
    picture = np.full((height_px, width_px, 3), 128, np.float32)
    for cells in (3, 6, 12, 24):
        coarse = rng.normal(size=(cells, cells, 3)).astype(np.float32)
        size = (width_px, height_px)
        picture += 70 / np.sqrt(cells) * cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return picture


@cache
def film(seed: int) -> tuple[NDArray[np.uint8], ...]:
    """A patch that swings over a still background: 80 pictures, (240, 320, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    background, patch = _texture(rng, *SIZE_PX), _texture(rng, 110, 120)
    speed = rng.uniform(0.05, 0.12, 2)
    images = []
    for number in range(N_FRAMES):
        image = background.copy()
        x = round(110 + 60 * np.sin(speed[0] * number))
        y = round(60 + 50 * np.sin(speed[1] * number + seed))
        image[y : y + 120, x : x + 110] = patch
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return tuple(images)


def combed(seed: int) -> Iterator[NDArray[np.uint8]]:
    """A film of which each picture shows two moments, line by line, as interlaced ones do."""
    images = film(seed)
    for number, image in enumerate(images):
        both = image.copy()
        both[1::2] = images[min(number + 1, N_FRAMES - 1)][1::2]
        yield both


def write_film(
    path: Path, seed: int, *, crf: int = 12, images: Iterable[NDArray[np.uint8]] | None = None
) -> Path:
    """Write a film, or other pictures of its size, at 25 fps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(
        path, width_px=SIZE_PX[0], height_px=SIZE_PX[1], fps=FPS, encoding=encoding(crf)
    ) as writer:
        for image in film(seed) if images is None else images:
            writer.write(image)
    return path


def encode_again(
    source: Path,
    target: Path,
    *,
    crf: int = 30,
    size_px: tuple[int, int] = SIZE_PX,
    fps: Fraction | None = None,
    first: int = 0,
    container: str = "mp4",
) -> Path:
    """Write a video again as a host might.

    Args:
        source: the video.
        target: the copy.
        crf: its quality.
        size_px: its width and height.
        fps: its rate, where it has another; the picture nearest in time is shown.
        first: frames that are missing at its beginning.
        container: libav's name.
    """
    images = [frame.image for frame in read_frames(source)][first:]
    rate = probe(source).fps
    target.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(
        target,
        width_px=size_px[0],
        height_px=size_px[1],
        fps=fps or rate,
        encoding=encoding(crf, container=container),
        frame_size_px=(images[0].shape[1], images[0].shape[0]),
    ) as writer:
        faster = (fps or rate) / rate
        for number in range(int(len(images) * faster)):
            writer.write(images[min(len(images) - 1, round(number / faster))])
    return target


def _pose(n_frames: int, seed: int, size_px: tuple[int, int]) -> WholeBodyPose:
    rng = np.random.default_rng(seed)
    still = rng.uniform(70, 200, (1, NUM_KEYPOINTS, 2))
    drift = np.linspace(0, 20, n_frames)[:, None, None]
    return WholeBodyPose(
        keypoints=(still + drift).astype(np.float32),
        scores=np.ones((n_frames, NUM_KEYPOINTS), np.float32),
        width_px=size_px[0],
        height_px=size_px[1],
        source="mediapipe",
        model_digest="0" * 64,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filmed:
    """A folder of films, and the dataset made of them."""

    raw: Path
    dataset: Dataset


def write_filmed(folder: Path, names: Sequence[str] = ("a", "b", "c")) -> Filmed:
    """Write a film for each name, and a split dataset with two clips of each."""
    raw = folder / "raw"
    films = [write_film(raw / f"{name}.mp4", seed) for seed, name in enumerate(names)]
    return Filmed(raw=raw, dataset=dataset_of(films, folder / "dataset"))


def dataset_of(
    films: Sequence[Path],
    out: Path,
    *,
    spans: Sequence[tuple[int, int]] = SPANS,
    crop: CropBox = CROP,
    size_px: int = CLIP_PX,
    interlaced: bool = False,
) -> Dataset:
    """Make a split dataset of films.

    Args:
        films: the sources.
        out: its folder.
        spans: first frame and end of each clip, in each film.
        crop: square of all clips.
        size_px: side of the clips.
        interlaced: whether the films are read as if interlaced, which they don't declare.
    """
    out.mkdir(parents=True)
    rows = [
        row
        for seed, source in enumerate(films)
        for info in [replace(probe(source), interlaced=interlaced)]
        for row in _rows(out, source, info, seed, spans=spans, crop=crop, size_px=size_px)
    ]
    finalise(
        out,
        rows,
        name="Films",
        config={"preset": "talkingpose"},
        models={},
        measurements=(MEASUREMENT,),
    )
    split_dataset(out, test_share=0.4, seed=1)
    return Dataset.open(out)


def _rows(
    out: Path,
    source: Path,
    info: VideoInfo,
    seed: int,
    *,
    spans: Sequence[tuple[int, int]],
    crop: CropBox,
    size_px: int,
) -> Iterator[Clip]:
    sha256 = sha256_of(source)
    source_id = f"{source.stem}-{sha256[:8]}"
    for number, (start, end) in enumerate(spans):
        start_ms, end_ms = (round(frame * 1000 / info.fps) for frame in (start, end))
        clip_id = f"{source_id}_{start_ms:08d}_{end_ms:08d}"
        written = write_clip(
            out,
            clip_id,
            source=source,
            info=info,
            span=Span(shot_id=number, start_frame=start, end_frame=end),
            crop=crop,
            pose=_pose(end - start, seed, (info.width_px, info.height_px)),
            size_px=size_px,
        )
        x0, y0, x1, y1 = crop.normalised(info.width_px, info.height_px)
        yield Clip(
            clip_id=clip_id,
            status="kept",
            source_id=source_id,
            source_path=f"raw/{source.name}",
            source_sha256=sha256,
            start_frame=start,
            end_frame=end,
            start_s=float(start / info.fps),
            end_s=float(end / info.fps),
            start_pts=start,
            time_base=str(info.time_base),
            fps_num=info.fps.numerator,
            fps_den=info.fps.denominator,
            n_frames=end - start,
            source_width_px=info.width_px,
            source_height_px=info.height_px,
            crop_x0=x0,
            crop_y0=y0,
            crop_x1=x1,
            crop_y1=y1,
            out_size_px=size_px,
            identity=source_id,
            clip_sha256=written.clip_sha256,
            keypoints_sha256=written.keypoints_sha256,
            pose_sha256=written.pose_sha256,
            measurements={"face_height_px": 90.0},
            thresholds={"face_height_px": 80.0},
        )
    yield Clip(
        clip_id=f"{source_id}_rejected",
        status="rejected",
        reject_codes=("face.too_small",),
        source_id=source_id,
        source_path=f"raw/{source.name}",
        source_sha256=sha256,
        measurements={"face_height_px": 20.0},
        thresholds={"face_height_px": 80.0},
    )
