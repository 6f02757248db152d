from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tests.conftest import MediaMaker
from tests.video.making import ebml, with_clean_aperture, write_video
from tpbench.errors import MediaError
from tpbench.video import probe, read_frames
from tpbench.video.display import HLG, PQ, shown_as_sdr

BT2020_FROM_BT709 = np.array(  # ITU-R BT.2087, table 3
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)
CODES = {PQ: "smpte2084", HLG: "arib-std-b67"}


def graded(image: NDArray[np.uint8], curve: int, *, wide: bool = True) -> NDArray[np.uint16]:
    """Grade SDR to HDR by the standards' formulas: BT.1886 light, white at 203 cd/m2."""
    light = (image / 255.0) ** 2.4
    if wide:
        light = np.clip(light @ BT2020_FROM_BT709.T, 0, 1)
    nits = 203 * light
    if curve == PQ:
        y = (nits / 10000) ** 0.1593017578125
        coded = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    else:
        scene = (nits / 1000) ** (1 / 1.2)
        upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        coded = np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)
    return np.asarray(np.round(65535 * coded), dtype=np.uint16)


def colours(side_px: int = 64) -> NDArray[np.uint8]:
    """Every pair of red and green, three blues: soft enough for 4:2:0."""
    ramp = np.linspace(0, 255, side_px).astype(np.uint8)
    red, green = np.meshgrid(ramp, ramp)
    return np.stack([red, green, np.full_like(red, 96)], axis=-1)


@pytest.mark.parametrize("curve", [PQ, HLG])
@pytest.mark.parametrize("primaries", [1, 2, 9])
def test_a_picture_graded_to_hdr_comes_back(curve: int, primaries: int) -> None:
    image = colours()
    shown = shown_as_sdr(
        graded(image, curve, wide=primaries != 1), curve=curve, primaries=primaries
    )
    difference = np.abs(shown.astype(int) - image)
    assert difference.mean() < 0.5
    assert difference.max() <= 6  # where a channel is nearly black


def test_what_is_brighter_than_white_is_white() -> None:
    bright = np.full((2, 2, 3), 60000, np.uint16)
    assert shown_as_sdr(bright, curve=PQ, primaries=9).min() == 255


def test_p3_is_less_wide_than_bt2020() -> None:
    red = graded(np.full((1, 1, 3), (200, 60, 60), np.uint8), PQ, wide=False)
    from_p3, from_2020 = (
        shown_as_sdr(red, curve=PQ, primaries=primaries)[0, 0].astype(int) for primaries in (12, 9)
    )
    assert 200 < from_p3[0] < from_2020[0]
    assert 60 > from_p3[1] > from_2020[1]


def write(
    path: Path, image: NDArray[np.uint16], curve: int, *, codec: str, levels: str = "MPEG"
) -> Path:
    """Write ten times one RGB picture as 10-bit BT.2020."""

    def declare(stream: VideoStream) -> None:
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = curve, 9, 9
        context.color_range = 2 if levels == "JPEG" else 1

    frames = []
    for _ in range(10):
        frame = av.VideoFrame.from_ndarray(image, format="rgb48le").reformat(
            format="yuv420p10le", dst_colorspace=9, dst_color_range=levels
        )
        frame.color_trc, frame.color_primaries = curve, 9
        frames.append(frame)
    quality = {"crf": "4", "x265-params": "log-level=none"} if codec.startswith("libx26") else {}
    return write_video(
        path, frames, codec=codec, pixel_format="yuv420p10le", options=quality, set_up=declare
    )


@pytest.mark.parametrize(
    ("name", "codec", "curve", "levels"),
    [
        ("a.mp4", "libx265", PQ, "MPEG"),
        ("a.mkv", "libx265", HLG, "JPEG"),
        ("a.mp4", "libx264", HLG, "MPEG"),
        ("a.mkv", "ffv1", PQ, "MPEG"),  # only the container says so
    ],
)
def test_hdr_video_reads_as_its_sdr_master(
    tmp_path: Path, name: str, codec: str, curve: int, levels: str
) -> None:
    image = colours()
    path = write(tmp_path / name, graded(image, curve), curve, codec=codec, levels=levels)
    info = probe(path)
    shown = next(read_frames(path, info=info)).image
    name = {PQ: "PQ", HLG: "HLG"}[curve]
    assert info.shown_as == (f"HDR: {name}, shown as SDR",)
    assert np.abs(shown.astype(int) - image).mean() < 3
    assert np.ptp(shown, axis=-1).mean() == pytest.approx(np.ptp(image, axis=-1).mean(), rel=0.02)


