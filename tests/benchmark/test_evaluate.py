from __future__ import annotations

import json
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.benchmark.conftest import HEIGHT_PX, LENGTHS, WIDTH_PX, births
from tests.benchmark.evaluating import FAST, Evaluator, Noisy, flip, measurements, scores_of
from tests.benchmark.generators import MODULE, Faulty
from tpbench.benchmark.evaluate import Evaluation, failures_of, pair_run
from tpbench.benchmark.request import FRAME_BYTES, EvalRequest, disk_bytes, estimate, plan_run
from tpbench.benchmark.run_folder import ClipRecord, RunFolder
from tpbench.benchmark.run_info import hardware_stamp
from tpbench.benchmark.tasks import SELF, select_clips
from tpbench.dataset import Dataset, clip_path
from tpbench.errors import ConfigError, DatasetError, SubmissionError
from tpbench.metrics.registry import protocol
from tpbench.video import read_frames

MODEL = f"{MODULE}:Numbered"
FRAMES = sum(n for name, n in LENGTHS.items() if name != "short")


def test_clips_frames_and_disk_are_counted_and_nothing_is_written(
    talks: Path, tmp_path: Path
) -> None:
    found = estimate(EvalRequest(model=MODEL, data=talks, seeds=(1, 2), out=tmp_path / "runs"))
    assert (found.clips, found.frames, found.clips_there) == (3, FRAMES, 0)
    share = WIDTH_PX * HEIGHT_PX / 512**2
    assert found.disk_bytes == pytest.approx(2 * FRAMES * FRAME_BYTES * share, abs=1)
    assert [folder.name for folder in found.folders] == ["seed1", "seed2"]
    assert (found.generate_s, found.based_on) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_the_size_in_the_manifest_is_believed(talks: Path) -> None:
    plan = plan_run(EvalRequest(model=MODEL, data=talks, limit=1))
    (clip,) = plan.selection.wanted
    large = replace(clip, driving=replace(clip.driving, out_size_px=1024))
    selection = replace(plan.selection, wanted=(large,))
    assert disk_bytes(replace(plan, selection=selection)) == 101 * FRAME_BYTES * 4


def test_time_is_that_of_an_earlier_run_of_the_model(talks: Path, tmp_path: Path) -> None:
    (run,) = Evaluator(data=talks, out=tmp_path)(
        model=MODEL, metrics=["l1"], ids=["a"], options={"pause_s": "0.001"}
    ).runs
    rate = run.info.timings.frames_per_s
    assert rate is not None
    asked = EvalRequest(model=MODEL, data=talks, seeds=(42, 43), out=tmp_path, workers=2)
    found = estimate(asked)
    assert found.generate_s == pytest.approx(FRAMES * 2 / (rate * 2))
    assert found.based_on == run.folder.path
    assert found.clips_there == 1
    assert estimate(replace(asked, model="frozen")).generate_s is None


