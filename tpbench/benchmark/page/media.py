"""The videos of the page: copies whose sha256 was checked."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from tpbench.benchmark.leaderboard.board import ClipInfo, Leaderboard, Row
from tpbench.benchmark.run_folder import RunFolder, file_stem
from tpbench.benchmark.site import Site, copied
from tpbench.dataset import Clip, Dataset
from tpbench.errors import ConfigError, TPBenchError
from tpbench.video import probe, read_frames

logger = logging.getLogger(__name__)
MEDIA_NAME: Final = "media"
_JPEG_QUALITY: Final = 92
_THUMB_SIDE_PX: Final = 160
_THUMB_QUALITY: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMedia:
    """URLs relative to the page, percent-encoded; None or absent: there is no such file."""

    fps: float | None
    reference: str | None = None
    pose: str | None = None
    real: str | None = None
    generated: Mapping[str, str] = field(default_factory=dict)
    """By model."""
    thumb: str | None = None
    """Small picture from the middle of the real clip."""
    thumbs: Mapping[str, str] = field(default_factory=dict)
    """By model: the same of its video."""


def place_media(leaderboard: Leaderboard, site: Site) -> dict[str, ClipMedia]:
    """Copy the videos of all clips into `media` of a site and return their URLs.

    Only files that have the recorded sha256 (from the manifest for clips and poses of the dataset,
    from the run's record for generated clips), lie inside the dataset or the run, and can be
    decoded are copied. Without a dataset there are no real clips and no poses.
    """
    dataset = _dataset(leaderboard)
    rows = {} if dataset is None else {clip.clip_id: clip for clip in dataset.clips()}
    names = _folder_names([row.id for row in leaderboard.rows])
    placed: dict[str, ClipMedia] = {}
    for clip in leaderboard.clips:
        stem, middle = file_stem(clip.id), clip.n_frames // 2
        if dataset is None:
            targets = _from_scored(leaderboard, clip, site)
        else:
            targets = _from_dataset(dataset, rows, clip, site)
        generated = {
            row.id: target
            for row in leaderboard.rows
            if (target := _preview(row, clip.id, f"{names[row.id]}/{stem}.mp4", site))
        }
        thumbs = {
            model: _thumb(path, f"generated/{names[model]}/{stem}", middle, site)
            for model, path in generated.items()
        }
        real = targets.get("real")
        videos = [*([real] if real else []), *generated.values()]
        addresses = {part: _address(path, site) for part, path in targets.items()}
        placed[clip.id] = ClipMedia(
            fps=next((rate for path in videos if (rate := _fps(path))), None),
            reference=addresses.get("reference"),
            pose=addresses.get("pose"),
            real=addresses.get("real"),
            generated={model: _address(path, site) for model, path in generated.items()},
            thumb=_thumb(real, f"real/{stem}", middle, site) if real else None,
            thumbs={model: thumb for model, thumb in thumbs.items() if thumb},
        )
    return placed


def _dataset(leaderboard: Leaderboard) -> Dataset | None:
    """Open the dataset that the user gave; the folder recorded in a run is never used.

    Raises:
        ConfigError: it is not the dataset of the runs.
        DatasetError: it can't be read.
    """
    if (folder := leaderboard.data) is None:
        return None
    dataset = Dataset.open(folder)
    if dataset.digest != leaderboard.dataset.digest:
        raise ConfigError(
            f"{folder}: not the dataset of the runs (digest {dataset.digest[:12]}, want "
            f"{leaderboard.dataset.digest[:12]}); give the right one by --data, or leave --data out"
        )
    return dataset


def _preview(row: Row, clip_id: str, name: str, site: Site) -> Path | None:
    """Copy the preview of the first seed that has one."""
    for run in row.runs:
        if sha256 := run.previews.get(clip_id):
            source = RunFolder(path=run.folder).preview(clip_id)
            if target := _copy(f"generated/{name}", source, run.folder, sha256, site):
                return target
    return None


def _copy(name: str, source: Path, inside: Path, sha256: str | None, site: Site) -> Path | None:
    name = f"{MEDIA_NAME}/{name}"
    return site.copy(name, source, inside=inside, sha256=sha256 or "", is_good=_is_video)


def _from_dataset(
    dataset: Dataset, rows: Mapping[str, Clip], clip: ClipInfo, site: Site
) -> dict[str, Path]:
    """Copy the videos of a clip, and its reference; return those that were copied."""
    driving, reference = rows.get(clip.driving_clip), rows.get(clip.reference_clip)
    pose = real = first = None
    if driving is not None:
        source = dataset.pose_path(driving)
        pose = _copy(f"pose/{source.name}", source, dataset.folder, driving.pose_sha256, site)
        source = dataset.clip_path(driving)
        real = _copy(f"real/{source.name}", source, dataset.folder, driving.clip_sha256, site)
    if reference is not None:
        first = _reference(dataset, reference, real, site)
    found = {"pose": pose, "real": real, "reference": first}
    return {part: path for part, path in found.items() if path}


def _from_scored(leaderboard: Leaderboard, clip: ClipInfo, site: Site) -> dict[str, Path]:
    """Copy the preview of the real clip, and its first frame, from a folder of `tpbench score`."""
    name, has_reference = file_stem(clip.id), leaderboard.policies.get("first_frame", 0) > 0
    for run in (run for row in leaderboard.rows for run in row.runs):
        if sha256 := run.real_previews.get(clip.id):
            source = RunFolder(path=run.folder).real_preview(clip.id)
            if real := _copy(f"real/{name}.mp4", source, run.folder, sha256, site):
                jpeg = f"{MEDIA_NAME}/reference/{name}.jpg"
                first = _first_frame(real, jpeg, site) if has_reference else None
                return {"real": real, **({"reference": first} if first else {})}
    return {}


def _reference(dataset: Dataset, clip: Clip, real: Path | None, site: Site) -> Path | None:
    """Write the first frame of a clip, decoded from a copy whose sha256 was checked."""
    name = f"{MEDIA_NAME}/reference/{clip.clip_id}.jpg"
    if real is not None and real.stem == clip.clip_id:
        return _first_frame(real, name, site)
    source = dataset.clip_path(clip)
    with TemporaryDirectory(prefix="tpbench-site-") as folder:
        copy = Path(folder) / source.name
        if not copied(source, dataset.folder, copy, clip.clip_sha256 or ""):
            return None
        return _first_frame(copy, name, site)


def _first_frame(video: Path, name: str, site: Site) -> Path | None:
    image = _image_at(video, 0)
    return None if image is None else _write_jpeg(image, name, _JPEG_QUALITY, site)


def _thumb(video: Path, name: str, frame: int, site: Site) -> str | None:
    """Write a small picture of a video and return its URL; None if there is no such frame."""
    image = _image_at(video, frame, max_side_px=_THUMB_SIDE_PX)
    if image is None:
        return None
    path = _write_jpeg(image, f"{MEDIA_NAME}/thumbs/{name}.jpg", _THUMB_QUALITY, site)
    return _address(path, site) if path else None


def _write_jpeg(image: NDArray[np.uint8], name: str, quality: int, site: Site) -> Path | None:
    import cv2

    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    try:
        return site.write_bytes(name, data.tobytes())
    except ConfigError as error:
        logger.warning("no picture: %s", error)
        return None


def _is_video(path: Path) -> bool:
    return _image_at(path, 0) is not None


def _image_at(
    video: Path, frame_at: int, *, max_side_px: int | None = None
) -> NDArray[np.uint8] | None:
    frames = read_frames(
        video, start_frame=frame_at, end_frame=frame_at + 1, max_side_px=max_side_px
    )
    try:
        frame = next(iter(frames), None)
    except (TPBenchError, ValueError) as error:  # ValueError: it has fewer frames
        logger.warning("can't be decoded as a video, left out: %s", error)
        return None
    return None if frame is None else frame.image


def _fps(video: Path) -> float | None:
    try:
        return float(probe(video).fps)
    except TPBenchError as error:
        logger.warning("%s", error)
        return None


def _folder_names(models: list[str]) -> dict[str, str]:
    """Give every model a unique folder name that needs no quotes and can't leave its folder."""
    names: dict[str, str] = {}
    for model in models:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.") or "model"
        name, number = plain, 2
        while name.casefold() in {taken.casefold() for taken in names.values()}:
            name, number = f"{plain}-{number}", number + 1
        names[model] = name
    return names


def _address(path: Path, site: Site) -> str:
    return quote(path.relative_to(site.folder).as_posix())
