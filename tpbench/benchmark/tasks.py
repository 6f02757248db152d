"""What is animated: how clips of a dataset become a task for a generator. Versioned data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tpbench.baselines.base import AnimationTask
from tpbench.dataset import Clip, clip_path, keypoints_path
from tpbench.errors import ConfigError, DatasetError, MediaError, did_you_mean
from tpbench.files import sha256_of
from tpbench.video import probe, read_frames
from tpbench.wholebody import load_pose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRule:
    """Which clips a task takes and what it makes of one."""

    id: str

    version: int
    """Raised when the same clip would give another task: geometry, frames, colours, codec."""

    min_frames: int
    """Shorter clips are left out."""

    description: str
    """One line for people."""

    first_frame: int
    """Frames before it are not scored: 1 where frame 0 is the reference itself."""

    crossed: bool = False
    """Whether the reference is of another identity than the driving clip."""

    metrics: tuple[str, ...] | None = None
    """What can be measured of it; None for all metrics. Where the real clip shows somebody else,
    nothing that holds a pixel against its own real pixel says anything."""

    variant: str = ""
    """Set where a rule differs from the published one; part of the name of its runs."""

    @property
    def name(self) -> str:
        """The id, and the variant if it is one: `self`, `self.min24`."""
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
"""Self-reenactment: the real clip is the ground truth. Frame 0 is made and not scored."""

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
"""Cross-reenactment: there is no ground truth. FID, KID and FVD are to the real frames of the
driving clips, pose accuracy is to the skeleton found in them; poses that were not fitted to the
other body put a floor under the latter."""

TASKS: Final[Mapping[str, TaskRule]] = MappingProxyType({rule.id: rule for rule in (SELF, CROSS)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskClip:
    """One clip that a run is to make."""

    clip_id: str
    """Names its files and records."""

    driving: Clip
    """Whose poses are followed."""

    reference: Clip | None = None
    """Whose first frame is animated; None: the driving clip's own."""

    @property
    def n_frames(self) -> int:
        """Frames to make."""
        return self.driving.n_frames or 0

    @property
    def identity(self) -> str | None:
        """Who is seen in the driving clip."""
        return self.driving.identity

    @property
    def content(self) -> list[str | None]:
        """Id and sha256 of every file of the dataset that the frames hang on."""
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
        min_frames: another limit than the task's own: for trying things out. The task then bears
            another name, so that its runs never stand beside published ones.

    Raises:
        ConfigError: no such task, or no such limit.
    """
    rule = TASKS.get(task_id)
    if rule is None:
        msg = f"no task '{task_id}'{did_you_mean(task_id, TASKS)}"
        raise ConfigError(msg)
    if min_frames is None or min_frames == rule.min_frames:
        return rule
    if min_frames < 2:
        msg = f"--min-frames must be at least 2, got {min_frames}: the first frame is the reference"
        raise ConfigError(msg)
    return replace(rule, min_frames=min_frames, variant=f"min{min_frames}")


def make_task(dataset_folder: Path, clip: TaskClip, *, seed: int) -> AnimationTask:
    """Make the task of a clip.

    Args:
        dataset_folder: where the files lie.
        clip: what is to be made.
        seed: of the run; all clips start from the same one.

    Raises:
        DatasetError: a file is not the one that the manifest describes.
        MediaError: a file can't be read, or clip, poses and reference do not fit each other.
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
    """Make the `self` task of a clip.

    Args:
        dataset_folder: where the clip's files lie.
        clip: a kept row of the manifest.
        seed: of the run; all clips start from the same one.

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
        msg = (
            f"{path}: not the file that the manifest describes (sha256 differs); delete it and run "
            "the same `tpbench extract` again"
        )
        raise DatasetError(msg)
