"""Skeletons of a clip's frames, found as the clip goes by; those of real clips are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tpbench.errors import MediaError
from tpbench.metrics.scoring.meters.base import PoseChunk
from tpbench.metrics.scoring.real_cache import mark_used
from tpbench.video import Frame
from tpbench.wholebody import NUM_KEYPOINTS, WholeBodyPose, load_pose, save_pose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

    from numpy.typing import NDArray

    from tpbench.detectors.suite import DetectorSuite


class SkeletonFinder:
    """Finds the most prominent person in each frame of one clip.

    Args:
        suite: forgets what it followed before.
        fps: of the clip; detectors want to know how much time passes.
    """

    def __init__(self, suite: DetectorSuite, fps: Fraction) -> None:
        suite.reset()
        self._suite, self._fps = suite, fps
        self._n_seen = 0

    def find(self, images: Sequence[NDArray[np.uint8]]) -> PoseChunk:
        """Return the skeletons of the next frames; NaN and 0 where nobody is found."""
        frames = [
            Frame(image=image, index=at, time_s=float(at / self._fps))
            for at, image in enumerate(images, start=self._n_seen)
        ]
        self._n_seen += len(frames)
        keypoints = np.full((len(frames), NUM_KEYPOINTS, 2), np.nan, dtype=np.float32)
        scores = np.zeros((len(frames), NUM_KEYPOINTS), dtype=np.float32)
        for at, found in enumerate(self._suite.detect(frames)):
            if found.people:
                keypoints[at], scores[at] = found.people[0].keypoints_px, found.people[0].scores
        return PoseChunk(keypoints=keypoints, scores=scores)


class RealSkeletons:
    """Skeletons of a real clip: found once, then read again by whoever scores against it.

    Args:
        path: where they are kept; content decides the name, so what is there is right if it is
            whole.
        finder: finds them where they are not there.
        n_frames: of the clip.
        size_px: width and height of the clip.
    """

    def __init__(
        self, path: Path, finder: SkeletonFinder, *, n_frames: int, size_px: tuple[int, int]
    ) -> None:
        self._path, self._finder, self._size_px = path, finder, size_px
        self._kept = _read(path, n_frames)
        self._found: list[PoseChunk] = []
        self._at = 0

    def next(self, images: Sequence[NDArray[np.uint8]]) -> PoseChunk:
        """Return the skeletons of the next frames."""
        if self._kept is None:
            self._found.append(self._finder.find(images))
            return self._found[-1]
        part = slice(self._at, self._at + len(images))
        self._at = part.stop
        return PoseChunk(keypoints=self._kept.keypoints[part], scores=self._kept.scores[part])

    def keep(self, suite: DetectorSuite) -> None:
        """Write down what was found, once the clip has ended."""
        if self._kept is None and self._found:
            pose = WholeBodyPose(
                keypoints=np.concatenate([chunk.keypoints for chunk in self._found]),
                scores=np.concatenate([chunk.scores for chunk in self._found]),
                width_px=self._size_px[0],
                height_px=self._size_px[1],
                source=suite.source,
                model_digest=suite.skeleton_digest,
            )
            save_pose(self._path, pose)


def _read(path: Path, n_frames: int) -> WholeBodyPose | None:
    try:
        pose = load_pose(path)
    except MediaError:
        return None
    if len(pose) != n_frames:
        return None
    mark_used(path)
    return pose
