"""Files that lie among videos and are none: a clip may be in them all the same."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tpbench.video.pictures import PICTURE_SUFFIXES
from tpbench.video.source import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

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
_OTHER: Final = "it is no ending of a video or picture that is read"
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
        """Return for missing clips which of the files may be theirs, and what to do.

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
    """Find the files below a folder that are of no clip; hidden ones don't count.

    Links to folders are not followed here: what is behind them is found as clips are, but not
    counted.

    Args:
        root: where clips were looked for.
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
