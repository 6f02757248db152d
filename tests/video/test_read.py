from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import decord
import numpy as np
import psutil
import pytest
from av.video.stream import VideoStream
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import MediaMaker
from tests.video.making import copy_packets, write_video
from tpbench.errors import MediaError
from tpbench.video import decode_frames, frames_at, probe, read_frames
from tpbench.video.read import is_combed

N = 18


def moment(time: float) -> NDArray[np.uint8]:
    """A bright ball that crosses a dim, soft background, at a time counted in frames."""
    y, x = np.mgrid[:96, :256].astype(np.float64)
    ball = 1 / (1 + np.exp(np.hypot(x - 30 - 11 * time, y - 48) - 24))
    grey = 60 + 20 * np.sin(x / 9) * np.cos(y / 11) + 130 * ball
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2)


def woven(number: int, *, later: int = 1) -> NDArray[np.uint8]:
    """A picture whose odd (1) or even (0) lines were taken half a frame later."""
    image = moment(number)
    image[later::2] = moment(number + 0.5)[later::2]
    return image


def bottom_first(number: int) -> NDArray[np.uint8]:
    """What PyAV marks as interlaced has its odd lines first: it can't say otherwise."""
    return woven(number, later=0)


def whole(number: int) -> NDArray[np.uint8]:
    return moment(number)


def write(
    path: Path, picture: Callable[[int], NDArray[np.uint8]], *, marked: bool, depth: str = ""
) -> Path:
    """Write H.264, coded and marked as interlaced or not."""
    options = {"qp": "6", "g": "10", "bf": "2"} | ({"x264-params": "tff=1"} if marked else {})
    return write_video(
        path, map(picture, range(N)), pixel_format=f"yuv420p{depth}", options=options
    )


def error(images: list[NDArray[np.uint8]]) -> float:
    """Mean difference to the moments that the pictures stand for, where the ball passes."""
    return float(
        np.mean(
            [np.abs(image.astype(int) - moment(k))[24:72].mean() for k, image in enumerate(images)]
        )
    )


@pytest.mark.parametrize("depth", ["", "10le"])
def test_interlaced_pictures_come_out_whole(tmp_path: Path, depth: str) -> None:
    path = write(tmp_path / "a.mp4", bottom_first, marked=True, depth=depth)
    info = probe(path)
    images = [frame.image for frame in read_frames(path, info=info)]
    assert len(images) == N
    assert error(images) < 0.7 * error([woven(k) for k in range(N)])
    assert not any(is_combed(av.VideoFrame.from_ndarray(image)) for image in images)
    assert info.shown_as == ("interlaced: pictures with combs are deinterlaced",)


def test_every_start_gives_the_same_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", bottom_first, marked=True)
    info = probe(path)
    images = [frame.image for frame in read_frames(path, info=info)]
    for start in (1, 9, 10, 11, 13, N - 1):
        first = next(read_frames(path, info=info, start_frame=start))
        assert np.array_equal(first.image, images[start])


def test_what_is_marked_as_interlaced_but_was_taken_whole_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", whole, marked=True)
    with av.open(str(path)) as container:
        stored = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    images = [frame.image for frame in read_frames(path)]
    assert all(np.array_equal(*pair) for pair in zip(images, stored, strict=True))


def test_combs_that_no_mark_tells_of_are_seen_and_can_be_taken_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", woven, marked=False)
    info = probe(path)
    assert not info.interlaced
    assert sum(frame.is_combed() for frame in decode_frames(path, info=info)) > 0.8 * N
    as_interlaced = replace(info, interlaced=True)
    images = [frame.image for frame in read_frames(path, info=as_interlaced)]
    assert error(images) < 0.7 * error([woven(k) for k in range(N)])


def test_pictures_taken_whole_have_no_combs(tmp_path: Path, make_media: MediaMaker) -> None:
    plain = write(tmp_path / "a.mp4", whole, marked=False)
    assert not any(frame.is_combed() for frame in decode_frames(plain))
    assert not any(frame.is_combed() for frame in decode_frames(make_media.cfr()))
    assert probe(plain).shown_as == ()


def test_tiny_pictures_have_no_combs() -> None:
    assert not is_combed(av.VideoFrame(8, 8, "yuv420p"))


