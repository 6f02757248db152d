"""Transparent video is refused, wherever its transparency is kept; opaque video is not."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from numpy.typing import NDArray

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
    with av.open(str(path), "w") as output:
        stream = cast("VideoStream", output.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for image in pictures(alphas):
            frame = av.VideoFrame.from_ndarray(image, format="rgba")
            output.mux(stream.encode(frame.reformat(format=pixel_format)))
        output.mux(stream.encode(None))
    return path


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


@pytest.mark.parametrize("alpha", [128, 240])
def test_what_shines_through_a_little_is_transparent(tmp_path: Path, alpha: int) -> None:
    path = write(tmp_path / "a.mkv", "ffv1", "bgra", [alpha] * 4)
    with pytest.raises(TransparentError):
        list(read_frames(path))


def test_the_unused_byte_of_uncompressed_video_is_no_transparency(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgra"
        for image in pictures([0] * 4):
            image[..., 3] = 0
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgra")))
        output.mux(stream.encode(None))
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
    video = element(0xB0, b"\x40") + element(0xBA, b"\x30") + element(0x53C0, b"\x01")
    entry = element(0xD7, b"\x01") + element(0x73C5, b"\x01") + element(0x83, b"\x01")
    entry += element(0x86, b"V_VP9") + element(0x23E383, struct.pack(">I", 40_000_000))
    entry += element(0x55EE, b"\x01") + element(0xE0, video)  # one block may be added
    blocks = b""
    for number, (picture, opacity) in enumerate(zip(colour, beside, strict=True)):
        block = b"\x81" + struct.pack(">hB", 40 * number, 0) + picture
        more = element(0xA6, element(0xEE, b"\x01") + element(0xA5, opacity))
        group = element(0xA1, block) + element(0x75A1, more)
        blocks += element(0xA0, group + (element(0xFB, b"\xd8") if number else b""))
    head = element(0x1A45DFA3, element(0x4282, b"webm"))
    info = element(0x1549A966, element(0x2AD7B1, struct.pack(">I", 1_000_000)))
    tracks = element(0x1654AE6B, element(0xAE, entry))
    cluster = element(0x1F43B675, element(0xE7, b"\x00") + blocks)
    path.write_bytes(head + element(0x18538067, info + tracks + cluster))
    return path


def element(kind: int, payload: bytes) -> bytes:
    name = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    return name + (len(payload) | 1 << 56).to_bytes(8, "big") + payload


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


@pytest.mark.parametrize("alpha", [0, 128])
def test_transparency_beside_vp9_is_refused(tmp_path: Path, alpha: int) -> None:
    path = vp9_with_alpha(tmp_path / "a.webm", alpha)
    with pytest.raises(TransparentError):
        probe(path)


def test_opacity_beside_vp9_is_fine(tmp_path: Path) -> None:
    path = vp9_with_alpha(tmp_path / "a.webm", 255)
    assert len(list(read_frames(path))) == 4
