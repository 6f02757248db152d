"""How the adapter stands what a command can do to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.baselines.external.conftest import REPOSITORY, Clips, blocks, corners, made, poses
from tests.baselines.external.fakes import grid, write_picture, write_video
from tpbench.baselines.base import ClipFailure, GeneratedFrame
from tpbench.baselines.external import method
from tpbench.baselines.external.adapter import (
    ExternalGenerator,
    build_external,
    collected_frames,
)
from tpbench.baselines.external.inputs import lay_out
from tpbench.baselines.external.spec import Collect, Geometry, Panels, load_spec
from tpbench.errors import ConfigError, GeneratorError, MissingWeightsError

BuildToy = Callable[..., ExternalGenerator]

COPY = """
import shutil, sys
out, ref, count = sys.argv[1:4]
for i in range(int(count){more}):
    shutil.copy(ref, f"{{out}}/{{i}}.png")
"""
"""A method that gives the reference picture, as often as it was asked for."""

GOOD = COPY.format(more="")

GRID = """
import sys, cv2, numpy as np
out, ref, count = sys.argv[1:4]
image = np.zeros((4 + 96, 3 * 98 + 2, 3), np.uint8)
for i in range(int(count)):
    cv2.imwrite(f"{out}/{i}.png", image)
"""

HANG = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""


def test_frames_are_the_clip_s_own_size_and_exact(build_toy: BuildToy, clips: Clips) -> None:
    task = clips.task(size=(90, 70), n=3)
    frames, reasons = made(build_toy(GOOD), [task])
    assert not reasons
    assert len(frames["clip"]) == 3
    assert all(np.array_equal(image, task.reference) for image in frames["clip"])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; print('oh no'); sys.exit(3)", "exited with 3; its last line: oh no; log: "),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "killed by signal 11; it printed",
        ),
        ("print('done')", "toy: the command wrote nothing: no *.png"),
        (COPY.format(more=" - 1"), "the command wrote 4 frames; the driving pose has 5"),
        (COPY.format(more=" + 1"), "the command wrote 6 frames; the driving pose has 5"),
        (
            GRID,
            "the command wrote pictures of 296x100 px; expected frames of 96x96 px",
        ),
        (GOOD + "open(f'{out}/2.png', 'wb').write(b'no picture')", "2.png: can't be read"),
        (GOOD + "import os; os.remove(f'{out}/2.png')", "left out frame 2 of 0 to 4"),
        (GOOD + "shutil.copy(ref, f'{out}/x.png')", "wrote x.png without its own frame number"),
        ("raise RuntimeError('CUDA out of memory')", "last line: RuntimeError: CUDA out of memory"),
    ],
)
def test_what_goes_wrong_is_one_line_for_that_clip(
    script: str, reason: str, build_toy: BuildToy, clips: Clips, tmp_path: Path
) -> None:
    generator = build_toy(script)
    _, reasons = made(generator, [clips.task(n=5)])
    assert reason in reasons["clip"]
    assert "\n" not in reasons["clip"]
    assert not list((tmp_path / "tmp").iterdir())
    assert (tmp_path / "methods" / "toy" / "logs" / "clip.log").is_file()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "the command wrote 2 videos where one was expected: a.mp4, b.mp4"),
        ("import os; os.remove(f'{out}/b.mp4')", "the command wrote 3 frames; the driving"),
        (
            "import os; os.remove(f'{out}/b.mp4'); open(f'{out}/a.mp4', 'wb').write(b'no video')",
            "a.mp4: ",
        ),
    ],
)
def test_a_video_that_is_wrong_is_one_line_too(
    script: str, reason: str, build_toy: BuildToy, clips: Clips, tmp_path: Path
) -> None:
    video = clips.write(tmp_path / "three.mp4", [corners((96, 96))] * 3)
    copy = f"import shutil, sys; out = sys.argv[1]\nfor n in 'ab': shutil.copy({str(video)!r},"
    collect = {"root": "out", "glob": "*.mp4", "kind": "video"}
    generator = build_toy(f"{copy} f'{{out}}/{{n}}.mp4')\n{script}", collect=collect)
    _, reasons = made(generator, [clips.task(n=5)])
    assert reason in reasons["clip"]


def test_a_command_that_hangs_is_ended_with_all_it_has_started(
    build_toy: BuildToy, clips: Clips, methods: Path
) -> None:
    generator = build_toy(HANG, options={"timeout_s": "1"})
    _, reasons = made(generator, [clips.task(n=2)])
    assert "was still running after 1 s and was killed (option timeout_s)" in reasons["clip"]
    said = (methods / "toy" / "logs" / "clip.log").read_text().split()
    assert said[0] == "child"
    assert _ended(int(said[1]))


def test_a_command_that_runs_within_its_time_is_no_clip_that_hangs(
    build_toy: BuildToy, clips: Clips, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(method, "_WAIT_S", 0.02)
    go_on = tmp_path / "go_on"
    script = f"import os, time\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.02)\n{GOOD}"
    task = replace(clips.task(n=2), still_working=go_on.touch)
    frames, reasons = made(build_toy(script), [task])
    assert not reasons
    assert len(frames["clip"]) == 2


def test_a_command_does_not_outlive_who_runs_it(
    build_toy: BuildToy, tmp_path: Path, methods: Path
) -> None:
    build_toy(HANG)
    script = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from tests.baselines.driven_tasks import task_for\n"
        "from tests.baselines.external.conftest import corners, poses, toy\n"
        "from tpbench.baselines.external.adapter import ExternalGenerator\n"
        "task = task_for(corners((96, 96)), poses(2, (96, 96)))\n"
        "list(ExternalGenerator(toy(), {'python': sys.executable}).generate([task]))\n"
    )
    log = methods / "toy" / "logs" / "clip.log"
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as process:
        end_s = time.monotonic() + 60
        while not (log.is_file() and log.read_text().endswith("\n")):
            assert process.poll() is None
            assert time.monotonic() < end_s
            time.sleep(0.02)
        process.kill()

    assert _ended(int(log.read_text().split()[1]))


def _ended(pid: int) -> bool:
    """Wait for the end of a process, as long as a kill may take."""
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_one_bad_clip_of_a_batch_takes_no_other_with_it(
    build_toy: BuildToy, clips: Clips, methods: Path
) -> None:
    script = """
