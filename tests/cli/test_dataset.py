"""`tpbench extract` as a user meets it: bad inputs, wrong options, a full disk, what is printed."""

from __future__ import annotations

import base64
import gc
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TextIO, cast

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from tests.cli.conftest import invoke
from tests.conftest import MediaMaker
from tests.datasets import clip_files, kept_row
from tests.in_process import without_processes
from tests.talks import N_FRAMES, brighter, darkness, short_settings, write_odd_talk, write_talk
from tpbench.cli.dataset import speed_lines
from tpbench.cli.extraction import _progress_bar
from tpbench.cli.main import _CurrentStderr, main
from tpbench.cli.output import CleanStream
from tpbench.dataset import Clip, Dataset, Measurement, RunStats, clip_path, finalise
from tpbench.errors import DatasetError
from tpbench.extraction.thumbnails import thumbnails_path
from tpbench.files import sha256_of
from tpbench.video import probe, read_frames
from tpbench.work import Progress

Call = Callable[..., tuple[int, str, str]]

KEPT = {
    "good.mp4",
    "odd.mp4",
    "ten_bit.mp4",
    "turned.mp4",
    "variable.mkv",
    "spaces and ünïcode 报告.mp4",
    "-dash.mp4",
    "inside.mp4",
}

FAILED = {
    "empty.mp4": "is empty (0 bytes)",
    "text.mp4": "is not a video",
    "truncated.mp4": "was cut off or damaged",
    "audio.mp4": "holds sound but no video",
    "picture.mp4": "is not a video",
    "dangling.mp4": "can't be read: No such file or directory",
    "pipe.mp4": "is not a regular file",
    "loop.mp4": "can't be read: Too many levels of symbolic links",
}

