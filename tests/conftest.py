"""Fixtures that tests of several areas share."""

from __future__ import annotations

import gc
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from hypothesis import settings
from numpy.typing import NDArray

from tests.in_process import without_processes
from tpbench.detectors import lite

# Nothing is tested by the clock: on a busy machine, an example may take longer than its deadline.
settings.register_profile("tpbench", deadline=None)
settings.load_profile("tpbench")


# Byte code is kept, even where the environment says otherwise: many processes import tpbench.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# What is imported and collected stays to the end. The garbage collector would walk over all of it
# again and again: on 379 tests that took a seventh of the processor's time.
gc.disable()


def pytest_collection_finish() -> None:
    """Let the garbage collector look only at what tests make."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several test processes one thread: more would spin while they wait for a core.

    The processes inherit it, and so does what they start.
    """
    if config.getoption("numprocesses", None):
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests verify out of the state folder of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TPBENCH_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _pruned_once() -> Iterator[None]:
    """Prune each of MediaPipe's networks once for all tests: its detectors are built many times."""
    prune = cache(lite.pruned)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lite, "pruned", lambda model, outputs: prune(model, tuple(outputs)))
        yield


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real clips beside the checkout; tests marked `shared` skip without it."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not (path / "data" / "talkingpose_samples").is_dir():
        pytest.skip("../shared is not beside this checkout")
    return path


@pytest.fixture(scope="module")
def in_this_process() -> Iterator[None]:
    """Start no worker of a run in this file; `test_processes` says that workers change no byte."""
    with without_processes():
        yield


@pytest.fixture
def make_media(tmp_path: Path) -> MediaMaker:
    """Makes tiny videos of all kinds, sound and broken ones included, in the test's own folder."""
    return MediaMaker(tmp_path)


@pytest.fixture(scope="session")
def session_media(tmp_path_factory: pytest.TempPathFactory) -> MediaMaker:
    """The same in a folder for the whole session: name files so that tests don't collide."""
    return MediaMaker(tmp_path_factory.mktemp("media"))


