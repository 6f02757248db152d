from __future__ import annotations

import logging
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import MediaMaker
from tests.video.making import write_video
from tpbench.errors import MediaError
from tpbench.video import decode_frames, probe
from tpbench.video.timeline import NO_STAMP, Layout, lay_out

MILLISECOND = Fraction(1, 1000)
RATES = [
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(60000, 1001),
    Fraction(60),
]


def stamps_at(
    rate: Fraction, n: int, time_base: Fraction = MILLISECOND, first_s: Fraction = Fraction(0)
) -> NDArray[np.int64]:
    return np.array([round((first_s + k / rate) / time_base) for k in range(n)], np.int64)


def every_picture_once(layout: Layout) -> bool:
    return np.array_equal(layout.slots, np.arange(len(layout.slots)))


@given(
    rate=st.sampled_from(RATES),
    time_base=st.sampled_from([MILLISECOND, Fraction(1, 90000), Fraction(1, 15360)]),
    first_lasts=st.fractions(Fraction(1, 2), Fraction(9, 4)),
    n=st.integers(200, 400),
)
def test_a_first_picture_off_the_grid_costs_no_picture(
    rate: Fraction, time_base: Fraction, first_lasts: Fraction, n: int
) -> None:
    rest = stamps_at(rate, n - 1, time_base, first_lasts / rate)
    layout = lay_out(np.concatenate([[0], rest]), time_base, [rate])
    assert layout.fps == rate
    assert len(set(layout.slots.tolist())) == n
    # The others stand at their own times, whatever the first does.
    zero = float(layout.parts[0].zero_s)
    times_s = zero + layout.slots[1:] / float(rate)
    assert np.abs(times_s - rest * float(time_base)).max() <= 1 / float(4 * rate) + 0.001


@given(
    rate=st.sampled_from(RATES[:5]),
    seed=st.integers(0, 10_000),
    jitter_ms=st.sampled_from([1.0, 3.0, 5.0]),
)
def test_stamps_that_waver_leave_every_picture_its_frame(
    rate: Fraction, seed: int, jitter_ms: float
) -> None:
    wavering = stamps_at(rate, 300) + np.rint(
        np.random.default_rng(seed).normal(0, jitter_ms, 300)
    ).astype(np.int64)
    layout = lay_out(np.sort(wavering), MILLISECOND, [rate])
    assert layout.fps == rate
    assert every_picture_once(layout)


@pytest.mark.parametrize("seed", range(5))
def test_the_rate_of_wavering_stamps_is_found_without_a_declaration(seed: int) -> None:
    jitter_ms = np.random.default_rng(seed).normal(0, 5, 600)
    stamps = np.sort(stamps_at(Fraction(25), 600) + np.rint(jitter_ms).astype(np.int64))
    assert lay_out(stamps, MILLISECOND, []).fps == 25


@given(
    sizes=st.lists(st.integers(12, 80), min_size=2, max_size=4),
    starts_s=st.lists(st.integers(0, 5), min_size=4, max_size=4),
)
def test_a_clock_that_restarts_begins_a_part_and_costs_no_picture(
    sizes: list[int], starts_s: list[int]
) -> None:
    parts = [
        stamps_at(Fraction(25), n, first_s=Fraction(20 * (len(sizes) - k) + starts_s[k]))
        for k, n in enumerate(sizes)
    ]
    layout = lay_out(np.concatenate(parts), MILLISECOND, [])
    assert layout.fps == 25
    assert every_picture_once(layout)
    assert [part.first_frame for part in layout.parts] == [
        sum(sizes[:k]) for k in range(len(sizes))
    ]
    assert [part.clock for part in layout.parts] == list(range(len(sizes)))
    assert [part.zero_s for part in layout.parts] == [int(part[0]) * MILLISECOND for part in parts]


@pytest.mark.parametrize("overlap_ms", [60, 120, 400, 2000])
def test_a_clock_that_goes_back_a_little_costs_no_picture(overlap_ms: int) -> None:
    first = stamps_at(Fraction(23), 130)
    layout = lay_out(np.concatenate([first, first + first[-1] - overlap_ms]), MILLISECOND, [])
    assert layout.fps == 23
    assert every_picture_once(layout)
    assert [part.first_frame for part in layout.parts] == [0, 130]


