from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.benchmark.page.conftest import CLIPS, FPS
from tpbench.benchmark.page.media import place_media
from tpbench.dataset import clip_path

if TYPE_CHECKING:
    from pathlib import Path

    from tpbench.benchmark.leaderboard.model import Leaderboard


def test_videos_are_linked_beside_the_page(board: Leaderboard, tmp_path: Path) -> None:
    media = place_media(board, tmp_path)

    anna = media["anna"]
    assert anna.fps == FPS
    assert (anna.reference, anna.pose, anna.real) == (
        "media/reference/anna.jpg",
        "media/pose/anna.mp4",
        "media/real/anna.mp4",
    )
    assert anna.generated["my.own:Steady"] == "media/generated/my.own-Steady/anna.mp4"
    real = clip_path(board.dataset.folder, "anna")
    assert (tmp_path / "media/real/anna.mp4").samefile(real)
    assert len(list(tmp_path.rglob("*.mp4"))) == len(CLIPS) * (2 + len(board.rows))


def test_where_links_are_not_possible_videos_are_copied(
    board: Leaderboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "another file system")

    monkeypatch.setattr(os, "link", refuse)

    place_media(board, tmp_path)

    copied, real = tmp_path / "media/real/anna.mp4", clip_path(board.dataset.folder, "anna")
    assert not copied.samefile(real)
    assert copied.read_bytes() == real.read_bytes()


def test_building_twice_leaves_nothing_but_the_media(board: Leaderboard, tmp_path: Path) -> None:
    place_media(board, tmp_path)
    first = sorted(tmp_path.rglob("*"))

    place_media(board, tmp_path)

    assert sorted(tmp_path.rglob("*")) == first


def test_media_of_a_model_that_left_are_taken_away_and_other_files_are_not(
    board: Leaderboard, tmp_path: Path
) -> None:
    place_media(board, tmp_path)
    own = tmp_path / "media" / "talk.mp4"
    own.write_bytes(b"the user's own")

    place_media(replace(board, rows=board.rows[:1]), tmp_path)

    assert [path.parent.name for path in tmp_path.rglob("media/generated/*/anna.mp4")] == [
        "falling"
    ]
    assert own.exists()


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_dataset_that_is_gone_or_another_gives_no_real_clips(
    board: Leaderboard, tmp_path: Path, change: str
) -> None:
    dataset = (
        replace(board.dataset, folder=tmp_path / "nowhere")
        if change == "gone"
        else replace(board.dataset, digest="f" * 64)
    )

    anna = place_media(replace(board, dataset=dataset), tmp_path)["anna"]

    assert (anna.reference, anna.pose, anna.real) == (None, None, None)
    assert len(anna.generated) == len(board.rows)
    assert anna.fps == FPS


def test_a_preview_that_is_a_link_is_not_followed(board: Leaderboard, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"private")
    link = tmp_path / "anna.mp4"
    link.symlink_to(secret)
    run = replace(board.rows[0].runs[0], previews={"anna": link})

    media = place_media(
        replace(board, rows=(replace(board.rows[0], runs=(run,)),)), tmp_path / "out"
    )

    assert media["anna"].generated == {}
    assert not list((tmp_path / "out").rglob("generated/*/*"))


def test_models_whose_names_collapse_have_folders_of_their_own(
    board: Leaderboard, tmp_path: Path
) -> None:
    names = ("a:b", "a/b", "../..")
    rows = tuple(replace(board.rows[0], id=name) for name in names)

    generated = place_media(replace(board, rows=rows), tmp_path)["anna"].generated

    folders = [generated[name].split("/")[2] for name in names]
    assert folders == ["a-b", "a-b-2", "model"]


def test_a_task_of_two_clips_shows_the_reference_of_the_one_and_the_video_of_the_other(
    board: Leaderboard, tmp_path: Path
) -> None:
    crossed = replace(
        board.clips[0], id="anna__from__bert", driving_clip="anna", reference_clip="bert"
    )

    media = place_media(replace(board, clips=(crossed,)), tmp_path)["anna__from__bert"]

    assert (media.reference, media.pose, media.real) == (
        "media/reference/bert.jpg",
        "media/pose/anna.mp4",
        "media/real/anna.mp4",
    )
