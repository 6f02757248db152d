"""A folder of videos made elsewhere, taken for a model.

    FOLDER/**/<clip_id>.mp4          or .mkv, .mov, .avi, .webm, ...
    FOLDER/**/<clip_id>/<number>.png one picture a frame, in order of the last number in the name

Frames must be as many as the driving poses and, unless `resize` says otherwise, of the same size:
a method that drops or adds frames has to be lined up by whoever ran it, as only they know how.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from tpbench.baselines.base import ClipFailure, GeneratedFrame
from tpbench.baselines.options import Options, parse_options
from tpbench.errors import ConfigError, MediaError
from tpbench.files import sha256_of
from tpbench.video import probe, read_frames

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tpbench.baselines.base import AnimationTask, JsonValue
    from tpbench.baselines.model_row import OptionValue

VIDEO_SUFFIXES: Final = frozenset(
    {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts"}
)
"""Files with these endings are looked at, upper case or lower."""

_NUMBER: Final = re.compile(r"(\d+)\D*$")


class PrecomputedOptions(Options):
    """Where the videos are, and what may be done to them."""

    folder: Path
    """Holds them, in sub-folders or not."""

    resize: Literal["fail", "area"] = "fail"
    """What to do with frames of the right shape but another size: refuse them, or resample them
    (`INTER_AREA`)."""


class Precomputed:
    """Reads the frames of each clip from files that bear its id."""

    max_clips = 1

    def __init__(
        self, options: Mapping[str, OptionValue], *, weights_dir: Path | None, device: str
    ) -> None:
        self._options = parse_options("precomputed", PrecomputedOptions, options)
        self._found = _find_all(self._options.folder)
        self._digest: str | None = None

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        """Yield the frames found for each task; what does not fit it fails the clip."""
        for task in tasks:
            try:
                with closing(self._images(task)) as images:
                    for index, image in enumerate(images):
                        yield GeneratedFrame(clip_id=task.clip_id, index=index, image=image)
            except MediaError as error:
                yield ClipFailure(clip_id=task.clip_id, reason=str(error))

    def describe(self) -> dict[str, JsonValue]:
        """Return the options and a digest of all that was found, for which every byte is read.

        So a run that goes on after a file was replaced is seen to be another one. Where the folder
        lies, and how it is laid out, does not count.

        Raises:
            MediaError: a file can't be read.
        """
        if self._digest is None:
            self._digest = _digest(self._found)
        return {
            "folder": self._options.folder.resolve().name,
            "resize": self._options.resize,
            "n_clips": len(self._found),
            "files_sha256": self._digest,
        }

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def _images(self, task: AnimationTask) -> Generator[NDArray[np.uint8]]:
        path = self._path_of(task.clip_id)
        pictures = _ordered(path) if path.is_dir() else None
        if pictures is None:
            info = probe(path)
            n_frames = info.frame_count
            images = (frame.image for frame in read_frames(path, info=info))
        else:
            n_frames = len(pictures)
            images = (_read_png(self._inside(picture)) for picture in pictures)
        if n_frames != task.n_frames:
            raise MediaError(path, f"has {n_frames} frames, the task wants {task.n_frames}")
        for index, image in enumerate(images):
            yield self._fitted(image, task, path if pictures is None else pictures[index])

    def _path_of(self, clip_id: str) -> Path:
        folder = self._options.folder
        paths = self._found.get(clip_id, [])
        if not paths:
            wanted = f"{clip_id}.mp4 (or another container) or folder {clip_id} with PNG frames"
            raise MediaError(folder, f"holds no {wanted}")
        if len(paths) > 1:
            names = " and ".join(str(path.relative_to(folder)) for path in paths)
            raise MediaError(folder, f"holds more than one video of this clip: {names}")
        return self._inside(paths[0])

    def _inside(self, path: Path) -> Path:
        """Refuse links to files elsewhere: the real clips might be there."""
        if not path.resolve().is_relative_to(self._options.folder.resolve()):
            raise MediaError(path, "is a link that leads out of the folder; put a copy there")
        return path

    def _fitted(
        self, image: NDArray[np.uint8], task: AnimationTask, path: Path
    ) -> NDArray[np.uint8]:
        height_px, width_px = image.shape[:2]
        if (width_px, height_px) == (task.width_px, task.height_px):
            return image
        sizes = f"{width_px}x{height_px} px, the task wants {task.width_px}x{task.height_px} px"
        if abs(width_px * task.height_px / task.width_px - height_px) > 1:
            raise MediaError(path, f"has frames of another shape: {sizes}")
        if self._options.resize == "fail":
            raise MediaError(path, f"has frames of {sizes}; with resize=area they are resampled")
        import cv2

        size = (task.width_px, task.height_px)
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _find_all(folder: Path) -> dict[str, list[Path]]:
    """Return every video and every folder of PNGs below `folder`, by its name without ending.

    Names that begin with a dot are left out: half-written files and what file managers leave.

    Raises:
        ConfigError: there is no such folder, or it can't be listed.
    """
    if not folder.is_dir():
        msg = f"precomputed: folder={folder} is no folder"
        raise ConfigError(msg)
    found: dict[str, list[Path]] = {}

    def refuse(error: OSError) -> None:
        msg = f"precomputed: {error.filename} can't be listed ({error.strerror})"
        raise ConfigError(msg) from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = [Path(parent, name) for name in sorted(files) if not name.startswith(".")]
        if Path(parent) != folder and any(path.suffix.lower() == ".png" for path in visible):
            found.setdefault(Path(parent).name, []).append(Path(parent))
        for path in visible:
            if path.suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(path.stem, []).append(path)
    return found


def _ordered(folder: Path) -> list[Path]:
    """Return the PNGs of a folder by the last number in their names.

    Raises:
        MediaError: a name has no number, a number comes twice, or one is missing.
    """
    numbered: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != ".png" or path.name.startswith("."):
            continue
        match = _NUMBER.search(path.stem)
        if match is None:
            raise MediaError(path, "its name has no number that says which frame it is")
        number = int(match.group(1))
        if number in numbered:
            reason = f"frame {number} is there twice: {numbered[number].name} and {path.name}"
            raise MediaError(folder, reason)
        numbered[number] = path
    if not numbered:
        raise MediaError(folder, "holds no PNG frames any more")
    numbers = sorted(numbered)
    for number, place in zip(numbers, range(numbers[0], numbers[-1] + 1), strict=False):
        if number != place:
            reason = f"frame {place} is missing (numbers {numbers[0]} to {numbers[-1]})"
            raise MediaError(folder, reason)
    return [numbered[number] for number in numbers]


def _read_png(path: Path) -> NDArray[np.uint8]:
    """Return a picture as (H, W, 3) uint8 RGB; deeper ones are cut to 8 bits, alpha is ignored."""
    import cv2

    try:
        stored = np.fromfile(path, np.uint8)
    except OSError as error:
        raise MediaError(path, f"can't be read ({error.strerror})") from error
    image = cv2.imdecode(stored, cv2.IMREAD_COLOR_RGB) if stored.size else None
    if image is None:
        raise MediaError(path, "is no PNG that can be read: it was cut off or is damaged")
    return np.asarray(image, np.uint8)


def _digest(found: Mapping[str, list[Path]]) -> str:
    """Return a sha256 over clip ids and the bytes of their files."""
    total = hashlib.sha256()
    for clip_id in sorted(found):
        contents = []
        for path in found[clip_id]:
            files = sorted(path.glob("[!.]*.[pP][nN][gG]")) if path.is_dir() else [path]
            for file in files:
                try:
                    contents.append(f"{file.stem} {sha256_of(file)}")
                except OSError as error:
                    raise MediaError(file, f"can't be read ({error.strerror})") from error
        total.update("\n".join([clip_id, *contents, ""]).encode())
    return total.hexdigest()
