"""Files whose clock, stamps or size change in the middle: which pictures come out, and where."""

from __future__ import annotations

import importlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import MediaMaker
from tests.video.making import copy_packets
from tpbench.errors import MediaError
from tpbench.video import decode_frames, probe, read_frames


def numbers(path: Path, maker: MediaMaker, start: int = 0) -> list[int]:
    return [maker.frame_number(frame.image) for frame in read_frames(path, start_frame=start)]


def joined(maker: MediaMaker, name: str, *parts: Path) -> Path:
    path = maker.folder / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def fragmented(maker: MediaMaker, name: str, n: int) -> Path:
    """An MP4 in fragments of a keyframe each."""
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    return copy_packets(maker.cfr(f"whole_{name}", n=n), maker.folder / name, options=flags)


def without_stamps(source: Path, path: Path, keep: Callable[[int], bool]) -> Path:
    """Take the stamps out of the n-th PES packet of a transport stream unless keep(n)."""
    data, n = bytearray(source.read_bytes()), 0
    for at in range(0, len(data), 188):
        packet = data[at : at + 188]
        first = 4 + (1 + packet[4] if (packet[3] >> 4) & 2 else 0)
        begins = packet[1] & 0x40 and first < 180
        if begins and packet[first : first + 4] == b"\0\0\1\xe0":
            kind = packet[first + 7] >> 6
            if kind and not keep(n):
                size = 5 if kind == 2 else 10
                data[at + first + 7] &= 0x3F
                data[at + first + 9 : at + first + 9 + size] = b"\xff" * size
            n += 1
    path.write_bytes(data)
    return path


X265 = {"x265-params": "pools=none:keyint=8:bframes=3:log-level=none"}
JOINABLE: dict[str, dict[str, object]] = {
    "a.ts": {},
    "open_gop.ts": {"options": {"x264-params": "open-gop=1:scenecut=0:b-adapt=0"}},
    "hevc.ts": {"codec": "libx265", "options": X265},
    "a.mkv": {},
    "a.mpg": {"codec": "mpeg2video"},
}


@pytest.mark.parametrize("name", JOINABLE)
def test_a_clock_that_restarts_is_a_seam_and_costs_no_picture(
    make_media: MediaMaker, name: str
) -> None:
    first = make_media.cfr(f"one_{name}", n=30, gop=8, **JOINABLE[name])  # type: ignore[arg-type]
    second = make_media.cfr(f"two_{name}", n=23, gop=8, **JOINABLE[name])  # type: ignore[arg-type]
    path = joined(make_media, name, first, second)
    info = probe(path)
    assert (info.fps, info.frame_count, info.picture_count) == (Fraction(25), 53, 53)
    assert (info.seams, info.variable_rate) == ((30,), False)
    assert numbers(path, make_media) == [*range(30), *range(23)]
    assert "clock jumps after 1.2 s" in info.notes[0]


@pytest.mark.parametrize("name", ["a.ts", "open_gop.ts", "hevc.ts"])
def test_every_start_gives_the_frames_that_frame_0_gives_beyond_a_seam(
    make_media: MediaMaker, name: str
) -> None:
    part = make_media.cfr(f"part_{name}", n=20, gop=8, **JOINABLE[name])  # type: ignore[arg-type]
    path = joined(make_media, name, part, part, part)
    info = probe(path)
    whole = list(read_frames(path, info=info))

    assert len(whole) == info.frame_count == 60
    assert info.seams == (20, 40)
    for start in range(info.frame_count):
        end = min(start + 2, info.frame_count)
        read = list(read_frames(path, info=info, start_frame=start, end_frame=end))
        assert [frame.index for frame in read] == list(range(start, end))
        for frame in read:
            assert frame.pts == whole[frame.index].pts
            np.testing.assert_array_equal(frame.image, whole[frame.index].image)


