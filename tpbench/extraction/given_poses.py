"""Keypoints that come with an existing set: ours, or arrays as DWPose's code has them.

Three kinds of `.npz` are read, none of them pickled:

- our own (`tpbench.wholebody.save_pose`);
- `keypoints` (T, 133, 2) or (T, 134, 2), a third value being the score, and `scores` (T, 133) or
  (T, 134): px of the clip, or shares of its size. 133 points are in COCO-WholeBody's order; 134
  are in DWPose's, with OpenPose's 18 joints first;
- `bodies` (T, 18, 2), `hands` (T, 2, 21, 2) and `faces` (T, 68, 2) with `body_scores` or
  `bodies_scores` (T, 18), `hands_scores` (T, 2, 21) and `faces_scores` (T, 68): the parts that
  DWPose's drawing takes, as shares of the size. Hands may lack; their order is left, right.

A point with a score of 0 or with coordinates below 0 in both axes was not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.errors import MediaError
from tpbench.wholebody import (
    FACE,
    FEET,
    LEFT_HAND,
    NUM_KEYPOINTS,
    OPENPOSE_BODY,
    RIGHT_HAND,
    WholeBodyPose,
    load_pose,
    read_npz,
)

_MAX_BYTES: Final = 512 << 20
_JOINTS: Final = len(OPENPOSE_BODY)
_WITH_NECK: Final = NUM_KEYPOINTS + 1
_SHARES_LIMIT: Final = 2.0
"""Coordinates that are all below this are shares of the size: a person covers more than 2 px."""
UNKNOWN_MODELS: Final = ""
"""Digest of models that nobody knows."""


def read_given_pose(path: Path, *, size_px: tuple[int, int], n_frames: int) -> WholeBodyPose:
    """Return the keypoints of a clip in px of the clip.

    Args:
        path: the file.
        size_px: width and height of the clip.
        n_frames: frames of the clip.

    Raises:
        MediaError: it can't be read, holds none of the kinds above, or has another number of frames
            or, of our own kind, another size than the clip.
    """
    try:
        data = read_npz(path, max_bytes=_MAX_BYTES)
    except FileNotFoundError as error:
        raise MediaError(path, "no such keypoints file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(path, f"can't be read as keypoints ({reason})") from error
    pose = load_pose(path) if "model_digest" in data else _of_dwpose(path, data, size_px)
    if len(pose) != n_frames:
        raise MediaError(path, f"has keypoints of {len(pose)} frames, and the clip has {n_frames}")
    if (pose.width_px, pose.height_px) != size_px:
        raise MediaError(
            path,
            f"has keypoints for {pose.width_px}x{pose.height_px} px, and the clip has "
            f"{size_px[0]}x{size_px[1]} px",
        )
    return pose


def _of_dwpose(
    path: Path, data: Mapping[str, NDArray[Any]], size_px: tuple[int, int]
) -> WholeBodyPose:
    points, scores = _whole(path, data) if "keypoints" in data else _parts(path, data)
    found = np.isfinite(points).all(axis=-1) & (scores > 0) & ~(points < 0).all(axis=-1)
    points = np.where(found[..., None], points, np.nan)
    if found.any() and np.nanmax(points) <= _SHARES_LIMIT:
        points = points * np.array(size_px, dtype=np.float64)
    return WholeBodyPose(
        keypoints=points.astype(np.float32),
        scores=np.where(found, np.clip(scores, 0, 1), 0).astype(np.float32),
        width_px=size_px[0],
        height_px=size_px[1],
        source="dwpose",
        model_digest=UNKNOWN_MODELS,
    )


def _whole(
    path: Path, data: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = _numbers(path, "keypoints", data["keypoints"])
    n_frames, n_points = (*points.shape, 0, 0)[:2]
    if points.ndim != 3 or n_points not in {NUM_KEYPOINTS, _WITH_NECK} or points.shape[2] < 2:
        raise MediaError(path, f"keypoints are {points.shape}; want (T, 133, 2) or (T, 134, 2)")
    if "scores" in data:
        scores = _shaped(path, "scores", data, (n_frames, n_points))
    elif points.shape[2] > 2:
        scores = points[..., 2]
    else:
        scores = np.ones((n_frames, n_points))
    points = points[..., :2]
    if n_points == NUM_KEYPOINTS:
        return points, scores
    return _in_our_order(points[:, :_JOINTS], points[:, _JOINTS:]), _in_our_order(
        scores[:, :_JOINTS], scores[:, _JOINTS:]
    )


def _parts(
    path: Path, data: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if "bodies" not in data:
        raise MediaError(
            path,
            f"holds no keypoints that are known (it has {', '.join(sorted(data)) or 'nothing'}); "
            "want `keypoints` and `scores`, or `bodies`, `hands` and `faces`",
        )
    n_frames = len(data["bodies"]) if data["bodies"].ndim else 0
    points = np.full((n_frames, NUM_KEYPOINTS - 17, 2), np.nan)
    scores = np.zeros((n_frames, NUM_KEYPOINTS - 17))
    parts = [
        ("faces", (68,), slice(FACE.start - 17, FACE.stop - 17)),
        ("hands", (2, 21), slice(LEFT_HAND.start - 17, RIGHT_HAND.stop - 17)),
    ]
    for name, shape, place in parts:
        if name in data:
            given = _shaped(path, name, data, (n_frames, *shape, 2))
            points[:, place] = given.reshape(n_frames, -1, 2)
            scores[:, place] = _scores(path, data, name, (n_frames, *shape))
    bodies = _shaped(path, "bodies", data, (n_frames, _JOINTS, 2))
    body_scores = _scores(path, data, "bodies", (n_frames, _JOINTS))
    return _in_our_order(bodies, points), _in_our_order(body_scores, scores)


def _scores(
    path: Path, data: Mapping[str, NDArray[Any]], part: str, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the scores of a part, 1 without any: (T, points)."""
    names = (f"{part}_scores", "body_scores" if part == "bodies" else f"{part[:-1]}_scores")
    name = next((name for name in names if name in data), None)
    given = np.ones(shape) if name is None else _shaped(path, name, data, shape)
    return given.reshape(shape[0], -1)


def _in_our_order(joints: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 133 points of OpenPose's 18 joints and the 116 points of feet, face and hands."""
    body = np.zeros((len(joints), FEET.start, *joints.shape[2:]))
    for joint, at in enumerate(OPENPOSE_BODY):
        if at >= 0:
            body[:, at] = joints[:, joint]
    return np.concatenate([body, others], axis=1)


def _shaped(
    path: Path, name: str, data: Mapping[str, NDArray[Any]], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    values = _numbers(path, name, data[name])
    if values.size != np.prod(shape) or len(values) != shape[0]:
        raise MediaError(path, f"{name} are {values.shape}; want {shape}")
    return values.reshape(shape)


def _numbers(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind not in "fiu" or not values.ndim:
        raise MediaError(path, f"{name} are no numbers ({values.dtype} {values.shape})")
    return values.astype(np.float64)
