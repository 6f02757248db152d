"""What an evaluation would take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark.conftest import HEIGHT_PX, LENGTHS, MODULE, WIDTH_PX
from tests.benchmark.evaluating import Evaluator
from tpbench.benchmark.evaluate import FRAME_BYTES, estimate, prepare
from tpbench.benchmark.run_info import hardware_stamp

MODEL = f"{MODULE}:Numbered"
FRAMES = sum(n for name, n in LENGTHS.items() if name != "short")


def test_clips_frames_and_disk_are_counted_and_nothing_is_written(
    talks: Path, tmp_path: Path
) -> None:
    found = estimate(prepare(MODEL, talks, seeds=(1, 2)), tmp_path / "runs")

    assert (found.clips, found.frames, found.clips_there) == (3, FRAMES, 0)
    share = WIDTH_PX * HEIGHT_PX / 512**2
    assert found.disk_bytes == pytest.approx(2 * FRAMES * FRAME_BYTES * share, abs=1)
    assert [folder.name for folder in found.folders] == ["seed1", "seed2"]
    assert (found.generate_s, found.based_on) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_the_size_in_the_manifest_is_believed(talks: Path, tmp_path: Path) -> None:
    prepared = prepare(MODEL, talks, limit=1)
    (clip,) = prepared.plan.selection.wanted
    large = replace(clip, driving=replace(clip.driving, out_size_px=1024))
    selection = replace(prepared.plan.selection, wanted=(large,))

    found = estimate(replace(prepared, plan=replace(prepared.plan, selection=selection)), tmp_path)

    assert found.disk_bytes == 101 * FRAME_BYTES * 4


def test_time_is_that_of_an_earlier_run_of_the_model(talks: Path, tmp_path: Path) -> None:
    (run,) = Evaluator(data=talks, out=tmp_path)(
        model=MODEL, metrics=["l1"], ids=["a"], options={"pause_s": "0.001"}
    ).runs
    rate = run.info.timings.frames_per_s
    assert rate is not None

    found = estimate(prepare(MODEL, talks, seeds=(42, 43)), tmp_path, workers=2)

    assert found.generate_s == pytest.approx(FRAMES * 2 / (rate * 2))
    assert found.based_on == run.folder.path
    assert found.clips_there == 1
    other = estimate(prepare("frozen", talks), tmp_path)
    assert other.generate_s is None


def test_a_run_on_another_machine_says_nothing(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Evaluator(data=talks, out=tmp_path)(model=MODEL, metrics=["l1"], ids=["a"])
    another = hardware_stamp().model_copy(update={"processor": "another"})
    monkeypatch.setattr("tpbench.benchmark.evaluate.hardware_stamp", lambda: another)

    assert estimate(prepare(MODEL, talks), tmp_path).generate_s is None
