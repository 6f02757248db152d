"""The folder that is published: files, determinism, and who is missing."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark.conftest import edit_record
from tests.benchmark.leaderboard.conftest import Runs, board_of, sha
from tpbench.benchmark.leaderboard.tables import build_leaderboard
from tpbench.benchmark.run_info import RunInfo
from tpbench.benchmark.site import LIST_NAME
from tpbench.benchmark.tasks import pair_id
from tpbench.errors import ConfigError, SubmissionError

TABLES = ("leaderboard.csv", "leaderboard.schema.json", "reported.csv", "leaderboard.md")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_tables_are_written_and_nothing_else(runs: Runs, tmp_path: Path) -> None:
    built = build_leaderboard([runs()], tmp_path / "out", page=False)
    assert built.files == tuple(tmp_path / "out" / name for name in TABLES)
    assert built.page is None
    assert sorted(contents(tmp_path / "out")) == sorted([*TABLES, LIST_NAME])


def test_order_of_the_runs_and_place_change_no_byte(runs: Runs, tmp_path: Path) -> None:
    paths = [runs("b", psnr=20), runs("a", seed=2, psnr=21), runs("a", seed=1), *runs.anchors()]
    moved = shutil.copytree(runs.out, tmp_path / "elsewhere")
    build_leaderboard(paths, tmp_path / "one", page=False)
    build_leaderboard(paths[::-1], str(tmp_path / "two"), page=False)
    build_leaderboard([moved], tmp_path / "three", page=False)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")


def test_anchors_that_are_not_there_are_named_with_their_command(
    runs: Runs, tmp_path: Path
) -> None:
    runs("frozen", kind="anchor")
    built = build_leaderboard([runs.out], tmp_path / "out", data=runs.data, page=False)
    assert list(built.leaderboard.missing_anchors) == ["gt-reencode", "oracle"]
    assert built.missing_anchors["oracle"].startswith(
        f"tpbench eval --model oracle --data {runs.data} --split test --task self "
    )
    assert [row.id for row in built.leaderboard.rows] == ["frozen"]


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


def test_what_failed_is_known_by_clip(runs: Runs) -> None:
    board = board_of(runs(failed={"clip2": "the card\nfell out"}))
    assert board.rows[0].runs[0].failed == {"clip2": "the card fell out"}
    assert [clip.id for clip in board.clips] == ["clip0", "clip1", "clip3", "clip4", "clip5"]


def test_previews_are_known_by_their_sha256(runs: Runs) -> None:
    path = runs()
    record = path / "records" / "clip1.json"
    edit_record(record, preview_sha256=sha("preview"))
    (run,) = board_of(path).rows[0].runs
    assert run.previews == {"clip1": sha("preview")}


def test_a_pair_of_the_cross_task_knows_both_of_its_clips(runs: Runs) -> None:
    def crossed(info: RunInfo) -> RunInfo:
        task = info.task.model_copy(update={"id": "cross"})
        return info.model_copy(update={"task": task})

    ids = sorted(pair_id(f"clip{n}", f"clip{(n + 2) % 6}") for n in range(6))
    pairs = board_of(runs(clip_ids=ids, info=crossed)).clips
    other = replace(runs, out=runs.out.with_name("self"))
    plain = board_of(other(clip_ids=ids)).clips

    assert (pairs[5].driving_clip, pairs[5].reference_clip) == ("clip5", "clip1")
    assert (plain[5].driving_clip, plain[5].reference_clip) == (ids[5], ids[5])


def test_names_that_look_alike_are_not_one_row(runs: Runs) -> None:
    one = runs("a b")
    other = replace(runs, out=runs.out.with_name("other"))("a\u200bb")
    with pytest.raises(SubmissionError, match="two models are shown as 'a b'"):
        board_of(one, other)


def test_a_folder_that_cannot_be_written_is_a_config_error(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError, match=r"out: can't be written"):
        build_leaderboard([runs()], tmp_path / "out", page=False)


def test_the_page_is_written_beside_the_tables(runs: Runs, tmp_path: Path) -> None:
    built = build_leaderboard([runs(), *runs.anchors()], tmp_path / "out")
    assert built.page == built.files[-1] == tmp_path / "out" / "index.html"
    assert built.page.is_file()


def test_a_disk_that_fills_up_under_the_page_is_a_config_error(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tpbench.benchmark.page.build.build_page", full)

    with pytest.raises(ConfigError, match=r"out: can't be written \(No space left on device\)"):
        build_leaderboard([runs()], tmp_path / "out")
