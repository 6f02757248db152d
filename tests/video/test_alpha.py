"""Transparent video is refused, wherever its transparency is kept; opaque video is not."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.video.making import ebml, write_video
from tpbench.errors import TransparentError
from tpbench.video import Frame, probe, read_frames
from tpbench.video.footage import open_footage

FORMATS = [
    ("a.mov", "prores_ks", "yuva444p10le"),
    ("a.mov", "qtrle", "argb"),
    ("a.mov", "png", "rgba"),
    ("a.mov", "png", "rgba64be"),
    ("a.mkv", "ffv1", "yuva420p"),
    ("a.mkv", "ffv1", "bgra"),
    ("a.nut", "ffvhuff", "yuva444p"),
    ("a.avi", "utvideo", "gbrap"),
    ("a.avi", "huffyuv", "bgra"),
]


def pictures(alphas: list[int]) -> list[NDArray[np.uint8]]:
    """RGBA pictures with a square of this opacity in the middle of each."""
    made = []
    for number, alpha in enumerate(alphas):
        image = np.full((48, 64, 4), (90 + number, 120, 200, 255), np.uint8)
        image[16:32, 16:32, 3] = alpha
        made.append(image)
    return made


def write(path: Path, codec: str, pixel_format: str, alphas: list[int]) -> Path:
    frames = [av.VideoFrame.from_ndarray(image, format="rgba") for image in pictures(alphas)]
    stored = [frame.reformat(format=pixel_format) for frame in frames]
    return write_video(path, stored, codec=codec, pixel_format=pixel_format)


@pytest.mark.parametrize(("name", "codec", "pixel_format"), FORMATS)
def test_transparency_in_any_picture_is_refused(
    tmp_path: Path, name: str, codec: str, pixel_format: str
) -> None:
    path = write(tmp_path / name, codec, pixel_format, [255, 255, 0, 255])
    read: list[Frame] = []
    with pytest.raises(TransparentError, match=r"is transparent in places: lay it over"):
        read.extend(read_frames(path))
    assert len(read) <= 2


@pytest.mark.parametrize(("name", "codec", "pixel_format"), FORMATS)
def test_a_format_with_transparency_that_is_opaque_is_read(
    tmp_path: Path, name: str, codec: str, pixel_format: str
) -> None:
    path = write(tmp_path / name, codec, pixel_format, [255] * 4)
    assert len(list(read_frames(path))) == 4


def test_what_shines_through_a_little_is_transparent(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", "ffv1", "bgra", [240] * 4)
    with pytest.raises(TransparentError):
        list(read_frames(path))


def test_the_unused_byte_of_uncompressed_video_is_no_transparency(tmp_path: Path) -> None:
    images = [image * np.array([1, 1, 1, 0], np.uint8) for image in pictures([0] * 4)]
    path = write_video(
        tmp_path / "a.avi", images, codec="rawvideo", pixel_format="bgra", given="bgra"
    )
    assert len(list(read_frames(path))) == 4


def test_footage_to_be_scored_refuses_transparency_alike(tmp_path: Path) -> None:
    footage = open_footage(write(tmp_path / "a.mkv", "ffv1", "bgra", [0] * 4))
    with pytest.raises(TransparentError):
        list(footage.images())


def vp9_with_alpha(path: Path, alpha: int) -> Path:
    """Write a WebM as browsers do: VP9, and a second VP9 picture beside each for transparency.

    Matroska is written by hand: PyAV can't put anything beside a packet.
    """
    colour, beside = (vp9_packets(level) for level in (120, alpha))
    video = ebml(0xB0, b"\x40") + ebml(0xBA, b"\x30") + ebml(0x53C0, b"\x01")
    entry = ebml(0xD7, b"\x01") + ebml(0x73C5, b"\x01") + ebml(0x83, b"\x01")
    entry += ebml(0x86, b"V_VP9") + ebml(0x23E383, struct.pack(">I", 40_000_000))
    entry += ebml(0x55EE, b"\x01") + ebml(0xE0, video)  # one block may be added
    blocks = b""
    for number, (picture, opacity) in enumerate(zip(colour, beside, strict=True)):
        block = b"\x81" + struct.pack(">hB", 40 * number, 0) + picture
        more = ebml(0xA6, ebml(0xEE, b"\x01") + ebml(0xA5, opacity))
        group = ebml(0xA1, block) + ebml(0x75A1, more)
        blocks += ebml(0xA0, group + (ebml(0xFB, b"\xd8") if number else b""))
    head = ebml(0x1A45DFA3, ebml(0x4282, b"webm"))
    info = ebml(0x1549A966, ebml(0x2AD7B1, struct.pack(">I", 1_000_000)))
    tracks = ebml(0x1654AE6B, ebml(0xAE, entry))
    cluster = ebml(0x1F43B675, ebml(0xE7, b"\x00") + blocks)
    path.write_bytes(head + ebml(0x18538067, info + tracks + cluster))
    return path


def vp9_packets(level: int) -> list[bytes]:
    """Four packets of VP9 whose brightness has this value."""
    encoder = av.CodecContext.create("libvpx-vp9", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.framerate = Fraction(25)
    encoder.options = {"lag-in-frames": "0", "deadline": "realtime", "b": "400k"}
    packets = []
    for number in range(4):
        planes = np.full((72, 64), 128, np.uint8)
        planes[:48] = level
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    return [bytes(packet) for packet in [*packets, *encoder.encode(None)]]


def test_transparency_beside_vp9_is_refused_and_opacity_is_fine(tmp_path: Path) -> None:
    for alpha in (0, 128):
        with pytest.raises(TransparentError):
            probe(vp9_with_alpha(tmp_path / "a.webm", alpha))
    assert len(list(read_frames(vp9_with_alpha(tmp_path / "a.webm", 255)))) == 4
