"""What goes beside the page: what is on record, lies inside, and is a video. Nothing else."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.benchmark.page.conftest import CLIPS, FPS
from tests.conftest import MediaMaker
from tpbench.benchmark.leaderboard.board import Leaderboard, Row
from tpbench.benchmark.page.media import ClipMedia, place_media
from tpbench.benchmark.run_folder import RunFolder
from tpbench.benchmark.site import Site
from tpbench.dataset import Dataset, clip_path, finalise, pose_path
from tpbench.errors import ConfigError, DatasetError
from tpbench.files import sha256_of

SECRET = b"-----BEGIN OPENSSH PRIVATE KEY----- mine -----END OPENSSH PRIVATE KEY-----"


def place(board: Leaderboard, out: Path) -> dict[str, ClipMedia]:
    site = Site.open(out)
    media = place_media(board, site)
    site.finish(sweep=True)
    return media


def published(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in out.rglob("*") if path.is_file()]


@pytest.fixture
def board(board: Leaderboard) -> Leaderboard:
    """A leaderboard of two clips."""
    return replace(board, clips=board.clips[:2])


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A private file of whoever builds the leaderboard."""
    path = tmp_path / "home" / ".ssh" / "id_rsa"
    path.parent.mkdir(parents=True)
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def own(board: Leaderboard, tmp_path: Path) -> Leaderboard:
    """The leaderboard with dataset and runs of its own, to be changed."""
    assert board.data is not None
    talks = shutil.copytree(board.data, tmp_path / "talks")
    rows: list[Row] = []
    for row in board.rows:
        (run,) = row.runs
        folder = shutil.copytree(run.folder, tmp_path / "runs" / str(len(rows)))
        rows.append(replace(row, runs=(replace(run, folder=folder),)))
    return replace(board, rows=tuple(rows), data=talks)


def folder_of(board: Leaderboard) -> Path:
    assert board.data is not None
    return board.data


def test_videos_are_copied_beside_the_page(board: Leaderboard, tmp_path: Path) -> None:
    anna = place(board, tmp_path)["anna"]
    assert anna.fps == FPS
    assert (anna.reference, anna.pose, anna.real) == (
        "media/reference/anna.jpg",
        "media/pose/anna.mp4",
        "media/real/anna.mp4",
    )
    assert anna.generated["my.own:Steady"] == "media/generated/my.own-Steady/anna.mp4"
    copied, real = tmp_path / "media/real/anna.mp4", clip_path(folder_of(board), "anna")
    assert copied.read_bytes() == real.read_bytes()
    assert not copied.samefile(real)
    assert len(list(tmp_path.rglob("*.mp4"))) == len(board.clips) * (2 + len(board.rows))


def test_a_small_picture_from_the_middle_goes_with_every_video(
    board: Leaderboard, tmp_path: Path
) -> None:
    anna = place(board, tmp_path)["anna"]
    assert anna.thumb == "media/thumbs/real/anna.jpg"
    assert anna.thumbs["my.own:Steady"] == "media/thumbs/generated/my.own-Steady/anna.jpg"
    assert len(list((tmp_path / "media/thumbs").rglob("*.jpg"))) == len(board.clips) * 5
    picture = cv2.imread(str(tmp_path / anna.thumb))
    assert picture is not None
    assert MediaMaker.frame_number(picture.astype(np.uint8)) == (CLIPS["anna"] - 1) // 2


