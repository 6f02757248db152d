"""Two runs side by side; values are written by hand, as reports."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmark.evaluating import Evaluator
from tpbench.benchmark.compare import Comparison, compare_runs
from tpbench.benchmark.run_info import read_run_info, write_run_info
from tpbench.errors import SubmissionError
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.report import ScoreReport, load_report, write_scores

PEOPLE = tuple(f"person{number}" for number in range(8))


@pytest.fixture(scope="module")
def run_folder(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scored run; tests change copies of it."""
    out = tmp_path_factory.mktemp("compared")
    return Evaluator(data=talks, out=out)().runs[0].folder.path


@pytest.fixture
def runs(run_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two copies that are of two models."""
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        shutil.copytree(run_folder, folder)
    info = read_run_info(folders[1])
    write_run_info(
        folders[1], info.model_copy(update={"model": info.model.model_copy(update={"name": "b"})})
    )
    return folders


def change(folder: Path, **changes: Any) -> None:  # noqa: ANN401 - fields of a report
    """Write other scores."""
    write_scores(folder / "scores.json", replace(load_report(folder)[0], **changes))


def give(folder: Path, values: Mapping[str, Mapping[str, float]]) -> None:
    """Write scores of eight clips, one of each person; by metric and person."""
    report = load_report(folder)[0]
    pattern = report.clips["a"]
    clips = {
        person: replace(
            pattern,
            clip_id=person,
            identity=person,
            values={name: column[person] for name, column in values.items() if person in column},
        )
        for person in PEOPLE
        if any(person in column for column in values.values())
    }
    write_scores(folder / "scores.json", replace(report, clips=clips))


def column(*values: float) -> dict[str, float]:
    return dict(zip(PEOPLE, values, strict=True))


def compared(runs: tuple[Path, Path], metric: str, a: list[float], b: list[float]) -> Comparison:
    give(runs[0], {metric: column(*a)})
    give(runs[1], {metric: column(*b)})
    return compare_runs(*runs)


def test_the_difference_is_the_mean_over_clips(runs: tuple[Path, Path]) -> None:
    a = [30.0, 20, 25, 31, 22, 27, 29, 24]
    b = [value - 2 - at / 8 for at, value in enumerate(a)]
    found = compared(runs, "psnr", a, b).metrics["psnr"]
    assert found.difference == pytest.approx(2 + sum(range(8)) / 64)
    assert found.low is not None
    assert found.high is not None
    assert 2 < found.low < found.difference < found.high < 3
    assert (found.better, found.n_clips, found.n_identities) == ("a", 8, 8)
    assert found.reason is None


@pytest.mark.parametrize(
    ("metric", "a", "b", "better"),
    [
        ("psnr", 20.0, 25.0, "b"),
        ("psnr", 25.0, 20.0, "a"),
        ("l1", 5.0, 9.0, "a"),
        ("l1", 9.0, 5.0, "b"),
        ("motion_ratio", 1.5, 0.9, "b"),
        ("motion_ratio", 1.05, 0.5, "a"),
    ],
)
def test_better_is_what_the_metric_says(
    metric: str, a: float, b: float, better: str, runs: tuple[Path, Path]
) -> None:
    bumps = [0.001 * at for at in range(8)]
    found = compared(runs, metric, [a + x for x in bumps], [b - x for x in bumps])
    assert found.metrics[metric].better == better


def test_what_chance_can_make_is_not_better(runs: tuple[Path, Path]) -> None:
    a = [20.0, 30, 20, 30, 20, 30, 20, 30]
    found = compared(runs, "psnr", a, a[::-1]).metrics["psnr"]
    assert found.better is None
    assert found.low is not None
    assert found.low < 0 < (found.high or 0)


def test_with_few_people_nobody_is_better_and_that_is_said(
    run_folder: Path, runs: tuple[Path, Path]
) -> None:
    found = compare_runs(*runs).metrics["psnr"]
    assert (found.difference, found.low, found.better) == (0.0, None, None)
    assert found.reason == "3 identities: an interval needs at least 5"
    unjudged = compare_runs(*runs).unjudged
    assert unjudged == "3 identities: at least 6 are needed to rule out luck"


def test_the_worst_clips_are_those_with_the_greatest_loss(runs: tuple[Path, Path]) -> None:
    a = [30.0, 10, 30, 12, 30, 25, 30, 40]
    worst = compared(runs, "psnr", a, [30.0] * 8).worst["psnr"]
    assert [(loss.clip_id, loss.loss) for loss in worst] == [
        ("person1", 20.0),
        ("person3", 18.0),
        ("person5", 5.0),
    ]


def test_copies_of_the_real_clip_differ_by_nothing(runs: tuple[Path, Path]) -> None:
    infinite = [math.inf] * 8
    found = compared(runs, "psnr", infinite, infinite)
    assert found.metrics["psnr"].difference == 0
    assert found.worst["psnr"] == ()
    assert found.to_json()["metrics"]["psnr"]["difference"] == 0


def test_an_infinite_clip_counts_the_same_in_a_in_b_and_in_their_difference(
    runs: tuple[Path, Path],
) -> None:
    a = [math.inf, math.inf, math.inf, math.inf, math.inf, math.inf, math.inf, 12.0]
    b = [30.0, 30.5, 29.8, 30.1, 30.3, 30.2, math.inf, 30.4]
    found = compared(runs, "psnr", a, b)
    psnr = found.metrics["psnr"]
    assert psnr.a == pytest.approx((7 * 100 + 12) / 8)
    assert psnr.b == pytest.approx((100 + sum(b[:6]) + b[7]) / 8)
    assert psnr.difference == psnr.a - psnr.b
    assert psnr.n_infinite == 8
    assert found.worst["psnr"][0].loss == pytest.approx(18.4)
    assert psnr.n_clips == 8


def test_a_and_b_are_over_the_clips_that_both_have(runs: tuple[Path, Path]) -> None:
    """The hard clips that A lacks count for neither."""
    a = [1.0, 1.2, 0.9, 1.1, 1.0, math.nan, math.nan, math.nan]
    b = [1.5, 1.4, 1.6, 1.5, math.nan, 9.0, 9.0, 9.0]
    found = compared(runs, "l1", a, b).metrics["l1"]
    assert (found.n_clips, found.n_lacking_a, found.n_lacking_b) == (4, 3, 1)
    assert found.a == pytest.approx(1.05)
    assert found.b == pytest.approx(1.5)
    assert found.difference == found.a - found.b


def test_with_a_target_all_is_said_of_the_distance(runs: tuple[Path, Path]) -> None:
    wild = [0.2, 1.8, 0.25, 1.85, 0.2, 1.8, 0.15, 1.75]
    steady = [0.93, 0.94, 0.95, 0.96, 0.94, 0.95, 0.93, 0.92]
    found = compared(runs, "motion_ratio", wild, steady).metrics["motion_ratio"]
    assert found.quantity == "distance to 1"
    assert (found.value_a, found.value_b) == pytest.approx((1.0, 0.94))
    assert (found.a, found.b) == pytest.approx((0.8, 0.06))
    assert found.difference == found.a - found.b
    assert found.low is not None
    assert found.low > 0
    assert found.better == "b"


@pytest.mark.parametrize("n_metrics", [1, 20])
def test_all_metrics_are_judged_together_and_counted(
    n_metrics: int, runs: tuple[Path, Path]
) -> None:
    """A difference that one comparison may call sure is none among twenty that chance made."""
    rng = np.random.default_rng(1)
    names = [
        name
        for name, row in METRICS.items()
        if row.direction in {"higher", "lower"} and row.reduction != "set" and name != "psnr"
    ]
    edge = [3.0, 2.0, 3.0, 1.0, 2.0, 4.0, 3.0, -0.5]
    values = {"psnr": edge, **{name: rng.normal(size=8) for name in names[: n_metrics - 1]}}
    for folder, sign in zip(runs, (1.0, 0.0), strict=True):
        give(folder, {name: column(*(sign * np.array(v))) for name, v in values.items()})
        report = load_report(folder)[0]
        scores = {name: replace(report.metrics["psnr"], metric=name) for name in values}
        versions = {n: replace(s, version=METRICS[n].version) for n, s in scores.items()}
        change(folder, metrics=versions)

    found = compare_runs(*runs)

    assert found.n_judged == n_metrics
    assert found.metrics["psnr"].low is not None
    assert found.metrics["psnr"].low > 0
    assert found.metrics["psnr"].better == ("a" if n_metrics == 1 else None)
    assert [one.better for one in found.metrics.values()][1:] == [None] * (n_metrics - 1)


def test_clips_of_one_run_only_are_in_no_difference(runs: tuple[Path, Path]) -> None:
    give(runs[0], {"l1": column(*[5.0] * 8)})
    give(runs[1], {"l1": dict.fromkeys(PEOPLE[:6], 4.0)})
    found = compare_runs(*runs)
    assert (found.n_common, found.n_unpaired) == (6, 2)
    assert found.metrics["l1"].n_clips == 6


def with_metric(report: ScoreReport, **changes: Any) -> ScoreReport:  # noqa: ANN401 - of a score
    """Return the report with one metric of all clips together."""
    changes = {"version": 1, **changes}
    fid = replace(report.metrics["psnr"], metric="fid", direction="lower", **changes)
    return replace(report, metrics={**report.metrics, "fid": fid})


def test_what_all_clips_give_together_differs_without_interval(runs: tuple[Path, Path]) -> None:
    for folder, value in zip(runs, (80.0, 50.0), strict=True):
        report = with_metric(load_report(folder)[0], value=value)
        write_scores(folder / "scores.json", report)
    found = compare_runs(*runs)
    fid = found.metrics["fid"]
    assert (fid.difference, fid.low, fid.better) == (30.0, None, None)
    assert fid.reason == "all clips together give one value: no interval"
    assert "fid" not in found.worst


def test_what_all_clips_give_together_has_no_difference_between_runs_of_different_clips(
    runs: tuple[Path, Path],
) -> None:
    for folder, value in zip(runs, (80.0, 50.0), strict=True):
        report = with_metric(load_report(folder)[0], value=value)
        write_scores(folder / "scores.json", report)
    report = load_report(runs[1])[0]
    kept = {name: clip for name, clip in report.clips.items() if name != "a"}
    change(runs[1], clips=kept)
    fid = compare_runs(*runs).metrics["fid"]
    figures = (fid.a, fid.b, fid.value_a, fid.value_b, fid.difference)
    assert all(math.isnan(figure) for figure in figures)
    assert fid.blank
    assert fid.n_clips == 0
    assert fid.reason is not None
    assert "the runs have values of different clips" in fid.reason


def test_what_all_clips_give_together_is_blank_if_one_run_lacks_a_clip_for_it(
    runs: tuple[Path, Path],
) -> None:
    for folder, n_clips in zip(runs, (3, 2), strict=True):
        report = with_metric(load_report(folder)[0], value=80.0, n_clips=n_clips)
        write_scores(folder / "scores.json", report)
    fid = compare_runs(*runs).metrics["fid"]
    assert fid.blank
    assert math.isnan(fid.a)


def test_a_mean_over_all_frames_is_blank_where_the_runs_have_values_for_different_clips(
    runs: tuple[Path, Path],
) -> None:
    for folder, lacking in zip(runs, ("a", "b"), strict=True):
        report = load_report(folder)[0]
        clips = {
            name: replace(clip, values={**clip.values, "l1": math.nan}) if name == lacking else clip
            for name, clip in report.clips.items()
        }
        change(folder, protocol={**report.protocol, "clips_to_set": "mean_of_frames"}, clips=clips)
    found = compare_runs(*runs).metrics
    assert found["l1"].blank
    assert found["l1"].reason is not None
    assert "values of different clips" in found["l1"].reason
    assert not found["psnr"].blank


def test_infinite_values_of_all_clips_together_count_as_those_of_clips_do(
    runs: tuple[Path, Path],
) -> None:
    for folder, value in zip(runs, (math.inf, 50.0), strict=True):
        report = with_metric(load_report(folder)[0], value=value)
        write_scores(folder / "scores.json", report)
    fid = compare_runs(*runs).metrics["fid"]
    assert (fid.a, fid.b, fid.difference, fid.n_infinite) == (100.0, 50.0, 50.0, 1)


def test_runs_without_a_clip_in_common_have_no_means_and_no_distances(
    runs: tuple[Path, Path],
) -> None:
    """One model failed on every clip: what the other has is compared with nothing."""
    row = METRICS["motion_ratio"]
    report = load_report(runs[0])[0]
    blank = replace(report.metrics[row.id], value=math.nan, status="not_measured", reason="no clip")
    change(runs[0], clips={}, metrics={**report.metrics, row.id: blank})
    found = compare_runs(*runs).metrics[row.id]
    assert found.n_clips == 0
    figures = (found.a, found.b, found.value_a, found.value_b, found.difference)
    assert all(math.isnan(figure) for figure in figures)


def test_what_one_run_lacks_has_no_difference(runs: tuple[Path, Path]) -> None:
    report = with_metric(load_report(runs[0])[0], value=80.0)
    write_scores(runs[0] / "scores.json", report)
    lacking = with_metric(
        load_report(runs[1])[0], value=math.nan, status="not_measured", reason="no weights"
    )
    write_scores(runs[1] / "scores.json", lacking)
    fid = compare_runs(*runs).metrics["fid"]
    assert fid.blank
    assert math.isnan(fid.a), "A has a value, but there is none of B to compare it with"
    assert fid.reason == "no value in B: no weights"


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("task", {"id": "cross"}, r"task \(self v1 and cross v1\)"),
        ("task", {"version": 2}, r"task \(self v1 and self v2\)"),
        ("dataset", {"digest": "e" * 64}, r"dataset \(Small talks \w{12} and Small talks eeee"),
        ("dataset", {"split": "test"}, r"split \(all and test\)"),
        ("dataset", {"clips_digest": "e" * 64}, r"clips \(\w{12} and eeeeeeeeeeee\)"),
    ],
)
def test_runs_of_other_things_are_refused(
    part: str, changes: dict[str, Any], message: str, runs: tuple[Path, Path]
) -> None:
    info = read_run_info(runs[1])
    changed = getattr(info, part).model_copy(update=changes)
    write_run_info(runs[1], info.model_copy(update={part: changed}))
    with pytest.raises(SubmissionError, match=f"can't be compared: they differ in {message}"):
        compare_runs(*runs)


def test_another_protocol_is_refused(runs: tuple[Path, Path]) -> None:
    protocol = dict(load_report(runs[1])[0].protocol)
    change(runs[1], protocol={**protocol, "digest": "e" * 64})
    with pytest.raises(SubmissionError, match=r"protocol \(tpbench-v2\+custom \w+ and .*eeee"):
        compare_runs(*runs)


def test_runs_of_the_first_protocol_are_compared_with_each_other_and_not_with_newer_ones(
    runs: tuple[Path, Path],
) -> None:
    def as_first(folder: Path) -> None:
        report = load_report(folder)[0]
        psnr = replace(report.metrics["psnr"], version=1)
        old = {"id": "tpbench-v1+custom", "version": 1, "digest": "1" * 64}
        change(
            folder,
            metrics={**report.metrics, "psnr": psnr},
            protocol={**report.protocol, **old},
        )

    as_first(runs[0])
    with pytest.raises(
        SubmissionError, match=r"score the older one again by protocol 'tpbench-v2'"
    ):
        compare_runs(*runs)
    as_first(runs[1])
    assert compare_runs(*runs).metrics["psnr"].n_clips > 0


def test_another_version_of_a_metric_is_refused(runs: tuple[Path, Path]) -> None:
    for folders, message in (
        (runs[1:], r"they differ in the version of l1 \(1 and 9\)"),
        (runs, "l1 was scored by version 9"),
    ):
        for folder in folders:
            metrics = dict(load_report(folder)[0].metrics)
            change(folder, metrics={**metrics, "l1": replace(metrics["l1"], version=9)})
        with pytest.raises(SubmissionError, match=message):
            compare_runs(*runs)


def test_a_run_is_not_compared_with_itself(runs: tuple[Path, Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(runs[0])
    shutil.copytree(runs[0], tmp_path / "copy")
    for other, message in (
        (runs[0], "are the same run"),
        (link, "are the same run"),
        (tmp_path / "copy", "are copies of the same run"),
    ):
        with pytest.raises(SubmissionError, match=message):
            compare_runs(runs[0], other)


def test_what_is_no_scored_run_is_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="no run here"):
        compare_runs(runs[0], tmp_path)
    (runs[1] / "scores.json").unlink()
    with pytest.raises(SubmissionError, match=r"b/scores\.json: missing: the run is not scored"):
        compare_runs(*runs)


def test_scores_from_before_protocols_had_a_headline_are_compared(runs: tuple[Path, Path]) -> None:
    for folder in runs:
        protocol = dict(load_report(folder)[0].protocol)
        del protocol["headline"]
        change(folder, protocol=protocol)
    found = compare_runs(*runs)
    assert list(found.worst) == ["psnr", "tje_d2", "motion_ratio"]
    assert str(found).splitlines()[2].startswith("psnr")


def test_runs_are_called_by_their_names_and_told_apart_if_these_are_equal(
    runs: tuple[Path, Path],
) -> None:
    def rename(folder: Path, name: str, seed: int) -> None:
        info = read_run_info(folder)
        model = info.model.model_copy(update={"display_name": name})
        write_run_info(folder, info.model_copy(update={"model": model, "seed": seed}))

    rename(runs[0], "Mine", 1)
    rename(runs[1], "Theirs", 1)
    assert compare_runs(*runs).names == ("Mine", "Theirs")
    rename(runs[1], "Mine", 1)
    assert compare_runs(*runs).names == ("Mine (A)", "Mine (B)")
    rename(runs[1], "Mine", 2)
    assert compare_runs(*runs).names == ("Mine, seed 1", "Mine, seed 2")


def test_how_to_report_names_both_scores(runs: tuple[Path, Path]) -> None:
    said = compare_runs(*runs).how_to_report
    assert "frame 0, the reference, is not scored" in said.lower()
    for folder in runs:
        assert load_report(folder)[1][:12] in said


def test_the_table_is_a_frame_with_numbers(runs: tuple[Path, Path]) -> None:
    table = compare_runs(*runs).table()
    assert table.index.tolist() == ["psnr", "l1", "tje_d2", "motion_ratio"]
    assert table["low"].dtype == table["difference"].dtype == "float64"
