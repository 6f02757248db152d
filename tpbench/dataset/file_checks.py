"""Whether every file of a clip is there, is the one that the manifest describes, and can be used.

That a clip itself decodes to its end is known from its fingerprint
(`fingerprints.take_fingerprint`); all else is looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset.folder import CLIP_FILES, CLIP_VIDEO, KEYPOINTS, POSE_VIDEO, Dataset
from tpbench.dataset.info import FILE_HASHES, Clip
from tpbench.dataset.problems import Problem, relative
from tpbench.errors import MediaError, number_of
from tpbench.files import sha256_of
from tpbench.foreign import printable
from tpbench.spread import entries
from tpbench.video import decode_frames, probe
from tpbench.wholebody import FACE, RIGHT_HIP, VISIBLE_SCORE, WholeBodyPose, load_pose

_LEGS: Final = slice(RIGHT_HIP + 1, FACE.start)
"""Knees, ankles and feet, which clips of upper bodies cut off."""
_CUT_SHARE: Final = 0.5


def file_problems(dataset: Dataset, clip: Clip) -> list[Problem]:
    """Return what is wrong with the files of a kept clip, at most one problem per file."""
    found = list(_other_bytes(dataset, clip))
    wrong = {problem.where for problem in found}
    for kind, check in (
        (CLIP_VIDEO, _length_problem),
        (KEYPOINTS, _keypoints_problem),
        (POSE_VIDEO, _pose_video_problem),
    ):
        path = kind.path(dataset.folder, clip.clip_id)
        where = relative(dataset.folder, path)
        if where in wrong:
            continue
        try:
            problem = check(path, where, clip)
        except MediaError as error:
            problem = Problem(code="file.broken", where=where, what=printable(error.reason))
        found += [problem] if problem else []
    return found


def unknown_files(dataset: Dataset, clips: Sequence[Clip]) -> Iterator[Problem]:
    """Yield the files in the folders of clips that belong to no kept clip."""
    for kind in CLIP_FILES:
        known = {kind.path(dataset.folder, clip.clip_id) for clip in clips}
        for path in entries(kind.home(dataset.folder)):
            if path not in known:
                yield Problem(
                    code="file.unknown",
                    where=relative(dataset.folder, path),
                    what="belongs to no kept clip",
                )


def _other_bytes(dataset: Dataset, clip: Clip) -> Iterator[Problem]:
    for kind, column in zip(CLIP_FILES, FILE_HASHES, strict=True):
        path = kind.path(dataset.folder, clip.clip_id)
        where = relative(dataset.folder, path)
        try:
            if sha256_of(path) != getattr(clip, column):
                what = "not the file that the manifest describes (sha256 differs)"
                yield Problem(code="file.changed", where=where, what=what)
        except FileNotFoundError:
            yield Problem(code="file.missing", where=where, what="is missing")
        except OSError as error:
            what = f"can't be read ({error.strerror})"
            yield Problem(code="file.broken", where=where, what=what)


def _keypoints_problem(path: Path, where: str, clip: Clip) -> Problem | None:
    pose = load_pose(path)
    if len(pose) != clip.n_frames:
        what = f"is of {number_of(len(pose), 'frame')}, the manifest states {clip.n_frames}"
        return Problem(code="file.length", where=where, what=what)
    size = clip.out_size_px
    if size is not None and (pose.width_px, pose.height_px) != (size, size):
        what = f"is for {pose.width_px}x{pose.height_px} px, the clip has {size}x{size}"
        return Problem(code="keypoints.outside", where=where, what=what)
    outside = frames_outside(pose)
    if outside:
        what = f"is outside the frame in {outside:,} of {number_of(len(pose), 'frame')}"
        return Problem(code="keypoints.outside", where=where, what=what)
    return None


def frames_outside(pose: WholeBodyPose) -> int:
    """Return in how many frames the skeleton is not in the frame.

    The centre of the face has to be inside. A hand that is stretched out may be cut off by the crop
    of a clip, but not by more than half a side; legs may be anywhere.
    """
    points = pose.keypoints.astype(np.float64)
    seen = (pose.scores > VISIBLE_SCORE) & np.isfinite(points).all(axis=2)
    seen[:, _LEGS] = False
    size = np.array([pose.width_px, pose.height_px], dtype=np.float64)
    beyond = np.maximum(-0.5 - points, points - (size - 0.5)) / size
    is_outside: NDArray[np.bool_] = np.any(seen & (beyond > _CUT_SHARE).any(axis=2), axis=1)
    face = seen[:, FACE]
    has_face = face.any(axis=1)
    centres = np.nanmean(np.where(face[..., None], points[:, FACE], np.nan)[has_face], axis=1)
    is_outside[has_face] |= ((centres < -0.5) | (centres > size - 0.5)).any(axis=1)
    return int(is_outside.sum())


def _length_problem(path: Path, where: str, clip: Clip) -> Problem | None:
    info = probe(path)
    fps = Fraction(clip.fps_num or 0, clip.fps_den or 1)
    if (info.frame_count, info.fps) != (clip.n_frames, fps):
        what = (
            f"has {number_of(info.frame_count, 'frame')} at {info.fps} a second, the manifest "
            f"states {clip.n_frames} at {fps}"
        )
        return Problem(code="file.length", where=where, what=what)
    return None


def _pose_video_problem(path: Path, where: str, clip: Clip) -> Problem | None:
    problem = _length_problem(path, where, clip)
    if problem is None:
        for _ in decode_frames(path):
            pass
    return problem
