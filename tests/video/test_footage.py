from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import MediaMaker
from tests.metrics.scoring.clips import pictures, write_pictures, write_video
from tpbench.errors import MediaError
from tpbench.video import (
    PICTURE_SUFFIXES,
    content_sha256,
    is_frame_folder,
    open_footage,
    passed_over,
    pictures_in,
)


def test_a_video_and_a_folder_of_its_pictures_are_the_same_frames(tmp_path: Path) -> None:
    images = pictures(5, size_px=(34, 20))
    video = open_footage(write_video(tmp_path / "clip.avi", images, fps=30))
    folder = open_footage(write_pictures(tmp_path / "clip", images))
    for footage in (video, folder):
        assert (footage.width_px, footage.height_px, footage.n_frames) == (34, 20, 5)
        np.testing.assert_array_equal(np.stack(list(footage.images())), images)
    assert (video.fps, video.codec) == (Fraction(30), "rawvideo")
    assert (folder.fps, folder.codec) == (None, "pictures")


def test_pictures_are_ordered_by_the_last_number_in_their_names(tmp_path: Path) -> None:
    images = pictures(12, size_px=(16, 8))
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"run2_{number}_rgb.png")
    (tmp_path / "notes.txt").write_text("no picture")
    Image.fromarray(images[0]).save(tmp_path / ".hidden_5.png")
    found = np.stack(list(open_footage(tmp_path).images()))
    np.testing.assert_array_equal(found, images)


def test_numbers_may_begin_anywhere(tmp_path: Path) -> None:
    assert open_footage(write_pictures(tmp_path, pictures(3), first=7)).n_frames == 3


def test_grey_opaque_rgba_and_16_bit_pictures_are_read_as_rgb(tmp_path: Path) -> None:
    grey = pictures(1)[0][..., 0]
    Image.fromarray(grey).save(tmp_path / "0.png")
    Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)])).save(tmp_path / "1.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "2.png")
    for image in open_footage(tmp_path).images():
        np.testing.assert_array_equal(image, np.dstack([grey, grey, grey]))


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["0.png", "1.png", "3.png"], "picture 2 is missing: 1 is before 3"),
        (["0.png", "a1.png", "b01.png"], "two pictures are number 1: a1.png and b01.png"),
        (["0.png", "last.png"], "last.png: its name has no number"),
        (["notes.txt"], "holds no pictures"),
    ],
)
def test_folders_that_are_not_numbered_through_are_refused(
    names: list[str], complaint: str, tmp_path: Path
) -> None:
    for name in names:
        if name.endswith("png"):
            Image.fromarray(pictures(1)[0]).save(tmp_path / name)
        else:
            (tmp_path / name).touch()
    for look in (open_footage, content_sha256):
        with pytest.raises(MediaError, match=re.escape(complaint)):
            look(tmp_path)


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, pictures(3))
    Image.fromarray(pictures(1, size_px=(32, 48))[0]).save(tmp_path / "frame_0002.png")
    complaint = r"frame_0002.png: is 32x48 px, the first picture 64x48 px"
    with pytest.raises(MediaError, match=complaint):
        list(open_footage(tmp_path).images())


@pytest.mark.parametrize("damage", ["text", "empty", "half"])
def test_a_picture_that_is_none_is_named(damage: str, tmp_path: Path) -> None:
    write_pictures(tmp_path, pictures(3))
    broken = tmp_path / "frame_0001.png"
    data = {"text": b"no picture", "empty": b"", "half": broken.read_bytes()[:500]}[damage]
    broken.write_bytes(data)
    with pytest.raises(MediaError, match=r"frame_0001.png: is no picture that can be read"):
        list(open_footage(tmp_path).images())


def test_files_that_are_no_videos_are_refused(make_media: MediaMaker) -> None:
    for path in (make_media.text(), make_media.empty(), make_media.audio_only()):
        with pytest.raises(MediaError, match=path.name):
            open_footage(path)


def test_an_absent_file_is_a_media_error(tmp_path: Path) -> None:
    for look in (open_footage, content_sha256):
        with pytest.raises(MediaError, match=r"gone.mp4"):
            look(tmp_path / "gone.mp4")


