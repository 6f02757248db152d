"""Tasks with pictures that show every shift, mirror and wrong index, and fake checkouts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from tests.baselines.driven_tasks import pose_of, task_for, write_video
from tests.conftest import MediaMaker
from tpbench.baselines.base import AnimationTask, ClipFailure, OptionValue
from tpbench.baselines.external.adapter import ExternalGenerator
from tpbench.baselines.external.spec import MethodSpec, load_spec, parse_spec
from tpbench.video import CLIP
from tpbench.wholebody import FACE, FEET, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND, WholeBodyPose

REPOSITORY = Path(__file__).resolve().parents[3]

SCRIPTS = {
    "animate-anyone": "scripts/pose2vid.py",
    "champ": "inference.py",
    "magicanimate": "magicanimate/pipelines/animation.py",
    "magicpose": "test_any_image_pose.py",
    "mimicmotion": "inference.py",
    "stableanimator": "inference_basic.py",
}
"""What the command of each method runs."""

CONFIGS = {
    "animate-anyone": "configs/inference/inference_v2.yaml",
    "magicanimate": "configs/inference/inference.yaml",
    "magicpose": "model_lib/ControlNet/models/cldm_v15_reference_only_pose.yaml",
}
"""Files of the checkouts that commands or templates name."""


@pytest.fixture(autouse=True)
def methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Methods and temporary files of a test lie in its own folder."""
    folder = tmp_path / "methods"
    monkeypatch.setenv("TPBENCH_METHODS", str(folder))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return folder


@dataclass(frozen=True)
class Clips:
    """Makes tasks in a folder."""

    folder: Path

    def task(
        self,
        clip_id: str = "clip",
        *,
        size: tuple[int, int] = (96, 96),
        n: int = 8,
        fps: Fraction | int = 25,
        seed: int = 7,
    ) -> AnimationTask:
        """Make a task with a driving video; two clip ids have different pictures."""
        salt = sum(clip_id.encode())
        images = [blocks(i, size, salt) for i in range(n)]
        video = self.write(self.folder / f"{clip_id}.mp4", images, fps)
        pose = poses(n, size, salt)
        return task_for(corners(size, salt), pose, clip_id=clip_id, video=video, fps=fps, seed=seed)

    def write(
        self, path: Path, images: Sequence[NDArray[np.uint8]], fps: Fraction | int = 25
    ) -> Path:
        return write_video(path, images, fps=fps, encoding=CLIP)


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    return Clips(tmp_path / "clips")


def corners(size: tuple[int, int], salt: int = 0) -> NDArray[np.uint8]:
    """Return a picture whose corners all differ; nothing in it is at the same place mirrored."""
    small = np.array(
        [[[200, 60, 40], [60, 180, 60]], [[50, 70, 210], [210, 210, 60 + salt % 100]]],
        dtype=np.uint8,
    )
    image: NDArray[np.uint8] = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    return image


