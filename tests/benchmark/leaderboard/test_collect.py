"""Which runs are found, which stay off the table, and which are refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from tests.benchmark.conftest import edit_record
from tests.benchmark.leaderboard.conftest import Runs, board_of, of_part, of_report, sha
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

NAME = "mine/Small-talks.test@dddddddd/self-tpbench-v2/seed42"
OLD = "scores.json is not of the current clips (1 differ, the first is 'clip3'); score them again"


def partial(info: RunInfo) -> RunInfo:
    return of_part("counts", done=2, not_run=4)(info.model_copy(update={"partial": True}))


def remove_scores(run: Path) -> None:
    (run / "scores.json").unlink()


def make_anew(run: Path) -> None:
    edit_record(run / "records" / "clip3.json", generated_sha256=sha("new"))


def make_late(run: Path) -> None:
    """Make the clip that failed, after the others were scored."""
    done = ClipRecord.read(run / "records" / "clip2.json")
    done.model_copy(update={"clip_id": "clip3"}).write(run / "records" / "clip3.json")


def as_it_is(_run: Path) -> None:
    pass


def verified_here(path: Path) -> None:
    (run,) = collect([path]).runs
    note(fingerprint(run.info, run.records, run.scores_digest), "rerun", date="today")


def claim(path: Path, level: str) -> None:
    """Write into a run what its maker may write."""
    digest = read_scores(path / "scores.json")["digest"]
    (path / VERIFIED_NAME).write_text(json.dumps({"level": level, "scores_digest": digest}))


def refusal(runs: Runs) -> str:
    """Why the one bad run beside a good one is left out."""
    runs("good")
    found = collect([runs.out])
    assert [run.info.model.name for run in found.runs] == ["good"]
    (left_out,) = found.left_out
    assert left_out.refused
    assert str(runs.out) not in left_out.reason
    assert "\n" not in left_out.reason
    return left_out.reason


def test_runs_are_found_below_a_folder_and_by_their_own_and_not_where_it_is_hidden(
    runs: Runs,
) -> None:
    first, second = runs("b", seed=2), runs("a", seed=1)
    shutil.copytree(first, runs.out / ".old" / "run")
    below = collect([runs.out])
    named = collect([str(first), second])
    assert [run.path for run in below.runs] == [second.resolve(), first.resolve()]
    assert [run.digest for run in named.runs] == [run.digest for run in below.runs]
    assert below.notes == ()


@pytest.mark.parametrize(
    ("run", "edit", "reason"),
    [
        ({"info": partial}, as_it_is, "partial: 2 of 6 clips were tried; finish the run"),
        ({}, remove_scores, "not scored (scores.json is missing); run `tpbench eval` on it"),
        ({}, make_anew, OLD),
        ({"failed": {"clip3": "broke"}}, make_late, OLD),
    ],
    ids=["partial", "without scores", "made anew", "made after scoring"],
)
def test_a_run_that_is_not_finished_is_left_out_with_the_reason(
    runs: Runs, run: dict[str, Any], edit: Callable[[Path], None], reason: str
) -> None:
    runs("whole")
    edit(path := runs("part", **run))
    found = collect([runs.out])
    assert [run.info.model.name for run in found.runs] == ["whole"]
    (left_out,) = found.left_out
    assert (left_out.folder, left_out.reason, left_out.refused) == (path.resolve(), reason, False)
    assert left_out.name == NAME.replace("mine", "part")


def test_scores_without_lossless_frames_stand(runs: Runs) -> None:
    path = runs("lossy")
    for record in (path / "records").glob("*.json"):
        edit_record(record, generated_sha256=None, encoding="")
    assert collect([path]).left_out == ()


def test_if_nothing_is_left_the_line_says_why(runs: Runs) -> None:
    path = runs("part", info=partial)
    with pytest.raises(SubmissionError, match=rf"none of 1 runs .*{path}: partial: 2 of 6"):
        collect([path])


def test_a_run_given_twice_and_a_copy_count_once_and_that_is_said(
    runs: Runs, tmp_path: Path
) -> None:
    path = runs()
    found = collect([path, runs.out])
    assert len(found.runs) == 1
    assert found.notes == (f"{NAME} was given 2 times: it counts once",)
    assert board_of(path, runs.out).notes == found.notes
    found = collect([path, shutil.copytree(runs.out, tmp_path / "copy")])
    assert len(found.runs) == 1
    assert found.notes == (f"{NAME} was found in two folders: it counts once",)


def test_equal_scores_of_two_models_are_two_runs(runs: Runs) -> None:
    def equal(report: ScoreReport) -> ScoreReport:
        clips = {name: replace(x, generated_sha256=sha("same")) for name, x in report.clips.items()}
        return replace(report, clips=clips)

    paths = [runs("one", report=equal), runs("two", report=equal)]
    for path in paths:
        for record in (path / "records").glob("*.json"):
            edit_record(record, generated_sha256=sha("same"))
    found = collect(paths)
    assert len({run.scores_digest for run in found.runs}) == 1
    assert len(found.runs) == 2


def test_where_there_is_no_run_the_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone: no such folder"):
        collect([tmp_path / "gone"])
    with pytest.raises(SubmissionError, match=r"no run in it \(run.json\); create one with"):
        collect([tmp_path])
    with pytest.raises(ConfigError, match="name at least one run"):
        collect([])


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
    assert refusal(runs).startswith(f"{name}: ")


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
        (("protocol", "version"), "one"),
        (("protocol", "title"), None),
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
    inner = reduce(lambda inside, name: inside[name], where[:-1], content)
    inner[where[-1]] = value
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))
    assert "no scores as tpbench writes them" in refusal(runs)


def up(report: ScoreReport) -> ScoreReport:
    return replace(report, clips={"../../up": next(iter(report.clips.values()))})


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({"report": up}, "'../../up' can't be the name of a clip"),
        ({"report": of_report(real={"digest": "e" * 64})}, "scored for eeee"),
        (
            {"report": of_report(protocol={"id": "disco"})},
            "the protocol tpbench-v2 but scored for disco",
        ),
        *(
            ({"info": of_part("counts", expected=n)}, f"has {n:,} clips, but its scores are of")
            for n in (0, -5, 3, 10**6)
        ),
    ],
)
def test_scores_that_are_not_of_this_run_are_left_out(
    runs: Runs, run: dict[str, Any], reason: str
) -> None:
    runs("bad", **run)
    assert reason in refusal(runs)


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


@pytest.mark.parametrize("level", ["digest", "rerun"])
def test_what_a_run_says_of_itself_is_shown_as_its_makers_word_and_no_more(
    runs: Runs, level: str
) -> None:
    claim(path := runs(), level)
    board = board_of(path)
    assert (board.rows[0].verified, board.rows[0].claimed) == ("none", level)
    assert f"| none (claimed: {level}) |" in leaderboard_markdown(board)
    assert f",none,{level}," in leaderboard_csv(board)


def test_what_was_verified_here_is_taken_over_wherever_the_run_lies(
    runs: Runs, tmp_path: Path
) -> None:
    path = runs()
    assert verify_run(path, recompute=False).level == "none"  # it has no files
    verified_here(path)
    moved = shutil.copytree(runs.out, tmp_path / "elsewhere")
    assert board_of(moved).rows[0].verified == "rerun"


@pytest.mark.parametrize("name", ["run.json", "records/clip0.json", "scores.json"])
def test_what_was_verified_here_counts_nothing_for_a_run_that_was_changed(
    runs: Runs, name: str
) -> None:
    path = runs(psnr=20)
    verified_here(path)
    (run,) = collect([path]).runs
    if name == "run.json":
        write_run_info(path, of_part("timings", frames_per_s=1000.0)(run.info))
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
        None,
    ],
)
def test_a_claim_of_other_scores_or_that_nobody_knows_counts_for_nothing(
    runs: Runs, content: str | None
) -> None:
    claim(path := runs(), "holy")
    if content is not None:
        (path / VERIFIED_NAME).write_text(content)
    (row,) = board_of(path).rows
    assert (row.verified, row.claimed) == ("none", "none")


def test_the_weakest_seed_decides_how_far_a_row_is_verified(runs: Runs) -> None:
    for seed, level in ((1, "rerun"), (2, "digest")):
        claim(runs(seed=seed), level)
    (row,) = board_of(runs.out).rows
    assert row.claimed == "digest"
    assert [run.claimed for run in row.runs] == ["rerun", "digest"]


def test_the_name_of_a_run_says_nothing_of_the_folders_above(runs: Runs, tmp_path: Path) -> None:
    runs("good")
    sent = shutil.move(runs("bad", info=partial), tmp_path / "sent\x1b[2J")
    assert collect([runs.out, sent]).left_out[0].name == "sent\\u001b[2J"
