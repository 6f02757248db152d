"""Folders of videos as rows: scored by name, stamped, compared, and put into one table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.metrics.scoring.clips import pictures, worse, write_set
from tpbench import score
from tpbench.benchmark.compare import compare_runs
from tpbench.benchmark.leaderboard.tables import build_leaderboard
from tpbench.benchmark.run_folder import Run
from tpbench.benchmark.run_info import RUN_INFO_NAME
from tpbench.benchmark.scored import ScoredMethods, score_methods
from tpbench.benchmark.verify import verify_run
from tpbench.errors import ConfigError, SubmissionError
from tpbench.metrics.scoring.report import SCORES_NAME, load_report
from tpbench.metrics.scoring.request import ScoreRequest

METRICS = ["psnr", "ssim", "motion_ratio"]


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes of their own: they are tested elsewhere."""
    monkeypatch.setattr("tpbench.work.usable_cores", lambda: 1)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, dict[str, Path]]:
    """Five real clips, one with a blank in its path, and the videos of two methods."""
    clips = {name: pictures(6, seed=at) for at, name in enumerate(("a", "sub/b c", "d", "e", "f"))}
    real = write_set(tmp_path / "real", clips)
    methods = {}
    for name, by in (("Method X", 8), ("Ours", 4)):
        of_method = {
            clip: worse(images, by=by + at, seed=at)
            for at, (clip, images) in enumerate(clips.items())
        }
        methods[name] = write_set(tmp_path / f"videos of {name}", of_method)
    return real, methods


def scored(folders: tuple[Path, dict[str, Path]], out: Path, first_frame: int = 0) -> ScoredMethods:
    request = ScoreRequest(
        real=folders[0], metrics=METRICS, first_frame=first_frame, identities="each-clip"
    )
    return score_methods(request, folders[1], out=out)


