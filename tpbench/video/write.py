"""Writing videos: constant rate, exact number of frames, atomically."""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Generic, NamedTuple, Self, TypeVar, cast

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tpbench.video.audio import AudioSource, AudioTrack
from tpbench.video.source import local_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One way of encoding a video."""

    name: str
    """Short name for logs."""
    codec: str
    """libav's name of the encoder."""
    pixel_format: str
    """libav's name of the stored pixel format."""
    container: str
    """libav's name of the file format."""
    options: Mapping[str, str]
    """Options of the encoder."""

    @property
    def lossless(self) -> bool:
        """Whether every pixel reads back as it was written."""
        return self.pixel_format == "rgb24"

    @property
    def needs_even_size(self) -> bool:
        """Whether width and height must be even: colour is stored for blocks of 2x2 px."""
        return self.pixel_format == "yuv420p"


def _x264(name: str, crf: int, *, preset: str = "medium", parameters: str = "") -> Encoding:
    """H.264 that all players support; a keyframe every 48 frames keeps random access cheap."""
    options = {"crf": str(crf), "preset": preset, "g": "48"}
    if parameters:
        options["x264-params"] = parameters
    return Encoding(
        name=name,
        codec="libx264",
        pixel_format="yuv420p",
        container="mp4",
        options=MappingProxyType(options),
    )


CLIP = _x264(
    "clip",
    12,
    preset="ultrafast",
    parameters="subme=2:8x8dct=1:partitions=i8x8:chroma-qp-offset=-2",
)
"""Clips of a dataset: near the limit of what 8-bit 4:2:0 can hold.

Of x264's tools only those are used that pay at such a quality: motion to a quarter of a pixel (a
quarter of the bytes), 8x8 transforms and intra blocks, finer colour. It takes a sixth of the time
of preset "medium" at the same crf, is closer to the source, has 1.6 times its bytes, and is decoded
faster, as it has no CABAC and no B-frames.
"""
POSE = _x264(
    "pose",
    18,
    preset="ultrafast",
    parameters="partitions=p8x8,p4x4:chroma-qp-offset=-4",
)
"""Pose drawings: thin coloured lines that models are trained on.

Small blocks follow thin lines. What is lost is lost by 4:2:0, not by the encoder.
"""
PREVIEW = _x264("preview", 23)
"""For viewing only."""
LOSSLESS_X264 = Encoding(
    name="lossless-x264",
    codec="libx264rgb",
    pixel_format="rgb24",
    container="matroska",
    options=MappingProxyType({"crf": "0", "preset": "ultrafast"}),
)
"""Exact RGB, about three times as fast to write and to read as FFV1."""


_SMPTE_170M: Final = 6
"""The BT.601 matrix, in ISO 23091-2."""
_LIMITED: Final = 1
_READ_BEHIND_BYTES: Final = 64
_MAX_WAITING: Final = 3
"""Items that wait for a thread. Each may hold a whole picture of the source."""
Item = TypeVar("Item")


class _Output(NamedTuple):
    """The objects that are open while a video is written."""

    container: OutputContainer
    stream: VideoStream
    track: AudioTrack | None


@contextlib.contextmanager
def _plain_os_errors(path: Path) -> Iterator[None]:
    """Turn libav's error for a full disk or an unwritable folder into Python's, which pickles."""
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


