"""Clips of an existing set: videos and folders of numbered pictures, poses, and who is who.

Sets such as TED-talks and TikTok come as a folder of videos, or of folders of frames. A clip is
named by its path below that folder, without the ending of a video: `train/abc`.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final, get_args

from tpbench.dataset import SplitName
from tpbench.dataset.tables import Row, read_table_rows
from tpbench.errors import ConfigError, did_you_mean, number_of
from tpbench.extraction.sources import Source
from tpbench.files import lies_in, missing_folder
from tpbench.foreign import printable
from tpbench.video import VIDEO_SUFFIXES, is_frame_folder, pictures_in

logger = logging.getLogger(__name__)

FRAMES_NAMES: Final = ("images", "frames", "rgb")
"""A folder of pictures of such a name, beside others, holds the frames of the folder above: TikTok
has `00001/images`, `00001/masks` and `00001/densepose`."""
_SIDES: Final = get_args(SplitName)
_NAME_COLUMNS: Final = ("clip", "clip_id", "name")
_COLUMNS: Final = ("split", "identity", "fps")
_MAX_FPS: Final = 1000
_RATE: Final = re.compile(r"\d{1,6}(\.\d{1,12})?|\d{1,9}/\d{1,9}", re.ASCII)
_SHOWN: Final = 3
_TIMES: Final = 2**62
"""Sums of times are kept below this, so that they fit into 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingClip:
    """One clip of an existing set."""

    name: str
    """Path below the set's folder, without a video's ending."""
    source: Source
    """The video, or the folder of its frames."""
    poses: Path | None = None
    """File of its keypoints; None where they have to be detected."""
    poses_size_bytes: int = 0
    poses_mtime_ns: int = 0
    fps: Fraction | None = None
    """Given by the table; None: the video's own rate."""
    identity: str | None = None
    """Given by the table."""
    split: SplitName | None = None
    """Given by the table, or by the folder that the clip lies in."""

    @property
    def recorded(self) -> Source:
        """Return the source as records hold it: another file of keypoints makes it another one."""
        return replace(
            self.source,
            size_bytes=self.source.size_bytes + self.poses_size_bytes,
            mtime_ns=(self.source.mtime_ns + self.poses_mtime_ns) % _TIMES,
        )