def test_several_methods_end_with_scores_paired_differences_and_a_page(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    found = scored(folders, tmp_path / "out")
    assert found.complete
    table = pd.read_csv(tmp_path / "out/leaderboard/leaderboard.csv").set_index("model")
    for name, report in found.reports.items():
        alone = score(folders[0], folders[1][name], out=tmp_path / "alone" / name, metrics=METRICS)
        for metric in METRICS:
            assert report.metrics[metric].value == alone.metrics[metric].value
            assert table.loc[name, metric] == alone.metrics[metric].value
    (compared,) = found.comparisons
    psnr = compared.metrics["psnr"]
    values = [found.reports[name].metrics["psnr"].value for name in ("Method X", "Ours")]
    assert [psnr.a, psnr.b] == pytest.approx(values, rel=1e-12)
    assert psnr.low is not None
    assert psnr.low < psnr.difference < 0
    assert found.board is not None
    assert found.board.page == tmp_path / "out/leaderboard/index.html"
    assert found.board.missing_anchors == {}


def test_the_table_for_a_paper_has_the_methods_in_the_given_order(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    found = scored(folders, tmp_path / "out")
    table = found.table()
    assert [row.name for row in table.rows] == ["Method X", "Ours"]
    assert [column.heading for column in table.columns][:2] == ["PSNR ↑ (dB)", "SSIM ↑"]
    assert [row.cells["psnr"].value for row in table.rows] == [
        report.metrics["psnr"].value for report in found.reports.values()
    ]
    assert table.note.startswith("Scored with tpbench ")
    assert "5 clips (real, folder " in table.note


def test_rows_have_the_names_that_were_given_and_the_command_that_scores_them_again(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    board = scored(folders, tmp_path / "out", first_frame=1).board
    assert board is not None
    rows = board.leaderboard.rows
    assert [(row.id, row.display_name, row.kind) for row in rows] == [
        ("Method X", "Method X", "measured"),
        ("Ours", "Ours", "measured"),
    ]
    assert rows[0].command == (
        "tpbench score --real DATASET --generated 'Method X=VIDEOS' --protocol tpbench-v2 "
        "--metrics psnr,ssim,motion_ratio --first-frame 1"
    )


def test_a_method_that_lacks_a_clip_is_named_as_not_judged_and_its_persons_are_not_all(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    next(folders[1]["Method X"].rglob("a.*")).unlink()
    found = scored(folders, tmp_path / "out")
    assert found.table().unjudged == ("Method X",)
    assert "for each method over the clips that it has" in found.how_to_report
    assert found.board is not None
    assert found.board.leaderboard.dataset.n_identities == 5
    (compared,) = found.comparisons
    assert "on 4 of 5 clips (real" in compared.how_to_report


def test_a_method_that_comes_later_joins_the_table_of_the_same_folder(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    scored(folders, tmp_path / "out")
    later = {"Later": folders[1]["Ours"]}
    found = scored((folders[0], later), tmp_path / "out")
    assert list(found.reports) == ["Later", "Method X", "Ours"]
    assert found.earlier == ("Method X", "Ours")
    assert [each.names for each in found.comparisons] == [("Later", "Method X"), ("Later", "Ours")]
    assert found.board is not None
    assert len(found.board.leaderboard.rows) == 3
    request = ScoreRequest(real=folders[0], metrics=["psnr"])
    alone = score_methods(request, later, out=tmp_path / "out", page=False)
    assert list(alone.reports) == ["Later"]
    assert alone.left_out.keys() == {"Method X", "Ours"}
    assert "can't be compared: they differ in protocol" in alone.left_out["Ours"]


def test_scores_that_are_replaced_are_named(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real, methods = folders
    out = tmp_path / "out"
    score(real, methods["Ours"], out=out, name="Ours", metrics=METRICS)
    score(real, methods["Ours"], out=out, name="Ours", metrics=METRICS)
    assert not caplog.messages
    score(real, methods["Ours"], out=out, name="Ours", metrics=["psnr"])
    score(real, methods["Method X"], out=out, name="Method X", metrics=["psnr"])
    fewer, other = caplog.messages
    assert "had scores of 2 metrics more" in fewer
    assert "the scores of 'Ours' are replaced by those of 'Method X'" in other
    with pytest.raises(ConfigError, match="holds the scores of one method; choose another"):
        scored(folders, out)


def test_unlike_metrics_are_told_as_such(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    real, methods = folders
    score(real, methods["Ours"], out=tmp_path / "some", metrics=["psnr"])
    score(real, methods["Method X"], out=tmp_path / "more")
    with pytest.raises(SubmissionError, match="one was scored with --metrics; score both") as told:
        compare_runs(tmp_path / "some", tmp_path / "more")
    assert "the version of" not in str(told.value)


def test_a_single_folder_is_named_after_itself_and_can_be_compared(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    real, methods = folders
    for out, videos in (("x", methods["Method X"]), ("ours", methods["Ours"])):
        score(real, videos, out=tmp_path / out, metrics=METRICS)
    info = Run.open(tmp_path / "x").info
    assert (info.model.row_name, info.model.kind) == ("videos of Method X", "scored")
    assert info.task.id == "score"
    assert str(tmp_path) not in (tmp_path / "x" / RUN_INFO_NAME).read_text()
    assert compare_runs(tmp_path / "x", tmp_path / "ours").n_common == 5


def test_equal_scorings_give_equal_bytes_and_reuse_what_is_there(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(folders, tmp_path / "out")
    paths = [tmp_path / "out/Ours" / name for name in (RUN_INFO_NAME, SCORES_NAME)]
    before = [path.read_bytes() for path in paths]

    def never(*_arguments: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("tpbench.metrics.scoring.clip_pass.ClipPass.run", never)
    scored(folders, tmp_path / "out")
    assert [path.read_bytes() for path in paths] == before


def test_unlike_first_frames_are_refused_with_the_option_that_makes_them_alike(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    real, methods = folders
    score(real, methods["Ours"], out=tmp_path / "from0", metrics=METRICS)
    score(real, methods["Method X"], out=tmp_path / "from1", metrics=METRICS, first_frame=1)
    advice = r"score both by `tpbench score` with the same --first-frame$"
    for build in (
        lambda: build_leaderboard([tmp_path / "from0", tmp_path / "from1"], tmp_path / "site"),
        lambda: compare_runs(tmp_path / "from0", tmp_path / "from1"),
    ):
        with pytest.raises(SubmissionError, match=r"score\.from1.*first_frame.*" + advice):
            build()
    only = build_leaderboard(
        [tmp_path / "from0", tmp_path / "from1"], tmp_path / "site", task="score.from1", page=False
    )
    assert [row.id for row in only.leaderboard.rows] == ["videos of Method X"]
    (left_out,) = only.leaderboard.left_out
    assert (left_out.reason, left_out.refused) == ("not asked for: of the task score", False)


def test_methods_scored_against_other_real_clips_are_refused(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    real, methods = folders
    score(real, methods["Ours"], out=tmp_path / "one", metrics=METRICS)
    write_set(real, {"d": worse(pictures(6, seed=2))})
    score(real, methods["Method X"], out=tmp_path / "two", metrics=METRICS)
    with pytest.raises(SubmissionError, match="differ in dataset"):
        compare_runs(tmp_path / "one", tmp_path / "two")


def test_a_method_without_one_clip_leaves_it_out_of_every_difference(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    (folders[1]["Ours"] / "d.avi").unlink()
    found = scored(folders, tmp_path / "out")
    assert not found.complete
    assert found.reports["Ours"].coverage.missing == ("d",)
    (compared,) = found.comparisons
    assert (compared.n_common, compared.n_unpaired) == (4, 1)
    assert compared.metrics["psnr"].n_clips == 4
    assert found.board is not None
    assert [row.coverage for row in found.board.leaderboard.rows] == [1.0, pytest.approx(4 / 5)]


def test_a_method_of_which_no_clip_can_be_read_spoils_no_other(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    for video in folders[1]["Ours"].rglob("*.avi"):
        video.write_bytes(b"no video")
    found = scored(folders, tmp_path / "out")
    assert found.comparisons == ()
    assert found.board is not None
    assert [row.id for row in found.board.leaderboard.rows] == ["Method X"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("A", "a "), "would both be called 'a'"),
        (("A b", "A:b"), "would both be called 'A-b'"),
        (("Leaderboard", "B"), "would both be called 'Leaderboard'"),
        (("", "B"), "a name wants 1 to 80"),
        (("\x1b[31m", "B"), "a name wants 1 to 80"),
        (("x" * 81, "B"), "a name wants 1 to 80"),
    ],
)
def test_names_that_have_no_folder_of_their_own_are_refused_before_any_work(
    names: tuple[str, str],
    reason: str,
    folders: tuple[Path, dict[str, Path]],
    tmp_path: Path,
) -> None:
    videos = dict(zip(names, folders[1].values(), strict=True))
    with pytest.raises(ConfigError, match=reason):
        score_methods(ScoreRequest(real=folders[0]), videos, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_stops_it_before_any_work(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    videos = {**folders[1], "C": tmp_path / "typo"}
    with pytest.raises(ConfigError, match=r"typo: no such folder \(the videos of 'C'\)"):
        score_methods(ScoreRequest(real=folders[0]), videos, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_of_eval_is_never_overwritten(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    real, methods = folders
    score(real, methods["Ours"], out=tmp_path / "run", metrics=METRICS)
    path = tmp_path / "run" / RUN_INFO_NAME
    path.write_text(path.read_text().replace('"kind": "scored"', '"kind": "anchor"'))
    with pytest.raises(ConfigError, match="choose another --out"):
        score(real, methods["Method X"], out=tmp_path / "run", metrics=METRICS)


def test_verify_reads_a_scored_folder_and_finds_what_was_changed(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_STATE", str(tmp_path / "state"))
    found = scored(folders, tmp_path / "out")
    ours = found.folders["Ours"]
    verified = verify_run(ours)
    assert (verified.level, verified.problems) == ("digest", ())
    assert "the scores were not computed again" in verified.notes[0]
    (ours / "frames.parquet").write_bytes(b"others")
    assert verify_run(ours).level == "none"
    other = found.folders["Method X"]
    (other / SCORES_NAME).write_bytes((ours / SCORES_NAME).read_bytes())
    (problem,) = [line for line in verify_run(other).problems if RUN_INFO_NAME in line]
    assert "not of these scores" in problem


def test_scores_beside_the_stamp_of_another_method_are_left_out_of_a_table(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    found = scored(folders, tmp_path / "out")
    ours, other = found.folders["Ours"], found.folders["Method X"]
    (ours / SCORES_NAME).write_bytes((other / SCORES_NAME).read_bytes())
    built = build_leaderboard([ours, other], tmp_path / "site", page=False)
    (left_out,) = built.leaderboard.left_out
    assert left_out.refused
    assert "not of its scores" in left_out.reason


def test_names_of_clips_come_back_from_the_scores_as_they_were(
    folders: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    found = scored(folders, tmp_path / "out")
    report, _digest = load_report(found.folders["Ours"])
    assert list(report.clips) == ["a", "d", "e", "f", "sub/b c"]
    assert json.loads((found.folders["Ours"] / RUN_INFO_NAME).read_text())["seed"] == 0