@given(at=st.integers(1, 128), stray_ms=st.integers(-10_000, 200_000))
def test_a_stray_stamp_sets_neither_rate_nor_length(at: int, stray_ms: int) -> None:
    stamps = stamps_at(Fraction(25), 130)
    stamps[at] = stray_ms
    layout = lay_out(stamps, MILLISECOND, [])
    assert layout.fps == 25
    assert len(set(layout.slots.tolist())) == 130
    assert layout.n_frames <= 130 + 25


@pytest.mark.parametrize("at", [0, 129])
def test_a_stray_stamp_at_an_end_is_a_part_of_its_own(at: int) -> None:
    stamps = stamps_at(Fraction(25), 130)
    stamps[at] = 100_000
    layout = lay_out(stamps, MILLISECOND, [])
    assert (layout.fps, layout.n_frames, len(layout.parts)) == (Fraction(25), 130, 2)


@given(hole_ms=st.integers(1041, 10**7), at=st.integers(10, 110))
def test_a_hole_of_seconds_is_a_cut_and_not_filled(hole_ms: int, at: int) -> None:
    stamps = stamps_at(Fraction(25), 130)
    stamps[at:] += hole_ms - 40
    layout = lay_out(stamps, MILLISECOND, [])
    assert layout.fps == 25
    assert every_picture_once(layout)
    assert [part.first_frame for part in layout.parts] == [0, at]
    assert layout.parts[1].zero_s * 1000 == int(stamps[at])


@given(missing=st.integers(1, 24), at=st.integers(20, 100))
def test_a_hole_of_less_than_a_second_is_filled(missing: int, at: int) -> None:
    stamps = np.delete(stamps_at(Fraction(25), 130), range(at, at + missing))
    layout = lay_out(stamps, MILLISECOND, [])
    assert (layout.fps, layout.n_frames, len(layout.parts)) == (Fraction(25), 130, 1)
    assert not layout.is_even


def test_one_hole_in_an_hour_leaves_its_rate() -> None:
    stamps = stamps_at(Fraction(25), 90_000)
    stamps[50_000:] += 1_200_000
    assert lay_out(stamps, MILLISECOND, []).fps == 25


@given(data=st.data(), n=st.integers(40, 200))
def test_pictures_without_a_stamp_are_placed_between_their_neighbours(
    data: st.DataObject, n: int
) -> None:
    stamps = stamps_at(Fraction(23), n)
    without = data.draw(st.sets(st.integers(0, n - 1), max_size=n - 12))
    given_stamps = stamps.copy()
    given_stamps[list(without)] = NO_STAMP
    layout = lay_out(given_stamps, MILLISECOND, [Fraction(23)])
    assert layout.fps == 23
    assert every_picture_once(layout)
    assert np.abs(layout.stamps - stamps).max() <= 12


def test_without_any_stamp_there_is_no_timeline() -> None:
    with pytest.raises(ValueError, match="no picture has a stamp"):
        lay_out(np.full(5, NO_STAMP), MILLISECOND, [])


@pytest.mark.parametrize("stamps_ms", [[0, 86_400_000], [0, 40_000_000, 80_000_000]])
def test_pictures_a_day_apart_cost_a_frame_each(stamps_ms: list[int]) -> None:
    layout = lay_out(np.array(stamps_ms), MILLISECOND, [])
    assert layout.n_frames == len(stamps_ms)
    assert len(layout.parts) == len(stamps_ms)


def test_what_was_made_of_odd_stamps_is_said() -> None:
    even = stamps_at(Fraction(25), 60)
    late = even.copy()
    late[30] += 24
    missing = np.delete(even, [30])
    two_parts = np.concatenate([even, even])
    assert lay_out(even, MILLISECOND, []).notes == ()
    assert "up to 0.60 frames" in lay_out(late, MILLISECOND, []).notes[0]
    assert "1 frames repeat" in lay_out(missing, MILLISECOND, []).notes[0]
    assert "clock jumps after 2.4 s" in lay_out(two_parts, MILLISECOND, []).notes[0]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=60))
