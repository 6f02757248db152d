"""A clip's sound: there, in step, as long as the clip, and never worth losing the clip for."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tpbench.video import CLIP, LOSSLESS_X264, AudioSource, Encoding, VideoWriter, probe

if TYPE_CHECKING:
    from tests.conftest import MediaMaker

AAC_FRAME = 1024


def write_clip(
    source: Path, start_frame: int, end_frame: int, *, encoding: Encoding = CLIP
) -> Path:
    """Cut frames out of a 25 fps source, black pictures with the source's sound."""
    info = probe(source)
    path = source.with_name("clip" + (".mp4" if encoding is CLIP else ".mkv"))
    audio = AudioSource(
        path=source,
        start_s=float(start_frame / info.fps),
        end_s=float(end_frame / info.fps),
        info=info,
    )
    with VideoWriter(
        path, width_px=64, height_px=48, fps=info.fps, encoding=encoding, audio=audio
    ) as writer:
        for _ in range(start_frame, end_frame):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert probe(path).frame_count == end_frame - start_frame
    return path


def sound_of(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples of the first channel from the clip's time 0 on, and their rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name == "aac"
        frames = list(container.decode(stream))
        assert frames[0].pts == 0
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return samples, stream.codec_context.sample_rate


def bursts_in(path: Path) -> list[float]:
    """Times at which the sound starts, in s."""
    samples, rate_hz = sound_of(path)
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    first = loud[np.diff(loud, prepend=-rate_hz) > rate_hz // 5]
    return [float(index / rate_hz) for index in first]


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "channels"),
    [
        ("sound.mp4", "aac", 44100, 1),
        ("sound.mkv", "aac", 48000, 2),
        ("sound.mp4", "libmp3lame", 22050, 2),
        ("sound.ts", "ac3", 48000, 6),
        ("sound.avi", "pcm_s16le", 11025, 1),
        ("sound.mkv", "pcm_s16le", 37800, 1),
    ],
)
@pytest.mark.parametrize(("start", "end"), [(0, 60), (24, 99), (51, 80)])
def test_sound_stays_in_step_with_the_frames(
    make_media: MediaMaker, name: str, codec: str, rate_hz: int, channels: int, start: int, end: int
) -> None:
    source = make_media.with_audio(name, codec=codec, rate_hz=rate_hz, channels=channels)

    clip = write_clip(source, start, end)

    expected = [at - start / 25 for at in (1.0, 2.0, 3.0) if start / 25 <= at < end / 25]
    assert bursts_in(clip) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("encoding", [CLIP, LOSSLESS_X264], ids=lambda encoding: encoding.name)
def test_sound_is_as_long_as_the_clip(make_media: MediaMaker, encoding: Encoding) -> None:
    clip = write_clip(make_media.with_audio(), 10, 73, encoding=encoding)

    samples, rate_hz = sound_of(clip)

    assert 0 <= len(samples) - 63 / 25 * rate_hz < AAC_FRAME


def test_a_source_without_sound_gives_a_clip_without(make_media: MediaMaker) -> None:
    assert not probe(write_clip(make_media.cfr(n=50), 0, 30)).has_audio


def test_silence_where_the_sources_sound_has_ended(make_media: MediaMaker) -> None:
    whole = make_media.with_audio("whole.mp4", n=100)
    short = make_media.folder / "short.mkv"
    with av.open(str(whole)) as container, av.open(str(short), "w") as output:
        streams = [output.add_stream_from_template(stream) for stream in container.streams]
        for packet in container.demux():
            late_sound = (
                packet.stream.type == "audio" and (packet.pts or 0) * packet.time_base > 2.5
            )
            if packet.size and not late_sound:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)

    clip = write_clip(short, 20, 95)

    assert bursts_in(clip) == pytest.approx([0.2, 1.2], abs=0.002)
    samples, rate_hz = sound_of(clip)
    assert 0 <= len(samples) - 3 * rate_hz < AAC_FRAME
    assert not probe(write_clip(short, 80, 95)).has_audio


def test_damaged_sound_does_not_cost_the_clip(
    make_media: MediaMaker, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_media.with_audio("whole.mkv", codec="libmp3lame", bursts_s=(0.5, 3.5))
    broken = spoil_sound(source, from_s=1.0, to_s=2.0)

    with caplog.at_level(logging.WARNING):
        clip = write_clip(broken, 0, 100)

    assert bursts_in(clip) == pytest.approx([0.5, 3.5], abs=0.002)
    assert "some of its sound can't be decoded" in caplog.text


def test_sound_that_nobody_can_decode_is_left_out(make_media: MediaMaker) -> None:
    source = make_media.with_audio("whole.mkv", codec="libmp3lame")

    assert not probe(write_clip(spoil_sound(source, from_s=-1, to_s=9), 0, 50)).has_audio


def spoil_sound(source: Path, *, from_s: float, to_s: float) -> Path:
    """Copy a video with the sound between two times overwritten."""
    path = source.with_name("spoilt.mkv")
    with av.open(str(source)) as container, av.open(str(path), "w") as output:
        streams = [output.add_stream_from_template(stream) for stream in container.streams]
        for packet in container.demux():
            if not packet.size:
                continue
            stream = streams[packet.stream.index]
            copy = packet
            if (
                packet.stream.type == "audio"
                and from_s <= (packet.pts or 0) * packet.time_base < to_s
            ):
                copy = av.Packet(bytes(range(1, 101)))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.duration = packet.duration
            copy.stream = stream
            output.mux(copy)
    return path


def test_the_same_sound_gives_the_same_bytes(make_media: MediaMaker) -> None:
    source = make_media.with_audio()

    assert write_clip(source, 5, 50).read_bytes() == write_clip(source, 5, 50).read_bytes()


def test_a_clip_longer_than_the_span_is_silent_after_it(make_media: MediaMaker) -> None:
    source = make_media.with_audio()
    path = make_media.folder / "clip.mp4"
    audio = AudioSource(path=source, start_s=0.0, end_s=1.5)
    with VideoWriter(
        path, width_px=64, height_px=48, fps=Fraction(25), encoding=CLIP, audio=audio
    ) as writer:
        for _ in range(75):
            writer.write(np.zeros((48, 64, 3), np.uint8))

    assert bursts_in(path) == pytest.approx([1.0], abs=0.002)


@pytest.mark.parametrize("name", ["a.ts", "a.mpg"])
@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 75, [0.5, 1.5]),
        (75, 135, [1.0, 2.0]),
        (95, 135, [0.2, 1.2]),
        (30, 75, [0.3]),
        (135, 210, [0.5, 1.5]),
        (180, 210, []),
    ],
)
def test_sound_stays_in_step_behind_a_clock_that_restarts(
    make_media: MediaMaker, name: str, start: int, end: int, expected: list[float]
) -> None:
    codec = "mp2" if name == "a.mpg" else "ac3"
    first = make_media.with_audio(
        f"one_{name}", n=75, bursts_s=(0.5, 1.5), codec=codec, rate_hz=48000
    )
    second = make_media.with_audio(
        f"two_{name}", n=60, bursts_s=(1.0, 2.0), codec=codec, rate_hz=48000
    )
    source = make_media.folder / name
    source.write_bytes(first.read_bytes() + second.read_bytes() + first.read_bytes())
    assert probe(source).seams == (75, 135)

    clip = write_clip(source, start, end)

    assert bursts_in(clip) == pytest.approx(expected, abs=0.003)
