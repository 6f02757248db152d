"""Which runs are found, which stay off the table, and which are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.benchmark.leaderboard.conftest import Runs, board_of, sha
from tpbench.benchmark.leaderboard.collect import VERIFIED_NAME, collect
from tpbench.benchmark.records import read_record, write_record
from tpbench.errors import ConfigError, SubmissionError, TPBenchError
from tpbench.metrics.scoring.report import read_scores

if TYPE_CHECKING:
    from pathlib import Path

    from tpbench.benchmark.run_info import RunInfo
    from tpbench.metrics.scoring.report import ScoreReport


def partial(info: RunInfo) -> RunInfo:
    counts = info.counts.model_copy(update={"done": 2, "not_run": 4})
    return info.model_copy(update={"partial": True, "counts": counts})


def test_runs_are_found_below_a_folder_and_by_their_own(runs: Runs) -> None:
    first, second = runs("b", seed=2), runs("a", seed=1)

    below = collect([runs.out])
    named = collect([str(first), second])

    assert [run.path for run in below.runs] == [second.resolve(), first.resolve()]
    assert [run.digest for run in named.runs] == [run.digest for run in below.runs]


def test_hidden_folders_are_passed_over(runs: Runs) -> None:
    run = runs()
    shutil.copytree(run, runs.out / ".old" / "run")

    assert collect([runs.out]).notes == ()
    assert len(collect([runs.out]).runs) == 1


def test_a_partial_run_is_left_out_with_the_reason(runs: Runs) -> None:
    runs("whole")
    path = runs("part", info=partial)

    found = collect([runs.out])

    assert [run.info.model.name for run in found.runs] == ["whole"]
    (left_out,) = found.left_out
    assert left_out.folder == path.resolve()
    assert left_out.name == "part/Small-talks.test@dddddddd/self-tpbench-v2/seed42"
    assert left_out.reason == "partial: 2 of 6 clips were tried; finish the run"


def test_a_run_without_scores_is_left_out_with_the_reason(runs: Runs) -> None:
    runs("whole")
    (runs("unscored") / "scores.json").unlink()

    (left_out,) = collect([runs.out]).left_out

    assert left_out.reason == "not scored (scores.json is missing); run `tpbench eval` on it"


def test_scores_of_clips_that_were_made_again_are_not_shown(runs: Runs) -> None:
    runs("whole")
    record = runs("old") / "records" / "clip3.json"
    write_record(record, replace(read_record(record), generated_sha256=sha("new")))

    (left_out,) = collect([runs.out]).left_out

    assert "scores.json is not of the clips that are there (1 differ, the first is 'clip3')" in (
        left_out.reason
    )


def test_a_clip_that_was_made_after_scoring_makes_the_scores_old(runs: Runs) -> None:
    runs("whole")
    record = runs("old", failed={"clip3": "broke"}) / "records" / "clip3.json"
    done = read_record(record.with_name("clip2.json"))
    write_record(record, replace(done, clip_id="clip3"))

    assert [left_out.name[:3] for left_out in collect([runs.out]).left_out] == ["old"]


def test_scores_without_lossless_frames_stand(runs: Runs) -> None:
    path = runs("lossy")
    for record in (path / "records").glob("*.json"):
        write_record(record, replace(read_record(record), generated_sha256=None, encoding=""))

    assert collect([path]).left_out == ()


def test_if_nothing_is_left_the_line_says_why(runs: Runs) -> None:
    path = runs("part", info=partial)

    with pytest.raises(SubmissionError, match=rf"none of 1 runs .*{path}: partial: 2 of 6"):
        collect([path])


def test_a_run_given_twice_counts_once_and_that_is_said(runs: Runs) -> None:
    path = runs()

    found = collect([path, runs.out])

    assert len(found.runs) == 1
    assert found.notes == (
        "mine/Small-talks.test@dddddddd/self-tpbench-v2/seed42 was given 2 times: it counts once",
    )
    assert board_of(path, runs.out).notes == found.notes


def test_a_copy_of_a_run_counts_once_and_that_is_said(runs: Runs, tmp_path: Path) -> None:
    path = runs()
    copy = shutil.copytree(runs.out, tmp_path / "copy")

    found = collect([path, copy])

    assert len(found.runs) == 1
    (note,) = found.notes
    name = "mine/Small-talks.test@dddddddd/self-tpbench-v2/seed42"
    assert note == f"{name} was found in two folders: it counts once"


def test_equal_scores_of_two_models_are_two_runs(runs: Runs) -> None:
    def equal(report: ScoreReport) -> ScoreReport:
        clips = {
            clip_id: replace(scores, generated_sha256=sha("same"))
            for clip_id, scores in report.clips.items()
        }
        return replace(report, clips=clips)

    paths = [runs("one", report=equal), runs("two", report=equal)]
    for path in paths:
        for record in (path / "records").glob("*.json"):
            write_record(record, replace(read_record(record), generated_sha256=sha("same")))

    found = collect(paths)

    assert len({run.scores_digest for run in found.runs}) == 1
    assert len(found.runs) == 2


def test_a_folder_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone: no such folder"):
        collect([tmp_path / "gone"])


def test_a_folder_without_runs_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"no run in it \(run.json\); make one with `tpbench"):
        collect([tmp_path])


def test_no_runs_at_all_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="name at least one run"):
        collect([])


def test_scores_that_were_changed_are_refused(runs: Runs) -> None:
    path = runs(psnr=20) / "scores.json"
    path.write_text(path.read_text().replace("20.0", "30.0"))

    with pytest.raises(SubmissionError, match=r"scores.json: was changed after it was written"):
        collect([runs.out])


def test_scores_of_a_foreign_form_are_refused_though_their_digest_is_right(runs: Runs) -> None:
    def odd(report: ScoreReport) -> ScoreReport:
        return replace(report, clips={"../../up": next(iter(report.clips.values()))})

    runs(report=odd)

    with pytest.raises(TPBenchError, match=r"clip id '../../up'|not of the clips that are there"):
        board_of(runs.out)


@pytest.mark.parametrize("change", [{"version": "one"}, {"title": None, "gone": "title"}])
def test_a_protocol_of_a_foreign_form_is_refused(runs: Runs, change: dict[str, object]) -> None:
    def odd(report: ScoreReport) -> ScoreReport:
        protocol = {**report.protocol, **change}
        protocol.pop(str(protocol.pop("gone", "")), None)
        return replace(report, protocol=protocol)

    runs(report=odd)

    with pytest.raises(SubmissionError, match="no scores as tpbench writes them"):
        collect([runs.out])


@pytest.mark.parametrize("expected", [0, -5, 3, 10**6])
def test_a_run_and_scores_that_count_other_clips_are_refused(runs: Runs, expected: int) -> None:
    def odd(info: RunInfo) -> RunInfo:
        return info.model_copy(
            update={"counts": info.counts.model_copy(update={"expected": expected})}
        )

    runs(info=odd)

    with pytest.raises(SubmissionError, match=rf"speaks of {expected} clips, and its scores of"):
        collect([runs.out])


def test_a_record_that_was_tampered_with_is_refused(runs: Runs) -> None:
    record = runs() / "records" / "clip3.json"
    record.write_text(record.read_text().replace("clip3", "clip4"))

    with pytest.raises(SubmissionError, match=r"clip3.json"):
        collect([runs.out])


def test_scores_against_another_dataset_are_refused(runs: Runs) -> None:
    runs(report=lambda report: replace(report, real={**report.real, "digest": "e" * 64}))

    with pytest.raises(SubmissionError, match=r"made for the dataset d+ and scored against e+"):
        collect([runs.out])


def test_scores_by_another_protocol_than_the_runs_own_are_refused(runs: Runs) -> None:
    runs(report=lambda report: replace(report, protocol={**report.protocol, "id": "disco"}))

    with pytest.raises(SubmissionError, match="the protocol tpbench-v2 and scored against disco"):
        collect([runs.out])


@pytest.mark.parametrize("level", ["none", "digest", "rerun"])
def test_what_verify_found_is_taken_over(runs: Runs, level: str) -> None:
    path = runs()
    digest = read_scores(path / "scores.json")["digest"]
    (path / VERIFIED_NAME).write_text(json.dumps({"level": level, "scores_digest": digest}))

    (row,) = board_of(path).rows

    assert row.verified == level


@pytest.mark.parametrize(
    "content",
    [
        '{"level": "rerun", "scores_digest": "of other scores"}',
        '{"level": "rerun"}',
        '["rerun"]',
        "rerun",
    ],
)
def test_what_was_verified_of_other_scores_counts_for_nothing(runs: Runs, content: str) -> None:
    path = runs()
    (path / VERIFIED_NAME).write_text(content)

    (row,) = board_of(path).rows

    assert row.verified == "none"


def test_a_level_that_nobody_knows_counts_for_nothing(runs: Runs) -> None:
    path = runs()
    digest = read_scores(path / "scores.json")["digest"]
    (path / VERIFIED_NAME).write_text(json.dumps({"level": "holy", "scores_digest": digest}))

    assert board_of(path).rows[0].verified == "none"


def test_the_weakest_seed_decides_how_far_a_row_is_verified(runs: Runs) -> None:
    for seed, level in ((1, "rerun"), (2, "digest")):
        path = runs(seed=seed)
        digest = read_scores(path / "scores.json")["digest"]
        (path / VERIFIED_NAME).write_text(json.dumps({"level": level, "scores_digest": digest}))

    (row,) = board_of(runs.out).rows

    assert row.verified == "digest"
    assert [run.verified for run in row.runs] == ["rerun", "digest"]
