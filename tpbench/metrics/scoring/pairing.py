"""Which generated video belongs to which real one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tpbench.errors import ConfigError, MediaError, SubmissionError
from tpbench.metrics.scoring.matching import match_names
from tpbench.video import VIDEO_SUFFIXES, is_frame_folder, passed_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tpbench.dataset.clip import SplitName
    from tpbench.video import PassedOver


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A real and a generated clip to be held against each other."""

    clip_id: str
    """A dataset's clip id, or the path below the folder without its ending: `sub/name`."""

    real: Path
    generated: Path
    """Each a video, or a folder of pictures."""

    identity: str | None = None
    """Who is seen; None if not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """All pairs of two folders, and what has no partner."""

    pairs: tuple[Pair, ...]
    """By clip id."""

    missing: tuple[str, ...]
    """Real clips that nothing was generated for."""

    extra: tuple[str, ...]
    """Generated ones that no real clip belongs to; they are not scored."""

    hints: Mapping[str, str] = field(default_factory=dict)
    """By missing clip: what was generated for it, perhaps, and why it does not count."""

    notes: tuple[str, ...] = ()
    """What else a reader of the scores has to know, one line each."""

    @property
    def n_expected(self) -> int:
        """Real clips."""
        return len(self.pairs) + len(self.missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealClip:
    """A real clip and who is seen in it."""

    path: Path
    identity: str | None = None


def pair_up(
    real: Mapping[str, RealClip],
    generated: Mapping[str, Path],
    *,
    left_out: PassedOver | None = None,
    by_own_name: bool = False,
) -> Pairing:
    """Match by clip id, in whichever Unicode form.

    Args:
        real: by clip id.
        generated: by name.
        left_out: files beside the generated ones that are not read.
        by_own_name: as `videos_below` was called.

    Raises:
        SubmissionError: nothing matches at all: the line shows a name of each side; or a name is
            there in two Unicode forms.
    """
    matching = match_names(real, generated)
    hints, notes = dict(matching.hints), list(matching.notes)
    if left_out is not None:
        hints = {**left_out.hints(matching.missing, by_own_name=by_own_name), **hints}
        notes += filter(None, [left_out.note("generated")])
    if not matching.pairs:
        one, other = min(real, default="none"), min(generated, default="none")
        msg = (
            f"no generated video has the name of a real one: {len(real)} real (first: '{one}'), "
            f"{len(generated)} generated (first: '{other}'); name them by clip id or relative path"
        )
        for said in [*list(hints.values())[:1], *notes][:1]:
            msg += f"; {said}"
        raise SubmissionError(msg)
    return Pairing(
        pairs=tuple(
            Pair(
                clip_id=clip_id,
                real=real[clip_id].path,
                generated=generated[name],
                identity=real[clip_id].identity,
            )
            for clip_id, name in matching.pairs.items()
        ),
        missing=matching.missing,
        extra=matching.extra,
        hints=hints,
        notes=tuple(notes),
    )


def real_clips(root: Path, *, split: SplitName | None = None) -> dict[str, RealClip]:
    """Return the clips of a dataset, or of any folder of videos, by clip id.

    Args:
        root: a dataset's folder (it holds a `dataset.json`), or one with videos below it.
        split: of a dataset; None for all of it.

    Raises:
        ConfigError: there is no such folder, it holds no clip, or a split was asked of a folder.
        DatasetError: the dataset is broken or has no such split.
    """
    if (root / "dataset.json").is_file():
        from tpbench.dataset import Dataset

        dataset = Dataset.open(root)
        clips = {
            clip.clip_id: RealClip(path=dataset.clip_path(clip), identity=clip.identity)
            for clip in dataset.clips(split=split)
        }
    elif split is not None:
        msg = f"{root}: is no dataset (no dataset.json), so it has no split '{split}'"
        raise ConfigError(msg)
    else:
        clips = {key: RealClip(path=path) for key, path in videos_below(root).items()}
    if not clips:
        said = passed_over(root, ()).note("real")
        msg = f"{root}: holds no clip to score against" + (f"; {said}" if said else "")
        raise ConfigError(msg)
    return clips


def videos_below(root: Path, *, by_own_name: bool = False) -> dict[str, Path]:
    """Return all videos and frame folders below a folder, by path relative to it without ending.

    Links to folders are followed. Hidden files and folders are passed over. In a folder with a
    video, pictures are no frames.

    Args:
        root: where to look, sub-folders included.
        by_own_name: name them by the last part only: clip ids of a dataset are unique wherever the
            files lie.

    Raises:
        ConfigError: there is no such folder, or all it holds is one clip's pictures.
        MediaError: it, or a folder below it, can't be listed.
        SubmissionError: two have the same name, or one has a name that is no text.
    """
    if not root.is_dir():
        msg = f"{root}: no such folder"
        raise ConfigError(msg)
    found: dict[str, Path] = {}
    for path in _footage_below(root):
        # The name of a frame folder may have dots in it that begin no ending.
        named = path if path.is_dir() else path.with_suffix("")
        key = named.name if by_own_name else named.relative_to(root).as_posix()
        _require_text(key, root)
        if key in found:
            msg = f"{found[key]} and {path} are both '{key}': keep one"
            raise SubmissionError(msg)
        found[key] = path
    if not found and is_frame_folder(root):
        msg = f"{root}: its pictures lie in it directly; give each clip a folder of its own"
        raise ConfigError(msg)
    return found


def _require_text(key: str, root: Path) -> None:
    """Refuse a name that no JSON file can hold."""
    try:
        key.encode()
    except UnicodeEncodeError as error:
        shown = key.encode(errors="backslashreplace").decode()
        msg = f"{root}: the name of '{shown}' is not UTF-8; rename it (or the locale is another)"
        raise SubmissionError(msg) from error


def _footage_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield videos and frame folders; `above` holds the folders on the way here, links resolved."""
    above |= {folder.resolve()}
    try:
        children = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise MediaError(folder, error.strerror or str(error)) from error
    for path in children:
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where nobody may look
            if path.resolve() in above:  # a link back up
                continue
            if is_frame_folder(path):
                yield path
            yield from _footage_below(path, above)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield path
