"""Evidence, poses, faces and pictures that tests of the extraction make up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from tests.extraction import quick_worker
from tpbench.detectors.base import FaceDetection
from tpbench.extraction import run
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.measures import ClipEvidence
from tpbench.wholebody import (
    FACE,
    LEFT_EAR,
    LEFT_ELBOW,
    LEFT_EYE,
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NOSE,
    NUM_KEYPOINTS,
    RIGHT_EAR,
    RIGHT_ELBOW,
    RIGHT_EYE,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    WholeBodyPose,
)
from tpbench.work import InThisProcess

_POOL = run._pool

SIZE_PX = (640, 480)
"""Width and height of the made-up sources."""

SKELETON: dict[int, tuple[float, float]] = {
    NOSE: (320, 140),
    LEFT_EYE: (335, 125),
    RIGHT_EYE: (305, 125),
    LEFT_EAR: (355, 130),
    RIGHT_EAR: (285, 130),
    LEFT_SHOULDER: (395, 220),
    RIGHT_SHOULDER: (245, 220),
    LEFT_ELBOW: (420, 320),
    RIGHT_ELBOW: (220, 320),
    LEFT_WRIST: (390, 380),
    RIGHT_WRIST: (250, 380),
}
"""A person in the middle, 150 px from shoulder to shoulder, px."""


class MakePose(Protocol):
    def __call__(
        self,
        n_frames: int = ...,
        *,
        size_px: tuple[int, int] = ...,
        joints: Mapping[int, tuple[float, float]] = ...,
    ) -> WholeBodyPose: ...


class MakeEvidence(Protocol):
    def __call__(
        self, n_frames: int = ..., **changes: ArrayLike | Fraction | WholeBodyPose
    ) -> ClipEvidence: ...


class MakeFace(Protocol):
    def __call__(
        self, x: float, y: float, height: float = ..., *, score: float = ...
    ) -> FaceDetection: ...


class MakeTexture(Protocol):
    def __call__(self, width_px: int, height_px: int, *, seed: int = ...) -> NDArray[np.uint8]: ...


@pytest.fixture(scope="session")
def talkingpose() -> ExtractionConfig:
    """The default preset."""
    return load_preset("talkingpose")


@pytest.fixture
def make_pose() -> MakePose:
    """Makes a person who stands still: all but hips, legs and feet seen with score 1."""

    def make(
        n_frames: int = 10,
        *,
        size_px: tuple[int, int] = SIZE_PX,
        joints: Mapping[int, tuple[float, float]] = SKELETON,
    ) -> WholeBodyPose:
        points = np.full((NUM_KEYPOINTS, 2), np.nan)
        for index, point in joints.items():
            points[index] = point
        angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
        face = points[NOSE] + 40 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points[FACE] = face
        steps = np.linspace(0, 20, 21)[:, None]
        points[LEFT_HAND] = points[LEFT_WRIST] + steps
        points[RIGHT_HAND] = points[RIGHT_WRIST] + steps * (-1, 1)
        keypoints = np.repeat(points[None], n_frames, axis=0).astype(np.float32)
        return WholeBodyPose(
            keypoints=keypoints,
            scores=np.asarray(np.isfinite(keypoints).all(axis=2), dtype=np.float32),
            width_px=size_px[0],
            height_px=size_px[1],
            source="dwpose",
            model_digest="",
        )

    return make


@pytest.fixture
def make_evidence(make_pose: MakePose) -> MakeEvidence:
    """Makes the evidence of a flawless clip at 25 fps; each field can be given another value."""

    def make(n_frames: int = 10, **changes: ArrayLike | Fraction | WholeBodyPose) -> ClipEvidence:
        per_frame = np.ones(n_frames)
        values: dict[str, Any] = {
            "width_px": SIZE_PX[0],
            "height_px": SIZE_PX[1],
            "fps": Fraction(25),
            "n_frames": n_frames,
            "sampled": np.arange(n_frames),
            "luminance": 120 * per_frame,
            "motion": 2 * per_frame[1:],
            "page_share": 0.1 * per_frame,
            "text_share": 0.0,
            "num_faces": np.ones(n_frames, dtype=np.int64),
            "face_height_px": 80 * per_frame,
            "face_scores": 0.9 * per_frame,
            "face_yaw_deg": 0 * per_frame,
            "face_sharpness": per_frame,
            "hand_scores": np.ones((n_frames, 2)),
            "hand_sharpness": np.ones((n_frames, 2)),
            "camera_shift_share": 0 * per_frame[1:],
            "appearance_change": 0.1 * per_frame,
            "pose": make_pose(n_frames),
        }
        for name, value in changes.items():
            old = values[name]
            values[name] = np.asarray(value, old.dtype) if isinstance(old, np.ndarray) else value
        return ClipEvidence(**values)

    return make


@pytest.fixture
def make_face() -> MakeFace:
    """Makes a frontal face whose box, centred at (x, y), is 0.8 times as wide as high."""

    def make(x: float, y: float, height: float = 40.0, *, score: float = 0.9) -> FaceDetection:
        half = height / 2
        box = [x - 0.8 * half, y - half, x + 0.8 * half, y + half]
        return FaceDetection(
            box_px=np.array(box, dtype=np.float32),
            score=score,
            eyes_px=np.array([[x - 0.3 * half, y], [x + 0.3 * half, y]], dtype=np.float32),
            nose_px=np.array([x, y + 0.2 * half], dtype=np.float32),
            ears_px=np.array([[x - 0.7 * half, y], [x + 0.7 * half, y]], dtype=np.float32),
        )

    return make


@pytest.fixture
def make_texture() -> MakeTexture:
    """Makes a picture that is busy at every scale, as photographs are."""

    def make(width_px: int, height_px: int, *, seed: int = 0) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        picture = rng.normal(128, 3, (height_px, width_px, 3))
        for cells in (4, 8, 16, 32, 64):
            coarse = rng.normal(size=(cells, cells, 3))
            size = (width_px, height_px)
            picture += (
                120 / np.sqrt(cells) * cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
            )
        return np.clip(picture, 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="module")
def quick_clips() -> Iterator[None]:
    """Clips of a few bytes are made, in this process where a test asks for no worker."""
    make_task = run._task
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        patch.setattr(
            run, "_task",
            lambda *args, **opts: replace(make_task(*args, **opts), factory="quick_worker:build"),
        )  # fmt: skip
        patch.setattr(run, "write_report", lambda _: None)
        patch.setattr(run, "_pool", lambda _: InThisProcess(build=quick_worker.build))
        yield


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are made by a worker of its own process, as they are for users."""
    monkeypatch.setattr(run, "_pool", _POOL)
