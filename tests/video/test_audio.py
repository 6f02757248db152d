from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from numpy.typing import NDArray

from tests.conftest import MediaMaker
from tests.video.making import copy_packets, with_channels
from tpbench.video import CLIP, LOSSLESS_X264, AudioSource, Encoding, VideoWriter, probe

CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6, "6.1": 7, "7.1": 8}
RATE_HZ = 48000


def write(
    path: Path,
    *,
    layout: str,
    loud: list[int] | None = None,
    codec: str = "pcm_s16le",
    tracks: int = 1,
) -> Path:
    """Write 2 s of video with a tone of 0.7 from 1 s on.

    Args:
        path: where to; its ending decides the container.
        layout: libav's name of the channels.
        loud: channels that sound; all if not given.
        codec: of the sound.
        tracks: sound tracks; the last one is marked as default, those before it are silent.
    """
    channels = CHANNELS[layout]
    tone = 0.7 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE_HZ) / RATE_HZ)
    tone[:RATE_HZ] = 0
    samples = np.zeros((2 * RATE_HZ, channels))
    samples[:, loud if loud is not None else range(channels)] = tone[:, None]
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = [output.add_stream(codec, rate=RATE_HZ) for _ in range(tracks)]
        for sound in sounds:
            assert isinstance(sound, av.AudioStream)
            sound.codec_context.layout = layout
            sound.disposition = Disposition.default if sound is sounds[-1] else Disposition(0)
        for _ in range(50):
            image = np.zeros((48, 64, 3), np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(video.encode(None))
        for sound in sounds:
            values = samples if sound is sounds[-1] else np.zeros_like(samples)
            frame = av.AudioFrame.from_ndarray(
                (values * 32767).astype(np.int16).reshape(1, -1), format="s16", layout=layout
            )
            frame.sample_rate = RATE_HZ
            assert isinstance(sound, av.AudioStream)
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return path


def clip_of(path: Path, *, start_frame: int = 0) -> NDArray[np.float32]:
    """Cut a clip of the source; return its sound, (channels, n), without the encoder's lead."""
    clip = write_clip(path, start_frame, probe(path).frame_count)
    with av.open(str(clip)) as container:
        return np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)


def starts_s(samples: NDArray[np.float32]) -> float:
    """When the sound sets in."""
    return float(np.flatnonzero(np.abs(samples).max(axis=0) > 0.2)[0] / RATE_HZ)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.mp4", "ac3")])
def test_a_mix_of_loud_channels_is_not_clipped(tmp_path: Path, name: str, codec: str) -> None:
    samples = clip_of(write(tmp_path / name, layout="5.1", codec=codec))
    assert 0.5 < np.abs(samples).max() < 0.95
    assert starts_s(samples) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("layout", ["5.1", "6.1", "7.1"])
@pytest.mark.parametrize("start_frame", [0, 20])
def test_channels_in_an_order_of_their_own_are_kept_in_step(
    tmp_path: Path, layout: str, start_frame: int
) -> None:
    samples = clip_of(write(tmp_path / "a.mov", layout=layout), start_frame=start_frame)
    assert samples.shape[0] == 2
    assert 0.5 < np.abs(samples).max() < 0.95
    assert starts_s(samples) == pytest.approx(1 - start_frame / 25, abs=0.02)


@pytest.mark.parametrize(("loud", "comes_out"), [(0, 1), (1, 0)])
def test_right_and_left_change_places_where_the_file_says_so(
    tmp_path: Path, loud: int, comes_out: int
) -> None:
    path = write(tmp_path / "a.mov", layout="stereo", loud=[loud])
    path.write_bytes(with_channels(path.read_bytes(), [2, 1]))
    samples = clip_of(path)
    assert np.abs(samples[comes_out]).max() > 0.5
    assert np.abs(samples[1 - comes_out]).max() < 0.1


@pytest.mark.parametrize("labels", [[3, 1], [1, 1], [33, 400], [65536, 65537]], ids=str)
def test_an_order_that_no_rule_mixes_is_mixed_alike(tmp_path: Path, labels: list[int]) -> None:
    path = write(tmp_path / "a.mov", layout="stereo")
    path.write_bytes(with_channels(path.read_bytes(), labels))
    samples = clip_of(path)
    assert 0.5 < np.abs(samples).max() < 0.95


@pytest.mark.parametrize("name", ["a.mkv", "a.mov"])
def test_the_sound_of_a_clip_is_that_of_the_track_marked_as_default(
    tmp_path: Path, name: str
) -> None:
    samples = clip_of(write(tmp_path / name, layout="mono", tracks=2))
    assert samples.shape[0] == 1
    assert 0.5 < np.abs(samples).max() < 0.95


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

    def early(_: int, packet: Any) -> Any:  # noqa: ANN401 - any packet
        is_late = packet.stream.type == "audio" and (packet.pts or 0) * packet.time_base > 2.5
        return None if is_late else packet

    short = copy_packets(whole, make_media.folder / "short.mkv", early)
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

    def spoil(_: int, packet: Any) -> Any:  # noqa: ANN401 - any packet
        time_s = (packet.pts or 0) * packet.time_base
        if packet.stream.type != "audio" or not from_s <= time_s < to_s:
            return packet
        copy = av.Packet(bytes(range(1, 101)))
        copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
        copy.duration = packet.duration
        return copy

    return copy_packets(source, source.with_name("spoilt.mkv"), spoil)


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