@example([1584, 162, 162, 507, 507, 507])
def test_no_picture_of_a_variable_rate_moves_by_more_than_its_waver(gaps_ms: list[int]) -> None:
    stamps = np.concatenate([[0], np.cumsum(gaps_ms)]).astype(np.int64)
    layout = lay_out(stamps, MILLISECOND, [])
    for number, part in enumerate(layout.parts):
        later = layout.parts[number + 1 :]
        end = later[0].first_frame if later else layout.n_frames
        inside = (layout.slots >= part.first_frame) & (layout.slots < end)
        times_s = (layout.slots[inside] - part.first_frame) / float(layout.fps)
        apart_s = np.abs(times_s + float(part.zero_s) - layout.stamps[inside] / 1000)
        assert apart_s.max() <= 1.7 / float(layout.fps) + 0.002


def test_every_field_of_a_plain_video(make_media: MediaMaker) -> None:
    info = probe(make_media.cfr(n=30, fps=25, size=(64, 48)))
    assert (info.width_px, info.height_px) == (64, 48)
    assert (info.fps, info.frame_count, info.duration_s) == (Fraction(25), 30, 1.2)
    assert (info.codec, info.pixel_format) == ("h264", "yuv420p")
    assert (info.display.orientation.quarter_turns, info.variable_rate, info.has_audio) == (
        0,
        False,
        False,
    )
    assert (info.time_base, info.start_pts) == (Fraction(1, 12800), 0)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts", "a.avi", "a.flv"])
@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(23)])
def test_rate_and_count_are_exact_in_every_container(
    make_media: MediaMaker, name: str, fps: Fraction
) -> None:
    path = make_media.cfr(name, n=50, fps=fps)
    info = probe(path)
    assert (info.fps, info.frame_count, info.variable_rate) == (fps, 50, False)
    assert sum(1 for _ in decode_frames(path, info=info)) == 50


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.avi", "mpeg4"),
        ("a.mpg", "mpeg2video"),
        ("a.webm", "libvpx"),
        ("a.webm", "libvpx-vp9"),
        ("a.asf", "wmv2"),
        ("a.mkv", "ffv1"),
        ("a.avi", "mjpeg"),
    ],
)
def test_frame_count_is_what_decoding_gives(make_media: MediaMaker, name: str, codec: str) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    bframes = 0 if codec in ("wmv2", "mjpeg") else 2
    path = make_media.cfr(name, n=25, codec=codec, pixel_format=pixel_format, bframes=bframes)
    assert probe(path).frame_count == 25
    assert sum(1 for _ in decode_frames(path)) == 25


@pytest.mark.parametrize(
    ("aspect", "size"), [("4/3", (85, 48)), ("1/2", (64, 96)), ("99/100", (64, 48))]
)
def test_pixels_are_made_square_unless_nearly_so(
    make_media: MediaMaker, aspect: str, size: tuple[int, int]
) -> None:
    def stretch(stream: VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)

    path = make_media.folder / "anamorphic.mp4"
    write_video(path, [make_media.image(5)], set_up=stretch)
    info = probe(path)
    assert (info.width_px, info.height_px) == size
    (only,) = decode_frames(path)
    assert only.to_rgb().shape == (size[1], size[0], 3)


def test_pictures_before_an_edit_lists_start_are_not_counted(make_media: MediaMaker) -> None:
    info = probe(make_media.cfr(n=30, first_pts=-7))
    assert (info.frame_count, info.start_pts) == (23, 0)


def test_a_late_first_picture_is_frame_0(make_media: MediaMaker) -> None:
    info = probe(make_media.cfr("late.mkv", n=30, first_pts=50))
    assert (info.frame_count, info.start_pts) == (30, 2000)


def test_a_missing_picture_makes_the_rate_variable(make_media: MediaMaker) -> None:
    info = probe(make_media.vfr([0.04] * 20 + [0.08] + [0.04] * 20))
    assert (info.variable_rate, info.fps, info.frame_count) == (True, Fraction(25), 42)


def test_one_picture_is_a_video_of_one_frame(make_media: MediaMaker) -> None:
    path = make_media.one_frame()
    info = probe(path)
    assert (info.frame_count, info.fps) == (1, Fraction(25))
    assert [make_media.frame_number(frame.to_rgb()) for frame in decode_frames(path)] == [0]