def test_a_run_on_another_machine_says_nothing(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Evaluator(data=talks, out=tmp_path)(model=MODEL, metrics=["l1"], ids=["a"])
    another = hardware_stamp().model_copy(update={"processor": "another"})
    monkeypatch.setattr("tpbench.benchmark.request.hardware_stamp", lambda: another)
    assert estimate(EvalRequest(model=MODEL, data=talks, out=tmp_path)).generate_s is None


CLIPS = {name: n for name, n in LENGTHS.items() if name != "short"}


@pytest.fixture(scope="module")
def undisturbed(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """What every other evaluation of `Noisy` is held against; not to be changed."""
    return Evaluator(data=talks, out=tmp_path_factory.mktemp("evaluated"))()


@pytest.fixture
def run_it(talks: Path, tmp_path: Path) -> Evaluator:
    return Evaluator(data=talks, out=tmp_path / "runs")


@pytest.fixture
def again(undisturbed: Evaluation, talks: Path, tmp_path: Path) -> Evaluator:
    """Goes on with a copy of the undisturbed evaluation."""
    shutil.copytree(undisturbed.runs[0].folder.path.parents[3], tmp_path / "runs")
    return Evaluator(data=talks, out=tmp_path / "runs")


def test_frame_0_is_made_and_not_scored(undisturbed: Evaluation) -> None:
    frames = undisturbed.frames()
    for name, n in CLIPS.items():
        assert frames.loc[frames["clip_id"] == name, "frame"].tolist() == list(range(1, n))
    assert undisturbed.clips()["n_frames"].to_dict() == {name: n - 1 for name, n in CLIPS.items()}
    assert set(frames["seed"]) == {42}


def test_the_scores_are_those_of_the_generated_frames(undisturbed: Evaluation, talks: Path) -> None:
    folder = undisturbed.runs[0].folder
    for name in CLIPS:
        real = [f.image.astype(float) for f in read_frames(clip_path(talks, name))]
        made = [f.image.astype(float) for f in read_frames(folder.generated(name))]
        errors = [((a - b) ** 2).mean() for a, b in zip(real, made, strict=True)][1:]
        psnr = float(np.mean([10 * np.log10(255**2 / error) for error in errors]))
        assert undisturbed.clips().loc[name, "psnr"] == pytest.approx(psnr, abs=1e-9)


def test_the_table_has_a_row_for_each_metric(undisturbed: Evaluation) -> None:
    table, clips = undisturbed.table(), undisturbed.clips()
    assert table.index.tolist() == list(FAST)
    assert table["value"].to_dict() == pytest.approx({name: clips[name].mean() for name in FAST})
    assert table["n_clips"].tolist() == [3] * len(FAST)
    assert table["spread"].isna().all()
    columns = ("label", "arrow", "unit", "headline")
    assert [table.loc["psnr", name] for name in columns] == ["PSNR", "↑", "dB", True]
    assert (undisturbed.complete, undisturbed.partial, undisturbed.coverage) == (True, False, 1.0)


def test_results_lie_in_the_folder_of_the_run(undisturbed: Evaluation) -> None:
    (run,) = undisturbed.runs
    content = json.loads(scores_of(run))
    assert run.folder.path.parts[-2:] == ("self-tpbench-v2", "seed42")
    assert {"run.json", "scores.json", "frames.parquet"} <= {
        path.name for path in run.folder.path.iterdir()
    }
    assert content["real"]["digest"] == run.info.dataset.digest
    assert content["real"]["task"] == "self v1"
    assert content["protocol"]["digest"] == protocol("tpbench-v2").with_metrics(FAST).digest
    made = {name: record.generated_sha256 for name, record in run.records().items()}
    assert {name: clip["generated_sha256"] for name, clip in content["clips"].items()} == made
    assert content["clips"]["a"]["identity"] == "person a"


def test_a_second_call_makes_and_measures_nothing(
    again: Evaluator, undisturbed: Evaluation
) -> None:
    before = again().runs[0]
    found = births(before), measurements(before)
    (run,) = again().runs
    assert (births(run), measurements(run)) == found
    assert scores_of(run) == scores_of(undisturbed.runs[0])


def test_neither_order_nor_workers_change_a_byte(
    run_it: Evaluator, undisturbed: Evaluation
) -> None:
    for part in (["c"], ["b", "a"]):
        run_it(ids=part)
    (run,) = run_it(ids=["c", "a", "b"], workers=2).runs
    assert scores_of(run) == scores_of(undisturbed.runs[0])


def test_several_seeds_are_averaged_clip_by_clip(run_it: Evaluator) -> None:
    both = run_it(seeds=(1, 6))
    single = [run_it(seeds=[seed]) for seed in (1, 6)]
    clips = (single[0].clips()["psnr"] + single[1].clips()["psnr"]) / 2
    assert both.clips()["psnr"].to_dict() == pytest.approx(clips.to_dict())
    row = both.table().loc["psnr"]
    assert row["value"] == pytest.approx(clips.mean())
    values = [one.scores["psnr"].value for one in single]
    assert abs(values[0] - values[1]) > 0.1, "the seeds differ"
    assert row["spread"] == pytest.approx(statistics.stdev(values))
    assert [run.folder.path.name for run in both.runs] == ["seed1", "seed6"]
    assert len(both.frames()) == 2 * len(single[0].frames())
    assert both.to_json()["metrics"]["psnr"]["details"]["n_seeds"] == 2


def test_other_metrics_need_no_other_clips(again: Evaluator, undisturbed: Evaluation) -> None:
    before = births(again().runs[0])
    (narrow,) = again(metrics=["l1"]).runs
    (whole,) = again(metrics=[*FAST, "ssim"]).runs
    (back,) = again().runs
    assert births(narrow) == births(whole) == births(back) == before
    assert scores_of(back) == scores_of(undisturbed.runs[0])


def test_a_metric_without_weights_is_blank_and_that_is_said_before_the_work(
    run_it: Evaluator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))

    class Listening(Noisy):
        said_before = ""

        def describe(self) -> dict[str, int]:
            self.said_before = caplog.text
            return {}

    model = Listening()

    evaluation = run_it(model, metrics=["psnr", "fid"])

    assert "will stay blank: fid: model files are missing, run: tpbench weights pull fid-" in (
        model.said_before
    )
    table = evaluation.table()
    assert table["status"].tolist() == ["measured", "not_measured"]
    assert "tpbench weights pull fid-inception" in str(table.loc["fid", "reason"])
    assert np.isfinite(evaluation.scores["psnr"].value)
    assert evaluation.complete


@pytest.mark.parametrize(
    "said", [{"metrics": ["psnr", "fid"], "strict": True}, {"metrics": ["fid", "kid"]}]
)
def test_without_what_must_be_measured_nothing_is_begun(
    said: dict[str, object], run_it: Evaluator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=r"'fid' can't be measured.*weights pull fid-inception"):
        run_it(**said)
    assert not run_it.out.exists()


def test_a_failed_clip_lowers_the_coverage_and_the_others_are_scored(run_it: Evaluator) -> None:
    evaluation = run_it(Faulty("failure"))
    (run,), (report,) = evaluation.runs, evaluation.reports
    assert not evaluation.complete
    assert evaluation.coverage == pytest.approx(2 / 3)
    assert failures_of(run, report) == {"b": "nobody is in the picture"}
    assert (report.coverage.missing, sorted(report.clips)) == (("b",), ["a", "c"])
    assert evaluation.to_json()["runs"][0]["failed"] == failures_of(run, report)


def test_if_every_clip_fails_no_metric_has_a_value(run_it: Evaluator) -> None:
    evaluation = run_it(Faulty("failure"), ids=["b"])
    assert evaluation.coverage == 0
    assert set(evaluation.table()["reason"]) == {"no clip could be scored"}
    assert len(evaluation.clips()) == len(evaluation.frames()) == 0


def test_a_limit_makes_a_partial_run_that_lacks_nothing_asked_for(
    run_it: Evaluator, undisturbed: Evaluation
) -> None:
    part = run_it(limit=1)
    assert (part.partial, part.complete) == (True, True)
    assert part.reports[0].coverage.n_expected == 1
    whole = run_it()
    assert not whole.partial
    assert scores_of(whole.runs[0]) == scores_of(undisturbed.runs[0])


def test_a_limit_on_a_whole_run_takes_no_scores_away(
    again: Evaluator, undisturbed: Evaluation
) -> None:
    assert scores_of(again(limit=1).runs[0]) == scores_of(undisturbed.runs[0])


class TestKeepPreview:
    def test_the_lossless_frames_go_once_they_are_scored(
        self, run_it: Evaluator, undisturbed: Evaluation
    ) -> None:
        (run,) = run_it(keep="preview").runs
        assert scores_of(run) == scores_of(undisturbed.runs[0])
        assert list((run.folder.path / "generated").iterdir()) == []
        assert len(list((run.folder.path / "preview").iterdir())) == 3

    def test_a_second_call_makes_nothing(self, run_it: Evaluator) -> None:
        (first,) = run_it(keep="preview").runs
        before = births(first), scores_of(first)
        (second,) = run_it(keep="preview").runs
        assert (births(second), scores_of(second)) == before
        assert list((second.folder.path / "generated").iterdir()) == []

    def test_it_takes_away_what_an_earlier_call_kept(self, again: Evaluator) -> None:
        before = births(again().runs[0])
        (run,) = again(keep="preview").runs
        assert births(run) == before
        assert list((run.folder.path / "generated").iterdir()) == []

    def test_another_metric_has_the_clips_made_again(self, run_it: Evaluator) -> None:
        (first,) = run_it(keep="preview", metrics=["l1"]).runs
        before = births(first)
        evaluation = run_it(keep="preview")
        assert births(evaluation.runs[0]).keys() == before.keys()
        assert not set(births(evaluation.runs[0]).values()) & set(before.values())
        assert np.isfinite(evaluation.table()["value"]).all()

    def test_while_a_clip_lacks_all_frames_stay(self, run_it: Evaluator) -> None:
        (run,) = run_it(Faulty("failure"), keep="preview").runs
        assert len(list((run.folder.path / "generated").iterdir())) == 2


def test_overwrite_always_makes_and_measures_all_again(again: Evaluator) -> None:
    first = again().runs[0]
    before = births(first), measurements(first), scores_of(first)
    (run,) = again(overwrite="always").runs
    assert not set(births(run).values()) & set(before[0].values())
    assert not set(measurements(run).values()) & set(before[1].values())
    assert scores_of(run) == before[2]


def test_a_folder_of_another_protocol_is_refused(again: Evaluator) -> None:
    path = again().runs[0].folder.path
    path.parent.rename(path.parent.with_name("self-talkingpose"))
    with pytest.raises(ConfigError, match=r"task\.protocol tpbench-v2 is now talkingpose"):
        again(protocol="talkingpose", metrics=["psnr"])


@pytest.mark.parametrize("kind", ["generated", "record"])
def test_what_was_tampered_with_is_made_again(
    kind: str, again: Evaluator, undisturbed: Evaluation
) -> None:
    run = again().runs[0]
    before = births(run)
    flip(getattr(run.folder, kind)("b"))
    after = again().runs[0]
    changed = {name for name, birth in births(after).items() if birth != before[name]}
    assert changed == {"b"}
    assert scores_of(after) == scores_of(undisturbed.runs[0])


def test_a_tampered_record_of_a_clip_nobody_asked_for_is_named(again: Evaluator) -> None:
    run = again().runs[0]
    flip(run.folder.record("c"))
    with pytest.raises(SubmissionError, match=r"records/c\.json: "):
        again(limit=1)


def test_the_dataset_may_come_from_the_environment(
    undisturbed: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, talks: Path
) -> None:
    monkeypatch.setenv("TPBENCH_DATA", str(talks))
    (run,) = Evaluator(data=None, out=tmp_path)(ids=["a"]).runs  # type: ignore[arg-type]  # none
    assert run.info.dataset.digest == undisturbed.runs[0].info.dataset.digest


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"model": "talkingpoze"}, ConfigError, "no model 'talkingpoze'; did you mean"),
        ({"metrics": ["psrn"]}, ConfigError, "no metric is called 'psrn'; did you mean 'psnr'"),
        ({"protocol": "tpbench"}, ConfigError, "no protocol is called 'tpbench'"),
        ({"task": "slef"}, ConfigError, "no task 'slef'; did you mean 'self'"),
        ({"split": "test"}, DatasetError, "not split yet; run `tpbench split"),
        ({"ids": ["short"]}, ConfigError, "'short' has 100 frames, too few"),
        ({"min_frames": 105}, DatasetError, "no clip of 105 frames or more"),
        ({"seeds": []}, ConfigError, "one or more different numbers .* got none"),
        ({"seeds": [1, 1]}, ConfigError, "one or more different numbers .* got 1,1"),
        ({"seeds": [-1]}, ConfigError, "one or more different numbers .* got -1"),
        ({"shard": "3/2"}, ConfigError, "--shard 3/2: shards count from 1"),
        ({"shard": "half"}, ConfigError, "such as 2/4, got 'half'"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    said: dict[str, object], error: type[Exception], message: str, run_it: Evaluator
) -> None:
    with pytest.raises(error, match=message):
        run_it(**said)
    assert not run_it.out.exists()


