"""How a picture is shown: crops, shape of pixels, rotation, colours, high dynamic range."""

from __future__ import annotations

import math
import re
import struct
import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Final, NamedTuple, cast

import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tpbench.video.pictures import in_8_bits

WHITE_CD_M2: Final = 203.0
"""Diffuse white of HDR (ITU-R BT.2408), which becomes the white of SDR."""
PQ: Final = 16
HLG: Final = 18
HDR_CURVES: Final = {PQ: "PQ", HLG: "HLG"}
"""Transfer characteristics of ITU-T H.273 that are HDR."""
UNSHOWN_CURVES: Final = {8: "linear light", 9: "logarithmic", 10: "logarithmic", 17: "DCI XYZ"}
"""Transfer characteristics that are not converted here; unconverted they look washed out."""
_HLG_PEAK_CD_M2: Final = 1000.0
_HLG_SYSTEM_GAMMA: Final = 1.2
_SDR_GAMMA: Final = 2.4

_TO_XYZ: Final = {
    1: ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)),
    9: ((0.6370, 0.1446, 0.1689), (0.2627, 0.6780, 0.0593), (0.0000, 0.0281, 1.0610)),
    12: ((0.4866, 0.2657, 0.1982), (0.2290, 0.6917, 0.0793), (0.0000, 0.0451, 1.0439)),
}
"""Linear RGB to CIE XYZ by colour primaries of ITU-T H.273: BT.709, BT.2020, Display P3."""


def shown_as_sdr(rgb: NDArray[np.uint16], *, curve: int, primaries: int) -> NDArray[np.uint8]:
    """Return the picture as an SDR display shows it: ITU-R BT.2100, white by BT.2408.

    Args:
        rgb: (H, W, 3) uint16, the coded values on a scale of 65535, the same in all channels.
        curve: `PQ` or `HLG`.
        primaries: of ITU-T H.273; any but BT.709 and Display P3 count as BT.2020.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    import cv2

    light = _light(curve)[rgb]
    if primaries != 1:
        light = cv2.transform(light, _to_bt709(12 if primaries == 12 else 9))
    shown = cv2.pow(np.clip(light, 0, 1), 1 / _SDR_GAMMA)
    return np.asarray(cv2.convertScaleAbs(shown, alpha=255), dtype=np.uint8)


@cache
def _light(curve: int) -> NDArray[np.float32]:
    """Light by coded value, (65536,), 1 for diffuse white."""
    coded = np.arange(65536) / 65535
    if curve == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
        light_cd_m2 = _HLG_PEAK_CD_M2 * scene**_HLG_SYSTEM_GAMMA
    else:
        root = coded ** (1 / 78.84375)
        numerator = np.maximum(root - 0.8359375, 0)
        ratio = numerator / (18.8515625 - 18.6875 * root)
        light_cd_m2 = 10000 * ratio ** (1 / 0.1593017578125)
    return (light_cd_m2 / WHITE_CD_M2).astype(np.float32)


@cache
def _to_bt709(primaries: int) -> NDArray[np.float32]:
    """Matrix from linear RGB of these primaries to linear RGB of BT.709, (3, 3)."""
    matrix = np.linalg.inv(np.array(_TO_XYZ[1])) @ np.array(_TO_XYZ[primaries])
    matrix /= matrix.sum(axis=1, keepdims=True)  # white stays white
    return np.asarray(matrix, dtype=np.float32)


_QUARTER_TOLERANCE_DEG: Final = 1.0
"""An angle this close to a quarter turn counts as that quarter turn, as in ffmpeg."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """One of the eight orientations of a picture: mirrored or not, then rotated."""

    quarter_turns: int = 0
    """0 to 3: counter-clockwise quarter turns, applied after mirroring."""
    mirrored: bool = False
    """Whether left and right are swapped first."""

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height are swapped."""
        return self.quarter_turns % 2 == 1

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a stored (H, W, ...) picture as displayed; itself where nothing changes."""
        if self.mirrored:
            image = image[:, ::-1]
        return np.rot90(image, self.quarter_turns) if self.quarter_turns else image


UPRIGHT: Final = Orientation()
"""As stored."""


def orientation_of_matrix(matrix: bytes) -> Orientation | None:
    """Return the orientation that a display matrix declares, to the quarter turn.

    Args:
        matrix: libav's 36 bytes, nine native 32-bit integers a b u c d v x y w, which take the
            stored point (p, q) to (a p + c q + x, b p + d q + y), y downwards.

    Returns:
        The orientation; shift and scale are ignored, and a singular matrix counts as upright.
        None if it rotates by an angle between quarter turns, or shears.
    """
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    if a * d - b * c == 0:
        return UPRIGHT
    mirrored = a * d - b * c < 0
    # Mirroring negates the first column; the rest is a rotation that both columns must agree on.
    first = math.degrees(math.atan2(b, -a) if mirrored else math.atan2(-b, a))
    second = math.degrees(math.atan2(c, d))
    turns = round(first / 90)
    for angle in (first, second):
        off = (angle - 90 * turns + 180) % 360 - 180
        if abs(off) > _QUARTER_TOLERANCE_DEG:
            return None
    return Orientation(quarter_turns=turns % 4, mirrored=mirrored)


def orientation_of_picture(picture: VideoFrame) -> Orientation | None:
    """Return the orientation by a decoded picture's display matrix (None: no quarter turn)."""
    # `picture.side_data` would keep the picture, and itself, until the next garbage collection.
    matrix = cast("Buffer | None", SideDataContainer(picture).get("DISPLAYMATRIX"))  # type: ignore[call-arg]
    return UPRIGHT if matrix is None else orientation_of_matrix(bytes(matrix))