def test_content_is_what_the_pictures_hold_and_their_order(tmp_path: Path) -> None:
    images = pictures(3)
    first = content_sha256(write_pictures(tmp_path / "first", images))
    renamed = content_sha256(write_pictures(tmp_path / "renamed", images, first=5))
    turned = content_sha256(write_pictures(tmp_path / "turned", images[::-1]))
    fewer = content_sha256(write_pictures(tmp_path / "fewer", images[:2]))
    assert first == renamed
    assert len({first, turned, fewer}) == 3


def test_pictures_beside_a_video_are_no_frames(tmp_path: Path) -> None:
    write_pictures(tmp_path, pictures(2))
    (tmp_path / ".half_written.mp4").touch()
    (tmp_path / "takes.ts").mkdir()
    (tmp_path / "log.txt").touch()
    assert is_frame_folder(tmp_path)
    (tmp_path / "talk.MP4").touch()
    assert not is_frame_folder(tmp_path)


@pytest.mark.parametrize("suffix", sorted(PICTURE_SUFFIXES))
def test_a_picture_that_was_cut_off_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"0{suffix}"
    Image.fromarray(pictures(1)[0]).save(path)
    assert open_footage(tmp_path).n_frames == 1
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MediaError, match=r"0\.\w+: is no picture that can be read"):
        open_footage(tmp_path)


def test_a_folder_that_went_away_is_a_media_error(tmp_path: Path) -> None:
    for look in (is_frame_folder, pictures_in):
        with pytest.raises(MediaError, match="gone: No such file"):
            look(tmp_path / "gone")


def test_a_folder_with_nothing_but_hidden_pictures_is_no_clip(tmp_path: Path) -> None:
    Image.fromarray(pictures(1)[0]).save(tmp_path / "._0.png")
    assert not is_frame_folder(tmp_path)
    Image.fromarray(pictures(1)[0]).save(tmp_path / "0.PNG")
    assert is_frame_folder(tmp_path)


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    for look in (open_footage, content_sha256):
        with pytest.raises(MediaError, match=r"clip\.mp4: is "):
            look(tmp_path / "clip.mp4")


def touch(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_files_with_other_endings_are_counted_with_an_example_of_each(tmp_path: Path) -> None:
    names = ["a.mp4", "b.gif", "sub/c.GIF", "d/0.png", "d/1.png", "d/notes", ".hid.gif", ".x/y.gif"]
    found = passed_over(touch(tmp_path, [*names, "poster.jpg"]), [tmp_path / "d"])
    assert found.files == ("b.gif", "d/notes", "poster.jpg", "sub/c.GIF")
    assert found.note("real") == (
        "not read on the real side: 2 .gif ('b.gif'), 1 without an ending ('d/notes'), "
        "1 .jpg ('poster.jpg'): no videos or pictures by their ending"
    )


def test_nothing_is_said_where_nothing_is_passed_over(tmp_path: Path) -> None:
    found = passed_over(touch(tmp_path, ["a.mp4", "d/0.ppm"]), [tmp_path / "d"])
    assert (found.files, found.note("real")) == ((), None)


def test_a_missing_clip_is_told_of_the_file_that_may_be_it_and_what_to_do(tmp_path: Path) -> None:
    names = ["b.gif", "sub/c.tar", "frames/0.npy", "odd.xyz", "v1.2.h264", "z/one/two.gif"]
    found = passed_over(touch(tmp_path, names), [])
    hints = found.hints(["b", "sub/c", "frames", "odd", "v1.2", "gone"], by_own_name=False)
    assert list(hints) == ["b", "sub/c", "frames", "odd", "v1.2"]
    assert hints["b"].startswith("'b.gif' is not read: convert it: `ffmpeg -i IN.gif")
    assert hints["frames"] == (
        "'frames/0.npy' is not read: write its frames as numbered PNG, or as a video"
    )
    assert hints["odd"].endswith("its ending is not that of a supported video or picture")
    assert list(found.hints(["two", "c"], by_own_name=True)) == ["two", "c"]