def test_no_clip_s_name_leads_a_picture_out_of_the_folder(
    board: Leaderboard, tmp_path: Path
) -> None:
    stray = replace(board.clips[0], id="../../../../stray", driving_clip="anna")
    first = board.rows[0]
    runs = (replace(first.runs[0], previews={}),)
    rows = (replace(first, runs=runs),)
    place(replace(board, clips=(stray,), rows=rows), tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    (thumb,) = (tmp_path / "a/b/media/thumbs/real").iterdir()
    assert thumb.suffix == ".jpg"


def test_building_again_leaves_the_media_but_for_those_of_a_model_that_left(
    board: Leaderboard, tmp_path: Path
) -> None:
    place(board, tmp_path)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    place(board, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first
    place(replace(board, rows=board.rows[:1]), tmp_path)
    left = tmp_path.rglob("media/generated/*/anna.mp4")
    assert [path.parent.name for path in left] == ["falling"]


def test_files_of_the_users_own_stay_wherever_they_lie(
    board: Leaderboard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = [
        tmp_path / "media" / name
        for name in ("talk.mp4", "real/holiday.mp4", "generated/old/anna.mp4", "pose/anna.mp4")
    ]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"the user's own")
    media = place(board, tmp_path)
    assert [path.read_bytes() for path in own] == [b"the user's own"] * 4
    assert media["anna"].pose is None
    assert "pose/anna.mp4: was not written by `tpbench leaderboard build`; left" in caplog.text


def test_a_video_of_ours_that_was_changed_is_not_taken_away(
    board: Leaderboard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place(board, tmp_path)
    changed = tmp_path / "media/generated/oracle/anna.mp4"
    changed.write_bytes(b"cut by hand")
    place(replace(board, rows=board.rows[:1]), tmp_path)
    assert changed.read_bytes() == b"cut by hand"
    assert "was changed after it was written; left as it is" in caplog.text


@pytest.mark.parametrize("linked", ["media", "media/real"])
def test_nothing_is_written_or_taken_away_through_a_linked_folder(
    board: Leaderboard, tmp_path: Path, linked: str
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    place(board, out)
    shutil.move(out / linked, elsewhere)
    (out / linked).symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    place(replace(board, clips=board.clips[:1]), out)
    assert sorted(elsewhere.rglob("*")) == before


def test_without_a_dataset_named_by_the_keeper_there_are_no_real_clips(
    board: Leaderboard, tmp_path: Path
) -> None:
    anna = place(replace(board, data=None), tmp_path)["anna"]
    assert (anna.reference, anna.pose, anna.real) == (None, None, None)
    assert len(anna.generated) == len(board.rows)
    assert anna.fps == FPS


def test_a_dataset_that_is_another_one_is_refused(board: Leaderboard, tmp_path: Path) -> None:
    dataset = board.dataset.model_copy(update={"digest": "f" * 64})
    with pytest.raises(ConfigError, match="not the dataset of the runs"):
        place(replace(board, dataset=dataset), tmp_path)


@pytest.mark.parametrize("how", ["link", "relative link", "linked folder", "hard link", "copy"])
@pytest.mark.parametrize("what", ["preview", "real", "pose"])
def test_a_private_file_in_the_place_of_a_video_is_not_published(
    own: Leaderboard, secret: Path, tmp_path: Path, how: str, what: str
) -> None:
    preview = RunFolder(path=own.rows[0].runs[0].folder).preview("anna")
    data = folder_of(own)
    video = {"real": clip_path(data, "anna"), "pose": pose_path(data, "anna")}.get(what, preview)
    video.unlink()
    if how == "linked folder":
        secret.rename(secret.with_name("anna.mp4"))
        shutil.rmtree(video.parent)
        video.parent.symlink_to(secret.parent)
    elif how == "hard link":
        os.link(secret, video)
    elif how == "copy":
        video.write_bytes(SECRET)
    else:
        relative = how == "relative link"
        video.symlink_to(os.path.relpath(secret, video.parent) if relative else secret)
    anna = place(own, tmp_path / "out")["anna"]
    placed = {"real": anna.real, "pose": anna.pose, "preview": anna.generated.get(own.rows[0].id)}
    assert placed[what] is None
    assert not any(SECRET in content for content in published(tmp_path / "out"))


def test_a_private_video_with_the_right_name_is_not_published(
    own: Leaderboard, tmp_path: Path
) -> None:
    """A video that can be decoded, reached by links: only its sha256 tells that it is another."""
    private = tmp_path / "private"
    real, other = (clip_path(folder_of(own), name) for name in ("anna", "bert"))
    private.mkdir()
    shutil.copy(other, private / "anna.mp4")
    shutil.rmtree(real.parent)
    real.parent.symlink_to(private)
    shutil.copy(other, RunFolder(path=own.rows[0].runs[0].folder).preview("anna"))
    anna = place(own, tmp_path / "out")["anna"]
    assert (anna.real, anna.reference) == (None, None)
    assert own.rows[0].id not in anna.generated
    assert not list((tmp_path / "out/media").glob("real/anna*"))


def test_links_that_stay_inside_are_followed(own: Leaderboard, tmp_path: Path) -> None:
    clips = clip_path(folder_of(own), "anna").parent
    clips.rename(clips.with_name("store"))
    clips.symlink_to("store")
    assert place(own, tmp_path / "out")["anna"].real == "media/real/anna.mp4"


def test_what_is_on_record_and_no_video_is_left_out(
    own: Leaderboard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = own.rows[0].runs[0]
    preview = RunFolder(path=run.folder).preview("anna")
    preview.write_bytes(SECRET)
    run = replace(run, previews={**run.previews, "anna": sha256_of(preview)})
    rows = (replace(own.rows[0], runs=(run,)),)
    media = place(replace(own, rows=rows), tmp_path / "out")
    assert media["anna"].generated == {}
    assert not any(SECRET in content for content in published(tmp_path / "out"))
    assert "can't be decoded as a video" in caplog.text


def test_a_manifest_that_is_not_the_one_of_the_digest_publishes_nothing(
    own: Leaderboard, secret: Path, tmp_path: Path
) -> None:
    """`dataset.json` names the right digest; the rows behind it name a private file's sha256."""
    folder = folder_of(own)
    rows = Dataset.open(folder).clips()
    info = (folder / "dataset.json").read_bytes()
    forged = [replace(row, clip_sha256=sha256_of(secret)) for row in rows]
    finalise(folder, forged, name="talks", config={}, models={}, measurements=(), run=None)
    (folder / "dataset.json").write_bytes(info)
    with pytest.raises(DatasetError, match="do not belong together"):
        place(own, tmp_path / "out")


def test_models_whose_names_collapse_have_folders_of_their_own(
    board: Leaderboard, tmp_path: Path
) -> None:
    names = ("a:b", "a/b", "../..")
    rows = tuple(replace(board.rows[0], id=name) for name in names)
    generated = place(replace(board, rows=rows), tmp_path)["anna"].generated
    folders = [generated[name].split("/")[2] for name in names]
    assert folders == ["a-b", "a-b-2", "model"]


def test_a_task_of_two_clips_shows_the_reference_of_the_one_and_the_video_of_the_other(
    board: Leaderboard, tmp_path: Path
) -> None:
    crossed = replace(
        board.clips[0], id="anna__from__bert", driving_clip="anna", reference_clip="bert"
    )
    media = place(replace(board, clips=(crossed,)), tmp_path)["anna__from__bert"]
    assert (media.reference, media.pose, media.real) == (
        "media/reference/bert.jpg",
        "media/pose/anna.mp4",
        "media/real/anna.mp4",
    )
    assert not (tmp_path / "media/real/bert.mp4").exists()
