"""Every method's spec against a stand-in of that method, pixels included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.baselines.external.conftest import Clips, blocks, made
from tests.baselines.external.fakes import write_picture
from tpbench.baselines.base import AnimationTask
from tpbench.baselines.external.adapter import ExternalGenerator
from tpbench.baselines.external.spec import spec_ids
from tpbench.dwpose_drawing import draw_pose

POSE_DRIVEN = ("animate-anyone", "magicpose", "stableanimator")
N = 12  # more than ten, so that names in the order of letters come wrong


def drawings(task: AnimationTask) -> list[NDArray[np.uint8]]:
    """Return what drives the pose-driven stand-ins, at the clip's own size."""
    pairs = zip(task.driving.keypoints, task.driving.scores, strict=True)
    return [draw_pose(p[None], s[None], task.height_px, task.width_px) for p, s in pairs]


def assert_aligned(
    frames: Sequence[NDArray[np.uint8]],
    task: AnimationTask,
    driving: Sequence[NDArray[np.uint8]],
    *,
    levels: float,
) -> None:
    """Fail unless frame i is half reference, half driving picture i, at the same place."""
    wanted = [((task.reference.astype(int) + image) // 2) for image in driving]
    assert len(frames) == len(wanted) == task.n_frames
    for index, frame in enumerate(frames):
        assert frame.shape == (task.height_px, task.width_px, 3)
        assert frame.dtype == np.uint8
        errors = [np.abs(frame.astype(int) - other).mean() for other in wanted]
        assert int(np.argmin(errors)) == index
        assert errors[index] < levels
        for moved in (
            frame[:, ::-1],
            *(np.roll(frame, by, axis) for by in (1, -1) for axis in (0, 1)),
        ):
            assert np.abs(moved.astype(int) - wanted[index]).mean() > errors[index]


def folders_for(method_id: str, task: AnimationTask, clips: Clips, folder: Path) -> dict[str, Path]:
    """Make what the user has to bring, and return the options that say where it is."""
    size, indices = (task.width_px, task.height_px), range(task.n_frames)
    images = [blocks(index, size, 5) for index in indices]
    if method_id == "magicanimate":
        clips.write(folder / "densepose" / f"{task.clip_id}.mp4", images)
        return {"densepose_dir": folder / "densepose"}
    if method_id == "champ":
        for name in ("depth", "normal", "semantic_map", "dwpose", "mask"):
            for index, image in enumerate(images):
                # Numbers without zeros in front, from 1 on, as Blender can write them.
                path = folder / "guidance" / task.clip_id / name / f"frame_{index + 1}.png"
                write_picture(path, image)
        return {"guidance_dir": folder / "guidance"}
    return {}


@pytest.mark.parametrize("size", [(192, 192), (256, 144), (144, 256)], ids=str)
@pytest.mark.parametrize("method_id", spec_ids())
def test_frames_come_back_aligned_to_the_driving_clip(
    method_id: str,
    size: tuple[int, int],
    build: Callable[..., ExternalGenerator],
    clips: Clips,
    tmp_path: Path,
) -> None:
    task = clips.task(size=size, n=N)
    options = folders_for(method_id, task, clips, tmp_path)
    if method_id in POSE_DRIVEN:
        driving = drawings(task)
    elif method_id == "mimicmotion":
        driving = [blocks(index, size, sum(task.clip_id.encode())) for index in range(N)]
    else:
        driving = [blocks(index, size, 5) for index in range(N)]
    frames, reasons = made(build(method_id, **options), [task])
    assert not reasons
    # Lines of poses keep their width on a larger canvas, so they come back thinner.
    levels = 12.0 if method_id in ("magicpose", "stableanimator") else 6.0
    assert_aligned(frames["clip"], task, driving, levels=levels)
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("method_id", ["mimicmotion", "magicanimate"])
def test_clips_of_a_batch_are_kept_apart(
    method_id: str,
    build: Callable[..., ExternalGenerator],
    clips: Clips,
    tmp_path: Path,
) -> None:
    tasks = [clips.task("a", n=8), clips.task("b", size=(72, 128), n=10), clips.task("c", n=8)]
    options: dict[str, Path] = {}
    for task in tasks:
        options |= folders_for(method_id, task, clips, tmp_path)
    generator = build(method_id, batch_clips=3, **options)
    frames, reasons = made(generator, tasks)
    assert generator.max_clips == 3
    assert not reasons
    assert [len(frames[name]) for name in "abc"] == [8, 10, 8]
    alone, _ = made(build(method_id, **options), [tasks[2]])
    assert all(np.array_equal(x, y) for x, y in zip(frames["c"], alone["c"], strict=True))
    assert len(list((tmp_path / "methods" / method_id / "logs").iterdir())) == 2


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(50)])
def test_mimicmotion_loses_no_frame_of_a_fast_clip(
    fps: Fraction, build: Callable[..., ExternalGenerator], clips: Clips
) -> None:
    task = clips.task(n=9, fps=fps)
    frames, reasons = made(build("mimicmotion"), [task])
    assert not reasons
    assert len(frames["clip"]) == 9


def test_a_checkout_is_left_as_it_was(
    build: Callable[..., ExternalGenerator], clips: Clips, methods: Path
) -> None:
    generator = build("animate-anyone")
    checkout = methods / "animate-anyone" / "checkout"
    before = {path for path in checkout.rglob("*") if "__pycache__" not in path.parts}
    made(generator, [clips.task(n=2)])
    assert {path for path in checkout.rglob("*") if "__pycache__" not in path.parts} == before


def test_the_user_s_settings_reach_the_command(
    build: Callable[..., ExternalGenerator], clips: Clips, tmp_path: Path
) -> None:
    generator = build("animate-anyone", guidance="5.5", keep_workdir=True, timeout_s=0.01)
    _, reasons = made(generator, [clips.task(n=2)])
    kept = next((tmp_path / "tmp").iterdir())
    assert str(kept) in reasons["clip"]
    assert generator.describe()["settings"] == {"steps": 30, "guidance": 5.5}


def test_a_folder_that_the_user_forgot_fails_that_clip_only(
    build: Callable[..., ExternalGenerator], clips: Clips, tmp_path: Path
) -> None:
    tasks = [clips.task("a", n=2), clips.task("b", n=2), clips.task("c", n=3)]
    options = folders_for("magicanimate", tasks[0], clips, tmp_path)
    folders_for("magicanimate", clips.task("c", n=2), clips, tmp_path)
    frames, reasons = made(build("magicanimate", **options), tasks)
    assert list(frames) == ["a"]
    folder = tmp_path / "densepose"
    assert reasons == {
        "b": f"magicanimate: no b.mp4 in {folder}: provide it for this clip (option densepose_dir)",
        "c": f"magicanimate: {folder}/c.mp4 has 2 frames, the driving pose 3",
    }


def test_a_method_that_wants_pixels_says_so_where_there_are_none(
    build: Callable[..., ExternalGenerator], clips: Clips
) -> None:
    task = replace(clips.task(n=2), driving_video=None)
    _, reasons = made(build("mimicmotion"), [task])
    assert reasons["clip"] == "mimicmotion: the method needs the driving video, and there is none"