def blocks(index: int, size: tuple[int, int], salt: int = 0) -> NDArray[np.uint8]:
    """Return a picture that carries its number as grey blocks: bit b in column b % 4, row b // 4.

    Its first column is red and its last row is blue, so that a crop shows.
    """
    width_px, height_px = size
    number = (index * 37 + salt) % 4096
    image = MediaMaker.image(number, width_px=width_px, height_px=height_px)
    image[:, : width_px // 12] = (220, 30, 30)
    image[-(height_px // 12) :] = (30, 30, 220)
    return image


def poses(n: int, size: tuple[int, int], salt: int = 0) -> WholeBodyPose:
    """Return bodies whose limbs lie elsewhere in each frame; hands, face and feet not found."""
    random = np.random.default_rng(salt)
    points = random.uniform(0.1, 0.9, (n, NUM_KEYPOINTS, 2)) * size
    for part in (FACE, FEET, LEFT_HAND, RIGHT_HAND):
        points[:, part] = np.nan
    return pose_of(points, width_px=size[0], height_px=size[1])


def fake_checkout(spec: MethodSpec, folder: Path) -> Path:
    """Make a checkout of a method: its script, its configs, its weights (a few bytes each)."""
    name = spec.id.replace("-", "_")
    script = folder / SCRIPTS[spec.id]
    script.parent.mkdir(parents=True)
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        f"from tests.baselines.external.fakes import {name}\n{name}()\n",
        encoding="utf-8",
    )
    for weights in spec.weights:
        for name in weights.paths:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.write_bytes(name.encode())
            else:
                path.mkdir()
    if spec.id in CONFIGS:
        config = folder / CONFIGS[spec.id]
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text("{}\n", encoding="utf-8")
    # What an earlier run by hand has left behind must not be taken for a result.
    for name in spec.fresh:
        (folder / name).mkdir()
        (folder / name / "old.mp4").write_bytes(b"old")
    return folder


@pytest.fixture
def build(methods: Path) -> Callable[..., ExternalGenerator]:
    """Builds the generator of a method on a fake checkout of it."""

    def _build(method_id: str, **options: object) -> ExternalGenerator:
        spec = load_spec(method_id)
        checkout = methods / spec.id / "checkout"
        if not checkout.exists():
            fake_checkout(spec, checkout)
        return ExternalGenerator(spec, _as_typed(options), device="cpu")

    return _build


def _as_typed(options: Mapping[str, object]) -> dict[str, OptionValue]:
    """Return options as text, as a command line has them, for the Python of the tests."""
    return {"python": sys.executable, **{key: str(value) for key, value in options.items()}}


TOY = """
id: toy
display_name: Toy
description: writes what its first argument says
url: https://example.org/toy
commit: "0000000"
licence: {code: MIT, weights: MIT}
needs: []
notes: []
env: {kind: venv, python: "3.11", steps: []}
weights: []
mode: clip
geometry: {fit: pad, multiple_of: 8}
inputs:
  ref: {kind: ref_png}
  poses: {kind: pose_pngs, names: "%d.png"}
settings: {steps: 3}
command: ["{python}", toy.py, "{out}", "{ref}", "{n_frames}"]
collect: {root: out, glob: "*.png", kind: pictures}
timeout: {base_s: 60, per_frame_s: 0}
"""


def toy(**changes: object) -> MethodSpec:
    """Return the spec of a method that has one short script."""
    return parse_spec({**yaml.safe_load(TOY), **changes}, name="toy")


@pytest.fixture
def build_toy(methods: Path) -> Callable[..., ExternalGenerator]:
    """Builds a generator whose method is the given script."""

    def _build(
        script: str,
        *,
        device: str = "cpu",
        options: Mapping[str, object] | None = None,
        **changes: object,
    ) -> ExternalGenerator:
        checkout = methods / "toy" / "checkout"
        checkout.mkdir(parents=True, exist_ok=True)
        (checkout / "toy.py").write_text(script, encoding="utf-8")
        return ExternalGenerator(toy(**changes), _as_typed(options or {}), device=device)

    return _build


def made(
    generator: ExternalGenerator, tasks: Sequence[AnimationTask]
) -> tuple[dict[str, list[NDArray[np.uint8]]], dict[str, str]]:
    """Run tasks; return the frames by clip, and the reasons of those that failed.

    Frames must come in order, and stop where a clip has failed.
    """
    frames: dict[str, list[NDArray[np.uint8]]] = {}
    reasons: dict[str, str] = {}
    for item in generator.generate(tasks):
        assert item.clip_id not in reasons
        if isinstance(item, ClipFailure):
            reasons[item.clip_id] = item.reason
        else:
            assert item.index == len(frames.setdefault(item.clip_id, []))
            frames[item.clip_id].append(item.image)
    return {name: found for name, found in frames.items() if name not in reasons}, reasons
