"""A row of each model: over its seeds, with its names, its clips, and the command that makes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.benchmark.conftest import edit_record
from tests.benchmark.leaderboard.conftest import METRIC_IDS, PEOPLE, Runs, board_of, of_part, sha
from tpbench.benchmark.run_info import RunInfo
from tpbench.benchmark.tasks import pair_id
from tpbench.errors import SubmissionError
from tpbench.metrics.bootstrap import mean_over_identities
from tpbench.metrics.scoring.report import ScoreReport

FIRST = (20.0, 21.0, 22.0, 23.0, 24.0, 31.0)
SECOND = (22.0, 21.0, 24.0, 23.0, 26.0, 31.0)
REST = f"--protocol tpbench-v2 --metrics {','.join(METRIC_IDS)}"


def test_value_and_interval_are_of_the_means_over_seeds_per_clip(runs: Runs) -> None:
    runs(seed=7, psnr=FIRST)
    runs(seed=3, psnr=SECOND)
    (row,) = board_of(runs.out).rows
    means = [21.0, 21.0, 23.0, 23.0, 25.0, 31.0]
    score, expected = row.scores["psnr"], mean_over_identities(means, PEOPLE).interval
    assert row.seeds == (3, 7)
    assert list(row.badness["psnr"].values()) == [-mean for mean in means]
    assert score.value == 24.0  # (21 + 21 + 23 + 23 + 25 + 31) / 6
    assert (score.low, score.high, score.level) == (expected.low, expected.high, 0.95)
    assert row.n_clips == score.n_identities == 6
    assert row.complete


def test_the_spread_is_that_of_the_values_over_seeds(runs: Runs) -> None:
    for seed, psnr, fid in ((1, 20, 10.0), (2, 21, 14.0), (3, 25, 15.0)):
        runs(seed=seed, psnr=psnr, sets={"fid": fid})
    (row,) = board_of(runs.out).rows
    assert row.scores["psnr"].value == pytest.approx(22)
    # Deviations of -2, -1 and 3 from the mean, over n - 1 = 2; of FID -3, 1 and 2.
    assert row.spread("psnr") == row.spread("fid") == pytest.approx(math.sqrt(7))
    fid_score = row.scores["fid"]
    assert (fid_score.value, fid_score.low, fid_score.high) == (13.0, None, None)
    assert fid_score.interval_reason == "all clips together give one value"
    assert "fid" not in row.badness


def test_one_seed_is_what_its_scores_say_and_has_no_spread(runs: Runs) -> None:
    (row,) = board_of(runs(psnr=FIRST)).rows
    expected, score = mean_over_identities(FIRST, PEOPLE), row.scores["psnr"]
    assert (score.value, score.low, score.high) == (
        expected.mean,
        expected.interval.low,
        expected.interval.high,
    )
    assert row.spread("psnr") is None


def test_a_clip_that_failed_with_one_seed_is_that_of_the_other(runs: Runs) -> None:
    runs(seed=1, psnr=FIRST)
    runs(seed=2, psnr=SECOND, failed={"clip0": "the card\nfell out"})
    board = board_of(runs.out)
    (row,) = board.rows
    assert row.badness["psnr"]["clip0"] == -20.0
    assert row.coverage == 11 / 12
    assert not row.complete
    assert [dict(run.failed) for run in row.runs] == [{}, {"clip0": "the card fell out"}]
    (note,) = board.notes
    assert note == (
        "mine: coverage 0.917: values are those of the 6 clips with scores, and it is never "
        "marked as best"
    )


def test_a_metric_blank_with_one_seed_is_that_of_the_others_and_with_all_keeps_its_reason(
    runs: Runs,
) -> None:
    runs(seed=1, psnr=FIRST, blank={"fid": "no net"})
    runs(seed=2, blank={"psnr": "no weights", "fid": "no net"})
    (row,) = board_of(runs.out).rows
    psnr, fid = row.scores["psnr"], row.scores["fid"]
    assert (psnr.value, psnr.warning) == (23.5, "not measured with seed 2")
    assert (math.isnan(fid.value), fid.reason) == (True, "no net")
    assert row.spread("psnr") is row.spread("fid") is None


def test_infinite_values_are_no_part_of_a_mean(runs: Runs) -> None:
    runs(seed=1, psnr=[math.inf, math.inf, 20, 20, 20, 20])
    runs(seed=2, psnr=[math.inf, 30, 20, 20, 20, 20])
    (row,) = board_of(runs.out).rows
    assert row.badness["psnr"]["clip0"] == -100.0
    assert row.badness["psnr"]["clip1"] == -65.0  # (100 + 30) / 2
    assert row.scores["psnr"].value == 22.0  # (30 + 4 * 20) / 5
    assert row.scores["psnr"].n_infinite == 1


def test_speed_and_digest_of_a_row_are_those_of_all_its_runs(runs: Runs) -> None:
    runs(seed=1, info=of_part("timings", gen_s=60.0, peak_gpu_bytes=6 * 10**9))
    single = board_of(runs.out).rows[0]
    runs(seed=2, info=of_part("timings", gen_s=30.0, peak_gpu_bytes=3 * 10**9))
    double = board_of(runs.out).rows[0]
    assert double.gen_fps == 2 * 720 / 90
    assert double.peak_gpu_gb == 6.0
    assert single.run_digest == single.runs[0].digest == double.runs[0].digest
    assert double.run_digest not in {run.digest for run in double.runs}
    assert len(double.run_digest) == 64


def test_intervals_of_an_older_method_are_made_anew(runs: Runs) -> None:
    def older(report: ScoreReport) -> ScoreReport:
        spoilt = {n: replace(x, low=1.0, high=2.0, level=0.95) for n, x in report.metrics.items()}
        return replace(report, metrics=spoilt, statistics=1)

    old, new = runs("old", psnr=FIRST, report=older), runs("new", psnr=FIRST)
    of_old, of_new = (board_of(path).rows[0].scores["psnr"] for path in (old, new))
    assert of_old == of_new
    assert of_old.low != 1.0


def test_nobody_becomes_an_anchor_by_its_name(runs: Runs) -> None:
    board = board_of(runs("oracle", kind="custom"))
    assert board.rows[0].kind == "measured"
    assert "oracle" in board.missing_anchors


def test_a_variant_is_told_apart_by_its_name(runs: Runs) -> None:
    runs("talkingpose", kind="model", display_name="TalkingPose")
    runs("talkingpose:no-feedback", kind="model", display_name="TalkingPose")
    board = board_of(runs.out)
    assert [row.display_name for row in board.rows] == ["TalkingPose", "TalkingPose (no-feedback)"]
    assert board.rows[0].description.startswith("diffusion")


def test_names_that_look_alike_are_not_one_row(runs: Runs) -> None:
    one = runs("a b")
    other = replace(runs, out=runs.out.with_name("other"))("a\u200bb")
    with pytest.raises(SubmissionError, match="two models are shown as 'a b'"):
        board_of(one, other)


def test_clips_are_those_with_scores_and_previews_are_known_by_their_sha256(runs: Runs) -> None:
    path = runs(failed={"clip2": "broke"})
    edit_record(path / "records" / "clip1.json", preview_sha256=sha("preview"))
    board = board_of(path)
    assert [clip.id for clip in board.clips] == ["clip0", "clip1", "clip3", "clip4", "clip5"]
    assert board.rows[0].runs[0].previews == {"clip1": sha("preview")}


def test_a_pair_of_the_cross_task_knows_both_of_its_clips(runs: Runs) -> None:
    ids = sorted(pair_id(f"clip{n}", f"clip{(n + 2) % 6}") for n in range(6))
    pairs = board_of(runs(clip_ids=ids, info=of_part("task", id="cross"))).clips
    plain = board_of(replace(runs, out=runs.out.with_name("self"))(clip_ids=ids)).clips
    assert (pairs[5].driving_clip, pairs[5].reference_clip) == ("clip5", "clip1")
    assert (plain[5].driving_clip, plain[5].reference_clip) == (ids[5], ids[5])


def typed(*words: str) -> Callable[[RunInfo], RunInfo]:
    """Have the run made by this command."""

    def change(info: RunInfo) -> RunInfo:
        session = info.sessions[0].model_copy(update={"command": words})
        return info.model_copy(update={"sessions": (session,)})

    return change


def test_all_seeds_are_in_one_command(runs: Runs) -> None:
    runs("warp", kind="baseline", seed=43)
    runs("warp", kind="baseline", seed=42)
    assert board_of(runs.out).rows[0].command == (
        f"tpbench eval --model warp --data DATASET --split test --task self {REST} --seeds 42,43"
    )


def test_what_makes_the_frames_is_in_the_command_and_the_rest_is_not(runs: Runs) -> None:
    words = (
        *("/opt/bin/tpbench", "generate", "--model", "talkingpose", "--data", "/home/me/x"),
        *("--option", "gain=0.5", "--weights=/home/me/w", "--option=text=two words"),
        *("--reference-quirks", "--limit", "3", "--out", "/home/me/runs", "--device", "cuda"),
    )
    path = runs("talkingpose", kind="model", info=typed(*words))
    assert board_of(path).rows[0].command == (
        "tpbench eval --model talkingpose --option gain=0.5 --weights WEIGHTS "
        "--option 'text=two words' --reference-quirks --data DATASET --split test --task self "
        f"{REST} --seeds 42"
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("package.module:Class", "package.module:Class"),
        # A name can start nothing else when the command is pasted.
        ("a b:C", "'a b:C'"),
        ("x; rm -rf ~:C", "'x; rm -rf ~:C'"),
        ("$(reboot):C", "'$(reboot):C'"),
    ],
)
def test_a_class_has_a_command_and_an_object_has_none(runs: Runs, name: str, shown: str) -> None:
    command = board_of(runs(name)).rows[0].command or ""
    assert command.startswith(f"tpbench eval --model {shown} --data DATASET")
    assert board_of(runs("mine")).rows[0].command is None


def test_a_task_for_shorter_clips_says_so(runs: Runs) -> None:
    shorter = of_part("task", id="self.min24", min_frames=24)
    command = board_of(runs("warp", kind="baseline", info=shorter)).rows[0].command or ""
    assert " --task self --min-frames 24 --protocol " in command


def test_a_row_has_the_value_of_every_clip_over_its_seeds(runs: Runs) -> None:
    runs(seed=1, psnr=[20.0, 21.0, 22.0, 23.0, 24.0, 25.0])
    runs(seed=2, psnr=[22.0, 21.0, 22.0, 23.0, 24.0, 25.0])
    (row,) = board_of(runs.out).rows
    assert row.values["psnr"]["clip0"] == 21
    assert row.values["psnr"]["clip5"] == 25
    assert "fid" not in row.values


def test_older_runs_get_the_addresses_that_the_registry_knows(runs: Runs) -> None:
    runs("talkingpose", kind="model")
    runs("talkingpose-of-mine", kind="custom")
    runs("new", kind="external", info=of_part("model", paper_url="https://example.org/paper"))
    known, mine, new = (
        next(row for row in board_of(runs.out).rows if row.id == name)
        for name in ("talkingpose", "talkingpose-of-mine", "new")
    )
    assert known.paper_url == "https://arxiv.org/abs/2512.00909"
    assert known.weights_url.startswith("https://")
    assert (mine.paper_url, mine.weights_url) == ("", "")
    assert new.paper_url == "https://example.org/paper"


def test_what_copies_frames_has_no_speed(runs: Runs) -> None:
    runs("precomputed", kind="external")
    runs("frozen", kind="anchor")
    runs("mine")
    speeds = {row.id: row.gen_fps for row in board_of(runs.out).rows}
    assert speeds == {"precomputed": None, "frozen": None, "mine": 12.0}