def test_joined_fragments_go_on_in_the_order_of_the_file(make_media: MediaMaker) -> None:
    path = joined(
        make_media,
        "joined.mp4",
        fragmented(make_media, "a.mp4", 30),
        fragmented(make_media, "b.mp4", 25),
    )
    info = probe(path)
    assert (info.fps, info.frame_count, info.seams) == (Fraction(25), 55, (30,))
    assert numbers(path, make_media) == [*range(30), *range(25)]


@pytest.mark.parametrize("name", ["a.flv", "a.mkv", "a.mp4", "a.asf"])
def test_a_recording_that_can_not_be_reached_is_said(
    make_media: MediaMaker, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    codec = "wmv2" if name == "a.asf" else "libx264"
    part = make_media.cfr(f"part_{name}", n=20, codec=codec, bframes=0)
    with caplog.at_level(logging.WARNING):
        n_alone = probe(part).frame_count
    assert (n_alone, caplog.text) == (20, "")
    with caplog.at_level(logging.WARNING):
        n_joined = probe(joined(make_media, name, part, part, part, part)).frame_count
    assert n_joined == 80 or "another recording follows" in caplog.text


def test_a_clock_far_behind_is_a_seam_and_no_damage(make_media: MediaMaker) -> None:
    late = make_media.cfr("late.ts", n=30, first_pts=25 * 600)
    path = joined(make_media, "far.ts", late, make_media.cfr("early.ts", n=20))
    info = probe(path)
    assert (info.fps, info.frame_count, info.seams) == (Fraction(25), 50, (30,))
    assert numbers(path, make_media) == [*range(30), *range(20)]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="PyAV has no encoder of Theora")
def test_chained_ogg_goes_on_with_the_headers_of_its_second_part(make_media: MediaMaker) -> None:
    source = make_media.cfr("source.mkv", n=30, codec="ffv1", bframes=0)
    parts = [make_media.folder / f"{quality}.ogv" for quality in (9, 4)]
    for path, quality in zip(parts, ("9", "4"), strict=True):
        command = ["ffmpeg", "-loglevel", "error", "-i", str(source), "-c:v", "libtheora"]
        subprocess.run([*command, "-q:v", quality, str(path)], check=True)
    path = joined(make_media, "chained.ogv", *parts)
    info = probe(path)
    assert (info.fps, info.frame_count, info.seams) == (Fraction(25), 60, (30,))
    assert numbers(path, make_media) == [*range(30), *range(30)]
    assert numbers(path, make_media, 37) == list(range(7, 30))


