"""The 133-point whole-body pose: layouts, the value type, and its file format.

The order is COCO-WholeBody: 0-16 body, 17-22 feet, 23-90 face (68 iBUG points), 91-111 the person's
own left hand, 112-132 the person's own right hand. All coordinates are pixels of the frame that the
pose belongs to, x to the right and y down, the centre of the top left pixel at (0, 0).
"""

from __future__ import annotations

import errno
import math
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from tpbench.errors import MediaError
from tpbench.files import atomic_write, open_regular

_MAX_ARRAYS: Final = 4096
_MAX_HEADER_BYTES: Final = 10_000


def read_npz(path: Path, *, max_bytes: int) -> dict[str, NDArray[Any]]:
    """Return all arrays of an npz file by name.

    Args:
        path: a regular file, as `numpy.savez` or `savez_compressed` writes it.
        max_bytes: limit on all arrays together, unpacked. The file may exceed it by 1 MiB.

    Raises:
        ValueError: it is not an npz, is damaged, holds objects, or exceeds `max_bytes`.
        OSError: it does not exist, is not a regular file, or can't be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes + (1 << 20):
            raise ValueError(f"has {size:,} bytes, more than the limit of {max_bytes:,}")
        try:
            with zipfile.ZipFile(file) as archive:
                return _arrays(archive, max_bytes)
        except ValueError:
            raise
        except Exception as error:  # zipfile, zlib, lzma and NumPy raise many kinds for bad bytes
            # An offset before the start of the file is an OSError too, but not a disk error.
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            raise ValueError(f"is not an npz file, or damaged ({error})") from error


def _arrays(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, NDArray[Any]]:
    members = archive.infolist()
    if len(members) > _MAX_ARRAYS:
        raise ValueError(f"holds {len(members):,} arrays, more than the limit of {_MAX_ARRAYS:,}")
    found: dict[str, NDArray[Any]] = {}
    left = max_bytes
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise ValueError(f"holds two arrays with the name {name!r}")
        with archive.open(member) as stored:
            shape, fortran, dtype = _header(stored, name)
            n_bytes = math.prod(shape) * dtype.itemsize
            left -= n_bytes
            if left < 0:
                raise ValueError(
                    f"unpacks to more than {max_bytes:,} bytes ({name}: {dtype} of {shape})"
                )
            values = bytearray(stored.read(n_bytes))
            if len(values) != n_bytes or stored.read(1):
                raise ValueError(f"{name} has another length than its header declares")
        flat = np.frombuffer(values, dtype=dtype) if n_bytes else np.empty(0, dtype)
        found[name] = flat.reshape(shape, order="F" if fortran else "C")
    return found


def _header(stored: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stored)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stored, _MAX_HEADER_BYTES)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stored, _MAX_HEADER_BYTES)
    else:
        raise ValueError(f"{name} has an unknown array format version {version}")
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects, which would have to be unpickled")
    if any(length < 0 for length in shape):
        raise ValueError(f"{name} has an invalid shape: {shape}")
    return shape, fortran, dtype


PoseSource = Literal["dwpose", "mediapipe"]
"""Which family of models found the points."""
NUM_KEYPOINTS: Final = 133
BODY: Final = slice(0, 17)
FEET: Final = slice(17, 23)
FACE: Final = slice(23, 91)
LEFT_HAND: Final = slice(91, 112)
RIGHT_HAND: Final = slice(112, 133)

NOSE: Final = 0
LEFT_EYE: Final = 1
RIGHT_EYE: Final = 2
LEFT_EAR: Final = 3
RIGHT_EAR: Final = 4
LEFT_SHOULDER: Final = 5
RIGHT_SHOULDER: Final = 6
LEFT_ELBOW: Final = 7
RIGHT_ELBOW: Final = 8
LEFT_WRIST: Final = 9
RIGHT_WRIST: Final = 10
LEFT_HIP: Final = 11
RIGHT_HIP: Final = 12

_MAX_BYTES: Final = 512 << 20
"""Limit of a pose's arrays: three and a half hours at 25 frames a second."""
VISIBLE_SCORE: Final = 0.3
"""Score above which DWPose's drawing, and so every model trained on it, shows a point."""
OPENPOSE_BODY: Final[tuple[int, ...]] = (
    0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3,
)  # fmt: skip
"""OpenPose-18 joint -> COCO index; -1 is the neck, the mean of both shoulders."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WholeBodyPose:
    """The pose of one person over the T frames of one clip."""

    keypoints: NDArray[np.float32]
    """(T, 133, 2) float32, x and y in px of the clip. A point that was not found is NaN."""
    scores: NDArray[np.float32]
    """(T, 133) float32 in [0, 1]. A point that was not found has 0."""
    width_px: int
    height_px: int
    source: PoseSource
    model_digest: str
    """sha256 over the model files that found the points."""

    def __post_init__(self) -> None:
        t = self.keypoints.shape[0]
        if self.keypoints.shape != (t, NUM_KEYPOINTS, 2) or self.scores.shape != (t, NUM_KEYPOINTS):
            shapes = f"{self.keypoints.shape = }, {self.scores.shape = }"
            raise ValueError(f"want (T, 133, 2) and (T, 133), got {shapes}")
        if self.keypoints.dtype != np.float32 or self.scores.dtype != np.float32:
            raise ValueError(f"want float32, got {self.keypoints.dtype = }, {self.scores.dtype = }")
        if self.source not in get_args(PoseSource):
            raise ValueError(f"want one of {get_args(PoseSource)}, got {self.source = }")

    def __len__(self) -> int:
        return int(self.keypoints.shape[0])

    def slice_frames(self, start: int, end: int) -> WholeBodyPose:
        """Return frames `start` to `end` (exclusive) as a new pose."""
        return replace(self, keypoints=self.keypoints[start:end], scores=self.scores[start:end])

    def to_crop(
        self, *, x0_px: float, y0_px: float, scale: float, width_px: int, height_px: int
    ) -> WholeBodyPose:
        """Return the pose in the pixels of a crop: `(p - (x0, y0)) * scale`, pixel centres kept.

        Points that fall outside the crop stay: a drawing clips them, a metric may need them.
        """
        origin = np.array([x0_px, y0_px], dtype=np.float64)
        moved = (self.keypoints.astype(np.float64) + 0.5 - origin) * scale - 0.5
        return replace(
            self, keypoints=moved.astype(np.float32), width_px=width_px, height_px=height_px
        )


def to_openpose(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reorder COCO-WholeBody into OpenPose-18 body joints.

    The neck (joint 1) is the mean of the shoulders; its score is the lower of theirs.

    Args:
        keypoints: (..., 133, 2) px.
        scores: (..., 133).

    Returns:
        (..., 18, 2) float64 px and (..., 18) float64.
    """
    order = np.array([max(i, 0) for i in OPENPOSE_BODY])
    points = keypoints[..., order, :].astype(np.float64)
    values = scores[..., order].astype(np.float64)
    shoulders = [LEFT_SHOULDER, RIGHT_SHOULDER]
    points[..., 1, :] = keypoints[..., shoulders, :].mean(axis=-2, dtype=np.float64)
    values[..., 1] = scores[..., shoulders].min(axis=-1)
    return points, values