class MediaMaker:
    """Makes tiny media files whose pictures carry their own number (see `frame_number`)."""

    BITS = 12
    """Numbers go up to 4095; bit b is the block in row b // 4, column b % 4 of a 3 x 4 grid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def image(cls, number: int, *, width_px: int = 64, height_px: int = 48) -> NDArray[np.uint8]:
        """Return a picture that carries a number: (H, W, 3) uint8 RGB."""
        rows = np.arange(height_px) * 3 // height_px
        columns = np.arange(width_px) * 4 // width_px
        bits = (number >> (rows[:, None] * 4 + columns)) & 1
        grey = np.where(bits == 1, 215, 40).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    @classmethod
    def frame_number(cls, image: NDArray[np.uint8]) -> int:
        """Read the number back from a picture of any size."""
        height_px, width_px = image.shape[:2]
        number = 0
        for bit in range(cls.BITS):
            row, column = divmod(bit, 4)
            y = round((row + 0.5) * height_px / 3)
            x = round((column + 0.5) * width_px / 4)
            number |= int(image[y - 1 : y + 2, x - 1 : x + 2].mean() > 128) << bit
        return number

    def cfr(
        self,
        name: str = "video.mp4",
        *,
        n: int = 30,
        fps: Fraction | int = 25,
        size: tuple[int, int] = (64, 48),
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        gop: int = 12,
        bframes: int = 2,
        options: Mapping[str, str] | None = None,
        quarter_turns: int = 0,
        first_pts: int = 0,
        faststart: bool = False,
    ) -> Path:
        """Write n pictures numbered 0 to n - 1 at a constant rate.

        Args:
            name: file name; its ending decides the format.
            n: pictures.
            fps: pictures a second.
            size: width and height in px, as displayed.
            codec: libav's encoder.
            pixel_format: as stored.
            gop: pictures from keyframe to keyframe.
            bframes: B-pictures in a row.
            options: more for the encoder.
            quarter_turns: the file says "turn me this often counter-clockwise for display".
            first_pts: stamp of the first picture in 1 / fps; below 0 gives an edit list.
            faststart: an MP4 has its index in front.
        """
        ticks = range(first_pts, first_pts + n)
        return self._write(
            name,
            ticks,
            time_base=1 / Fraction(fps),
            rate=Fraction(fps),
            size=size,
            codec=codec,
            pixel_format=pixel_format,
            options={"g": str(gop), "bf": str(bframes), **(options or {})},
            quarter_turns=quarter_turns,
            muxing={"movflags": "+faststart"} if faststart else {},
        )

    def vfr(
        self,
        durations_s: Sequence[float],
        name: str = "variable.mkv",
        *,
        time_base: Fraction = Fraction(1, 1000),
    ) -> Path:
        """Write one picture per duration, numbered from 0; picture k lasts `durations_s[k]`."""
        starts_s = np.concatenate([[0], np.cumsum(durations_s)[:-1]])
        ticks = [round(start_s / time_base) for start_s in starts_s]
        rate = Fraction(len(durations_s) / sum(durations_s)).limit_denominator(1001)
        return self._write(name, ticks, time_base=time_base, rate=rate, options={"bf": "0"})

    def with_audio(
        self,
        name: str = "sound.mp4",
        *,
        n: int = 100,
        fps: int = 25,
        bursts_s: Sequence[float] = (1.0, 2.0, 3.0),
        codec: str = "aac",
        rate_hz: int = 44100,
        channels: int = 1,
    ) -> Path:
        """Write a video with tone bursts of 20 ms at the given times and silence elsewhere."""
        path = self.folder / name
        with av.open(str(path), "w") as output:
            video = self._add_video(output, "libx264", Fraction(fps), (64, 48), "yuv420p")
            audio = cast("AudioStream", output.add_stream(codec, rate=rate_hz))
            audio.codec_context.layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
            for number in range(n):
                frame = av.VideoFrame.from_ndarray(self.image(number), format="rgb24")
                output.mux(video.encode(frame))
            _encode_bursts(output, audio, n / fps, bursts_s)
            output.mux(video.encode(None))
            output.mux(audio.encode(None))
        return path

    def audio_only(self, name: str = "audio.mp4") -> Path:
        """Write half a second of sound in a video's container."""
        path = self.folder / name
        with av.open(str(path), "w") as output:
            audio = output.add_stream("aac", rate=44100)
            audio.codec_context.layout = "mono"
            _encode_bursts(output, audio, 0.5, [0.1])
            output.mux(audio.encode(None))
        return path

    def rotated(self, degrees: int = 90, name: str = "turned.mp4", *, n: int = 12) -> Path:
        """Write a video that stands upright when turned counter-clockwise by this."""
        return self.cfr(name, n=n, quarter_turns=degrees // 90)

    def ten_bit(self, name: str = "ten_bit.mp4", *, n: int = 12) -> Path:
        """Write 10-bit H.264."""
        return self.cfr(name, n=n, pixel_format="yuv420p10le")

    def odd_size(self, name: str = "odd.mp4", *, n: int = 12) -> Path:
        """Write a video of 63 x 47 px."""
        return self.cfr(name, n=n, size=(63, 47), pixel_format="yuv444p")

    def one_frame(self, name: str = "one.mp4") -> Path:
        """Write a video of a single picture."""
        return self.cfr(name, n=1)

    def text(self, name: str = "text.mp4") -> Path:
        """Write text under a video's name."""
        path = self.folder / name
        path.write_text("This is no video.\n" * 100)
        return path

    def empty(self, name: str = "empty.mp4") -> Path:
        """Write a file of 0 bytes."""
        path = self.folder / name
        path.touch()
        return path

    def truncated(self, name: str = "truncated.mp4", *, share: float = 0.5, n: int = 60) -> Path:
        """Write a video and keep only the first part of its bytes."""
        path = self.cfr(name, n=n)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path

    def bit_flipped(self, name: str = "flipped.mp4", *, n: int = 60, at: float = 0.5) -> Path:
        """Write an MP4 and spoil 40 bytes of its pictures, at this share of them."""
        path = self.cfr(name, n=n)
        data = bytearray(path.read_bytes())
        first = data.index(b"mdat") + 4
        middle = first + int((data.index(b"moov") - first) * at)
        for position in range(middle, middle + 40):
            data[position] ^= 0x55
        path.write_bytes(data)
        return path

    def _write(
        self,
        name: str,
        ticks: Sequence[int],
        *,
        time_base: Fraction,
        rate: Fraction,
        size: tuple[int, int] = (64, 48),
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        options: Mapping[str, str],
        quarter_turns: int = 0,
        muxing: Mapping[str, str] | None = None,
    ) -> Path:
        path = self.folder / name
        stored = size[::-1] if quarter_turns % 2 else size
        with av.open(str(path), "w", container_options=dict(muxing or {})) as output:
            stream = self._add_video(output, codec, rate, stored, pixel_format)
            stream.codec_context.options = dict(options)
            stream.codec_context.time_base = time_base
            if quarter_turns:
                stream.set_display_rotation(90 * quarter_turns)
            for number, tick in enumerate(ticks):
                upright = self.image(number, width_px=size[0], height_px=size[1])
                image = np.ascontiguousarray(np.rot90(upright, -quarter_turns))
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = tick, time_base
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path

    @staticmethod
    def _add_video(
        output: OutputContainer,
        codec: str,
        rate: Fraction,
        size: tuple[int, int],
        pixel_format: str,
    ) -> VideoStream:
        stream = cast("VideoStream", output.add_stream(codec, rate=rate))
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.codec_context.thread_count = 1
        return stream


def _encode_bursts(
    output: OutputContainer, audio: AudioStream, length_s: float, bursts_s: Sequence[float]
) -> None:
    """Encode silence with a 1 kHz tone of 20 ms at each of the given times."""
    rate_hz = audio.codec_context.sample_rate
    sound = np.zeros(round(length_s * rate_hz), np.float32)
    for start_s in bursts_s:
        part = sound[round(start_s * rate_hz) :][: rate_hz // 50]
        part[:] = 0.8 * np.sin(2 * math.pi * 1000 * np.arange(len(part)) / rate_hz)
    channels = audio.codec_context.layout.nb_channels
    for first in range(0, len(sound), 4096):
        samples = np.tile(sound[first : first + 4096], (channels, 1))
        frame = av.AudioFrame.from_ndarray(
            samples, format="fltp", layout=audio.codec_context.layout.name
        )
        frame.sample_rate, frame.pts = rate_hz, first
        frame.time_base = Fraction(1, rate_hz)
        output.mux(audio.encode(frame))