PATTERNS: dict[str, Callable[[int], bool]] = {
    "every second": lambda n: n % 2 == 0,
    "every fifth": lambda n: n % 5 == 0,
    "not the first": lambda n: n > 0,
    "not the first three": lambda n: n > 2,
    "not the last": lambda n: n < 38,
    "the first and last": lambda n: n in (0, 39),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_pictures_without_a_stamp_are_all_there(
    make_media: MediaMaker, codec: str, pattern: str
) -> None:
    options = X265 if codec == "libx265" else {"bf": "0"}
    whole = make_media.cfr("whole.ts", n=40, codec=codec, options=options)
    path = without_stamps(whole, make_media.folder / "some.ts", PATTERNS[pattern])
    info = probe(path)
    assert (info.fps, info.frame_count) == (Fraction(25), 40)
    assert numbers(path, make_media) == list(range(40))
    assert numbers(path, make_media, 21) == list(range(21, 40))


def test_a_file_without_any_stamp_is_refused_in_one_line(make_media: MediaMaker) -> None:
    whole = make_media.cfr("whole.ts", n=20, bframes=0)
    path = without_stamps(whole, make_media.folder / "none.ts", lambda _: False)
    with pytest.raises(MediaError, match="no time stamps: re-encode it"):
        probe(path)


def test_a_hole_of_seconds_is_a_seam_that_is_not_filled(make_media: MediaMaker) -> None:
    path = make_media.vfr([0.04] * 60 + [4.0] + [0.04] * 40)
    info = probe(path)
    assert (info.fps, info.frame_count, info.seams) == (Fraction(25), 101, (61,))
    assert numbers(path, make_media) == list(range(101))
    assert numbers(path, make_media, 70) == list(range(70, 101))
    assert (info.part_at(60).zero_s, info.part_at(61).zero_s) == (Fraction(0), Fraction(64, 10))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
@pytest.mark.parametrize("stray_s", [-1, 3, 100])
@pytest.mark.parametrize("at", [25, 30, 58])
def test_a_stray_stamp_costs_no_picture(
    make_media: MediaMaker, name: str, stray_s: int, at: int
) -> None:
    def stray(number: int, packet: Any) -> Any:  # noqa: ANN401 - any packet
        if number == at:
            packet.pts = max((packet.pts or 0) + 1000 * stray_s, packet.dts or 0)
        return packet

    source = make_media.cfr("source.mkv", n=60, gop=15, bframes=0)
    path = copy_packets(source, make_media.folder / name, stray)
    info = probe(path)
    assert (info.fps, info.picture_count) == (Fraction(25), 60)
    assert sorted(set(numbers(path, make_media))) == list(range(60))


def test_two_pictures_a_day_apart_are_two_frames(make_media: MediaMaker) -> None:
    path = make_media.vfr([86_400.0, 0.04])
    info = probe(path)
    assert (info.frame_count, info.seams) == (2, (1,))
    assert numbers(path, make_media) == [0, 1]


def test_a_hole_behind_a_seam_is_another_seam(make_media: MediaMaker) -> None:
    first = make_media.vfr([0.04] * 30, "one.mkv")
    second = make_media.vfr([0.04] * 20 + [3.0] + [0.04] * 20, "two.mkv")
    path = joined(make_media, "both.mkv", first, second)
    info = probe(path)
    assert (info.fps, info.frame_count, info.seams) == (Fraction(25), 71, (30, 51))
    assert numbers(path, make_media) == [*range(30), *range(41)]
    assert numbers(path, make_media, 55) == list(range(25, 41))


def test_another_size_in_the_middle_is_a_seam(make_media: MediaMaker) -> None:
    small = make_media.cfr("small.ts", n=10, size=(96, 48))
    path = joined(make_media, "both.ts", small, make_media.cfr("large.ts", n=30, size=(64, 64)))
    info = probe(path)
    assert (info.width_px, info.height_px) == (64, 64)
    assert (info.frame_count, info.seams) == (40, (10,))
    assert "change size 1 times" in info.notes[-1]
    assert numbers(path, make_media, 10) == list(range(30))


def test_pictures_that_grow_beyond_the_limit_are_refused(
    make_media: MediaMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = joined(
        make_media,
        "grows.ts",
        make_media.cfr("small.ts", n=10),
        make_media.cfr("large.ts", n=3, size=(640, 480)),
    )
    monkeypatch.setattr("tpbench.video.source._MAX_PIXELS", 320 * 240)
    with pytest.raises(MediaError, match=r"damaged: .*grow beyond 8192x8192 px"):
        list(decode_frames(path))


@pytest.mark.shared
def test_pictures_in_two_packets_count_once(shared_dir: Path, make_media: MediaMaker) -> None:
    sys.path.insert(0, str(shared_dir / "cases" / "extraction"))
    try:
        fieldcoded = importlib.import_module("fieldcoded")
    finally:
        sys.path.pop(0)
    path = make_media.folder / "fields.ts"
    images = [make_media.image(n, width_px=64, height_px=64) for n in range(40)]
    fieldcoded.write(str(path), images, "pes-per-field", fps=25)
    info = probe(path)
    assert (info.fps, info.frame_count) == (Fraction(25), 40)
    assert numbers(path, make_media) == list(range(40))
    assert numbers(path, make_media, 17) == list(range(17, 40))
