"""Keypoints of every frame in COCO-WholeBody's format: `wholebody-train.json` and the like.

The frames are named, not written: image `<clip_id>/000012.png` is frame 12 of the video that its
entry names. A point is labelled (v = 2) where it was found with the score from which the pose
drawing shows it, and lies in the picture; all others are 0, 0, 0. A frame without such a point has
no annotation.

The files are written clip by clip: a long dataset takes no more memory than a short one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset.exports.clip_files import below, bytes_of, checked_pose
from tpbench.dataset.exports.out_folder import Part
from tpbench.dataset.folder import CLIP_VIDEO, KEYPOINTS, Dataset
from tpbench.dataset.info import Clip
from tpbench.errors import DatasetError
from tpbench.files import atomic_write
from tpbench.wholebody import (
    BODY,
    FACE,
    FEET,
    LEFT_HAND,
    RIGHT_HAND,
    VISIBLE_SCORE,
    WholeBodyPose,
)

_FRAME_BYTES: Final = 4_000
"""Of one frame, image and annotation, at most."""
_HEAD_BYTES: Final = 10_000
_LISTS: Final = {
    "keypoints": BODY,
    "foot_kpts": FEET,
    "face_kpts": FACE,
    "lefthand_kpts": LEFT_HAND,
    "righthand_kpts": RIGHT_HAND,
}
"""Field of an annotation -> its points."""
_BOXES: Final = {"face": FACE, "lefthand": LEFT_HAND, "righthand": RIGHT_HAND}
_PERSON: Final = {
    "id": 1,
    "name": "person",
    "supercategory": "person",
    "keypoints": [
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
        "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ],
    "skeleton": [
        [16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9],
        [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7],
    ],
}  # fmt: skip
"""COCO's category, as published."""


def parts(dataset: Dataset, sides: Mapping[str, Sequence[Clip]], out: Path) -> list[Part]:
    """Return what has to be written: one file per split.

    Args:
        dataset: an open one.
        sides: the kept clips of each split.
        out: folder of the export.

    Raises:
        DatasetError: files of a clip are missing.
    """
    for clips in sides.values():
        bytes_of(dataset, clips, (KEYPOINTS,))
    return [
        Part(
            name=f"wholebody-{side}",
            clips=clips,
            n_bytes=_HEAD_BYTES + _FRAME_BYTES * sum(clip.n_frames or 0 for clip in clips),
            write=partial(_write, dataset, side, clips, out / f"wholebody-{side}.json"),
        )
        for side, clips in sides.items()
    ]


def _write(dataset: Dataset, side: str, clips: Sequence[Clip], path: Path) -> list[Path]:
    info = {
        "description": f"{dataset.info.name}, {side}",
        "version": dataset.info.version,
        "digest": dataset.digest,
    }
    first = np.cumsum([1, *(clip.n_frames or 0 for clip in clips)]).tolist()
    images = chain.from_iterable(map(partial(_images, dataset), clips, first[:-1]))
    annotations = chain.from_iterable(map(partial(_annotations, dataset), clips, first[:-1]))
    with (
        atomic_write(path, durable=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(f'{{"info":{_json(info)},"licenses":[],"categories":[{_json(_PERSON)}]')
        _write_array(file, "images", images)
        _write_array(file, "annotations", annotations)
        file.write("}\n")
    return [path]


def _write_array(file: IO[str], name: str, entries: Iterator[dict[str, Any]]) -> None:
    file.write(f',\n"{name}":[')
    for at, entry in enumerate(entries):
        file.write(",\n" if at else "\n")
        file.write(_json(entry))
    file.write("]")


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _images(dataset: Dataset, clip: Clip, first: int) -> Iterator[dict[str, Any]]:
    """Yield the images of a clip; their ids count from `first`."""
    if clip.out_size_px is None:  # rows that other tools wrote
        pose = checked_pose(dataset, clip)
        width_px, height_px = pose.width_px, pose.height_px
    else:
        width_px = height_px = clip.out_size_px
    video = below(dataset, clip, CLIP_VIDEO)
    for frame in range(clip.n_frames or 0):
        yield {
            "id": first + frame,
            "file_name": f"{clip.clip_id}/{frame:06d}.png",
            "width": width_px,
            "height": height_px,
            "video": video,
            "frame": frame,
        }


def _annotations(dataset: Dataset, clip: Clip, first: int) -> Iterator[dict[str, Any]]:
    """Yield the annotations of a clip, each with the id of its image."""
    pose = checked_pose(dataset, clip)
    if len(pose) != clip.n_frames:
        raise DatasetError(
            f"{dataset.keypoints_path(clip)}: has {len(pose)} frames, the clip {clip.n_frames}; "
            "`tpbench inspect --verify` lists what is damaged"
        )
    points, labelled = _labelled(pose)
    for frame in range(len(pose)):
        if labelled[frame].any():
            yield annotation(points[frame], labelled[frame], image_id=first + frame)


def _labelled(pose: WholeBodyPose) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the points to a hundredth of a px, and which of them are labelled."""
    points = np.round(pose.keypoints.astype(np.float64), 2)
    high = np.array([pose.width_px, pose.height_px]) - 0.5
    # Comparisons with NaN are false.
    labelled = ((points >= -0.5) & (points <= high)).all(axis=-1) & (pose.scores >= VISIBLE_SCORE)
    return np.where(labelled[..., None], np.clip(points, 0, None), 0.0), labelled


def annotation(
    points_px: NDArray[np.float64], labelled: NDArray[np.bool_], *, image_id: int
) -> dict[str, Any]:
    """Return the annotation of one person.

    Args:
        points_px: (133, 2) px, 0 where not labelled.
        labelled: (133,), at least one of them.
        image_id: also its own id: there is one person in a frame.
    """
    flagged = np.column_stack([points_px, np.where(labelled, 2, 0)])
    box = _box(points_px[labelled])
    found: dict[str, Any] = {
        "id": image_id,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": box,
        "area": round(box[2] * box[3], 2),
        "num_keypoints": int(labelled[BODY].sum()),
    }
    for name, part in _LISTS.items():
        found[name] = [_plain(value) for value in flagged[part].ravel().tolist()]
    for name, part in _BOXES.items():
        found[f"{name}_box"] = _box(points_px[part][labelled[part]])
        found[f"{name}_valid"] = bool(labelled[part].any())
    return found | {"foot_valid": bool(labelled[FEET].any())}


def _box(points_px: NDArray[np.float64]) -> list[float]:
    """Return x, y, width and height of the smallest box around points; zeros without any."""
    if not len(points_px):
        return [0, 0, 0, 0]
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    return [_plain(round(value, 2)) for value in (*low.tolist(), *(high - low).tolist())]


def _plain(value: float) -> float:
    """Return a whole number as an integer: the file has many zeros."""
    return int(value) if value == int(value) else value
