"""Pictures as files: their headers, limits on size and kind, and reading them."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tpbench.errors import MediaError
from tpbench.files import UnfitFileError, open_regular, read_bounded

PictureFormat = Literal["png", "jpeg", "webp", "tiff", "bmp", "pnm"]

MAX_PIXELS: Final = 8192 * 8192
"""Largest area of a picture, the same as for a video's frame."""


class UnfitPictureError(Exception):
    """A picture that is refused; the message is the end of the sentence "<path>: ..."."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHeader:
    """What is known of a picture before it is decoded."""

    format: PictureFormat
    width_px: int
    height_px: int
    """As stored; metadata in the picture may ask for a rotation."""
    bits: Literal[8, 16] = 8
    """Bits of a channel after decoding."""
    lossy: bool = False
    """Whether its format may have changed the original colours."""
    may_be_transparent: bool = False
    """Whether pixels can be transparent; decoding shows whether any is."""
    clear_grey: int | None = None
    """The level that stands for "transparent" in a grey PNG, as it is decoded; None for none."""

    @property
    def codec(self) -> str:
        """`jpeg`, `webp lossy`, `png`, ...: how the colours were stored."""
        return f"{self.format} lossy" if self.lossy and self.format != "jpeg" else self.format


def read_header(file: BinaryIO) -> PictureHeader:
    """Read the header of a picture.

    Args:
        file: seekable, at any position.

    Raises:
        UnfitPictureError: it is not a picture of a known format, is too large, or of a kind that
            can't be read unambiguously: several pictures in one file, print colours, depths
            without a range.
        OSError: it can't be read.
    """
    file.seek(0)
    start = file.read(16)
    for magic, read in _READERS.items():
        if re.match(magic, start, re.DOTALL):
            try:
                header = read(file)
            except (struct.error, ArithmeticError, LookupError, ValueError) as error:
                raise UnfitPictureError(_NO_PICTURE) from error
            break
    else:
        found = next((name for magic, name in _OTHERS.items() if magic in start), None)
        wanted = "PNG, JPEG, WebP, TIFF, BMP and PNM are"
        raise UnfitPictureError(
            f"is {found}, which is not read; {wanted}" if found else _NO_PICTURE
        )
    if min(header.width_px, header.height_px) < 1:
        raise UnfitPictureError(_NO_PICTURE)
    if header.width_px * header.height_px > MAX_PIXELS:
        size = f"{header.width_px}x{header.height_px} px"
        raise UnfitPictureError(f"is {size}, larger than 8192x8192 px in area")
    return header


_NO_PICTURE: Final = "is no picture that can be read"


def _png(file: BinaryIO) -> PictureHeader:
    file.seek(8)
    length, kind = struct.unpack(">I4s", file.read(8))
    if kind != b"IHDR":
        raise ValueError
    width_px, height_px, bits, colour = struct.unpack(">IIBB", file.read(10))
    file.seek(16 + length + 4)
    # Colour types from 4 on have an alpha channel.
    may_be_transparent, clear_grey = colour >= 4, None
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in {b"IDAT", b"IEND"}:  # chunks that change how it is read must precede it
            break
        after = file.tell() + length + 4
        if kind == b"acTL":
            _require_one(struct.unpack(">I", file.read(4))[0], "animated: ")
        elif kind == b"tRNS":
            may_be_transparent = True
            if colour == 0:
                level = struct.unpack(">H", file.read(2))[0]
                clear_grey = level * 255 // ((1 << bits) - 1) if bits < 8 else level
        file.seek(after)
    return PictureHeader(
        format="png",
        width_px=width_px,
        height_px=height_px,
        bits=16 if bits == 16 else 8,
        may_be_transparent=may_be_transparent,
        clear_grey=clear_grey,
    )


def _jpeg(file: BinaryIO) -> PictureHeader:
    _to_frame_header(file)
    bits, height_px, width_px, n_channels = struct.unpack(">BHHB", file.read(6))
    if n_channels not in {1, 3}:
        raise UnfitPictureError(_for_print("CMYK"))
    if bits != 8:
        raise UnfitPictureError(f"is a JPEG of {bits} bits, which is not read: save it as PNG")
    return PictureHeader(format="jpeg", width_px=width_px, height_px=height_px, lossy=True)


def _to_frame_header(file: BinaryIO) -> None:
    """Seek to the byte after the length of a JPEG's frame header."""
    file.seek(2)
    while True:
        start, kind = struct.unpack("BB", file.read(2))
        if start != _JPEG_MARKER:
            raise ValueError
        if kind == _JPEG_MARKER:  # a fill byte
            file.seek(-1, io.SEEK_CUR)
            continue
        if kind in _JPEG_BARE:
            continue
        length = struct.unpack(">H", file.read(2))[0]
        if kind in _JPEG_FRAMES:
            return
        file.seek(max(length - 2, 0), io.SEEK_CUR)