def find_clips(root: Path, *, excluded: Path) -> list[ExistingClip]:
    """Return the clips below a folder, sorted by name; links are followed once.

    Args:
        root: the set.
        excluded: the dataset that is made from it, which may lie in it.

    Raises:
        ConfigError: the folder does not exist or holds no clips, or two clips have one name.
        MediaError: a folder can't be listed.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: {missing_folder(root)}; name the folder of an existing set")
    if lies_in(root, excluded):
        raise ConfigError(f"{root}: is the dataset itself; choose another output folder")
    by_name: dict[str, Path] = {}
    for name, path in _clips_below(root, root, excluded, {root.resolve()}):
        if name in by_name:
            raise ConfigError(
                f"{root}: two clips are called '{name}': {by_name[name].name} and {path.name}; "
                "rename one of them"
            )
        by_name[name] = path
    if not by_name:
        raise ConfigError(
            f"{root}: holds no videos and no folders of numbered pictures "
            f"(looked for {' '.join(sorted(VIDEO_SUFFIXES))})"
        )
    clips = [
        ExistingClip(name=name, source=_source(root, name, by_name[name]))
        for name in sorted(by_name)
    ]
    return _split_by_folders(clips)


def _clips_below(
    folder: Path, root: Path, excluded: Path, seen: set[Path]
) -> Iterator[tuple[str, Path]]:
    """Yield name and path of the clips in a folder and below."""
    if is_frame_folder(folder):
        yield _name(folder, root), folder
        return
    inner = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            real = path.resolve()
            if real not in seen and not lies_in(real, excluded):
                seen.add(real)
                inner.append(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield _name(path.with_suffix(""), root), path
    frames = [path for path in inner if path.name.lower() in FRAMES_NAMES and is_frame_folder(path)]
    if folder != root and len(frames) == 1:
        yield _name(folder, root), frames[0]
        inner = [path for path in inner if not is_frame_folder(path)]
    for path in inner:
        yield from _clips_below(path, root, excluded, seen)


def _name(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix() if path != root else root.name
    return name.encode(errors="backslashreplace").decode()


def _source(root: Path, name: str, path: Path) -> Source:
    """Return a clip as a source; size and time of a folder are the sums over its pictures."""
    files = pictures_in(path) if path.is_dir() else (path,)
    found = [file.stat() for file in files if file.exists()]
    ending = "" if path.is_dir() else path.suffix
    return Source(
        path=path,
        shown_path=f"{root.name or 'clips'}/{name}{ending}",
        size_bytes=sum(one.st_size for one in found),
        mtime_ns=sum(one.st_mtime_ns for one in found) % _TIMES,
    )


def _split_by_folders(clips: Sequence[ExistingClip]) -> list[ExistingClip]:
    """Return the clips with their split, if all lie in a folder `train` or `test`."""
    tops = [clip.name.partition("/") for clip in clips]
    if not all(slash and top in _SIDES for top, slash, _ in tops):
        return list(clips)
    return [
        replace(clip, split=side)
        for clip, (top, _, _) in zip(clips, tops, strict=True)
        for side in _SIDES
        if side == top
    ]


def with_poses(clips: Sequence[ExistingClip], folder: Path) -> list[ExistingClip]:
    """Return the clips with the files of their keypoints: `folder/<name>.npz`.

    A file directly in the folder belongs to the only clip whose name ends with its own.

    Raises:
        ConfigError: there is no such folder, or it holds no file of these clips.
    """
    if not folder.is_dir():
        raise ConfigError(f"--poses {folder}: {missing_folder(folder)}")
    by_last = _by_last_part(clips)
    found = []
    for clip in clips:
        last = clip.name.rpartition("/")[2]
        places = [folder / f"{clip.name}.npz"]
        if len(by_last[last]) == 1:
            places.append(folder / f"{last}.npz")
        poses = next((place for place in places if place.is_file()), None)
        found.append(clip if poses is None else _with_file(clip, poses))
    without = [clip.name for clip in found if clip.poses is None]
    if len(without) == len(found):
        raise ConfigError(
            f"--poses {folder}: holds no file of these clips; want such as {clips[0].name}.npz"
        )
    if without:
        logger.warning(
            "%s: no poses of %s (%s); their keypoints are detected",
            folder,
            number_of(len(without), "clip"),
            ", ".join(without[:_SHOWN]),
        )
    return found


def _with_file(clip: ExistingClip, poses: Path) -> ExistingClip:
    about = poses.stat()
    return replace(
        clip,
        poses=poses,
        poses_size_bytes=about.st_size,
        poses_mtime_ns=about.st_mtime_ns,
    )


def _by_last_part(clips: Sequence[ExistingClip]) -> dict[str, list[str]]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for clip in clips:
        names[clip.name.rpartition("/")[2]].append(clip.name)
    return names


def with_table(clips: Sequence[ExistingClip], path: Path) -> list[ExistingClip]:
    """Return the clips with what a table says of them: split, identity, frames a second.

    The table is CSV with a header: `clip`, and at least one of `split`, `identity` and `fps`. A
    clip is named as in `ExistingClip`, with or without a video's ending, or by the last part of its
    name if no other clip has it. Empty cells say nothing.

    Raises:
        ConfigError: the table can't be read, lacks a column, has a wrong value, or names unknown
            clips; a clip has two rows; or an identity is on both sides of the split.
    """
    rows = _table_rows(path)
    names = {clip.name: clip.name for clip in clips}
    for last, full in _by_last_part(clips).items():
        if len(full) == 1:
            names.setdefault(last, full[0])
    said: dict[str, Row] = {}
    unknown: list[str] = []
    for line, row in rows:
        given = row[_name_column(row)]
        ending = Path(given).suffix
        bare = given.removesuffix(ending) if ending.lower() in VIDEO_SUFFIXES else given
        name = names.get(given) or names.get(bare)
        if name is None:
            unknown.append(given)
        elif name in said:
            raise ConfigError(f"{path} line {line}: clip '{name}' has a row already")
        else:
            said[name] = row
            _check(path, line, row)
    if unknown:
        raise ConfigError(_unknown_names(path, unknown, names))
    return _with_sides(path, [_told(clip, said.get(clip.name, {})) for clip in clips])


def _unknown_names(path: Path, unknown: Sequence[str], known: Collection[str]) -> str:
    shown = ", ".join(f"'{printable(name)}'" for name in unknown[:_SHOWN])
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    hint = did_you_mean(unknown[0], known)
    return (
        f"{path}: names {number_of(len(unknown), 'clip')} that the folder does not hold: "
        f"{shown}{more}{hint if len(hint) < 200 else ''}"
    )


def _table_rows(path: Path) -> list[tuple[int, Row]]:
    rows = read_table_rows(path, by_user=True)
    if not rows:
        raise ConfigError(f"--table {path}: has no rows below its first line")
    heads = rows[0][1].keys()
    if not heads & set(_NAME_COLUMNS) or not heads & set(_COLUMNS):
        raise ConfigError(
            f"--table {path}: want in the first line `clip` and at least one of "
            f"{', '.join(_COLUMNS)}; there are: {', '.join(map(printable, heads))}"
        )
    return rows


def _name_column(row: Row) -> str:
    return next(name for name in _NAME_COLUMNS if name in row)


def _check(path: Path, line: int, row: Row) -> None:
    if row.get("split") and row["split"] not in _SIDES:
        raise ConfigError(
            f"--table {path} line {line}: split '{printable(row['split'])}'; want train or test"
        )
    if row.get("fps") and rate(row["fps"]) is None:
        raise ConfigError(
            f"--table {path} line {line}: fps '{printable(row['fps'])}'; want frames a second, "
            "such as 25 or 30000/1001"
        )


def rate(text: str) -> Fraction | None:
    """Return frames a second that a text gives, such as "29.97" or "30000/1001"; None if none.

    >>> rate("30000/1001"), rate("0")
    (Fraction(30000, 1001), None)
    """
    try:
        fps = Fraction(text) if _RATE.fullmatch(text) else Fraction(0)
    except ZeroDivisionError:
        return None
    return fps if Fraction(1, _MAX_FPS) <= fps <= _MAX_FPS else None


def _told(clip: ExistingClip, row: Row) -> ExistingClip:
    side = next((side for side in _SIDES if side == row.get("split")), None)
    return replace(
        clip,
        split=side or clip.split,
        identity=row.get("identity") or None,
        fps=rate(row["fps"]) if row.get("fps") else None,
    )


def _with_sides(path: Path, clips: list[ExistingClip]) -> list[ExistingClip]:
    """Return the clips if their splits are complete, and no identity is on both sides."""
    without = [clip.name for clip in clips if clip.split is None]
    if 0 < len(without) < len(clips):
        raise ConfigError(
            f"--table {path}: gives {number_of(len(without), 'clip')} no split, such as "
            f"'{without[0]}', and others have one; give all of them one, or none"
        )
    first: dict[str, ExistingClip] = {}
    for clip in clips:
        if clip.identity is not None:
            other = first.setdefault(clip.identity, clip)
            if other.split != clip.split:
                raise ConfigError(
                    f"--table {path}: identity '{printable(clip.identity)}' is on both sides: "
                    f"'{other.name}' in {other.split}, '{clip.name}' in {clip.split}"
                )
    return clips