X265 = "pools=none:keyint=8:bframes=3:log-level=none"
OPEN_GOP = {"x264-params": "open-gop=1:scenecut=0:b-adapt=0"}


def numbers(maker: MediaMaker, path: Path, start: int = 0, end: int | None = None) -> list[int]:
    """Which pictures come out."""
    frames = read_frames(path, start_frame=start, end_frame=end)
    return [maker.frame_number(frame.image) for frame in frames]


def read_by_cv2(path: Path) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(path))
    images = []
    while (read := capture.read())[0]:
        images.append(read[1][..., ::-1])
    return images


def read_by_decord(path: Path) -> list[NDArray[np.uint8]]:
    return [image.asnumpy() for image in decord.VideoReader(str(path), num_threads=1)]


def largest_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(int) - b).max())


def test_frames_know_their_number_time_and_stamp(make_media: MediaMaker) -> None:
    frames = list(read_frames(make_media.cfr("late.mkv", n=5, first_pts=10)))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert [frame.pts for frame in frames] == [400, 440, 480, 520, 560]
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.flags.c_contiguous


SEEKABLE: dict[str, dict[str, object]] = {
    "b_pictures.mp4": {"gop": 8, "bframes": 3},
    "open_gop.mp4": {"gop": 8, "bframes": 3, "options": OPEN_GOP},
    "open_gop.mkv": {"gop": 8, "bframes": 3, "options": OPEN_GOP},
    "open_gop.ts": {"gop": 8, "bframes": 3, "options": OPEN_GOP},
    "edit_list.mp4": {"gop": 8, "bframes": 3, "first_pts": -5},
    "late.mkv": {"gop": 8, "first_pts": 40},
    "plain.avi": {"gop": 8, "codec": "mpeg4"},
    "open.mpg": {"gop": 8, "codec": "mpeg2video"},
    "v9.webm": {"gop": 8, "codec": "libvpx-vp9"},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": X265}},
    "one_gop.mp4": {"gop": 100},
}


@pytest.mark.parametrize("name", SEEKABLE)
def test_every_start_gives_the_frames_that_frame_0_gives(make_media: MediaMaker, name: str) -> None:
    n = 30
    path = make_media.cfr(name, n=n, **SEEKABLE[name])  # type: ignore[arg-type] # one table
    info = probe(path)
    whole = list(read_frames(path, info=info))
    dropped = max(0, -int(str(SEEKABLE[name].get("first_pts", 0))))

    assert [make_media.frame_number(frame.image) for frame in whole] == list(range(dropped, n))
    for start in range(info.frame_count):
        end = min(start + 3, info.frame_count)
        part = list(read_frames(path, info=info, start_frame=start, end_frame=end))
        assert [frame.index for frame in part] == list(range(start, end))
        for frame in part:
            assert frame.pts == whole[frame.index].pts
            np.testing.assert_array_equal(frame.image, whole[frame.index].image)


def test_pictures_that_lean_on_a_part_cut_away_in_front_are_left_out(
    make_media: MediaMaker,
) -> None:
    whole = make_media.cfr("whole.ts", n=40, gop=10, options=OPEN_GOP)
    path = make_media.folder / "late_start.ts"
    copy_packets(whole, path, lambda number, packet: packet if number >= 4 else None)
    read = numbers(make_media, path)
    assert read == list(range(read[0], 40))
    assert 4 < read[0] <= 12
    assert len(read) == probe(path).frame_count


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_variable_rate_frames_show_what_is_displayed_about_then(
    session_media: MediaMaker, data: st.DataObject
) -> None:
    durations_ms = data.draw(
        st.lists(st.sampled_from([20, 33, 40, 41, 80, 250]), min_size=2, max_size=30)
    )
    path = session_media.vfr([ms / 1000 for ms in durations_ms], "drawn.mkv")
    info = probe(path)
    starts_s = np.concatenate([[0], np.cumsum(durations_ms)[:-1], [np.inf]]) / 1000

    shown = numbers(session_media, path)

    assert (shown, info.picture_count) == (sorted(shown), len(durations_ms))
    assert shown[-1] == len(durations_ms) - 1
    frame_s = float(1 / info.fps)
    for index, picture in enumerate(shown):
        time_s = float(info.part_at(0).zero_s) + index * frame_s
        assert starts_s[picture] <= time_s + 1.3 * frame_s
        assert starts_s[picture + 1] >= time_s - 1.3 * frame_s
    start = data.draw(st.integers(0, len(shown) - 1))
    assert numbers(session_media, path, start) == shown[start:]


