"""Pictures are read as a viewer shows them, in 8 bits, or refused with what they are."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.video.making import write_video
from tpbench.errors import MediaError
from tpbench.video import open_footage
from tpbench.video.pictures import (
    PictureHeader,
    UnfitPictureError,
    codec_of,
    look_at,
    read_header,
    read_picture,
)

SIZE_PX = (12, 8)


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)


@pytest.fixture
def deep() -> NDArray[np.uint16]:
    """(8, 12, 3) of 16 bits; the first two pixels hold the levels where cutting is wrong."""
    values = np.random.default_rng(1).integers(0, 65536, (8, 12, 3)).astype(np.uint16)
    values[0, :2] = [[128, 129, 65535], [65407, 0, 257]]
    return values


def rounded(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.round(values.astype(np.float64) * 255 / 65535).astype(np.uint8)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks."""
    whole = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        whole += struct.pack(">I", len(content)) + kind + content
        whole += struct.pack(">I", zlib.crc32(kind + content))
    return whole


def ihdr(width_px: int, height_px: int, bits: int, colour: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, bits, colour, 0, 0, 0)


def idat(rows: bytes) -> tuple[bytes, bytes]:
    return b"IDAT", zlib.compress(rows, 9)


END = (b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
def test_16_bit_colours_are_rounded_and_not_cut(
    suffix: str, deep: NDArray[np.uint16], tmp_path: Path
) -> None:
    path = tmp_path / f"0.{suffix}"
    path.write_bytes(cv2.imencode(f".{suffix}", deep[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(read_picture(path), rounded(deep))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_rounded_and_not_cut(
    suffix: str, deep: NDArray[np.uint16], tmp_path: Path
) -> None:
    grey = np.ascontiguousarray(deep[..., 0])
    path = tmp_path / f"0.{suffix}"
    path.write_bytes(cv2.imencode(f".{suffix}", grey)[1].tobytes())
    np.testing.assert_array_equal(read_picture(path), rounded(np.dstack([grey] * 3)))


def test_an_8_bit_picture_stored_in_16_bits_is_the_same_picture(
    rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(cv2.imencode(".png", rgb[..., ::-1].astype(np.uint16) * 257)[1].tobytes())
    np.testing.assert_array_equal(read_picture(path), rgb)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp", "TIFF", "PNM"])
def test_8_bit_pictures_without_loss_are_read_as_they_are(
    suffix: str, rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / f"0.{suffix}"
    kind = {"tif": "TIFF", "PNM": "PPM"}.get(suffix, suffix.upper())
    Image.fromarray(rgb).save(path, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(read_picture(path), rgb)


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_grey_palettes_and_black_and_white_become_rgb(
    mode: str, rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    image = Image.fromarray(rgb).convert(mode)
    image.save(tmp_path / "0.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "0.png"), image.convert("RGB"))


def transparent_pictures() -> dict[str, bytes]:
    """One picture of each kind with a see-through pixel, by kind."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8))
    rgba = rgb.convert("RGBA")
    rgba.putpixel((3, 2), (9, 9, 9, 254))
    grey = rgb.convert("L")
    deep = np.full((8, 12, 4), 65535, np.uint16)
    deep[2, 3, 3] = 65534
    made: dict[str, bytes] = {}

    def put(name: str, image: Image.Image, kind: str, **options: Any) -> None:  # noqa: ANN401 - as the libraries take them
        target = io.BytesIO()
        image.save(target, kind, **options)
        made[name] = target.getvalue()

    put("rgba.png", rgba, "PNG")
    put("la.png", rgba.convert("LA"), "PNG")
    put("palette.png", rgb.convert("P"), "PNG", transparency=rgb.convert("P").getpixel((0, 0)))
    put("colour key.png", rgb, "PNG", transparency=rgb.getpixel((5, 5)))
    put("grey key.png", grey, "PNG", transparency=grey.getpixel((5, 5)))
    put("lossless.webp", rgba, "WEBP", lossless=True, exact=True)
    put("lossy.webp", rgba, "WEBP", quality=90)
    put("rgba.tif", rgba, "TIFF")
    put("la.tif", rgba.convert("LA"), "TIFF")
    made["rgba 16.png"] = cv2.imencode(".png", deep)[1].tobytes()
    made["rgba 16.tif"] = cv2.imencode(".tif", deep)[1].tobytes()
    key = (b"tRNS", struct.pack(">H", 40_000))
    row = b"\0" + struct.pack(">2H", 40_000, 41_000)
    made["grey key 16.png"] = png(ihdr(2, 1, 16, 0), key, idat(row), END)
    key = (b"tRNS", struct.pack(">3H", 40_000, 1, 2))
    row = b"\0" + struct.pack(">6H", 40_000, 1, 2, 40_000, 1, 3)
    made["colour key 16.png"] = png(ihdr(2, 1, 16, 2), key, idat(row), END)
    key = (b"tRNS", struct.pack(">H", 5))
    made["grey key 4.png"] = png(ihdr(2, 1, 4, 0), key, idat(b"\0\x57"), END)
    key = (b"tRNS", struct.pack(">H", 1))
    made["grey key 1.png"] = png(ihdr(2, 1, 1, 0), key, idat(b"\0\x40"), END)
    return made


@pytest.mark.parametrize("name", transparent_pictures())
def test_a_picture_that_is_transparent_in_places_is_refused_in_every_form(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(transparent_pictures()[name])
    with pytest.raises(MediaError, match=r"transparen.*: (lay it over its background|save it)"):
        read_picture(path)


@pytest.mark.parametrize(
    ("bits", "colour", "key", "row"),
    [
        (8, 0, struct.pack(">H", 7), b"\0\x05\x06"),
        (16, 0, struct.pack(">H", 40_001), b"\0" + struct.pack(">2H", 40_000, 41_000)),
        (4, 0, struct.pack(">H", 4), b"\0\x57"),
        (8, 2, struct.pack(">3H", 1, 2, 4), b"\0" + bytes([1, 2, 3, 4, 5, 6])),
    ],
)
def test_a_transparent_colour_that_no_pixel_has_hides_nothing(
    bits: int, colour: int, key: bytes, row: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(png(ihdr(2, 1, bits, colour), (b"tRNS", key), idat(row), END))
    assert read_picture(path).shape == (1, 2, 3)


@pytest.mark.parametrize("name", ["0.png", "0.webp", "0.tif"])
def test_an_opaque_alpha_channel_hides_nothing(
    name: str, rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    Image.fromarray(rgb).convert("RGBA").save(tmp_path / name, lossless=True)
    np.testing.assert_array_equal(read_picture(tmp_path / name), rgb)


@pytest.mark.parametrize("bits_32", ["as Pillow writes it", "with a blank fourth byte"])
def test_the_fourth_byte_of_a_bitmap_is_no_transparency(
    bits_32: str, rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "0.bmp"
    if bits_32 == "as Pillow writes it":
        Image.fromarray(rgb).convert("RGBA").save(path)
    else:
        rows = np.dstack([rgb[::-1, :, ::-1], np.zeros_like(rgb[..., :1])]).tobytes()
        info = struct.pack("<IiiHHIIiiII", 40, 12, 8, 1, 32, 0, len(rows), 0, 0, 0, 0)
        path.write_bytes(b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + info + rows)
    np.testing.assert_array_equal(read_picture(path), rgb)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_a_picture_that_asks_to_be_turned_is_turned(
    kind: str, rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    every: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "TIFF": {"tiffinfo": {274: 6}}}
    options = every.get(kind, {})
    image = Image.fromarray(np.full_like(rgb, 90) if kind == "JPEG" else rgb)
    image.save(tmp_path / "0.x", kind, exif=exif, **options)
    found = read_picture(tmp_path / "0.x")
    np.testing.assert_array_equal(found, np.rot90(np.asarray(image), -1))


def test_a_16_bit_picture_that_asks_to_be_turned_is_turned(
    deep: NDArray[np.uint16], tmp_path: Path
) -> None:
    turned = np.rot90(rounded(deep), -1)
    tifffile.imwrite(
        tmp_path / "0.tif", deep, photometric="rgb", extratags=[(274, "H", 1, 6, False)]
    )
    np.testing.assert_array_equal(read_picture(tmp_path / "0.tif"), turned)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    content = exif.tobytes().removeprefix(b"Exif\0\0")
    note = png((b"eXIf", content)).removeprefix(png())
    (tmp_path / "0.png").write_bytes(plain[:33] + note + plain[33:])
    np.testing.assert_array_equal(read_picture(tmp_path / "0.png"), turned)


def written(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - as the libraries take them
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def tiff(values: NDArray[np.generic], **options: Any) -> bytes:  # noqa: ANN401 - as the libraries take them
    target = io.BytesIO()
    tifffile.imwrite(target, values, **options)
    return target.getvalue()


ONE = Image.new("RGB", (16, 8), (10, 20, 30))
OTHER = Image.new("RGB", (16, 8), (30, 20, 10))
DEEP = np.zeros((8, 16, 3), np.uint16)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (written(ONE.convert("CMYK"), "JPEG"), r"to RGB differently \(CMYK\): save it as RGB"),
        (written(ONE.convert("CMYK"), "TIFF"), r"to RGB differently \(CMYK\): save it as RGB"),
        (written(ONE.convert("LAB"), "TIFF"), r"to RGB differently \(CIELab\)"),
        (written(ONE, "PNG", save_all=True, append_images=[OTHER]), "animated: holds several"),
        (
            written(ONE, "WEBP", save_all=True, append_images=[OTHER], lossless=True),
            "animated: holds several",
        ),
        (written(ONE, "TIFF", save_all=True, append_images=[OTHER]), "holds several pictures"),
        (tiff(DEEP.astype(np.float32), photometric="rgb"), "with a floating point, which have no"),
        (tiff(DEEP[..., 0].astype(np.int16)), "signed or with a floating point"),
        (tiff(DEEP[..., 0].astype(np.uint32)), "of another depth, which have no set range"),
        (tiff(DEEP[..., 0], photometric="miniswhite"), "inverted grey"),
        (
            tiff(np.moveaxis(DEEP, 2, 0), photometric="rgb", planarconfig="separate"),
            "separate planes: save it as PNG",
        ),
        (b"P5 2 1 1023\n\0\1\0\2", "has 1023 for its brightest level"),
        (b"P6 1 1 100\nabc", "has 100 for its brightest level"),
        (written(ONE, "GIF"), "is a GIF, which is not read; PNG, JPEG, WebP, TIFF, BMP and PNM"),
        (written(ONE, "JPEG2000"), "is JPEG 2000, which is not read"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array, which is not read"),
        (b"RIFF\0\0\0\0WEBP", "is no picture that can be read"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, "is no picture that can be read"),
        (b"II*\0\x08\0\0\0\0\0", "is no picture that can be read"),
        (b"\xff\xd8\xff\xe0\0\0\xff\xe0\0\0", "is no picture that can be read"),
        (b"II*\0\xff\xff\xff\xff", "is no picture that can be read"),
        (b"\xff\xd8\xff\xe0\xff", "is no picture that can be read"),
        (b"", "is no picture that can be read"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_by_its_header(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(content)
    for look in (look_at, read_picture):
        with pytest.raises(MediaError, match=reason):
            look(path)


def test_the_pages_of_tiff_are_counted_in_big_files_too(tmp_path: Path) -> None:
    path = tmp_path / "0.tif"
    path.write_bytes(tiff(DEEP, photometric="rgb", bigtiff=True))
    assert look_at(path).bits == 16
    path.write_bytes(tiff(np.stack([DEEP, DEEP]), photometric="rgb", bigtiff=True))
    with pytest.raises(MediaError, match="several pictures"):
        look_at(path)


def headers_that_claim(width_px: int, height_px: int) -> dict[str, bytes]:
    size = struct.pack("<II", width_px, height_px)
    canvas = (width_px - 1).to_bytes(3, "little") + (height_px - 1).to_bytes(3, "little")
    tags = b"".join(
        struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in ((256, width_px), (257, height_px), (258, 8), (262, 1))
    )
    jpeg = bytearray(written(ONE, "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", height_px, width_px)
    return {
        "jpeg": bytes(jpeg),
        "png": png(ihdr(width_px, height_px, 8, 2), idat(bytes(100)), END),
        "png with alpha": png(ihdr(width_px, height_px, 16, 6), idat(bytes(100)), END),
        "webp": b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<II", 10, 0) + canvas
        + b"VP8L" + struct.pack("<I", 5) + b"\x2f\0\0\0\0\0",
        "tiff": b"II*\0\x08\0\0\0" + struct.pack("<H", 4) + tags + bytes(4),
        "bmp": b"BM" + bytes(8) + struct.pack("<II", 54, 40) + size + struct.pack("<HH", 1, 24),
        "pnm": b"P6 # made up\n%d %d\n255\n" % (width_px, height_px),
    }  # fmt: skip


@pytest.mark.parametrize("kind", headers_that_claim(1, 1))
def test_a_picture_too_large_is_refused_from_its_header_for_next_to_no_memory(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(headers_that_claim(32_000, 32_000)[kind])
    tracemalloc.start()
    try:
        for look in (look_at, read_picture):
            with pytest.raises(MediaError, match="is 32000x32000 px, larger than 8192x8192 px"):
                look(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20


@pytest.mark.timeout(20)
@pytest.mark.parametrize("look", [look_at, read_picture])
def test_a_named_pipe_is_not_waited_for(look: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0001.png")
    with pytest.raises(MediaError, match=r"0001\.png: is a named pipe, not a regular file"):
        look(tmp_path / "0001.png")


@pytest.mark.parametrize(
    ("kinds", "codec"),
    [
        (["PNG", "PNG"], "pictures"),
        (["PNG", "BMP", "TIFF", "PPM"], "pictures"),
        (["JPEG", "JPEG"], "jpeg"),
        (["PNG", "JPEG"], "jpeg+png"),
        (["WEBP"], "webp lossy"),
        (["WEBP lossless"], "pictures"),
        (["JPEG", "WEBP"], "jpeg+webp lossy"),
        (["TIFF jpeg"], "tiff lossy"),
    ],
)
def test_pictures_that_lose_something_are_named_by_their_format(
    kinds: list[str], codec: str, tmp_path: Path
) -> None:
    paths = []
    for number, kind in enumerate(kinds):
        name, _, option = kind.partition(" ")
        every: dict[str, dict[str, Any]] = {
            "lossless": {"lossless": True},
            "jpeg": {"compression": "jpeg"},
        }
        more = every.get(option, {})
        paths.append(tmp_path / f"{number}.png")  # the content tells, not the ending
        ONE.save(paths[-1], name, **more)
    assert codec_of(paths) == codec


@settings(deadline=None)
@given(
    st.sampled_from([*sorted(transparent_pictures().values()), written(ONE, "JPEG")]),
    st.data(),
)
def test_damaged_headers_are_refused_or_read_and_nothing_else(
    whole: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=4)):
        if at < len(damaged):
            damaged[at] = data.draw(st.integers(0, 255))
    try:
        header = read_header(io.BytesIO(bytes(damaged)))
    except UnfitPictureError:
        return
    assert isinstance(header, PictureHeader)


@pytest.mark.parametrize(
    ("pixel_format", "bits"),
    [("rgb48le", 16), ("gbrp16le", 16), ("gbrp10le", 10), ("gray16le", 16), ("gray10le", 10)],
)
def test_videos_that_hold_deep_colours_as_they_are_are_rounded_as_pictures_are(
    pixel_format: str, bits: int, deep: NDArray[np.uint16], tmp_path: Path
) -> None:
    values = deep >> (16 - bits)
    grey = pixel_format.startswith("gray")
    stored = np.ascontiguousarray(values[..., 0] if grey else values)
    path = tmp_path / "clip.mkv"
    write_video(path, [stored], codec="ffv1", pixel_format=pixel_format, given=pixel_format)
    seen = np.repeat(values[..., :1], 3, axis=2) if grey else values
    expected = np.round(seen * 255.0 / (2**bits - 1))
    np.testing.assert_array_equal(next(open_footage(path).images()), expected)