_JPEG_MARKER: Final = 0xFF
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length."""
_JPEG_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""SOF0 to SOF15; three numbers among them are tables."""


def _webp(file: BinaryIO) -> PictureHeader:
    file.seek(12)
    canvas_px: tuple[int, int] | None = None
    alpha = False
    kind, content = b"", b""
    while kind not in {b"VP8L", b"VP8 "}:
        kind, length = struct.unpack("<4sI", file.read(8))
        content = file.read(min(length, 10))
        file.seek(length - len(content) + length % 2, io.SEEK_CUR)
        if kind == b"VP8X":
            flags, width, height = struct.unpack("<I3s3s", content)
            canvas_px = (int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1)
            alpha |= bool(flags & 0x10)
            if flags & 0x02:
                _require_one(2, "animated: ")
    if kind == b"VP8L":
        bits = struct.unpack_from("<xI", content)[0]
        alpha |= bool(bits & 1 << 28)
        own_px = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    else:
        width_px, height_px = struct.unpack("<6xHH", content)
        own_px = (width_px & 0x3FFF, height_px & 0x3FFF)
    width_px, height_px = canvas_px or own_px
    return PictureHeader(
        format="webp",
        width_px=width_px,
        height_px=height_px,
        lossy=kind == b"VP8 ",
        may_be_transparent=alpha,
    )


def _tiff(file: BinaryIO) -> PictureHeader:
    tags, more = _tiff_tags(file)
    if more:
        _require_one(2, "")
    bits = set(tags.get(_BITS, (1,)))
    kinds = set(tags.get(_SAMPLE_FORMAT, (1,)))
    photometric = tags.get(_PHOTOMETRIC, (1,))[0]
    n_channels = tags.get(_CHANNELS, (1,))[0]
    extra = tags.get(_EXTRA, ())
    if photometric not in _TIFF_COLOURS:
        raise UnfitPictureError(_for_print(_TIFF_NAMES.get(photometric, "of an unknown kind")))
    if kinds != {1} or len(bits) != 1 or not bits <= {1, 4, 8, 16}:
        found = "of another depth" if kinds == {1} else "signed or with a floating point"
        raise UnfitPictureError(
            f"has values {found}, which have no set range: save it with 8 or 16 bits a channel"
        )
    deep = bits == {16}
    # OpenCV reads these wrongly, without an error.
    if deep and (photometric not in {1, 2} or tags.get(_PLANAR, (1,))[0] != 1):
        raise UnfitPictureError(
            "is a 16-bit TIFF with inverted grey, a palette or separate planes: save it as PNG"
        )
    colours = 3 if photometric in {2, 6} else 1
    if n_channels > colours and (colours, n_channels, len(extra) or 1) != (3, 4, 1):
        raise UnfitPictureError(
            "has channels beside its colours, which may be transparency: save it without them"
        )
    return PictureHeader(
        format="tiff",
        width_px=tags[_WIDTH][0],
        height_px=tags[_HEIGHT][0],
        bits=16 if deep else 8,
        lossy=tags.get(_COMPRESSION, (1,))[0] in _TIFF_LOSSY,
        may_be_transparent=n_channels > colours,
    )