UNDECLARED: Final = 2
"""ITU-T H.273: transfer characteristics or colour primaries are not known."""
_SQUARE_TOLERANCE: Final = 0.02
"""Encoders round sizes and then declare pixels up to about 1 % off square without intent."""


class Edges(NamedTuple):
    """Pixels at the edges of a picture that are not shown."""

    left_px: int
    top_px: int
    right_px: int
    bottom_px: int


NO_EDGES: Final = Edges(0, 0, 0, 0)


class Window(NamedTuple):
    """A part of the displayed picture, in px."""

    x0_px: int
    y0_px: int
    width_px: int
    height_px: int

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return this part of a (H, W, 3) picture, as a view."""
        x1, y1 = self.x0_px + self.width_px, self.y0_px + self.height_px
        return image[self.y0_px : y1, self.x0_px : x1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """How the pictures of one video are shown."""

    size_px: tuple[int, int]
    """Width and height as displayed: cropped, with square pixels, rotated as the first picture."""
    stored_px: tuple[int, int] = (0, 0)
    """Width and height of the first picture as stored."""
    pixel_aspect: Fraction = Fraction(1)
    """Width over height of a stored pixel."""
    orientation: Orientation = UPRIGHT
    """Of the first picture."""
    told: tuple[tuple[int, Orientation | None], ...] = ()
    """Orientations that the stream itself declares, by the frame number they start at (rising);
    None where it declares none from there on."""
    cropped: Edges = NO_EDGES
    """What the container crops off the stored picture."""
    transfer: int = UNDECLARED
    """Transfer characteristics (ITU-T H.273) of pictures that declare none."""
    primaries: int = UNDECLARED
    """Colour primaries (ITU-T H.273) of pictures that declare none."""
    window: Window | None = None
    """If given, only this part is shown."""

    @property
    def shown_px(self) -> tuple[int, int]:
        """Width and height of what is shown."""
        return self.size_px if self.window is None else self.window[2:]

    def with_told(self, told: Sequence[tuple[int, Orientation | None]]) -> Display:
        """Return this with the orientations that the stream declares, by frame number."""
        changes = tuple(sorted(told, key=lambda change: change[0]))
        first = next((said for slot, said in reversed(changes) if slot <= 0), None)
        if first is None or first.swaps_sides == self.orientation.swaps_sides:
            return replace(self, told=changes, orientation=first or self.orientation)
        turned = (self.size_px[1], self.size_px[0])
        return replace(self, told=changes, orientation=first, size_px=turned)

    def orientation_of(self, picture: VideoFrame, slot: int) -> Orientation:
        """Return the orientation of a picture shown from frame number `slot` on."""
        at = bisect_right(self.told, slot, key=lambda change: change[0]) if self.told else 0
        told = self.told[at - 1][1] if at else None
        return told or orientation_of_picture(picture) or self.orientation

    def curve_of(self, picture: VideoFrame) -> int:
        """Return the transfer characteristics of a picture."""
        declared = picture.color_trc
        return self.transfer if declared == UNDECLARED else declared

    def rgb(self, picture: VideoFrame, slot: int, max_side_px: int | None) -> NDArray[np.uint8]:
        """Return what is shown of a picture, shrunk so that no side is longer than `max_side_px`.

        A picture of another shape than the first (its stored size or its orientation changed in
        mid-stream) is scaled to fit, at its own aspect ratio, with black around it.

        Args:
            picture: as decoded.
            slot: the frame number from which on it is shown.
            max_side_px: None for the full size.

        Returns:
            (H, W, 3) uint8 RGB, contiguous.
        """
        orientation = self.orientation_of(picture, slot)
        own_px = self._own_size(picture, orientation)
        if self.window is None and own_px == self.size_px and not any(self.cropped):
            width_px, height_px = _shrunk(self.size_px, max_side_px)
            shrinks = (width_px, height_px) != self.size_px
            if orientation.swaps_sides:
                width_px, height_px = height_px, width_px
            image = self._colours(picture, width_px, height_px, "AREA" if shrinks else "BICUBIC")
            return np.ascontiguousarray(orientation.apply(image))
        return self._part(picture, orientation, own_px, max_side_px)

    def _own_size(self, picture: VideoFrame, orientation: Orientation) -> tuple[int, int]:
        """Return the displayed size of a picture, nearly always that of the first."""
        if (
            orientation.quarter_turns == self.orientation.quarter_turns
            and (picture.width, picture.height) == self.stored_px
        ):
            return self.size_px
        return displayed_size(picture, self.cropped, self.pixel_aspect, orientation)

    def _part(
        self,
        picture: VideoFrame,
        orientation: Orientation,
        own_px: tuple[int, int],
        max_side_px: int | None,
    ) -> NDArray[np.uint8]:
        """Crop, rotate and scale a picture that is shown in part, or has another shape."""
        import cv2

        image = self._colours(picture, picture.width, picture.height, "BICUBIC")
        left, top, right, bottom = self.cropped
        image = image[top : image.shape[0] - bottom, left : image.shape[1] - right]
        image = orientation.apply(image)
        if own_px != self.size_px:
            image = _fitted(image, own_px, self.size_px)
        elif (image.shape[1], image.shape[0]) != self.size_px:
            image = cv2.resize(image, self.size_px, interpolation=cv2.INTER_CUBIC)
        if self.window is not None:
            image = self.window.cut(image)
        size_px = _shrunk(self.shown_px, max_side_px)
        if size_px != self.shown_px:
            image = cv2.resize(image, size_px, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(image, dtype=np.uint8)

    def _colours(
        self, picture: VideoFrame, width_px: int, height_px: int, interpolation: str
    ) -> NDArray[np.uint8]:
        """Scale a picture, as stored, and convert it to RGB."""
        curve = self.curve_of(picture)
        is_hdr = curve in HDR_CURVES
        is_grey = picture.format.name.startswith("gray")
        # When converting RGB or grey of more than 8 bits to 8 bits, libav would truncate and
        # dither; values are rounded here, as those of image files are.
        is_deep = is_hdr or (
            (picture.format.is_rgb or is_grey)
            and max(component.bits for component in picture.format.components) > 8
        )
        # Via RGB, libav converts deep grey one level wrong.
        deep_format = "gray16le" if is_grey and not is_hdr else "rgb48le"
        rgb = _converted(
            picture, deep_format if is_deep else "rgb24", (width_px, height_px), interpolation
        )
        if not is_deep:
            return np.asarray(rgb, dtype=np.uint8)
        if not is_hdr:
            levels = in_8_bits(np.asarray(rgb, dtype=np.uint16))
            return levels if levels.ndim == 3 else np.dstack([levels] * 3)
        declared = picture.color_primaries
        primaries = self.primaries if declared == UNDECLARED else declared
        return shown_as_sdr(np.asarray(rgb, dtype=np.uint16), curve=curve, primaries=primaries)


class _Converters(threading.local):
    """The converters of one thread, by what they make; setting one up is slower than using it."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, tuple[int, int], str], VideoReformatter] = {}


