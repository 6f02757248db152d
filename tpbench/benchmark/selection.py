"""Which clips of a dataset a run is about, and which of them are wanted now."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tpbench.benchmark.cross import cross_clips
from tpbench.benchmark.tasks import TaskClip
from tpbench.errors import ConfigError, DatasetError, did_you_mean
from tpbench.files import read_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tpbench.benchmark.tasks import TaskRule
    from tpbench.dataset import Dataset

_log = logging.getLogger(__name__)

SplitChoice = Literal["test", "train", "all"]

_SHOWN_IDS = 3
_MAX_LIST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The clips of a run."""

    split: SplitChoice

    clips: tuple[TaskClip, ...]
    """All that the run is about, sorted by id: the split, less what the task can't use."""

    wanted: tuple[TaskClip, ...]
    """Those of `clips` to be done now; fewer than all makes a partial run."""

    left_out: Mapping[str, int]
    """Clip id -> frames, of the clips of the split that are too short for the task."""

    @property
    def digest(self) -> str:
        """sha256 over the ids of `clips`: another split of the same dataset, another digest."""
        ids = json.dumps([clip.clip_id for clip in self.clips])
        return hashlib.sha256(ids.encode()).hexdigest()


def select_clips(
    dataset: Dataset,
    rule: TaskRule,
    *,
    split: SplitChoice | None = None,
    limit: int | None = None,
    ids: Sequence[str] | None = None,
) -> Selection:
    """Choose clips.

    Args:
        dataset: an open one.
        rule: the task; says how long a clip has to be.
        split: which side; None: test, or the whole of a dataset that is not split.
        limit: only the first so many, by id.
        ids: only these; of task `cross`, ids of driving clips will do.

    Raises:
        DatasetError: there is no such split, it is empty, all of its clips are too short, or it has
            too few identities for the task.
        ConfigError: an id that is not there, or a limit below 1.
    """
    if split is None and dataset.info.split is None:
        _log.warning("%s is not split: it is used whole", dataset.folder)
    side: SplitChoice = split or ("all" if dataset.info.split is None else "test")
    rows = dataset.clips(split=None if side == "all" else side)
    where = f"{dataset.folder}: " + ("it" if side == "all" else f"its {side} side")
    if not rows:
        mend = "" if side == "all" else "; take --split all, or split it again (`tpbench split`)"
        msg = f"{where} has no clips{mend}"
        raise DatasetError(msg)
    lengths = {clip.clip_id: clip.n_frames or 0 for clip in rows}
    left_out = {name: n for name, n in lengths.items() if n < rule.min_frames}
    usable = [clip for clip in rows if clip.clip_id not in left_out]
    if not usable:
        msg = (
            f"{where} has no clip of {rule.min_frames} frames or more, which the task "
            f"'{rule.id}' asks for (the longest has {max(left_out.values())}); "
            "--min-frames lowers that for a try"
        )
        raise DatasetError(msg)
    if left_out:
        _log.warning(
            "%d of %d clips left out: fewer than %d frames (%s)",
            len(left_out),
            len(rows),
            rule.min_frames,
            _some(list(left_out)),
        )
    if rule.crossed:
        clips = cross_clips(usable, dataset_digest=dataset.digest, where=where)
    else:
        clips = tuple(TaskClip(clip_id=clip.clip_id, driving=clip) for clip in usable)
    wanted = clips if ids is None else _named(clips, ids, where, left_out)
    if limit is not None and limit < 1:
        msg = f"--limit must be at least 1, got {limit}"
        raise ConfigError(msg)
    return Selection(split=side, clips=clips, wanted=wanted[:limit], left_out=left_out)


def read_ids(path: Path) -> list[str]:
    """Read clip ids, one a line; what follows a comma, empty lines and `#` lines are passed over.

    So the lists in a dataset's `splits/` can be given as they are.

    Raises:
        ConfigError: the file can't be read or names nothing.
    """
    try:
        lines = read_bounded(path, _MAX_LIST_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{path}: can't be read as a list of clip ids ({reason})"
        raise ConfigError(msg) from error
    names = [line.partition(",")[0].strip() for line in lines]
    ids = [name for name in names if name and not name.startswith("#") and name != "clip_id"]
    if not ids:
        msg = f"{path}: names no clips; want one id a line"
        raise ConfigError(msg)
    return ids


def _named(
    clips: Sequence[TaskClip], ids: Sequence[str], where: str, left_out: Mapping[str, int]
) -> tuple[TaskClip, ...]:
    wanted = set(ids)
    known = {name for clip in clips for name in (clip.clip_id, clip.driving.clip_id)}
    for name in sorted(wanted - known):
        if name in left_out:
            msg = f"{where}: clip '{name}' has {left_out[name]} frames, too few for the task"
            raise ConfigError(msg)
        hint = did_you_mean(name, known)
        msg = f"{where} has no clip '{name}'{hint if len(hint) < 200 else ''}"
        raise ConfigError(msg)
    return tuple(clip for clip in clips if {clip.clip_id, clip.driving.clip_id} & wanted)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_IDS
    return ", ".join(names[:_SHOWN_IDS]) + (f" and {more} more" if more > 0 else "")