_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_CHANNELS, _PLANAR, _EXTRA, _SAMPLE_FORMAT = 277, 284, 338, 339
_TIFF_TAGS: Final = frozenset({256, 257, 258, 259, 262, 277, 284, 338, 339})
_TIFF_COLOURS: Final = frozenset({0, 1, 2, 3, 6})
"""Grey from white or from black, RGB, a palette, YCbCr."""
_TIFF_NAMES: Final[Mapping[int, str]] = {4: "a mask", 5: "CMYK", 8: "CIELab", 9: "CIELab"}
_TIFF_LOSSY: Final = frozenset({6, 7, 33003, 33005, 34712, 34892, 50001, 50002, 52546})
"""JPEG, JPEG 2000, lossy DNG, WebP, JPEG XL: any of them may have changed colours."""
_TIFF_TYPES: Final[Mapping[int, str]] = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TIFF_MAX_VALUES: Final = 8


def _tiff_tags(file: BinaryIO) -> tuple[dict[int, tuple[int, ...]], bool]:
    """Return the tags of the first picture that matter here, and whether another one follows."""
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    big = struct.unpack(f"{order}H", file.read(2))[0] == 43
    if big:
        file.seek(8)
    word, n_format, entry = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    _go_to(file, struct.unpack(order + word, file.read(8 if big else 4))[0])
    n_entries = struct.unpack(order + n_format, file.read(8 if big else 2))[0]
    size = struct.calcsize(order + entry)
    table = file.read(size * min(n_entries, 4096))
    following = file.read(8 if big else 4)
    tags: dict[int, tuple[int, ...]] = {}
    for tag, kind, count, field in struct.iter_unpack(order + entry, table):
        if tag not in _TIFF_TAGS or kind not in _TIFF_TYPES:
            continue
        wanted = f"{order}{min(count, _TIFF_MAX_VALUES)}{_TIFF_TYPES[kind]}"
        if count * struct.calcsize(order + _TIFF_TYPES[kind]) > len(field):
            _go_to(file, struct.unpack(order + word, field)[0])
            field = file.read(struct.calcsize(wanted))  # noqa: PLW2901 - the field is an address
        tags[tag] = struct.unpack_from(wanted, field)
    return tags, any(following)


def _go_to(file: BinaryIO, place: int) -> None:
    if place >= 1 << 48:  # no file is that long
        raise ValueError
    file.seek(place)


def _bmp(file: BinaryIO) -> PictureHeader:
    file.seek(14)
    size = struct.unpack("<I", file.read(4))[0]
    if size == 12:
        width_px, height_px, _, depth = struct.unpack("<HHHH", file.read(8))
    else:
        width_px, height_px, _, depth = struct.unpack("<iiHH", file.read(12))
    return PictureHeader(
        format="bmp",
        width_px=width_px,
        height_px=abs(height_px),  # negative for top-down rows
        may_be_transparent=depth == 32,
    )


_PNM: Final = re.compile(rb"P([1-6])((?:\s|#[^\n\r]*[\n\r])+(\d+))((?:\s|#[^\n\r]*[\n\r])+(\d+))"
                         rb"(?:(?:\s|#[^\n\r]*[\n\r])+(\d+))?\s")  # fmt: skip


def _pnm(file: BinaryIO) -> PictureHeader:
    file.seek(0)
    found = _PNM.match(file.read(4096))
    if found is None:
        raise ValueError
    largest = 255 if found[1] in b"14" else int(found[6])
    if largest not in {255, 65535}:
        reason = f"has {largest} for its brightest level: save it with 255 or 65535, or as PNG"
        raise UnfitPictureError(reason)
    return PictureHeader(
        format="pnm",
        width_px=int(found[3]),
        height_px=int(found[5]),
        bits=16 if largest == 65535 else 8,
    )


def _require_one(n_pictures: int, prefix: str) -> None:
    if n_pictures > 1:
        raise UnfitPictureError(
            f"{prefix}holds several pictures, of which only one would be read: save one per file"
        )


def _for_print(kind: str) -> str:
    return f"has colours that each program converts to RGB differently ({kind}): save it as RGB"


