"""Tasks: how clips of a dataset become inputs of a generator. The rules are versioned."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import StringConstraints

from tpbench.baselines.base import AnimationTask
from tpbench.dataset import Clip, Dataset, check_clip_id, clip_path, keypoints_path
from tpbench.errors import ConfigError, DatasetError, MediaError, did_you_mean
from tpbench.files import read_bounded, sha256_of
from tpbench.video import probe, read_frames
from tpbench.wholebody import load_pose

logger = logging.getLogger(__name__)

SplitChoice = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
"""`test`, `train`, `all`, or the name of a frozen test split, such as `test-v1`."""

_SHOWN_IDS = 3
_MAX_LIST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The clips of a run."""

    split: SplitChoice
    clips: tuple[TaskClip, ...]
    """All clips of the run, sorted by id: the split without clips that the task can't use."""
    wanted: tuple[TaskClip, ...]
    """Those of `clips` to generate now; if fewer than all, the run is partial."""
    left_out: Mapping[str, int]
    """Clip id -> frames, for the clips of the split that are too short for the task."""

    @property
    def digest(self) -> str:
        """sha256 over the ids of `clips`; differs between splits of a dataset."""
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
        rule: the task, with its minimum clip length.
        split: test, train, all or a frozen test split; None: test, or the whole of a dataset that
            is not split.
        limit: only the first `limit` clips, by id.
        ids: only these; for the task `cross`, ids of driving clips are accepted too.

    Raises:
        DatasetError: there is no such split, it is empty, all of its clips are too short, or it has
            too few identities for the task.
        ConfigError: an unknown id, or a limit below 1.
    """
    if split is None and dataset.info.split is None:
        logger.warning("%s is not split: it is used whole", dataset.folder)
    side: SplitChoice = split or ("all" if dataset.info.split is None else "test")
    rows = dataset.clips(split=None if side == "all" else side)
    is_side = side in {"test", "train"}
    where = f"{dataset.folder}: " + (
        "it" if side == "all" else f"its {side} side" if is_side else side
    )
    if not rows:
        mend = "" if side == "all" else "; take --split all, or split it again (`tpbench split`)"
        raise DatasetError(f"{where} has no clips{mend}")
    lengths = {clip.clip_id: clip.n_frames or 0 for clip in rows}
    left_out = {name: n for name, n in lengths.items() if n < rule.min_frames}
    usable = [clip for clip in rows if clip.clip_id not in left_out]
    if not usable:
        raise DatasetError(
            f"{where} has no clip of {rule.min_frames} frames or more, which the task "
            f"'{rule.id}' needs (the longest has {max(left_out.values())}); "
            "for a trial run, lower this by --min-frames"
        )
    if left_out:
        logger.warning(
            "%d of %d clips left out: fewer than %d frames (%s)",
            len(left_out),
            len(rows),
            rule.min_frames,
            _shortened(list(left_out)),
        )
    if rule.crossed:
        clips = cross_clips(usable, dataset_digest=dataset.digest, where=where)
    else:
        clips = tuple(TaskClip(clip_id=clip.clip_id, driving=clip) for clip in usable)
    wanted = clips if ids is None else _named(clips, ids, where, left_out)
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit must be at least 1, got {limit}")
    return Selection(split=side, clips=clips, wanted=wanted[:limit], left_out=left_out)


def read_ids(path: Path) -> list[str]:
    """Read clip ids, one per line, ignoring text after a comma, empty lines and `#` lines.

    The lists in a dataset's `splits/` have this form.

    Raises:
        ConfigError: the file can't be read or lists no ids.
    """
    try:
        lines = read_bounded(path, _MAX_LIST_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: can't be read as a list of clip ids ({reason})") from error
    names = [line.partition(",")[0].strip() for line in lines]
    ids = [name for name in names if name and not name.startswith("#") and name != "clip_id"]
    if not ids:
        raise ConfigError(f"{path}: lists no clips; want one id per line")
    return ids


def _named(
    clips: Sequence[TaskClip], ids: Sequence[str], where: str, left_out: Mapping[str, int]
) -> tuple[TaskClip, ...]:
    wanted = set(ids)
    known = {name for clip in clips for name in (clip.clip_id, clip.driving.clip_id)}
    for name in sorted(wanted - known):
        if name in left_out:
            raise ConfigError(
                f"{where}: clip '{name}' has {left_out[name]} frames, too few for the task"
            )
        hint = did_you_mean(name, known)
        raise ConfigError(f"{where} has no clip '{name}'{hint if len(hint) < 200 else ''}")
    return tuple(clip for clip in clips if {clip.clip_id, clip.driving.clip_id} & wanted)


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_IDS
    return ", ".join(names[:_SHOWN_IDS]) + (f" and {more} more" if more > 0 else "")


PAIR_JOINT: Final = "__from__"
"""In the clip id of a pair: `<driving>__from__<reference>`."""

_PART_MAX: Final = 96  # two parts and the joint make 200 characters, the limit of a clip id


def cross_clips(clips: Sequence[Clip], *, dataset_digest: str, where: str) -> tuple[TaskClip, ...]:
    """Give every clip a reference of another identity; equal clips give equal pairs.

    Each clip drives once. Its reference is drawn uniformly from the other identities, then from the
    clips of that identity. The draw is a sha256 over the digest of the dataset, the ids of all
    clips and the id of the driving clip, so it depends on neither order, machine nor run.

    Args:
        clips: of the split, all that are long enough.
        dataset_digest: of the dataset.
        where: names the clips in the error message.

    Raises:
        DatasetError: there are fewer than two identities.
    """
    by_identity: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: clip.clip_id):
        by_identity.setdefault(_identity(clip), []).append(clip)
    if len(by_identity) < 2:
        raise DatasetError(
            f"{where} has one identity only ('{next(iter(by_identity))}'), and the task 'cross' "
            "needs two or more; use another split, or the task 'self'"
        )
    split = json.dumps([dataset_digest, sorted(clip.clip_id for clip in clips)])
    made = []
    for clip in clips:
        others = sorted(by_identity.keys() - {_identity(clip)})
        drawn = hashlib.sha256(f"{split}{clip.clip_id}".encode()).digest()
        of_other = by_identity[others[int.from_bytes(drawn[:16]) % len(others)]]
        reference = of_other[int.from_bytes(drawn[16:]) % len(of_other)]
        made.append(
            TaskClip(
                clip_id=pair_id(clip.clip_id, reference.clip_id), driving=clip, reference=reference
            )
        )
    return tuple(sorted(made, key=lambda clip: clip.clip_id))


def pair_id(driving: str, reference: str) -> str:
    """Return the id of a pair: `<driving>__from__<reference>`; long ids are cut, with a hash.

    >>> pair_id("anna_0_4000", "ben_0_4000")
    'anna_0_4000__from__ben_0_4000'
    """
    return check_clip_id(f"{_part(driving)}{PAIR_JOINT}{_part(reference)}")


def _part(clip_id: str) -> str:
    if len(clip_id) <= _PART_MAX:
        return clip_id
    digest = hashlib.sha256(clip_id.encode()).hexdigest()[:8]
    return f"{clip_id[: _PART_MAX - 9]}-{digest}"


def _identity(clip: Clip) -> str:
    return clip.identity or ""  # kept clips have one


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRule:
    """Which clips a task uses, and how they are animated and scored."""

    id: str
    version: int
    """Raised when a clip would give a different task: geometry, frames, colours, codec."""
    min_frames: int
    """Shorter clips are left out."""
    description: str
    """One line for readers."""
    first_frame: int
    """Earlier frames are not scored: 1 where frame 0 is the reference itself."""
    crossed: bool = False
    """Whether the reference shows another identity than the driving clip."""
    metrics: tuple[str, ...] | None = None
    """Applicable metrics; None: all. If the real clip shows another person, metrics that compare
    a pixel with the real one are meaningless."""
    variant: str = ""
    """Set if a rule differs from the published one; part of the name of its runs."""

    @property
    def name(self) -> str:
        """The id, followed by the variant, if any: `self`, `self.min24`."""
        return f"{self.id}.{self.variant}" if self.variant else self.id


SELF: Final = TaskRule(
    id="self",
    version=1,
    min_frames=101,
    description=(
        "reference: the first frame of the clip, with its pose; driving: all poses of the same "
        "clip, at its size and rate; clips of more than 100 frames"
    ),
    first_frame=1,
)
"""Self-reenactment: the real clip is the ground truth. Frame 0 is generated but not scored."""
_POSE_METRICS: Final = tuple(
    f"{name}_{part}"
    for part in ("body", "hands", "face")
    for name in ("akd", "akd_sw", "pck", "missing")
)

CROSS: Final = TaskRule(
    id="cross",
    version=1,
    min_frames=101,
    description=(
        "reference: the first frame of a clip of another identity, with its pose; driving: all "
        "poses of a clip as they are, not fitted to the other body, at its size and rate; every "
        "clip of more than 100 frames drives once"
    ),
    first_frame=0,
    crossed=True,
    metrics=("fid", "kid", "fvd", "motion_ratio", *_POSE_METRICS),
)
"""Cross-reenactment: there is no ground truth. FID, KID and FVD compare with the real frames of
the driving clips, pose accuracy with the skeletons detected there. Since poses are not fitted to
the other body, pose errors can't reach 0."""
TASKS: Final[Mapping[str, TaskRule]] = MappingProxyType({rule.id: rule for rule in (SELF, CROSS)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskClip:
    """One clip to generate in a run."""

    clip_id: str
    """Names its files and records."""
    driving: Clip
    """Clip that gives the poses."""
    reference: Clip | None = None
    """Clip whose first frame is animated; None: the driving clip."""

    @property
    def n_frames(self) -> int:
        """Frames to generate."""
        return self.driving.n_frames or 0

    @property
    def identity(self) -> str | None:
        """Identity in the driving clip."""
        return self.driving.identity

    @property
    def content(self) -> list[str | None]:
        """Id, and sha256 of every dataset file that the frames depend on."""
        clips = [self.driving] if self.reference is None else [self.driving, self.reference]
        files = [value for clip in clips for value in (clip.clip_sha256, clip.keypoints_sha256)]
        return [self.clip_id, *files]

    def to_json(self) -> dict[str, Any]:
        """Return JSON that `from_json` reads."""
        reference = None if self.reference is None else self.reference.to_json()
        return {
            "clip_id": self.clip_id,
            "driving": self.driving.to_json(),
            "reference": reference,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskClip:
        """Read what `to_json` wrote."""
        reference = data["reference"]
        return cls(
            clip_id=data["clip_id"],
            driving=Clip.from_json(data["driving"]),
            reference=None if reference is None else Clip.from_json(reference),
        )


def task_rule(task_id: str, *, min_frames: int | None = None) -> TaskRule:
    """Return a task by its id.

    Args:
        task_id: such as "self".
        min_frames: overrides the task's own limit, for trial runs. The task then gets another
            name, so that its runs are never mixed with published ones.

    Raises:
        ConfigError: no such task, or a limit below 2.
    """
    rule = TASKS.get(task_id)
    if rule is None:
        raise ConfigError(f"no task '{task_id}'{did_you_mean(task_id, TASKS)}")
    if min_frames is None or min_frames == rule.min_frames:
        return rule
    if min_frames < 2:
        raise ConfigError(
            f"--min-frames must be at least 2, got {min_frames}: the first frame is the reference"
        )
    return replace(rule, min_frames=min_frames, variant=f"min{min_frames}")


def make_task(dataset_folder: Path, clip: TaskClip, *, seed: int) -> AnimationTask:
    """Build the generator's input for a clip.

    Args:
        dataset_folder: folder of the dataset.
        clip: the clip to generate.
        seed: of the run, the same for all clips.

    Raises:
        DatasetError: a file is not the one that the manifest describes.
        MediaError: a file can't be read, or clip, poses and reference don't match.
    """
    task = self_task(dataset_folder, clip.driving, seed=seed)
    if clip.reference is None:
        return task
    other = self_task(dataset_folder, clip.reference, seed=seed)
    if (other.width_px, other.height_px) != (task.width_px, task.height_px):
        found = f"{other.width_px}x{other.height_px} px"
        reason = f"a reference of {found} for a clip of {task.width_px}x{task.height_px} px"
        raise MediaError(clip_path(dataset_folder, clip.reference.clip_id), reason)
    return replace(
        task,
        clip_id=clip.clip_id,
        reference=other.reference,
        reference_pose=other.reference_pose,
    )


def self_task(dataset_folder: Path, clip: Clip, *, seed: int) -> AnimationTask:
    """Build the generator's input for a clip in the task `self`.

    Args:
        dataset_folder: folder of the dataset.
        clip: a kept row of the manifest.
        seed: of the run, the same for all clips.

    Raises:
        DatasetError: a file is not the one that the manifest describes.
        MediaError: a file can't be read, or the clip and its poses have different lengths or sizes.
    """
    video = clip_path(dataset_folder, clip.clip_id)
    keypoints = keypoints_path(dataset_folder, clip.clip_id)
    for path, sha256 in ((video, clip.clip_sha256), (keypoints, clip.keypoints_sha256)):
        _require_described(path, sha256)
    info = probe(video)
    reference = next(iter(read_frames(video, info=info, end_frame=1))).image
    pose = load_pose(keypoints)
    if len(pose) != info.frame_count:
        raise MediaError(keypoints, f"{len(pose)} poses for a clip of {info.frame_count} frames")
    if (pose.width_px, pose.height_px) != (info.width_px, info.height_px):
        poses, frames = f"{pose.width_px}x{pose.height_px}", f"{info.width_px}x{info.height_px}"
        raise MediaError(keypoints, f"poses of {poses} px for a clip of {frames} px")
    return AnimationTask(
        clip_id=clip.clip_id,
        reference=reference,
        reference_pose=pose.slice_frames(0, 1),
        driving=pose,
        driving_video=video,
        audio_path=video if info.has_audio else None,
        width_px=info.width_px,
        height_px=info.height_px,
        fps=_rate(clip) or info.fps,
        seed=seed,
    )


def _rate(clip: Clip) -> Fraction | None:
    return Fraction(clip.fps_num, clip.fps_den) if clip.fps_num and clip.fps_den else None


def _require_described(path: Path, sha256: str | None) -> None:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise MediaError(path, f"can't be read: {error.strerror}") from error
    if found != sha256:
        raise DatasetError(
            f"{path}: not the file that the manifest describes (sha256 differs); delete it and run "
            "the same `tpbench extract` again"
        )
