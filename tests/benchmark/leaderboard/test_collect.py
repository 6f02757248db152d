"""Which runs are found, which stay off the table, and which are refused."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark.conftest import edit_record
from tests.benchmark.leaderboard.conftest import Runs, board_of, sha
from tpbench.benchmark.leaderboard.collect import VERIFIED_NAME, collect
from tpbench.benchmark.leaderboard.markdown import leaderboard_markdown
from tpbench.benchmark.leaderboard.tables import leaderboard_csv
from tpbench.benchmark.run_folder import ClipRecord
from tpbench.benchmark.run_info import RunInfo, write_run_info
from tpbench.benchmark.site import fingerprint, note
from tpbench.benchmark.verify import verify_run
from tpbench.canonical import digest_of
from tpbench.errors import ConfigError, SubmissionError
from tpbench.metrics.scoring.report import ScoreReport, read_scores, write_scores


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
    edit_record(record, generated_sha256=sha("new"))
    (left_out,) = collect([runs.out]).left_out
    assert "scores.json is not of the clips that are there (1 differ, the first is 'clip3')" in (
        left_out.reason
    )


def test_a_clip_that_was_made_after_scoring_makes_the_scores_old(runs: Runs) -> None:
    runs("whole")
    record = runs("old", failed={"clip3": "broke"}) / "records" / "clip3.json"
    done = ClipRecord.read(record.with_name("clip2.json"))
    done.model_copy(update={"clip_id": "clip3"}).write(record)
    assert [left_out.name[:3] for left_out in collect([runs.out]).left_out] == ["old"]


def test_scores_without_lossless_frames_stand(runs: Runs) -> None:
    path = runs("lossy")
    for record in (path / "records").glob("*.json"):
        edit_record(record, generated_sha256=None, encoding="")
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
            edit_record(record, generated_sha256=sha("same"))

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


def refusal(runs: Runs) -> str:
    """Why the one bad run beside a good one is left out."""
    runs("good")
    found = collect([runs.out])
    assert [run.info.model.name for run in found.runs] == ["good"]
    (left_out,) = found.left_out
    assert left_out.refused
    assert str(runs.out) not in left_out.reason
    return left_out.reason


def test_a_run_whose_scores_were_changed_is_left_out_and_the_others_stand(runs: Runs) -> None:
    path = runs("bad", psnr=20) / "scores.json"
    path.write_text(path.read_text().replace("20.0", "30.0"))
    assert refusal(runs) == (
        "scores.json: was changed after it was written (its digest is not that of its content)"
    )


@pytest.mark.parametrize("name", ["run.json", "scores.json", "records/clip3.json"])
@pytest.mark.parametrize(
    "bytes_",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"[]",
        b"null",
        b'{"schema_version": 1}',
        b'{"schema_version": 1, "a": 1e999}',
        b'{"schema_version": 1, "a": NaN}',
        b'{"schema_version": 1, "a": "\\ud800"}',
        b'{"schema_version": 1, "\\udfff": 1}',
        b'{"schema_version": 1, "a": ' + b"9" * 5000 + b"}",
        b"\xff\xfe\x00",
        b'{"schema_version": 1, "a": "M\xfcller"}',
    ],
    ids=repr,
)
def test_a_run_of_bad_bytes_is_left_out_with_one_line(runs: Runs, name: str, bytes_: bytes) -> None:
    (runs("bad") / name).write_bytes(bytes_)
    reason = refusal(runs)
    assert reason.startswith(f"{name}: ")
    assert "\n" not in reason


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(runs: Runs) -> None:
    path = runs("bad") / "scores.json"
    path.unlink()
    os.mkfifo(path)
    runs("good")
    assert [run.info.model.name for run in collect([runs.out]).runs] == ["good"]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("clips", "clip0", "n_frames"), "many"),
        (("clips", "clip0", "n_frames"), True),
        (("clips", "clip0", "n_frames"), 2**63),
        (("clips", "clip0", "values"), [1, 2]),
        (("clips", "clip0", "values", "psnr"), "high"),
        (("clips", "clip0", "identity"), {"a": 1}),
        (("clips", "clip0", "notes"), "none"),
        (("clips",), []),
        (("coverage", "failed"), {"clip0": ["why"]}),
        (("coverage", "n_expected"), -1),
        (("coverage", "n_scored"), 1.5),
        (("metrics", "psnr", "n_clips"), "6"),
        (("metrics", "psnr", "reason"), 7),
        (("metrics", "psnr", "details"), "none"),
        (("protocol", "quirks"), "none"),
        (("policies", "first_frame"), "one"),
        (("policies",), None),
        (("real",), 3),
        (("environment",), "python"),
    ],
)
def test_scores_with_values_of_other_kinds_are_left_out(
    runs: Runs, where: tuple[str, ...], value: object
) -> None:
    path = runs("bad") / "scores.json"
    content = json.loads(path.read_text())
    del content["digest"]
    inner = content
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))
    assert "no scores as tpbench writes them" in refusal(runs)


def test_scores_of_clips_that_lead_out_of_the_folder_are_left_out(runs: Runs) -> None:
    def odd(report: ScoreReport) -> ScoreReport:
        return replace(report, clips={"../../up": next(iter(report.clips.values()))})

    runs("bad", report=odd)

    assert "clip id '../../up' can't be a file name" in refusal(runs)


@pytest.mark.parametrize("change", [{"version": "one"}, {"title": None, "gone": "title"}])
def test_a_protocol_of_a_foreign_form_is_left_out(runs: Runs, change: dict[str, object]) -> None:
    def odd(report: ScoreReport) -> ScoreReport:
        protocol = {**report.protocol, **change}
        protocol.pop(str(protocol.pop("gone", "")), None)
        return replace(report, protocol=protocol)

    runs("bad", report=odd)

    assert "no scores as tpbench writes them" in refusal(runs)


@pytest.mark.parametrize("expected", [0, -5, 3, 10**6])
def test_a_run_and_scores_that_count_other_clips_are_left_out(runs: Runs, expected: int) -> None:
    def odd(info: RunInfo) -> RunInfo:
        return info.model_copy(
            update={"counts": info.counts.model_copy(update={"expected": expected})}
        )

    runs("bad", info=odd)

    assert f"speaks of {expected} clips, and its scores of" in refusal(runs)


def test_a_record_that_was_tampered_with_is_left_out(runs: Runs) -> None:
    record = runs("bad") / "records" / "clip3.json"
    record.write_text(record.read_text().replace("clip3", "clip4"))
    assert refusal(runs).startswith("records/clip3.json: ")


@pytest.mark.parametrize("how", ["other bytes", "link out"])
def test_per_frame_values_that_are_not_those_of_the_scores_are_left_out(
    runs: Runs, tmp_path: Path, how: str
) -> None:
    path = runs("bad") / "frames.parquet"
    if how == "other bytes":
        path.write_bytes(b"curves to my liking")
    else:
        (tmp_path / "private.parquet").write_bytes(b"private")
        path.symlink_to(tmp_path / "private.parquet")
    assert refusal(runs).startswith("frames.parquet: ")


def test_scores_against_another_dataset_are_left_out(runs: Runs) -> None:
    runs("bad", report=lambda report: replace(report, real={**report.real, "digest": "e" * 64}))
    assert "scored against eeee" in refusal(runs)


def test_scores_by_another_protocol_than_the_runs_own_are_left_out(runs: Runs) -> None:
    runs("bad", report=lambda report: replace(report, protocol={**report.protocol, "id": "disco"}))
    assert "the protocol tpbench-v2 and scored against disco" in refusal(runs)


def claim(path: Path, level: str) -> None:
    """Write into a run what its maker may write."""
    digest = read_scores(path / "scores.json")["digest"]
    (path / VERIFIED_NAME).write_text(json.dumps({"level": level, "scores_digest": digest}))


@pytest.mark.parametrize("level", ["digest", "rerun"])
def test_what_a_run_says_of_itself_is_shown_as_its_makers_word_and_no_more(
    runs: Runs, level: str
) -> None:
    path = runs()
    claim(path, level)
    board = board_of(path)
    assert (board.rows[0].verified, board.rows[0].claimed) == ("none", level)
    assert f"| none (its maker says: {level}) |" in leaderboard_markdown(board)
    assert f",none,{level}," in leaderboard_csv(board)


def test_what_was_verified_here_is_taken_over_wherever_the_run_lies(
    runs: Runs, tmp_path: Path
) -> None:
    path = runs()
    found = verify_run(path, recompute=False)
    assert found.level == "none"  # it has no files
    (run,) = collect([path]).runs
    note(fingerprint(run.info, run.records, run.scores_digest), "rerun", date="today")
    moved = shutil.copytree(runs.out, tmp_path / "elsewhere")
    assert board_of(moved).rows[0].verified == "rerun"


@pytest.mark.parametrize("name", ["run.json", "records/clip0.json", "scores.json"])
def test_what_was_verified_here_counts_nothing_for_a_run_that_was_changed(
    runs: Runs, name: str
) -> None:
    path = runs(psnr=20)
    (run,) = collect([path]).runs
    note(fingerprint(run.info, run.records, run.scores_digest), "rerun", date="today")
    if name == "run.json":
        timings = run.info.timings.model_copy(update={"frames_per_s": 1000.0})
        write_run_info(path, run.info.model_copy(update={"timings": timings}))
    elif name == "scores.json":
        write_scores(path / name, replace(run.report, environment={"python": "4"}))
    else:
        edit_record(path / name, preview_sha256=sha("another preview"))
    assert board_of(path).rows[0].verified == "none"


@pytest.mark.parametrize(
    "content",
    [
        '{"level": "rerun", "scores_digest": "of other scores"}',
        '{"level": "rerun"}',
        '["rerun"]',
        "rerun",
        "[" * 1000,
    ],
)
def test_a_claim_of_other_scores_counts_for_nothing(runs: Runs, content: str) -> None:
    path = runs()
    (path / VERIFIED_NAME).write_text(content)
    (row,) = board_of(path).rows
    assert (row.verified, row.claimed) == ("none", "none")


def test_a_claim_that_nobody_knows_counts_for_nothing(runs: Runs) -> None:
    path = runs()
    claim(path, "holy")
    assert board_of(path).rows[0].claimed == "none"


def test_the_weakest_seed_decides_how_far_a_row_is_verified(runs: Runs) -> None:
    for seed, level in ((1, "rerun"), (2, "digest")):
        claim(runs(seed=seed), level)
    (row,) = board_of(runs.out).rows
    assert row.claimed == "digest"
    assert [run.claimed for run in row.runs] == ["rerun", "digest"]


def test_the_name_of_a_run_says_nothing_of_the_folders_above(runs: Runs, tmp_path: Path) -> None:
    runs("good")
    bad = runs("bad", info=partial)
    sent = shutil.move(bad, tmp_path / "sent\x1b[2J")
    found = collect([runs.out, sent])
    assert found.left_out[0].name == "sent\\u001b[2J"