def test_a_gap_repeats_the_picture_before(make_media: MediaMaker) -> None:
    path = make_media.vfr([0.04] * 10 + [0.16] + [0.04] * 10)
    assert numbers(make_media, path) == [*range(11), 10, 10, 10, *range(11, 21)]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_pictures_stand_upright(make_media: MediaMaker, degrees: int) -> None:
    path = make_media.rotated(degrees, n=4)
    assert numbers(make_media, path) == [0, 1, 2, 3]
    for ours, theirs in zip(read_frames(path), read_by_cv2(path), strict=True):
        np.testing.assert_array_equal(ours.image, theirs)


def test_odd_sizes_and_ten_bits_come_out_right(make_media: MediaMaker) -> None:
    assert numbers(make_media, make_media.odd_size()) == list(range(12))
    assert numbers(make_media, make_media.ten_bit()) == list(range(12))


def test_max_side_shrinks_in_proportion_and_never_enlarges(make_media: MediaMaker) -> None:
    path = make_media.rotated(90, n=2)
    (first, _) = decode_frames(path)
    assert first.to_rgb(max_side_px=32).shape == (24, 32, 3)
    assert make_media.frame_number(first.to_rgb(max_side_px=32)) == 0
    assert first.to_rgb(max_side_px=640).shape == (48, 64, 3)


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 250, 250), (10, 10, 10), (200, 120, 90)]


def coloured(path: Path, pixel_format: str, matrix: int | None, value_range: int | None) -> None:
    """Write a picture a colour, tagged and converted as asked (numbers as in ISO 23091-2)."""

    def tag(stream: VideoStream) -> None:
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        if value_range is not None:
            stream.codec_context.color_range = value_range

    images = [np.full((48, 64, 3), colour, np.uint8) for colour in COLOURS]
    frames = [
        av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format=pixel_format, dst_colorspace=matrix, dst_color_range=value_range
        )
        for image in images
    ]
    write_video(path, frames, pixel_format=pixel_format, options={"crf": "1"}, set_up=tag)


@pytest.mark.parametrize(
    ("pixel_format", "matrix", "value_range"),
    [
        ("yuv420p", None, None),
        ("yuv420p", 5, 1),
        ("yuv420p", 1, 1),
        ("yuv420p", 1, 2),
        ("yuvj420p", None, None),
        ("yuv422p", None, None),
        ("yuv444p", None, None),
        ("yuv420p10le", 1, 1),
    ],
)
def test_colours_come_back_as_the_file_declares_them(
    tmp_path: Path, pixel_format: str, matrix: int | None, value_range: int | None
) -> None:
    path = tmp_path / "colours.mp4"
    coloured(path, pixel_format, matrix, value_range)
    images = [frame.image for frame in read_frames(path)]
    for image, colour in zip(images, COLOURS, strict=True):
        assert largest_difference(image, np.array(colour, np.uint8)) <= 4
    if "10le" not in pixel_format:
        np.testing.assert_array_equal(images, read_by_cv2(path))
        np.testing.assert_array_equal(images, read_by_decord(path))


def test_grey_video_is_grey(make_media: MediaMaker) -> None:
    path = make_media.cfr("grey.mkv", n=3, codec="ffv1", pixel_format="gray", bframes=0)
    for number, frame in enumerate(read_frames(path)):
        assert largest_difference(frame.image, make_media.image(number)) <= 1


def test_damage_is_a_media_error_after_the_frames_before_it(make_media: MediaMaker) -> None:
    path = make_media.bit_flipped(n=60, at=0.6)
    info = probe(path)
    read: list[int] = []
    with pytest.raises(MediaError, match=r"damaged: .* [0-9.]+ s can't be decoded") as caught:
        read.extend(make_media.frame_number(frame.image) for frame in read_frames(path, info=info))
    assert str(caught.value).startswith(f"{path}: ")
    assert read == list(range(len(read)))
    assert 12 <= len(read) < 60


