"""Footage: a video or a folder of numbered pictures, and the files of a folder that are skipped."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.errors import MediaError
from tpbench.files import UnfitFileError, sha256_of
from tpbench.video.pictures import PICTURE_SUFFIXES, codec_of, read_picture
from tpbench.video.probe import probe
from tpbench.video.read import read_frames, read_pictures
from tpbench.video.source import VIDEO_SUFFIXES, VideoInfo

_READING: Final = b"pictures, rounded to 8 bits\n"
"""How pictures become frames is part of their digest, so a change invalidates earlier results."""
_NUMBER: Final = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """Frames on disk: their number, size and rate."""

    path: Path
    width_px: int
    height_px: int
    n_frames: int
    """Pictures in it, or frames of its timeline after `on_timeline`."""
    fps: Fraction | None
    """Exact rate; None for pictures in a folder, which have none."""
    codec: str
    """Such as `h264`. For a folder, `pictures` if all are lossless, else `jpeg`, `webp lossy`, or
    the formats of a mixture: `jpeg+png`."""
    first_number: int | None = None
    """Number of the first picture of a folder; None for a video."""
    _info: VideoInfo | None
    _pictures: tuple[Path, ...]
    is_even: bool = True
    """Whether frame i is picture i, on the timeline as well."""
    notes: tuple[str, ...] = ()
    """Irregularities of its time stamps and sizes."""
    shown_as: tuple[str, ...] = ()
    """Properties of its pictures that are converted for display (HDR, interlaced)."""
    by_picture: bool = False
    """Whether each picture is read once, whatever its stamp; otherwise frames of the timeline."""

    def on_timeline(self) -> Footage:
        """Return this, read on its constant-rate timeline.

        There a variable rate repeats and drops pictures; nothing else changes.
        """
        if self._info is None:
            return self
        return replace(self, n_frames=self._info.frame_count, by_picture=False)

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """Yield every frame in order, (height_px, width_px, 3) uint8 RGB, each a new array.

        Raises:
            MediaError: a frame can't be read, or a picture is transparent or has another size than
                the first.
        """
        if self._info is not None:
            read = read_pictures if self.by_picture else read_frames
            for frame in read(self.path, info=self._info):
                yield frame.image
            return
        for path in self._pictures:
            image = read_picture(path)
            if image.shape[:2] != (self.height_px, self.width_px):
                found = f"{image.shape[1]}x{image.shape[0]} px"
                reason = f"is {found}, the first picture {self.width_px}x{self.height_px} px"
                raise MediaError(path, reason)
            yield image


def open_footage(path: Path) -> Footage:
    """Probe a video or a folder of pictures.

    Pictures are ordered by the last number in their names; numbers must be unique and without gaps,
    because a lost frame would shift all that follow.

    Raises:
        MediaError: it can't be read, is empty, or its pictures are not numbered consecutively.
    """
    if not path.is_dir():
        info = probe(path)
        return Footage(
            path=path,
            width_px=info.width_px,
            height_px=info.height_px,
            n_frames=info.picture_count,
            fps=info.fps,
            codec=info.codec,
            is_even=info.is_even,
            notes=info.notes,
            shown_as=info.shown_as,
            _info=info,
            _pictures=(),
            by_picture=not info.is_even,
        )
    numbered = _ordered_pictures(path)
    pictures = tuple(numbered.values())
    codec = codec_of(pictures)  # checks all headers, so nothing too large is decoded
    height_px, width_px = read_picture(pictures[0]).shape[:2]
    return Footage(
        path=path,
        width_px=width_px,
        height_px=height_px,
        n_frames=len(pictures),
        fps=None,
        codec=codec,
        first_number=next(iter(numbered)),
        _info=None,
        _pictures=pictures,
    )


def content_sha256(path: Path) -> str:
    """Return a sha256 of a video's bytes, or of the bytes of all pictures in a folder in order.

    Raises:
        MediaError: it can't be read, or its pictures are not numbered consecutively.
    """
    try:
        if not path.is_dir():
            return sha256_of(path)
        digest = hashlib.sha256(_READING)
        for picture in _ordered_pictures(path).values():
            digest.update(f"{sha256_of(picture)}\n".encode())
        return digest.hexdigest()
    except UnfitFileError as error:
        raise MediaError(str(error.filename), str(error.strerror)) from error
    except OSError as error:
        raise MediaError(path, error.strerror or str(error)) from error


def first_number_in(path: Path) -> int | None:
    """Return the number of the first picture of a folder; None for a video.

    Raises:
        MediaError: as `content_sha256`.
    """
    return next(iter(_ordered_pictures(path))) if path.is_dir() else None


def is_frame_folder(path: Path) -> bool:
    """Whether a folder directly holds pictures and no video.

    Pictures beside a video are posters or previews of it. Hidden files don't count.

    Raises:
        MediaError: it can't be listed.
    """
    children = _visible(path)
    return any(_is_picture(child) for child in children) and not any(
        child.suffix.lower() in VIDEO_SUFFIXES and child.is_file() for child in children
    )


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """Return the pictures that are directly in a folder, sorted by name, numbered or not.

    Raises:
        MediaError: it can't be listed.
    """
    return tuple(path for path in _visible(folder) if _is_picture(path))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise MediaError(folder, error.strerror or str(error)) from error


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def _ordered_pictures(folder: Path) -> dict[int, Path]:
    """Return the pictures by their numbers, in order."""
    found: dict[int, Path] = {}
    for path in pictures_in(folder):
        match = _NUMBER.search(path.stem)
        if match is None:
            raise MediaError(path, "its name has no number that gives its place among the frames")
        number = int(match.group(1))
        if number in found:
            reason = f"two pictures are number {number}: {found[number].name} and {path.name}"
            raise MediaError(folder, reason)
        found[number] = path
    if not found:
        raise MediaError(folder, "holds no pictures")
    numbers = sorted(found)
    for before, after in pairwise(numbers):
        if after != before + 1:
            raise MediaError(folder, f"picture {before + 1} is missing: {before} is before {after}")
    return {number: found[number] for number in numbers}


_REMEDIES: Final[Mapping[str, str]] = {
    ".gif": "convert it: `ffmpeg -i IN.gif -c:v ffv1 OUT.mkv` (a GIF has 256 colours a frame)",
    ".apng": "convert it: `ffmpeg -i IN.apng -c:v ffv1 OUT.mkv`",
    ".npy": "write its frames as numbered PNG, or as a video",
    ".npz": "write its frames as numbered PNG, or as a video",
    ".pt": "write its frames as numbered PNG, or as a video",
    ".h264": "put it into a container: `ffmpeg -i IN -c copy OUT.mkv`",
    ".h265": "put it into a container: `ffmpeg -i IN -c copy OUT.mkv`",
    ".y4m": "convert it: `ffmpeg -i IN.y4m -c:v ffv1 OUT.mkv`",
    ".zip": "unpack it",
    ".tar": "unpack it",
    ".gz": "unpack it",
    ".exr": "write 8 or 16 bits a channel: PNG",
    ".avif": "convert it to PNG",
    ".heic": "convert it to PNG",
    ".jp2": "convert it to PNG",
    ".part": "the download or copy did not finish",
    ".tmp": "the download or copy did not finish",
}
_OTHER: Final = "its ending is not that of a supported video or picture"
_LISTED_KINDS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """Files below a folder that are neither videos nor pictures of a clip."""

    files: tuple[str, ...]
    """Relative to the folder, sorted."""

    def note(self, side: str) -> str | None:
        """Return one line on them, by ending; None where there are none."""
        if not self.files:
            return None
        counts = Counter(_ending(file) for file in self.files)
        first = {_ending(file): file for file in reversed(self.files)}
        kinds = [
            f"{counts[ending]:,} {ending or 'without an ending'} ('{first[ending]}')"
            for ending in sorted(counts, key=lambda ending: (-counts[ending], ending))
        ]
        more = f", {len(kinds) - _LISTED_KINDS} more kinds" if len(kinds) > _LISTED_KINDS else ""
        listed = ", ".join(kinds[:_LISTED_KINDS])
        return f"not read on the {side} side: {listed}{more}: no videos or pictures by their ending"

    def hints(self, missing: Collection[str], *, by_own_name: bool) -> dict[str, str]:
        """Return, for each missing clip, a hint on a file that may belong to it and what to do.

        Args:
            missing: names of clips.
            by_own_name: whether clips are named by the last part of their path only.
        """
        named: dict[str, str] = {}
        for file in reversed(self.files):
            folder, _, name = file.rpartition("/")
            stem = name[: len(name) - len(_ending(name))]
            for clip in (f"{folder}/{stem}" if folder else stem, folder):
                named[clip.rpartition("/")[2] if by_own_name else clip] = file
        return {
            clip: f"'{named[clip]}' is not read: {_REMEDIES.get(_ending(named[clip]), _OTHER)}"
            for clip in missing
            if clip in named
        }


def passed_over(root: Path, clips: Iterable[Path]) -> PassedOver:
    """Find the files below a folder that belong to no clip; hidden ones don't count.

    Links to folders are not followed here: clips behind them are found, other files not counted.

    Args:
        root: the folder that was searched for clips.
        clips: the videos and folders of pictures that were found.
    """
    folders = {path for path in clips if path.is_dir()}
    files: list[str] = []
    for parent, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        here = root.__class__(parent)
        for name in names:
            suffix = _ending(name)
            of_clip = suffix in PICTURE_SUFFIXES and here in folders
            if name.startswith(".") or suffix in VIDEO_SUFFIXES or of_clip:
                continue
            files.append((here / name).relative_to(root).as_posix())
    return PassedOver(files=tuple(sorted(map(_as_text, files))))


def _as_text(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def _ending(name: str) -> str:
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""
