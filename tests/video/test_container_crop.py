"""What a container crops is not shown, in whatever way it says so."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.video.boxes import with_clean_aperture
from tpbench.video import probe, read_frames

if TYPE_CHECKING:
    from tests.conftest import MediaMaker

SEGMENT, TRACKS, ENTRY, VIDEO, CHECKSUM = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0xBF
CROP_BOTTOM, CROP_TOP, CROP_LEFT, CROP_RIGHT = 0x54AA, 0x54BB, 0x54CC, 0x54DD
DISPLAY_UNIT, DISPLAY_WIDTH, DISPLAY_HEIGHT = 0x54B2, 0x54B0, 0x54BA


def number_at(data: bytes, at: int, *, marked: bool) -> tuple[int, int]:
    """An EBML number: its value (with its length marker for ids) and its length in bytes."""
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return (value if marked else value & ((1 << 7 * length) - 1)), length


def element(kind: int, payload: bytes) -> bytes:
    """An EBML element with a size of 8 bytes."""
    name = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    return name + (len(payload) | 1 << 56).to_bytes(8, "big") + payload


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
            added = [element(name, value.to_bytes(2, "big")) for name, value in settings.items()]
            payload = kept + b"".join(added)
        if kind != CHECKSUM:
            out += element(kind, payload)
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
    from tests.conftest import MediaMaker

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
