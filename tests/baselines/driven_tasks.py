"""Tasks made by hand, for generators that look at no pose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.base import AnimationTask, ClipFailure, GeneratedFrame, Generator
from tpbench.video import LOSSLESS_X264, VideoWriter, probe, read_frames
from tpbench.wholebody import NUM_KEYPOINTS, WholeBodyPose


def make_task(
    video: Path | None = None,
    *,
    clip_id: str = "clip",
    n_frames: int = 12,
    width_px: int = 64,
    height_px: int = 48,
) -> AnimationTask:
    """A task with nobody in it."""
    keypoints = np.full((n_frames, NUM_KEYPOINTS, 2), np.nan, np.float32)
    pose = WholeBodyPose(
        keypoints=keypoints,
        scores=np.zeros((n_frames, NUM_KEYPOINTS), np.float32),
        width_px=width_px,
        height_px=height_px,
        source="mediapipe",
        model_digest="0" * 64,
    )
    generator = np.random.default_rng(len(clip_id))
    return AnimationTask(
        clip_id=clip_id,
        reference=generator.integers(0, 256, (height_px, width_px, 3), np.uint8),
        reference_pose=None,
        driving=pose,
        driving_video=video,
        audio_path=None,
        width_px=width_px,
        height_px=height_px,
        fps=Fraction(25),
        seed=0,
    )


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


def write_lossless(path: Path, images: Iterable[NDArray[np.uint8]]) -> Path:
    """Write a video that reads back exactly."""
    images = list(images)
    height_px, width_px = images[0].shape[:2]
    with VideoWriter(
        path, width_px=width_px, height_px=height_px, fps=Fraction(25), encoding=LOSSLESS_X264
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