class _Pictures:
    """Makes libav's pictures of RGB images: scaled where necessary, and converted."""

    def __init__(
        self, size_px: tuple[int, int], encoding: Encoding, frame_size_px: tuple[int, int]
    ) -> None:
        if encoding.lossless and size_px != frame_size_px:
            raise ValueError(f"{encoding.name} keeps every pixel: its frames can't be scaled")
        self._size_px = size_px
        self._encoding = encoding
        width_px, height_px = frame_size_px
        # libswscale may read a few bytes behind the end of an image.
        buffer = np.zeros(height_px * width_px * 3 + _READ_BEHIND_BYTES, np.uint8)
        self._image = buffer[: height_px * width_px * 3].reshape(height_px, width_px, 3)
        enlarges = size_px[0] > width_px or size_px[1] > height_px
        self._interpolation = "BICUBIC" if enlarges else "AREA"
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def made_of(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        """Return the picture, which doesn't share memory with the image.

        Raises:
            ValueError: the image has another shape or type.
        """
        if image.shape != self._image.shape or image.dtype != np.uint8:
            raise ValueError(
                f"a frame must be {self._image.shape} uint8, not {image.shape} {image.dtype}"
            )
        if self._encoding.lossless:
            return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        if self._encoding.pixel_format == "yuv420p" and image.shape[1::-1] == self._size_px:
            return _in_yuv420(image)
        np.copyto(self._image, image)
        width_px, height_px = self._size_px
        return self._reformatter.reformat(
            av.VideoFrame.from_numpy_buffer(self._image, format="rgb24"),
            width=width_px,
            height=height_px,
            format=self._encoding.pixel_format,
            dst_colorspace=Colorspace.SMPTE170M,
            dst_color_range="MPEG",
            interpolation=self._interpolation,
            threads=1,
        )


_CHROMA: Final = [
    np.array([[*weights, 128 * 255]]) / 255
    for weights in ((-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
]
"""Cb and Cr of BT.601 in limited range, (1, 4) each: weights of R, G and B of 0..255, and what is
added."""


def _in_yuv420(image: NDArray[np.uint8]) -> av.VideoFrame:
    """Convert (H, W, 3) uint8 RGB of even sides to BT.601 of limited range, chroma averaged.

    As accurate as libswscale, in 0.6 of its time.
    """
    height_px, width_px = image.shape[:2]
    # OpenCV's chroma would be that of every second pixel.
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)[:height_px]
    small = cv2.resize(image, (width_px // 2, height_px // 2), interpolation=cv2.INTER_AREA)
    picture = av.VideoFrame(width_px, height_px, "yuv420p")
    values = [luma, *(cv2.transform(small, matrix) for matrix in _CHROMA)]
    for plane, numbers in zip(picture.planes, values, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : plane.width] = numbers
    picture.colorspace, picture.color_range = _SMPTE_170M, _LIMITED
    return picture


class VideoWriter:
    """Writes RGB frames to a video of constant rate; the same frames give the same bytes.

    Use it as a context manager. The file appears under its name when the block ends without an
    error; if the block raises, or writing fails, nothing is left behind. Until then its name is
    `.<name>.<random>.part`.

    YUV encodings store and declare BT.601 in limited range, which is also what readers assume that
    ignore the declaration.

    Args:
        path: of the video; an existing file is replaced.
        width_px: width of the video, and of every frame given.
        height_px: height of both.
        fps: frames a second.
        encoding: one of `tpbench.video.write`, such as `CLIP`.
        audio: sound to add, as AAC; no effect where the source's span has none.
        frame_size_px: width and height of the frames that are given, where they have to be scaled:
            shrunk by averaging areas, enlarged by bicubic interpolation.

    Raises:
        ValueError: the size is odd and the encoding needs even sides, it keeps every pixel and the
            frames have another size, or no frame was written.
        OSError: the folder can't be written or the disk is full.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        width_px: int,
        height_px: int,
        fps: Fraction,
        encoding: Encoding,
        audio: AudioSource | None = None,
        frame_size_px: tuple[int, int] | None = None,
    ) -> None:
        if width_px < 1 or height_px < 1:
            raise ValueError(f"a video of {width_px}x{height_px} px has no pixels")
        if encoding.needs_even_size and (width_px % 2 or height_px % 2):
            raise ValueError(f"{encoding.name} needs even sides, not {width_px}x{height_px} px")
        self.path = Path(path)
        self.frame_count = 0
        self._size_px = (width_px, height_px)
        self._pictures = _Pictures(self._size_px, encoding, frame_size_px or self._size_px)
        self._fps = Fraction(fps)
        self._encoding = encoding
        self._audio = audio
        self._part_path = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        self._output: _Output | None = None

    def __enter__(self) -> Self:
        # Matroska would put a random number into every file.
        options = {"fflags": "+bitexact"}
        if self._encoding.container == "mp4":
            options["movflags"] = "+faststart"
        with _plain_os_errors(self.path):
            container = av.open(
                local_url(self._part_path),
                "w",
                format=self._encoding.container,
                container_options=options,
            )
        try:
            stream = self._add_stream(container)
            track = AudioTrack.open(container, self._audio) if self._audio else None
        except BaseException:
            container.close()
            self._part_path.unlink(missing_ok=True)
            raise
        self._output = _Output(container, stream, track)
        return self

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append one frame.

        Args:
            image: (height_px, width_px, 3) uint8 RGB; of another size if `frame_size_px` says so.

        Raises:
            ValueError: the image has another shape or type.
            OSError: the disk is full.
        """
        container, stream, track = self._opened()
        picture = self._pictures.made_of(image)
        picture.pts = self.frame_count
        picture.time_base = 1 / self._fps
        with _plain_os_errors(self.path):
            container.mux(stream.encode(picture))
            self.frame_count += 1
            if track is not None:
                track.advance(self.frame_count / self._fps)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        container, stream, track = self._opened()
        try:
            if kind is None:
                self._finish(container, stream, track)
        finally:
            # After a failure libav fails again here; the first error is the one to report.
            with contextlib.suppress(Exception):
                container.close()
            if track is not None:
                track.close()
            self._part_path.unlink(missing_ok=True)
            self._output = None

    def _finish(
        self, container: OutputContainer, stream: VideoStream, track: AudioTrack | None
    ) -> None:
        if self.frame_count == 0:
            raise ValueError(f"no frame was written to {self.path}")
        with _plain_os_errors(self.path):
            container.mux(stream.encode(None))
            if track is not None:
                track.finish()
            container.close()
        self._part_path.replace(self.path)

    def _opened(self) -> _Output:
        if self._output is None:
            raise RuntimeError("a VideoWriter is used inside a `with` block")
        return self._output

    def _add_stream(self, container: OutputContainer) -> VideoStream:
        encoding = self._encoding
        stream = cast("VideoStream", container.add_stream(encoding.codec, rate=self._fps))
        stream.width, stream.height = self._size_px
        stream.pix_fmt = encoding.pixel_format
        # x264 with several threads gives different bytes from run to run.
        stream.codec_context.thread_count = 1
        options = dict(encoding.options)
        if encoding.codec == "libx264" and stream.width % 128:
            # x264's macroblock tree takes 8 macroblocks at a time and, with AVX-512, reads what
            # lies beyond the end of a row: the bytes would depend on earlier content of memory.
            options["mbtree"] = "0"
        stream.codec_context.options = options
        if not encoding.lossless:
            stream.codec_context.colorspace = _SMPTE_170M
            stream.codec_context.color_range = _LIMITED
        return stream


class BackgroundCalls(Generic[Item]):
    """Calls a function with one item after the other, on a thread of its own.

    Use it as a context manager around a `VideoWriter` whose frames are written while others are
    read. When the block ends, all items have been passed; if it raises, those that still wait are
    dropped. The first error of the function ends the calls, and is raised by the next `put` or at
    the end of the block.

    Args:
        function: called with each item, in the order of `put`.
    """

    def __init__(self, function: Callable[[Item], None]) -> None:
        self._function = function
        self._waiting: queue.Queue[tuple[Item] | None] = queue.Queue(_MAX_WAITING)
        self._error: BaseException | None = None
        self._is_abandoned = False
        self._thread = threading.Thread(target=self._run, name="background-calls", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def put(self, item: Item) -> None:
        """Pass an item on; waits while too many are waiting already."""
        self._raise_error()
        self._waiting.put((item,))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_abandoned = kind is not None
        try:
            self._end()
        except BaseException:  # Ctrl-C: the thread must not go on while files are closed
            self._is_abandoned = True
            self._end()
            raise
        if kind is None:
            self._raise_error()

    def _end(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            # After an error items are still taken, so that `put` never waits for nobody.
            if self._is_abandoned or self._error is not None:
                continue
            try:
                self._function(*item)
            except BaseException as error:  # noqa: BLE001 - raised where the items come from
                self._error = error