def test_without_a_dataset_the_line_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TPBENCH_DATA", raising=False)
    with pytest.raises(ConfigError, match="by --data, or set TPBENCH_DATA"):
        Evaluator(data=None, out=tmp_path)()  # type: ignore[arg-type]  # none


def test_steps_of_every_seed_are_told(run_it: Evaluator) -> None:
    heard: list[tuple[int, str, int]] = []
    run_it(
        seeds=(1, 2),
        ids=["a", "b"],
        on_progress=lambda seed, state: heard.append((seed, state.step, state.frames)),
    )
    kinds = list(dict.fromkeys((seed, kind) for seed, kind, _ in heard))
    assert kinds == [(seed, step) for seed in (1, 2) for step in ("generate", "score")]
    assert heard[-1] == (2, "score", CLIPS["a"] + CLIPS["b"] - 2)


def test_expected_is_what_was_asked_for_or_tried(talks: Path, tmp_path: Path) -> None:
    dataset, folder = Dataset.open(talks), RunFolder(path=tmp_path)
    clips = select_clips(dataset, SELF).clips
    done = ClipRecord(clip_id="a", status="done", inputs="1" * 64, frames_sha256="2" * 64)
    failed = ClipRecord(clip_id="b", status="failed", inputs="1" * 64, reason="nobody there")
    without = pair_run(clips, {"a": done, "b": failed}, dataset, folder, wanted=())
    asked = pair_run(clips, {"a": done, "b": failed}, dataset, folder, wanted={"c"})
    assert [pair.clip_id for pair in asked.pairs] == ["a"]
    assert asked.pairs[0].generated == folder.generated("a")
    assert (asked.pairs[0].real.name, asked.pairs[0].identity) == ("a.mp4", "person a")
    assert (without.missing, asked.missing) == (("b",), ("b", "c"))
    assert (without.n_expected, asked.n_expected) == (2, 3)