def test_frames_behind_the_damage_still_can_be_read(make_media: MediaMaker) -> None:
    path = make_media.bit_flipped(n=60, at=0.3)
    assert numbers(make_media, path, 48) == list(range(48, 60))


def test_a_picture_that_fell_out_is_a_media_error(
    make_media: MediaMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_media.cfr(n=20)
    pictures = list(decode_pictures(path))
    monkeypatch.setattr(
        "tpbench.video.read.pictures_from", lambda *_: iter(pictures[:7] + pictures[8:])
    )
    read: list[int] = []
    with pytest.raises(MediaError, match="damaged: frame 7 of 20 is missing"):
        read.extend(frame.index for frame in decode_frames(path))
    assert read == list(range(7))


def decode_pictures(path: Path) -> list[object]:
    from tpbench.video.decode import pictures_from

    return list(pictures_from(path, probe(path), 0, 1))


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (3, 2), (0, 31), (31, None)])
def test_a_range_outside_the_video_is_a_value_error(
    make_media: MediaMaker, start: int, end: int | None
) -> None:
    path = make_media.cfr(n=30)
    with pytest.raises(ValueError, match="no range of 30 frames"):
        decode_frames(path, start_frame=start, end_frame=end)


def test_an_empty_range_is_empty(make_media: MediaMaker) -> None:
    assert numbers(make_media, make_media.cfr(n=5), 5, 5) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_frames(make_media: MediaMaker) -> None:
    path = make_media.cfr(n=4000, size=(320, 240))
    process = psutil.Process()
    early_bytes = 0
    for frame in read_frames(path):
        if frame.index == 200:
            early_bytes = process.memory_info().rss
    assert process.memory_info().rss - early_bytes < 20e6


def test_reading_says_nothing_on_stderr(
    make_media: MediaMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_media.bit_flipped()
    with pytest.raises(MediaError):
        list(decode_frames(path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["vid1.mp4", "vid3.mp4", "pose1.mp4"])
def test_real_clips_equal_cv2_and_decord_in_every_pixel(shared_dir: Path, name: str) -> None:
    path = shared_dir / "data" / "talkingpose_samples" / name
    info = probe(path)
    capture = cv2.VideoCapture(str(path))
    by_decord = decord.VideoReader(str(path), num_threads=1)
    assert info.fps == Fraction(23)
    assert info.frame_count == len(by_decord)
    for frame in read_frames(path, info=info, end_frame=60):
        np.testing.assert_array_equal(frame.image, capture.read()[1][..., ::-1])
        np.testing.assert_array_equal(frame.image, by_decord[frame.index].asnumpy())


@pytest.fixture(scope="module")
def picked_from(session_media: MediaMaker) -> Path:
    return session_media.cfr("picked_from.mp4", n=90, gop=20)


@settings(max_examples=20, deadline=None)
@given(indices=st.lists(st.integers(0, 89), max_size=6))
def test_frames_come_in_the_order_asked(
    session_media: MediaMaker, picked_from: Path, indices: list[int]
) -> None:
    frames = list(frames_at(picked_from, indices))
    assert [frame.index for frame in frames] == indices
    assert [session_media.frame_number(frame.image) for frame in frames] == indices


@pytest.mark.parametrize("index", [-1, 90])
def test_a_number_the_video_lacks_is_an_index_error(picked_from: Path, index: int) -> None:
    with pytest.raises(IndexError, match=f"no frame {index} among the 90"):
        frames_at(picked_from, [0, index])


def _pictures_alive() -> int:
    # `isinstance` would ask each object, and torch has some that warn when asked.
    return sum(type(kept) is av.VideoFrame for kept in gc.get_objects())


def test_a_picture_is_freed_as_soon_as_it_is_not_used(make_media: MediaMaker) -> None:
    """PyAV's side data would keep all of them until the next garbage collection: gigabytes."""
    path = make_media.cfr(n=40)
    gc.collect()
    before = _pictures_alive()  # other tests may hold some
    gc.disable()
    try:
        for frame in decode_frames(path):
            frame.to_rgb(max_side_px=32)
        del frame
        # Were they kept, there would be 40 more.
        assert _pictures_alive() < before + 10
    finally:
        gc.enable()