_TORSO_TO_SHOULDERS: Final = 0.7


def body_size_px(keypoints_px: NDArray[np.floating]) -> float:
    """Estimate the shoulder width, in px, that the person has when seen from the front.

    The greater of shoulder width and 0.7 times the torso's length; NaN if neither is known.

    Args:
        keypoints_px: (17 or more, 2) px, COCO body joints first; NaN where not found.
    """
    points = keypoints_px.astype(np.float64)
    shoulders = points[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    hips = points[[LEFT_HIP, RIGHT_HIP]]
    width = np.hypot(*(shoulders[0] - shoulders[1]))
    torso = np.hypot(*(shoulders[0] + shoulders[1] - hips[0] - hips[1])) / 2
    return float(np.fmax(width, _TORSO_TO_SHOULDERS * torso))


def save_pose(path: Path, pose: WholeBodyPose) -> None:
    """Write a pose atomically as one compressed npz; equal poses give equal bytes."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            keypoints=pose.keypoints,
            scores=pose.scores,
            size_px=np.array([pose.width_px, pose.height_px], dtype=np.int64),
            source=np.array(pose.source),
            model_digest=np.array(pose.model_digest),
        )


def load_pose(path: Path) -> WholeBodyPose:
    """Read a pose that `save_pose` wrote.

    Raises:
        MediaError: the file is absent, not an npz, pickled, too large, or lacks a pose's arrays.
    """
    try:
        data = read_npz(path, max_bytes=_MAX_BYTES)
        width_px, height_px = (int(value) for value in data["size_px"])
        return WholeBodyPose(
            keypoints=data["keypoints"],
            scores=data["scores"],
            width_px=width_px,
            height_px=height_px,
            source=cast("PoseSource", str(data["source"])),
            model_digest=str(data["model_digest"]),
        )
    except FileNotFoundError as error:
        raise MediaError(path, "no such keypoints file") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(path, f"not a keypoints file of tpbench ({reason})") from error