_CONVERTERS: Final = _Converters()
_MOST_CONVERTERS: Final = 8


def _converted(
    picture: VideoFrame, pixel_format: str, size_px: tuple[int, int], interpolation: str
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Scale a picture and convert it to another format."""
    made = _CONVERTERS.made
    key = (pixel_format, size_px, interpolation)
    if key not in made and len(made) >= _MOST_CONVERTERS:
        del made[next(iter(made))]
    converter = made.setdefault(key, VideoReformatter())
    converted = converter.reformat(
        picture, *size_px, format=pixel_format, interpolation=interpolation, threads=1
    )
    return cast("NDArray[np.uint8] | NDArray[np.uint16]", converted.to_ndarray())


def _shrunk(size_px: tuple[int, int], max_side_px: int | None) -> tuple[int, int]:
    width_px, height_px = size_px
    if max_side_px is None or max(size_px) <= max_side_px:
        return size_px
    scale = max_side_px / max(size_px)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def displayed_size(
    picture: VideoFrame, cropped: Edges, pixel_aspect: Fraction, orientation: Orientation
) -> tuple[int, int]:
    """Return width and height in px of a picture, cropped, with square pixels, and rotated.

    The side along which pixels are longer grows, so that no detail is lost. Pixels within 2 % of
    square, and implausible shapes (beyond 4:1), are left as they are.
    """
    width_px = picture.width - cropped.left_px - cropped.right_px
    height_px = picture.height - cropped.top_px - cropped.bottom_px
    if abs(pixel_aspect - 1) > _SQUARE_TOLERANCE and Fraction(1, 4) <= pixel_aspect <= 4:
        if pixel_aspect > 1:
            width_px = round(width_px * pixel_aspect)
        else:
            height_px = round(height_px / pixel_aspect)
    return (height_px, width_px) if orientation.swaps_sides else (width_px, height_px)


def _fitted(
    image: NDArray[np.uint8], own_px: tuple[int, int], size_px: tuple[int, int]
) -> NDArray[np.uint8]:
    """Scale a picture of shape `own_px` to fit into `size_px`, with black around it."""
    import cv2

    scale = min(size_px[0] / own_px[0], size_px[1] / own_px[1])
    width_px = min(size_px[0], max(1, round(own_px[0] * scale)))
    height_px = min(size_px[1], max(1, round(own_px[1] * scale)))
    shrinks = width_px < image.shape[1] or height_px < image.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    canvas = np.zeros((size_px[1], size_px[0], 3), np.uint8)
    x0, y0 = (size_px[0] - width_px) // 2, (size_px[1] - height_px) // 2
    canvas[y0 : y0 + height_px, x0 : x0 + width_px] = cv2.resize(
        image, (width_px, height_px), interpolation=interpolation
    )
    return canvas


_STREAM: Final = re.compile(r"^  Stream #0:(\d+)[\[(: ]")
_CROP: Final = re.compile(r"^      Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)\s*$")


def container_crop(container: InputContainer, stream: VideoStream) -> Edges:
    """Return the container's crop; none where it would leave no picture."""
    import av.logging

    # Only libav's printed description of a file holds it, and only while its log is on.
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        # PyAV's annotations lack this method.
        description = str(container.dumps_format())  # type: ignore[attr-defined]
    finally:
        av.logging.set_level(level)
    number = None
    for line in description.splitlines():
        if (found := _STREAM.match(line)) is not None:
            number = int(found.group(1))
        elif number == stream.index and (found := _CROP.match(line)) is not None:
            left, right, top, bottom = (int(text) for text in found.groups())
            context = stream.codec_context
            if left + right < context.width and top + bottom < context.height:
                return Edges(left, top, right, bottom)
    return NO_EDGES


def pixel_aspect(stream: VideoStream, cropped: Edges) -> Fraction:
    """Return width over height of a pixel.

    Where a Matroska file crops and names no display size, libav compares the cropped picture with
    the uncropped size, which would distort it; by the format's own rule its pixels are square.
    """
    declared = stream.sample_aspect_ratio or Fraction(1)
    if cropped == NO_EDGES:
        return declared
    width_px, height_px = stream.codec_context.width, stream.codec_context.height
    left_px = width_px - cropped.left_px - cropped.right_px
    left_high_px = height_px - cropped.top_px - cropped.bottom_px
    unset = Fraction(left_high_px * width_px, left_px * height_px)
    return Fraction(1) if declared == unset else declared
