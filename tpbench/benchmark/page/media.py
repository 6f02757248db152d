"""The videos beside the page: linked if the file system can, else copied."""

from __future__ import annotations

import logging
import os
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tpbench.dataset import Dataset, clip_path, pose_path
from tpbench.errors import TPBenchError
from tpbench.files import written_aside
from tpbench.video import probe, read_frames

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tpbench.benchmark.leaderboard.model import ClipInfo, Leaderboard

_log = logging.getLogger(__name__)

MEDIA_NAME: Final = "media"
_PARTS: Final = ("reference", "pose", "real", "generated")
_JPEG_QUALITY: Final = 92


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMedia:
    """Addresses relative to the page, percent-encoded; None or absent: there is no such file."""

    fps: float | None
    reference: str | None = None
    pose: str | None = None
    real: str | None = None
    generated: Mapping[str, str] = field(default_factory=dict)
    """By model."""


def place_media(leaderboard: Leaderboard, out: Path) -> dict[str, ClipMedia]:
    """Put the videos of all clips into `out/media` and return where they are.

    Clips and poses are those of the dataset, as they are: H.264 in MP4. A dataset that is gone or
    has another digest by now gives none. Files of an older page that nothing points to any more are
    taken away.
    """
    folder = out / MEDIA_NAME
    dataset = _dataset(leaderboard)
    names = _folder_names([row.id for row in leaderboard.rows])
    placed: dict[str, ClipMedia] = {}
    kept: set[Path] = set()
    for clip in leaderboard.clips:
        targets: dict[str, Path | None] = {"reference": None, "pose": None, "real": None}
        if dataset is not None:
            targets = _from_dataset(dataset, clip, folder)
        generated = {
            row.id: target
            for row in leaderboard.rows
            if (source := _preview(leaderboard, row.id, clip.id)) is not None
            and (target := _link(source, folder / "generated" / names[row.id] / f"{clip.id}.mp4"))
        }
        videos = [targets["real"], *generated.values()]
        kept |= {path for path in (*targets.values(), *generated.values()) if path is not None}
        placed[clip.id] = ClipMedia(
            fps=next((rate for path in videos if path and (rate := _fps(path))), None),
            reference=_address(targets["reference"], out),
            pose=_address(targets["pose"], out),
            real=_address(targets["real"], out),
            generated={
                model: address
                for model, path in generated.items()
                if (address := _address(path, out)) is not None
            },
        )
    _sweep(folder, kept)
    return placed


def _dataset(leaderboard: Leaderboard) -> Dataset | None:
    try:
        dataset = Dataset.open(leaderboard.dataset.folder)
    except TPBenchError as error:
        _log.warning("the page has no real clips: %s", error)
        return None
    if dataset.digest != leaderboard.dataset.digest:
        _log.warning(
            "the page has no real clips: %s is no longer what the runs were made on",
            leaderboard.dataset.folder,
        )
        return None
    return dataset


def _preview(leaderboard: Leaderboard, model: str, clip: str) -> Path | None:
    """Return the video of the first seed that has one."""
    row = next(row for row in leaderboard.rows if row.id == model)
    paths = [run.previews[clip] for run in row.runs if clip in run.previews]
    # A link in a run that somebody sent may point at anything.
    return next((path for path in paths if path.is_file() and not path.is_symlink()), None)


def _from_dataset(dataset: Dataset, clip: ClipInfo, folder: Path) -> dict[str, Path | None]:
    driving, reference = clip.driving_clip, clip.reference_clip
    return {
        "reference": _first_frame(
            clip_path(dataset.folder, reference), folder / "reference" / f"{reference}.jpg"
        ),
        "pose": _link(pose_path(dataset.folder, driving), folder / "pose" / f"{driving}.mp4"),
        "real": _link(clip_path(dataset.folder, driving), folder / "real" / f"{driving}.mp4"),
    }


def _link(source: Path, target: Path) -> Path | None:
    """Make `target` the same file, or a copy of it; None if there is no source."""
    if not source.is_file():
        return None
    with written_aside(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        # Renaming one link onto another of the same file does nothing at all.
        target.unlink(missing_ok=True)
    return target


def _first_frame(video: Path, target: Path) -> Path | None:
    import cv2

    try:
        image = next(iter(read_frames(video, end_frame=1))).image
    except TPBenchError as error:
        _log.warning("no reference picture: %s", error)
        return None
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    with written_aside(target) as temporary:
        temporary.write_bytes(data.tobytes())
    return target


def _fps(video: Path) -> float | None:
    try:
        return float(probe(video).fps)
    except TPBenchError as error:
        _log.warning("%s", error)
        return None


def _folder_names(models: list[str]) -> dict[str, str]:
    """Give every model a folder name of its own that needs no quotes and stays where it is."""
    names: dict[str, str] = {}
    for model in models:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.") or "model"
        name, number = plain, 2
        while name.casefold() in {taken.casefold() for taken in names.values()}:
            name, number = f"{plain}-{number}", number + 1
        names[model] = name
    return names


def _address(path: Path | None, out: Path) -> str | None:
    return None if path is None else quote(path.relative_to(out).as_posix())


def _sweep(folder: Path, kept: set[Path]) -> None:
    """Take away videos and pictures in our own folders that are not kept."""
    for part in _PARTS:
        for path in (folder / part).rglob("*"):
            if path.suffix in {".mp4", ".jpg"} and path not in kept:
                path.unlink()
