"""What `verify` finds, and that it names it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.benchmark.conftest import edit_record, write_dataset
from tests.benchmark.evaluating import Evaluator, flip
from tests.benchmark.generators import Faulty
from tpbench.benchmark.checks import Disagreements
from tpbench.benchmark.leaderboard.assemble import assemble
from tpbench.benchmark.leaderboard.collect import collect
from tpbench.benchmark.run_folder import Run
from tpbench.benchmark.run_info import write_run_info
from tpbench.benchmark.verify import verify_run
from tpbench.canonical import digest_of
from tpbench.dataset import clip_path
from tpbench.errors import ConfigError, SubmissionError
from tpbench.metrics.registry import headline_of
from tpbench.metrics.scoring.report import ScoreReport, load_report, read_scores, write_scores


@pytest.fixture(scope="module")
def finished(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in which nothing is wrong; not to be changed."""
    out = tmp_path_factory.mktemp("verified")
    return Evaluator(data=talks, out=out)().runs[0].folder.path


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of it, of which nobody verified anything: what is known goes by content."""
    monkeypatch.setenv("TPBENCH_STATE", str(tmp_path / "state"))
    shutil.copytree(finished, tmp_path / "run")
    return Run.open(tmp_path / "run")


def problems(run: Run, *, recompute: bool = True) -> tuple[str, ...]:
    """What is wrong with a run, without its folder."""
    found = verify_run(run.folder.path, recompute=recompute, workers=1, offline=True)
    assert found.ok == (not found.problems)
    assert (found.level == "none") == bool(found.problems)
    assert all(line.startswith(str(run.folder.path)) for line in found.problems)
    return tuple(line.removeprefix(f"{run.folder.path}/") for line in found.problems)


def stamp(run: Run) -> dict[str, str] | None:
    path = run.folder.path / "verified.json"
    return json.loads(path.read_text()) if path.exists() else None


def rewrite(run: Run, change: Callable[[ScoreReport], ScoreReport]) -> None:
    """Write other scores, with a digest that is right."""
    report, _ = load_report(run.folder.path)
    write_scores(run.folder.path / "scores.json", change(report))


def test_a_whole_run_comes_out_again(run: Run) -> None:
    found = verify_run(run.folder.path, workers=1)
    assert (found.ok, found.level, found.n_files) == (True, "rerun", 7)
    assert found.n_values > 1000
    left = stamp(run)
    assert left is not None
    assert left["level"] == "rerun"
    assert left["scores_digest"] == load_report(run.folder.path)[1]
    assert left["date"]


def test_digests_alone_need_no_dataset(run: Run) -> None:
    info = run.info.dataset.model_copy(update={"folder": "/gone"})
    write_run_info(run.folder.path, run.info.model_copy(update={"dataset": info}))
    found = verify_run(run.folder.path, recompute=False)
    assert (found.level, found.n_values) == ("digest", 0)
    assert found.notes == ("the scores were not computed again",)


def test_a_quick_look_does_not_undo_a_thorough_one(run: Run) -> None:
    verify_run(run.folder.path, workers=1)
    verify_run(run.folder.path, recompute=False)
    assert (stamp(run) or {})["level"] == "rerun"


def test_a_quick_look_signs_no_level_that_only_the_run_claims(run: Run) -> None:
    rewrite(run, lambda report: replace(report, environment={"made": "up"}))
    digest = load_report(run.folder.path)[1]
    claim = {"level": "rerun", "scores_digest": digest, "date": "2026-11-22"}
    (run.folder.path / "verified.json").write_text(json.dumps(claim))
    assert verify_run(run.folder.path, recompute=False).level == "digest"
    assert (stamp(run) or {})["level"] == "digest"


def test_what_was_verified_stands_on_the_board_until_a_file_is_touched(run: Run) -> None:
    verify_run(run.folder.path, workers=1)
    (before,) = collect([run.folder.path]).runs
    flip(run.folder.generated("b"))
    verify_run(run.folder.path, recompute=False)
    (after,) = collect([run.folder.path]).runs
    assert (before.verified, after.verified) == ("rerun", "none")


@pytest.mark.parametrize(
    ("name", "named_by", "recompute"),
    [
        ("generated/b.mkv", "its record", True),
        ("generated/b.mkv", "its record", False),
        ("preview/b.mp4", "its record", False),
        ("frames.parquet", "scores.json", False),
    ],
)
def test_a_flipped_bit_in_a_file_is_named(
    name: str,
    named_by: str,
    recompute: bool,  # noqa: FBT001 - parametrised
    run: Run,
) -> None:
    verify_run(run.folder.path, recompute=False)
    flip(run.folder.path / name)
    found = problems(run, recompute=recompute)
    assert found[0] == f"{name}: not the file that {named_by} names (sha256 differs)"
    assert recompute or len(found) == 1
    assert stamp(run) is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_in_a_record_is_named(at: float, bit: int, run: Run) -> None:
    path = run.folder.record("b")
    content = path.read_bytes()
    changed = bytearray(content)
    changed[int(len(content) * at)] ^= 1 << bit
    path.write_bytes(changed)
    found = problems(run, recompute=False)
    path.write_bytes(content)
    assert len(found) == 1
    assert found[0].startswith("records/b.json: ")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True))
@pytest.mark.parametrize("name", ["scores.json", "run.json"])
def test_other_content_of_a_json_file_is_named(name: str, at: float, run: Run) -> None:
    path = run.folder.path / name
    content = path.read_bytes()
    changed = bytearray(content)
    position = int(len(content) * at)
    if chr(content[position]).isspace():
        return  # says nothing
    changed[position] ^= 1
    with suppress(ValueError):
        if json.loads(changed) == json.loads(content):
            return  # another last digit of the same number
    path.write_bytes(changed)

    found = problems(run, recompute=False)
    path.write_bytes(content)

    assert len(found) == 1
    assert found[0].startswith(f"{name}: ")


def test_a_record_that_was_forged_gives_itself_away(run: Run) -> None:
    edit_record(run.folder.record("b"), generated_sha256="0" * 64)
    assert problems(run, recompute=False) == (
        "generated/b.mkv: not the file that its record names (sha256 differs)",
        "scores.json: scores of b are not of its current file",
    )


def test_clips_of_other_inputs_are_named(run: Run) -> None:
    edit_record(run.folder.record("b"), inputs="0" * 64)
    assert problems(run) == (
        "records/b.json: was generated from other inputs than run.json and the dataset give",
    )


def test_a_run_that_passes_for_another_models_is_named(run: Run) -> None:
    model = run.info.model.model_copy(update={"name": "talkingpose"})
    write_run_info(run.folder.path, run.info.model_copy(update={"model": model}))
    assert {line.partition(":")[0] for line in problems(run)} == {
        "records/a.json",
        "records/b.json",
        "records/c.json",
    }


@pytest.mark.parametrize("name", ["counts", "timings"])
def test_books_that_do_not_add_up_are_named(name: str, run: Run) -> None:
    part = getattr(run.info, name)
    changed = part.model_copy(update={"frames": 1} if name == "counts" else {"gen_s": 0.001})
    write_run_info(run.folder.path, run.info.model_copy(update={name: changed}))
    assert problems(run, recompute=False) == (
        f"run.json: its {name} differ from the records; if the run was killed, run it again",
    )


def test_files_that_are_gone_or_strange_are_named(run: Run) -> None:
    run.folder.generated("a").unlink()
    shutil.copy(run.folder.generated("b"), run.folder.generated("stranger"))
    run.folder.record("c").unlink()
    found = problems(run, recompute=False)
    assert "generated/a.mkv: missing, though its record names it" in found
    assert "generated/stranger.mkv: no record names it" in found
    assert "generated/c.mkv: no record names it" in found
    assert "preview/c.mp4: no record names it" in found
    assert "scores.json: has scores of c, but there is no such clip" in found


def test_a_forged_score_is_told_digit_by_digit(run: Run) -> None:
    report, _ = load_report(run.folder.path)
    psnr = report.clips["b"].values["psnr"]
    values = {**report.clips["b"].values, "psnr": psnr + 1e-4}
    clips = {**report.clips, "b": replace(report.clips["b"], values=values)}
    rewrite(run, lambda old: replace(old, clips=clips))
    (found,) = problems(run)
    digits = int(-np.log10(1e-4 / psnr))
    assert found == (
        f"scores.json: psnr of b: recorded {psnr + 1e-4!r}, recomputed {psnr!r} (they agree in "
        f"{digits} digits)"
    )


def test_a_forged_mean_is_told(run: Run) -> None:
    def better(report: ScoreReport) -> ScoreReport:
        psnr = replace(report.metrics["psnr"], value=99.0, low=98.0)
        return replace(report, metrics={**report.metrics, "psnr": psnr})

    rewrite(run, better)

    first, second = problems(run)
    assert first.startswith("scores.json: psnr: recorded 99.0, ")
    assert second == "scores.json: psnr, low end of the interval: recorded 98.0, recomputed nothing"


def test_a_rounding_error_is_no_forgery(run: Run) -> None:
    def nudged(report: ScoreReport) -> ScoreReport:
        psnr = report.metrics["psnr"]
        psnr = replace(psnr, value=psnr.value * (1 + 1e-11))
        return replace(report, metrics={**report.metrics, "psnr": psnr})

    rewrite(run, nudged)

    assert problems(run) == ()


def test_forged_frames_are_named(run: Run) -> None:
    path = run.folder.path / "frames.parquet"
    frames = pd.read_parquet(path)
    row = frames.index[(frames["clip_id"] == "b") & (frames["frame"] == 40)]
    frames.loc[row, ["psnr", "l1"]] += 0.5
    frames.to_parquet(path)
    assert problems(run) == (
        "frames.parquet: not the file that scores.json names (sha256 differs)",
        "frames.parquet: b: l1, psnr differ, first in frame 40",
    )


def test_scores_from_before_frames_had_a_sha256_are_read_and_verify_says_what_they_lack(
    run: Run,
) -> None:
    path = run.folder.path / "scores.json"
    content = {k: v for k, v in read_scores(path).items() if k not in {"digest", "frames_sha256"}}
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))
    found = verify_run(run.folder.path, workers=1)
    assert (found.problems, found.level, found.n_files) == ((), "rerun", 6)
    assert "from a version that did not record the sha256 of frames.parquet" in found.notes[0]
    flip(run.folder.path / "frames.parquet")
    assert problems(run)[0].startswith("frames.parquet: ")


def test_scores_from_before_protocols_had_a_headline_are_verified_and_tabled(run: Run) -> None:
    report = load_report(run.folder.path)[0]
    settings = {name: value for name, value in report.protocol.items() if name != "headline"}
    write_scores(run.folder.path / "scores.json", replace(report, protocol=settings))
    assert problems(run) == ()
    board = assemble(collect([run.folder.path]))
    assert [row.id for row in board.overview] == list(headline_of(settings))


def test_intervals_of_an_older_method_are_not_compared_and_verify_says_so(run: Run) -> None:
    path = run.folder.path / "scores.json"
    content = {k: v for k, v in read_scores(path).items() if k not in {"digest", "statistics"}}
    for score in content["metrics"].values():
        score.update(low=1.0, high=2.0, level=0.95)
    for clip in content["clips"].values():
        clip["intervals"] = {"drift_psnr_slope": [-1.0, 1.0]}
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))

    found = verify_run(run.folder.path, workers=1)

    assert (found.problems, found.level) == ((), "rerun")
    (note,) = found.notes
    assert note == (
        f"{path}: its intervals are by method 1, this tpbench has method 2: not compared; "
        "score the run again to update them"
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "frames.parquet: can't be read"),
        (lambda path: path.write_bytes(b"PAR1"), "frames.parquet: can't be read"),
        (
            lambda path: pd.read_parquet(path).drop(columns="psnr").to_parquet(path),
            "frames.parquet: lacks psnr",
        ),
        (
            lambda path: pd.read_parquet(path).iloc[1:].to_parquet(path),
            "frames.parquet: a: has other frames than the recomputed values",
        ),
    ],
)
def test_frames_that_are_not_whole_are_named(
    damage: Callable[[Path], None], message: str, run: Run
) -> None:
    damage(run.folder.path / "frames.parquet")
    first, second = problems(run)
    assert first.startswith(("frames.parquet: not the file that", "frames.parquet: missing"))
    assert second.startswith(message)


def test_without_lossless_frames_only_records_and_hashes_are_looked_at(
    talks: Path, tmp_path: Path
) -> None:
    (run,) = Evaluator(data=talks, out=tmp_path)(keep="preview").runs
    found = verify_run(run.folder.path, workers=1)
    assert (found.ok, found.level, found.n_files, found.n_values) == (True, "digest", 4, 0)
    assert "the lossless frames were not kept" in found.notes[0]
    flip(run.folder.record("a"))
    assert problems(run)[0].startswith("records/a.json: ")


def test_failed_clips_are_no_problem(talks: Path, tmp_path: Path) -> None:
    (run,) = Evaluator(data=talks, out=tmp_path)(Faulty("failure")).runs
    assert verify_run(run.folder.path, workers=1).level == "rerun"


def test_a_partial_run_and_a_shard_can_be_verified(talks: Path, tmp_path: Path) -> None:
    run_it = Evaluator(data=talks, out=tmp_path)
    for said in ({"limit": 1}, {"shard": "2/2"}):
        (run,) = run_it(**said).runs
        assert verify_run(run.folder.path, workers=1).level == "rerun"


def test_clips_made_after_scoring_are_named(run: Run, talks: Path, tmp_path: Path) -> None:
    from tests.benchmark.conftest import Maker
    from tests.benchmark.evaluating import Noisy

    part = Evaluator(data=talks, out=tmp_path / "runs")(limit=1).runs[0]
    Maker(data=talks, out=tmp_path / "runs")(Noisy())
    assert problems(part)[:2] == (
        "scores.json: has no scores of b, which was generated",
        "scores.json: has no scores of c, which was generated",
    )


def test_a_run_without_scores_is_named(run: Run) -> None:
    (run.folder.path / "scores.json").unlink()
    assert problems(run) == ("scores.json: missing: the run is not scored",)


def test_a_real_clip_that_was_changed_is_named(run: Run, talks: Path, tmp_path: Path) -> None:
    shutil.copytree(talks, tmp_path / "data")
    flip(clip_path(tmp_path / "data", "b"))
    found = verify_run(run.folder.path, data=tmp_path / "data", workers=1)
    line = f"{clip_path(tmp_path / 'data', 'b')}: not the file that the manifest describes"
    assert line in found.problems


def test_a_dataset_that_is_gone_can_be_named(
    run: Run, talks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TPBENCH_DATA", raising=False)
    run.folder.local.unlink()
    with pytest.raises(ConfigError, match=r"its dataset 'Small talks' is needed.*--no-recompute"):
        verify_run(run.folder.path)
    assert verify_run(run.folder.path, data=talks, workers=1).level == "rerun"


def test_another_dataset_is_refused(run: Run, tmp_path: Path) -> None:
    write_dataset(tmp_path / "other", {"a": 101})
    with pytest.raises(ConfigError, match="not the dataset of the run"):
        verify_run(run.folder.path, data=tmp_path / "other")


def test_another_version_of_the_task_is_refused(run: Run) -> None:
    task = run.info.task.model_copy(update={"version": 9})
    write_run_info(run.folder.path, run.info.model_copy(update={"task": task}))
    with pytest.raises(SubmissionError, match="made by task self v9, this tpbench has self v1"):
        verify_run(run.folder.path)


def test_scores_of_other_versions_are_refused(run: Run) -> None:
    rewrite(run, lambda old: replace(old, protocol={**old.protocol, "digest": "0" * 64}))
    with pytest.raises(SubmissionError, match="metrics have other versions now"):
        verify_run(run.folder.path)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="no run here"):
        verify_run(tmp_path)


def test_what_can_not_be_measured_here_is_said(finished: Path) -> None:
    report, _ = load_report(finished)
    fid = replace(report.metrics["psnr"], metric="fid", direction="lower", value=12.0)
    blank = replace(fid, status="not_measured", value=math.nan, reason="no weights")
    with_fid = replace(report, metrics={**report.metrics, "fid": fid})
    without = replace(report, metrics={**report.metrics, "fid": blank})
    frames = finished / "frames.parquet"
    found = Disagreements((with_fid, frames), (without, frames))
    assert (found.not_measured, found.scores, found.frames) == (("fid",), (), ())


def test_networks_may_round_otherwise(finished: Path) -> None:
    report, _ = load_report(finished)
    frames = finished / "frames.parquet"

    def with_fid(value: float) -> ScoreReport:
        fid = replace(report.metrics["psnr"], metric="fid", value=value, low=None, high=None)
        return replace(report, metrics={"fid": fid})

    near = Disagreements((with_fid(12.0), frames), (with_fid(12.0 + 5e-5), frames))
    far = Disagreements((with_fid(12.0), frames), (with_fid(12.001), frames))

    assert near.scores == ()
    assert far.scores == ("fid: recorded 12.0, recomputed 12.001 (they agree in 4 digits)",)
