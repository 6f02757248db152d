"""A folder of videos generated elsewhere, used as a model.

    FOLDER/**/<clip_id>.mp4           or .mkv, .mov, .avi, .webm, ...
    FOLDER/**/<clip_id>/<number>.png  or .jpg, .bmp, ...: one image per frame, in order of the last
                                      number in the name, and no video in the folder

The number of frames must equal that of the driving poses and, unless `resize` allows otherwise, the
size too. If a method drops or adds frames, align its output before it is used here.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.base import (
    AnimationTask,
    ClipByClip,
    Images,
    JsonValue,
    Options,
    OptionValue,
    parse_options,
)
from tpbench.errors import ConfigError, MediaError
from tpbench.files import UnfitFileError, missing_folder, sha256_of
from tpbench.video import (
    VIDEO_SUFFIXES,
    Footage,
    is_frame_folder,
    open_footage,
    passed_over,
    pictures_in,
)


class PrecomputedOptions(Options):
    """The folder of the videos, and whether they may be resized."""

    folder: Path
    """Contains the videos, directly or in sub-folders."""
    resize: Literal["fail", "area"] = "fail"
    """Frames of the same aspect ratio but another size: fail, or resample (`INTER_AREA`)."""


class Precomputed(ClipByClip):
    """Reads the frames of each clip from files named by its id; a clip that does not fit fails."""

    def __init__(
        self, options: Mapping[str, OptionValue], *, weights_dir: Path | None, device: str
    ) -> None:
        self._options = parse_options("precomputed", PrecomputedOptions, options)
        self._found = _find_all(self._options.folder)

    def describe(self) -> dict[str, JsonValue]:
        """Return the options and a digest of all files found, which are read completely.

        So a run whose files were replaced is not resumed as the same run. The location of the
        folder and its layout do not matter.

        Raises:
            MediaError: a file can't be read.
        """
        return {
            "folder": self._options.folder.resolve().name,
            "resize": self._options.resize,
            "n_clips": len(self._found),
            "files_sha256": self._digest,
        }

    @cached_property
    def _digest(self) -> str:
        """The sha256 of the clip ids and the contents of their files."""
        total = hashlib.sha256()
        for clip_id in sorted(self._found):
            contents = []
            for file in (file for path in self._found[clip_id] for file in _files_of(path)):
                try:
                    contents.append(f"{file.stem} {sha256_of(file)}")
                except UnfitFileError as error:  # only its own clip will fail
                    contents.append(f"{file.stem} {error.strerror}")
                except OSError as error:
                    raise MediaError(file, f"can't be read ({error.strerror})") from error
            total.update("\n".join([clip_id, *contents, ""]).encode())
        return total.hexdigest()

    def images(self, task: AnimationTask) -> Images:
        """Yield the frames found for a task.

        Raises:
            MediaError: there are no frames, or they do not fit the task.
        """
        footage = open_footage(self._path_of(task.clip_id))
        if footage.n_frames != task.n_frames and footage.on_timeline().n_frames == task.n_frames:
            footage = footage.on_timeline()
        self._check_fit(footage, task)
        for image in footage.images():
            yield _resized(image, task)

    def _path_of(self, clip_id: str) -> Path:
        folder = self._options.folder
        paths = self._found.get(_name(clip_id), [])
        if not paths:
            frames = f"folder {clip_id} with pictures and no video"
            reason = f"holds no {clip_id}.mp4 (or another container) or {frames}"
            # Searched only on failure, to save time otherwise.
            clips = [path for found in self._found.values() for path in found]
            hints = passed_over(folder, clips).hints([clip_id], by_own_name=True)
            reason += "".join(f"; {hint}" for hint in hints.values())
            raise MediaError(folder, reason)
        if len(paths) > 1:
            names = " and ".join(str(path.relative_to(folder)) for path in paths)
            raise MediaError(folder, f"holds more than one video of this clip: {names}")
        for file in _files_of(paths[0]):  # a link out of the folder might lead to the real clips
            if not file.resolve().is_relative_to(folder.resolve()):
                raise MediaError(file, "is a link that leads out of the folder; put a copy there")
        return paths[0]

    def _check_fit(self, footage: Footage, task: AnimationTask) -> None:
        path, width_px, height_px = footage.path, footage.width_px, footage.height_px
        if footage.n_frames != task.n_frames:
            reason = f"has {footage.n_frames} frames, the task wants {task.n_frames}"
            raise MediaError(path, reason)
        if (width_px, height_px) == (task.width_px, task.height_px):
            return
        sizes = f"{width_px}x{height_px} px, the task wants {task.width_px}x{task.height_px} px"
        if abs(width_px * task.height_px / task.width_px - height_px) > 1:
            raise MediaError(path, f"has frames of another shape: {sizes}")
        if self._options.resize == "fail":
            raise MediaError(path, f"has frames of {sizes}; with resize=area they are resampled")


def _resized(image: NDArray[np.uint8], task: AnimationTask) -> NDArray[np.uint8]:
    size_px = (task.width_px, task.height_px)
    if (image.shape[1], image.shape[0]) == size_px:
        return image
    import cv2

    return np.asarray(cv2.resize(image, size_px, interpolation=cv2.INTER_AREA), np.uint8)


def _find_all(folder: Path) -> dict[str, list[Path]]:
    """Return all videos and frame folders below `folder`, by their names without suffix.

    Names that begin with a dot are skipped: unfinished files and those of file managers.

    Raises:
        ConfigError: there is no such folder, it is empty, or it can't be listed.
    """
    if not folder.is_dir():
        raise ConfigError(f"precomputed: {folder}: {missing_folder(folder)}")
    found: dict[str, list[Path]] = {}

    def refuse(error: OSError) -> None:
        raise ConfigError(
            f"precomputed: {error.filename} can't be listed ({error.strerror})"
        ) from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if Path(parent) != folder and is_frame_folder(Path(parent)):
            found.setdefault(_name(Path(parent).name), []).append(Path(parent))
        for path in (Path(parent, name) for name in sorted(files) if not name.startswith(".")):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(_name(path.stem), []).append(path)
    if not found and not any(folder.iterdir()):
        raise ConfigError(f"precomputed: {folder}: is empty; name the folder of the videos")
    return found


def _name(name: str) -> str:
    """Return a name in composed Unicode (NFC), because file systems differ in the form."""
    return unicodedata.normalize("NFC", name)


def _files_of(path: Path) -> tuple[Path, ...]:
    """Return the images of a frame folder, or the video itself."""
    return pictures_in(path) if path.is_dir() else (path,)