_READERS: Final = {
    rb"\x89PNG\r\n\x1a\n": _png,
    rb"\xff\xd8\xff": _jpeg,
    rb"RIFF....WEBP": _webp,
    rb"II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]": _tiff,
    rb"BM": _bmp,
    rb"P[1-6]\s": _pnm,
}

_OTHERS: Final = {
    b"GIF8": "a GIF",
    b"ftypavif": "AVIF",
    b"ftypavis": "AVIF",
    b"ftyphei": "HEIF",
    b"ftypmif1": "HEIF",
    b"jP  ": "JPEG 2000",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"\x93NUMPY": "a NumPy array",
    b"8BPS": "a Photoshop file",
}


PICTURE_SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Files with these endings are pictures, upper case or lower."""
_MAX_BYTES: Final = MAX_PIXELS * 8 + (1 << 20)
"""Enough for the largest picture, with four channels of 16 bits and not compressed."""


def look_at(path: Path) -> PictureHeader:
    """Read the header of a picture.

    Raises:
        MediaError: it can't be read, or is of a kind or size that is never decoded.
    """
    try:
        with open_regular(path) as file:
            return read_header(file)
    except UnfitPictureError as error:
        raise MediaError(path, str(error)) from error
    except OSError as error:
        raise MediaError(path, error.strerror or str(error)) from error


def codec_of(pictures: Iterable[Path]) -> str:
    """Return how the pictures of a folder are stored, according to each header.

    `pictures` if all are lossless; else the formats, such as `jpeg`, or `jpeg+png` where some are
    lossy and some not.

    Raises:
        MediaError: as `look_at`.
    """
    headers = [look_at(path) for path in pictures]
    if not any(header.lossy for header in headers):
        return "pictures"
    return "+".join(sorted({header.codec for header in headers}))


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as (height_px, width_px, 3) uint8 RGB.

    Raises:
        MediaError: as `look_at`; it is damaged, or transparent in places.
    """
    try:
        stored = read_bounded(path, _MAX_BYTES)
        header = read_header(io.BytesIO(stored))
    except (UnfitPictureError, UnfitFileError) as error:
        raise MediaError(path, getattr(error, "strerror", None) or str(error)) from error
    except OSError as error:
        raise MediaError(path, error.strerror or str(error)) from error
    image = _decoded(stored, header)
    if image is None:
        raise MediaError(path, "is no picture that can be read")
    if header.may_be_transparent and _is_transparent(stored, header):
        raise MediaError(path, "is transparent in places: lay it over its background first")
    return image


def _decoded(stored: bytes, header: PictureHeader) -> NDArray[np.uint8] | None:
    import cv2

    if header.bits == 8:
        image = _decode(stored, cv2.IMREAD_COLOR_RGB)
    elif header.format == "tiff":
        # With a colour flag, OpenCV would mix up the channels of 16-bit TIFF.
        image = _decode(stored, cv2.IMREAD_UNCHANGED)
        if image is not None and image.ndim == 3:
            image = image[..., 2::-1]
    else:
        image = _decode(stored, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)
    if image is None:
        return None
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(in_8_bits(image))


def in_8_bits(image: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Round levels of 16 bits to the nearest of 8 bits; those of 8 bits are unchanged."""
    if image.dtype == np.uint8:
        return np.asarray(image, dtype=np.uint8)
    # 65535 / 255 is 257 exactly, so this rounds v * 255 / 65535; no v lies halfway.
    rounded: NDArray[np.uint8] = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rounded


def _is_transparent(stored: bytes, header: PictureHeader) -> bool:
    """Whether any pixel is transparent, so that its colour depends on an unknown background."""
    import cv2

    image = _decode(stored, cv2.IMREAD_UNCHANGED)
    if image is None:
        return False
    if header.clear_grey is not None:
        return bool((image == header.clear_grey).any())
    if image.ndim < 3 or image.shape[2] < 4:
        return False
    return bool(image[..., 3].min() < np.iinfo(image.dtype).max)


def _decode(stored: bytes, flags: int) -> NDArray[np.integer] | None:
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(stored, dtype=np.uint8), flags)
    except cv2.error:  # such as a size beyond any memory
        return None
