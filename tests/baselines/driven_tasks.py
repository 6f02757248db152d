"""Tasks made by hand, and what generators make of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.base import AnimationTask, ClipFailure, GeneratedFrame, Generator
from tpbench.video import LOSSLESS_X264, Encoding, VideoWriter, probe, read_frames
from tpbench.wholebody import NUM_KEYPOINTS, WholeBodyPose


def pose_of(points: NDArray[np.floating], *, width_px: int, height_px: int) -> WholeBodyPose:
    """A pose of (T, 133, 2) px; points that are NaN are not seen."""
    return WholeBodyPose(
        keypoints=points.astype(np.float32),
        scores=np.isfinite(points[..., 0]).astype(np.float32),
        width_px=width_px,
        height_px=height_px,
        source="dwpose",
        model_digest="0" * 64,
    )


def task_for(
    reference: NDArray[np.uint8],
    driving: WholeBodyPose,
    *,
    clip_id: str = "clip",
    video: Path | None = None,
    reference_pose: WholeBodyPose | None = None,
    fps: Fraction | int = 25,
    seed: int = 0,
) -> AnimationTask:
    """A task of the reference's size."""
    return AnimationTask(
        clip_id=clip_id,
        reference=reference,
        reference_pose=reference_pose,
        driving=driving,
        driving_video=video,
        audio_path=None,
        width_px=reference.shape[1],
        height_px=reference.shape[0],
        fps=Fraction(fps),
        seed=seed,
    )


def make_task(
    video: Path | None = None,
    *,
    clip_id: str = "clip",
    n_frames: int = 12,
    width_px: int = 64,
    height_px: int = 48,
) -> AnimationTask:
    """A task with nobody in it."""
    nowhere = np.full((n_frames, NUM_KEYPOINTS, 2), np.nan)
    noise = np.random.default_rng(len(clip_id)).integers(0, 256, (height_px, width_px, 3), np.uint8)
    pose = pose_of(nowhere, width_px=width_px, height_px=height_px)
    return task_for(noise, pose, clip_id=clip_id, video=video)


def task_of(video: Path, *, clip_id: str = "clip") -> AnimationTask:
    """The task that a video drives."""
    info = probe(video)
    return make_task(
        video,
        clip_id=clip_id,
        n_frames=info.frame_count,
        width_px=info.width_px,
        height_px=info.height_px,
    )


def pictures_of(video: Path) -> list[NDArray[np.uint8]]:
    """All frames of a small video."""
    return [frame.image for frame in read_frames(video)]


def write_video(
    path: Path,
    images: Iterable[NDArray[np.uint8]],
    *,
    fps: Fraction | int = 25,
    encoding: Encoding = LOSSLESS_X264,
) -> Path:
    """Write a video, by default one that reads back exactly."""
    images = list(images)
    height_px, width_px = images[0].shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(
        path, width_px=width_px, height_px=height_px, fps=Fraction(fps), encoding=encoding
    ) as writer:
        for image in images:
            writer.write(image)
    return path


def made(generator: Generator, *tasks: AnimationTask) -> list[NDArray[np.uint8]]:
    """The pictures of all tasks; none fails, and all are as their tasks want them."""
    results = list(generator.generate(tasks))
    frames = [result for result in results if isinstance(result, GeneratedFrame)]
    assert len(frames) == len(results)
    assert [(frame.clip_id, frame.index) for frame in frames] == [
        (task.clip_id, index) for task in tasks for index in range(task.n_frames)
    ]
    sizes = {task.clip_id: (task.height_px, task.width_px, 3) for task in tasks}
    assert all(frame.image.shape == sizes[frame.clip_id] for frame in frames)
    assert all(frame.image.dtype == np.uint8 for frame in frames)
    return [frame.image for frame in frames]


def failures(results: Sequence[GeneratedFrame | ClipFailure]) -> dict[str, str]:
    """Why clips failed, by clip; nothing of a clip follows its failure."""
    found: dict[str, str] = {}
    for result in results:
        assert result.clip_id not in found
        if isinstance(result, ClipFailure):
            assert "\n" not in result.reason
            found[result.clip_id] = result.reason
    return found