@pytest.mark.parametrize(
    "name", ["with space.mp4", "-dash.mp4", "größe 写真.mp4", "a:b.mp4", "http:x.mp4", "100%d.mp4"]
)
def test_any_file_name_is_just_a_name(
    make_media: MediaMaker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_media.cfr("plain.mp4", n=3).rename(make_media.folder / name)
    monkeypatch.chdir(make_media.folder)
    assert probe(name).frame_count == 3


def broken_files(make: MediaMaker) -> list[tuple[Path, str]]:
    """Files that are no video, each with what the message must say."""
    folder = make.folder / "folder.mp4"
    folder.mkdir()
    picture = make.folder / "picture.mp4"
    with av.open(str(picture), "w", format="image2") as output:
        stream = output.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(make.image(1), format="rgb24")))
        output.mux(stream.encode(None))
    playlist = make.folder / "playlist.mp4"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{make.cfr('real.ts', n=3)}\n#EXT-X-ENDLIST\n")
    unknown = make.cfr("unknown.mp4", n=3)
    unknown.write_bytes(unknown.read_bytes().replace(b"avc1", b"zzzz"))
    huge = make.cfr("huge.avi", codec="ffv1", pixel_format="bgr0", n=3)
    huge.write_bytes(
        huge.read_bytes().replace(
            b"\x40\x00\x00\x00\x30\x00\x00\x00", b"\xe0\x2e\x00\x00\xe0\x2e\x00\x00"
        )
    )
    pipe = make.folder / "pipe.mp4"
    os.mkfifo(pipe)
    return [
        (make.folder / "none.mp4", "no such file"),
        (folder, "is a folder"),
        (make.empty(), "is empty"),
        (make.text(), "is not a video"),
        (picture, "is not a video"),
        (playlist, "is not a video"),
        (make.truncated(), "cut off or damaged"),
        (make.truncated("early.mp4", share=0.02), "cut off or damaged"),
        (make.truncated("late.mp4", share=0.7), "cut off or damaged"),
        (make.audio_only(), "holds sound but no video"),
        (unknown, "codec is unknown"),
        (huge, "larger than 8192x8192"),
        (pipe, "is not a regular file"),
    ]


def test_each_kind_of_broken_file_is_one_clear_line(
    make_media: MediaMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    files = broken_files(make_media)
    capfd.readouterr()
    for path, says in files:
        with pytest.raises(MediaError) as caught:
            probe(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert says in message
        assert "\n" not in message
        assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_must_not_be_read_is_a_media_error(make_media: MediaMaker) -> None:
    path = make_media.cfr(n=3)
    path.chmod(0)
    with pytest.raises(MediaError, match="can't be read"):
        probe(path)


def test_no_picture_that_decodes_is_a_media_error(make_media: MediaMaker) -> None:
    path = make_media.cfr("one.avi", n=1, codec="magicyuv", pixel_format="gbrp", bframes=0)
    with av.open(str(path)) as container:
        payload = bytes(next(container.demux(container.streams.video[0])))
    path.write_bytes(path.read_bytes().replace(payload, bytes(len(payload))))
    with pytest.raises(MediaError, match="none of its pictures can be decoded"):
        probe(path)


def test_colours_without_a_way_to_rgb_are_a_media_error(make_media: MediaMaker) -> None:
    path = make_media.cfr(n=2, options={"x264-params": "colormatrix=chroma-derived-nc"})
    with pytest.raises(
        MediaError, match=r"colours \(yuv420p, matrix 12\) can't be turned into RGB"
    ):
        probe(path)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_what_a_cut_off_mp4_with_its_index_in_front_holds_is_used(
    make_media: MediaMaker, caplog: pytest.LogCaptureFixture, share: float
) -> None:
    path = make_media.cfr(n=60, bframes=0, options={"crf": "1"}, faststart=True)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share + 2000 * (1 - share))])
    with caplog.at_level(logging.WARNING):
        info = probe(path)
    assert "its last picture is incomplete" in caplog.text
    assert 5 < info.frame_count < 60
    assert [make_media.frame_number(frame.to_rgb()) for frame in decode_frames(path)] == list(
        range(info.frame_count)
    )


def test_what_a_cut_off_matroska_holds_is_used(
    make_media: MediaMaker, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_media.truncated("cut.mkv", share=0.5)
    with caplog.at_level(logging.WARNING):
        info = probe(path)
    assert 5 < info.frame_count < 55
    assert [make_media.frame_number(frame.to_rgb()) for frame in decode_frames(path)] == list(
        range(info.frame_count)
    )