import shutil, sys, yaml
out = sys.argv[1]
print("run", flush=True)
for clip in yaml.safe_load(open(sys.argv[2])):
    if clip["n"] == 3:
        sys.exit("three is too many")
    for i in range(clip["n"]):
        shutil.copy(clip["ref"], f"{out}/{clip['clip']}_{i}.png")
"""
    generator = build_toy(
        script,
        mode="batch",
        templates={"config": {"each_clip": {"n": "{n_frames}", "ref": "{ref}", "clip": "{clip}"}}},
        command=["{python}", "toy.py", "{out}", "{config}"],
        collect={"root": "out", "glob": "{clip}_*.png", "kind": "pictures"},
        options={"batch_clips": 3},
    )

    frames, reasons = made(
        generator, [clips.task(name, n=n) for name, n in (("a", 2), ("b", 3), ("c", 4))]
    )

    assert {name: len(found) for name, found in frames.items()} == {"a": 2, "c": 4}
    assert list(reasons) == ["b"]
    assert "its last line: three is too many" in reasons["b"]
    logs = {path.name for path in (methods / "toy" / "logs").iterdir()}
    assert logs == {"a_and_2_more.log", "a.log", "b.log", "c.log"}


def test_a_pose_of_another_size_is_refused(build_toy: BuildToy, clips: Clips) -> None:
    task = replace(clips.task(n=2), driving=poses(2, (64, 64)))
    _, reasons = made(build_toy(GOOD), [task])
    assert reasons["clip"] == "toy: the driving pose is 64x64 px, the clip 96x96 px"


def test_a_pose_that_was_found_nowhere_is_an_empty_drawing(
    build_toy: BuildToy, clips: Clips
) -> None:
    task = clips.task(n=2)
    points, scores = task.driving.keypoints, task.driving.scores
    nowhere = replace(
        task.driving, keypoints=np.full_like(points, np.nan), scores=np.zeros_like(scores)
    )
    script = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)"
    generator = build_toy(script, command=["{python}", "toy.py", "{poses}", "{out}"])
    frames, _ = made(generator, [replace(task, driving=nowhere)])
    assert [int(image.max()) for image in frames["clip"]] == [0, 0]


def test_a_reader_that_stops_leaves_nothing_behind(
    build_toy: BuildToy, clips: Clips, tmp_path: Path
) -> None:
    generator = build_toy(GOOD)
    frames = generator.generate([clips.task(n=4)])
    first = next(frames)
    assert isinstance(first, GeneratedFrame)
    assert list((tmp_path / "tmp").iterdir())
    generator.close()
    generator.close()
    assert not list((tmp_path / "tmp").iterdir())


def test_a_failed_run_is_kept_where_the_user_asks_for_it(
    build_toy: BuildToy, clips: Clips, tmp_path: Path
) -> None:
    generator = build_toy("raise SystemExit(1)", options={"keep_workdir": "yes"})
    item = next(iter(generator.generate([clips.task(n=2)])))
    kept = next((tmp_path / "tmp").iterdir())
    assert isinstance(item, ClipFailure)
    assert f"; its files are in {kept}" in item.reason
    assert (kept / "inputs" / "c000_ref.png").is_file()


def test_the_command_sees_little_of_our_environment(
    build_toy: BuildToy, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    script = "import os; print(dict(os.environ), os.getcwd())"
    generator = build_toy(
        script, device="cuda:1", env_vars={"MINE": "a b"}, options={"log_dir": tmp_path / "logs"}
    )
    made(generator, [clips.task(n=2)])
    said = (tmp_path / "logs" / "clip.log").read_text()
    assert "secret" not in said
    assert "/nowhere" not in said
    assert "'CUDA_VISIBLE_DEVICES': 'GPU-7'" in said
    assert "'MINE': 'a b'" in said
    assert str(tmp_path / "tmp") in said


def test_a_strange_clip_id_leads_nowhere(build_toy: BuildToy, clips: Clips, methods: Path) -> None:
    task = replace(clips.task(n=2), clip_id="../../x y")
    frames, _ = made(build_toy(GOOD), [task])
    assert len(frames["../../x y"]) == 2
    assert [path.name for path in (methods / "toy" / "logs").iterdir()] == [".._.._x_y.log"]


def test_what_decides_about_the_frames_is_described(
    build: Callable[..., ExternalGenerator], methods: Path
) -> None:
    described = build("mimicmotion", steps=9).describe()
    assert described["method"] == "mimicmotion"
    assert described["settings"] == {
        "steps": 9, "guidance": 2.0, "frames_overlap": 6, "noise_aug_strength": 0.0,
    }  # fmt: skip
    digests = described["weights_sha256"]
    assert isinstance(digests, dict)
    assert "models/MimicMotion_1-1.pth" in digests
    assert str(methods) not in str(described)


def test_what_is_not_installed_is_said_with_what_to_do(
    build: Callable[..., ExternalGenerator], methods: Path
) -> None:
    generator = build("champ", guidance_dir="x")
    checkout = methods / "champ" / "checkout"
    assert generator.max_clips == 1
    with pytest.raises(ConfigError, match=r"champ: option 'guidance_dir' is required"):
        build("champ")
    with pytest.raises(
        ConfigError, match=r"no Python at .*/env/bin/python \(option python\); `tpb"
    ):
        build_external(load_spec("champ"), {"guidance_dir": "x"})
    with pytest.raises(ConfigError, match=r"no checkout at /nowhere \(option checkout\); `tpbench"):
        build("champ", guidance_dir="x", checkout="/nowhere")
    (checkout / "pretrained_models" / "champ" / "motion_module.pth").unlink()
    with pytest.raises(MissingWeightsError, match=r"Champ networks' are missing: no .*motion_mod"):
        build("champ", guidance_dir="x")


def test_a_weights_folder_a_wrong_device_or_option_is_refused(
    build: Callable[..., ExternalGenerator], build_toy: BuildToy, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="keeps its weights in its checkout"):
        build_external(load_spec("magicpose"), {}, weights_dir=tmp_path)
    with pytest.raises(ConfigError, match="device 'gpu': want auto"):
        build_toy(GOOD, device="gpu")
    with pytest.raises(ConfigError, match="magicpose: no option 'setps'"):
        build("magicpose", setps=3)
    with pytest.raises(ConfigError, match="no option 'batch_clips'"):
        build("stableanimator", batch_clips=3)


SIZE = (64, 48)
LAYOUT = lay_out(Geometry(fit="pad"), width_px=64, height_px=48)


def test_frames_are_in_the_order_of_their_numbers_past_999(tmp_path: Path) -> None:
    layout = lay_out(Geometry(fit="pad"), width_px=8, height_px=8)
    for index in range(1003):
        write_picture(
            tmp_path / f"{index:03d}.png", np.full((8, 8, 3), index % 251, dtype=np.uint8)
        )
    collect = Collect(root="out", glob="*.png", kind="pictures")
    frames = list(collected_frames(collect, tmp_path, "*.png", layout, 1003))
    assert [int(image[0, 0, 0]) for image in frames] == [index % 251 for index in range(1003)]


def of_panel(index: int) -> Collect:
    panels = Panels(columns=3, index=index, padding_px=2)
    return Collect(root="out", glob="*.png", kind="pictures", panels=panels)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_wanted_panel_is_cut_out(index: int, tmp_path: Path) -> None:
    panels = [corners(SIZE), blocks(9, SIZE), corners(SIZE)[::-1].copy()]
    write_picture(tmp_path / "0.png", grid(*panels))
    (frame,) = collected_frames(of_panel(index), tmp_path, "*.png", LAYOUT, 1)
    assert np.array_equal(frame, panels[index])


def test_one_picture_where_a_row_of_panels_was_expected_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.png", corners(SIZE))
    with pytest.raises(GeneratorError, match="of 64x48 px; expected rows of 3 panels of 200x52 px"):
        list(collected_frames(of_panel(2), tmp_path, "*.png", LAYOUT, 1))


@pytest.mark.parametrize("kind", ["video", "pictures"])
def test_frames_in_front_are_dropped(kind: str, tmp_path: Path) -> None:
    images = [blocks(index, SIZE) for index in range(5)]
    if kind == "video":
        write_video(tmp_path / "a.mp4", images, 25)
    else:
        for index, image in enumerate(images):
            write_picture(tmp_path / f"a{index}.png", image)
    collect = Collect.model_validate({"root": "out", "glob": "a*", "kind": kind, "drop_first": 2})
    frames = list(collected_frames(collect, tmp_path, "a*", LAYOUT, 3))
    for frame, image in zip(frames, images[2:], strict=True):
        assert np.abs(frame.astype(int) - image).mean() < 8
    with pytest.raises(GeneratorError, match="5 frames, the first 2 of which don't count; the dri"):
        list(collected_frames(collect, tmp_path, "a*", LAYOUT, 5))