def test_sdr_is_not_hdr(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", graded(colours(), PQ), 1, codec="libx265")
    assert probe(path).shown_as == ()


def test_a_curve_that_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", graded(colours(), PQ), 8, codec="libx265")
    with pytest.raises(MediaError, match=r"transfer curve \(linear light\) can't be shown"):
        probe(path)


SEGMENT, TRACKS, ENTRY, VIDEO, CHECKSUM = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0xBF
CROP_BOTTOM, CROP_TOP, CROP_LEFT, CROP_RIGHT = 0x54AA, 0x54BB, 0x54CC, 0x54DD
DISPLAY_UNIT, DISPLAY_WIDTH, DISPLAY_HEIGHT = 0x54B2, 0x54B0, 0x54BA


def number_at(data: bytes, at: int, *, marked: bool) -> tuple[int, int]:
    """An EBML number: its value (with its length marker for ids) and its length in bytes."""
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return (value if marked else value & ((1 << 7 * length) - 1)), length


def with_video_settings(data: bytes, settings: dict[int, int]) -> bytes:
    """Put elements into the video track's settings of a Matroska file."""
    out, at = b"", 0
    while at < len(data):
        kind, id_length = number_at(data, at, marked=True)
        size, size_length = number_at(data, at + id_length, marked=False)
        start = at + id_length + size_length
        payload = data[start : start + size]
        if kind in (SEGMENT, TRACKS, ENTRY):
            payload = with_video_settings(payload, settings)
        elif kind == VIDEO:
            kept = without(payload, set(settings))
            added = [ebml(name, value.to_bytes(2, "big")) for name, value in settings.items()]
            payload = kept + b"".join(added)
        if kind != CHECKSUM:
            out += ebml(kind, payload)
        at = start + size
    return out


def without(data: bytes, kinds: set[int]) -> bytes:
    out, at = b"", 0
    while at < len(data):
        kind, id_length = number_at(data, at, marked=True)
        size, size_length = number_at(data, at + id_length, marked=False)
        end = at + id_length + size_length + size
        out += b"" if kind in kinds else data[at:end]
        at = end
    return out


def expected(n: int, crop: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = crop
    return MediaMaker.image(n, width_px=96, height_px=96)[top : 96 - bottom, left : 96 - right]


@pytest.mark.parametrize("shown", [None, (64, 48), (96, 96)], ids=str)
def test_a_matroska_crop_is_cut_off_with_and_without_a_display_size(
    make_media: MediaMaker, shown: tuple[int, int] | None
) -> None:
    path = make_media.cfr("a.mkv", size=(96, 96), pixel_format="yuv444p", options={"qp": "4"})
    settings = {CROP_TOP: 16, CROP_BOTTOM: 32, CROP_LEFT: 8, CROP_RIGHT: 24, DISPLAY_UNIT: 0}
    if shown is not None:
        settings |= {DISPLAY_WIDTH: shown[0], DISPLAY_HEIGHT: shown[1]}
    path.write_bytes(with_video_settings(path.read_bytes(), settings))
    info = probe(path)
    frames = [frame.image for frame in read_frames(path, info=info)]
    assert (info.width_px, info.height_px) == (64, 48)
    for number in (0, 17):
        wanted = expected(number, (8, 16, 24, 32)).astype(int)
        assert np.abs(frames[number] - wanted).max() < 12


def test_a_matroska_crop_with_wide_pixels_is_shown_at_its_display_size(
    make_media: MediaMaker,
) -> None:
    path = make_media.cfr("a.mkv", size=(96, 96))
    settings = {CROP_TOP: 24, CROP_BOTTOM: 24, DISPLAY_UNIT: 0}
    settings |= {DISPLAY_WIDTH: 160, DISPLAY_HEIGHT: 48}
    path.write_bytes(with_video_settings(path.read_bytes(), settings))
    info = probe(path)
    assert info.display.pixel_aspect == Fraction(5, 3)
    assert (info.width_px, info.height_px) == (160, 48)
    assert next(read_frames(path, info=info)).image.shape == (48, 160, 3)


def test_a_clean_aperture_is_cut_out_where_it_lies(make_media: MediaMaker) -> None:
    path = make_media.cfr("a.mp4", size=(96, 96), pixel_format="yuv444p", options={"qp": "4"})
    path.write_bytes(with_clean_aperture(path.read_bytes(), 64, 48, -16, 16))
    info = probe(path)
    frames = [frame.image for frame in read_frames(path, info=info)]
    assert (info.width_px, info.height_px) == (64, 48)
    wanted = expected(17, (8, 32, 24, 16)).astype(int)
    assert np.abs(frames[17] - wanted).max() < 12


def test_a_crop_goes_before_the_turn(make_media: MediaMaker) -> None:
    path = make_media.cfr("a.mp4", size=(96, 96), quarter_turns=1)
    path.write_bytes(with_clean_aperture(path.read_bytes(), 64, 32, 0, 0))
    info = probe(path)
    assert (info.width_px, info.height_px) == (32, 64)
    assert next(read_frames(path, info=info, max_side_px=32)).image.shape == (32, 16, 3)
