from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.metrics.scoring.clips import pictures, write_pictures
from tpbench.errors import ConfigError, SubmissionError
from tpbench.metrics.scoring.pairing import RealClip, pair_up, real_clips, videos_below

if TYPE_CHECKING:
    from collections.abc import Iterable


def touch(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_videos_and_frame_folders_are_found_by_relative_path(tmp_path: Path) -> None:
    touch(
        tmp_path,
        ["b.mp4", "A.MKV", "sub/c.v2.webm", "notes.txt", "sub/.d.mp4", ".git/e.mp4", "pose.npz"],
    )
    write_pictures(tmp_path / "sub" / "take.1", pictures(1))
    (tmp_path / "empty").mkdir()

    found = videos_below(tmp_path)

    assert found == {
        "A": tmp_path / "A.MKV",
        "b": tmp_path / "b.mp4",
        "sub/c.v2": tmp_path / "sub" / "c.v2.webm",
        "sub/take.1": tmp_path / "sub" / "take.1",
    }


def test_a_poster_beside_a_video_is_no_clip(tmp_path: Path) -> None:
    touch(tmp_path, ["sub/talk.mp4", "sub/poster.jpg"])

    assert videos_below(tmp_path) == {"sub/talk": tmp_path / "sub" / "talk.mp4"}


def test_clip_ids_are_found_wherever_they_lie(tmp_path: Path) -> None:
    touch(tmp_path, ["talk_0_10.mp4", "deep/er/talk_1_10.mp4"])

    assert sorted(videos_below(tmp_path, by_own_name=True)) == ["talk_0_10", "talk_1_10"]


@pytest.mark.parametrize("names", [["a.mp4", "a.mkv"], ["a.mp4", "a/0.png"]])
def test_two_of_one_name_are_refused(names: list[str], tmp_path: Path) -> None:
    touch(tmp_path, names)

    with pytest.raises(SubmissionError, match=r"are both 'a': keep one"):
        videos_below(tmp_path)


def test_a_clip_id_in_two_folders_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["one/talk.mp4", "two/talk.mp4"])

    assert len(videos_below(tmp_path)) == 2
    with pytest.raises(SubmissionError, match=r"one/talk.mp4 and .*two/talk.mp4 are both 'talk'"):
        videos_below(tmp_path, by_own_name=True)


def test_pairs_are_in_order_and_what_has_no_partner_is_listed() -> None:
    real = {
        name: RealClip(path=Path("r") / name, identity=name[0]) for name in ("b", "a", "d", "c")
    }
    generated = {name: Path("g") / name for name in ("c", "x", "b", "e")}

    pairing = pair_up(real, generated)

    assert [pair.clip_id for pair in pairing.pairs] == ["b", "c"]
    assert [pair.identity for pair in pairing.pairs] == ["b", "c"]
    assert (pairing.pairs[0].real, pairing.pairs[0].generated) == (Path("r/b"), Path("g/b"))
    assert pairing.missing == ("a", "d")
    assert pairing.extra == ("e", "x")
    assert pairing.n_expected == 4


def test_no_match_at_all_shows_a_name_of_each_side() -> None:
    real = {name: RealClip(path=Path(name)) for name in ("talk/one", "talk/two")}

    with pytest.raises(SubmissionError) as caught:
        pair_up(real, {"one": Path("one.mp4")})

    assert str(caught.value) == (
        "no generated video has the name of a real one: 2 real (first: 'talk/one'), "
        "1 generated (first: 'one'); name them by clip id or relative path"
    )
    with pytest.raises(SubmissionError, match=re.escape("0 generated (first: 'none')")):
        pair_up(real, {})


def test_a_folder_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone: no such folder"):
        videos_below(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"gone: no such folder"):
        real_clips(tmp_path / "gone")
    with pytest.raises(ConfigError, match="holds no clip to score against"):
        real_clips(tmp_path)
    with pytest.raises(ConfigError, match=r"is no dataset .*so it has no split 'test'"):
        real_clips(touch(tmp_path, ["a.mp4"]), split="test")


def test_links_to_folders_are_followed_and_links_back_up_are_not(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", ["b.mp4"])
    root = touch(tmp_path / "root", ["a.mp4", "left/l.mp4", "right/r.mp4"])
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "left" / "up").symlink_to(root)
    (root / "left" / "over").symlink_to(root / "right")
    (root / "right" / "over").symlink_to(root / "left")

    found = set(videos_below(root))

    assert found >= {"a", "linked/b", "left/l", "left/over/r", "right/r", "right/over/l"}
    assert len(found) == 6


def test_a_folder_of_one_clips_pictures_says_where_they_belong(tmp_path: Path) -> None:
    write_pictures(tmp_path, pictures(2))

    with pytest.raises(ConfigError, match="give each clip a folder of its own"):
        videos_below(tmp_path)


def test_a_name_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    touch(tmp_path, ["good.mp4", os.fsdecode(b"caf\xe9.mp4")])

    with pytest.raises(SubmissionError, match=r"the name of 'caf\\udce9' is not UTF-8"):
        videos_below(tmp_path)