REJECTED = {"one.mp4": "clip.too_short"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the command over a folder of good and bad files."""

    preset: Path
    dataset: Dataset
    code: int
    said: str
    complained: str

    def rows(self) -> dict[str, Clip]:
        """Source file -> its row."""
        return {Path(clip.source_path).name: clip for clip in self.dataset.clips(None)}

    def pictures(self, name: str) -> list[NDArray[np.uint8]]:
        """The frames of a kept clip."""
        clip = self.rows()[name]
        return [frame.image for frame in read_frames(self.dataset.clip_path(clip))]


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("preset") / "short.yaml"
    path.write_text(yaml.safe_dump(short_settings().model_dump(mode="json")))
    return path


@pytest.fixture(scope="module")
def run(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    fill(folder / "talks")
    out = folder / "out put"
    command = ["extract", "talks", "-o", out.name, "--preset", str(preset)]
    done = subprocess.run(
        [sys.executable, "-m", "tpbench", *command, "--skeleton", "mediapipe"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    return Run(
        preset=preset,
        dataset=Dataset.open(out),
        code=done.returncode,
        said=done.stdout,
        complained=done.stderr,
    )


def fill(folder: Path) -> None:
    """Make every kind of file that is in the way, and some that are unusual but good."""
    folder.mkdir()
    write_talk(folder / "good.mp4")
    write_talk(folder / "spaces and ünïcode 报告.mp4", brighter(3))
    write_talk(folder / "-dash.mp4", brighter(6))
    write_talk(folder / "folder.mp4" / "inside.mp4", brighter(9))
    write_odd_talk(folder / "odd.mp4", size_px=(191, 143), pixel_format="yuv444p")
    write_odd_talk(folder / "ten_bit.mp4", pixel_format="yuv420p10le")
    write_odd_talk(folder / "turned.mp4", quarter_turns=1)
    gaps_ms = [20, 60, 40] * (N_FRAMES // 3)
    write_odd_talk(folder / "variable.mkv", times_ms=[sum(gaps_ms[:n]) for n in range(N_FRAMES)])
    make = MediaMaker(folder)
    for broken in (make.empty, make.text, make.truncated, make.bit_flipped, make.one_frame):
        broken()
    make.audio_only()
    cv2.imwrite(str(folder / "picture.png"), np.zeros((64, 64, 3), np.uint8))
    (folder / "picture.png").rename(folder / "picture.mp4")
    (folder / "dangling.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(folder / "pipe.mp4")
    (folder / "notes.txt").write_text("no video by name")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `tpbench extract` in this process; gives exit code, stdout and stderr."""

    def run_it(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tpbench", "extract", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return run_it


def test_bad_files_stop_nothing_and_the_exit_code_tells(run: Run) -> None:
    assert run.code == 3
    assert "Traceback" not in run.complained
    assert run.dataset.verify() == []
    assert run.rows().keys() - {"flipped.mp4"} == KEPT | FAILED.keys() | REJECTED.keys()


@pytest.mark.parametrize("name", sorted(FAILED))
def test_a_bad_file_has_one_row_and_one_line_that_says_what_is_wrong(run: Run, name: str) -> None:
    row = run.rows()[name]
    assert row.status == "failed"
    assert row.error is not None
    assert row.error.startswith(f"talks/{name}: {FAILED[name]}")
    assert "\n" not in row.error
    assert run.complained.count(f"WARNING: {row.error}\n") == 1


@pytest.mark.parametrize("name", sorted(REJECTED))
def test_a_file_that_is_no_talk_is_rejected_with_a_code(run: Run, name: str) -> None:
    row = run.rows()[name]
    assert row.status == "rejected"
    assert REJECTED[name] in row.reject_codes


def test_flipped_bits_are_no_crash(run: Run) -> None:
    row = run.rows()["flipped.mp4"]
    if row.status == "failed":
        assert row.error is not None
        assert row.error.startswith("talks/flipped.mp4: damaged: a picture near ")
    else:
        assert row.status == "rejected"


@pytest.mark.parametrize("name", sorted(KEPT))
def test_an_unusual_but_good_file_is_kept(run: Run, name: str) -> None:
    row = run.rows()[name]
    assert row.status == "kept"
    info = probe(run.dataset.clip_path(row))
    assert not info.variable_rate
    assert info.display.orientation.quarter_turns == 0
    assert info.pixel_format == "yuv420p"
    assert (info.width_px, info.height_px) == (128, 128)
    assert info.frame_count == row.n_frames == len(run.dataset.load_pose(row))
    assert info.duration_s == pytest.approx(N_FRAMES / 25, abs=0.1)


@pytest.mark.parametrize("name", ["turned.mp4", "ten_bit.mp4", "odd.mp4"])
def test_the_clip_of_an_unusual_file_shows_what_that_of_the_plain_one_shows(
    run: Run, name: str
) -> None:
    plain, other = run.pictures("good.mp4"), run.pictures(name)
    assert len(plain) == len(other)
    differences = [np.abs(a.astype(float) - b).mean() for a, b in zip(plain, other, strict=True)]
    lying = [
        np.abs(a.astype(float) - np.rot90(b)).mean() for a, b in zip(plain, other, strict=True)
    ]
    assert max(differences) < 8
    assert min(lying) > 30


def test_a_clip_of_a_variable_source_shows_each_picture_when_it_was_shown(run: Run) -> None:
    row = run.rows()["variable.mkv"]
    fps = Fraction(row.fps_num or 0, row.fps_den or 1)
    shown = run.pictures("variable.mkv")
    plain = run.pictures("good.mp4")
    gaps_ms = [20, 60, 40] * (N_FRAMES // 3)
    starts_ms = np.array([sum(gaps_ms[:n]) for n in range(N_FRAMES)])
    for number, picture in enumerate(shown):
        nearest = np.argmin([np.abs(picture.astype(float) - other).mean() for other in plain])
        late_ms = number * 1000 / float(fps) - starts_ms[nearest]
        assert -1000 / float(fps) <= late_ms <= 80


def test_stdout_is_the_summary_and_nothing_else(run: Run) -> None:
    lines = run.said.splitlines()
    counts = run.dataset.info.counts
    assert lines[0].startswith("out put 1.0.0  digest ")
    for words in (["kept", str(counts.kept)], ["failed", str(counts.failed)], ["clip.too_short"]):
        assert any(line.split()[: len(words)] == words for line in lines)
    assert "source frames/s" in run.said
    assert lines[-1] == f"report: {run.dataset.folder / 'report.html'}"
    assert "WARNING" not in run.said
    assert "videos" not in run.said


def test_stderr_is_one_line_per_failure_and_the_count(run: Run) -> None:
    # Whoever runs first on a machine is told that model files are fetched.
    # On a slow machine, a line says every 30 seconds how far it is.
    others = ("INFO: downloading ", "extract: ")
    lines = [line for line in run.complained.splitlines() if not line.startswith(others)]
    *warnings, last = lines
    failed = run.dataset.info.counts.failed
    left_out, *failures = warnings
    assert left_out.endswith("left out files without a video ending: 1 .txt")
    assert len(failures) == failed
    assert all(line.startswith("WARNING: talks/") for line in failures)
    assert last.startswith(f"sources failed: {failed}, quarantined: 0; ")
    assert "`tpbench inspect 'out put'`" in last


def test_no_control_characters_where_there_is_no_terminal(run: Run) -> None:
    assert [c for c in run.said + run.complained if not c.isprintable() and c != "\n"] == []


def test_inspect_lists_what_failed(run: Run) -> None:
    done = tpbench("inspect", run.dataset.folder, "--verify")
    unwrapped = " ".join(done.stdout.split())
    for name, reason in FAILED.items():
        assert f"talks/{name}: {reason}" in unwrapped
    assert "all files match the manifest" in done.stdout
    assert done.returncode == 0


def test_the_result_can_be_split(run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.dataset.folder, tmp_path / "dataset")
    done = tpbench("split", folder, "--test", "0.5")
    assert done.returncode == 0, done.stderr
    dataset = Dataset.open(folder)
    sides = [dataset.clips(split="train"), dataset.clips(split="test")]
    assert sum(map(len, sides)) == len(KEPT)
    assert dataset.verify() == []


def tpbench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tpbench", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dry_run_tells_what_is_left_and_what_would_stop_it(run: Run, call: Call) -> None:
    folder = run.dataset.folder
    command = (folder.parent / "talks" / "good.mp4", "-o", folder, "--preset", run.preset)
    before = sorted(folder.rglob("*"))
    code, out, err = call(*command, "--skeleton", "mediapipe", "--dry-run", "--json")
    assert (code, err) == (0, "")
    assert (json.loads(out)["videos"], json.loads(out)["videos_left"]) == (1, 0)
    code, out, err = call(*command, "--skeleton", "dwpose", "--dry-run")
    assert code == 2
    assert out.startswith("1 video: 1 processed already, 0 left (0.0 MB)\n")
    assert "would stop: " in err
    assert "made with another config" in err
    assert sorted(folder.rglob("*")) == before


def test_help_tells_of_every_option(call: Call) -> None:
    code, said, _ = call("--help")
    options = ("out", "preset", "skeleton", "workers", "device", "offline", "redo", "name")
    assert code == 0
    for option in options:
        described = re.search(rf"^ .*--{option}\b(.*(\n {{10}}.*)*)$", said, re.MULTILINE)
        assert described, f"--{option} is not there"
        assert re.search(r"[A-Za-z]{3}.*\.", described[1]), f"--{option} is not explained"
    assert "{inputs}..." in said


WRONG = {
    "nothing in the folder": (["nothing"], ["no video found in nothing", ".mp4"]),
    "missing input": (["missing"], ["input missing does not exist"]),
    "a file in the way": (["talks", "-o", "file"], ["can't write a dataset here"]),
    "below a file": (["talks", "-o", "file/dataset"], ["can't write a dataset here"]),
    "below /proc": (["talks", "-o", "/proc/tpbench"], ["can't write a dataset here"]),
    "a link to itself": (["talks", "-o", "loop"], ["can't write a dataset here"]),
    "a strangers folder": (["talks", "-o", "strange"], ["no dataset of tpbench", "choose a new"]),
    "input in the dataset": (["talks", "-o", "."], ["lies in the dataset", "name the raw videos"]),
    "unknown preset": (["talks", "--preset", "talkingpsoe"], ["did you mean 'talkingpose'?"]),
    "missing preset": (["talks", "--preset", "none.yaml"], ["none.yaml can't be read"]),
    "unknown key": (
        ["talks", "--preset", "typo.yaml"],
        ["unknown setting 'clip.max_seconds'", "did you mean 'max_s'?"],
    ),
    "no YAML": (["talks", "--preset", "broken.yaml"], ["broken.yaml is no YAML"]),
    "no worker": (["talks", "--workers", "0"], ["--workers must be at least 1, got 0"]),
    "no DWPose": (
        ["talks", "--skeleton", "dwpose"],
        ["tpbench weights pull dwpose", "--skeleton mediapipe"],
    ),
    "no MediaPipe, offline": (
        ["talks", "--offline"],
        ["working offline was asked for", "tpbench weights pull mediapipe-"],
    ),
}
"""What the user got wrong: arguments, and words that the one line must have."""


@pytest.fixture
def wrong_world(tmp_path: Path, preset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with what the arguments of `WRONG` speak of."""
    write_talk(tmp_path / "talks" / "talk.mp4", darkness())
    (tmp_path / "nothing").mkdir()
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "typo.yaml").write_text(preset.read_text().replace("max_s:", "max_seconds:"))
    (tmp_path / "broken.yaml").write_text("clip: [1, 2")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", WRONG)
def test_what_the_user_got_wrong_is_one_line_and_exit_2(
    what: str, call: Call, preset: Path, wrong_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, words = WRONG[what]
    if what in {"no DWPose", "no MediaPipe, offline"}:
        monkeypatch.setenv("TPBENCH_CACHE", str(wrong_world / "cache"))
    before = sorted(wrong_world.rglob("*"))
    code, said, complained = call(
        *("-o", "out", "--preset", preset, "--skeleton", "mediapipe"), *arguments
    )
    assert (code, said) == (2, "")
    assert complained.count("\n") == 1
    assert complained.startswith("error: ")
    assert [word for word in words if word not in complained] == []
    assert sorted(wrong_world.rglob("*")) == before, "something was written before that was known"


def test_a_dataset_made_with_other_settings_is_one_line_and_exit_2(
    run: Run, call: Call, tmp_path: Path
) -> None:
    changed = short_settings(**{"face.too_small": 40}).model_dump(mode="json")
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(changed))
    sources = run.dataset.folder.parent / "talks"
    before = sha256_of(run.dataset.folder / "manifest.parquet")

    code, said, complained = call(
        sources, "-o", run.dataset.folder, "--preset", tmp_path / "other.yaml",
        "--skeleton", "mediapipe",
    )  # fmt: skip

    assert (code, said) == (2, "")
    assert complained.count("\n") == 1
    assert "made with another config (filters.face.too_small null is now 40" in complained
    assert "choose another folder, or pass --redo" in complained
    assert sha256_of(run.dataset.folder / "manifest.parquet") == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = [shutil.which("mount") or "false", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        yield disk
    finally:
        gc.collect()  # `stop` in `call` and its traceback hold one another, and a file on the disk
        subprocess.run([shutil.which("umount") or "umount", str(disk)], check=True)


@pytest.mark.parametrize("room_kb", [60, 110, 220], ids=["record", "clip", "manifest"])
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(
    room_kb: int, small_disk: Path, call: Call, preset: Path, tmp_path: Path
) -> None:
    write_talk(tmp_path / "talks" / "talk.mp4")
    free_bytes = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(free_bytes - room_kb * 1024))
    out = small_disk / "dataset"
    command = (tmp_path / "talks", "-o", out, "--preset", preset, "--skeleton", "mediapipe")

    code, said, complained = call(*command)

    assert (code, said) == (2, "")
    assert complained.count("\n") == 1
    assert str(out) in complained
    assert "No space left on device" in complained or "the disk is full" in complained

    (small_disk / "ballast").unlink()
    with without_processes():  # what a worker does is the same, without its start
        assert call(*command)[0] == 0
    dataset = Dataset.open(out)
    assert (dataset.info.counts.kept, dataset.verify()) == (1, [])


class Terminal(io.StringIO):
    """What rich takes for a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_on_a_terminal_and_lines_stand_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    stream = CleanStream(cast("TextIO", terminal))
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    counts = {"kept": 3, "rejected": 2, "failed": 1}
    state = Progress(step="extract", total=9, before=1, done=4, frames=12345, counts=counts)
    with _progress_bar() as listener:
        assert terminal.getvalue() == "", "nothing is drawn before there is something to tell"
        listener(state)
        _CurrentStderr().emit(
            logging.LogRecord("tpbench", logging.WARNING, "", 0, "a line", None, None)
        )

    drawn = terminal.getvalue()
    assert "4/9" in drawn
    assert "12,345 frames, 3 kept, 2 rejected, 1 failed in this run" in drawn
    assert "\x1b[2Ka line\n" in drawn
    assert "u001b" not in drawn
    assert sys.stderr is stream


def test_no_progress_is_drawn_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with _progress_bar() as listener:
        listener(Progress(step="extract", total=1, before=0, done=1, frames=1))
    assert file.getvalue() == ""


_MEASUREMENTS = (
    Measurement(
        name="face_height_px",
        title="Face [bold]height",
        unit="px",
        direction="at_least",
        code="face.too_small",
    ),
    Measurement(name="face_yaw_deg", title="Head turn", unit="deg", direction="at_most"),
)


def _kept(folder: Path, clip_id: str) -> Clip:
    for path in clip_files(folder, clip_id):
        path.write_bytes(clip_id.encode())
    return replace(
        kept_row(folder, clip_id, n_frames=120),
        source_path=f"videos/{clip_id} [red].mp4",
        measurements={"face_height_px": 140.0},
        thresholds={"face_height_px": 80.0},
    )


_REJECTED = Clip(
    clip_id="bob",
    status="rejected",
    reject_codes=("face.too_small",),
    source_id="bob",
    source_path="videos/bob [red].mp4",
    start_s=0.0,
    end_s=4.8,
    measurements={"face_height_px": 31.5},
    thresholds={"face_height_px": 80.0},
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "120")
    path = tmp_path / "talks"
    rows = [_kept(path, f"ann{i}") for i in range(3)]
    return finalise(
        path,
        [*rows, _REJECTED],
        name="Talks",
        config={},
        models={},
        measurements=_MEASUREMENTS,
        run=RunStats(workers=2, wall_s=10, core_s=20, source_frames=450, source_s=18),
    ).folder


def test_inspect_shows_counts_reject_table_and_speed(folder: Path) -> None:
    result = invoke("inspect", folder)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert "3 clips, 360 frames, 14.4 s of 3 identities kept, from 4 sources" in lines
    assert "kept 3 75.0%" in lines
    assert "rejected 1 25.0%" in lines
    assert "face.too_small 1 100.0% Face [bold]height" in lines
    assert "2 workers, 10 s: 45.0 source frames/s, 1.80x real time" in lines
    assert "0.90 h of video per core-hour" in lines


def test_the_latest_run_stands_beside_the_sum_of_all() -> None:
    one = RunStats(workers=2, gpus=1, wall_s=10, core_s=20, source_frames=450, source_s=18)
    first, latest = one.model_copy(update={"stage_s": {"write": 1.0}}), one
    assert speed_lines(first.model_copy(update={"runs": (first,)})) == [
        "2 workers, 10 s: 45.0 source frames/s, 1.80x real time",
        "0.90 h of video per core-hour, 1.80 h per GPU-hour",
        "stages: write 100%",
    ]
    both = {"wall_s": 30.0, "source_s": 54.0, "source_frames": 1350, "runs": (first, latest)}
    assert speed_lines(one.model_copy(update=both))[:2] == [
        "latest run that processed videos: 2 workers, 10 s: 45.0 source frames/s, 1.80x real time",
        "all runs: 2 workers, 30 s: 45.0 source frames/s, 1.80x real time",
    ]


def test_inspect_shows_every_measurement_of_a_clip_against_its_limit(folder: Path) -> None:
    result = invoke("inspect", folder, "bob")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert "bob rejected face.too_small" in lines
    assert "source videos/bob [red].mp4" in lines
    assert "Face [bold]height 31.5 ≥ 80 px reject: face.too_small" in lines
    assert "Head turn deg not measured" in lines


def test_inspect_names_the_frame_that_decided(folder: Path) -> None:
    assert json.loads(invoke("inspect", folder, "bob", "--json").stdout)["deciding_frame"] is None
    jpeg = base64.b64encode(b"\xff\xd8\xff").decode()
    path = thumbnails_path(folder, Dataset.open(folder).clip("bob").source_id)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"thumbnails": {"bob": {"frame": 30, "jpeg": jpeg}}}))
    assert json.loads(invoke("inspect", folder, "bob", "--json").stdout)["deciding_frame"] == 30
    assert "decided by frame 30" in " ".join(invoke("inspect", folder, "bob").stdout.split())


def test_a_name_that_begins_no_id_is_met_with_an_example_of_many(tmp_path: Path) -> None:
    ids = [f"talk-{n:02}-0123456789abcdef" for n in range(12)]
    rows = [_kept(tmp_path, name) for name in ids]
    finalise(tmp_path, rows, name="Many", config={}, models={}, measurements=())
    with pytest.raises(DatasetError) as refusal:
        invoke("inspect", tmp_path, "zzz")
    example = f"ids begin with the name of the video, such as {ids[0]}; "
    assert f"no clip 'zzz'; {example}`tpbench inspect " in str(refusal.value)


def test_several_reasons_for_one_clip_are_explained(tmp_path: Path) -> None:
    rows = [replace(_REJECTED, reject_codes=("clip.too_short", "face.too_small"))]
    finalise(tmp_path, rows, name="Small", config={}, models={}, measurements=_MEASUREMENTS)
    assert "a clip can be rejected for several reasons" in invoke("inspect", tmp_path).stdout


def test_inspect_takes_the_beginning_of_an_id(folder: Path) -> None:
    assert "source videos/bob [red].mp4" in " ".join(invoke("inspect", folder, "b").stdout.split())
    with pytest.raises(DatasetError, match="3 clip ids begin with 'an': ann0, ann1, ann2;"):
        invoke("inspect", folder, "an")


def test_inspect_of_a_kept_clip_names_its_files(folder: Path) -> None:
    result = invoke("inspect", folder, "ann1", "--json")
    row = json.loads(result.stdout)
    assert Path(row["paths"]["clip"]).read_bytes() == b"ann1"
    assert row["verdicts"][0]["verdict"] == "ok"
    assert row["source_path"] == "videos/ann1 [red].mp4"


def test_inspect_json_lists_all_clips_and_the_counts(folder: Path) -> None:
    content = json.loads(invoke("inspect", folder, "--json").stdout)
    assert content["counts"]["kept"] == 3
    assert content["run"]["frames_per_s"] == 45.0
    assert content["clips"][-1] == {
        "clip_id": "bob",
        "status": "rejected",
        "reject_codes": ["face.too_small"],
    }


def test_verify_exits_with_3_when_a_file_was_changed(folder: Path) -> None:
    assert invoke("inspect", folder, "--verify").exit_code == 0
    clip_path(folder, "ann0").write_bytes(b"other")
    result = invoke("inspect", folder, "--verify")
    assert result.exit_code == 3
    assert "ann0.mp4: not the file" in result.stderr
